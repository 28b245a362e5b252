"""The retry policy: every cell of its table, and what holds for any input."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import OutcomeKind
from bridge.execution.retry import (
    CANCEL_ATTEMPTS,
    FIRST_LOOK_S,
    FIRST_WAIT_S,
    LONGEST_LOOK_S,
    LONGEST_WAIT_S,
    POLICY,
    Asked,
    Next,
    NextStep,
    decide_next,
)

ACCEPTED, REFUSED, NOT_SENT, UNKNOWN = OutcomeKind
ATTEMPTS = st.integers(min_value=-1, max_value=10_000_000)
SECONDS = st.floats(min_value=0, max_value=1e6)
ANY_FLOAT = st.none() | st.floats()
CASES = {
    "asked": st.sampled_from(Asked), "kind": st.sampled_from(OutcomeKind), "attempt": ATTEMPTS, "named_s": ANY_FLOAT,
    "left_s": st.none() | st.floats(allow_nan=False), "held": st.booleans(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "kind", "step"),
    [
        (Asked.PLACE, ACCEPTED, NextStep.FOLLOW),
        (Asked.PLACE, REFUSED, NextStep.END),
        (Asked.PLACE, NOT_SENT, NextStep.SEND_AGAIN),
        (Asked.PLACE, UNKNOWN, NextStep.LOOK_UP),
        (Asked.CANCEL, ACCEPTED, NextStep.FOLLOW),
        (Asked.CANCEL, REFUSED, NextStep.END),
        (Asked.CANCEL, NOT_SENT, NextStep.ASK_AGAIN),
        (Asked.CANCEL, UNKNOWN, NextStep.ASK_AGAIN),
        (Asked.READ, ACCEPTED, NextStep.FOLLOW),
        (Asked.READ, UNKNOWN, NextStep.ASK_AGAIN),
        (Asked.NOTE, ACCEPTED, NextStep.FOLLOW),
        (Asked.NOTE, UNKNOWN, NextStep.ASK_AGAIN),
    ],
)
def test_each_outcome_has_its_step(asked: Asked, kind: OutcomeKind, step: NextStep) -> None:
    """The table, cell by cell, with time enough and no wait named."""
    assert decide_next(asked, kind, left_s=60).step is step


def test_the_table_has_a_cell_for_everything() -> None:
    """No outcome of anything asked is left to chance."""
    assert {(asked, kind) for asked, row in POLICY.items() for kind in row} == {(a, k) for a in Asked for k in OutcomeKind}


@given(**CASES)
def test_unknown_never_leads_to_sending_again(asked, kind, attempt, named_s, left_s, held) -> None:
    """Only NOT_SENT of an order may ever repeat it, whatever else is said."""
    after = decide_next(asked, kind, attempt=attempt, named_s=named_s, left_s=left_s, held=held)
    if after.step is NextStep.SEND_AGAIN:
        assert (asked, kind) == (Asked.PLACE, NOT_SENT)
    if asked is Asked.PLACE and kind is UNKNOWN:
        assert after.step is NextStep.LOOK_UP


@given(**CASES)
def test_every_wait_is_a_number_not_below_zero_and_bounded(asked, kind, attempt, named_s, left_s, held) -> None:
    """Neither a number that is none, nor many tries, nor endless waits can hold anything up for ever."""
    after = decide_next(asked, kind, attempt=attempt, named_s=named_s, left_s=left_s, held=held)
    named_s = named_s if named_s is not None and math.isfinite(named_s) else 0
    longest = max(LONGEST_LOOK_S + FIRST_LOOK_S, named_s + FIRST_WAIT_S)
    assert 0 <= after.wait_s <= longest


@given(st.sampled_from(Asked), st.sampled_from(OutcomeKind), ATTEMPTS, SECONDS)
def test_a_named_wait_is_never_undercut(asked: Asked, kind: OutcomeKind, attempt: int, named_s: float) -> None:
    """The broker said not to come before."""
    after = decide_next(asked, kind, attempt=attempt, named_s=named_s)
    assert after.wait_s >= named_s


@pytest.mark.parametrize("asked", [Asked.PLACE, Asked.CANCEL])
def test_a_named_wait_holds_the_account(asked: Asked) -> None:
    """Not the one order waits but all of its account."""
    assert decide_next(asked, NOT_SENT, named_s=3).step is NextStep.HOLD


@pytest.mark.parametrize("named_s", [math.inf, -math.inf, math.nan])
def test_a_wait_that_is_no_number_counts_as_none(named_s: float) -> None:
    """A garbled header must not stop a lane."""
    after = decide_next(Asked.PLACE, NOT_SENT, named_s=named_s)
    assert after.step is NextStep.SEND_AGAIN
    assert after.wait_s <= LONGEST_WAIT_S + FIRST_WAIT_S


@given(st.integers(min_value=1, max_value=40), st.sampled_from([(Asked.PLACE, NOT_SENT), (Asked.READ, UNKNOWN)]))
def test_waits_double_with_jitter_up_to_the_longest(attempt: int, case: tuple[Asked, OutcomeKind]) -> None:
    """Exponential from the first to the longest; the jitter is at most one first wait."""
    first_s, longest_s = (FIRST_LOOK_S, LONGEST_LOOK_S) if case[0] is Asked.READ else (FIRST_WAIT_S, LONGEST_WAIT_S)
    base_s = min(first_s * 2 ** (attempt - 1), longest_s)
    assert base_s <= decide_next(*case, attempt=attempt).wait_s <= base_s + first_s


def test_jitter_is_there_and_is_the_same_for_the_same_seed() -> None:
    """Many accounts must not come back at one instant; a simulation must be repeatable."""

    def waits() -> list[float]:
        return [decide_next(Asked.PLACE, NOT_SENT, attempt=n, named_s=7 if n % 2 else None).wait_s for n in range(1, 20)]

    random.seed(7)
    first = waits()
    second = waits()
    random.seed(7)
    assert waits() == first != second


@given(ATTEMPTS, st.floats(min_value=-1e6, max_value=1e6), st.none() | SECONDS)
def test_an_entry_whose_next_try_would_be_too_late_expires(attempt: int, left_s: float, named_s: float | None) -> None:
    """No pointless wait: either the try comes in time, or the entry ends now."""
    after = decide_next(Asked.PLACE, NOT_SENT, attempt=attempt, named_s=named_s, left_s=left_s)
    if after.step is NextStep.EXPIRE:
        assert left_s < max(LONGEST_WAIT_S, named_s or 0) + FIRST_WAIT_S
    else:
        assert after.wait_s <= left_s


@given(ATTEMPTS, ANY_FLOAT, st.booleans())
def test_an_exit_is_tried_on(attempt: int, named_s: float | None, held: bool) -> None:
    """Exits have no limit of time, so neither age nor tries nor waits end them."""
    after = decide_next(Asked.PLACE, NOT_SENT, attempt=attempt, named_s=named_s, left_s=None, held=held)
    assert after.step in (NextStep.SEND_AGAIN, NextStep.HOLD)


def test_who_was_held_costs_no_wait_of_its_own() -> None:
    """What holds the account says for how long; an order that never reached the broker just keeps its place."""
    assert decide_next(Asked.PLACE, NOT_SENT, attempt=9, left_s=1, held=True) == Next(step=NextStep.HOLD)
    assert decide_next(Asked.PLACE, NOT_SENT, left_s=-1, held=True).step is NextStep.EXPIRE


@pytest.mark.parametrize("kind", [NOT_SENT, UNKNOWN])
def test_a_cancel_without_an_answer_ends_with_a_person(kind: OutcomeKind) -> None:
    """Asked over a minute, then told; not one try sooner."""
    steps = [decide_next(Asked.CANCEL, kind, attempt=attempt).step for attempt in range(1, CANCEL_ATTEMPTS + 1)]
    assert steps == [NextStep.ASK_AGAIN] * (CANCEL_ATTEMPTS - 1) + [NextStep.TELL]
    assert sum(decide_next(Asked.CANCEL, kind, attempt=n).wait_s for n in range(1, CANCEL_ATTEMPTS)) > 60
