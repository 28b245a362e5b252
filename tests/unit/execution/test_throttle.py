"""Orders per calendar second."""

from datetime import datetime, timedelta

import pytest

from bridge.brokers.kite import limits
from bridge.brokers.kite.limits import OrderCount
from bridge.core.enums import OutcomeKind
from bridge.execution.throttle import Throttle
from tests.support.clocks import NOON


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_second_lets_out_its_number() -> None:
    """The wait is until the next one begins."""
    throttle = Throttle(2)
    assert [throttle.take(after(0.25)) for _ in range(3)] == [0, 0, 0.75]
    assert throttle.take(after(1)) == 0


def test_orders_that_left_before_a_restart_count() -> None:
    """A crash and a quick start must not let out twice the number in one second; those of long before do not count."""
    throttle = Throttle(2)
    for at in (after(-60), after(0.1), after(-11), after(0.2)):
        throttle.recall(at, after(0.4))
    assert throttle.take(after(0.5)) == 0.5
    assert throttle.take(after(1)) == 0


def test_orders_that_left_in_the_second_before_a_restart_may_have_arrived_in_this_one() -> None:
    """The broker counts them when they arrive, and the process that heard when that was is dead."""
    throttle = Throttle(2)
    for at in (after(-0.1), after(-0.2), after(-3)):
        throttle.recall(at, after(0.2))
    assert throttle.take(after(0.5)) == 0.5
    assert throttle.take(after(1)) == 0


def test_a_place_is_taken_in_a_brokers_longer_limits_and_in_the_second_or_in_neither() -> None:
    """Also where there is no limit a second; what counts in no longer limit does not ask them."""
    waits, asked = [7.0, 0.0], list[str]()

    def take_longer(tag: str, _now: datetime) -> float:
        asked.append(tag)
        return waits.pop(0)

    throttle = Throttle(1, take_longer)
    assert [throttle.take(after(0.5), tag) for tag in "abc"] == [7, 0, 0.5]
    assert asked == ["a", "b"]
    assert throttle.take(after(1.5)) == 0
    assert Throttle(None, lambda _tag, _now: 3.0).take(NOON, "a") == 3
    assert Throttle(None).take(NOON, "a") == 0


def test_orders_granted_before_the_first_of_them_leaves_count_in_a_brokers_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit may grant several; each has its place from then on."""
    monkeypatch.setattr(limits, "PER_MINUTE", 2)
    throttle = Throttle(10, OrderCount().take)
    assert [throttle.take(after(0.5), tag) for tag in ("a", "b", "c", "b")] == [0, 0, 59.5, 0]


def test_an_order_counts_in_the_second_it_left_in_and_in_the_one_its_answer_came_in() -> None:
    """It arrived in either; an answer of the same second is not counted again."""
    throttle = Throttle(2)
    assert throttle.take(after(0.9)) == 0
    throttle.note_answer(after(0.9), after(0.95))
    assert throttle.take(after(0.96)) == 0
    throttle.note_answer(after(0.96), after(1.25))
    assert [throttle.take(after(1.25)) for _ in range(2)] == [0, 0.75]
    throttle.note_answer(after(-3), after(0.5))  # a clock that went back a little makes no room
    assert throttle.take(after(1.5)) == 0.5


def test_a_place_is_kept_for_each_order_that_may_still_arrive() -> None:
    """Nobody heard its answer, so it is counted in a second nobody knows, until it must have arrived; one is always let out."""
    throttle = Throttle(3)
    throttle.note_answer(after(0.1), after(0.9), OutcomeKind.UNKNOWN)
    assert [throttle.take(after(second + 0.5)) for second in (1, 1, 1)] == [0, 0, 0.5]
    assert [throttle.take(after(9.9)) for _ in range(3)] == [0, 0, pytest.approx(0.1)]
    assert [throttle.take(after(10.2)) for _ in range(3)] == [0, 0, 0]
    for _ in range(5):
        throttle.note_answer(after(11.1), after(11.2), OutcomeKind.UNKNOWN)
    assert throttle.take(after(12.5)) == 0
    assert throttle.take(after(12.6)) > 0
    assert throttle.take(after(-100)) == 0  # the clock was set back: those times mean nothing now
