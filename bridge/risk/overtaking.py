"""Overtaking: which orders may no longer leave, because an exit, target or cancel that came after them was carried out.

An order may lie unsent, or in doubt, for longer than what comes after it waits. Asked of the books at the last gate, so it
holds over restarts and for orders that are to be sent again.
"""

from datetime import datetime
from decimal import Decimal

from bridge.core.alert import Alert
from bridge.core.clock import elapsed
from bridge.core.decision import Denied
from bridge.core.enums import Action, Side
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.core.order_states import UNACKNOWLEDGED, OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import Reason
from bridge.risk.turns import EXIT_WAIT, ends_soon
from bridge.risk.usage import key_of


def unsent_overtaken(ledger: Ledger, alert: Alert, account: str, *, parts_only: bool) -> Order | None:
    """An unsent entry received before the exit or target `alert`, which that leaves no room for; None when there is none.

    `parts_only` leaves out those that are an order by themselves.
    """
    for order in ledger.orders.unsent[account].values():
        is_asked = order.intent.parts > 1 or not parts_only
        if is_asked and order.intent.received_at < alert.received_at and _leaves_no_room(ledger, alert, order):
            return order
    return None


def withdrawal_of(ledger: Ledger, order: Order, now: datetime) -> Denied | None:
    """Why an order that was about to leave must not, because of what came after it."""
    if cancel := cancelled_by(ledger, order):
        return Denied(reason=Reason.CANCELLED_UNFILLED, message=f"cancelled by alert {cancel.alert_id}")
    later = _overtaken_by(ledger, order, now)
    return None if later is None else overtaken(later)


def _overtaken_by(ledger: Ledger, order: Order, now: datetime) -> Alert | None:
    """The exit or target, received after the order was made, that was carried out or has had its wait, and forbids it."""
    intent = order.intent
    done = ledger.closings.get(key_of(intent))
    if done is not None and order.created_at < done.received_at and _leaves_no_room(ledger, done, order):
        return done
    for other in ledger.waiting.by_symbol.get(intent.symbol, {}).values():
        is_later = order.created_at < other.received_at and elapsed(other.received_at, now) >= EXIT_WAIT
        if is_later and _leaves_no_room(ledger, other, order):
            return other
    return None


def cancelled_by(ledger: Ledger, order: Order) -> Alert | None:
    """The cancel, received after the order was made, that could not withdraw it then. Exits at market are not held back."""
    intent = order.intent
    cancel = ledger.cancels.get((intent.account, intent.strategy, intent.symbol))
    if cancel is None or order.created_at >= cancel.received_at or (intent.reduce_only and ends_soon(order)):
        return None
    return cancel


def unsettled_entry(ledger: Ledger, key: PositionKey) -> Order | None:
    """An entry about to fill of which the broker has not said whether it has it: what is held is not known before."""
    for order in ledger.open_orders(key.account, key.symbol):
        if order.status in UNACKNOWLEDGED and order.intent.product == key.product and _is_entry(order):
            return order
    return None


def overtaken(by: Alert) -> Denied:
    """Why an entry is withdrawn."""
    message = f"Alert {by.alert_id}, which came after this order was made, goes before it."
    return Denied(reason=Reason.OVERTAKEN, message=message, observed=by.alert_id)


def _leaves_no_room(ledger: Ledger, alert: Alert, order: Order) -> bool:
    """Whether an order is an entry beyond what an exit or target of its position wants; a target counts all under way."""
    signal, intent = alert.signal, order.intent
    concerned = intent.symbol == signal.symbol and intent.product == signal.product and intent.account in signal.accounts
    if not concerned or order.status is not OrderStatus.NEW or not _is_entry(order):
        return False
    if signal.action is Action.EXIT:
        return True
    if signal.action is not Action.TARGET or signal.target is None:
        return False
    return _is_beyond(ledger, intent.side, key_of(intent), signal.target)


def _is_beyond(ledger: Ledger, side: Side, key: PositionKey, target: Decimal) -> bool:
    buys, sells = ledger.in_flight(key)
    held = ledger.position_qty(key)
    return held + buys > target if side is Side.BUY else held - sells < target


def _is_entry(order: Order) -> bool:
    return not order.intent.reduce_only and ends_soon(order)
