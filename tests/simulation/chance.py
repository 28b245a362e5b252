"""Chance: every random choice comes from the seed and from what it is about, so that one choice more moves no other.

That is what lets a failing story be made shorter: taking out one alert leaves the fate of the others as it was.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """One stream of choices. `rates` are how often each fault happens, `ranges` how long things take (seconds).

    While `calm`, no fault happens. `met` counts the faults that did.
    """

    def __init__(self, seed: str, rates: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._rates = rates
        self._ranges = ranges
        self.calm = False
        self.met: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()

    def of(self, what: str) -> "Chance":
        """The choices that are about this; the second time others than the first."""
        self._asked[what] += 1
        chance = Chance(f"{self._seed}:{what}:{self._asked[what]}", self._rates, self._ranges)
        chance.calm, chance.met = self.calm, self.met
        return chance

    def fault(self, *names: str) -> str:
        """The one of these faults that happens now; empty for none."""
        dice = self._random.random()
        if self.calm:
            return ""
        for name in names:
            dice -= self._rates.get(name, 0.0)
            if dice < 0:
                self.met[name] += 1
                return name
        return ""

    def happens(self, name: str) -> bool:
        """Whether something that is no fault happens now."""
        return self._random.random() < self._rates.get(name, 0.0)

    def between(self, name: str) -> float:
        """How long something takes."""
        low, high = self._ranges[name]
        return low + (high - low) * self._random.random() ** 3  # mostly short, sometimes long

    def pick(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)
