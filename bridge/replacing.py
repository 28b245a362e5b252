"""Replacing: an alert that modifies, from the wish to the broker's word; and orders that are cancelled to be placed anew.

What is known of a change is the order it is asked of, and what the audit tells under the alert that asked. Every pass begins
with these, so a restart is a pass like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from bridge.core.alert import Alert, Ending
from bridge.core.clock import elapsed
from bridge.core.decision import Denied
from bridge.core.enums import Disposition
from bridge.core.ids import make_cl_ord_id
from bridge.core.order import Order, whole_of
from bridge.core.reasons import AuditAction, Reason
from bridge.core.replacement import Replacement, Terms
from bridge.core.values import evolve
from bridge.deciding import Deciding
from bridge.endings import change_ending, denied_ending, order_ending, tell_intent, worst_of
from bridge.execution.orders import ask_replace, drop_change
from bridge.following import after_close
from bridge.risk.changes import WORKS, asked_by, describe_terms, find_changeable, intent_left
from bridge.risk.turns import EXIT_WAIT
from bridge.risk.wishes import Nothing
from bridge.store.tx import Tx

_DECIDED = (
    AuditAction.ORDER_REPLACED,
    AuditAction.ORDER_REPLACE_REFUSED,
    AuditAction.INTENT_DENIED,
    AuditAction.INTENT_NOOP,
)


class HasLimit(Protocol):
    """What replacing needs of an account's rules."""

    @property
    def max_replaces(self) -> int | None:
        """How often the broker changes one order; None for as often as one likes."""
        ...


class Replacing:
    """Carries alerts that modify; `hand_over` gives new orders to their lanes, `end` ends an alert."""

    def __init__(
        self,
        deciding: Deciding,
        accounts: Mapping[str, HasLimit],
        hand_over: Callable[[Tx, Sequence[Order], datetime], None],
        end: Callable[[Tx, str, Ending, datetime], None],
    ):
        self._deciding = deciding
        self._accounts = accounts
        self._hand_over = hand_over
        self._end = end

    def process(self, tx: Tx, alert: Alert, now: datetime) -> None:
        """Go on with an alert that modifies, in each of its accounts; it waits until all of them have their ending."""
        endings = []
        for leg, account in enumerate(alert.signal.accounts, start=1):
            endings.append((account, self._go_on(tx, alert, leg, account, now)))
        told = [(account, ending) for account, ending in endings if ending is not None]
        if len(told) < len(endings):
            tx.put(tx.ledger.waiting, alert.alert_id, alert)
        else:
            self._end(tx, alert.alert_id, worst_of(told), now)

    def _go_on(self, tx: Tx, alert: Alert, leg: int, account: str, now: datetime) -> Ending | None:
        """The ending in one account; None while the broker has not said what becomes of it."""
        renewed = tx.ledger.orders.get(make_cl_ord_id(alert.alert_id, leg))
        if renewed is not None:
            whole = whole_of(tx.ledger.parts_of(renewed))
            return order_ending(whole) if whole.status.is_closed else None
        asked = next((order for order in asked_by(tx.ledger, alert) if order.intent.account == account), None)
        if asked is not None:
            return self._renew(tx, alert, leg, asked, now) if asked.status.is_closed else None
        return _decided(tx, alert, account) or self._ask(tx, alert, account, now)

    def _ask(self, tx: Tx, alert: Alert, account: str, now: datetime) -> Ending | None:
        """Find the order, judge its new terms, and have the broker asked; or say why not."""
        order = find_changeable(tx.ledger, alert.signal, account)
        if isinstance(order, Order) and order.status not in WORKS:
            if elapsed(alert.received_at, now) < EXIT_WAIT:
                return None
            message = f"Order {order.cl_ord_id} does not work at the broker ({order.status}), so it cannot be changed."
            order = Denied(reason=Reason.NOT_MODIFIABLE, message=message)
        terms = self._deciding.judge_change(tx, alert, order, now) if isinstance(order, Order) else order
        if not isinstance(order, Order) or not isinstance(terms, Terms):
            return _say_no(tx, alert, account, terms, now)
        limit = self._accounts[account].max_replaces
        renews = limit is not None and order.replaces >= limit
        wished = Replacement(alert_id=alert.alert_id, terms=terms, signal_at=alert.signal.signal_at, renews=renews)
        how = f"{describe_terms(terms)}, by alert {alert.alert_id}"
        if renews:
            how += f"; changed {order.replaces} times, it is cancelled and placed anew"
        ask_replace(tx, order, wished, now, f"{order.cl_ord_id}: {how}")
        return None

    def _renew(self, tx: Tx, alert: Alert, leg: int, old: Order, now: datetime) -> Ending | None:
        """The order was cancelled to be placed anew: what is left of the wish goes as an order of this alert."""
        assert old.replace is not None
        terms = old.replace.terms
        if terms.order_qty <= old.cum_qty:
            message = f"Order {old.cl_ord_id} was filled to {terms.order_qty} units before it ended."
            drop_change(tx, old, now, code=Reason.ENDED_FIRST, message=message)
            return _decided(tx, alert, old.intent.account)
        closed = evolve(old, replace=None)
        tx.put(tx.ledger.orders, old.cl_ord_id, closed)
        wish = evolve(intent_left(alert, old, terms), leg=leg, part=1, parts=1)
        made = self._deciding.decide(tx, alert, old.intent.account, wish, now)
        if isinstance(made, Ending):
            after_close(tx, closed, now)  # an exit that is not placed anew leaves its position open
            return made
        self._hand_over(tx, made, now)
        return None


def release(tx: Tx, alert: Alert, now: datetime) -> None:
    """The alert has ended: nothing is to be placed anew for it any more."""
    for order in asked_by(tx.ledger, alert):
        if order.status.is_closed:
            drop_change(tx, order, now, code=Reason.INTERNAL, message=Reason.INTERNAL.sentence)
            after_close(tx, evolve(order, replace=None), now)


def _decided(tx: Tx, alert: Alert, account: str) -> Ending | None:
    """What became of the wish in an account, as the audit tells it."""
    steps = [step for step in tx.steps_of(alert.alert_id, *_DECIDED) if step.account == account]
    return change_ending(steps[-1].code, steps[-1].message) if steps else None


def _say_no(tx: Tx, alert: Alert, account: str, why: Order | Terms | Nothing | Denied, now: datetime) -> Ending:
    if isinstance(why, Denied):
        ending = denied_ending(why)
        tell_intent(tx, AuditAction.INTENT_DENIED, alert, account, ending, now, why)
        return ending
    assert isinstance(why, Nothing)
    ending = Ending(disposition=Disposition.NOOP, code=why.reason.value, message=why.message)
    tell_intent(tx, AuditAction.INTENT_NOOP, alert, account, ending, now)
    return ending
