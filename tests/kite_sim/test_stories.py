"""Stories of a few seeds, and that broken bridges are seen; `make kite-sim` tells a thousand."""

from dataclasses import replace

import pytest

from tests.kite_sim.__main__ import run
from tests.kite_sim.life import Lives
from tests.kite_sim.mutants import MUTANTS
from tests.kite_sim.plan import ALERT, FAULTS, HALT, HAND, KILL, PAUSE, PRICE, SETTLE, Plan, Step
from tests.kite_sim.story import tell

QUICK = 10
AT_ONCE = 6
TRIES = 10
# What never comes to its end is told sooner than in a whole story.
ROUNDS = 16
BUY = Step(kind=ALERT, values={"action": "buy", "quantity": "12"})
WAIT, QUIET = Step(kind=PAUSE, s=1), Step(kind=SETTLE)


def _change(price: str) -> Step:
    return Step(kind=HAND, values={"do": "modify", "price": price})


REST = Step(kind=ALERT, values={"action": "buy", "quantity": "12", "order_type": "LIMIT", "price": "740"})
HALF = Step(kind=ALERT, values={"action": "buy", "quantity": "12", "order_type": "LIMIT", "price": "812.5"})
PROTECTED = Step(kind=ALERT, values={"action": "buy", "quantity": "6", "stop_loss": {"percent": "5"}})
# What each has to meet; the one that is left out here is caught by test_rate.
MET = {
    "sends again blindly": (Step(kind=FAULTS, values={"orders": {"drop_after": 1}}), BUY, WAIT),
    "sends again after a crash": (
        Step(kind=FAULTS, values={"orders": {"delay": 1}}), BUY, Step(kind=KILL, s=0.1, values={"down_s": 0}),
    ),
    "counts fills twice": (BUY, Step(kind=PRICE, values={"price": "812.5"})),
    "believes the request": (
        REST, QUIET, Step(kind=FAULTS, values={"orders": {"drop_before": 1}}),
        Step(kind=ALERT, values={"action": "modify", "price": "741"}), WAIT,
    ),
    "changes what is left": (HALF, WAIT, Step(kind=ALERT, values={"action": "modify", "quantity": "20"}), WAIT),
    "places anew what is cancelled": (
        REST, QUIET, *(step for price in ("741", "742") for step in (_change(price), QUIET)),
        Step(kind=FAULTS, values={"orders": {"503_before": 20}}), _change("743"), Step(kind=ALERT, values={"action": "cancel"}),
    ),
    "leaves what rests under a halt": (REST, QUIET, Step(kind=HALT)),
    "keeps a protection as it is": (PROTECTED, QUIET, PROTECTED, QUIET),
    "does not find its trigger": (Step(kind=FAULTS, values={"triggers": {"drop_after": 1}}), PROTECTED, WAIT),
    "leaves a protection behind": (PROTECTED, QUIET, Step(kind=ALERT, values={"action": "exit"})),
}  # fmt: skip
# Where the book would tell what became of the order before its answer does.
LATE = ("sends again blindly", "sends again after a crash")


@pytest.mark.slow
def test_whatever_meets_kite_and_the_bridge_each_order_is_there_once_and_known() -> None:
    """Requests dropped, answers lost, 400 "timed out", HTML 5xx, 429, lagging books, dead sessions, SIGKILL."""
    broken = {story.plan.seed: story.broken for story in run(range(QUICK), Lives(), AT_ONCE) if story.broken}
    assert broken == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", MET)
def test_a_bridge_that_is_broken_on_purpose_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the stories would prove nothing. A whole bridge goes through the same unharmed: see above."""
    monkeypatch.setattr("tests.kite_sim.story.ROUNDS", ROUNDS)
    mutant = next(one for one in MUTANTS if one.name == name)
    found = (tell(_plan(name, number), Lives(name)).broken for number in range(TRIES))
    assert any(broken is not None and broken.startswith(mutant.falls) for broken in found)


def _plan(name: str, number: int) -> Plan:
    """The plan of a try; a kill comes each time a little later, since nobody knows when the order is on its way."""
    steps = tuple(replace(step, s=0.05 + 0.1 * number) if step.kind == KILL else step for step in MET[name])
    lag_ms = 3_000 if name in LATE else 0
    return Plan(seed=number, updates="poll", knobs={"delay_ms": 1_500, "fill_max": 6, "book_lag_ms": lag_ms}, steps=steps)
