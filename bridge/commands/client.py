"""How a command reaches its bridge: the running one over its socket, else one of our own on the same store; one API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bridge.commands.running import Running, find_running
from bridge.core.clock import Clock, SystemClock
from bridge.core.enums import TradingMode
from bridge.core.errors import BridgeError
from bridge.core.scope import GLOBAL
from bridge.log import configure
from bridge.settings import Settings
from bridge.store.backend import Backend
from bridge.vault import api_token

if TYPE_CHECKING:  # the whole bridge and its tables: a halt of a running one goes without
    from bridge.bootstrap import Bridge
    from bridge.store.reads import Reads

API = "/api/v1"
# A reconcile asks brokers; while one hangs, a read ends after 15 s, and some come one after the other.
TIMEOUT_S = 60.0
# Another command holds the data folder for less than this, and a bridge that starts tells its address in less.
PATIENCE_S = 5.0
POLL_S = 0.1


class CommandError(BridgeError):
    """A command that could not be carried out; the message says why, and the mend."""


class Client:
    """The API of one bridge; `where` says which, for a person."""

    def __init__(self, http: httpx.AsyncClient, where: str):
        self._http = http
        self.where = where

    async def get(self, path: str) -> Any:
        """What a GET of the API answers."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: dict[str, object] | None = None) -> Any:
        """What a POST of the API answers."""
        return await self._ask("POST", path, body or {})

    async def delete(self, path: str) -> Any:
        """What a DELETE of the API answers."""
        return await self._ask("DELETE", path, None)

    async def _ask(self, method: str, path: str, body: dict[str, object] | None) -> Any:
        try:
            answer = await self._http.request(method, API + path, json=body)
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise CommandError(f"the bridge {self.where} gave no answer: {type(error).__name__} {error}".rstrip()) from None
        if answer.is_success:
            return told
        raise CommandError(
            " ".join(told[part] for part in ("message", "hint") if told.get(part)) or f"HTTP {answer.status_code}"
        )


@asynccontextmanager
async def reach(settings: Settings, *, trading: bool = False) -> AsyncIterator[Client]:
    """The bridge that holds the data folder, or one of our own for as long as the context lasts.

    One of our own opens no socket. It only opens the store; with `trading` it also works its lanes, but lets no entry out: what
    waits to be sent waits on.
    """
    configure(as_json=False)
    running = await _find_ready(settings.data_dir)
    if running is not None and running.url is not None:
        headers = {"authorization": f"Bearer {api_token(settings)}"}
        # Not the environment's proxy: it is a program of this machine that we talk to.
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:
            yield Client(http, str(running))
        return
    from bridge.app import build_app
    from bridge.bootstrap import Bridge

    bridge = Bridge(settings)
    async with _started(bridge) if trading else _opened(bridge):
        headers = {"authorization": f"Bearer {bridge.api_token}"}
        transport = httpx.ASGITransport(app=build_app(bridge))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
            yield Client(http, "of this command")


@asynccontextmanager
async def _opened(bridge: "Bridge") -> AsyncIterator[None]:
    """The store alone: enough for tokens and halts, and nothing leaves."""
    await _take_turn(bridge)
    try:
        await asyncio.to_thread(bridge.store.open)
        bridge.store.writer.bind(asyncio.get_running_loop())
        try:
            yield
        finally:
            await bridge.store.close()
    finally:
        bridge.lock.release()


@asynccontextmanager
async def _started(bridge: "Bridge") -> AsyncIterator[None]:
    bridge.gate.close(GLOBAL, TradingMode.REDUCING, bridge.clock.now())
    await _take_turn(bridge)
    bridge.lock.release()  # `start` takes it itself
    await bridge.start()
    try:
        yield
    finally:
        await bridge.stop()


async def _take_turn(bridge: "Bridge") -> None:
    """Hold the data folder, once another command that was faster has done its work."""
    until = bridge.clock.monotonic() + PATIENCE_S
    while not bridge.lock.acquire():
        if bridge.clock.monotonic() >= until:
            raise CommandError(f"another process works on {bridge.settings.data_dir}; try again")
        await asyncio.sleep(POLL_S)


async def _find_ready(data_dir: Path) -> Running | None:
    """Who holds the folder, once that one has told its address or has let go of it."""
    clock: Clock = SystemClock()
    until = clock.monotonic() + PATIENCE_S
    while (running := find_running(data_dir)) is not None and running.url is None:
        if clock.monotonic() >= until:
            raise CommandError(f"process {running.pid} holds {data_dir} and does not say where it listens; try again")
        await asyncio.sleep(POLL_S)
    return running


def open_reads(settings: Settings) -> "Reads":
    """Read-only eyes on the store, also while a bridge runs; CommandError when there is nothing to read."""
    from bridge.store.migrate import HEAD, current_revision
    from bridge.store.reads import Reads

    file = database_file(settings)
    if file is not None and not file.is_file():
        raise CommandError(f"there is no database at {file} yet; `bridge serve` makes it")
    backend = Backend(settings.database.url)
    revision = current_revision(backend)
    if revision != HEAD:
        raise CommandError(f"the database is at revision {revision}, not {HEAD}; `bridge serve` brings an older one up to date")
    return Reads(backend.engine)


def database_file(settings: Settings) -> Path | None:
    """The file of a SQLite database; None for a server. Asked before a Backend is made, which makes the folder."""
    scheme, _, rest = settings.database.url.partition(":///")
    return Path(rest.partition("?")[0]) if scheme == "sqlite" else None
