"""Sizing: turns a signal into one order intent for one account, from what is held and under way there."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.decision import Denied
from bridge.core.enums import Action, OrdType, Side
from bridge.core.errors import InvariantError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.money import to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import Reason
from bridge.core.signal import OrderIntent, Signal
from bridge.risk.protective import make_way
from bridge.risk.turns import ends_soon, exit_under_way, is_stuck
from bridge.risk.usage import closable, missing_units
from bridge.risk.wishes import Nothing, Reversal, Sized, Wait

_WITHDRAWABLE = frozenset({OrderStatus.NEW, OrderStatus.PLACED, OrderStatus.PARTIAL, OrderStatus.REPLACE_PENDING})


@dataclass(slots=True, kw_only=True)  # not frozen: made for every alert, and that would cost as much as sizing it
class _Wish:
    alert_id: str
    leg: int
    key: PositionKey
    signal: Signal
    ledger: Ledger
    received_at: datetime
    now: datetime
    no_wait: bool
    behind: str
    in_one: bool

    def open_orders(self) -> list[Order]:
        orders = self.ledger.open_orders(self.key.account, self.key.symbol)
        return [order for order in orders if order.intent.product == self.key.product]


def size_signal(
    *,
    alert_id: str,
    leg: int,
    account: str,
    signal: Signal,
    instrument: Instrument,
    ledger: Ledger,
    default_quantity: Decimal | None,
    received_at: datetime,
    now: datetime,
    no_wait: bool = False,
    behind: str = "",
    in_one: bool = True,
) -> Sized:
    """What `signal` means for `account` now; `no_wait` says that the wait has had its time and what is there must do.

    `behind` names an exit that still waits and must end before an entry; `in_one` says that one order may go through zero.
    Exits never open: whatever is returned with `reduce_only` fits, with the open orders of its side, into the position.
    """
    wish = _Wish(
        alert_id=alert_id,
        leg=leg,
        key=PositionKey(account, instrument.symbol, signal.product),
        signal=signal,
        ledger=ledger,
        received_at=received_at,
        now=now,
        no_wait=no_wait,
        behind=behind,
        in_one=in_one,
    )
    if (in_the_way := make_way(ledger, wish.key, signal, no_wait=no_wait)) is not None:
        return in_the_way
    if signal.action is Action.EXIT:
        return _size_exit(wish)
    if signal.action is Action.TARGET:
        return _size_target(wish)
    if signal.action in (Action.CANCEL, Action.MODIFY):
        raise InvariantError(f"a {signal.action} names orders, not a quantity: it cannot be sized")
    return _size_entry(wish, default_quantity)


def _size_entry(wish: _Wish, default_quantity: Decimal | None) -> Sized:
    quantity = wish.signal.quantity if wish.signal.quantity is not None else default_quantity
    if quantity is None:
        return Denied(reason=Reason.NO_QUANTITY, message=Reason.NO_QUANTITY.sentence)
    side = Side.BUY if wish.signal.action is Action.BUY else Side.SELL
    room = closable(wish.ledger, wish.key, side)
    if quantity <= room:
        return _intent(wish, side, quantity, room)
    orders = wish.open_orders()
    before = wish.behind or exit_under_way(orders)
    if before and wish.no_wait:
        return Denied(reason=Reason.EXIT_UNFINISHED, message=f"The exit before it, {before}, has not ended in time.")
    if before:
        return Wait(message=f"An exit is under way ({before}); the entry goes when it has ended.")
    if not wish.in_one and not wish.no_wait and any(ends_soon(order) for order in orders):
        return Wait(message="An order is under way; whether the entry goes through zero is known when it has ended.")
    return _intent(wish, side, quantity, room)


def _size_exit(wish: _Wish) -> Sized:
    if not wish.no_wait:
        for order in wish.open_orders():
            if ends_soon(order) and not order.intent.reduce_only:
                message = f"An entry is under way ({order.cl_ord_id}); the exit is sized when it has ended."
                return Wait(message=message, cancel=_if_stuck(wish, order))
    held = wish.ledger.position_qty(wish.key)
    side = Side.SELL if held > 0 else Side.BUY
    if not held or wish.signal.side not in (None, side):
        return Nothing(reason=Reason.FLAT, message=_nothing_to_close(wish))
    room = closable(wish.ledger, wish.key, side)
    if not room and (in_the_way := _find_resting(wish, side)) is not None:
        return in_the_way
    if not room and (gone := _all_gone(wish, side)) is not None:
        return gone
    if not room:
        return Nothing(
            reason=Reason.EXIT_IN_FLIGHT,
            message=f"Open orders close all of the position of {to_text(held)} {_name(wish.key)} already.",
        )
    wanted = wish.signal.quantity
    return _intent(wish, side, room if wanted is None else min(wanted, room), room)


def _size_target(wish: _Wish) -> Sized:
    """Orders on the way to the target count as filled. Those the other way do not: making up for an order that may never
    fill would trade beyond the target, and open where the strategy wants less.
    """
    target = wish.signal.target
    if target is None:
        raise InvariantError("a target signal without a target")
    if not wish.no_wait:
        for order in wish.open_orders():
            if ends_soon(order):
                message = f"An order is under way ({order.cl_ord_id}); the target is sized when it has ended."
                return Wait(message=message, cancel=_if_stuck(wish, order))
    held = wish.ledger.position_qty(wish.key)
    buys, sells = wish.ledger.in_flight(wish.key)
    side = Side.BUY if target > held else Side.SELL
    missing = target - held - buys if side is Side.BUY else held - target - sells
    room = closable(wish.ledger, wish.key, side)
    if missing > 0 and target * held >= 0 and abs(target) < abs(held):  # it only closes, whatever the broker has
        gone = None if room else _all_gone(wish, side)
        return gone or _intent(wish, side, min(missing, room) if room else missing, room)
    if missing > 0:
        return _intent(wish, side, missing, room)
    if abs(target) < abs(held) and (in_the_way := _find_resting(wish, side)) is not None:
        return in_the_way
    under_way = f", buying {to_text(buys)} and selling {to_text(sells)} more" if buys or sells else ""
    return Nothing(
        reason=Reason.AT_TARGET,
        message=f"The position is {to_text(held)} {_name(wish.key)}{under_way}; {to_text(target)} needs no order.",
    )


def _all_gone(wish: _Wish, side: Side) -> Denied | None:
    """Why there is nothing to close: the broker has none of what we hold."""
    if missing_units(wish.ledger, wish.key, side) < abs(wish.ledger.position_qty(wish.key)):
        return None
    hold = wish.ledger.holds.values[wish.key.account, wish.key.symbol]
    what = "sell" if side is Side.SELL else "buy back"
    return Denied(reason=Reason.POSITION_UNSURE, message=f"{hold.message} There is nothing to {what}.")


def _if_stuck(wish: _Wish, order: Order) -> tuple[str, ...]:
    """An order that was to fill at once and rests is withdrawn: what of it has not filled would trade when nobody wants it."""
    return (order.cl_ord_id,) if is_stuck(order, wish.now) else ()


def _find_resting(wish: _Wish, side: Side) -> Wait | None:
    """Resting orders that would close what is to be closed at market now: the strategy's own are withdrawn for it, and exits
    at market that the market has left behind, whosever they are.
    """
    if wish.no_wait or wish.signal.ord_type is not OrdType.MARKET:
        return None
    orders = [order for order in wish.open_orders() if order.intent.side is side]
    resting = [o for o in orders if not ends_soon(o) or is_stuck(o, wish.now) or o.status is OrderStatus.CANCEL_PENDING]
    own = [order for order in resting if order.intent.strategy == wish.signal.strategy or ends_soon(order)]
    working = tuple(order.cl_ord_id for order in own if order.status in _WITHDRAWABLE)
    if working or any(order.status is OrderStatus.CANCEL_PENDING for order in resting):
        names = ", ".join(order.cl_ord_id for order in resting)
        return Wait(message=f"Resting orders are withdrawn first: {names}.", cancel=working)
    return None


def _nothing_to_close(wish: _Wish) -> str:
    kind = {None: "", Side.SELL: "long ", Side.BUY: "short "}[wish.signal.side]
    return f"There is no {kind}{_name(wish.key)} position to close."


def _name(key: PositionKey) -> str:
    return f"{key.symbol} {key.product}"


def _intent(wish: _Wish, side: Side, quantity: Decimal, room: Decimal) -> OrderIntent | Reversal:
    """The order of `quantity`, of which `room` may close; in two parts where one order may not do both."""
    if room and quantity > room and not wish.in_one:
        return Reversal(close=_order(wish, side, room, reduce_only=True), rest=quantity - room)
    return _order(wish, side, quantity, reduce_only=quantity <= room)


def _order(wish: _Wish, side: Side, quantity: Decimal, *, reduce_only: bool) -> OrderIntent:
    signal = wish.signal
    return OrderIntent(
        alert_id=wish.alert_id,
        leg=wish.leg,
        account=wish.key.account,
        strategy=signal.strategy,
        symbol=wish.key.symbol,
        product=signal.product,
        side=side,
        order_qty=quantity,
        ord_type=signal.ord_type,
        time_in_force=signal.time_in_force,
        price=signal.price,
        trigger_price=signal.trigger_price,
        reduce_only=reduce_only,
        signal_at=signal.signal_at,
        received_at=wish.received_at,
        max_notional=signal.max_notional,
        variety=signal.variety,
        iceberg_legs=signal.iceberg_legs,
        validity_minutes=signal.validity_minutes,
        protect=None if reduce_only else signal.protect,
    )
