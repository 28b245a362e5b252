"""Lanes: one per account, in order, exits before entries; each broker call stands between two commits."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from bridge.core.clock import Clock
from bridge.core.enums import OutcomeKind
from bridge.core.errors import StoreError
from bridge.core.events import BookWanted
from bridge.core.order import Order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.report import Outcome
from bridge.execution.compare import Alarm, ask_key
from bridge.execution.doubts import tell
from bridge.execution.gate import Gate
from bridge.execution.guard import GuardedBroker
from bridge.execution.orders import printable
from bridge.execution.retry import Asked, Next, NextStep, decide_next
from bridge.store.tx import Tx

T = TypeVar("T")
Write = Callable[[Callable[[Tx], Any]], "asyncio.Future[Any]"]
# How long a lane waits before it looks again at a broker that is not connected.
SESSION_POLL_S = 0.5
LONGEST_PAUSE_S = 1.0
_GRANTED, _EXIT, _ENTRY = range(3)
_ASKED = {OrderStatus.CANCEL_PENDING: Asked.CANCEL, OrderStatus.REPLACE_PENDING: Asked.REPLACE}
_TAKEN = decide_next(Asked.PLACE, OutcomeKind.ACCEPTED)


class Granted(Protocol):
    """Whether an order may leave, and when."""

    @property
    def order(self) -> Order | None:
        """The order as recorded; None when it has ended."""
        ...

    @property
    def wait_s(self) -> float:
        """Seconds until it may be asked for again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSteps:
    """What a lane calls of the pipeline, inside transactions, and whom it asks or tells.

    `find_order` gives an order as it stands, `seconds_left` how long an entry may still leave: None for exits. `shortage` asks
    the broker, for orders that `is_asked` names, why there is not money enough, until something else is in a hurry; `deny`
    ends them for it. `why_not_change` says why the change asked of an order must not leave any more, and nothing while it may.
    """

    begin_send: Callable[[Tx, str, datetime], Granted]
    apply_outcome: Callable[[Tx, Order, Outcome, datetime], Order | None]
    expire: Callable[[Tx, Order, datetime, str], object]
    find_order: Callable[[str], Order | None]
    seconds_left: Callable[[Order, datetime], float | None]
    why_not_change: Callable[[Order, datetime], str]
    note_refusal: Callable[[Tx, Order, OrderEventKind, str, datetime], object]
    in_doubt: Callable[[str, str], None]
    is_asked: Callable[[Order], bool]
    shortage: Callable[[Order, asyncio.Event], Awaitable[str]]
    deny: Callable[[Tx, Order, str, datetime], object]
    on_send: Callable[[Order], None]
    on_fault: Callable[[str, BaseException], None]


class Lane:
    """Sends one account's orders; as many broker calls at once as the broker has room for, begun in order."""

    def __init__(
        self,
        account: str,
        broker: GuardedBroker,
        write: Write,
        steps: LaneSteps,
        gate: Gate,
        clock: Clock,
    ):
        self.account = account
        self._broker = broker
        self._write = write
        self._steps = steps
        self._gate = gate
        self._clock = clock
        self._queue: list[tuple[int, int, str]] = []
        self._queued: set[str] = set()
        self._sequence = 0
        self._granting = False
        self._sending: set[str] = set()
        self._calling: set[str] = set()
        self._pausing: set[str] = set()
        # What is being asked of which orders; True when it was wanted again meanwhile.
        self._asking: dict[tuple[Asked, str], bool] = {}
        self._wake = asyncio.Event()
        self._held = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._runner = asyncio.get_running_loop().create_task(self._run(), name=f"lane-{self.account}")

    def hold(self) -> None:
        """Begin no broker call any more, at once and for good."""
        self._held.set()
        self._wake.set()

    async def finish(self) -> None:
        """Return once all that had begun when the lane was held is answered and written down, however long that takes."""
        while busy := [task for task in (self._runner, *self._tasks) if task is not None and not task.done()]:
            await asyncio.wait(busy)

    async def stop(self) -> list[str]:
        """Cut off what has not finished; the orders whose answers are thereby unknown."""
        self.hold()
        await asyncio.sleep(0)  # what was spawned this instant gets as far as handing its word to the writer
        tasks = [task for task in (self._runner, *self._tasks) if task is not None]
        unanswered = sorted(self._calling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return unanswered

    @property
    def backlog(self) -> int:
        """Orders that wait here or are on their way."""
        return len(self._queued) + len(self._sending)

    def knows(self, cl_ord_id: str) -> bool:
        """True while the order waits here, is on its way, or is to be sent again after a pause."""
        return cl_ord_id in self._queued or cl_ord_id in self._sending or cl_ord_id in self._pausing

    def push(self, cl_ord_id: str, *, reduce_only: bool, granted: bool) -> None:
        """Queue an order; one whose sending is recorded already goes first, then exits, then entries."""
        if cl_ord_id in self._queued:
            return
        self._queued.add(cl_ord_id)
        rank = _GRANTED if granted else _EXIT if reduce_only else _ENTRY
        self._sequence += 1
        heapq.heappush(self._queue, (rank, self._sequence, cl_ord_id))
        self._wake.set()

    def push_ask(self, order: Order, *, again: bool) -> None:
        """Ask the broker to cancel or change what is recorded so; this does not queue behind orders, and one of a kind is asked
        of an order at a time. `again` says that it may have been asked before.
        """
        asked = _ASKED.get(order.status)
        if asked is None:
            return
        key = (asked, order.cl_ord_id)
        if key in self._asking:
            self._asking[key] = True
        else:
            self._asking[key] = False
            self._spawn(self._ask(asked, order.cl_ord_id, again=again))

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._held.is_set() or self._next_is_granted():
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._drain()
            except StoreError:
                await asyncio.sleep(SESSION_POLL_S)
                self._wake.set()
            except Exception as error:  # a fault with one order must not stop the lane
                self._steps.on_fault("lane", error)
                await asyncio.sleep(SESSION_POLL_S)
                self._wake.set()

    async def _drain(self) -> None:
        """Begin as many calls as the broker takes at once; more when one has ended."""
        while self._may_begin():
            if self._queue[0][0] != _GRANTED and not self._broker.status().connected:
                await self._pause(SESSION_POLL_S)
                self._wake.set()
                return
            item = heapq.heappop(self._queue)
            rank, _sequence, cl_ord_id = item
            if cl_ord_id in self._sending:  # its own answer is not written down yet, and will follow it up
                self._queued.discard(cl_ord_id)
                continue
            if rank == _ENTRY and not self._queue and await self._is_denied(cl_ord_id):
                self._queued.discard(cl_ord_id)
                continue
            if self._queue and self._queue[0] < item:  # an exit came while the broker was asked
                heapq.heappush(self._queue, item)
                continue
            self._granting = True
            try:
                granted: Granted = await self._write(partial(self._grant, cl_ord_id=cl_ord_id, rank=rank))
            except StoreError:
                heapq.heappush(self._queue, item)
                raise
            except Exception:
                self._queued.discard(cl_ord_id)  # forgotten here, the worker's sweep queues it again
                raise
            finally:
                self._granting = False
            if granted.order is not None and granted.wait_s:
                heapq.heappush(self._queue, item)  # it keeps its place
                await self._pause(min(granted.wait_s, LONGEST_PAUSE_S))  # an exit that comes meanwhile must not wait longer
                continue
            self._queued.discard(cl_ord_id)
            if granted.order is not None:
                self._begin(granted.order)

    async def _is_denied(self, cl_ord_id: str) -> bool:
        """Ask the broker whether there is money for an entry, while nothing else wants to leave; True when it has ended."""
        order = self._steps.find_order(cl_ord_id)
        if order is None or order.status is not OrderStatus.NEW or not self._steps.is_asked(order):
            return False
        try:
            shortage = await self._steps.shortage(order, self._wake)
        except Exception as error:  # a question that fails says nothing against the order
            self._steps.on_fault("margins", error)
            return False
        if shortage:
            await write_down(self._write, partial(self._deny, cl_ord_id=cl_ord_id, message=shortage))
        return bool(shortage)

    def _deny(self, tx: Tx, cl_ord_id: str, message: str) -> None:
        order = tx.ledger.orders.get(cl_ord_id)
        if order is not None and order.status is OrderStatus.NEW:
            self._steps.deny(tx, order, message, self._clock.now())

    def _may_begin(self) -> bool:
        """Something waits, and the broker takes one more; in a held lane what was granted goes on, but only back to NEW."""
        if self._held.is_set():
            return self._next_is_granted()
        return bool(self._queue) and len(self._sending) < self._broker.room

    def _next_is_granted(self) -> bool:
        return bool(self._queue) and self._queue[0][0] == _GRANTED

    async def _pause(self, wait_s: float) -> None:
        """Wait, but not into a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._held.wait()

    def _grant(self, tx: Tx, cl_ord_id: str, rank: int) -> Granted:
        now = self._clock.now()
        order = tx.ledger.orders.get(cl_ord_id)
        if rank == _GRANTED and order is not None and order.status is OrderStatus.PENDING:
            return _Recorded(order)
        return self._steps.begin_send(tx, cl_ord_id, now)

    def send_granted(self, order: Order) -> None:
        """Send an order whose sending is on disk already, at once if the broker takes one more.

        What the lane itself was granted by the same commit goes first: it hears of that only after this.
        """
        full = len(self._sending) >= self._broker.room
        if not self._held.is_set() and (full or self._granting or self._next_is_granted()):
            self.push(order.cl_ord_id, reduce_only=order.intent.reduce_only, granted=True)
        else:
            self._begin(order)

    def _begin(self, order: Order) -> None:
        self._sending.add(order.cl_ord_id)
        self._spawn(self._send(order))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, order: Order) -> None:
        try:
            obstacle = self._obstacle(order)
            if obstacle:
                outcome = Outcome(kind=OutcomeKind.NOT_SENT, message=obstacle)
            else:
                self._steps.on_send(order)
                self._calling.add(order.cl_ord_id)
                outcome = await self._broker.place(order)
            after = _TAKEN if outcome.kind is OutcomeKind.ACCEPTED else self._decide(order, outcome, sent=not obstacle)
            noted = await write_down(self._write, lambda tx: self._apply(tx, order, outcome, after))
        finally:
            self._sending.discard(order.cl_ord_id)
            self._calling.discard(order.cl_ord_id)
            if self._queue:
                self._wake.set()
        if noted is not None:
            self._follow_up(noted, after)

    def _obstacle(self, order: Order) -> str:
        """Why the order must not leave although its sending is recorded; empty when nothing is in its way."""
        if self._held.is_set():
            return "the bridge stopped before it left"
        if not self._gate.lets_out(order):
            return "halted before it left"
        # Granted in the commit that made it, which does not see the session.
        status = self._broker.status()
        return "" if status.connected else status.message or "the broker is not connected"

    def _decide(self, order: Order, outcome: Outcome, *, sent: bool) -> Next:
        return decide_next(
            Asked.PLACE,
            outcome.kind,
            attempt=order.sends,
            named_s=outcome.retry_after_s,
            left_s=self._steps.seconds_left(order, self._clock.now()),
            held=not sent and not self._broker.status().connected,
        )

    def _apply(self, tx: Tx, order: Order, outcome: Outcome, after: Next) -> Order | None:
        """Write the outcome down, and with it the end of an entry whose next try would come too late."""
        now = self._clock.now()
        noted = self._steps.apply_outcome(tx, order, outcome, now)
        if after.step is NextStep.EXPIRE and noted is not None and noted.status is OrderStatus.NEW:
            self._steps.expire(tx, noted, now, outcome.message)
            return None
        return noted

    def _follow_up(self, order: Order, after: Next) -> None:
        if after.step is NextStep.LOOK_UP and order.status is OrderStatus.IN_DOUBT:
            self._steps.in_doubt(self.account, order.cl_ord_id)
        elif order.status is not OrderStatus.NEW:
            return
        elif after.step is NextStep.HOLD:  # the account waits, not the order: it goes before entries when the wait is over
            self._push_again(order)
        elif after.step is NextStep.SEND_AGAIN:
            self._pausing.add(order.cl_ord_id)
            asyncio.get_running_loop().call_later(after.wait_s, self._push_again, order)

    def _push_again(self, order: Order) -> None:
        self._pausing.discard(order.cl_ord_id)
        if not self._held.is_set():
            self.push(order.cl_ord_id, reduce_only=order.intent.reduce_only, granted=False)

    # -- asking: to cancel, or to change ------------------------------------------------------------------------------

    async def _ask(self, asked: Asked, cl_ord_id: str, *, again: bool) -> None:
        """Ask, and ask anew when it was wanted again meanwhile; what comes of it comes as a report."""
        key, is_wanted = (asked, cl_ord_id), True
        try:
            while is_wanted and not self._held.is_set():
                self._asking[key] = False
                await self._ask_until_answered(asked, cl_ord_id, is_unsure=again)
                is_wanted, again = self._asking[key], True
        finally:
            del self._asking[key]

    async def _ask_until_answered(self, asked: Asked, cl_ord_id: str, *, is_unsure: bool) -> None:
        """Ask until the broker has taken the request or refused it, nothing is asked any more, or a person has to look.

        `is_unsure` says that an earlier request may have arrived: a refusal then says nothing of that one.
        """
        attempt = 0
        while (order := self._pending(asked, cl_ord_id)) is not None and not self._held.is_set():
            if not self._broker.status().connected:
                await self._pause(SESSION_POLL_S)
                continue
            attempt += 1
            obstacle = self._obstacle_to_change(order) if asked is Asked.REPLACE else ""
            outcome = await self._call(asked, order) if not obstacle else Outcome(kind=OutcomeKind.REFUSED, message=obstacle)
            after = decide_next(asked, outcome.kind, attempt=attempt, named_s=outcome.retry_after_s)
            if after.step is NextStep.FOLLOW:
                return
            if after.step in (NextStep.END, NextStep.TELL):
                end = partial(self._end_asking, order=order, outcome=outcome, after=after, is_unsure=is_unsure)
                await write_down(self._write, end)
                return
            is_unsure = is_unsure or outcome.kind is OutcomeKind.UNKNOWN
            await self._pause(after.wait_s)

    def _call(self, asked: Asked, order: Order) -> Coroutine[Any, Any, Outcome]:
        return self._broker.cancel(order) if asked is Asked.CANCEL else self._broker.modify(order)

    def _obstacle_to_change(self, order: Order) -> str:
        """A change is no way past a halt, nor for an entry past its time."""
        if not self._gate.lets_out(order):
            return "halted before it left"
        return self._steps.why_not_change(order, self._clock.now())

    def _pending(self, asked: Asked, cl_ord_id: str) -> Order | None:
        order = self._steps.find_order(cl_ord_id)
        return order if order is not None and _ASKED.get(order.status) is asked else None

    def _end_asking(self, tx: Tx, order: Order, outcome: Outcome, after: Next, *, is_unsure: bool) -> None:
        """Refused puts the order back to work; without any answer it stays as it is, for a person and the broker's book."""
        now, current = self._clock.now(), tx.ledger.orders.get(order.cl_ord_id)
        if current is None or current.status is not order.status or current.replaces != order.replaces:
            return
        is_change = order.status is OrderStatus.REPLACE_PENDING
        if after.step is NextStep.END:
            if is_unsure and order.replace is not None:  # the cancel that renews an order may have ended it as well
                tx.emit(BookWanted(account=self.account))
            else:
                event = OrderEventKind.REPLACE_REFUSED if is_change else OrderEventKind.CANCEL_REFUSED
                self._steps.note_refusal(tx, current, event, outcome.message, now)
            return
        what = "changed" if is_change else "cancelled"
        told = f"The broker does not say whether order {order.cl_ord_id} is {what} ({outcome.message}): look at its own book."
        # The book may have it asked again, as long as the order works: once is enough for a person.
        tell(tx, Alarm(key=ask_key(order), cl_ord_id=order.cl_ord_id, message=printable(told)), self.account, now)


async def write_down(write: Write, command: Callable[[Tx], T]) -> T:
    """Write down what has happened; a store that is away is waited for, since the fact will not go away."""
    attempt = 0
    while True:
        try:
            noted: T = await write(command)
            return noted
        except StoreError:
            attempt += 1
            await asyncio.sleep(decide_next(Asked.NOTE, OutcomeKind.UNKNOWN, attempt=attempt).wait_s)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A grant that was given in the commit that made the order."""

    order: Order | None
    wait_s: float = 0
