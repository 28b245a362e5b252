"""Replacement: new terms that were asked for an order that works, until the broker has said yes or no (FIX 35=G)."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType
from bridge.core.signal import OrderIntent
from bridge.core.values import evolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What can be changed of an order: units in all, filled ones among them, and its prices; None is not told, or has none."""

    order_qty: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None

    def agree(self, other: "Terms", ord_type: OrdType) -> bool:
        """Whether both say the same of an order of this type, as far as both say anything."""
        prices = [(self.price, other.price)] if ord_type.needs_price else []
        prices += [(self.trigger_price, other.trigger_price)] if ord_type.needs_trigger else []
        return self.order_qty == other.order_qty and all(one == two for one, two in prices if None not in (one, two))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What alert `alert_id` wants in place of an order's own terms; `signal_at` is that alert's own time.

    `renews` says that the broker changes the order no more: it is cancelled, and what is left is placed anew.
    """

    alert_id: str
    terms: Terms
    signal_at: datetime
    renews: bool = False


def terms_of(intent: OrderIntent) -> Terms:
    """The terms of an intent that its type has."""
    kind = intent.ord_type
    return Terms(
        order_qty=intent.order_qty,
        price=intent.price if kind.needs_price else None,
        trigger_price=intent.trigger_price if kind.needs_trigger else None,
    )


def with_terms(intent: OrderIntent, terms: Terms) -> OrderIntent:
    """The intent under other terms; a price that they do not tell stays."""
    return evolve(
        intent,
        order_qty=terms.order_qty,
        price=intent.price if terms.price is None else terms.price,
        trigger_price=intent.trigger_price if terms.trigger_price is None else terms.trigger_price,
    )
