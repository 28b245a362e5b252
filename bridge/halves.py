"""A reversal in two orders, where one may not go through zero: which alerts still owe the half that opens.

What is known of it is what is written down anyway: the order that closes, and the audit's word that it was split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from bridge.core.alert import Alert
from bridge.core.decision import Denied
from bridge.core.money import to_text
from bridge.core.order import Order, whole_of
from bridge.core.reasons import AuditAction, Reason
from bridge.store.tx import Tx

_DECIDED = (AuditAction.INTENT_DENIED, AuditAction.INTENT_NOOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """The half that is due in one account: its leg, and the order that closes before it."""

    account: str
    leg: int
    closing: Order

    def unfinished(self) -> Denied:
        """Why nothing may open."""
        closing = self.closing
        how = f"has {to_text(closing.cum_qty)} of {to_text(closing.intent.order_qty)} filled ({closing.status.value})"
        message = f"The opening half of the reversal was not sent: the order that closes, {closing.cl_ord_id}, {how}."
        return Denied(reason=Reason.EXIT_UNFINISHED, message=message)


def halves_due(tx: Tx, alert: Alert) -> list[Half]:
    """The halves of an open alert that have neither an order nor a decision against them."""
    steps = tx.steps_of(alert.alert_id, AuditAction.INTENT_SPLIT, *_DECIDED)
    split = {step.account for step in steps if step.action is AuditAction.INTENT_SPLIT}
    if not split:
        return []
    split -= {step.account for step in steps if step.action in _DECIDED}
    accounts = alert.signal.accounts
    orders = dict(by_leg(tx.ledger.orders_of(alert)))
    return [
        Half(account=account, leg=len(accounts) + leg, closing=orders[leg])
        for leg, account in enumerate(accounts, start=1)
        if account in split and len(accounts) + leg not in orders
    ]


def by_leg(orders: Sequence[Order]) -> list[tuple[int, Order]]:
    """The orders of an alert, those that are parts of one put together again: (leg, order)."""
    legs = groupby(orders, key=lambda order: order.intent.leg)
    return [(leg, whole_of(list(parts))) for leg, parts in legs]


def split_message(closes: Decimal, rest: Decimal) -> str:
    """What the alert's page says of the split."""
    return f"{to_text(closes)} close first; {to_text(rest)} open when that has filled."
