"""Once a day: what the broker says that the day's orders cost, beside what our table of rates says; differences are told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal

from bridge.brokers.base import BookUnreadableError, ChargedOrder
from bridge.brokers.charges import noted_charges
from bridge.core.clock import IST, Clock, market_day
from bridge.core.enums import OrdType, Product, Side, Variety
from bridge.core.instrument import Instrument
from bridge.core.money import ZERO, rupees, to_text
from bridge.core.reasons import AuditAction
from bridge.core.views import OrderView
from bridge.execution.compare import Alarm
from bridge.execution.doubts import tell
from bridge.store.store import Store
from bridge.store.tx import Tx

# Shares and their derivatives have closed by then; what commodities trade later in the evening is not looked at.
CHECK_AT = time(16, 0)
AGAIN_S = 600.0
MOST_ORDERS = 1_000
# The vendor sums what is not rounded, the table is to the paisa: so much is rounding, in rupees or as a part.
TOLERANCE, PART = Decimal("0.10"), Decimal("0.01")
NAMED = 3
Ask = Callable[[Sequence[ChargedOrder]], Awaitable[list[Decimal]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One order's charges by the broker and by the table, in rupees."""

    order: ChargedOrder
    theirs: Decimal
    ours: Decimal

    @property
    def differs(self) -> bool:
        """More than rounding explains."""
        return abs(self.theirs - self.ours) > max(TOLERANCE, abs(self.theirs) * PART)

    def __str__(self) -> str:
        one = self.order
        what = f"{one.side.value.lower()} {to_text(one.quantity)} {one.symbol} {one.product}"
        return f"{what} ({one.cl_ord_id}): ₹{rupees(self.theirs)} by the broker, ₹{rupees(self.ours)} by the table"


class ChargeCheck:
    """Asks each account's broker after the close."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        asks: Mapping[str, Ask],
        instrument: Callable[[str], Instrument | None],
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._asks = asks
        self._instrument = instrument
        self._on_fault = on_fault
        self._done: dict[str, int] = {}
        self._due_s: dict[str, float] = {}

    def due(self) -> list[str]:
        """Accounts to look at now; each is named once, and again after a while as long as its look has failed."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        if now.astimezone(IST).time() < CHECK_AT:
            return []
        today = market_day(now)
        found = [name for name in self._asks if self._done.get(name) != today and now_s >= self._due_s.get(name, now_s)]
        self._due_s |= dict.fromkeys(found, now_s + AGAIN_S)
        return found

    async def check(self, account: str) -> None:
        """Compare the day's orders of an account, unless that was done today; StoreError passes."""
        now = self._clock.now()
        orders = await asyncio.to_thread(self._orders_of, account, now)
        if orders:
            try:
                theirs = await self._asks[account](orders)
            except BookUnreadableError as error:
                self._on_fault("charges", error)
                return
            await self._store.write(lambda tx: self._tell(tx, account, self._compare(orders, theirs, now), now))
        self._done[account] = market_day(now)

    def _orders_of(self, account: str, now: datetime) -> list[ChargedOrder]:
        midnight = now.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
        told = self._store.reads.recent([AuditAction.CHARGES_CHECKED], MOST_ORDERS, midnight)
        if any(step.account == account for step in told):
            return []
        views = self._store.reads.orders(MOST_ORDERS)
        mine = [view for view in views if view.account == account and view.cum_qty and view.broker_order_id]
        return [_charged(view) for view in mine if view.sent_at is not None and view.sent_at >= midnight]

    def _compare(self, orders: Sequence[ChargedOrder], theirs: Sequence[Decimal], now: datetime) -> list[Cost]:
        pairs = [(order, told, self._ours(order, now)) for order, told in zip(orders, theirs, strict=True)]
        return [Cost(order=order, theirs=told, ours=mine) for order, told, mine in pairs if mine is not None]

    def _ours(self, order: ChargedOrder, at: datetime) -> Decimal | None:
        """The table's word; None where it does not know the instrument."""
        found = self._instrument(order.symbol)
        return None if found is None else noted_charges(found, order.product, order.side, order.quantity, order.avg_px, at)

    def _tell(self, tx: Tx, account: str, costs: Sequence[Cost], now: datetime) -> None:
        theirs, ours = sum((cost.theirs for cost in costs), ZERO), sum((cost.ours for cost in costs), ZERO)
        message = f"{len(costs)} orders: ₹{rupees(theirs)} by the broker, ₹{rupees(ours)} by the table of rates."
        tx.audit(AuditAction.CHARGES_CHECKED, now, account=account, message=message)
        odd = sorted((cost for cost in costs if cost.differs), key=lambda cost: -abs(cost.theirs - cost.ours))
        if odd:
            listed = "; ".join(map(str, odd[:NAMED]))
            text = f"{account}: charges of {len(odd)} of {len(costs)} orders differ from the table of rates: {listed}."
            tell(tx, Alarm(key=("charges", account, str(market_day(now))), message=text), account, now)


def _charged(view: OrderView) -> ChargedOrder:
    return ChargedOrder(
        cl_ord_id=view.cl_ord_id,
        broker_order_id=view.broker_order_id or "",
        symbol=view.symbol,
        side=Side(view.side),
        product=Product(view.product),
        ord_type=OrdType(view.ord_type),
        variety=Variety.REGULAR,
        quantity=view.cum_qty,
        avg_px=view.avg_px,
    )
