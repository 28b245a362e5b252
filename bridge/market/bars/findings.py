"""What the data doctor may find, and which findings keep a series out of a scan."""

from dataclasses import dataclass
from enum import StrEnum


class Complaint(StrEnum):
    """What is wrong with a series."""

    NO_BARS = "no bars"
    BAD_PRICE = "bad price"
    BAD_RANGE = "bad range"
    SPLIT = "split"
    TWIN = "twin"
    SWAPPED = "swapped"
    DISAGREES = "disagrees"
    STALE = "stale"
    FROZEN = "frozen"
    HOLES = "holes"
    ODD_HOURS = "odd hours"
    HOLIDAY = "holiday"
    JUMP = "jump"
    HOLE = "hole"
    SHORT_SESSION = "short session"
    VOLUME = "volume"

    @property
    def is_grave(self) -> bool:
        """True when no scan may rank the series; the others are told, and may be true."""
        return self not in _REMARKS


_REMARKS = frozenset({Complaint.JUMP, Complaint.HOLE, Complaint.SHORT_SESSION, Complaint.VOLUME, Complaint.HOLIDAY})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, with where and how much."""

    complaint: Complaint
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be thought of a symbol's bars."""

    symbol: str
    findings: tuple[Finding, ...] = ()

    @property
    def is_trusted(self) -> bool:
        """False when a scan must leave the symbol out."""
        return not any(finding.complaint.is_grave for finding in self.findings)

    @property
    def reason(self) -> str:
        """Why it is not trusted, the gravest first; else what is odd; empty when nothing is."""
        ordered = sorted(self.findings, key=lambda finding: not finding.complaint.is_grave)
        return "; ".join(f"{finding.complaint}: {finding.message}" for finding in ordered)
