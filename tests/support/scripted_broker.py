"""A broker that does as it is told: an adapter behind the real port, for outcomes that paper never has."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from bridge.brokers.base import CALL_TIMEOUT_S, BookUnreadableError, BrokerStatus, Capabilities, ReportSink
from bridge.core.clock import Clock
from bridge.core.enums import OrdType, OutcomeKind, Product, ReportKind, Side
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import Terms
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome, Report, reports_of

ACCEPT, REFUSE, NOT_SENT = "accept", "refuse", "not sent"
LOST, LOST_BUT_THERE = "lost", "lost, but there"  # no answer; in the second case the order did arrive
RAISE, HANG, BUSY = "raise", "hang", "busy"  # busy: a 429 that names a wait
REFUSE_BUT_THERE = "refuse, but there"  # the order arrives all the same
IDLE = "idle"  # a cancel that is accepted and never carried out
SLOW = "slow"  # accepts once the test sets `released`
_ENDS = {
    OrderStatus.CANCELLED: ReportKind.CANCELLED,
    OrderStatus.REJECTED: ReportKind.REJECTED,
    OrderStatus.EXPIRED: ReportKind.EXPIRED,
}


class ScriptedBroker:
    """`answers` are taken in turn by `place`, `cancels` by `cancel`, `modifies` by `modify`.

    When they are used up, everything is accepted.
    Nothing fills by itself unless `fill_px` is set. `sent` are the orders that `place` was called for. `others` are rows of
    the book besides `rows`; `hidden` are the tags of rows that it does not show; `hanging` names the reads that never answer.
    While `dead` is one of the answers, every call meets it, and reads fail or hang; `calls` names each call that arrived.
    """

    def __init__(
        self,
        account: str,
        clock: Clock,
        *,
        is_paper: bool = True,
        max_in_flight: int = 4,
        call_timeout_s: float | None = CALL_TIMEOUT_S,
        reverses_in_one: frozenset[Product] = frozenset({Product.MIS, Product.NRML}),
        max_replaces: int | None = None,
    ) -> None:
        self.account = account
        self.capabilities = Capabilities(
            name="scripted", is_paper=is_paper, max_in_flight=max_in_flight, call_timeout_s=call_timeout_s,
            reverses_in_one=reverses_in_one, max_replaces=max_replaces,
        )  # fmt: skip
        self.calls: list[str] = []
        self.dead = ""
        self.retry_after_s = 0.0
        self.answers: deque[str] = deque()
        self.cancels: deque[str] = deque()
        self.modifies: deque[str] = deque()
        self.rows: dict[str, BookRow] = {}
        self.held: dict[tuple[str, str], Decimal] = {}
        self.sent: list[Order] = []
        self.cancelled: list[Order] = []
        self.modified: list[Order] = []
        self.connected = True
        self.readable = True
        self.positions_readable = True
        self.positions_lag = False
        self.others: list[BookRow] = []
        self.hidden: set[str] = set()
        self.hanging: set[str] = set()
        self.asking: Counter[str] = Counter()
        self.most_asking = 0
        self.book_readable = True
        self.book_lags = False
        self.fill_px: Decimal | None = None
        self.equity = Decimal(1_000_000)
        self.message = ""
        self.reads = 0
        self.released = asyncio.Event()
        self.before_positions: Callable[[], object] = lambda: None
        self._clock = clock
        self._sink: ReportSink | None = None
        self._numbers = 0
        self._taken = 0

    # -- the port -----------------------------------------------------------------------------------------------------

    async def start(self, sink: ReportSink) -> None:
        self._sink = sink

    async def stop(self) -> None:
        self._sink = None

    def status(self) -> BrokerStatus:
        is_out = not self.connected
        return BrokerStatus(connected=not is_out, message="signed out" if is_out else "", session_lost=is_out)

    async def place(self, order: Order) -> Outcome:
        self.sent.append(order)
        how = self._answer("place", self.answers)
        if how == HANG:
            await asyncio.Event().wait()
        if how == SLOW:
            await self.released.wait()
        if how == RAISE:
            raise RuntimeError("the adapter is broken")
        if how == REFUSE:
            return Outcome(kind=OutcomeKind.REFUSED, message=self.message or "no")
        if how in (NOT_SENT, BUSY):
            return self._not_sent(how)
        if how == LOST:
            return Outcome(kind=OutcomeKind.UNKNOWN, message="no answer")
        row = self.take(order)
        if how == REFUSE_BUT_THERE:
            return Outcome(kind=OutcomeKind.REFUSED, message="no")
        if how == LOST_BUT_THERE:
            return Outcome(kind=OutcomeKind.UNKNOWN, message="no answer")
        if self.fill_px is not None:
            asyncio.get_running_loop().call_soon(self._fill_soon, order.tag, self.fill_px)
        return Outcome(kind=OutcomeKind.ACCEPTED, broker_order_id=row.broker_order_id)

    async def cancel(self, order: Order) -> Outcome:
        self.cancelled.append(order)
        how = self._answer("cancel", self.cancels)
        if how == HANG:
            await asyncio.Event().wait()
        if how == REFUSE:
            return Outcome(kind=OutcomeKind.REFUSED, message="too late")
        if how in (NOT_SENT, BUSY):
            return self._not_sent(how)
        if how == IDLE:
            return Outcome(kind=OutcomeKind.ACCEPTED)
        if how == ACCEPT:
            asyncio.get_running_loop().call_soon(self._end_soon, order.tag)
            return Outcome(kind=OutcomeKind.ACCEPTED)
        return Outcome(kind=OutcomeKind.UNKNOWN, message="no answer")

    async def modify(self, order: Order) -> Outcome:
        self.modified.append(order)
        how = self._answer("modify", self.modifies)
        if how == HANG:
            await asyncio.Event().wait()
        if how == REFUSE:
            return Outcome(kind=OutcomeKind.REFUSED, message=self.message or "no")
        if how in (NOT_SENT, BUSY):
            return self._not_sent(how)
        if how in (ACCEPT, LOST_BUT_THERE, REFUSE_BUT_THERE):
            self.change(order)
        if how in (ACCEPT, IDLE):
            asyncio.get_running_loop().call_soon(self._tell_row_soon, order.tag)
            return Outcome(kind=OutcomeKind.ACCEPTED)
        kind = OutcomeKind.REFUSED if how == REFUSE_BUT_THERE else OutcomeKind.UNKNOWN
        return Outcome(kind=kind, message="no answer")

    async def book(self) -> list[BookRow]:
        self.reads += 1
        await self._read("book", readable=self.book_readable)
        rows = [row for tag, row in self.rows.items() if tag not in self.hidden]
        return [] if self.book_lags else [*rows, *self.others]

    async def positions(self) -> list[BrokerPosition]:
        await self._read("positions", readable=self.positions_readable)
        if self.positions_lag:
            return []
        found = [
            BrokerPosition(symbol=symbol, product=Product(product), quantity=quantity)
            for (symbol, product), quantity in self.held.items()
            if quantity
        ]
        result = self.before_positions()
        if asyncio.iscoroutine(result):
            await result
        return found

    async def funds(self) -> Funds:
        await self._read("funds")
        return Funds(account=self.account, equity=self.equity, available=self.equity, at=self._clock.now())

    async def on_price(self, symbol: str, price: Decimal) -> None:
        return

    def _answer(self, name: str, answers: deque[str]) -> str:
        self.calls.append(name)
        return self.dead or (answers.popleft() if answers else ACCEPT)

    def _not_sent(self, how: str) -> Outcome:
        if how == BUSY:
            return Outcome(kind=OutcomeKind.NOT_SENT, message="too many requests", retry_after_s=self.retry_after_s)
        return Outcome(kind=OutcomeKind.NOT_SENT, message="connection refused")

    async def _read(self, name: str, *, readable: bool = True) -> None:
        self.calls.append(name)
        self.asking[name] += 1
        self.most_asking = max(self.most_asking, self.asking[name])
        try:
            if self.dead == HANG or name in self.hanging:
                await asyncio.Event().wait()
        finally:
            self.asking[name] -= 1
        if self.dead == BUSY:
            raise BookUnreadableError("too many requests", retry_after_s=self.retry_after_s)
        if self.dead == RAISE:
            raise RuntimeError("the adapter is broken")
        if self.dead or not self.readable or not readable:
            raise BookUnreadableError("the broker is away")

    # -- what a test makes happen there -------------------------------------------------------------------------------

    def take(self, order: Order) -> BookRow:
        """The order arrives in the book."""
        intent = order.intent
        self._taken += 1
        row = BookRow(
            broker_order_id=f"B{self._taken}", tag=order.tag, symbol=intent.symbol, side=intent.side,
            product=intent.product, ord_type=intent.ord_type, order_qty=intent.order_qty, cum_qty=ZERO,
            status=OrderStatus.PLACED, message="", updated_at=self._clock.now(), price=intent.price,
            trigger_price=intent.trigger_price,
        )  # fmt: skip
        self.rows[order.tag] = row
        return row

    def trade_by_hand(self, symbol: str, product: Product, side: Side, qty: Decimal) -> None:
        """Somebody trades in the broker's app: a row of the book without a tag, and the position."""
        row = BookRow(
            broker_order_id=f"HAND{len(self.others)}", tag="", symbol=symbol, side=side, product=product,
            ord_type=OrdType.MARKET, order_qty=qty, cum_qty=qty, status=OrderStatus.FILLED, message="",
            updated_at=self._clock.now(),
        )  # fmt: skip
        self.others.append(row)
        self.held[symbol, product] = self.held.get((symbol, product), ZERO) + side.sign * qty

    def change(self, order: Order) -> None:
        """The order in the book gets the terms that are asked for, unless it has ended."""
        row, wished = self.rows.get(order.tag), order.replace
        if row is not None and wished is not None and not row.status.is_closed:
            self.alter(order.tag, wished.terms)

    def alter(self, tag: str, terms: Terms) -> None:
        """Somebody changes an order in the book, which is told to nobody."""
        row = self.rows[tag]
        self.rows[tag] = replace(
            row, order_qty=terms.order_qty, price=terms.price or row.price,
            trigger_price=terms.trigger_price or row.trigger_price, updated_at=self._clock.now(),
        )  # fmt: skip

    def execute(self, tag: str, qty: Decimal, px: Decimal, exec_id: str = "") -> Report:
        """An execution in the book; the report of it is returned and told to nobody."""
        row = self.rows[tag]
        self._numbers += 1
        report = self.report(tag, ReportKind.FILL, exec_id=exec_id or f"X{self._numbers}", last_qty=qty, last_px=px)
        cum_qty = row.cum_qty + qty
        status = OrderStatus.FILLED if cum_qty >= row.order_qty else OrderStatus.PARTIAL
        self.rows[tag] = replace(row, cum_qty=cum_qty, status=status, fills=(*row.fills, report))
        key = (row.symbol, row.product.value)
        self.held[key] = self.held.get(key, ZERO) + row.side.sign * qty
        return report

    def end(self, tag: str, status: OrderStatus, message: str = "") -> Report:
        """The end of an order in the book; the report of it is returned and told to nobody."""
        self.rows[tag] = replace(self.rows[tag], status=status, message=message)
        return self.report(tag, _ENDS[status], message=message)

    def report(self, tag: str, kind: ReportKind, **values: object) -> Report:
        row = self.rows.get(tag)
        return Report(
            account=self.account, kind=kind, tag=tag, broker_order_id=row.broker_order_id if row else "B0",
            transact_time=self._clock.now(), **values,  # type: ignore[arg-type]
        )  # fmt: skip

    async def tell(self, *reports: Report) -> None:
        """Deliver reports now."""
        assert self._sink is not None
        await self._sink(list(reports))

    async def fill(self, tag: str, qty: object, px: object = "812.5") -> None:
        """An execution, told at once."""
        await self.tell(self.execute(tag, Decimal(str(qty)), Decimal(str(px))))

    def _fill_soon(self, tag: str, px: Decimal) -> None:
        row = self.rows[tag]
        if not row.status.is_closed and self._sink is not None:
            self._later(self.execute(tag, row.order_qty - row.cum_qty, px))

    def _end_soon(self, tag: str) -> None:
        row = self.rows.get(tag)
        if row is not None and not row.status.is_closed:
            self._later(self.end(tag, OrderStatus.CANCELLED, "on request"))

    def _tell_row_soon(self, tag: str) -> None:
        row = self.rows.get(tag)
        if row is not None and not row.status.is_closed:
            self._later(reports_of(self.account, row)[0])

    def _later(self, report: Report) -> None:
        self._task = asyncio.get_running_loop().create_task(self.tell(report))
