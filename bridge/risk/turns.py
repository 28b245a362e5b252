"""Turns: which of several alerts for one position goes first, and which comes too late; asked before an alert is sized.

TradingView promises no order: two alerts of one bar arrive swapped by milliseconds, and what was answered 5xx comes again
after seconds. All of this is read from the books as they stand, so it holds over restarts.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from bridge.core.alert import Alert
from bridge.core.clock import IST, elapsed
from bridge.core.decision import Denied
from bridge.core.enums import Action, MarketPosition, OrdType, TimeInForce
from bridge.core.ledger import Ledger, newest_key
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import Reason
from bridge.core.signal import Signal
from bridge.risk.changes import asked_by
from bridge.risk.wishes import Wait

# Alerts of one bar are apart by milliseconds, and seconds are rare; an exit that nothing precedes is not held up longer.
CHAIN_WAIT = timedelta(seconds=2)
# An alert waits this long for the orders and alerts before it: a market order has ended long before at a broker that works.
EXIT_WAIT = timedelta(seconds=20)

# Fills at the market take moments, at a slow broker seconds. What the protection of a market order keeps from filling stays
# open as a limit order, for the rest of the day.
STUCK_AFTER = timedelta(seconds=10)

_CLOSING = frozenset({Action.EXIT, Action.TARGET})
# These name orders, not a position, and neither wait for others' turns nor hold them up.
OF_ORDERS = frozenset({Action.CANCEL, Action.MODIFY})


def check_turn(ledger: Ledger, alert: Alert, now: datetime) -> Wait | Denied | None:
    """None when it is the alert's turn; Wait while another must go first; Denied when a newer one has gone already."""
    overtaken = _overtaken(ledger, alert) if ledger.newest.values else None
    if overtaken is not None:
        return overtaken
    signal, others = alert.signal, ledger.waiting.by_symbol.get(alert.signal.symbol)
    if signal.prev is None and others is None:
        return None
    group = [alert, *(other for other in (others or {}).values() if _is_companion(signal, other.signal))]
    head = _head_of(ledger, group)
    waited = elapsed(alert.received_at, now)
    if head is alert or waited >= EXIT_WAIT:
        return None
    if head is not None:
        return Wait(message=f"Alert {head.alert_id} goes first.")
    if waited < CHAIN_WAIT:
        return Wait(message=f"The strategy does not stand {signal.prev} yet; the alert before this one may be on its way.")
    return _out_of_chain(ledger, alert)


def exit_before(ledger: Ledger, alert: Alert, account: str) -> str:
    """Names an exit or target received before the entry `alert` that still waits for the same position; else empty."""
    signal, others = alert.signal, ledger.waiting.by_symbol.get(alert.signal.symbol)
    for other in (others or {}).values():
        wish = other.signal
        concerned = wish.action in _CLOSING and wish.product is signal.product and account in wish.accounts
        # One that waits for its predecessor may be waiting for this very entry.
        if concerned and _received(other) < _received(alert) and _fits(ledger, other):
            return f"alert {other.alert_id}"
    return ""


def exit_under_way(orders: Iterable[Order]) -> str:
    """Names an exit among the open orders of a position that ends soon; else empty."""
    for order in orders:
        if order.intent.reduce_only and ends_soon(order):
            return f"order {order.cl_ord_id}"
    return ""


def ends_soon(order: Order) -> bool:
    """True for an order that fills or ends by itself at once, so that waiting for it is short."""
    intent = order.intent
    if intent.ord_type is OrdType.LIMIT:
        return intent.time_in_force is TimeInForce.IOC
    return not order.is_resting


def is_stuck(order: Order, now: datetime, after: timedelta = STUCK_AFTER) -> bool:
    """True for an order that was to fill at once and works at the broker all the same, for so long without news."""
    works = order.status in (OrderStatus.PLACED, OrderStatus.PARTIAL)
    return works and ends_soon(order) and elapsed(order.updated_at, now) >= after


def withdrawn_by(ledger: Ledger, cancel: Alert) -> list[Alert]:
    """Who came before `cancel` and waits: entries and half done reversals, which would have an open order by now had they not
    had to, and changes that nobody was asked for yet, which could place anew what is cancelled. A cancel of one order ends
    changes of that one alone.
    """
    signal = cancel.signal

    def is_meant(other: Alert) -> bool:
        action = other.signal.action
        if action is Action.MODIFY:
            return signal.order in ("", other.signal.order) and not asked_by(ledger, other)
        is_order = action in (Action.BUY, Action.SELL) or _has_begun(ledger, other)
        return is_order and action is not Action.CANCEL and not signal.order

    return [
        other
        for other in ledger.waiting.by_symbol.get(signal.symbol, {}).values()
        if other.signal.strategy == signal.strategy
        and _received(other) < _received(cancel)
        and set(other.signal.accounts).issubset(signal.accounts)
        and is_meant(other)
    ]


def in_turn(alerts: Iterable[Alert]) -> list[Alert]:
    """The order in which waiting alerts are taken up: those that go flat first, then as received."""
    return sorted(alerts, key=lambda alert: (not _goes_flat(alert.signal), _received(alert)))


def standing(ledger: Ledger, key: PositionKey, strategy: str) -> MarketPosition:
    """Where a strategy stands once its orders that end soon have filled."""
    position = ledger.positions.values.get(key)
    share = position.by_strategy.get(strategy, ZERO) if position else ZERO
    for order in ledger.open_orders(key.account, key.symbol):
        intent = order.intent
        if intent.strategy == strategy and intent.product == key.product and ends_soon(order):
            share += order.signed_leaves
    if not share:
        return MarketPosition.FLAT
    return MarketPosition.LONG if share > 0 else MarketPosition.SHORT


# -- the chain of one strategy ----------------------------------------------------------------------------------------


def _is_companion(signal: Signal, other: Signal) -> bool:
    """Whether two signals of one symbol move the same position for the same strategy."""
    return (
        other.strategy == signal.strategy
        and other.product is signal.product
        and other.action not in OF_ORDERS
        and not set(signal.accounts).isdisjoint(other.accounts)
    )


def _head_of(ledger: Ledger, group: list[Alert]) -> Alert | None:
    """Whose turn it is: one that has begun, else the first received of those that follow on where the strategy stands.

    Every other alert of the group waits for the head and the head for none of them, so no two wait for each other.
    """
    begun = [alert for alert in group if _has_begun(ledger, alert)]
    return min(begun or [alert for alert in group if _fits(ledger, alert)], key=_received, default=None)


def _has_begun(ledger: Ledger, alert: Alert) -> bool:
    """True when the first half of its reversal was made already."""
    return alert.alert_id in ledger.waiting.values and bool(ledger.orders_of(alert))


def _fits(ledger: Ledger, alert: Alert) -> bool:
    """Whether the alert follows on where its strategy stands, in every account; one that does not say always does."""
    signal = alert.signal
    if signal.prev is None or _has_begun(ledger, alert):
        return True
    keys = [PositionKey(account, signal.symbol, signal.product) for account in signal.accounts]
    return all(standing(ledger, key, signal.strategy) is signal.prev for key in keys)


def _out_of_chain(ledger: Ledger, alert: Alert) -> Denied | None:
    """An entry that nothing came before: of the second of the newest exit, it is late if that one follows on from it.

    Times of whole seconds cannot tell two alerts of one second apart, but where they begin and end can: with a position
    taken from long to long and then to flat, the first one that comes last would open what was closed.
    """
    signal = alert.signal
    newest = _newest_before(ledger, signal)
    if newest is None or _is_earlier(newest.signal.signal_at, signal.signal_at):
        return None
    after = newest.signal
    if signal.state is None or after.prev is None or after.state is None:
        return None
    follows_on = signal.state is after.prev and signal.prev is not after.state
    return _overtaken_by(newest) if follows_on else None


# -- overtaken --------------------------------------------------------------------------------------------------------


def _overtaken(ledger: Ledger, alert: Alert) -> Denied | None:
    """An entry or target that fired before an exit or target which was processed already must not undo that one."""
    newest = _newest_before(ledger, alert.signal)
    if newest is None or not _is_earlier(alert.signal.signal_at, newest.signal.signal_at):
        return None
    return _overtaken_by(newest)


def _newest_before(ledger: Ledger, signal: Signal) -> Alert | None:
    """The newest exit or target that may have overtaken a signal; only times that senders gave are compared."""
    if not signal.is_timed or signal.action is Action.EXIT:
        return None
    newest = ledger.newest.values.get(newest_key(signal))
    if newest is None:
        return None
    return newest if set(signal.accounts).issubset(newest.signal.accounts) else None


def _overtaken_by(newest: Alert) -> Denied:
    at = newest.signal.signal_at.astimezone(IST)
    return Denied(
        reason=Reason.OVERTAKEN,
        message=f"Alert {newest.alert_id}, which fired after this one ({at:%H:%M:%S} IST), was processed before it.",
        observed=newest.alert_id,
    )


def _is_earlier(at: datetime, other: datetime) -> bool:
    """Of an earlier second: finer than that TradingView's times do not go, and a whole second may be any moment of it."""
    return at.replace(microsecond=0) < other.replace(microsecond=0)


def _goes_flat(signal: Signal) -> bool:
    return signal.action is Action.EXIT or (signal.action is Action.TARGET and not signal.target)


def _received(alert: Alert) -> tuple[datetime, str]:
    return alert.received_at, alert.alert_id
