"""What the rigs of all adapters have in common: they keep what is told, and make orders with numbers of their own."""

from collections.abc import Iterator

from bridge.brokers.base import Broker
from bridge.core.enums import OrdType, Product, Side, TimeInForce
from bridge.core.order import Order
from bridge.core.report import Report
from tests.unit.brokers.paper_kit import make_order, make_protection


class AdapterRig:
    """An adapter by its port; each kind says where `broker` comes from, and how its market moves."""

    account: str
    symbol: str
    reports: list[Report]
    broker: Broker
    _numbers: Iterator[int]

    async def open(self) -> None:
        await self.broker.start(self._sink)

    async def _sink(self, reports: list[Report]) -> None:
        self.reports.extend(reports)

    async def close(self) -> None:
        await self.broker.stop()

    def order(
        self,
        side: Side,
        qty: int,
        *,
        ord_type: OrdType = OrdType.MARKET,
        price: str | None = None,
        trigger_price: str | None = None,
        time_in_force: TimeInForce = TimeInForce.DAY,
        product: Product = Product.MIS,
        symbol: str | None = None,
    ) -> Order:
        prices = {"price": price, "trigger_price": trigger_price}
        return make_order(
            next(self._numbers),
            side,
            qty,
            account=self.account,
            symbol=symbol or self.symbol,
            ord_type=ord_type,
            time_in_force=time_in_force,
            product=product,
            **{name: value for name, value in prices.items() if value is not None},
        )

    def protection(self, side: Side, qty: int, **triggers: str) -> Order:
        return make_protection(next(self._numbers), side, qty, account=self.account, symbol=self.symbol, **triggers)
