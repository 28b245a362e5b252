"""What may rest at the broker to protect a position, and which of it must go before an order of ours leaves."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bridge.core.clock import elapsed
from bridge.core.decision import Denied
from bridge.core.enums import Action, Product, Side
from bridge.core.ledger import Ledger
from bridge.core.money import ZERO, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.protection import Protection, ProtectionStatus, find_passed
from bridge.core.reasons import Reason
from bridge.core.signal import Signal
from bridge.risk.halt import may_send
from bridge.risk.turns import ends_soon, is_stuck
from bridge.risk.usage import closable, closed_units, key_of, lacking_units, price_of
from bridge.risk.wishes import Wait

# A resting entry that fills in parts is protected once it has been quiet for so long, not anew with every part.
QUIET = timedelta(seconds=5)
_WITHDRAWABLE = frozenset({OrderStatus.NEW, OrderStatus.PLACED, OrderStatus.PARTIAL})


class Step(StrEnum):
    """What is to be done about a protection."""

    NOTHING = "nothing"
    ORDER = "order"
    CLOSE = "close"
    WITHDRAW = "withdraw"
    LOST = "lost"
    FINISH = "finish"


def next_step(ledger: Ledger, one: Protection, now: datetime) -> Step:
    """What a protection needs now, from the books as they stand; holds over restarts and for changes made by hand."""
    order = resting_order(ledger, one)
    quantity = coverable(ledger, one)
    if order is not None:
        return _step_of_order(ledger, one, order, quantity, now)
    if one.status is ProtectionStatus.RESTING:
        return Step.LOST  # its end is always noted in the commit that ends the order
    if not _share(ledger, one):
        return Step.FINISH
    if one.status is ProtectionStatus.WATCHED and passed_now(ledger, one):
        return Step.CLOSE
    if one.status is not ProtectionStatus.WANTED or not quantity or not _is_calm(ledger, one, now):
        return Step.NOTHING
    return Step.NOTHING if _is_halted(ledger, one) else Step.ORDER


def passed_now(ledger: Ledger, one: Protection) -> str:
    """The level that the latest price has passed since nothing rests any more, in words; empty when it has passed none.

    A price from before that moment says nothing: it may be older than the entry.
    """
    mark = ledger.marks.values.get(one.key.symbol)
    price = price_of(mark)
    if mark is None or price is None or mark.at < one.updated_at:
        return ""
    passed = find_passed(one.protect, one.side, one.entry_px, price)
    return f"The {passed} is passed: the price is {to_text(price)}" if passed else ""


def may_close(ledger: Ledger, one: Protection, now: datetime) -> bool:
    """Whether the exit of a position whose stop or target was passed may be raised: nothing else is closing it."""
    if one.status is not ProtectionStatus.CLOSING or not coverable(ledger, one) or _is_halted(ledger, one):
        return False
    return not is_closing(ledger, one.key, now)


def _step_of_order(ledger: Ledger, one: Protection, order: Order, quantity: Decimal, now: datetime) -> Step:
    """Too much of it goes at once; too little, or other levels, when nothing else is going on."""
    if order.status not in _WITHDRAWABLE:
        return Step.NOTHING
    if order.leaves_qty > quantity:
        return Step.WITHDRAW
    is_other = order.leaves_qty < quantity or order.intent.alert_id != one.alert_id
    if not is_other or one.message or order.cum_qty or not _is_calm(ledger, one, now):
        return Step.NOTHING
    return Step.NOTHING if _is_halted(ledger, one) else Step.WITHDRAW  # what cannot be made anew is better than none


def _is_halted(ledger: Ledger, one: Protection) -> bool:
    """Whether no order leaves at all, not even one that protects."""
    return may_send(ledger.states_over(one.key.account, one.strategy), reduce_only=True) is not None


def resting_order(ledger: Ledger, one: Protection) -> Order | None:
    """Its order, while that has not ended."""
    order = ledger.orders.get(one.order_id) if one.order_id else None
    return None if order is None or order.status.is_closed else order


def coverable(ledger: Ledger, one: Protection) -> Decimal:
    """Units that may rest: the strategy's share, of what the broker holds less what other orders close."""
    own = resting_order(ledger, one)
    room = -_reach_without(ledger, one, own) - _missing(ledger, one)
    return max(ZERO, min(_share(ledger, one), room))


def _reach_without(ledger: Ledger, one: Protection, own: Order | None) -> Decimal:
    """Where the position would stand on the closing side if every open order of that side but `own` filled."""
    buys, sells = ledger.in_flight(one.key)
    held = ledger.position_qty(one.key)
    leaves = own.leaves_qty if own is not None else ZERO
    return sells - leaves - held if one.side is Side.BUY else held + buys - leaves


def _share(ledger: Ledger, one: Protection) -> Decimal:
    """Units that the strategy holds on the protected side; zero when none, or when the whole position is on the other side."""
    position = ledger.positions.values.get(one.key)
    if position is None or position.quantity * one.side.sign <= 0:
        return ZERO
    return max(ZERO, position.by_strategy.get(one.strategy, ZERO) * one.side.sign)


def _missing(ledger: Ledger, one: Protection) -> Decimal:
    """Units that the broker has less than we, certain or not: what waits can wait for the truth, and never opens.

    A difference of positions is judged slowly; what was traded elsewhere counts as soon as it is seen. Not where
    nobody can be short: a person may sell other shares than ours, and what rests for shares that are all gone does no harm,
    so it is left when they may only be late in the list.
    """
    side = one.side.opposite
    if not Product(one.key.product).may_short:
        lacking = lacking_units(ledger, one.key, side)
        is_late = lacking >= abs(ledger.position_qty(one.key)) and resting_order(ledger, one) is not None
        return closed_units(ledger, one.key, side) if is_late else lacking
    hold, elsewhere = ledger.holds.get((one.key.account, one.key.symbol)), ledger.elsewhere.get(one.key.account)
    difference = hold.difference(one.key.product) if hold is not None else ZERO
    pending = elsewhere.pending(one.key.symbol, one.key.product) if elsewhere is not None else ZERO
    return max(closed_units(ledger, one.key, side), (difference + pending) * side.sign)


def _is_calm(ledger: Ledger, one: Protection, now: datetime) -> bool:
    """Nobody waits to trade the position, and no entry of the strategy is about to change it."""
    for alert in list(ledger.waiting.by_symbol.get(one.key.symbol, {}).values()):
        signal = alert.signal
        if signal.product == one.key.product and one.key.account in signal.accounts and signal.action is not Action.CANCEL:
            return False
    for order in ledger.open_orders(one.key.account, one.key.symbol):
        is_entry = order.intent.side is one.side and key_of(order.intent) == one.key
        is_new = elapsed(order.updated_at, now) < QUIET or (ends_soon(order) and not is_stuck(order, now))
        if is_entry and is_new:
            return False
    return True


def is_closing(ledger: Ledger, key: PositionKey, now: datetime) -> bool:
    """Whether an exit of a position is under way, or one waits for its turn. One that the market has left behind is not."""
    orders = ledger.open_orders(key.account, key.symbol)
    exits = [o for o in orders if o.intent.product == key.product and o.intent.reduce_only and ends_soon(o)]
    if any(not is_stuck(order, now) for order in exits):
        return True
    signals = [alert.signal for alert in list(ledger.waiting.by_symbol.get(key.symbol, {}).values())]
    return any(s.action is Action.EXIT and s.product == key.product and key.account in s.accounts for s in signals)


def make_way(ledger: Ledger, key: PositionKey, signal: Signal, *, no_wait: bool) -> Wait | Denied | None:
    """What an order of this signal waits for: protections of its side, which could open once it has closed.

    None when there are none. After the wait an exit goes on, capped at what they leave; if that is nothing it is denied, as is
    what may open.
    """
    side = _side_of(ledger, key, signal)
    resting = [o for o in ledger.open_orders(key.account, key.symbol) if _is_in_the_way(o, key, side)]
    if not resting:
        return None
    halted = may_send(ledger.states_over(key.account, signal.strategy), reduce_only=True)
    if halted is not None:
        return halted
    names = ", ".join(order.cl_ord_id for order in resting)
    if not no_wait:
        working = tuple(order.cl_ord_id for order in resting if order.status in _WITHDRAWABLE)
        return Wait(message=f"The protection of the position is withdrawn first: {names}.", cancel=working)
    if signal.action is Action.EXIT and side is not None and closable(ledger, key, side):
        return None
    return Denied(reason=Reason.EXIT_UNFINISHED, message=f"The protection {names} could not be withdrawn in time.")


def _is_in_the_way(order: Order, key: PositionKey, side: Side | None) -> bool:
    return order.is_protection and order.intent.side is side and key_of(order.intent) == key


def _side_of(ledger: Ledger, key: PositionKey, signal: Signal) -> Side | None:
    """The side on which the signal would trade; None when it would not."""
    held = ledger.position_qty(key)
    if signal.action in (Action.BUY, Action.SELL):
        return Side.BUY if signal.action is Action.BUY else Side.SELL
    if signal.side is not None and signal.side.sign * held >= 0:
        return None
    wanted = signal.target if signal.action is Action.TARGET and signal.target is not None else ZERO
    return None if wanted == held else Side.BUY if wanted > held else Side.SELL
