"""Bridges that are broken on purpose, to be seen by the stories here; most are those of the simulation."""

from datetime import datetime
from unittest import mock

from bridge.brokers.kite import limits
from bridge.execution.throttle import Throttle
from tests.simulation import mutants
from tests.simulation.mutants import Mutant

_NAMES = ("sends again blindly", "sends again after a crash", "counts fills twice")


def _forget(self: Throttle, sent_at: datetime) -> None:
    return


MUTANTS: tuple[Mutant, ...] = (
    *(mutant for mutant in mutants.MUTANTS if mutant.name in _NAMES),
    Mutant(
        name="forgets the second at a start",
        falls=("P5",),
        broken=lambda: mock.patch.object(Throttle, "remember", _forget),
    ),
)
# Not broken, but with a minute that is used up sooner: four hundred orders would take a test too long.
MINUTE = 20
SHORT_MINUTE = Mutant(name="a short minute", falls=(), broken=lambda: mock.patch.object(limits, "PER_MINUTE", MINUTE))
