"""Bridges as processes of their own, and the clock that they share with whoever moves it."""

import mmap
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.nursery import Forked, nursery
from tests.support.server import clean_env

_MODULES = ("bridge.brokers.kite.adapter", "tests.kite_sim.mutants", "tests.support.kite_bridge")
CLOCK, CONFIG, LOG = "clock", "bridge.json", "bridge.log"
# How far the clock is ahead of the machine's, and since when it stands; 0 while it runs.
_STATE = struct.Struct("<dd")


class SharedClock:
    """The machine's clock moved by what a file says, so that two processes and those who move it see the same time."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(_STATE.pack(0.0, 0.0))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _STATE.size)

    @property
    def ahead_s(self) -> float:
        """How far it is ahead of the machine's."""
        ahead_s, stands_since = self._state()
        return ahead_s - (time.monotonic() - stands_since if stands_since else 0)

    def _state(self) -> tuple[float, float]:
        ahead_s, stands_since = _STATE.unpack_from(self._memory)
        return ahead_s, stands_since

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic() + self.ahead_s

    def jump(self, seconds: float) -> None:
        """Set it forward, for all processes at once."""
        ahead_s, stands_since = self._state()
        self._put(ahead_s + seconds, stands_since)

    def stand(self) -> None:
        """Time stands still, for all processes at once."""
        self._put(self.ahead_s, time.monotonic())

    def run_on(self) -> None:
        """And goes on from there."""
        self._put(self.ahead_s, 0.0)

    def _put(self, ahead_s: float, stands_since: float) -> None:
        """In one copy: pack_into would clear the place first, and the other process live a moment in another time."""
        self._memory[:] = _STATE.pack(ahead_s, stands_since)


@dataclass(frozen=True, slots=True)
class Lives:
    """Bridges that are all this mutant, or none when it has no name; `is_slow` leaves them their pauses as they are."""

    mutant: str = ""
    is_slow: bool = False

    def start(self, folder: Path) -> Forked:
        """A new bridge on this folder."""
        words = (str(folder), self.mutant, "slow" * self.is_slow)
        with (folder / LOG).open("ab") as log:
            return nursery(*_MODULES).start("tests.kite_sim.alive", words, cwd=folder, env=clean_env(), out=log, errors=log)
