"""Stories of a few seeds, and that broken bridges are seen; `make kite-sim` tells a thousand."""

from collections.abc import Iterator

import pytest

from tests.kite_sim.__main__ import run
from tests.kite_sim.life import Lives
from tests.kite_sim.mutants import MUTANTS

QUICK = 24
MAX_SEEDS = 200
AT_ONCE = 6
# The one that is left out here is caught by test_rate.
CAUGHT_HERE = [mutant for mutant in MUTANTS if mutant.falls != ("P5",)]


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    with Lives() as lives:
        yield lives


@pytest.mark.slow
def test_whatever_meets_kite_and_the_bridge_each_order_is_there_once_and_known(lives: Lives) -> None:
    """Requests dropped, answers lost, 400 "timed out", HTML 5xx, 429, lagging books, dead sessions, SIGKILL."""
    broken = {story.plan.seed: story.broken for story in run(range(QUICK), lives, AT_ONCE) if story.broken}
    assert broken == {}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CAUGHT_HERE, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_bridge_that_is_broken_on_purpose_is_caught(mutant) -> None:
    """Else the stories would prove nothing."""
    with Lives(mutant.name) as lives:
        for first in range(0, MAX_SEEDS, AT_ONCE):
            for story in run(range(first, first + AT_ONCE), lives, AT_ONCE):
                if story.broken and story.broken.startswith(mutant.falls):
                    return
    pytest.fail(f"{mutant.name}: {MAX_SEEDS} stories were told, and none broke {' or '.join(mutant.falls)}")
