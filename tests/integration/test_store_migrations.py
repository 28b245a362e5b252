"""The tables a database ends up with are those of the models, however it came there."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlmodel import SQLModel

from bridge.core.errors import ConfigError
from bridge.core.hold import Hold
from bridge.store import migrate, paper_tables, tables  # noqa: F401 - the import registers the tables
from bridge.store.backend import Backend
from bridge.store.migrate import HEAD, current_revision, upgrade
from bridge.store.reads import Reads
from tests.support.stores import change, look


@pytest.fixture
def backend(database_url: str) -> Iterator[Backend]:
    """A way to an empty database of each kind."""
    made = Backend(database_url)
    yield made
    made.engine.dispose()


def test_a_fresh_database_has_exactly_the_models_tables(backend: Backend) -> None:
    """Migrations and models never drift apart: Alembic finds nothing to add or to remove."""
    upgrade(backend)
    with backend.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_a_fresh_database_has_the_migrated_ones_conditions_of_indexes(backend: Backend, database_url: str) -> None:
    """An index over what is open stays as small as what is open, on both databases; Alembic does not compare conditions."""
    shown = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    if not backend.is_sqlite:
        shown = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"

    def partial() -> set[str]:
        return {name for name, sql in look(database_url, shown) if " WHERE " in sql}

    upgrade(backend)
    fresh = partial()
    with backend.engine.begin() as connection:
        SQLModel.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    to_revision(backend, HEAD)
    assert fresh == partial() == {"alerts_open", "orders_open", "orders_protective", "paper_orders_open", "trades_open"}


def test_the_constant_names_the_newest_revision() -> None:
    """The start skips Alembic when the database is at HEAD, so HEAD must be the last script, and there is only one."""
    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_scripts_come_in_the_order_of_their_names() -> None:
    """A newer database is recognised by comparing revisions as text."""
    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))
    names = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert names == sorted(names, reverse=True)


def test_a_second_start_migrates_nothing(backend: Backend) -> None:
    """The revision is recorded once and found again."""
    assert current_revision(backend) is None
    for _ in range(2):
        upgrade(backend)
        assert current_revision(backend) == HEAD


def test_a_newer_database_is_refused_and_left_alone(backend: Backend, database_url: str) -> None:
    """An old bridge does not guess at tables it does not know."""
    upgrade(backend)
    change(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="newer"):
        upgrade(backend)
    assert look(database_url, "SELECT version_num FROM alembic_version") == [("9999",)]


# A hold as the tables of each revision take it.
HOLDS = {
    "0001": "INSERT INTO holds VALUES ('paper', 'NSE:SBIN', 'They differ.')",
    "0002": "INSERT INTO holds VALUES ('paper', 'NSE:SBIN', 'They differ.', '[]', '')",
}


class CutOffError(Exception):
    """As if the process ended here."""


@pytest.mark.parametrize("first", [None, "0001", "0002"])
def test_an_upgrade_that_is_cut_off_leaves_the_database_as_it_was(
    backend: Backend, database_url: str, first: str | None
) -> None:
    """After whichever statement: the next start does all of it."""
    if first is not None:
        to_revision(backend, first)
        change(database_url, HOLDS[first])
    left = 0

    @event.listens_for(backend.engine, "after_cursor_execute")
    def cut_off(_connection: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        nonlocal left
        if not sql.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN")):
            left -= 1
            if left == 0:
                raise CutOffError

    times = 0
    while current_revision(backend) == first:
        times += 1
        left = times
        with contextlib.suppress(CutOffError):
            upgrade(backend)
    assert times > (1 if first == "0002" else 4)
    with backend.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    assert len(Reads(backend.engine).holds()) == (first is not None)


def to_revision(backend: Backend, revision: str) -> None:
    """The tables as they were then, made by the migrations alone."""
    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))
    with backend.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_a_database_of_the_first_revision_becomes_what_a_fresh_one_is(backend: Backend, database_url: str) -> None:
    """Every step on the way, with rows: tables equal the models, a hold of before is still one and has no numbers."""
    to_revision(backend, "0001")
    change(database_url, HOLDS["0001"])
    upgrade(backend)
    assert current_revision(backend) == HEAD
    with backend.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    assert Reads(backend.engine).holds() == [("paper", "NSE:SBIN", Hold(message="They differ."))]
