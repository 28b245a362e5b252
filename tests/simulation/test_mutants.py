"""What guards a promise must be able to fail: each bridge that is broken on purpose is seen within two thousand stories."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.plan import make_plan
from tests.simulation.story import tell


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_bridge_that_is_broken_on_purpose_is_caught(mutant: Mutant) -> None:
    """Each promise has a mutant, and breaks by its own name."""
    with mutant.broken():
        for seed in mutant.seeds:
            broken = tell(make_plan(seed)).broken
            if broken is not None and broken.startswith(mutant.falls):
                return
    pytest.fail(f"{mutant.name}: {len(mutant.seeds)} stories were told, and none broke {' or '.join(mutant.falls)}")


def test_every_promise_has_a_mutant() -> None:
    """P9 and P10 are attacked elsewhere."""
    promises = {fall for mutant in MUTANTS for fall in mutant.falls}
    assert promises == {"P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "liveness"}
