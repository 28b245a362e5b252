"""Brings the tables to the newest shape at start; loads Alembic only when there is something to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

from bridge.core.errors import ConfigError, StoreError
from bridge.store.backend import Backend

HEAD = "0010"
_FOLDER = Path(__file__).parent / "migrations"


def current_revision(backend: Backend) -> str | None:
    """The revision the database is at; None for an empty one."""
    try:
        with backend.engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
            return str(row[0]) if row else None
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be reached: {str(error).splitlines()[0]}") from None


def _has_tables(backend: Backend) -> bool:
    with backend.engine.connect() as connection:
        return inspect(connection).has_table("alerts")


@contextmanager
def _transaction(backend: Backend) -> Iterator[Connection]:
    """All tables or none: a start that is cut off leaves the database as it was."""
    with backend.engine.begin() as connection:
        if backend.is_sqlite:  # its driver begins no transaction by itself before statements that change tables
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _create(backend: Backend) -> None:
    """An empty database gets the newest tables at once; that they equal the migrated ones is tested."""
    from bridge.store import paper_tables  # noqa: F401 - the import registers its tables

    if not backend.is_sqlite:
        _make_partial_elsewhere()
    with _transaction(backend) as connection:
        SQLModel.metadata.create_all(connection)
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _make_partial_elsewhere() -> None:
    """Indexes name their condition for SQLite only: naming it for PostgreSQL too would load that dialect, two megabytes, into
    every bridge."""
    for table in SQLModel.metadata.tables.values():
        for index in table.indexes:
            index.dialect_kwargs["postgresql_where"] = index.dialect_options["sqlite"]["where"]


def upgrade(backend: Backend) -> None:
    """Migrate to HEAD; a database of a newer bridge is refused rather than guessed at."""
    revision = current_revision(backend)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise ConfigError(f"the database is of a newer bridge (revision {revision}); upgrade the bridge")
    if revision is None and not _has_tables(backend):
        _create(backend)
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    with _transaction(backend) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
