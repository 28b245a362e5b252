"""Universe: the symbols that a scan looks at on a day, and how far that is what one could have known then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


class PointInTime(StrEnum):
    """Whether a membership is that of its day. A replay on anything but YES says so in its report."""

    YES = "yes"
    BIASED = "biased"  # today's list for another day: whoever fell out since is missing, whoever rose is there too early
    LIVE_ONLY = "live_only"  # known only on the day itself, and nobody wrote it down


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Who belongs to a universe on `day`, by a list that was made on `listed_on`, or on `day` itself when that is None.

    `left_out` says by symbol why one that the source names does not.
    """

    universe: str
    day: date
    symbols: tuple[str, ...]
    point_in_time: PointInTime
    source: str
    listed_on: date | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
