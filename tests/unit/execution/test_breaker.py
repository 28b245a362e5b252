"""The breaker: its table, when it opens and closes, and that no run of events leads astray."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import IllegalTransitionError
from bridge.execution.breaker import BREAKER_TABLE, CALM_S, OPEN_AFTER, Breaker, BreakerEvent, BreakerState
from bridge.execution.retry import FIRST_LOOK_S, LONGEST_LOOK_S
from tests.support.clocks import StillClock

CLOSED, OPEN, HALF_OPEN = BreakerState


def opened(clock: StillClock) -> Breaker:
    breaker = Breaker(clock.monotonic)
    assert [breaker.failed("gone", is_command=False) for _ in range(OPEN_AFTER)] == [False] * (OPEN_AFTER - 1) + [True]
    return breaker


def look_after(breaker: Breaker, clock: StillClock) -> int:
    clock.move(seconds=breaker.wait_s + 0.001)
    assert breaker.is_look_due
    return breaker.begin_look()


@pytest.mark.parametrize("state", BreakerState)
@pytest.mark.parametrize("event", BreakerEvent)
def test_an_event_that_is_not_in_the_table_raises_and_changes_nothing(state: BreakerState, event: BreakerEvent) -> None:
    """The table alone says what can happen."""
    breaker = Breaker(StillClock().monotonic)
    breaker.state = state
    if event in BREAKER_TABLE[state]:
        breaker._move(event)
        assert breaker.state is BREAKER_TABLE[state][event]
    else:
        with pytest.raises(IllegalTransitionError):
            breaker._move(event)
        assert breaker.state is state


def test_any_answer_starts_the_count_anew() -> None:
    """Only failures in a row open it."""
    breaker = Breaker(StillClock().monotonic)
    for _ in range(5):
        for _ in range(OPEN_AFTER - 1):
            assert not breaker.failed("gone", is_command=True)
        assert not breaker.answered(is_command=True)
    assert breaker.state is CLOSED
    assert breaker.is_sound


def test_it_opens_once_and_tells_why_and_when() -> None:
    """Those that were under way fail after it: nothing new, and the pause is not begun anew."""
    clock = StillClock()
    breaker = opened(clock)
    wait_s = breaker.wait_s
    assert FIRST_LOOK_S <= wait_s <= 2 * FIRST_LOOK_S
    assert not breaker.failed("late", is_command=True)
    assert (breaker.state, breaker.why, breaker.wait_s) == (OPEN, "gone", wait_s)
    assert not breaker.is_look_due


def test_one_look_at_a_time_and_only_when_due() -> None:
    """A second look cannot begin while one is under way."""
    clock = StillClock()
    breaker = opened(clock)
    with_look = look_after(breaker, clock)
    assert with_look
    assert not breaker.is_look_due
    with pytest.raises(IllegalTransitionError):
        breaker.begin_look()


def test_pauses_grow_to_the_longest() -> None:
    """Each look that fails makes the next pause longer, up to a bound."""
    clock = StillClock()
    breaker = opened(clock)
    waits = []
    for _ in range(12):
        waits.append(breaker.wait_s)
        assert not breaker.failed("still gone", is_command=False, look=look_after(breaker, clock))
        assert breaker.why == "still gone"
    for number, wait_s in enumerate(waits):
        base_s = min(FIRST_LOOK_S * 2**number, LONGEST_LOOK_S)
        assert base_s - 0.001 <= wait_s <= base_s + FIRST_LOOK_S


@pytest.mark.parametrize("looking", [False, True])
def test_an_answer_closes_it_from_wherever_it_stands(looking: bool) -> None:
    """Of the look, or a late one of a call that was under way."""
    clock = StillClock()
    breaker = opened(clock)
    if looking:
        look_after(breaker, clock)
    assert breaker.answered(is_command=False)
    assert breaker.state is CLOSED
    assert not breaker.answered(is_command=False)


def test_failures_of_others_do_not_end_a_look() -> None:
    """Calls that were under way when it opened fail while the look is on its way."""
    clock = StillClock()
    breaker = opened(clock)
    look_after(breaker, clock)
    breaker.failed("late", is_command=True)
    assert breaker.state is HALF_OPEN


def test_an_earlier_look_does_not_end_a_later_one() -> None:
    """A look hung, a late answer closed it, it opened again: the first look's end says nothing of the second."""
    clock = StillClock()
    breaker = opened(clock)
    old = look_after(breaker, clock)
    breaker.answered(is_command=True)
    for _ in range(OPEN_AFTER):
        breaker.failed("gone", is_command=True)
    look_after(breaker, clock)
    breaker.failed("old", is_command=False, look=old)
    breaker.lose_look(old)
    assert breaker.state is HALF_OPEN


def test_a_lost_look_is_due_again_at_once() -> None:
    """Who looked was cancelled: that says nothing of the broker, and must not leave it looked at for ever."""
    clock = StillClock()
    breaker = opened(clock)
    breaker.lose_look(look_after(breaker, clock))
    assert breaker.is_look_due


def test_after_a_look_one_lost_command_opens_it_again_with_a_longer_pause() -> None:
    """Reads that work prove nothing of orders: a relapse is no new illness."""
    clock = StillClock()
    breaker = opened(clock)
    look_after(breaker, clock)
    breaker.answered(is_command=False)
    assert not breaker.is_sound
    assert breaker.failed("no answer", is_command=True)
    assert breaker.is_relapse
    assert breaker.wait_s >= 2 * FIRST_LOOK_S


def test_a_read_that_fails_after_a_look_needs_others() -> None:
    """A single read is not worth an order's delay."""
    clock = StillClock()
    breaker = opened(clock)
    look_after(breaker, clock)
    breaker.answered(is_command=False)
    assert not breaker.failed("book", is_command=False)


@pytest.mark.parametrize("how", ["a command is answered", "all is calm"])
def test_it_is_sound_again_after_a_command_or_a_calm(how: str) -> None:
    """From then on three failures open it, with an alarm and a short pause."""
    clock = StillClock()
    breaker = opened(clock)
    for _ in range(4):
        breaker.failed("gone", is_command=False, look=look_after(breaker, clock))
    look_after(breaker, clock)
    breaker.answered(is_command=False)
    if how == "all is calm":
        clock.move(seconds=CALM_S + 1)
    else:
        breaker.answered(is_command=True)
        assert breaker.is_sound
    assert [breaker.failed("gone", is_command=True) for _ in range(OPEN_AFTER)] == [False] * (OPEN_AFTER - 1) + [True]
    assert not breaker.is_relapse
    assert breaker.wait_s <= 2 * FIRST_LOOK_S


EVENTS = st.sampled_from(["answer", "command answer", "fail", "command fails", "look", "look fails", "look lost", "wait"])


@given(st.lists(EVENTS, max_size=60))
def test_no_run_of_events_breaks_it(events: list[str]) -> None:
    """Never an illegal event, never shut for longer than the longest pause, never closed while failures fill the measure."""
    clock = StillClock()
    breaker, look = Breaker(clock.monotonic), 0
    for event in events:
        if event.endswith("answer"):
            breaker.answered(is_command=event != "answer")
            assert breaker.state is CLOSED
        elif event in ("fail", "command fails"):
            breaker.failed("gone", is_command=event != "fail")
        elif event == "look" and breaker.is_look_due:
            look = breaker.begin_look()
        elif event == "look fails":
            breaker.failed("gone", is_command=False, look=look)
        elif event == "look lost":
            breaker.lose_look(look)
        else:
            clock.move(seconds=breaker.wait_s)
        assert breaker.wait_s <= LONGEST_LOOK_S + FIRST_LOOK_S
        assert (breaker.state is CLOSED) <= (breaker.failures < OPEN_AFTER)
