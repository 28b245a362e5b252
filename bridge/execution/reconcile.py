"""Compares what we believe with what brokers' books say, at start, after a reconnect, by a timer and on demand."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from bridge.brokers.base import BookUnreadableError
from bridge.core.clock import IST, Clock, market_day
from bridge.core.enums import ReportKind
from bridge.core.errors import DuplicateError, InvariantError, StoreError
from bridge.core.events import AskReady
from bridge.core.hold import Elsewhere, Gap, Hold
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.report import BookRow, Report
from bridge.execution.changes import Changes, ask_again, judge_changes
from bridge.execution.compare import (
    Alarm,
    Findings,
    OwnRows,
    Past,
    Read,
    Run,
    follow,
    gaps_of,
    has_moved,
    has_news,
    hides_positions,
    holdings_of,
    is_of_today,
    judge,
    open_orders,
    pick_rows,
    sort_rows,
    why_late,
)
from bridge.execution.doubts import Absence, BookSteps, note_absence, put_hold, settle_absent, take_rows, tell
from bridge.execution.guard import GuardedBroker
from bridge.store.tx import Tx

POLL_S = 1.0
# After a look that was not sure of what it saw.
LOOK_AGAIN_S = 5.0
OnFault = Callable[[str, BaseException], None]
Write = Callable[[Callable[[Tx], Any]], "asyncio.Future[Any]"]


class Why(StrEnum):
    """What a comparison is made for; only one by the timer is silent when it finds nothing."""

    START = "start"
    RECONNECT = "reconnect"
    TIMER = "timer"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a look came to. `readable` is False when the broker's answer cannot be whole, `message` says why.

    `external` are orders there that are not ours, `doubles` orders of ours that are there more than once, by id; `drift` are
    the instruments that differ.
    """

    account: str
    readable: bool
    message: str
    orders: int = 0
    external: tuple[BookRow, ...] = ()
    doubles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    drift: tuple[tuple[str, Hold], ...] = ()
    is_unsure: bool = False


@dataclass(slots=True)
class _Watch:
    """What is remembered of an account between looks; `changing` are changes of orders that the book does not show yet.

    `owners` are orders by tag that memory does not have any more. `acknowledged_on` is a market day on which the table has an
    order that the broker acknowledged; not part of `past`, which a look that began earlier replaces as a whole.
    """

    past: Past = field(default_factory=Past)
    changing: Mapping[str, Run] = field(default_factory=dict)
    owners: dict[str, Order | None] = field(default_factory=dict)
    acknowledged_on: int = 0
    absences: dict[tuple[str, int], Absence] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    due: float | None = None
    wanted_s: float = 0
    pending: Why | None = None
    was_away: bool = False
    looking: asyncio.Task[None] | None = None
    settling: asyncio.Task[None] | None = None


class Reconciler:
    """Looks into the brokers' books, one account at a time by itself: a broker that hangs holds up nobody else."""

    def __init__(
        self,
        *,
        brokers: Mapping[str, GuardedBroker],
        ledger: Ledger,
        write: Write,
        steps: BookSteps,
        clock: Clock,
        on_fault: OnFault,
        every_s: Mapping[str, int],
    ):
        self._brokers = brokers
        self._ledger = ledger
        self._write = write
        self._steps = steps
        self._clock = clock
        self._on_fault = on_fault
        self._every_s = every_s
        self._watches = {account: _Watch() for account in brokers}

    # -- when -----------------------------------------------------------------------------------------------------------

    def watch(self) -> list[asyncio.Task[None]]:
        """Begin the looks that are due; called at every tick of the worker, and returns at once what it began."""
        now, began = self._clock.monotonic(), []
        for account, watch in self._watches.items():
            broker = self._brokers[account]
            is_away = broker.is_away
            if watch.was_away and not is_away:
                watch.pending = watch.pending or Why.RECONNECT
            watch.was_away = is_away
            is_due = watch.pending is not None or (watch.due is not None and now >= watch.due)
            if is_due and broker.status().connected and (watch.looking is None or watch.looking.done()):
                why, watch.pending = watch.pending or Why.TIMER, None
                watch.due = now + LOOK_AGAIN_S  # until the look itself says better
                watch.looking = asyncio.get_running_loop().create_task(self._look(account, why))
                began.append(watch.looking)
        return began

    def look_at(self, account: str) -> None:
        """Have the account looked at by the next tick, as if the timer had come round."""
        self._watches[account].due = self._watches[account].wanted_s = self._clock.monotonic()

    def look_soon(self) -> None:
        """Have every account looked at by the next tick, as at a start."""
        for watch in self._watches.values():
            watch.pending = Why.START

    async def _look(self, account: str, why: Why) -> None:
        try:
            await self.compare(account, why)
        except StoreError:
            return  # the store is away; the next look finds the same
        except Exception as error:  # a fault in one look must neither vanish nor be the last
            self._on_fault("reconcile", error)

    def doubt(self, account: str) -> None:
        """Settle the account's orders in doubt, however long it takes; entries and exits after them go on meanwhile."""
        watch = self._watches[account]
        if watch.settling is None or watch.settling.done():
            watch.settling = asyncio.get_running_loop().create_task(self._settle_all(account, watch))

    async def stop(self) -> None:
        """Leave what is in doubt, and what has not been compared, to the next start."""
        tasks = [task for watch in self._watches.values() for task in (watch.looking, watch.settling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- reading --------------------------------------------------------------------------------------------------------

    async def _read(self, account: str, *, with_positions: bool = True) -> Read | str:
        """The broker's word, or why there is none; the guard ends reads that hang.

        A book alone is a word too: what it tells of our orders must not wait for positions.
        """
        broker, began, began_s = self._brokers[account], self._clock.now(), self._clock.monotonic()
        try:
            rows = tuple(await broker.book())
        except BookUnreadableError as error:
            return str(error)
        positions, unread = None, ""
        if with_positions:
            try:
                positions = tuple(await broker.positions())
            except BookUnreadableError as error:
                unread = f"The broker's positions cannot be read: {str(error).rstrip('.')}."
        return Read(
            account=account, began=began, began_s=began_s, ended=self._clock.now(), rows=rows, positions=positions,
            unread=unread,
        )  # fmt: skip

    async def _look_up(self, watch: _Watch, read: Read) -> Read:
        """Ask the table for what memory has forgotten: whose tags these are, and whether anything was acknowledged today.

        That nothing was is true only until the next order, so it is asked at every empty book.
        """
        tags = {row.tag for row in read.rows if row.tag}
        watch.owners = {tag: order for tag, order in watch.owners.items() if tag in tags}
        unknown = sorted(tag for tag in tags if tag not in watch.owners and self._remembered(tag) is None)
        if unknown:
            found: dict[str, Order] = await self._write(lambda tx: tx.find_orders(unknown))
            watch.owners |= {tag: found.get(tag) for tag in unknown}
        today = market_day(read.began)
        if not read.rows and watch.acknowledged_on != today:
            midnight = read.began.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
            if await self._write(lambda tx: tx.was_acknowledged(read.account, midnight)):
                watch.acknowledged_on = today
        return replace(read, is_used=watch.acknowledged_on == today)

    def _remembered(self, tag: str) -> Order | None:
        found = self._ledger.orders.by_tag.get(tag)
        return None if found is None else self._ledger.orders.get(found)

    def _owner(self, watch: _Watch, tag: str) -> Order | None:
        return self._remembered(tag) or watch.owners.get(tag)

    # -- comparing ------------------------------------------------------------------------------------------------------

    async def compare(self, account: str, why: Why = Why.COMMAND) -> Comparison:
        """Take over what the book says of our orders, and hold entries where positions differ. StoreError passes."""
        watch = self._watches[account]
        async with watch.lock:
            is_asked, began_s = self._brokers[account].status().connected, self._clock.monotonic()
            read = await self._read(account)
            if isinstance(read, Read):
                compared = await self._compare(watch, read, why)
            elif is_asked:
                compared = await self._tell_unreadable(account, watch, read)
            else:  # known and told already, and nothing speaks against its book
                compared = Comparison(account=account, readable=False, message=read, is_unsure=True)
            # What was asked for while this look was under way it may not have seen.
            is_due_soon = compared.is_unsure or bool(watch.changing) or watch.wanted_s >= began_s
            watch.due = self._clock.monotonic() + (LOOK_AGAIN_S if is_due_soon else self._every_s[account])
        if any(order.status is OrderStatus.IN_DOUBT for order in open_orders(self._ledger, account)):
            self.doubt(account)
        return compared

    async def compare_twice(self, account: str) -> Comparison:
        """`compare`, with a second look where one alone is not believed: a person wants to know it now."""
        compared = await self.compare(account)
        if compared.is_unsure:
            await asyncio.sleep(POLL_S)
            compared = await self.compare(account)
        return compared

    async def _tell_unreadable(self, account: str, watch: _Watch, message: str) -> Comparison:
        at = self._clock.monotonic()
        late = follow(watch.past.late, at)
        watch.past = replace(watch.past, late=late, suspects={})
        if late.looks == 1:
            self._on_fault("reconcile", BookUnreadableError(message))
        alarm = Alarm(key=("late", account), message=f"{account}: the broker's books cannot be read: {message.rstrip('.')}.")
        if late.lasts(at) and alarm.key not in self._ledger.told.values:
            await self._write(lambda tx: tell(tx, alarm, account, self._clock.now()))
        return Comparison(account=account, readable=False, message=message, is_unsure=not late.lasts(at))

    async def _compare(self, watch: _Watch, read: Read, why: Why) -> Comparison:
        read = await self._look_up(watch, read)
        own, external = sort_rows(read, partial(self._owner, watch))
        taken, fault = await self._take_over([rows for rows in own if has_news(rows)])
        if taken:
            own, external = sort_rows(read, partial(self._owner, watch))
        at = self._clock.monotonic()

        changes = judge_changes(own, read, watch.changing, at)

        def look() -> Findings:
            return judge(self._ledger, read, own, external, watch.past, at, fault)

        findings = look()
        if changes.has_work:
            await self._write(partial(self._take_changes, changes))
        if taken or why is not Why.TIMER or self._has_work(read, findings):
            is_told = bool(taken) or why is not Why.TIMER
            findings = await self._write(lambda tx: self._perform(tx, read, look(), why, is_told=is_told))
        watch.past, watch.changing, late = findings.past, changes.runs, findings.past.late
        if read.unread and late is not None and late.looks == 1:
            self._on_fault("reconcile", BookUnreadableError(read.unread))
        return self._told(read, findings)

    def _take_changes(self, changes: Changes, tx: Tx) -> None:
        self._steps.apply_reports(tx, changes.reports, self._clock.now())
        ask_again(tx, changes)

    def _has_moved_holdings(self, read: Read) -> bool:
        return read.positions is not None and holdings_of(read) != self._ledger.holdings.values.get(read.account, ())

    def _has_work(self, read: Read, findings: Findings) -> bool:
        """True when a commit is needed; a look that finds nothing new makes none."""
        account = read.account
        shown = self._ledger.external.values.get(account, ())
        return bool(
            findings.is_news
            or findings.moved
            or findings.uncancelled
            or findings.external != shown
            or _is_other(findings.elsewhere, self._ledger.elsewhere.values.get(account))
            or self._has_moved_holdings(read)
            or self._is_calm(account, findings)
        )

    def _is_calm(self, account: str, findings: Findings) -> bool:
        """True when an alarm over unreadable books is over."""
        return findings.past.late is None and ("late", account) in self._ledger.told.values

    async def _take_over(self, news: list[OwnRows]) -> tuple[int, str]:
        """How many orders moved, and which rows cannot be applied; each by itself, so that one fault stops no other."""
        now = self._clock.now()
        writes = [self._write(partial(take_rows, rows=rows, steps=self._steps, now=now)) for rows in news]
        results = await asyncio.gather(*writes, return_exceptions=True)
        faulty = []
        for rows, result in zip(news, results, strict=True):
            if isinstance(result, DuplicateError | InvariantError):
                self._on_fault("reconcile", result)
                faulty.append(rows.order.cl_ord_id)
            elif isinstance(result, BaseException):
                raise result
        fault = f"The broker's word on {', '.join(faulty)} cannot be applied." if faulty else ""
        return sum(result is True for result in results), fault

    def _perform(self, tx: Tx, read: Read, findings: Findings, why: Why, *, is_told: bool) -> Findings:
        account, now = read.account, self._clock.now()
        is_calm = self._is_calm(account, findings)
        for order in findings.over:
            self._steps.apply_reports(tx, [_end_of_day(order, read)], now)
        _cancel_again(tx, findings)
        _put_holds(tx, account, findings, now)
        for alarm in findings.alarms:
            tell(tx, alarm, account, now)
        if is_calm:
            tx.put(tx.ledger.told, ("late", account), None)
        if findings.external != tx.ledger.external.values.get(account, ()):
            tx.put(tx.ledger.external, account, findings.external)
            tx.touch("external")
        if _is_other(findings.elsewhere, tx.ledger.elsewhere.get(account)):
            tx.put(tx.ledger.elsewhere, account, findings.elsewhere)
        if self._has_moved_holdings(read):
            tx.put(tx.ledger.holdings, account, holdings_of(read))
            tx.touch("position")
        if is_told or is_calm or findings.is_news:
            told = self._told(read, findings)
            data = {"why": why.value, "orders": told.orders, "external": len(told.external), "drift": len(told.drift)}
            tx.audit(AuditAction.RECONCILED, now, account=account, message=told.message, data=data)
        return findings

    def _told(self, read: Read, findings: Findings) -> Comparison:
        holds = sorted(self._ledger.holds.values.items())
        drift = tuple((symbol, hold) for (account, symbol), hold in holds if account == read.account)
        differs = " ".join(hold.message for _symbol, hold in drift)
        return Comparison(
            account=read.account,
            readable=not findings.problem,
            message=findings.problem or differs or "Orders and positions agree.",
            orders=len(read.rows),
            external=findings.external,
            doubles=tuple((order.cl_ord_id, ids) for order, ids in findings.doubles),
            drift=drift,
            is_unsure=findings.is_unsure,
        )

    # -- doubts ---------------------------------------------------------------------------------------------------------

    async def _settle_all(self, account: str, watch: _Watch) -> None:
        while True:
            doubted = [order for order in open_orders(self._ledger, account) if order.status is OrderStatus.IN_DOUBT]
            if not doubted:
                return
            try:
                await self._settle(account, watch, doubted)
            except StoreError:
                pass  # the store is away; the doubt is not
            except Exception as error:  # a fault in one pass must not end the look-up
                self._on_fault("reconcile", error)
            await asyncio.sleep(POLL_S)

    async def _settle(self, account: str, watch: _Watch, doubted: list[Order]) -> None:
        """One read for all orders in doubt. It began after their sends, so it can say nothing of an earlier one."""
        sends = {(order.cl_ord_id, order.sends) for order in doubted}
        watch.absences = {key: absence for key, absence in watch.absences.items() if key in sends}
        is_old = any(not is_of_today(order, self._clock.now()) for order in doubted)
        read = await self._read(account, with_positions=is_old)
        if not isinstance(read, Read):
            watch.absences.clear()
            await self._tell_doubts(account, doubted, f"the broker's book cannot be read: {read}")
            return
        if read.unread:
            old = [order for order in doubted if not is_of_today(order, read.began)]
            await self._tell_doubts(account, old, f"the broker's book alone cannot settle it. {read.unread}")
        read = await self._look_up(watch, read)
        late = why_late(self._ledger, open_orders(self._ledger, account), read)
        if late:
            watch.absences.clear()
        for order in doubted:
            rows = [row for row in read.rows if row.tag == order.tag]
            if rows:
                await self._adopt(pick_rows(order, rows))
            elif not late:
                await self._note_absent(watch, order, read)

    async def _adopt(self, rows: OwnRows) -> None:
        try:
            await self._write(partial(take_rows, rows=rows, steps=self._steps, now=self._clock.now()))
        except (DuplicateError, InvariantError) as error:  # a row of the book that cannot be applied must not stop the others
            why = f"what the broker's book says of it cannot be applied: {type(error).__name__}"
            await self._tell_doubts(rows.order.intent.account, [rows.order], why)

    async def _note_absent(self, watch: _Watch, order: Order, read: Read) -> None:
        # When it was asked, not when the answer is weighed: a machine that slept in between has seen nothing meanwhile.
        key, at, symbol = (order.cl_ord_id, order.sends), read.began_s, order.intent.symbol
        gaps: tuple[Gap, ...] | None = None
        if not is_of_today(order, read.began):
            if read.positions is None:
                watch.absences.pop(key, None)
                return
            if has_moved(self._ledger, read.account, symbol, read.began_s):
                return
            flat = watch.past.flat
            if hides_positions(self._ledger, read) and not (flat is not None and flat.lasts(at, looks=2)):
                watch.absences.pop(key, None)
                return
            gaps = gaps_of(self._ledger, read, symbol)
        absence = watch.absences[key] = note_absence(watch.absences.get(key), gaps, at)
        if absence.is_proof(at):
            await self._write(lambda tx: settle_absent(tx, order, read, self._steps, self._clock.now()))

    async def _tell_doubts(self, account: str, doubted: list[Order], why: str) -> None:
        """Tell a person once of each doubt that the book cannot settle for now."""
        alarms = [
            Alarm(
                key=("doubt", order.cl_ord_id, str(order.sends)),
                cl_ord_id=order.cl_ord_id,
                message=f"Order {order.cl_ord_id} is in doubt and {why}",
            )
            for order in doubted
        ]
        new = [alarm for alarm in alarms if alarm.key not in self._ledger.told.values]

        def tell_all(tx: Tx) -> None:
            for alarm in new:
                tell(tx, alarm, account, self._clock.now())

        if new:
            await self._write(tell_all)


def _cancel_again(tx: Tx, findings: Findings) -> None:
    """Ask the broker anew to cancel what still works there; asking twice does no harm."""
    for order in findings.uncancelled:
        current = tx.ledger.orders.get(order.cl_ord_id)
        if current is not None and current.status is OrderStatus.CANCEL_PENDING:
            tx.emit(AskReady(account=order.intent.account, cl_ord_id=order.cl_ord_id))


def _is_other(found: Elsewhere | None, known: Elsewhere | None) -> bool:
    """True when there is anything to remember; a new day without trades is none."""
    if found is None or known is None:
        return found is not None
    return found != known and bool(found.traded or found.settled or known.traded or known.settled)


def _put_holds(tx: Tx, account: str, findings: Findings, now: datetime) -> None:
    """Hold entries where positions differ, and let them go where they agree again."""
    for symbol, hold in findings.found.items():
        put_hold(tx, account, symbol, hold, now)
    for symbol, hold in findings.moved.items():
        tx.put(tx.ledger.holds, (account, symbol), hold)
    for symbol in findings.cleared:
        tx.put(tx.ledger.holds, (account, symbol), None)
        tx.audit(AuditAction.DRIFT_CLEARED, now, account=account, message=f"{symbol} agrees again.")
    if findings.found or findings.moved or findings.cleared:
        tx.touch("alarm")


def _end_of_day(order: Order, read: Read) -> Report:
    """An order could work on its own day only; the next one's book does not have it any more."""
    return Report(
        account=read.account,
        kind=ReportKind.EXPIRED,
        tag=order.tag,
        broker_order_id=order.broker_order_id or "",
        transact_time=read.began,
        message="Its day is over, and the broker's order book has it no longer.",
    )
