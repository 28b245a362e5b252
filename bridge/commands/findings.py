"""What `bridge check` finds: one line each, with its mend."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bridge.commands.running import Running
from bridge.core.clock import Clock, SystemClock
from bridge.settings import Settings

PART_CHARS = 18


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one part, and what to do about it."""

    level: Level
    part: str
    message: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<6}{self.part[: PART_CHARS - 1]:<{PART_CHARS}}{self.message}"
        return f"{line}\n{'':<{6 + PART_CHARS}}mend: {self.mend}" if self.mend else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the checks look at. `running` holds the data folder; `online` allows to ask the internet; `clock` is for how long
    things take, and to be held against the brokers' own.
    """

    settings: Settings
    running: Running | None
    now: datetime
    online: bool
    clock: Clock = field(default_factory=SystemClock)


def ok(part: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(level=Level.OK, part=part, message=message)


def warn(part: str, message: str, mend: str) -> Finding:
    """It runs, but not as well as it should."""
    return Finding(level=Level.WARN, part=part, message=message, mend=mend)


def fail(part: str, message: str, mend: str) -> Finding:
    """It does not run, or not safely."""
    return Finding(level=Level.FAIL, part=part, message=message, mend=mend)
