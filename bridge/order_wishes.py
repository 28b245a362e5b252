"""What a person asks of one open order, as a signal that names it and takes the way of every alert."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import Action
from bridge.core.errors import RefusedError
from bridge.core.ledger import Ledger
from bridge.core.money import parse_decimal
from bridge.core.order import Order
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from bridge.core.values import evolve

CHANGES = ("price", "trigger_price", "quantity")


def find_open(ledger: Ledger, cl_ord_id: str) -> Order:
    """The open order of that name; RefusedError when there is none, or it is none that a person deals with."""
    order = ledger.orders.get(cl_ord_id)
    if order is None or order.status.is_closed:
        hint = "The page and `GET /api/v1/orders` name the open ones."
        raise RefusedError(RefusalCode.E_FIELD, f"There is no open order {cl_ord_id[:60]!r}.", field="order", hint=hint)
    if order.is_protection:
        hint = "It goes with the position that it protects: close that."
        raise RefusedError(RefusalCode.E_UNSUPPORTED, "A protective order is not for itself.", field="order", hint=hint)
    return order


def cancel_signal(order: Order, at: datetime) -> Signal:
    """Cancel this order and no other."""
    return _signal(order, Action.CANCEL, at)


def change_signal(order: Order, wished: Mapping[str, str], at: datetime) -> Signal:
    """Give this order other terms; RefusedError where a number is none, or nothing is wished."""
    price, trigger_price, quantity = (_number(name, wished.get(name, "").strip()) for name in CHANGES)
    if price is None and trigger_price is None and quantity is None:
        message = "A change needs a `price`, a `trigger_price` or a `quantity`."
        raise RefusedError(RefusalCode.E_FIELD, message, field="price", hint="The quantity counts what is filled too.")
    signal = _signal(order, Action.MODIFY, at)
    return evolve(signal, price=price, trigger_price=trigger_price, quantity=quantity)


def _signal(order: Order, action: Action, at: datetime) -> Signal:
    intent = order.intent
    return Signal(
        strategy=intent.strategy,
        symbol=intent.symbol,
        action=action,
        accounts=(intent.account,),
        product=intent.product,
        signal_at=at,
        order=order.cl_ord_id,
    )


def _number(name: str, text: str) -> Decimal | None:
    if not text:
        return None
    try:
        number = parse_decimal(text)
    except ValueError as error:
        raise RefusedError(RefusalCode.E_NUMBER, f"`{name}` {error}.", field=name, hint="Write a plain number.") from None
    if number <= 0:
        raise RefusedError(RefusalCode.E_NUMBER, f"`{name}` is not above zero.", field=name, hint="Write a plain number.")
    return number
