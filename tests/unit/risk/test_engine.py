"""The engine: approved as wished, capped at what closes, or denied; nothing else approves."""

from datetime import timedelta
from pathlib import Path

import pytest

from bridge.core.enums import OrdType, Side, TradingMode
from bridge.core.limits import Limits
from bridge.core.market import SessionState
from bridge.core.reasons import Reason
from bridge.core.scope import GLOBAL
from tests.unit.risk.builders import NOW, D, World, approved, capped, denied, make_instrument, make_intent

TIGHT = Limits(max_order_qty=D(1))


def test_approval_carries_the_intent_as_it_was_and_the_price_it_was_judged_at():
    """What is approved is what was asked, with the price it was reckoned with."""
    intent = make_intent()
    found = approved(World().check(intent))
    assert found.intent is intent
    assert found.reference_px == 100


def test_denied_reversal_closes_and_opens_nothing():
    """The part that only closes leaves, with all the other terms of the wish, and says what made it smaller."""
    intent = make_intent(25, ord_type=OrdType.LIMIT, price=D(99))
    found = capped(World().hold(-10).check(intent, TIGHT), Reason.MAX_ORDER_QTY)
    assert found.intent == make_intent(10, ord_type=OrdType.LIMIT, price=D(99), reduce_only=True)
    assert found.reference_px == 99


def test_denied_reversal_closes_only_what_open_exits_leave():
    """What is being closed already is not closed twice."""
    world = World().hold(-10)
    world.order(make_intent(4, reduce_only=True))
    assert capped(world.check(make_intent(25), TIGHT), Reason.MAX_ORDER_QTY).intent.order_qty == 6


def test_denied_reversal_is_denied_when_all_is_being_closed():
    """With nothing left to close there is no part to let out."""
    world = World().hold(-10)
    world.order(make_intent(10, reduce_only=True))
    denied(world.check(make_intent(25), TIGHT), Reason.MAX_ORDER_QTY)


def test_order_that_only_closes_passes_even_when_not_marked_so():
    """An order that fits the position is let out as the exit it is, when a limit would deny it as an entry."""
    found = capped(World().hold(-10).check(make_intent(7), TIGHT), Reason.MAX_ORDER_QTY)
    assert found.intent.order_qty == 7


def test_denied_entry_in_the_positions_direction_has_no_part():
    """Nothing of an enlarging order closes."""
    denied(World().hold(10).check(make_intent(25), TIGHT), Reason.MAX_ORDER_QTY)


def test_denied_exit_has_no_part():
    """An exit that fits and is denied is denied."""
    closed = SessionState(is_open=False, reason=Reason.MARKET_CLOSED)
    denied(World().hold(10).check(make_intent(10, Side.SELL, reduce_only=True), session=closed), Reason.MARKET_CLOSED)


@pytest.mark.parametrize(
    ("world", "changes", "reason"),
    [
        (World().hold(-10).state(GLOBAL, TradingMode.HALTED), {}, Reason.HALTED),
        (World().hold(-10), {"session": SessionState(is_open=False)}, Reason.MARKET_CLOSED),
    ],
)
def test_reversal_is_denied_whole_when_its_closing_part_is_denied_too(world, changes, reason):
    """The first denial, of the whole wish, is the one that is told."""
    denied(world.check(make_intent(25), **changes), reason)


def test_reversal_under_a_halt_closes():
    """REDUCING lets exits out, also the one inside a reversal."""
    capped(World().hold(-10).state(GLOBAL, TradingMode.REDUCING).check(make_intent(25)), Reason.HALTED)


def test_stale_reversal_closes():
    """An exit is never too old, also the one inside a reversal."""
    capped(World().hold(-10).check(make_intent(25, signal_at=NOW - timedelta(hours=1))), Reason.STALE)


def test_capped_reversal_may_leave_odd_lots():
    """Closing all that is held is allowed whatever the lot."""
    tens = make_instrument(lot=D(10))
    assert capped(World().hold(-15).check(make_intent(30), TIGHT, instrument=tens), Reason.MAX_ORDER_QTY).intent.order_qty == 15


def test_loss_that_caps_a_reversal_still_asks_for_the_halt():
    """The closing part leaves, and the denial that goes with it trips the halt."""
    world = World().hold(-10).day(realized_pnl=D(-1000))
    found = capped(world.check(make_intent(25), Limits(max_daily_loss=D(1000))), Reason.MAX_DAILY_LOSS)
    assert found.capped_by is not None
    assert found.capped_by.trips_halt


def test_only_the_engine_approves():
    """No other file of the bridge makes an Approved."""
    bridge = Path(__file__).parents[3] / "bridge"
    makers = [path.name for path in bridge.rglob("*.py") if "Approved(" in path.read_text(encoding="utf-8")]
    assert makers == ["engine.py"]
