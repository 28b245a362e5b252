"""PaperBroker: the paper venue behind the broker port; its books live in the store beside the bridge's own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Protocol, TypeVar

from bridge.brokers.base import BookUnreadableError, BrokerStatus, Capabilities, ReportSink
from bridge.brokers.charges import load_rates
from bridge.brokers.paper.admission import reason_of
from bridge.brokers.paper.delivery import Delivery
from bridge.brokers.paper.margin import available, equity
from bridge.brokers.paper.shelves import PaperShelves
from bridge.brokers.paper.values import Changes, Desk, OrderRequest, PaperAccount, PaperOrder, PaperPolicy
from bridge.brokers.paper.venue import cancel_order, change_order, end_of_day, match_price, place_order, start_day, would_move
from bridge.core.clock import IST, Clock, market_day
from bridge.core.enums import OutcomeKind, Variety
from bridge.core.errors import InvariantError, StoreError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Shelf
from bridge.core.offer import Offer
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import Terms
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

# Orders that gather while a commit is on its way share the next one; so many fill a group.
MAX_IN_FLIGHT = 256
# Nobody sees the legs of an iceberg here, so it fills as any order does.
OFFER = Offer(varieties=frozenset({Variety.REGULAR, Variety.ICEBERG}))
DAY_WATCH_S = 30.0
# The event loop gets a turn after so many rows of the book.
ROWS_PER_TURN = 500


class Tx(Protocol):
    """A transaction of the store, as far as the paper broker needs it."""

    def put(self, shelf: Shelf[K, V], key: K, value: V | None) -> None:
        """Put a value in its place, in memory at once and on disk with the commit; taken back if that fails."""
        ...


class PaperStore(Protocol):
    """Where the books are kept."""

    def write(self, fn: Callable[[Tx], T], /) -> Awaitable[T]:
        """Run `fn` in the one writer, after those that were given before, and resolve when its commit is on disk.

        StoreError: nothing was written, or nobody knows; a later `fn` sees the books as they are on disk.
        A waiter that is cancelled does not take its `fn` back.
        """
        ...


@dataclass(slots=True)
class _Command:
    """A change on its way through the store; `changes` is what it made of the books when it ran."""

    act: Callable[[Tx], Changes]
    changes: Changes | None = None

    def __call__(self, tx: Tx) -> Changes:
        self.changes = changes = self.act(tx)
        return changes


class PaperBroker:
    """One paper account. `cash` is what it opens with, the first time it is seen.

    `latest_price` and `instrument` are asked in the writer's thread, and must answer at once.
    """

    def __init__(
        self,
        account: str,
        *,
        cash: Decimal,
        policy: PaperPolicy,
        shelves: PaperShelves,
        store: PaperStore,
        latest_price: Callable[[str], Decimal | None],
        instrument: Callable[[str], Instrument | None],
        clock: Clock,
    ) -> None:
        self.account = account
        self.capabilities = Capabilities(
            name="paper", is_paper=True, max_in_flight=MAX_IN_FLIGHT, call_timeout_s=None, offer=OFFER
        )
        self._cash = cash
        self._policy = policy
        self._shelves = shelves
        self._store = store
        self._latest_price = latest_price
        self._instrument = instrument
        self._clock = clock
        self._delivery = Delivery(account)
        self._watch: asyncio.Task[None] | None = None
        self._finding_out: set[asyncio.Task[None]] = set()
        if policy.charges:
            load_rates()  # from disk now, not during the first order

    # --- the session ------------------------------------------------------------------------------------------------

    async def start(self, sink: ReportSink) -> None:
        """Deliver reports from now on and turn the account to today; if the store fails, the first order does that."""
        self._delivery.start(sink)
        await self._turn_day()
        self._watch = asyncio.get_running_loop().create_task(self._watch_day())

    async def stop(self) -> None:
        """Deliver nothing afterwards; reports that were not taken wait for the next start."""
        for task in (*self._finding_out, *([self._watch] if self._watch else [])):
            task.cancel()
        await self._delivery.stop()

    async def _turn_day(self) -> None:
        if self._account().day != market_day(self._clock.now()):
            await self._tell(partial(self._begin, self._clock.now()))

    async def _watch_day(self) -> None:
        """Orders for the day end at midnight in India even when nothing else happens."""
        while True:
            await asyncio.sleep(DAY_WATCH_S)
            await self._turn_day()

    def status(self) -> BrokerStatus:
        """Connected from start to stop."""
        if not self._delivery.is_running:
            return BrokerStatus(connected=False, message="The paper broker has not been started.")
        if self._delivery.is_full:
            message = f"{self._delivery.waiting} reports have not been taken; no orders until they are."
            return BrokerStatus(connected=False, message=message)
        return BrokerStatus(connected=True)

    async def end_day(self) -> None:
        """The session is over: resting orders expire. StoreError: not yet, call again."""
        outcome = await self._tell(self._end_day)
        if outcome.kind is not OutcomeKind.ACCEPTED:
            raise StoreError(outcome.message)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> Outcome:
        """Take the order; what it came to at once is in the outcome, everything later comes through the sink."""
        return await self.take(_request_of(order))

    async def take(self, request: OrderRequest) -> Outcome:
        """`place` for who has no order of the bridge, but what came over the wire."""
        if self._delivery.is_full:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=self.status().message)
        outcome = await self._carry_out(partial(self._place, request))
        if outcome.reports and outcome.reports[0].broker_order_id != outcome.broker_order_id:
            return self._keep_own(outcome)
        return outcome

    async def cancel(self, order: Order) -> Outcome:
        """Take the order out of the book; the end comes as a report."""
        return await self._tell(partial(self._cancel, partial(self._find, order)))

    async def withdraw(self, broker_order_id: str) -> Outcome:
        """`cancel` by the book's own id."""
        return await self._tell(partial(self._cancel, partial(self._shelves.orders.get, (self.account, broker_order_id))))

    async def modify(self, order: Order) -> Outcome:
        """Change the order's terms; the new ones come as a report, and what they are filled at."""
        return await self._tell(partial(self._modify, partial(self._find, order), _wished(order)))

    async def alter(self, broker_order_id: str, terms: Terms) -> Outcome:
        """`modify` by the book's own id."""
        find = partial(self._shelves.orders.get, (self.account, broker_order_id))
        return await self._tell(partial(self._modify, find, terms))

    async def on_price(self, symbol: str, price: Decimal) -> None:
        """Let resting orders meet a new price. When the store fails they meet the next one."""
        if price <= 0 or self._delivery.is_full:
            return
        working = self._shelves.orders.working(self.account, symbol)
        if any(would_move(order, price) for order in working.values()):
            await self._tell(partial(self._match, symbol, price))

    # --- reads ------------------------------------------------------------------------------------------------------

    async def book(self) -> list[BookRow]:
        """Orders that work or were touched today, oldest first."""
        since = _midnight(self._clock.now())
        orders = await self._read(lambda: list(self._shelves.orders.values.values()))
        rows: list[BookRow] = []
        for number, order in enumerate(orders, start=1):
            if order.account == self.account and (order.updated_at >= since or not order.status.is_closed):
                rows.append(_row_of(order))
            if number % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)
        return sorted(rows, key=lambda row: row.broker_order_id)

    async def positions(self) -> list[BrokerPosition]:
        """Net positions that are not flat."""
        positions = await self._read(lambda: list(self._shelves.positions.of(self.account).values()))
        return [
            BrokerPosition(symbol=position.symbol, product=position.product, quantity=position.quantity)
            for position in positions
        ]

    async def funds(self) -> Funds:
        """Money now, at the latest prices."""
        return await self._read(self._funds)

    async def _read(self, look: Callable[[], T]) -> T:
        """What the books say between two commands, with everything before on disk."""
        try:
            return await self._store.write(lambda _tx: look())
        except StoreError as error:
            raise BookUnreadableError(f"the paper broker's books cannot be read: {error}") from error

    def _funds(self) -> Funds:
        desk = self._desk({})
        return Funds(
            account=self.account,
            equity=equity(desk),
            available=available(desk),
            at=self._clock.now(),
            cash=desk.account.cash,
        )

    # --- in the writer's thread -------------------------------------------------------------------------------------

    def _place(self, request: OrderRequest, tx: Tx) -> Changes:
        now = self._clock.now()
        earlier = self._begin(now, tx)
        desk = self._desk(self._shelves.orders.working(self.account, request.symbol))
        changes = place_order(desk, request, self._instrument(request.symbol), self._policy, now)
        return self._put(tx, changes, earlier)

    def _cancel(self, find: Callable[[], PaperOrder | None], tx: Tx) -> Changes:
        return self._put(tx, cancel_order(self._desk({}), find(), self._clock.now()))

    def _modify(self, find: Callable[[], PaperOrder | None], terms: Terms, tx: Tx) -> Changes:
        now = self._clock.now()
        earlier = self._begin(now, tx)
        order = find()
        desk = self._desk(self._shelves.orders.working(self.account, order.symbol) if order is not None else {})
        instrument = None if order is None else self._instrument(order.symbol)
        return self._put(tx, change_order(desk, order, terms, instrument, self._policy, now), earlier)

    def _match(self, symbol: str, price: Decimal, tx: Tx) -> Changes:
        instrument, now = self._instrument(symbol), self._clock.now()
        earlier = self._begin(now, tx)
        desk = self._desk(self._shelves.orders.working(self.account, symbol))
        if instrument is None:
            return self._put(tx, Changes(account=desk.account), earlier)
        return self._put(tx, match_price(desk, instrument, price, self._policy, now), earlier)

    def _end_day(self, tx: Tx) -> Changes:
        desk = self._desk(self._shelves.orders.all_working(self.account))
        return self._put(tx, end_of_day(desk, self._clock.now()))

    def _begin(self, now: datetime, tx: Tx) -> Changes:
        """Turn the account to today before anything else happens in it."""
        account = self._account()
        if account.day == market_day(now):
            return Changes(account=account)
        desk = self._desk(self._shelves.orders.all_working(self.account))
        changes = self._put(tx, start_day(desk, now))
        self._shelves.orders.forget_closed(self.account, _midnight(now))
        return changes

    def _put(self, tx: Tx, changes: Changes, earlier: Changes | None = None) -> Changes:
        """Write the changes down; what a new day did before them is told before them."""
        shelves = self._shelves
        for order in changes.orders:
            tx.put(shelves.orders, (order.account, order.broker_order_id), order)
        for key, position in changes.positions.items():
            tx.put(shelves.positions, key, position)
        if changes.account is not shelves.accounts.get(self.account):
            tx.put(shelves.accounts, self.account, changes.account)
        if earlier is None or not earlier.reports:
            return changes
        return replace(changes, reports=earlier.reports + changes.reports)

    def _account(self) -> PaperAccount:
        found = self._shelves.accounts.get(self.account)
        return PaperAccount(account=self.account, opening_cash=self._cash) if found is None else found

    def _desk(self, working: dict[str, PaperOrder]) -> Desk:
        positions = self._shelves.positions.of(self.account)
        return Desk(account=self._account(), positions=positions, working=working, price_of=self._latest_price)

    def _find(self, order: Order) -> PaperOrder | None:
        if order.broker_order_id is not None:
            return self._shelves.orders.get((self.account, order.broker_order_id))
        tagged = self._shelves.orders.with_tag(self.account, order.tag)
        return tagged[-1] if tagged else None

    # --- outcomes ---------------------------------------------------------------------------------------------------

    async def _tell(self, act: Callable[[Tx], Changes]) -> Outcome:
        """Run a command that nobody reads the answer of; what it brought about goes through the sink."""
        outcome = await self._carry_out(act)
        self._delivery.put(outcome.reports)
        return replace(outcome, reports=())

    def _keep_own(self, outcome: Outcome) -> Outcome:
        """The first order of a day found others to expire: those are none of its sender's business."""
        own = tuple(report for report in outcome.reports if report.broker_order_id == outcome.broker_order_id)
        self._delivery.put(report for report in outcome.reports if report not in own)
        return replace(outcome, reports=own)

    async def _carry_out(self, act: Callable[[Tx], Changes]) -> Outcome:
        """Run a command; its reports come with the outcome, and through the sink when nobody waits for it any more."""
        command = _Command(act)
        try:
            changes = await self._store.write(command)
        except asyncio.CancelledError:
            task = asyncio.get_running_loop().create_task(self._find_out_later(command))
            self._finding_out.add(task)
            task.add_done_callback(self._finding_out.discard)
            raise
        except StoreError as error:
            if command.changes is None:
                return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error))
            return await self._find_out(command, str(error))
        if changes.refusal:
            self._delivery.put(changes.reports)
            return Outcome(kind=OutcomeKind.REFUSED, message=changes.refusal)
        return _accepted(changes)

    async def _find_out_later(self, command: _Command) -> None:
        outcome = await self._find_out(command, "")
        self._delivery.put(outcome.reports)

    async def _find_out(self, command: _Command, message: str) -> Outcome:
        """What became of a command whose commit failed or was not waited for: looked up in the books, never guessed."""
        try:
            written = await self._store.write(lambda _tx: self._is_written(command))
        except StoreError as error:
            return Outcome(kind=OutcomeKind.UNKNOWN, message=f"It is not known whether this was written: {error}")
        if not written or command.changes is None:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=message)
        return _accepted(command.changes)

    def _is_written(self, command: _Command) -> bool:
        return command.changes is not None and self._shelves.hold(command.changes)


def _accepted(changes: Changes) -> Outcome:
    ident = changes.orders[0].broker_order_id if changes.orders else None
    return Outcome(kind=OutcomeKind.ACCEPTED, broker_order_id=ident, reports=changes.reports)


def _wished(order: Order) -> Terms:
    if order.replace is None:
        raise InvariantError(f"no change is asked of order {order.cl_ord_id}")
    return order.replace.terms


def _request_of(order: Order) -> OrderRequest:
    """What goes over the wire; the bridge's own names and reasons do not."""
    intent = order.intent
    return OrderRequest(
        tag=order.tag,
        symbol=intent.symbol,
        product=intent.product,
        side=intent.side,
        order_qty=intent.order_qty,
        ord_type=intent.ord_type,
        time_in_force=intent.time_in_force,
        price=intent.price,
        trigger_price=intent.trigger_price,
        legs=intent.legs,
    )


def _row_of(order: PaperOrder) -> BookRow:
    return BookRow(
        broker_order_id=order.broker_order_id,
        tag=order.tag,
        symbol=order.symbol,
        side=order.side,
        product=order.product,
        ord_type=order.ord_type,
        order_qty=order.order_qty,
        cum_qty=order.cum_qty,
        status=order.status,
        message=order.message,
        updated_at=order.updated_at,
        fills=order.fills,
        price=order.price,
        trigger_price=order.trigger_price,
        reason=reason_of(order.message) if order.status is OrderStatus.REJECTED else None,
    )


def _midnight(now: datetime) -> datetime:
    """The start of the market's day."""
    return now.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
