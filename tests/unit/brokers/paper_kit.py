"""What the paper broker's tests share: instruments, orders, a clock to set, and stores and books in memory."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from bridge.brokers.paper.values import Changes, Desk, OrderRequest, PaperAccount, PaperOrder, PaperPolicy, PaperPosition
from bridge.brokers.paper.venue import cancel_order, end_of_day, match_price, place_order, start_day
from bridge.core.decision import Approved
from bridge.core.enums import InstrumentKind, OrdType, Product, Side, TimeInForce
from bridge.core.errors import StoreError
from bridge.core.instrument import Instrument
from bridge.core.money import ZERO
from bridge.core.order import Order, create_order
from bridge.core.position import PositionKey
from bridge.core.protection import Leg, Legs
from bridge.core.signal import OrderIntent
from bridge.core.values import evolve

T = TypeVar("T")
NOW = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)  # 10:30 on a Friday in India
SYMBOL = "NSE:SBIN"


def instrument(symbol: str, kind: InstrumentKind = InstrumentKind.EQ, **values: Any) -> Instrument:
    """An instrument with a tick of 0.05 and a lot of one, unless told otherwise."""
    exchange, tradingsymbol = symbol.split(":")
    sizes = {"tick": Decimal("0.05"), "lot": Decimal(1), **values}
    return Instrument(symbol=symbol, exchange=exchange, tradingsymbol=tradingsymbol, name=tradingsymbol, kind=kind, **sizes)


EXPIRY = date(2026, 11, 24)
SBIN = instrument(SYMBOL, has_derivatives=True)
INFY = instrument("NSE:INFY")
FUTURE = instrument("NFO:NIFTY26NOVFUT", InstrumentKind.FUT, lot=Decimal(75), expiry=EXPIRY)
CALL = instrument("NFO:NIFTY26NOV24000CE", InstrumentKind.CE, lot=Decimal(75), expiry=EXPIRY, strike=Decimal(24000))
COPPER = instrument("MCX:COPPER26NOVFUT", InstrumentKind.FUT, multiplier=Decimal(2500), expiry=EXPIRY)
INDEX = instrument("NSE:NIFTY 50", InstrumentKind.INDEX)
INSTRUMENTS = {item.symbol: item for item in (SBIN, INFY, FUTURE, CALL, COPPER, INDEX)}


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOW).total_seconds()

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class MemoryTx:
    """Changes shelves at once and remembers how to undo it."""

    def __init__(self) -> None:
        self.undo: list[tuple[Any, Any, Any]] = []

    def put(self, shelf: Any, key: Any, value: Any) -> None:
        self.undo.append((shelf, key, shelf.get(key)))
        shelf.set(key, value)

    def take_back(self) -> None:
        for shelf, key, old in reversed(self.undo):
            shelf.set(key, old)


class MemoryStore:
    """Commits in the event loop's next turn. `faults` are used up one per write:

    `before`: fails without running it; `undone`: runs it, takes it back and fails; `kept`: fails though it is on disk;
    None: works.
    """

    def __init__(self) -> None:
        self.faults: list[str | None] = []
        self.writes = 0

    def write(self, fn: Callable[[Any], T], /) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._commit, fn, future)
        return future

    def _commit(self, fn: Callable[[Any], T], future: "asyncio.Future[T]") -> None:
        fault = self.faults.pop(0) if self.faults else None
        self.writes += 1
        tx, result, error = MemoryTx(), None, None
        if fault != "before":
            result = fn(tx)
        if fault == "undone":
            tx.take_back()
        if fault is not None:
            error = StoreError("the disk is full")
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]


def request(side: Side = Side.BUY, qty: object = 10, **values: Any) -> OrderRequest:
    """An order as it comes in at the venue; MARKET in NSE:SBIN, MIS, unless told otherwise."""
    named: dict[str, Any] = {name: Decimal(str(values.pop(name))) for name in ("price", "trigger_price") if name in values}
    fields: dict[str, Any] = {"tag": "TAG", "symbol": SYMBOL, "product": Product.MIS, **named, **values}
    return OrderRequest(side=side, order_qty=Decimal(str(qty)), **fields)


def make_order(number: int, side: Side = Side.BUY, qty: object = 10, *, account: str = "paper", **values: Any) -> Order:
    """An order of the bridge, as the lane hands it to a broker."""
    named = {name: Decimal(str(values.pop(name))) if name in values else None for name in ("price", "trigger_price")}
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "product": Product.MIS,
        "ord_type": OrdType.MARKET,
        "time_in_force": TimeInForce.DAY,
        **named,
        **values,
    }
    intent = OrderIntent(
        alert_id=f"ALERT{number:05d}",
        leg=0,
        account=account,
        strategy="demo",
        side=side,
        order_qty=Decimal(str(qty)),
        reduce_only=False,
        signal_at=NOW,
        received_at=NOW,
        **fields,
    )
    return create_order(Approved(intent=intent, reference_px=None), NOW)


def make_protection(
    number: int, side: Side = Side.SELL, qty: object = 10, *, stop: str = "", target: str = "", **values: Any
) -> Order:
    """A protective order that was sent; the limits of its legs are ten rupees worse than their triggers."""

    def leg(trigger: str) -> Leg | None:
        return Leg(trigger_px=Decimal(trigger), limit_px=Decimal(trigger) + 10 * side.sign) if trigger else None

    legs = Legs(stop=leg(stop), target=leg(target))
    return evolve(make_order(number, side, qty, ord_type=OrdType.GTT, legs=legs, **values), sends=1)


class Books:
    """The venue's books without adapter and store: applies changes, and keeps every report."""

    def __init__(self, policy: PaperPolicy | None = None, cash: object = 1_000_000) -> None:
        self.policy = policy or PaperPolicy(charges=False)
        self.account = PaperAccount(account="paper", opening_cash=Decimal(str(cash)))
        self.orders: dict[str, PaperOrder] = {}
        self.positions: dict[PositionKey, PaperPosition] = {}
        self.prices: dict[str, Decimal] = {}
        self.reports: list[Any] = []
        self.now = NOW
        self.apply(start_day(self.desk(), self.now))

    def desk(self, symbol: str | None = None) -> Desk:
        working = {
            ident: order
            for ident, order in self.orders.items()
            if not order.status.is_closed and symbol in (None, order.symbol)
        }
        return Desk(account=self.account, positions=self.positions, working=working, price_of=self.prices.get)

    def apply(self, changes: Changes) -> Changes:
        self.account = changes.account
        self.orders.update({order.broker_order_id: order for order in changes.orders})
        for key, position in changes.positions.items():
            if position is None:
                self.positions.pop(key, None)
            else:
                self.positions[key] = position
        self.reports.extend(changes.reports)
        return changes

    def place(self, side: Side = Side.BUY, qty: object = 10, **values: Any) -> Changes:
        wish = request(side, qty, **values)
        found = INSTRUMENTS.get(wish.symbol)
        return self.apply(place_order(self.desk(wish.symbol), wish, found, self.policy, self.now))

    def price(self, price: object, symbol: str = SYMBOL) -> Changes:
        self.prices[symbol] = Decimal(str(price))
        desk = self.desk(symbol)
        return self.apply(match_price(desk, INSTRUMENTS[symbol], self.prices[symbol], self.policy, self.now))

    def cancel(self, ident: str) -> Changes:
        return self.apply(cancel_order(self.desk(), self.orders.get(ident), self.now))

    def end_day(self) -> Changes:
        return self.apply(end_of_day(self.desk(), self.now))

    def next_day(self) -> Changes:
        self.now += timedelta(days=1)
        return self.apply(start_day(self.desk(), self.now))

    def held(self, symbol: str = SYMBOL, product: Product = Product.MIS) -> Decimal:
        position = self.positions.get(PositionKey("paper", symbol, product))
        return position.quantity if position else ZERO


def kinds(reports: Iterable[Any]) -> list[str]:
    """The kinds of reports, in order."""
    return [report.kind.value for report in reports]
