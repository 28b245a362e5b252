"""Stories of a few hundred seeds; `make sim` tells thousands."""

import os
import subprocess
import sys

import pytest

from tests.simulation.plan import make_plan
from tests.simulation.story import tell
from tests.support.rigs import ROOT

CHUNK = 50


@pytest.mark.parametrize("first", range(0, 300, CHUNK))
def test_every_promise_holds_whatever_goes_wrong(first: int) -> None:
    """P1 to P8 and liveness, in worlds where everything fails and the power with it."""
    broken = {seed: story.broken for seed in range(first, first + CHUNK) if (story := tell(make_plan(seed))).broken}
    assert broken == {}


@pytest.mark.parametrize("seed", [7, 21, 58])
def test_the_same_seed_tells_the_same_story_in_another_process(seed: int) -> None:
    """Byte for byte, the hashes of strings being others: else a failing seed could not be replayed."""
    here = "\n".join(tell(make_plan(seed)).journal)
    env = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "tests.simulation", "--replay", str(seed)]
    there = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert there.rsplit("\n", 2)[0] == here


def test_another_seed_tells_another_story() -> None:
    """Else the test before would hold for a world in which nothing happens."""
    assert tell(make_plan(7)).journal != tell(make_plan(8)).journal
