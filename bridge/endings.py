"""How an alert ends: from each reason and each closed order to the one disposition, with a sentence for the trader."""

from collections.abc import Sequence
from datetime import datetime

from bridge.core.alert import Alert, Ending
from bridge.core.decision import Approved, Denied
from bridge.core.enums import Disposition
from bridge.core.money import ZERO, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction, Reason
from bridge.store.tx import Tx

# Where several accounts share an alert, the ending that most needs a person's eye is the alert's own.
_WORST_FIRST = (Disposition.FAILED, Disposition.DENIED, Disposition.EXPIRED, Disposition.DONE, Disposition.NOOP)
# These come from the lane or from age rather than from a limit.
_EXPIRED = frozenset({Reason.STALE, Reason.STALE_BEFORE_SEND, Reason.ENDED_AT_BROKER})
_NOTHING = frozenset({Reason.FLAT, Reason.EXIT_IN_FLIGHT, Reason.AT_TARGET})


def denied_ending(denied: Denied) -> Ending:
    """The ending of an intent that was not approved, or was withdrawn at the last gate."""
    disposition = Disposition.DENIED
    if denied.reason in _EXPIRED:
        disposition = Disposition.EXPIRED
    elif denied.reason in _NOTHING:
        disposition = Disposition.NOOP
    return Ending(disposition=disposition, code=denied.reason.value, message=denied.message)


def order_ending(order: Order) -> Ending:
    """The ending that a closed order gives its alert; one that the bridge withdrew itself ends for that reason."""
    if order.code == Reason.OUTCOME_UNKNOWN:
        return _ending(Disposition.FAILED, Reason.OUTCOME_UNKNOWN, order.message)
    if order.code and order.code != Reason.CANCELLED_UNFILLED and not order.cum_qty:
        return denied_ending(Denied(reason=Reason(order.code), message=order.message))
    done, wanted = to_text(order.cum_qty), to_text(order.intent.order_qty)
    what = f"{order.intent.side.value.capitalize()} {order.intent.symbol}"
    if order.status is OrderStatus.FILLED:
        return _ending(Disposition.DONE, Reason.FILLED, f"{what}: {done} filled at {to_text(order.avg_px)}.")
    if order.cum_qty:
        text = f"{what}: {done} of {wanted} filled at {to_text(order.avg_px)}, then {order.status.value.lower()}."
        return _ending(Disposition.DONE, Reason.PARTLY_FILLED, f"{text} {order.message}".strip())
    why = order.message or "no reason given"
    if order.status is OrderStatus.REJECTED:
        return _ending(Disposition.FAILED, Reason.BROKER_REJECTED, f"{what}: the broker rejected it: {why}")
    if order.status is OrderStatus.EXPIRED:
        return _ending(Disposition.EXPIRED, Reason.ENDED_AT_BROKER, f"{what}: {why}")
    return _ending(Disposition.DONE, Reason.CANCELLED_UNFILLED, f"{what}: cancelled, nothing filled: {why}")


def cancel_ending(asked: int, found: int) -> Ending:
    """The ending of an alert that cancels: `asked` of `found` open orders could be withdrawn."""
    if not found:
        return _ending(Disposition.NOOP, Reason.NOTHING_OPEN, Reason.NOTHING_OPEN.sentence)
    if asked < found:
        return _ending(
            Disposition.FAILED,
            Reason.CANCEL_IMPOSSIBLE,
            f"{asked} of {found} open orders were cancelled or asked to be; the broker has not said what became of the others.",
        )
    noun = "order was" if asked == 1 else "orders were"
    return _ending(Disposition.DONE, Reason.CANCELS_SENT, f"{asked} open {noun} cancelled, or the broker was asked to.")


_CHANGES = {
    Reason.MODIFIED: Disposition.DONE,
    Reason.MODIFY_REFUSED: Disposition.FAILED,
    Reason.ENDED_FIRST: Disposition.NOOP,
    Reason.UNCHANGED: Disposition.NOOP,
    Reason.NOTHING_OPEN: Disposition.NOOP,
    Reason.INTERNAL: Disposition.FAILED,
}


def change_ending(code: str, message: str) -> Ending:
    """The ending of an alert that modifies, from the last word of the audit on it."""
    reason = Reason(code)
    told = message or reason.sentence
    if reason in _CHANGES:
        return _ending(_CHANGES[reason], reason, told)
    return denied_ending(Denied(reason=reason, message=told))


def sliced_message(parts: Sequence[Approved]) -> str:
    """What the alert's page says of an order that is sent in parts."""
    most, whole = parts[0].intent.order_qty, sum((part.intent.order_qty for part in parts), ZERO)
    return f"{to_text(whole)} {parts[0].intent.symbol} go in {len(parts)} orders of at most {to_text(most)}."


def worst_of(parts: Sequence[tuple[str, Ending]]) -> Ending:
    """One ending of several accounts': (account, ending) each; the sentence tells them all."""
    if len(parts) == 1:
        return parts[0][1]
    worst = min((ending for _account, ending in parts), key=lambda ending: _WORST_FIRST.index(ending.disposition))
    message = " ".join(f"{account}: {ending.message}" for account, ending in parts)
    return Ending(disposition=worst.disposition, code=worst.code, message=message)


def _ending(disposition: Disposition, reason: Reason, message: str) -> Ending:
    return Ending(disposition=disposition, code=reason.value, message=message)


def tell_intent(
    tx: Tx, action: AuditAction, alert: Alert, account: str, ending: Ending, now: datetime, denied: Denied | None = None
) -> None:
    """Put into the audit what became of one account's wish, with the numbers of a denial."""
    data: dict[str, object] = {"disposition": ending.disposition.value}
    if denied is not None:
        data |= {"scope": denied.scope, "limit": denied.limit, "observed": denied.observed}
    tx.audit(action, now, alert_id=alert.alert_id, account=account, code=ending.code, message=ending.message, data=data)
