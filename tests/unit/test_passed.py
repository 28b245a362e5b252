"""When the exit of a position whose stop was passed is raised again."""

from datetime import timedelta

import pytest

from bridge.passed import LONGEST_PAUSE, count_tries


@pytest.mark.parametrize(
    ("age_s", "tries"),
    [(0, 0), (4.9, 0), (5, 1), (15, 2), (35, 3), (1275, 8), (2554, 8), (2555, 9), (4355, 10)],
)
def test_pauses_double_up_to_half_an_hour(age_s: float, tries: int) -> None:
    """5, 10, 20 s and so on, then evenly."""
    assert count_tries(timedelta(seconds=age_s)) == tries


def test_after_a_clock_was_set_back_it_is_a_number_all_the_same() -> None:
    """The age counts as the longest there is."""
    assert count_tries(timedelta.max) > count_tries(timedelta(days=365)) > timedelta(days=364) // LONGEST_PAUSE
