"""What an alert that modifies means for one order: which order it is, and the terms that it would have."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from bridge.core.alert import Alert
from bridge.core.decision import Denied
from bridge.core.enums import OrdType, Variety
from bridge.core.ledger import Ledger
from bridge.core.money import to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.replacement import Terms, terms_of
from bridge.core.signal import OrderIntent, Signal
from bridge.risk.wishes import Nothing

UNCHANGED = Nothing(reason=Reason.UNCHANGED, message=Reason.UNCHANGED.sentence)
WORKS = frozenset({OrderStatus.PLACED, OrderStatus.PARTIAL})


def find_changeable(ledger: Ledger, signal: Signal, account: str) -> Order | Nothing | Denied:
    """The one open order that is meant: the one named, else the strategy's one that rests, of that type if it says one."""
    found = [order for order in ledger.open_orders(account, signal.symbol) if _is_meant(order, signal)]
    found = [order for order in found if order.status is not OrderStatus.CANCEL_PENDING] or found
    if not found:
        return Nothing(reason=Reason.NOTHING_OPEN, message=f"There is no open order in {signal.symbol} to change.")
    if len(found) > 1:
        return Denied(reason=Reason.SEVERAL_ORDERS, message=f"Several open orders fit: {_names(found)}.")
    return found[0]


def asked_by(ledger: Ledger, alert: Alert) -> list[Order]:
    """The orders of which the alert has asked a change that is not settled."""
    orders = list(ledger.orders.values.values())
    return [order for order in orders if order.replace is not None and order.replace.alert_id == alert.alert_id]


def _is_meant(order: Order, signal: Signal) -> bool:
    intent = order.intent
    if order.is_protection:
        return False
    if signal.order:
        return order.cl_ord_id == signal.order
    is_type = signal.ord_type in (OrdType.MARKET, intent.ord_type)
    return order.is_resting and is_type and intent.strategy == signal.strategy and intent.product == signal.product


def _names(orders: Sequence[Order]) -> str:
    return ", ".join(f"{order.cl_ord_id} ({order.intent.ord_type})" for order in orders)


def wished_terms(signal: Signal, order: Order) -> Terms | Nothing | Denied:
    """All the terms that the order would have; what the signal does not name stays."""
    kind, own = order.intent.ord_type, terms_of(order.intent)
    if order.intent.variety is Variety.ICEBERG:
        return _not_so("An iceberg cannot be changed, since its legs are orders of their own; cancel it and place another.")
    for name, value, has in (
        ("price", signal.price, kind.needs_price),
        ("trigger price", signal.trigger_price, kind.needs_trigger),
    ):
        if value is not None and not has:
            return _not_so(f"Order {order.cl_ord_id} is a {kind} order and has no {name}; leave it out.")
    terms = Terms(
        order_qty=signal.quantity or own.order_qty,
        price=signal.price or own.price,
        trigger_price=signal.trigger_price or own.trigger_price,
    )
    if terms.order_qty <= order.cum_qty:
        filled, wished = to_text(order.cum_qty), to_text(terms.order_qty)
        return _not_so(f"Of order {order.cl_ord_id} {filled} are filled already, so it cannot be for {wished}; cancel it.")
    return UNCHANGED if terms == own else terms


def beyond_freeze(symbol: str, wished: Decimal, most: Decimal) -> Denied:
    """Why an order cannot grow so large: one order cannot become several."""
    return Denied(
        reason=Reason.FREEZE_QTY,
        message=f"The exchange takes at most {to_text(most)} units of {symbol} in one order; place the rest by itself.",
        limit=to_text(most),
        observed=to_text(wished),
    )


def intent_left(alert: Alert, order: Order, terms: Terms) -> OrderIntent:
    """What would be left to fill of an order under new terms, as the wish of the alert that changes it."""
    return replace(
        order.intent,
        alert_id=alert.alert_id,
        order_qty=terms.order_qty - order.cum_qty,
        price=terms.price if terms.price is not None else order.intent.price,
        trigger_price=terms.trigger_price if terms.trigger_price is not None else order.intent.trigger_price,
        signal_at=alert.signal.signal_at,
        received_at=alert.received_at,
        max_notional=alert.signal.max_notional,
    )


def describe_terms(terms: Terms) -> str:
    """The terms in words: '10 units, price 812.5'."""
    told = [f"{to_text(terms.order_qty)} units"]
    told += [f"price {to_text(terms.price)}"] if terms.price is not None else []
    told += [f"trigger {to_text(terms.trigger_price)}"] if terms.trigger_price is not None else []
    return ", ".join(told)


def _not_so(message: str) -> Denied:
    return Denied(reason=Reason.NOT_MODIFIABLE, message=message)
