"""Orders of which nobody knows whether the broker has them: what a read of its book makes of each.

Found under its tag: taken over. Absent in repeated whole reads over a settle time: it is not there, and goes back to NEW. The
book of a later day says nothing of an order that could work only on its own day; then positions have to tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bridge.core.hold import Gap, Hold, explain, make_hold
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.report import Report, reports_of
from bridge.execution.compare import Alarm, OwnRows, Read, Run, follow, gaps_of, has_moved, is_of_today
from bridge.execution.orders import queue_order, record
from bridge.store.tx import Tx

# A request may be on its way for five seconds, as when the bridge was killed in the midst of it, and a book lag behind for as
# long: absence counts only when it lasts for both, over this many whole reads.
SETTLE_S = 10.0
CLEAN_READS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSteps:
    """What reconciling calls of the pipeline, inside transactions."""

    apply_reports: Callable[[Tx, Sequence[Report], datetime], None]
    give_up: Callable[[Tx, Order, str, datetime], None]


@dataclass(frozen=True, slots=True)
class Absence:
    """How long an order has been absent, and which differences of its instrument were seen all the while.

    None where they were not asked for: looks of the order's own day prove nothing of the next.
    """

    run: Run
    gaps: tuple[Gap, ...] | None

    def is_proof(self, at: float) -> bool:
        """Absent in enough whole reads, for long enough."""
        return self.run.lasts(at, CLEAN_READS, SETTLE_S)


def take_rows(tx: Tx, rows: OwnRows, steps: BookSteps, now: datetime) -> bool:
    """Take over what the book says of an order; of another one under its tag only the fills, which moved the position too.

    True when that changed anything.
    """
    account, before = rows.order.intent.account, tx.find_order(tag=rows.order.tag)
    told = reports_of(account, rows.followed) if rows.followed else []
    steps.apply_reports(tx, [*told, *(fill for row in rows.others for fill in row.fills)], now)
    return tx.find_order(tag=rows.order.tag) != before


def note_absence(seen: Absence | None, gaps: tuple[Gap, ...] | None, at: float) -> Absence:
    """One more read without the order; where the differences are others than before, it begins anew."""
    return Absence(follow(seen.run if seen is not None and seen.gaps == gaps else None, at), gaps)


def settle_absent(tx: Tx, doubted: Order, read: Read, steps: BookSteps, now: datetime) -> None:
    """Settle an order that is proved to be absent, if it still is in doubt over the same send."""
    order = tx.ledger.orders.get(doubted.cl_ord_id)
    if order is None or order.status is not OrderStatus.IN_DOUBT or order.sends != doubted.sends:
        return
    if is_of_today(order, read.began):
        _send_again(tx, order, f"not in the broker's book in {CLEAN_READS} whole reads", now)
        return
    intent = order.intent
    if has_moved(tx.ledger, intent.account, intent.symbol, read.began_s):
        return  # the positions read are behind ours by now
    gaps, hold = gaps_of(tx.ledger, read, intent.symbol), tx.ledger.holds.get((intent.account, intent.symbol))
    gaps = tuple(replace(gap, explained=explain(hold, gap.product, gap.difference, ZERO)[0]) for gap in gaps)
    drift = make_hold(intent.symbol, gaps)
    if not gaps or (hold is not None and hold.accepted_by and hold.differences == drift.differences):
        _send_again(tx, order, "its day is over, and positions show that it did nothing", now)
        return
    message = f"It is not known what became of {order.cl_ord_id}, and its day is over. {drift.message}"
    steps.give_up(tx, order, message, now)
    tell(tx, Alarm(key=("lost", order.cl_ord_id), cl_ord_id=order.cl_ord_id, message=message), intent.account, now)
    if hold is None or hold.differences != drift.differences:
        put_hold(tx, intent.account, intent.symbol, drift, now)


def _send_again(tx: Tx, order: Order, message: str, now: datetime) -> None:
    """To NEW: an entry that is too old by now expires at the last gate, an exit is sized anew and goes."""
    queue_order(tx, record(tx, order, OrderEventKind.NOT_SENT, now, message=message), granted=False)


def put_hold(tx: Tx, account: str, symbol: str, hold: Hold, now: datetime) -> None:
    """Let no entries out in the instrument from now on, and say why."""
    tx.put(tx.ledger.holds, (account, symbol), hold)
    tx.audit(AuditAction.DRIFT_FOUND, now, account=account, message=hold.message)


def tell(tx: Tx, alarm: Alarm, account: str, now: datetime) -> None:
    """Raise an alarm, unless this process has raised the same one before."""
    if alarm.key not in tx.ledger.told.values:
        tx.put(tx.ledger.told, alarm.key, alarm.message)
        tx.audit(AuditAction.ALARM_RAISED, now, cl_ord_id=alarm.cl_ord_id, account=account, message=alarm.message)
