"""The venue's office: the paper book over a database of its own, one account per name, and the latest prices."""

import asyncio
import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from bridge.brokers.paper.adapter import PaperBroker
from bridge.brokers.paper.rows import PAPER_CODECS
from bridge.brokers.paper.shelves import PaperShelves
from bridge.brokers.paper.values import PaperPolicy
from bridge.core.clock import Clock
from bridge.core.errors import ConfigError
from bridge.core.ids import random_token
from bridge.core.market import Mark
from bridge.core.report import Report
from bridge.log import log_fault
from bridge.market.instruments import Catalog
from bridge.store.backend import ProcessLock
from bridge.store.paper_tables import paper_maps
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.venue.stream import ReportStream

# The store wants a key for its audit; the venue, being paper, writes none.
_AUDIT_KEY = bytes(32)
MAX_ACCOUNTS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


class Account:
    """One account: its paper broker, and the stream of what becomes of its orders."""

    def __init__(self, broker: PaperBroker, stream: ReportStream) -> None:
        self.broker = broker
        self.stream = stream

    async def hear(self, reports: list[Report]) -> None:
        """The sink of the paper broker."""
        self.stream.add(reports)


class Office:
    """Everything the venue has; nothing has happened yet until `start`."""

    def __init__(self, folder: Path, *, catalog: Catalog, cash: Decimal, policy: PaperPolicy, clock: Clock) -> None:
        self.folder = folder
        self.catalog = catalog
        self.clock = clock
        self.lock = ProcessLock(folder, "venue.lock")
        self._epoch = random_token(16)
        self._cash = cash
        self._policy = policy
        self._shelves = PaperShelves()
        self._store = Store(
            f"sqlite:///{folder / 'venue.db'}",
            _AUDIT_KEY,
            clock,
            shelves=self._shelves.by_name(),
            maps=paper_maps(PAPER_CODECS),
            mode="auto",
        )
        self._store.writer.on_fault = lambda error: log_fault("store", error)
        self._accounts: dict[str, Account] = {}

    async def start(self) -> None:
        """Open the books where they were left; ConfigError or StoreError says why not."""
        if not self.lock.acquire():
            raise ConfigError(f"another venue is running on {self.folder} (see {self.folder}/venue.lock)")
        await asyncio.to_thread(self._store.open)
        self._store.writer.bind(asyncio.get_running_loop())
        for name in list(self._shelves.accounts.values):
            await self.open_account(name)

    def close(self) -> None:
        """Let nobody wait for reports any longer."""
        for account in self._accounts.values():
            account.stream.close()

    async def stop(self) -> None:
        """Write what is waiting, and let go of the folder."""
        self.close()
        for account in self._accounts.values():
            await account.broker.stop()
        await self._store.close()
        self.lock.release()

    async def open_account(self, name: str) -> Account:
        """The account of that name, made when it is seen for the first time; ValueError when it cannot be made."""
        found = self._accounts.get(name)
        if found is not None:
            return found
        if not _NAME.fullmatch(name):
            raise ValueError("an account's name has at most 40 letters, digits, dots, dashes and underscores")
        if len(self._accounts) >= MAX_ACCOUNTS:
            raise ValueError(f"there are {MAX_ACCOUNTS} accounts already")
        marks = self._store.ledger.marks
        broker = PaperBroker(
            name,
            cash=self._cash,
            policy=self._policy,
            shelves=self._shelves,
            store=self._store,
            latest_price=lambda symbol: mark.price if (mark := marks.get(symbol)) else None,
            instrument=self.catalog.get,
            clock=self.clock,
        )
        account = self._accounts[name] = Account(broker, ReportStream(self._epoch))
        await broker.start(account.hear)
        return account

    async def see_price(self, symbol: str, price: Decimal, at: datetime) -> None:
        """Keep a price unless a newer one is known, and let resting orders of every account meet it. StoreError: not kept."""
        mark = Mark(symbol=symbol, price=price, at=min(at, self.clock.now()), source="feed")
        if await self._store.write(lambda tx: _keep_newer(tx, mark)):
            for account in list(self._accounts.values()):
                await account.broker.on_price(symbol, price)


def _keep_newer(tx: Tx, mark: Mark) -> bool:
    known = tx.ledger.marks.get(mark.symbol)
    if known is not None and known.at > mark.at:
        return False
    tx.put(tx.ledger.marks, mark.symbol, mark)
    return True
