"""Settles what we believe against what the broker's own book says: orders in doubt, open orders, positions."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.brokers.base import BookUnreadableError, Broker
from bridge.core.clock import Clock, market_day
from bridge.core.errors import BridgeError, DuplicateError, InvariantError, StoreError
from bridge.core.money import ZERO, to_text
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import AuditAction
from bridge.core.report import BookRow, BrokerPosition, Report, reports_of
from bridge.execution.orders import queue_order, record
from bridge.store.tx import Tx

# A broker's book may lag behind its answers: absence counts only when it lasts this long, over this many clean reads.
SETTLE = timedelta(seconds=5)
CLEAN_READS = 3
POLL_S = 1.0
ApplyReports = Callable[[Tx, Sequence[Report], datetime], None]
OnFault = Callable[[str, BaseException], None]
Write = Callable[[Callable[[Tx], Any]], "asyncio.Future[Any]"]


@dataclass(slots=True)
class _Doubt:
    since: datetime
    clean_reads: int = 0
    alarmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a look into one account's book came to. `external` counts orders there that carry no tag of ours."""

    account: str
    readable: bool
    message: str = ""
    orders: int = 0
    external: int = 0
    drift: tuple[tuple[str, Decimal, Decimal], ...] = field(default=())


class Reconciler:
    """Looks into the brokers' books: for orders in doubt until they are settled, for everything at start and on demand."""

    def __init__(
        self, brokers: Mapping[str, Broker], write: Write, apply_reports: ApplyReports, clock: Clock, on_fault: OnFault
    ):
        self._brokers = brokers
        self._write = write
        self._apply_reports = apply_reports
        self._clock = clock
        self._on_fault = on_fault
        self._doubts: dict[str, dict[str, _Doubt]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def doubt(self, account: str, cl_ord_id: str) -> None:
        """Settle this order, however long it takes; entries and exits after it go on meanwhile."""
        self._doubts.setdefault(account, {}).setdefault(cl_ord_id, _Doubt(since=self._clock.now()))
        task = self._tasks.get(account)
        if task is None or task.done():
            self._tasks[account] = asyncio.get_running_loop().create_task(self._settle_all(account))

    async def stop(self) -> None:
        """Leave what is in doubt to the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _settle_all(self, account: str) -> None:
        doubts = self._doubts[account]
        while doubts:
            try:
                rows = {row.tag: row for row in await self._brokers[account].book() if row.tag}
            except BookUnreadableError as error:
                await self._unreadable(doubts, str(error))
            except Exception as error:  # an adapter that breaks its promise must not end the look-up
                self._on_fault("reconcile", error)
            else:
                for cl_ord_id in list(doubts):
                    if await self._settle_one(account, cl_ord_id, doubts[cl_ord_id], rows):
                        del doubts[cl_ord_id]
            if doubts:
                await asyncio.sleep(POLL_S)

    async def _settle_one(self, account: str, cl_ord_id: str, doubt: _Doubt, rows: Mapping[str, BookRow]) -> bool:
        doubt.clean_reads += 1
        lasting = doubt.clean_reads >= CLEAN_READS and self._clock.now() - doubt.since >= SETTLE

        def settle(tx: Tx) -> bool:
            order, now = tx.ledger.orders.get(cl_ord_id), self._clock.now()
            if order is None or order.status is not OrderStatus.IN_DOUBT:
                return True
            row = rows.get(order.tag)
            if row is not None:
                self._apply_reports(tx, reports_of(account, row), now)
                return True
            # A broker's book is of one day: that an order of another day is not in it proves nothing.
            sent_today = order.sent_at is not None and market_day(order.sent_at) == market_day(now)
            if lasting and sent_today:
                message = f"not in the broker's book in {doubt.clean_reads} reads"
                queue_order(tx, record(tx, order, OrderEventKind.NOT_SENT, now, message=message), granted=False)
            elif lasting and not doubt.alarmed:
                doubt.alarmed = True
                told = f"Order {cl_ord_id} was sent on another day and is not in today's book: look at the broker's records."
                tx.audit(AuditAction.ALARM_RAISED, now, cl_ord_id=cl_ord_id, account=account, message=told)
            return lasting and sent_today

        try:
            settled: bool = await self._write(settle)
        except StoreError:
            return False
        except BridgeError as error:  # a row of the book that cannot be applied must not stop the others
            await self._unreadable({cl_ord_id: doubt}, f"{type(error).__name__}: {error}")
            return False
        return settled

    async def _unreadable(self, doubts: dict[str, _Doubt], message: str) -> None:
        """An unreadable book proves nothing: the orders stay in doubt, and a person is told once."""
        for cl_ord_id, doubt in doubts.items():
            doubt.clean_reads = 0
            if not doubt.alarmed:
                doubt.alarmed = True
                text = f"Order {cl_ord_id} is in doubt and the broker's book cannot be read: {message}"
                await self._alarm(cl_ord_id, text)

    async def _alarm(self, cl_ord_id: str, message: str) -> None:
        def tell(tx: Tx) -> None:
            tx.audit(AuditAction.ALARM_RAISED, self._clock.now(), cl_ord_id=cl_ord_id, message=message)

        try:
            await self._write(tell)
        except StoreError:
            return  # the next read of the book tells again whether there still is a doubt

    async def compare(self, account: str) -> Comparison:
        """Take over what the book says of our orders, and hold entries where positions differ. StoreError passes."""
        began = self._clock.now()
        try:
            rows = await self._brokers[account].book()
            positions = await self._brokers[account].positions()
        except BookUnreadableError as error:
            return Comparison(account=account, readable=False, message=str(error))
        try:
            compared: Comparison = await self._write(lambda tx: self._take_over(tx, account, rows, positions, began))
        except (DuplicateError, InvariantError) as error:  # a row that cannot be applied is as good as unreadable
            self._on_fault("reconcile", error)
            message = f"a row of the book cannot be applied ({type(error).__name__})"
            return Comparison(account=account, readable=False, message=message)
        return compared

    def _take_over(
        self, tx: Tx, account: str, rows: list[BookRow], positions: list[BrokerPosition], began: datetime
    ) -> Comparison:
        now, external = self._clock.now(), 0
        for row in rows:
            order = tx.find_order(tag=row.tag) if row.tag else None
            if order is None or order.intent.account != account:
                external += 1
            elif not order.status.is_closed or len(row.fills) > len(order.exec_ids):
                self._apply_reports(tx, reports_of(account, row), now)
            elif not row.status.is_closed and order.updated_at <= began:
                told = f"Order {order.cl_ord_id} has ended here and still works at the broker ({row.broker_order_id})."
                tx.audit(AuditAction.ALARM_RAISED, now, cl_ord_id=order.cl_ord_id, account=account, message=told)
        # A fill booked since the positions were read is not in them: that would be no drift, only haste.
        is_fresh = tx.ledger.last_fill_at.get(account, began) <= began
        drift = self._compare_positions(tx, account, positions, now) if is_fresh else ()
        data = {"orders": len(rows), "external": external, "drift": len(drift)}
        tx.audit(AuditAction.RECONCILED, now, account=account, message=_sentence(drift), data=data)
        return Comparison(
            account=account, readable=True, orders=len(rows), external=external, drift=drift, message=_sentence(drift)
        )

    def _compare_positions(
        self, tx: Tx, account: str, positions: list[BrokerPosition], now: datetime
    ) -> tuple[tuple[str, Decimal, Decimal], ...]:
        """Instruments where the broker's net quantity is not ours; those with orders under way are left for the next look."""
        theirs = {PositionKey(account, p.symbol, p.product.value): p.quantity for p in positions}
        ours = {key: p.quantity for key, p in tx.ledger.positions.values.items() if key.account == account}
        found: dict[str, tuple[str, Decimal, Decimal]] = {}
        unsure = set()
        for key in theirs.keys() | ours.keys():
            if tx.ledger.open_orders(account, key.symbol):
                unsure.add(key.symbol)
            elif theirs.get(key, ZERO) != ours.get(key, ZERO):
                found[key.symbol] = (key.symbol, ours.get(key, ZERO), theirs.get(key, ZERO))
        for symbol, mine, broker in found.values():
            message = f"We hold {to_text(mine)} {symbol}, the broker says {to_text(broker)}."
            if tx.ledger.holds.get((account, symbol)) != message:
                tx.put(tx.ledger.holds, (account, symbol), message)
                tx.audit(AuditAction.DRIFT_FOUND, now, account=account, message=message)
        for key2 in [k for k in tx.ledger.holds.values if k[0] == account and k[1] not in found and k[1] not in unsure]:
            tx.put(tx.ledger.holds, key2, None)
            tx.audit(AuditAction.DRIFT_CLEARED, now, account=account, message=f"{key2[1]} agrees again.")
        return tuple(found.values())


def _sentence(drift: tuple[tuple[str, Decimal, Decimal], ...]) -> str:
    if not drift:
        return "Orders and positions agree."
    told = (f"{symbol}: ours {to_text(mine)}, theirs {to_text(broker)}" for symbol, mine, broker in drift)
    return "Positions differ: " + "; ".join(told) + "."
