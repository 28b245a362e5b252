"""Stories of a few seeds, and that broken bridges are seen; `make kite-sim` tells a thousand."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.kite_sim.__main__ import run
from tests.kite_sim.life import Lives
from tests.kite_sim.mutants import MUTANTS
from tests.kite_sim.plan import ALERT, FAULTS, KILL, PAUSE, PRICE, Plan, Step
from tests.kite_sim.story import tell

QUICK = 16
AT_ONCE = 6
TRIES = 10
BUY = Step(kind=ALERT, values={"action": "buy", "quantity": "12"})
WAIT = Step(kind=PAUSE, s=1)
# What each has to meet; the one that is left out here is caught by test_rate.
MET = {
    "sends again blindly": (Step(kind=FAULTS, values={"orders": {"drop_after": 1}}), BUY, WAIT),
    "sends again after a crash": (
        Step(kind=FAULTS, values={"orders": {"delay": 1}}), BUY, Step(kind=KILL, s=0.1, values={"down_s": 0}),
    ),
    "counts fills twice": (BUY, Step(kind=PRICE, values={"price": "812.5"})),
}  # fmt: skip


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
@pytest.mark.parametrize("name", MET)
def test_a_bridge_that_is_broken_on_purpose_is_caught(name: str) -> None:
    """Else the stories would prove nothing. A whole bridge goes through the same unharmed: see above."""
    mutant = next(one for one in MUTANTS if one.name == name)
    with Lives(name) as lives:
        found = (tell(_plan(name, number), lives).broken for number in range(TRIES))
        assert any(broken is not None and broken.startswith(mutant.falls) for broken in found)


def _plan(name: str, number: int) -> Plan:
    """The plan of a try; a kill comes each time a little later, since nobody knows when the order is on its way."""
    steps = tuple(replace(step, s=0.05 + 0.1 * number) if step.kind == KILL else step for step in MET[name])
    lag_ms = 0 if name == "counts fills twice" else 3_000  # or the book tells what became of the order before the answer does
    return Plan(seed=number, updates="poll", knobs={"delay_ms": 1_500, "fill_max": 6, "book_lag_ms": lag_ms}, steps=steps)
