"""Numbers from measurements: percentiles, medians of ratios, and the schedule that keeps an open loop honest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A distribution of durations, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    def as_dict(self) -> dict[str, float]:
        """The numbers by name, rounded to a microsecond."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ordered values that at least `share` (0 to 1) of them do not exceed (nearest rank)."""
    if not ordered:
        raise ValueError("nothing was measured")
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    # The rounding takes back what binary fractions add: 0.999 x 1000 is 999 and not a hair more.
    return ordered[max(ceil(round(share * len(ordered), 9)), 1) - 1]


def spread_of(seconds: Sequence[float]) -> Spread:
    """What is told of a list of durations in seconds."""
    ordered = sorted(seconds)
    return Spread(
        count=len(ordered),
        p50_ms=percentile(ordered, 0.5) * 1000,
        p99_ms=percentile(ordered, 0.99) * 1000,
        p999_ms=percentile(ordered, 0.999) * 1000,
        max_ms=ordered[-1] * 1000,
    )


def schedule(count: int, per_second: float) -> list[float]:
    """When each of `count` requests is due, in seconds after the start: decided beforehand, whatever the server does."""
    if per_second <= 0:
        raise ValueError("the rate must be above zero")
    return [number / per_second for number in range(count)]


def corrected(due: Sequence[float], finished: Sequence[float]) -> list[float]:
    """Durations from the moment each request was *due*, not from when it could at last be sent.

    A server that stalls holds back the requests behind the stall; timed from their sending they would look fast, and a
    hundred slow ones would count as one (coordinated omission).
    """
    return [end - start for start, end in zip(due, finished, strict=True)]


def rate(count: int, seconds: float) -> float:
    """So many per second."""
    if seconds <= 0:
        raise ValueError("no time has passed")
    return count / seconds


def median_ratio(values: Sequence[float], bases: Sequence[float]) -> float:
    """The median over the rounds of value / base, each pair from one round: what slows a round slows both."""
    return median(value / base for value, base in zip(values, bases, strict=True))
