"""What brokers report becomes fact here: matched to our order, checked by the state table, booked once."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from bridge.core.alert import Alert, Ending
from bridge.core.enums import Disposition, ReportKind, Variety
from bridge.core.events import BookWanted
from bridge.core.fill import Fill
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, to_text
from bridge.core.order import Order, whole_of
from bridge.core.order_states import UNACKNOWLEDGED, OrderEventKind, OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import AuditAction
from bridge.core.replacement import terms_of
from bridge.core.report import Report
from bridge.core.trade import TradeEventKind
from bridge.endings import order_ending, worst_of
from bridge.execution.orders import adopt_broker_id, ask_cancel, is_of_another, record, record_fill
from bridge.halves import by_leg
from bridge.portfolio.book import book_fill, note_exit
from bridge.protecting import note_closed, note_entry, note_flat
from bridge.risk.changes import WORKS, describe_terms
from bridge.risk.overtaking import cancelled_by
from bridge.store.tx import Tx

Settle = Callable[[Tx, str, datetime], None]

_ENDS: dict[ReportKind, OrderEventKind] = {
    ReportKind.CANCELLED: OrderEventKind.CANCELLED,
    ReportKind.REJECTED: OrderEventKind.REJECTED,
    ReportKind.EXPIRED: OrderEventKind.EXPIRED,
}


class HasLeverage(Protocol):
    """What following needs of an account's rules."""

    @property
    def leverage(self) -> Mapping[str, Decimal]:
        """Rupees of order per rupee of buying power, by product."""
        ...


class Following:
    """Applies reports; `settle` is told of every order that may have closed."""

    def __init__(
        self,
        settle: Settle,
        accounts: Mapping[str, HasLeverage],
        instrument: Callable[[str], Instrument | None],
    ):
        self._settle = settle
        self._accounts = accounts
        self._instrument = instrument

    def apply_reports(self, tx: Tx, reports: Sequence[Report], now: datetime) -> None:
        """Apply each to the order that carries its tag; what is known already, and orders not ours, change nothing.

        In which order fills that are told together came about is not always known: what is held counts when all are booked.
        """
        for report in reports:
            self._apply_report(tx, report, now)
        if any(report.kind is ReportKind.FILL for report in reports):
            note_flat(tx, now)

    def _apply_report(self, tx: Tx, report: Report, now: datetime) -> None:
        order = tx.find_order(tag=report.tag) if report.tag else None
        if order is None or order.intent.account != report.account:
            return
        was_sending = order.status in UNACKNOWLEDGED or order.status is OrderStatus.NEW
        if order.status is OrderStatus.NEW:  # counted as not sent, and the broker has it after all: it must not be sent again
            order = record(tx, order, OrderEventKind.SENDING, now, message="the broker has the order")
        if report.kind is ReportKind.FILL:
            self._apply_fill(tx, order, report, now)
        else:
            self._apply_status(tx, order, report, now)
        if was_sending:
            cancel_if_wished(tx, tx.ledger.orders.get(order.cl_ord_id), now)
        self._settle(tx, order.cl_ord_id, now)

    def _apply_status(self, tx: Tx, order: Order, report: Report, now: datetime) -> None:
        if is_of_another(order, report.broker_order_id):
            # A double order: what becomes of the other must not end the one we follow. The look into the book names both.
            tx.emit(BookWanted(account=report.account))
            return
        if order.status.is_closed:
            return
        if report.kind is ReportKind.CANCEL_REFUSED:
            if order.status is OrderStatus.CANCEL_PENDING:
                record(tx, order, OrderEventKind.CANCEL_REFUSED, now, message=report.message)
            return
        if report.kind is ReportKind.PLACED or order.status in UNACKNOWLEDGED:
            order = self._acknowledge(tx, order, report, now)
        order = take_terms(tx, order, report, now)
        if order.status.is_closed:
            return
        if report.kind in _ENDS:
            if report.cum_qty is not None and report.cum_qty > order.cum_qty:
                # Closed now it would count as used up what may have been filled: exits would be sized by too large a position.
                tx.emit(BookWanted(account=report.account))
                return
            code, ident = report.reason or "", report.broker_order_id
            record(tx, order, _ENDS[report.kind], now, broker_order_id=ident, code=code, message=report.message)

    def _acknowledge(self, tx: Tx, order: Order, report: Report, now: datetime) -> Order:
        """The broker has the order: an end may be reported before the answer to our command arrives."""
        if order.status in UNACKNOWLEDGED and report.kind is not ReportKind.REJECTED:
            return record(tx, order, OrderEventKind.PLACED, now, broker_order_id=report.broker_order_id)
        return adopt_broker_id(tx, order, report.broker_order_id, now)

    def _apply_fill(self, tx: Tx, order: Order, report: Report, now: datetime) -> None:
        if report.exec_id in order.exec_ids:
            return
        if not (_is_positive(report.last_qty) and _is_positive(report.last_px)):
            _tell_impossible(tx, order, report, now)
            return
        if _is_ahead(order, report):
            tx.emit(BookWanted(account=report.account))
            return
        intent = order.intent
        fill = Fill(
            account=intent.account,
            exec_id=report.exec_id,
            cl_ord_id=order.cl_ord_id,
            broker_order_id=report.broker_order_id,
            strategy=intent.strategy,
            symbol=intent.symbol,
            product=intent.product,
            side=intent.side,
            last_qty=report.last_qty,
            last_px=report.last_px,
            charges=report.charges,
            transact_time=report.transact_time,
        )
        late = order.status.is_closed
        moved = record_fill(tx, order, fill, now)
        instrument = self._instrument(intent.symbol)
        book_fill(
            tx,
            fill,
            multiplier=instrument.multiplier if instrument else ONE,
            leverage=self._accounts[intent.account].leverage.get(intent.product, ONE),
            now=now,
        )
        note_entry(tx, moved, now)
        if late or moved.cum_qty > intent.order_qty:
            told = f"{to_text(fill.last_qty)} {intent.symbol} at {to_text(fill.last_px)} on order {order.cl_ord_id}"
            what = "A fill after the order had ended" if late else "More was filled than ordered"
            raise_alarm(tx, order, f"{what}: {told}; the position was moved.", now)


def take_terms(tx: Tx, order: Order, report: Report, now: datetime) -> Order:
    """What a report says of the order's terms: those wished are there, or never will be, or a person has changed it there.

    A report of before the last change tells of terms that are no more.
    """
    asked, terms, kind = order.replace, report.terms, order.intent.ord_type
    if asked is not None and asked.renews:
        return order
    if asked is not None and report.kind is ReportKind.REPLACE_REFUSED:
        return record(tx, order, OrderEventKind.REPLACE_REFUSED, now, message=report.message)
    if terms is None or (order.terms_at is not None and report.transact_time < order.terms_at):
        return order
    has_old, at = terms.agree(terms_of(order.intent), kind), report.transact_time
    if asked is not None and terms.agree(asked.terms, kind) and not has_old:
        return record(tx, order, OrderEventKind.REPLACED, now, message=describe_terms(asked.terms), terms_at=at)
    if asked is not None and report.has_ended:
        order = record(tx, order, OrderEventKind.REPLACE_REFUSED, now, message="it ended under its old terms")
    if has_old or order.replace is not None or not _tells_of_change(order, report):
        return order
    message = f"changed at the broker: {describe_terms(terms)}"
    return record(tx, order, OrderEventKind.REPLACED, now, message=message, terms=terms, terms_at=at)


def _tells_of_change(order: Order, report: Report) -> bool:
    """Whether a person has changed the order at the broker: as two looks found, or as it ended, cut down to what had filled."""
    if order.status in WORKS and report.kind is ReportKind.REPLACED:
        return True
    is_plain = order.intent.variety is not Variety.ICEBERG and not order.is_protection
    return report.has_ended and is_plain and (order.status in WORKS or order.status is OrderStatus.CANCEL_PENDING)


def _is_ahead(order: Order, report: Report) -> bool:
    """Whether a fill is newer than the row of the book that it came with, and may be one under terms that the row lacks yet.

    Booked under the old ones, it could end an order that works on there under the new, or look like more than was ordered.
    """
    if order.replace is None or order.replace.renews or report.cum_qty is None:
        return False
    return order.cum_qty + report.last_qty > report.cum_qty


def _is_positive(value: Decimal) -> bool:
    return value.is_finite() and value > 0


def _tell_impossible(tx: Tx, order: Order, report: Report, now: datetime) -> None:
    """A fill that cannot be is not booked; every look into the book tells it again, so a person is told once."""
    key = ("impossible", order.cl_ord_id, report.exec_id)
    if key in tx.ledger.told.values:
        return
    told = f"{report.last_qty} {order.intent.symbol} at {report.last_px} on order {order.cl_ord_id}"
    message = f"The broker tells of a fill that cannot be: {told}; nothing was moved."
    tx.put(tx.ledger.told, key, message)
    raise_alarm(tx, order, message, now)


def cancel_if_wished(tx: Tx, order: Order | None, now: datetime) -> None:
    """The broker has an order that a cancel came for while nobody knew of it: it is asked to cancel now."""
    if order is None or order.status not in (OrderStatus.PLACED, OrderStatus.PARTIAL):
        return
    cancel = cancelled_by(tx.ledger, order)
    if cancel is not None:
        ask_cancel(tx, order, now, f"cancelled by alert {cancel.alert_id}")


def raise_alarm(tx: Tx, order: Order, message: str, now: datetime) -> None:
    """Something a person must look at; shown on the status page and in the log."""
    tx.audit(
        AuditAction.ALARM_RAISED,
        now,
        alert_id=order.intent.alert_id,
        cl_ord_id=order.cl_ord_id,
        account=order.intent.account,
        message=message,
    )


def after_close(tx: Tx, order: Order, now: datetime) -> None:
    """An exit that ended without closing what it should leaves the round trip open again, and says so."""
    if order.is_protection:
        note_closed(tx, order, now)
        return
    intent = order.intent
    key = PositionKey(intent.account, intent.symbol, intent.product)
    if not intent.reduce_only or not tx.ledger.position_qty(key):
        return
    if whole_of(tx.ledger.parts_of(order)).status is OrderStatus.FILLED:
        return
    working = tx.ledger.open_orders(key.account, key.symbol)
    has_other = any(other.intent.reduce_only and other.intent.product == key.product for other in working)
    if has_other or note_exit(tx, key, TradeEventKind.EXIT_FAILED) is None:
        return
    raise_alarm(tx, order, f"The exit of {intent.symbol} ended {order.status.value}; the position is still open.", now)


def alert_ending(tx: Tx, alert: Alert, orders: Sequence[Order], *, is_split: bool) -> Ending:
    """The ending of an alert whose orders are all closed; with a reversal in two halves either may have been denied."""
    parts = [(order.intent.account, order_ending(order)) for _leg, order in by_leg(orders)]
    if is_split or len(alert.signal.accounts) > len(parts):
        parts += _denied_parts(tx, alert)
    return worst_of(parts)


def _denied_parts(tx: Tx, alert: Alert) -> list[tuple[str, Ending]]:
    """What became of the wishes that got no order, as the audit tells it."""
    found = {}
    for step in tx.steps_of(alert.alert_id, AuditAction.INTENT_DENIED, AuditAction.INTENT_NOOP):
        account, code, message = step.account, step.code, step.message
        disposition = Disposition.DENIED if step.action is AuditAction.INTENT_DENIED else Disposition.NOOP
        found[account] = Ending(disposition=disposition, code=code, message=message)
    return list(found.items())
