"""What differs between SQLite and PostgreSQL: how to connect durably, and whose errors mean what."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url

from bridge.core.errors import ConfigError

# Checkpoints make the tail of the latency: at 4,000 pages p99.9 was half of that at SQLite's default of 1,000.
_WAL_PAGES = 4_000
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL would lose acknowledged alerts when the power fails
    "PRAGMA busy_timeout=5000",
    f"PRAGMA wal_autocheckpoint={_WAL_PAGES}",
)
# An arbitrary constant that names "a bridge works on this database" among PostgreSQL's advisory locks.
_ADVISORY_LOCK = 0x42524944_47453031
# A server behind a broken network says nothing, and TCP alone would wait for it for a quarter of an hour.
_PG_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_SQLITE_BUSY, _SQLITE_FULL = 5, 13
# The server notices a moment later that the session before this one, be it ours or a killed bridge's, is gone.
_LOCK_WAIT_MS = 2_000


class Backend:
    """One database: `mark` is its parameter style; `raw` gives a driver connection in autocommit for the writer."""

    def __init__(self, url: str):
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.mark = "?" if self.is_sqlite else "%s"
        if self.is_sqlite and self.url.database:
            try:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"database.url: the folder of {self.url.database} cannot be made: {error}") from None
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        if self.is_sqlite:
            engine = create_engine(self.url, connect_args={"check_same_thread": False, "timeout": 5.0})

            @event.listens_for(engine, "connect")
            def _set_up(connection: Any, _record: Any) -> None:
                for pragma in _SQLITE_PRAGMAS:
                    connection.execute(pragma)

            return engine
        return create_engine(self.url, pool_pre_ping=True, connect_args=_PG_PATIENCE)

    def raw(self) -> Any:
        """A driver connection of its own, without implicit transactions; the caller sends BEGIN and COMMIT."""
        if self.is_sqlite:
            import sqlite3

            connection = sqlite3.connect(
                self.url.database or "",
                isolation_level=None,
                check_same_thread=False,
                cached_statements=1024,
                timeout=5.0,
            )
            for pragma in (*_SQLITE_PRAGMAS, "PRAGMA busy_timeout=0"):  # the writer waits by itself, where it may
                connection.execute(pragma)
            return connection
        import psycopg

        dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection_pg = psycopg.connect(dsn, autocommit=True, prepare_threshold=2, **_PG_PATIENCE)
        connection_pg.prepared_max = 1024
        connection_pg.execute("SET synchronous_commit TO on")
        return connection_pg

    @property
    def errors(self) -> type[Exception]:
        """The root of what the driver raises."""
        if self.is_sqlite:
            import sqlite3

            return sqlite3.Error
        import psycopg

        return psycopg.Error

    def begin(self, raw: Any) -> bool:
        """Open a write transaction; False, at once and with nothing done, while another program has the database locked."""
        try:
            raw.execute("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
        except self.errors as error:
            if self.is_sqlite and _code_of(error) == _SQLITE_BUSY:
                return False
            raise
        return True

    def is_surely_undone(self, error: Exception) -> bool:
        """True when a COMMIT that failed with this error has certainly written nothing: there was no room for it."""
        return self.is_sqlite and _code_of(error) == _SQLITE_FULL

    def lock(self, raw: Any) -> bool:
        """On PostgreSQL, hold the database for this process for as long as `raw` is open; False: another bridge has it."""
        if self.is_sqlite:
            return True
        from psycopg.errors import LockNotAvailable

        raw.execute(f"SET lock_timeout TO {_LOCK_WAIT_MS}")
        try:
            raw.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        except LockNotAvailable:
            return False
        raw.execute("SET lock_timeout TO 0")
        return True

    def is_integrity_error(self, error: Exception) -> bool:
        """True when a unique constraint was violated."""
        return type(error).__name__ in ("IntegrityError", "UniqueViolation")


def _code_of(error: Exception) -> int:
    """SQLite's primary result code; its extended ones have more in the higher bits."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class ProcessLock:
    """One process per data folder; the file tells other commands where the running one listens."""

    def __init__(self, data_dir: Path, name: str = "bridge.lock"):
        self._path = data_dir / name
        self._fd: int | None = None

    def acquire(self) -> bool:
        """True when this process now holds the folder."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        self.write({"pid": os.getpid()})
        return True

    def write(self, info: dict[str, object]) -> None:
        """Leave word for other commands."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, json.dumps(info).encode(), 0)

    def read(self) -> dict[str, Any]:
        """What the running bridge left; empty when it left nothing readable."""
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def release(self) -> None:
        """Give the folder free."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
