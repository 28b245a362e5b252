"""Orders per calendar second."""

from datetime import datetime, timedelta

import pytest

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
    """A crash and a quick start must not let out twice the number in one second; older ones do not count."""
    throttle = Throttle(2)
    for at in (after(-5), after(0.1), after(-1), after(0.2)):
        throttle.remember(at)
    assert throttle.take(after(0.5)) == 0.5
    assert throttle.take(after(1)) == 0


def test_a_brokers_longer_limit_goes_first_and_takes_no_place() -> None:
    """Also where there is no limit a second."""
    waits = [7.0, 0.0, 0.0]
    throttle = Throttle(1, lambda _now: waits.pop(0))
    assert [throttle.take(after(0.5)) for _ in range(3)] == [7, 0, 0.5]
    assert Throttle(None, lambda _now: 3.0).take(NOON) == 3
    assert Throttle(None).take(NOON) == 0


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
