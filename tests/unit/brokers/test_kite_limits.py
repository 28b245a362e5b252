"""The vendor's limits over minutes and days, and the pace of everything else."""

from datetime import datetime, timedelta

import pytest

from bridge.brokers.kite import limits
from bridge.brokers.kite.limits import OrderCount, Pace
from tests.support.clocks import NOON


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PER_MINUTE", 3)
    monkeypatch.setattr(limits, "PER_DAY", 5)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_minute_lets_out_its_number_and_the_next_begins_anew() -> None:
    """The wait is until the minute is over."""
    count = OrderCount()
    for number in range(3):
        assert count.wait_s(after(number)) == 0
        count.note_sent(f"tag{number}", after(number))
    assert count.wait_s(after(10)) == 50
    assert count.wait_s(after(60)) == 0


def test_orders_placed_elsewhere_count_and_ours_count_once() -> None:
    """The book holds both; ours is counted from its sending on, and not again when it is seen."""
    count = OrderCount()
    count.note_sent("ours", after(1))
    count.note_book([("1", "ours", after(1)), ("2", "", after(2))], after(3))
    assert count.wait_s(after(4)) == 0
    count.note_book([("1", "ours", after(1)), ("2", "", after(2)), ("3", "", after(3))], after(4))
    assert count.wait_s(after(4)) == 56


def test_an_older_book_that_comes_after_a_newer_one_takes_nothing_back() -> None:
    """Two looks may overlap: what the second has shown is still there."""
    count = OrderCount()
    for number in range(3):
        count.note_sent(f"tag{number}", after(number))
    newer = [(str(number), f"tag{number}", after(number)) for number in range(3)]
    count.note_book(newer, after(4))
    count.note_book(newer[:2], after(5))
    assert count.wait_s(after(6)) == 54


def test_what_did_not_leave_does_not_count_and_what_was_refused_does() -> None:
    """A refused placement has no row, and uses the limit up all the same."""
    count = OrderCount()
    for number in range(3):
        count.note_sent(f"tag{number}", after(number))
    count.note_book([], after(4))
    assert count.wait_s(after(5))
    count.forget("tag2")
    assert count.wait_s(after(5)) == 0
    count.forget("never sent")
    assert count.wait_s(after(5)) == 0


def test_a_day_lets_out_its_number_and_the_next_begins_anew() -> None:
    """Days are India's; yesterday's rows do not count."""
    count = OrderCount()
    count.note_book([("0", "", after(-86_400))] + [(str(number), "", after(-600)) for number in (1, 2, 3)], NOON)
    count.note_sent("a", NOON)
    assert count.why_full("b", NOON) == ""
    count.note_sent("b", NOON)
    assert count.why_full("b", NOON) == ""  # it is counted already
    assert "5 are used up" in count.why_full("c", NOON)
    assert count.why_full("c", after(86_400)) == ""


def test_the_same_order_sent_again_counts_once() -> None:
    """It was turned away before, or counted as that."""
    count = OrderCount()
    for second in range(10):
        count.note_sent("same", after(second))
    assert count.wait_s(after(11)) == 0


def test_what_left_before_a_start_counts_on_todays_alone() -> None:
    """Whether the book tells of it or not, and once."""
    count = OrderCount()
    for number in range(3):
        count.remember(f"tag{number}", after(number), after(5))
    count.remember("yesterdays", after(-86_400), after(5))
    assert count.wait_s(after(10)) == 50
    count.note_book([(str(number), f"tag{number}", after(number)) for number in range(2)], after(11))
    assert count.wait_s(after(12)) == 48


def test_requests_beyond_a_seconds_number_get_a_place_in_a_later_one() -> None:
    """Never more than the limit in a calendar second, however many come at once."""
    pace = Pace(2)
    assert [pace.take(NOON) for _ in range(5)] == [0, 0, 1, 1, 2]
    assert pace.take(after(2)) == 0
    assert pace.take(after(2)) == 1
    assert pace.take(after(-3_600)) == 0  # a clock that was set back
