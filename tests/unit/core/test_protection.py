"""Levels of stops and targets, and where a protection stands."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.core.enums import Side
from bridge.core.errors import IllegalTransitionError
from bridge.core.position import PositionKey
from bridge.core.protection import (
    PROTECTION_TABLE,
    Leg,
    Legs,
    Level,
    PassedError,
    Protect,
    Protection,
    ProtectionEventKind,
    ProtectionStatus,
    find_passed,
    legs_from_text,
    legs_to_text,
    make_legs,
    move_protection,
    protect_from_text,
    protect_to_text,
)
from tests.support.clocks import NOON

D = Decimal
TICK = D("0.05")
prices = st.decimals(1, 100_000, places=2)
percents = st.decimals("0.01", "50", places=2)
BUY, SELL = Side.BUY, Side.SELL


def by_percent(stop: Decimal | None = None, target: Decimal | None = None) -> Protect:
    return Protect(
        stop_loss=None if stop is None else Level(percent=stop), take_profit=None if target is None else Level(percent=target)
    )


def protection(**values: object) -> Protection:
    given_values = {
        "protection_id": "A-1", "key": PositionKey("paper", "NSE:SBIN", "MIS"), "strategy": "demo", "side": BUY,
        "protect": by_percent(D(2)), "entry_px": D(100), "alert_id": "A", "leg": 1, "status": ProtectionStatus.WANTED,
        "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    return Protection(**{**given_values, **values})  # type: ignore[arg-type]


@given(prices, percents, percents, st.sampled_from(Side), st.decimals(0, 20, places=2))
def test_triggers_lie_around_the_entry_and_limits_beyond_them(
    entry: Decimal, stop: Decimal, target: Decimal, side: Side, slippage: Decimal
) -> None:
    """On ticks; never more lost than was said, never more asked; the limit is on the side that fills."""
    try:
        legs = make_legs(by_percent(stop, target), side, entry, tick=TICK, slippage_pct=slippage)
    except ValueError:
        assume(False)  # a fraction of a tick is no distance
        raise
    assert legs.stop is not None
    assert legs.target is not None
    sign = side.sign
    assert legs.stop.trigger_px * sign < entry * sign < legs.target.trigger_px * sign
    assert (entry - legs.stop.trigger_px) * sign <= entry * stop / 100
    assert (legs.target.trigger_px - entry) * sign <= entry * target / 100
    for leg in legs.by_price:
        assert leg.limit_px > 0
        assert not leg.limit_px % TICK
        assert not leg.trigger_px % TICK
        assert leg.limit_px * sign <= leg.trigger_px * sign
    assert list(legs.by_price) == sorted(legs.by_price, key=lambda leg: leg.trigger_px)


def test_the_allowance_is_rounded_to_the_worse_side() -> None:
    """A sell may go lower, a buy higher."""
    long = make_legs(Protect(stop_loss=Level(price=D("99.99"))), BUY, D("100.5"), tick=TICK, slippage_pct=D(1))
    short = make_legs(Protect(stop_loss=Level(price=D("101.01"))), SELL, D("100.5"), tick=TICK, slippage_pct=D(1))
    assert long == Legs(stop=Leg(trigger_px=D(100), limit_px=D(99)))
    assert short == Legs(stop=Leg(trigger_px=D(101), limit_px=D("102.05")))
    assert (str(long), str(Legs(target=Leg(trigger_px=D(5), limit_px=D(5))))) == ("stop 100", "target 5")


def test_a_limit_is_at_least_a_tick() -> None:
    """However large the allowance."""
    legs = make_legs(Protect(stop_loss=Level(price=TICK)), BUY, D("0.10"), tick=TICK, slippage_pct=D(20))
    assert legs.stop == Leg(trigger_px=TICK, limit_px=TICK)


@pytest.mark.parametrize(
    ("protect", "side", "words"),
    [
        (Protect(stop_loss=Level(price=D(100))), BUY, "stop_loss of 100 is not below the entry at 100"),
        (Protect(stop_loss=Level(price=D(99))), SELL, "stop_loss of 99 is not above"),
        (Protect(take_profit=Level(price=D(100))), BUY, "take_profit of 100 is not above"),
        (Protect(take_profit=Level(price=D(101))), SELL, "take_profit of 101 is not below"),
    ],
)
def test_a_level_on_the_wrong_side_of_the_entry_cannot_be(protect: Protect, side: Side, words: str) -> None:
    """It would wait for its price from the other side."""
    with pytest.raises(ValueError, match=words):
        make_legs(protect, side, D(100), tick=TICK, slippage_pct=D(1))


@pytest.mark.parametrize(
    ("side", "below", "above"), [(BUY, "stop of 2 %", "target of 105"), (SELL, "target of 95", "stop of 2 %")]
)
def test_a_price_at_or_beyond_a_level_has_passed_it(side: Side, below: str, above: str) -> None:
    """For a short position the stop is above. Between the levels, and where there is none, nothing is passed."""
    target = Level(price=D(105) if side is BUY else D(95))
    both = Protect(stop_loss=Level(percent=D(2)), take_profit=target)
    low, high = (D(98), D(105)) if side is BUY else (D(95), D(102))
    assert [find_passed(both, side, D(100), px) for px in (low, low + TICK, high - TICK, high)] == [below, "", "", above]
    assert find_passed(Protect(stop_loss=both.stop_loss), side, D(100), D(100)) == ""
    assert find_passed(Protect(take_profit=target), side, D(100), D(100)) == ""


@given(prices, percents, st.sampled_from(Side))
def test_what_make_legs_refuses_as_passed_is_passed_at_the_entry(entry: Decimal, percent: Decimal, side: Side) -> None:
    """And what it makes is not."""
    level = Level(price=entry * (1 - percent / 100))
    for protect in (Protect(stop_loss=level), Protect(take_profit=level)):
        try:
            make_legs(protect, side, entry, tick=D("0.0001"), slippage_pct=D(1))
        except PassedError:
            assert find_passed(protect, side, entry, entry)
        except ValueError:
            assume(False)
        else:
            assert not find_passed(protect, side, entry, entry)


def test_a_stop_below_zero_is_no_price() -> None:
    """And nothing that the market could pass."""
    with pytest.raises(ValueError, match="is no price") as raised:
        make_legs(by_percent(D(120)), BUY, D(100), tick=TICK, slippage_pct=D(1))
    assert not isinstance(raised.value, PassedError)


def test_a_wish_tells_itself() -> None:
    """For pages and the audit."""
    assert str(Protect(stop_loss=Level(price=D("800.50")), take_profit=Level(percent=D("2.0")))) == "stop 800.5, target 2 %"


def test_text_and_back() -> None:
    """Nothing is nothing; what is no object is refused in a way that readers expect."""
    protect = Protect(stop_loss=Level(price=D("800.5")), take_profit=Level(percent=D("0.00000001")))
    legs = Legs(stop=Leg(trigger_px=D(5), limit_px=D(4)))
    assert protect_from_text(protect_to_text(protect)) == protect
    assert legs_from_text(legs_to_text(legs)) == legs
    assert (protect_to_text(None), legs_to_text(None), protect_from_text(None), legs_from_text(None)) == (None,) * 4
    for wrong in ("[]", "no json", '{"stop": 5}', '{"stop": ["a", "b"]}', '{"else": ["1", "2"]}', "[" * 100_000):
        with pytest.raises((ValueError, TypeError)):
            legs_from_text(wrong)


@pytest.mark.parametrize("status", list(ProtectionStatus))
@pytest.mark.parametrize("event", list(ProtectionEventKind))
def test_only_what_the_table_has_can_happen(status: ProtectionStatus, event: ProtectionEventKind) -> None:
    """Anything else raises."""
    later, before = NOON + timedelta(seconds=1), protection(status=status)
    expected = PROTECTION_TABLE[status].get(event)
    if expected is None:
        with pytest.raises(IllegalTransitionError):
            move_protection(before, event, later)
    else:
        after = move_protection(before, event, later, orders=3)
        assert (after.status, after.updated_at, after.orders) == (expected, later, 3)


def test_its_orders_have_numbers_of_their_own() -> None:
    """Beyond those of entries, and apart for each entry of an alert."""
    assert [protection(leg=leg, orders=n).next_leg for leg, n in ((1, 0), (1, 5), (2, 0))] == [101, 106, 201]
