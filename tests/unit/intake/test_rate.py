"""So many in any sixty seconds, per credential."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.reasons import RefusalCode
from bridge.intake.rate import RateLimit
from tests.unit.intake.builders import FUZZ, refusal


def test_burst_up_to_the_limit_passes_and_the_next_is_told_when_to_come_back():
    """The limit itself is allowed; the hint says in how many seconds one more is."""
    rate = RateLimit(3)
    for second in (0.0, 10.0, 20.5):
        rate.check("a", second)
    error = refusal(lambda: rate.check("a", 30.0))
    assert error.code is RefusalCode.E_RATE
    assert "in 30 s" in str(error.hint)
    assert "More than 3" in error.message
    assert rate.take("a", 59.5) == 1
    assert rate.take("a", 60.0) == 0
    assert rate.take("a", 60.1) == 10


def test_refused_ones_do_not_count():
    """Knocking does not lengthen the wait."""
    rate = RateLimit(1)
    assert rate.take("a", 0.0) == 0
    for second in range(1, 60):
        assert rate.take("a", float(second)) == 60 - second
    assert rate.take("a", 60.0) == 0


def test_credentials_do_not_share_a_limit():
    """One busy strategy does not silence another."""
    rate = RateLimit(1)
    assert [rate.take(name, 0.0) for name in ("a", "b", "a", "b")] == [0, 0, 60, 60]


def test_number_of_credentials_is_bounded():
    """The one that was silent longest is forgotten."""
    rate = RateLimit(1, max_credentials=2)
    for name in ("a", "b", "a", "c"):
        rate.take(name, 0.0)
    assert rate.take("a", 1.0) > 0
    assert rate.take("b", 1.0) == 0


@FUZZ
@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=40))
def test_no_sixty_seconds_hold_more_than_the_limit(limit, gaps):
    """Whatever the rhythm: never more, and never refused without need."""
    rate, now = RateLimit(limit), 0.0
    granted: list[float] = []
    for gap in gaps:
        now += gap
        recent = len([at for at in granted if at + 60 > now])
        if rate.take("a", now) == 0:
            granted.append(now)
            assert recent < limit
        else:
            assert recent == limit


@pytest.mark.parametrize("wait", [0.2, 7.0])
def test_who_waits_as_told_is_let_in(wait):
    """The hint is true."""
    rate = RateLimit(1)
    rate.take("a", 0.0)
    told = rate.take("a", 60 - wait)
    assert rate.take("a", 60 - wait + told) == 0
