"""A disk that can fail at any commit: what was committed stays, the rest goes."""

import sqlite3
from collections.abc import Callable
from typing import Any

from bridge.core.clock import Clock
from bridge.store.backend import Backend
from bridge.store.store import Store
from bridge.store.writer import Writer
from tests.simulation.chance import Chance

# What may happen at a commit, by the name of the fault that the plan gives a rate to.
LOST = "commit_lost"  # the power fails before the commit
KEPT = "commit_kept"  # the power fails after it, before anybody hears of it
REFUSED = "commit_refused"  # the disk is full: an error, and nothing written
UNSURE = "commit_unsure"  # an error although it was written, as when a connection breaks
COMMIT_FAULTS = (LOST, KEPT, REFUSED, UNSURE)
# The disk fills up in the midst of a transaction: the statement fails, and nothing of it is written.
WRITE_REFUSED = "write_refused"
DISK_FAULTS = (*COMMIT_FAULTS, WRITE_REFUSED)


class PowerError(BaseException):
    """The power failed: unwinds the step that was running."""


class Disk:
    """What the store's connections of one life go through. `away_until` is when the database can be reached again."""

    def __init__(self, chance: Chance, now: Callable[[], float], fail_power: Callable[[], None], tell: Callable[[str], None]):
        self._chance = chance
        self._now = now
        self._fail_power = fail_power
        self._tell = tell
        self.away_until = 0.0
        self.connections: list[Connection] = []

    @property
    def is_away(self) -> bool:
        return self._now() < self.away_until

    def commit(self, connection: sqlite3.Connection) -> None:
        fault = self._chance.fault(*COMMIT_FAULTS)
        if fault:
            self._tell(f"disk {fault}")
        if fault == LOST:
            self._fail_power()
            raise PowerError
        if fault == REFUSED:
            raise sqlite3.OperationalError("database or disk is full")
        connection.execute("COMMIT")
        if fault == KEPT:
            self._fail_power()
            raise PowerError
        if fault == UNSURE:
            raise sqlite3.OperationalError("disk I/O error")

    def check_write(self, sql: str) -> None:
        if sql.startswith("INSERT") and self._chance.fault(WRITE_REFUSED):
            self._tell("disk write_refused")
            raise sqlite3.OperationalError("database or disk is full")

    def cut(self) -> None:
        """Nothing more of this life reaches the disk."""
        for connection in self.connections:
            connection.cut()


class Connection:
    """A driver connection as the writer uses it."""

    def __init__(self, raw: sqlite3.Connection, disk: Disk) -> None:
        self._raw = raw
        self._disk = disk
        disk.connections.append(self)

    def execute(self, sql: str, params: Any = ()) -> Any:
        if self._disk.is_away:
            raise sqlite3.OperationalError("unable to open database file")
        if sql == "COMMIT":
            self._disk.commit(self._raw)
            return None
        self._disk.check_write(sql)
        return self._raw.execute(sql, params)

    def close(self) -> None:
        self._raw.close()

    def cut(self) -> None:
        self._raw.close()  # SQLite rolls back what was not committed


class SimBackend(Backend):
    """SQLite behind the disk; the file is on a memory disk, so syncing it costs nothing."""

    def __init__(self, url: str, disk: Disk) -> None:
        super().__init__(url)
        self._disk = disk

    def raw(self) -> Any:
        if self._disk.is_away:
            raise sqlite3.OperationalError("unable to open database file")
        return Connection(super().raw(), self._disk)


class SimWriter(Writer):
    """The writer with a stand-in for its thread: a group that is handed over is committed a little later, and heard of
    later still. Which groups are handed over is left to chance.
    """

    chance: Chance

    def open(self) -> None:
        self._connect()

    def _may_block_loop(self, size: int) -> bool:
        return not self._stale and self.chance.happens("commit_in_loop")

    def _hand_over(self, group: list[Any]) -> None:
        loop = self._loop
        assert loop is not None
        loop.call_later(self.chance.between("commit_s"), self._commit_later, group)

    def _commit_later(self, group: list[Any]) -> None:
        events = self._commit(group)
        assert self._loop is not None
        self._loop.call_later(self.chance.between("commit_s"), self._finish, group, events)


class SimStore(Store):
    """The store on a migrated file; `close` has no thread to wait for."""

    writer_class = SimWriter

    def __init__(self, url: str, key: bytes, clock: Clock, disk: Disk, chance: Chance) -> None:
        self._disk = disk
        super().__init__(url, key, clock, backend=SimBackend(url, disk))
        assert isinstance(self.writer, SimWriter)
        self.writer.chance = chance

    def open(self) -> None:
        self.writer.open()
