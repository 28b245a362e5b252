"""Store: the database as the rest of the bridge sees it: opened and migrated, one writer, and reads."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from bridge.core.alert import Claim
from bridge.core.clock import Clock
from bridge.core.ledger import Ledger
from bridge.store.backend import Backend
from bridge.store.mapping import LEDGER_MAPS, RowMap
from bridge.store.migrate import upgrade
from bridge.store.reads import Reads
from bridge.store.tx import Tx
from bridge.store.writer import Writer, WriterMode

T = TypeVar("T")
# Longer than an alert stays fresh by default.
RECENT = timedelta(minutes=5)


class Store:
    """`write` runs a command in the next group commit; `reads` sees what is committed; `ledger` is what is open now.

    `shelves` and `maps` add the tables of others, such as the paper broker's own books. Exits received within `recent` are
    remembered over a restart.
    """

    writer_class: type[Writer] = Writer

    def __init__(
        self,
        url: str,
        audit_key: bytes,
        clock: Clock,
        *,
        shelves: Mapping[str, Any] | None = None,
        maps: Mapping[str, RowMap[Any, Any]] | None = None,
        mode: WriterMode = "thread",
        backend: Backend | None = None,
        recent: timedelta = RECENT,
    ):
        self.ledger = Ledger(clock.monotonic)
        self.backend = backend or Backend(url)
        all_maps = {**LEDGER_MAPS, **(maps or {})}
        all_shelves = {name: getattr(self.ledger, name) for name in LEDGER_MAPS} | dict(shelves or {})
        self.writer = self.writer_class(
            self.backend, all_maps, all_shelves, self.ledger, audit_key, clock, mode=mode, recent=recent
        )
        self.reads = Reads(self.backend.engine)

    def open(self) -> None:
        """Bring the tables to the newest shape and load the working set; StoreError says why not."""
        upgrade(self.backend)
        self.writer.open()

    async def close(self) -> None:
        """Commit what is waiting and let go of the database."""
        await self.writer.close()
        self.backend.engine.dispose()

    def write(self, command: Callable[[Tx], T], claim: Claim | None = None) -> "asyncio.Future[T]":
        """Run `command` in the next commit; resolves when that is on disk. StoreError: nothing was written."""
        return self.writer.run(command, claim)
