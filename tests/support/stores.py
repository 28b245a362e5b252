"""A store on a real database, and a connection of its own to look past it."""

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from bridge.core.clock import Clock
from bridge.core.events import Event
from bridge.store.store import Store
from bridge.store.writer import WriterMode
from tests.support.clocks import StillClock

KEY = bytes(range(32))


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None, *, mode: WriterMode = "thread") -> AsyncIterator["Watched"]:
    """The store between open and close. Events of its commits are kept in `store.seen`, faults in `store.faults`."""
    store = Watched(url, clock or StillClock(), mode=mode)
    try:
        await asyncio.to_thread(store.open)
    except BaseException:
        store.backend.engine.dispose()
        raise
    store.writer.bind(asyncio.get_running_loop())
    try:
        yield store
    finally:
        await store.close()


_EMPTY: list[Path] = []


def empty_database() -> Path:
    """A migrated SQLite file without rows, made once: running the migrations takes longer than most tests."""
    if not _EMPTY:
        folder = Path(tempfile.mkdtemp(prefix="bridge-empty-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        store = Store(f"sqlite:///{folder / 'empty.db'}", KEY, StillClock(), mode="inline")
        store.open()
        asyncio.run(store.close())
        _EMPTY.append(folder / "empty.db")
    return _EMPTY[0]


def fresh_sqlite(folder: Path) -> str:
    """The URL of a new SQLite file in `folder` that is migrated already."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(empty_database(), folder / "bridge.db")
    return f"sqlite:///{folder / 'bridge.db'}"


class Watched(Store):
    """A store that remembers what it told."""

    def __init__(self, url: str, clock: Clock, *, mode: WriterMode) -> None:
        super().__init__(url, KEY, clock, mode=mode)
        self.seen: list[Event] = []
        self.faults: list[BaseException] = []
        self.writer.on_events = self.seen.extend
        self.writer.on_fault = self.faults.append


def look(url: str, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """Rows as another connection sees them now."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql), params)]
    finally:
        engine.dispose()


def change(url: str, sql: str, **params: Any) -> None:
    """Change the database behind the bridge's back."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(sql), params)
    finally:
        engine.dispose()


def together(store: Store, *commands: Any) -> "asyncio.Future[list[Any]]":
    """Commands that share one group; each is a function of the transaction, or (function, claim)."""
    futures = [store.write(*command) if isinstance(command, tuple) else store.write(command) for command in commands]
    return asyncio.gather(*futures, return_exceptions=True)
