"""The order's states as one table: which event leads from where to where; anything else raises and changes nothing."""

from decimal import Decimal
from enum import StrEnum

from bridge.core.errors import IllegalTransitionError


class OrderStatus(StrEnum):
    """Where an order stands; names and meanings as in docs/orders.md."""

    NEW = "NEW"
    PENDING = "PENDING"
    IN_DOUBT = "IN_DOUBT"
    PLACED = "PLACED"
    PARTIAL = "PARTIAL"
    CANCEL_PENDING = "CANCEL_PENDING"
    REPLACE_PENDING = "REPLACE_PENDING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_closed(self) -> bool:
        """True when the order can gain nothing but a late fill."""
        return self in CLOSED


class OrderEventKind(StrEnum):
    """What can happen to an order."""

    SENDING = "SENDING"
    NOT_SENT = "NOT_SENT"
    DOUBT = "DOUBT"
    PLACED = "PLACED"
    FILL = "FILL"
    CANCEL_ASKED = "CANCEL_ASKED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    REPLACE_ASKED = "REPLACE_ASKED"
    REPLACED = "REPLACED"
    REPLACE_REFUSED = "REPLACE_REFUSED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


_S = OrderStatus
_E = OrderEventKind

CLOSED = frozenset({_S.FILLED, _S.CANCELLED, _S.REJECTED, _S.EXPIRED})
# Sent, and the broker has not said yet whether it has the order.
UNACKNOWLEDGED = frozenset({_S.PENDING, _S.IN_DOUBT})
WORKING = "working"  # stands for PLACED, PARTIAL or FILLED, decided by the quantities
BACK = "back"  # REPLACE_PENDING while a change is still asked for, else WORKING
BY_FILL = "by fill"  # FILLED when nothing is left; else PARTIAL, or the pending state the order is in

_ENDS: dict[OrderEventKind, OrderStatus | str] = {
    _E.CANCELLED: _S.CANCELLED,
    _E.REJECTED: _S.REJECTED,
    _E.EXPIRED: _S.EXPIRED,
}

_WORKS: dict[OrderEventKind, OrderStatus | str] = {
    _E.FILL: BY_FILL,
    _E.CANCEL_ASKED: _S.CANCEL_PENDING,
    _E.REPLACE_ASKED: _S.REPLACE_PENDING,
    _E.REPLACED: WORKING,  # a person changed it in the broker's own app
    **_ENDS,
}

TABLE: dict[OrderStatus, dict[OrderEventKind, OrderStatus | str]] = {
    # EXPIRED from NEW: the signal became too old to send. CANCELLED from NEW: withdrawn before it left.
    _S.NEW: {_E.SENDING: _S.PENDING, _E.CANCELLED: _S.CANCELLED, _E.EXPIRED: _S.EXPIRED},
    # NOT_SENT only with proof that no byte arrived; anything less is DOUBT.
    _S.PENDING: {
        _E.PLACED: WORKING,
        _E.FILL: BY_FILL,
        _E.REJECTED: _S.REJECTED,
        _E.NOT_SENT: _S.NEW,
        _E.DOUBT: _S.IN_DOUBT,
    },
    # Only a look-up by tag in the broker's book leads out; NOT_SENT here means absent in repeated clean reads. EXPIRED: the
    # day of the order is over, its book with it, and positions do not show that it did nothing.
    _S.IN_DOUBT: {
        _E.PLACED: WORKING,
        _E.FILL: BY_FILL,
        _E.CANCELLED: _S.CANCELLED,
        _E.REJECTED: _S.REJECTED,
        _E.NOT_SENT: _S.NEW,
        _E.EXPIRED: _S.EXPIRED,
    },
    _S.PLACED: _WORKS,
    _S.PARTIAL: _WORKS,
    # A change that was asked for before the cancel may still be carried out or refused.
    _S.CANCEL_PENDING: {
        _E.FILL: BY_FILL,
        _E.CANCEL_REFUSED: BACK,
        _E.REPLACED: BY_FILL,
        _E.REPLACE_REFUSED: BY_FILL,
        **_ENDS,
    },
    _S.REPLACE_PENDING: {
        _E.FILL: BY_FILL,
        _E.CANCEL_ASKED: _S.CANCEL_PENDING,
        _E.REPLACED: WORKING,
        _E.REPLACE_REFUSED: WORKING,
        **_ENDS,
    },
    # A late fill moves the quantities and the position, never the status; the caller raises an alarm.
    _S.FILLED: {_E.FILL: _S.FILLED},
    _S.CANCELLED: {_E.FILL: _S.CANCELLED},
    _S.REJECTED: {_E.FILL: _S.REJECTED},
    _S.EXPIRED: {_E.FILL: _S.EXPIRED},
}


def next_status(
    status: OrderStatus, event: OrderEventKind, *, cum_qty: Decimal, order_qty: Decimal, is_replacing: bool = False
) -> OrderStatus:
    """The status after `event`, given the quantities after it; IllegalTransitionError when the table has no such edge.

    While a change is asked for, `order_qty` is the larger of what the order is for and what is wished: only that closes it.
    """
    found = TABLE[status].get(event)
    if found is None:
        raise IllegalTransitionError(f"{event} cannot happen to an order that is {status}")
    if found is BACK and is_replacing:
        return _S.REPLACE_PENDING
    if found is BY_FILL:
        if cum_qty >= order_qty:
            return _S.FILLED
        return status if status in (_S.CANCEL_PENDING, _S.REPLACE_PENDING) else _S.PARTIAL
    if found is WORKING or found is BACK:
        if cum_qty >= order_qty:
            return _S.FILLED
        return _S.PARTIAL if cum_qty else _S.PLACED
    return OrderStatus(found)
