"""Sizing: a signal becomes one intent, nothing, a denial or a wait, from what is held and under way."""

from datetime import timedelta
from typing import Any

import pytest

from bridge.core.enums import Action, OrdType, Product, Side, TimeInForce
from bridge.core.errors import InvariantError
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.signal import OrderIntent
from bridge.risk.wishes import Nothing, Reversal, Wait
from tests.unit.risk.builders import NOW, OTHER, D, World, denied, make_instrument, make_intent, make_signal

RESTING: dict[str, Any] = {"ord_type": OrdType.LIMIT, "price": D(100)}


def an_intent(sized: object) -> OrderIntent:
    assert isinstance(sized, OrderIntent), sized
    return sized


def nothing(sized: object, reason: Reason) -> None:
    assert isinstance(sized, Nothing), sized
    assert sized.reason is reason
    assert sized.message.endswith(".")


def waits(sized: object, cl_ord_id: str) -> None:
    assert isinstance(sized, Wait), sized
    assert cl_ord_id in sized.message


# --- buy and sell -------------------------------------------------------------------------------------------------


def test_buy_without_quantity_takes_the_strategys_default():
    """The strategy's default is the size of an entry that names none."""
    intent = an_intent(World().size(make_signal(Action.BUY), default_quantity=D(25)))
    assert (intent.side, intent.order_qty, intent.reduce_only) == (Side.BUY, D(25), False)


def test_sell_with_quantity_ignores_the_default():
    """The alert's own quantity goes before the default."""
    intent = an_intent(World().size(make_signal(Action.SELL, quantity=D(7)), default_quantity=D(25)))
    assert (intent.side, intent.order_qty) == (Side.SELL, D(7))


def test_entry_without_any_quantity_is_denied():
    """A missing quantity denies; it is never guessed."""
    denied(World().size(make_signal(Action.BUY)), Reason.NO_QUANTITY)


def test_intent_copies_the_signals_terms_and_takes_the_instruments_symbol():
    """Only side and quantity are ours; all else is the signal's, and the symbol is spelt as the broker spells it."""
    signal = make_signal(
        Action.BUY,
        quantity=D(1),
        symbol="NSE:M_M",
        product=Product.CNC,
        ord_type=OrdType.SL,
        price=D("101.5"),
        trigger_price=D(101),
        time_in_force=TimeInForce.IOC,
        max_notional=D(5000),
        signal_at=NOW - timedelta(seconds=3),
    )
    intent = an_intent(World().size(signal, leg=2, instrument=make_instrument("NSE:M&M")))
    assert intent == make_intent(
        1,
        symbol="NSE:M&M",
        leg=2,
        product=Product.CNC,
        ord_type=OrdType.SL,
        price=D("101.5"),
        trigger_price=D(101),
        time_in_force=TimeInForce.IOC,
        max_notional=D(5000),
        signal_at=NOW - timedelta(seconds=3),
    )


@pytest.mark.parametrize(
    ("held", "action", "qty", "reduces"),
    [
        (10, Action.SELL, 10, True),
        (10, Action.SELL, 11, False),
        (10, Action.BUY, 5, False),
        (-10, Action.BUY, 10, True),
        (-10, Action.BUY, 11, False),
        (-10, Action.SELL, 5, False),
        (0, Action.SELL, 1, False),
    ],
)
def test_entry_reduces_only_when_it_fits_into_the_opposite_position(held, action, qty, reduces):
    """`reduce_only` exactly when the order is opposite to the position and no larger."""
    intent = an_intent(World().hold(held).size(make_signal(action, quantity=D(qty))))
    assert intent.reduce_only is reduces


def test_sell_that_fits_the_position_but_not_beside_a_resting_exit_does_not_reduce_only():
    """What open orders close already can not be closed twice."""
    world = World().hold(10)
    world.order(make_intent(6, Side.SELL, reduce_only=True, **RESTING))
    assert an_intent(world.size(make_signal(Action.SELL, quantity=D(4)))).reduce_only
    assert not an_intent(world.size(make_signal(Action.SELL, quantity=D(5)))).reduce_only


def test_orders_of_another_product_close_nothing_here():
    """Positions are counted by product: a delivery sell closes no intraday position."""
    world = World().hold(10)
    world.order(make_intent(10, Side.SELL, product=Product.CNC))
    assert an_intent(world.size(make_signal(Action.SELL, quantity=D(10)))).reduce_only


def test_cancel_can_not_be_sized():
    """A cancel names orders; asking for its size is a bug of ours."""
    with pytest.raises(InvariantError, match="cancel"):
        World().size(make_signal(Action.CANCEL))


# --- exit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "side"), [(10, Side.SELL), (-10, Side.BUY)])
def test_exit_closes_the_whole_position(held, side):
    """An exit without a quantity closes all."""
    intent = an_intent(World().hold(held).size(make_signal(Action.EXIT)))
    assert (intent.side, intent.order_qty, intent.reduce_only) == (side, D(10), True)


@pytest.mark.parametrize(("asked", "qty"), [(4, 4), (10, 10), (99, 10)])
def test_exit_with_a_quantity_is_capped_at_the_position(asked, qty):
    """An exit never opens: what is asked beyond the position is left out."""
    intent = an_intent(World().hold(10).size(make_signal(Action.EXIT, quantity=D(asked))))
    assert (intent.order_qty, intent.reduce_only) == (qty, True)


def test_exit_ignores_the_default_quantity():
    """The default is the size of an entry, not of an exit."""
    assert an_intent(World().hold(10).size(make_signal(Action.EXIT), default_quantity=D(3))).order_qty == 10


def test_exit_by_limit_keeps_its_price():
    """Exits may rest in the book."""
    intent = an_intent(World().hold(10).size(make_signal(Action.EXIT, ord_type=OrdType.LIMIT, price=D(120))))
    assert (intent.ord_type, intent.price, intent.reduce_only) == (OrdType.LIMIT, D(120), True)


def test_exit_while_flat_is_nothing():
    """A flat position makes an exit a no-op."""
    nothing(World().size(make_signal(Action.EXIT)), Reason.FLAT)


def test_exit_beside_an_open_exit_closes_the_rest():
    """Open exits count as closing until they end; a part filled one closes its leaves only."""
    world = World().hold(10)
    world.order(make_intent(6, Side.SELL, reduce_only=True), filled=2, status=OrderStatus.PARTIAL)
    assert an_intent(world.size(make_signal(Action.EXIT))).order_qty == 6


def test_exit_beside_an_exit_for_all_is_nothing():
    """An exit for the whole position is under way already."""
    world = World().hold(-10)
    world.order(make_intent(10, Side.BUY, reduce_only=True))
    nothing(world.size(make_signal(Action.EXIT)), Reason.EXIT_IN_FLIGHT)


def test_exit_at_market_beside_resting_orders_that_close_all_withdraws_them_first():
    """They would close the position some day; what is wanted is to close it now."""
    world = World().hold(10)
    resting = world.order(make_intent(15, Side.SELL, **RESTING))
    sized = world.size(make_signal(Action.EXIT))
    assert isinstance(sized, Wait)
    assert sized.cancel == (resting.cl_ord_id,)


def test_exit_beside_more_closing_orders_than_position_is_nothing():
    """Closing orders larger than the position leave nothing to close, and never less than nothing."""
    world = World().hold(10)
    world.order(make_intent(15, Side.SELL, **RESTING))
    nothing(world.size(make_signal(Action.EXIT), no_wait=True), Reason.EXIT_IN_FLIGHT)
    nothing(world.size(make_signal(Action.EXIT, ord_type=OrdType.LIMIT, price=D(100))), Reason.EXIT_IN_FLIGHT)


@pytest.mark.parametrize("held", [0, 10])
@pytest.mark.parametrize("side", list(Side))
def test_exit_waits_for_a_market_entry_under_way(held, side):
    """An exit sized before the entry ends would no-op under a fill that comes a moment later, or cross zero."""
    world = World().hold(held)
    entry = world.order(make_intent(20, side), status=OrderStatus.PENDING)
    waits(world.size(make_signal(Action.EXIT)), entry.cl_ord_id)


def test_exit_waits_for_an_immediate_limit_entry():
    """A limit order that is immediate or cancelled ends at once, so it is waited for like a market order."""
    world = World()
    entry = world.order(make_intent(20, time_in_force=TimeInForce.IOC, **RESTING))
    waits(world.size(make_signal(Action.EXIT)), entry.cl_ord_id)


@pytest.mark.parametrize(
    "changes",
    [
        RESTING,
        {"ord_type": OrdType.SL_M, "trigger_price": D(105)},
        {"ord_type": OrdType.SL, "price": D(106), "trigger_price": D(105), "time_in_force": TimeInForce.IOC},
    ],
)
def test_exit_does_not_wait_for_a_resting_entry(changes):
    """A resting order may lie for hours; the exit closes what is there."""
    world = World().hold(10)
    world.order(make_intent(20, **changes))
    assert an_intent(world.size(make_signal(Action.EXIT))).order_qty == 10


def test_exit_does_not_wait_for_an_exit():
    """An exit under way can not enlarge anything; what is left is sized at once."""
    world = World().hold(10)
    world.order(make_intent(4, Side.SELL, reduce_only=True))
    assert an_intent(world.size(make_signal(Action.EXIT))).order_qty == 6


def test_exit_does_not_wait_for_entries_elsewhere():
    """Orders of another symbol, product or account, and closed ones, bear on nothing here."""
    world = World().hold(10)
    world.order(make_intent(20, symbol=OTHER))
    world.order(make_intent(20, product=Product.CNC))
    world.order(make_intent(20, account="other"))
    world.order(make_intent(20), status=OrderStatus.CANCELLED)
    assert an_intent(world.size(make_signal(Action.EXIT))).order_qty == 10


def test_exit_after_the_wait_is_sized_with_what_is_there():
    """The wait is bounded; then the position as it stands is closed."""
    world = World().hold(10)
    world.order(make_intent(20), status=OrderStatus.IN_DOUBT)
    assert an_intent(world.size(make_signal(Action.EXIT), no_wait=True)).order_qty == 10


def test_exit_after_the_wait_is_nothing_when_still_flat():
    """With nothing filled by the end of the wait there is nothing to close."""
    world = World()
    world.order(make_intent(20), status=OrderStatus.IN_DOUBT)
    nothing(world.size(make_signal(Action.EXIT), no_wait=True), Reason.FLAT)


# --- target -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "target", "side", "qty", "reduces"),
    [
        (0, -5, Side.SELL, 5, False),
        (0, 5, Side.BUY, 5, False),
        (10, 4, Side.SELL, 6, True),
        (10, 0, Side.SELL, 10, True),
        (10, -5, Side.SELL, 15, False),
        (-10, 0, Side.BUY, 10, True),
        (-10, 5, Side.BUY, 15, False),
        (10, 25, Side.BUY, 15, False),
    ],
)
def test_target_trades_the_difference_to_the_position(held, target, side, qty, reduces):
    """The order is target minus position, and reduces only when it stays on the position's side of zero."""
    intent = an_intent(World().hold(held).size(make_signal(Action.TARGET, target=D(target))))
    assert (intent.side, intent.order_qty, intent.reduce_only) == (side, qty, reduces)


def test_target_that_is_held_is_nothing():
    """At the target there is nothing to do."""
    nothing(World().hold(5).size(make_signal(Action.TARGET, target=D(5))), Reason.AT_TARGET)


def test_target_counts_resting_orders_of_its_direction():
    """What rests in the book counts as on its way: a target sent again does not double it."""
    world = World()
    world.order(make_intent(8, **RESTING), filled=2, status=OrderStatus.PARTIAL)
    world.hold(2)
    assert an_intent(world.size(make_signal(Action.TARGET, target=D(10)))).order_qty == 2
    nothing(world.size(make_signal(Action.TARGET, target=D(8))), Reason.AT_TARGET)


def test_target_beside_too_large_resting_orders_is_nothing():
    """Too much in the book is no reason to trade the other way now: those orders may never fill."""
    world = World()
    world.order(make_intent(15, **RESTING))
    nothing(world.size(make_signal(Action.TARGET, target=D(10))), Reason.AT_TARGET)


def test_flat_target_while_flat_never_opens_against_a_resting_order():
    """Wanting to be flat while flat is a no-op, whatever rests: exits never open."""
    world = World()
    world.order(make_intent(15, **RESTING))
    nothing(world.size(make_signal(Action.TARGET, target=D(0))), Reason.AT_TARGET)


def test_target_never_trades_beyond_itself_to_make_up_for_a_resting_order():
    """Against a resting buy, a target of -5 sells 5 and not 20: if the buy never fills, -20 was not wanted."""
    world = World()
    world.order(make_intent(15, **RESTING))
    intent = an_intent(world.size(make_signal(Action.TARGET, target=D(-5))))
    assert (intent.side, intent.order_qty) == (Side.SELL, D(5))


def test_reducing_target_never_opens_to_make_up_for_a_resting_order():
    """Long 10 with a resting exit of 5 and a resting buy of 20: a target of 4 sells 1, not what the buy would add."""
    world = World().hold(10)
    world.order(make_intent(5, Side.SELL, reduce_only=True, **RESTING))
    world.order(make_intent(20, **RESTING))
    intent = an_intent(world.size(make_signal(Action.TARGET, target=D(4))))
    assert (intent.side, intent.order_qty, intent.reduce_only) == (Side.SELL, D(1), True)


def test_target_beside_a_resting_exit_reduces_by_the_rest():
    """A resting exit counts as closing, and the order for the rest still only reduces."""
    world = World().hold(10)
    world.order(make_intent(3, Side.SELL, reduce_only=True, **RESTING))
    intent = an_intent(world.size(make_signal(Action.TARGET, target=D(5))))
    assert (intent.side, intent.order_qty, intent.reduce_only) == (Side.SELL, D(2), True)


@pytest.mark.parametrize("reduce_only", [True, False])
def test_target_waits_for_any_order_that_ends_soon(reduce_only):
    """Until a market order has ended, entry or exit, the position is about to move and the difference unknown."""
    world = World().hold(10)
    order = world.order(make_intent(5, Side.SELL, reduce_only=reduce_only))
    waits(world.size(make_signal(Action.TARGET, target=D(0))), order.cl_ord_id)


def test_target_after_the_wait_counts_what_is_under_way_as_done():
    """An order whose end is unknown may have filled: the target is not traded twice."""
    world = World()
    world.order(make_intent(10), status=OrderStatus.IN_DOUBT)
    nothing(world.size(make_signal(Action.TARGET, target=D(10)), no_wait=True), Reason.AT_TARGET)


def test_target_without_a_target_is_a_fault():
    """Intake gives every target signal its target."""
    with pytest.raises(InvariantError, match="target"):
        World().size(make_signal(Action.TARGET))


# --- entries behind exits -----------------------------------------------------------------------------------------


def test_entry_waits_for_a_market_exit_under_way_and_is_denied_when_that_takes_too_long():
    """The reason names the order that was waited for."""
    world = World().hold(10)
    leaving = world.order(make_intent(10, Side.SELL, reduce_only=True))
    waits(world.size(make_signal(Action.SELL, quantity=D(5))), leaving.cl_ord_id)
    late = denied(world.size(make_signal(Action.SELL, quantity=D(5)), no_wait=True), Reason.EXIT_UNFINISHED)
    assert leaving.cl_ord_id in late.message


def test_entry_waits_for_an_exit_alert_and_is_denied_when_that_takes_too_long():
    """The reason names the alert that was waited for."""
    signal = make_signal(Action.BUY, quantity=D(5))
    waits(World().size(signal, behind="alert X"), "alert X")
    assert "alert X" in denied(World().size(signal, behind="alert X", no_wait=True), Reason.EXIT_UNFINISHED).message


def test_entry_that_only_reduces_waits_for_no_exit():
    """It is an exit itself."""
    world = World().hold(10)
    world.order(make_intent(4, Side.SELL, reduce_only=True))
    assert an_intent(world.size(make_signal(Action.SELL, quantity=D(6)), behind="alert X")).reduce_only


@pytest.mark.parametrize(
    "intent",
    [
        make_intent(10, Side.SELL, reduce_only=True, **RESTING),
        make_intent(10, Side.SELL, reduce_only=True, product=Product.CNC),
        make_intent(10, Side.SELL),
    ],
)
def test_entry_waits_for_no_resting_exit_and_none_of_another_position(intent):
    """A stop or target in the book may lie there all day."""
    world = World().hold(10)
    world.order(intent)
    an_intent(world.size(make_signal(Action.SELL, quantity=D(5))))


# --- reversals ----------------------------------------------------------------------------------------------------

REVERSING = [make_signal(Action.SELL, quantity=D(15)), make_signal(Action.TARGET, target=D(-5))]


@pytest.mark.parametrize("signal", REVERSING, ids=["trade", "target"])
def test_order_through_zero_is_one_where_the_broker_takes_that(signal):
    """The usual case."""
    intent = an_intent(World().hold(10).size(signal))
    assert (intent.order_qty, intent.reduce_only) == (D(15), False)


@pytest.mark.parametrize("signal", REVERSING, ids=["trade", "target"])
def test_order_through_zero_is_split_where_the_broker_takes_none(signal):
    """First the part that closes, as an exit; the rest is told."""
    sized = World().hold(10).size(signal, in_one=False)
    assert isinstance(sized, Reversal)
    assert (sized.close.side, sized.close.order_qty, sized.close.reduce_only, sized.rest) == (Side.SELL, D(10), True, D(5))


@pytest.mark.parametrize(
    ("held", "signal"),
    [
        (10, make_signal(Action.SELL, quantity=D(10))),
        (10, make_signal(Action.BUY, quantity=D(5))),
        (0, make_signal(Action.SELL, quantity=D(5))),
        (10, make_signal(Action.TARGET, target=D(0))),
        (0, make_signal(Action.TARGET, target=D(-5))),
        (10, make_signal(Action.EXIT)),
    ],
)
def test_order_that_stays_on_one_side_is_never_split(held, signal):
    """Closing all, adding and opening are one order at any broker."""
    an_intent(World().hold(held).size(signal, in_one=False))


def test_entry_waits_for_orders_under_way_where_no_order_may_go_through_zero():
    """Whether it would depends on how they end; when the wait is over it is sized by what is there."""
    world = World()
    entry = world.order(make_intent(5))
    signal = make_signal(Action.SELL, quantity=D(8))
    assert isinstance(world.size(signal, in_one=False), Wait)
    assert an_intent(world.size(signal)).order_qty == 8
    assert an_intent(world.size(signal, in_one=False, no_wait=True)).order_qty == 8
    assert entry.leaves_qty == 5
