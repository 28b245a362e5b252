"""Every change of an order: the state table decides, and the order, its audit record and its news go out together."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from bridge.core.decision import Approved
from bridge.core.enums import OutcomeKind
from bridge.core.events import AskReady, BookWanted, OrderReady
from bridge.core.fill import Fill
from bridge.core.money import to_text
from bridge.core.order import Order, apply_event, apply_fill, create_order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.reasons import AuditAction, Reason
from bridge.core.replacement import Replacement, Terms
from bridge.core.report import Outcome
from bridge.core.values import evolve
from bridge.store.tx import Tx

MAX_MESSAGE = 500
_ACTIONS: dict[OrderEventKind, AuditAction] = {
    OrderEventKind.SENDING: AuditAction.ORDER_SENDING,
    OrderEventKind.NOT_SENT: AuditAction.ORDER_NOT_SENT,
    OrderEventKind.DOUBT: AuditAction.ORDER_IN_DOUBT,
    OrderEventKind.PLACED: AuditAction.ORDER_PLACED,
    OrderEventKind.FILL: AuditAction.ORDER_FILL,
    OrderEventKind.CANCEL_ASKED: AuditAction.ORDER_CANCEL_ASKED,
    OrderEventKind.CANCEL_REFUSED: AuditAction.ORDER_CANCEL_REFUSED,
    OrderEventKind.REPLACE_ASKED: AuditAction.ORDER_REPLACE_ASKED,
    OrderEventKind.REPLACED: AuditAction.ORDER_REPLACED,
    OrderEventKind.REPLACE_REFUSED: AuditAction.ORDER_REPLACE_REFUSED,
    OrderEventKind.CANCELLED: AuditAction.ORDER_CANCELLED,
    OrderEventKind.REJECTED: AuditAction.ORDER_REJECTED,
    OrderEventKind.EXPIRED: AuditAction.ORDER_EXPIRED,
}


def open_order(tx: Tx, approved: Approved, at: datetime) -> Order:
    """Create and store the order of an approved intent, and put it into the outbox."""
    order = create_order(approved, at)
    intent = order.intent
    tx.put(tx.ledger.orders, order.cl_ord_id, order)
    tx.count_order(order, at)
    data: dict[str, object] = {
        "side": intent.side.value,
        "order_qty": to_text(intent.order_qty),
        "ord_type": intent.ord_type.value,
        "product": intent.product.value,
        "tag": order.tag,
    }
    if approved.reference_px is not None:
        data["reference_px"] = to_text(approved.reference_px)
    _tell(tx, order, AuditAction.ORDER_NEW, at, message=describe(order), data=data)
    return order


def describe(order: Order) -> str:
    """The order in words: 'Buy 10 NSE:SBIN at market, MIS.'"""
    intent = order.intent
    # A market order's price is only what the sender saw.
    if intent.legs is not None:
        return f"Wait at the broker to {intent.side.value.lower()} {to_text(intent.order_qty)} {intent.symbol}: {intent.legs}."
    how = f"at {to_text(intent.price)}" if intent.price is not None and intent.ord_type.needs_price else "at market"
    if intent.trigger_price is not None:
        how += f" when {to_text(intent.trigger_price)} trades"
    closing = ", closing only" if intent.reduce_only else ""
    part = f", part {intent.part} of {intent.parts}" if intent.parts > 1 else ""
    terms = f", {intent.terms}" if intent.terms else ""
    what = f"{intent.side.value.capitalize()} {to_text(intent.order_qty)} {intent.symbol}"
    return f"{what} {how}, {intent.product}{terms}{closing}{part}."


def queue_order(tx: Tx, order: Order, *, granted: bool) -> None:
    """Hand the order to its lane once this commit is on disk."""
    tx.emit(
        OrderReady(
            account=order.intent.account,
            cl_ord_id=order.cl_ord_id,
            reduce_only=order.intent.reduce_only,
            granted=granted,
        )
    )


def record(
    tx: Tx,
    order: Order,
    event: OrderEventKind,
    at: datetime,
    *,
    broker_order_id: str | None = None,
    code: str = "",
    message: str = "",
    replace: Replacement | None = None,
    terms: Terms | None = None,
    terms_at: datetime | None = None,
) -> Order:
    """Apply an event that moves no quantity and store it; IllegalTransitionError changes nothing."""
    message = printable(message)
    moved = apply_event(
        order, event, at, broker_order_id=broker_order_id, code=code, message=message, replace=replace, terms=terms,
        terms_at=terms_at,
    )  # fmt: skip
    tx.put(tx.ledger.orders, order.cl_ord_id, moved)
    data = {"broker_order_id": broker_order_id} if broker_order_id else None
    _tell(tx, moved, _ACTIONS[event], at, code=code, message=message, data=data)
    tell_asker(tx, order, moved, at, event=event, message=message)
    return moved


_OUTCOMES: dict[OutcomeKind, OrderEventKind] = {
    OutcomeKind.ACCEPTED: OrderEventKind.PLACED,
    OutcomeKind.REFUSED: OrderEventKind.REJECTED,
    OutcomeKind.NOT_SENT: OrderEventKind.NOT_SENT,
    OutcomeKind.UNKNOWN: OrderEventKind.DOUBT,
}


def record_outcome(tx: Tx, order: Order, outcome: Outcome, at: datetime) -> Order:
    """Apply what a send came to; IllegalTransitionError changes nothing."""
    code, message = outcome.reason or "", outcome.message
    return record(tx, order, _OUTCOMES[outcome.kind], at, broker_order_id=outcome.broker_order_id, code=code, message=message)


def printable(text: str) -> str:
    """A broker's words as they may be stored and shown: no control characters, no half surrogates, bounded."""
    if text.isascii() and text.isprintable():
        return text[:MAX_MESSAGE]
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_MESSAGE]


def record_fill(tx: Tx, order: Order, fill: Fill, at: datetime) -> Order:
    """Apply one execution to the order and store it; a fill of a closed order is told as late."""
    moved = apply_fill(order, fill, at)
    if moved is order:
        return order
    tx.put(tx.ledger.orders, order.cl_ord_id, moved)
    action = AuditAction.ORDER_LATE_FILL if order.status.is_closed else AuditAction.ORDER_FILL
    message = f"{to_text(fill.last_qty)} at {to_text(fill.last_px)}; {to_text(moved.cum_qty)} of " + to_text(
        order.intent.order_qty
    )
    data = {"exec_id": fill.exec_id, "charges": to_text(fill.charges)}
    _tell(tx, moved, action, at, message=message, data=data)
    tell_asker(tx, order, moved, at)
    return moved


def shrink(tx: Tx, order: Order, order_qty: Decimal, at: datetime, message: str) -> Order:
    """Make an order that has not left smaller, because the position it closes has become smaller."""
    smaller = evolve(order, intent=evolve(order.intent, order_qty=order_qty), updated_at=at)
    tx.put(tx.ledger.orders, order.cl_ord_id, smaller)
    _tell(tx, smaller, AuditAction.INTENT_CAPPED, at, message=message)
    return smaller


def is_of_another(order: Order, broker_order_id: str | None) -> bool:
    """Whether an id is that of a second order which the broker has under the tag of this one."""
    return bool(order.broker_order_id and broker_order_id and order.broker_order_id != broker_order_id)


def adopt_broker_id(tx: Tx, order: Order, broker_order_id: str, at: datetime) -> Order:
    """Keep the broker's id of an order whose reports overtook the answer; the id that is followed stays."""
    if is_of_another(order, broker_order_id):
        tx.emit(BookWanted(account=order.intent.account))  # the look into the book names both
        return order
    if not broker_order_id or order.broker_order_id == broker_order_id:
        return order
    known = evolve(order, broker_order_id=broker_order_id, updated_at=at)
    tx.put(tx.ledger.orders, order.cl_ord_id, known)
    return known


def ask_cancel(tx: Tx, order: Order, at: datetime, message: str) -> bool:
    """Withdraw an order: at once while it is unsent, else through the broker. False: it cannot be asked for now."""
    # A protection that ends without our asking is an alarm; that it was asked for has to be known then.
    code = Reason.CANCELLED_UNFILLED if order.is_protection else ""
    if order.status is OrderStatus.NEW:
        record(tx, order, OrderEventKind.CANCELLED, at, code=code, message=message)
        return True
    if order.status in (OrderStatus.PLACED, OrderStatus.PARTIAL, OrderStatus.REPLACE_PENDING):
        record(tx, order, OrderEventKind.CANCEL_ASKED, at, code=code, message=message)
    elif order.status is not OrderStatus.CANCEL_PENDING:
        return False
    elif order.replace is not None and order.replace.renews:  # it was being cancelled to be placed anew: now it is not
        drop_change(tx, order, at, code=Reason.ENDED_FIRST, message=message)
    tx.emit(AskReady(account=order.intent.account, cl_ord_id=order.cl_ord_id))  # asking twice does no harm
    return True


def ask_replace(tx: Tx, order: Order, replace: Replacement, at: datetime, message: str) -> None:
    """Have the broker change an order that works, or cancel it where it is to be placed anew."""
    event = OrderEventKind.CANCEL_ASKED if replace.renews else OrderEventKind.REPLACE_ASKED
    record(tx, order, event, at, message=message, replace=replace)
    tx.emit(AskReady(account=order.intent.account, cl_ord_id=order.cl_ord_id))


def drop_change(tx: Tx, order: Order, at: datetime, *, code: Reason, message: str) -> Order:
    """Take back what was asked of an order's terms, and tell whoever asked."""
    dropped = evolve(order, replace=None, updated_at=at)
    tx.put(tx.ledger.orders, order.cl_ord_id, dropped)
    tell_asker(tx, order, dropped, at, code=code, message=message)
    return dropped


def tell_asker(
    tx: Tx,
    before: Order,
    after: Order,
    at: datetime,
    *,
    event: OrderEventKind | None = None,
    code: Reason | None = None,
    message: str = "",
) -> None:
    """Put what became of a change into the way of the alert that asked for it: that one ends by it."""
    asked = before.replace or after.replace
    if asked is None or before.replace is after.replace:
        return
    action = AuditAction.ORDER_REPLACE_REFUSED
    if before.replace is None:
        action = AuditAction.ORDER_REPLACE_ASKED
    elif event is OrderEventKind.REPLACED:
        action, code = AuditAction.ORDER_REPLACED, Reason.MODIFIED
    elif event is OrderEventKind.REPLACE_REFUSED or event is OrderEventKind.CANCEL_REFUSED:
        code = Reason.MODIFY_REFUSED
    elif after.status.is_closed:
        code, message = Reason.ENDED_FIRST, f"Order {before.cl_ord_id} was {after.status} before it could be changed."
    tx.audit(
        action, at, alert_id=asked.alert_id, cl_ord_id=before.cl_ord_id, account=before.intent.account, code=code or "",
        message=message,
    )  # fmt: skip


def _tell(
    tx: Tx,
    order: Order,
    action: AuditAction,
    at: datetime,
    *,
    code: str = "",
    message: str = "",
    data: Mapping[str, object] | None = None,
) -> None:
    intent = order.intent
    tx.audit(
        action, at, alert_id=intent.alert_id, cl_ord_id=order.cl_ord_id, account=intent.account, code=code,
        message=message, data=data,
    )  # fmt: skip
    tx.touch("order")
