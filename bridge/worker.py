"""The worker: at start it puts everything back where it was, and then keeps an eye on what only time can move."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from bridge.brokers.base import BookUnreadableError
from bridge.core.clock import Clock, elapsed
from bridge.core.errors import DuplicateError, InvariantError, StoreError
from bridge.core.events import AlarmRaised, AskReady, BookWanted, Event, OrderReady, PriceSeen, Reloaded
from bridge.core.money import to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.report import Report
from bridge.execution.breaker import BreakerState
from bridge.execution.guard import GuardedBroker
from bridge.execution.orders import queue_order, record
from bridge.execution.outbox import Lane, write_down
from bridge.execution.reconcile import Reconciler
from bridge.pipeline import Pipeline
from bridge.portfolio.book import roll_day
from bridge.queueing import RETRY_AFTER
from bridge.risk.turns import is_stuck
from bridge.store.store import Store
from bridge.store.tx import Tx

TICK_S = 1.0
# A send that no lane knows of any more has lost its answer.
LOST_AFTER = timedelta(seconds=5)
FUNDS_EVERY_S = 5.0
# A broker that is slow to tell how things stand holds up the start for no longer than this.
START_PATIENCE_S = 5.0
# An exit that cannot leave for so long is a person's business, whatever keeps the broker away.
EXIT_PATIENCE_S = 30.0
EXIT_PATIENCE = timedelta(seconds=EXIT_PATIENCE_S)


class Worker:
    """Drives what was left undone: alerts without orders, orders without answers, entries too old to send."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        pipeline: Pipeline,
        lanes: Mapping[str, Lane],
        brokers: Mapping[str, GuardedBroker],
        reconciler: Reconciler,
        publish: Callable[[list[Event]], None],
        on_fault: Callable[[str, BaseException], None],
        on_alarm: Callable[[str], None],
        on_tick: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ):
        self._clock = clock
        self._store = store
        self._pipeline = pipeline
        self._lanes = lanes
        self._brokers = brokers
        self._reconciler = reconciler
        self._publish = publish
        self._on_fault = on_fault
        self._on_alarm = on_alarm
        self._on_tick = on_tick
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._funds_due: dict[str, float] = {}
        self._funds_s: dict[str, float] = {}  # when the word on money that we have was asked for
        self._funds_asked: dict[str, asyncio.Task[None]] = {}
        self._away_since_s: dict[str, float] = {}
        self._told_of_exits: set[str] = set()
        self._told_stuck: set[str] = set()
        self._recover_due = False
        self._is_recovering = False

    # -- what commits tell --------------------------------------------------------------------------------------------

    def on_events(self, events: list[Event]) -> None:
        """Runs in the event loop after every commit: orders go to their lanes, news to the pages."""
        prices: dict[str, Decimal] = {}
        for event in events:
            try:
                self._hear(event, prices)
            except Exception as error:  # the others of this commit must be heard all the same
                self._on_fault("events", error)
        if prices:
            self._spawn(partial(self._tell_prices, prices))
        self._publish(events)

    def _hear(self, event: Event, prices: dict[str, Decimal]) -> None:
        if isinstance(event, OrderReady):
            self._to_lane(event)
        elif isinstance(event, AskReady):
            order = self._store.ledger.orders.get(event.cl_ord_id)
            if order is not None:
                self._lanes[event.account].push_ask(order, again=event.again)
        elif isinstance(event, BookWanted):
            self._reconciler.look_at(event.account)
        elif isinstance(event, PriceSeen):
            prices[event.symbol] = event.price
        elif isinstance(event, AlarmRaised):
            self._on_alarm(event.message)
        elif isinstance(event, Reloaded) and not self._recover_due:  # else a pass has failed: the next tick tries again
            self._recover_due = True
            self._reconciler.look_soon()
            self._spawn(self._recover_if_due)

    def _to_lane(self, event: OrderReady) -> None:
        lane = self._lanes[event.account]
        order = self._store.ledger.orders.get(event.cl_ord_id)
        if event.granted and order is not None and order.status is OrderStatus.PENDING:
            lane.send_granted(order)
        else:
            lane.push(event.cl_ord_id, reduce_only=event.reduce_only, granted=event.granted)

    async def take_reports(self, reports: list[Report]) -> None:
        """The sink of every broker; raises StoreError when they could not be stored, and the broker delivers again."""
        try:
            await self._store.write(lambda tx: self._pipeline.apply_reports(tx, reports, self._clock.now()))
        except (DuplicateError, InvariantError) as error:
            self._on_fault("reports", error)
            await self._take_one_by_one(reports)

    async def _take_one_by_one(self, reports: list[Report]) -> None:
        """One report of a batch cannot be applied: the others must be, and a person is told of that one."""
        for report in reports:
            try:
                await self._store.write(partial(self._pipeline.apply_reports, reports=[report], now=self._clock.now()))
            except (DuplicateError, InvariantError) as error:
                told = f"A report of the broker cannot be applied ({type(error).__name__}): {report.kind} {report.exec_id}"
                await self._store.write(partial(self._tell, account=report.account, message=told))

    def raise_alarm(self, account: str, message: str) -> None:
        """Tell a person something of an account that no order's own record tells."""
        self._spawn(lambda: write_down(self._store.write, partial(self._tell, account=account, message=message)))

    def _tell(self, tx: Tx, account: str, message: str) -> None:
        tx.audit(AuditAction.ALARM_RAISED, self._clock.now(), account=account, message=message)

    # -- start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything to where it was, then begin to tick."""
        self._ask_for_funds()
        self._reconciler.look_soon()
        looks = self._reconciler.watch()
        await asyncio.wait([*self._funds_asked.values(), *looks], timeout=START_PATIENCE_S)
        await self.recover()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="worker")

    async def stop(self) -> None:
        """Stop ticking; what is undone is taken up at the next start."""
        tasks = [task for task in (self._task, *self._background) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def recover(self) -> None:
        """Re-enter every alert and order at its recorded point. The same pass serves a start and a lost database."""
        self._recover_due = False
        try:
            await self._recover()
        except StoreError:
            self._recover_due = True
            raise

    async def _recover(self) -> None:
        doubted: list[Order] = await self._store.write(self._recover_orders)
        for order in doubted:
            self._reconciler.doubt(order.intent.account)
        await self._store.write(self._take_up_alerts)

    async def _recover_if_due(self) -> None:
        """One pass at a time, and another one when the database was read anew meanwhile."""
        if self._is_recovering:
            return
        self._is_recovering = True
        try:
            while self._recover_due:
                await self.recover()
        finally:
            self._is_recovering = False

    def _recover_orders(self, tx: Tx) -> list[Order]:
        """PENDING without an answer is in doubt, unless this very process awaits it; NEW goes to its lane; cancels and changes
        are asked again, since asking twice does no harm."""
        now = self._clock.now()
        doubted = []
        # Sent off by this very group: their lanes hear of it only after the commit.
        leaving = {event.cl_ord_id for event in tx.events if isinstance(event, OrderReady)}
        for _cl_ord_id, order in sorted(tx.ledger.orders.values.items()):  # as they were made, on every database
            lane = self._lanes[order.intent.account]
            if order.cl_ord_id in leaving or lane.knows(order.cl_ord_id):
                continue
            if order.status is OrderStatus.PENDING:
                doubted.append(record(tx, order, OrderEventKind.DOUBT, now, message="the bridge restarted before the answer"))
            elif order.status is OrderStatus.IN_DOUBT:
                doubted.append(order)
            elif order.status is OrderStatus.NEW:
                queue_order(tx, order, granted=False)
            elif order.status in (OrderStatus.CANCEL_PENDING, OrderStatus.REPLACE_PENDING):
                tx.emit(AskReady(account=order.intent.account, cl_ord_id=order.cl_ord_id, again=True))
        return doubted

    def _take_up_alerts(self, tx: Tx) -> None:
        self._pipeline.take_up_due(tx, self._clock.now())

    # -- ticking ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except StoreError:
                continue  # the store is away; the next tick finds the same work
            except Exception as error:  # the worker must outlive any fault of one pass
                self._on_fault("worker", error)

    async def tick(self) -> None:
        """One pass: looks that are due, entries too old, alerts taken up again, orders that no lane knows, the day, the funds.

        No broker is waited for in here: one that hangs must not hold up the others' work.
        """
        self._reconciler.watch()
        self._ask_for_funds()
        self._watch_exits()
        self._watch_stuck_exits()
        if self._store.writer.trouble:  # a record proves that the store takes them again, also where no alert comes
            await announce(self._store, self._clock, AuditAction.STORE_BACK, {})
        await self._recover_if_due()  # the pass after a reload may have met a store that was away again
        if self._undone():
            lost: list[Order] = await self._store.write(self._sweep)
            for order in lost:
                self._reconciler.doubt(order.intent.account)
        if self._on_tick is not None:
            await self._on_tick()

    def _ask_for_funds(self) -> None:
        for account in self._brokers:
            if self._is_funds_due(account):
                self._funds_asked[account] = self._spawn(partial(self._refresh_funds, account))

    def _watch_exits(self) -> None:
        """Raise an alarm, once for each absence of a broker, when exits have to wait for it."""
        now = self._clock.monotonic()
        for account, broker in self._brokers.items():
            status = broker.status()
            if status.connected:
                self._away_since_s.pop(account, None)
                self._told_of_exits.discard(account)
                continue
            is_long = now - self._away_since_s.setdefault(account, now) >= EXIT_PATIENCE_S
            exits = [o for o in list(self._store.ledger.orders.unsent[account].values()) if o.intent.reduce_only]
            if is_long and exits and account not in self._told_of_exits:
                self._told_of_exits.add(account)
                self.raise_alarm(account, f"Account {account}: exits wait and cannot leave ({len(exits)}): {status.message}")

    def _watch_stuck_exits(self) -> None:
        """Raise an alarm, once for each, over exits at market that rest at the broker: their position is open."""
        now = self._clock.now()
        found = [order for account in self._brokers for order in self._store.ledger.open_orders(account)]
        stuck = [order for order in found if order.intent.reduce_only and is_stuck(order, now, EXIT_PATIENCE)]
        for order in stuck:
            if order.cl_ord_id not in self._told_stuck:
                left = f"{to_text(order.leaves_qty)} {order.intent.symbol}"
                told = (
                    f"Exit {order.cl_ord_id} rests at the broker with {left} to close. Send the exit again, or see to it there."
                )
                self.raise_alarm(order.intent.account, told)
        self._told_stuck = {order.cl_ord_id for order in stuck}

    def _is_funds_due(self, account: str) -> bool:
        """A broker that was away is looked at when its breaker says so; the look is to ask for the funds."""
        broker, asked = self._brokers[account], self._funds_asked.get(account)
        if not broker.is_readable or (asked is not None and not asked.done()):
            return False
        if broker.state is not BreakerState.CLOSED:
            return True
        return self._clock.monotonic() >= self._funds_due.get(account, 0) or self._money_moved(account)

    def _money_moved(self, account: str) -> bool:
        asked_s, filled_s = self._funds_s.get(account), self._store.ledger.last_fill_s.get(account)
        return asked_s is None or (filled_s is not None and filled_s > asked_s)

    def _undone(self) -> bool:
        ledger = self._store.ledger
        return bool(ledger.waiting.values) or any(ledger.orders.unsent.values()) or any(ledger.orders.sending.values())

    def _sweep(self, tx: Tx) -> list[Order]:
        """Returns the orders whose answer nobody awaits any more, which are in doubt now."""
        now = self._clock.now()
        self._pipeline.expire_unsent(tx, now)
        self._take_up_alerts(tx)
        for account, orders in list(tx.ledger.orders.unsent.items()):
            for order in orders.values():
                if elapsed(order.updated_at, now) >= RETRY_AFTER and not self._lanes[account].knows(order.cl_ord_id):
                    queue_order(tx, order, granted=False)
        lost = [
            order
            for account, orders in tx.ledger.orders.sending.items()
            for order in orders.values()
            if elapsed(order.updated_at, now) >= LOST_AFTER and not self._lanes[account].knows(order.cl_ord_id)
        ]
        return [record(tx, order, OrderEventKind.DOUBT, now, message="the broker's answer was lost") for order in lost]

    async def _refresh_funds(self, account: str) -> None:
        """Ask for the broker's word on money; a word that a booked fill has overtaken is not taken."""
        asked_s = self._clock.monotonic()
        self._funds_due[account] = asked_s + FUNDS_EVERY_S
        try:
            funds = await self._brokers[account].funds()
        except BookUnreadableError as error:
            if not self._brokers[account].status().session_lost:  # that is told, and every second until somebody logs in
                self._on_fault("funds", error)
            return

        def take(tx: Tx) -> bool:
            is_fresh = tx.ledger.last_fill_s.get(account, asked_s) <= asked_s
            if is_fresh:
                tx.put(tx.ledger.funds, account, funds)
            roll_day(tx, account, self._clock.now())
            return is_fresh

        if await self._store.write(take):
            self._funds_s[account] = asked_s

    async def _tell_prices(self, prices: Mapping[str, Decimal]) -> None:
        for broker in self._brokers.values():
            for symbol, price in prices.items():
                await broker.on_price(symbol, price)

    def run_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this in the background; a fault of it is counted."""
        self._spawn(work)

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(self._guard(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except StoreError:
            return  # whatever it was, the next tick or the next price does it again
        except Exception as error:  # a fault here must not vanish with its task
            self._on_fault("background", error)


def announce(store: Store, clock: Clock, action: AuditAction, data: dict[str, object]) -> "asyncio.Future[None]":
    """Put the start or stop of the bridge into the audit."""

    def tell(tx: Tx) -> None:
        tx.audit(action, clock.now(), data=data)
        tx.touch("state")

    return store.write(tell)
