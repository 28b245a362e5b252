"""A real bridge behind a real uvicorn in a thread of this process, to be asked over a socket or straight through ASGI."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import uvicorn
from starlette.types import ASGIApp

from bridge.app import build_app
from bridge.bootstrap import Bridge
from bridge.core.clock import Clock, iso
from bridge.settings import Settings, load_settings
from bridge.store.tx import Tx
from tests.support.clocks import RunningClock

T = TypeVar("T")
WAIT_S = 30.0
LOOPBACK = "http://127.0.0.1:8000"


def make_settings(folder: Path, **values: Any) -> Settings:
    """Two paper accounts and two strategies in a folder of its own; `values` replace branches of the tree."""
    given: dict[str, Any] = {
        "data_dir": folder,
        "database": {"url": f"sqlite:///{folder / 'bridge.db'}"},
        "server": {"port": 0},
        "accounts": {
            "paper": {"broker": "paper", "session": "always"},
            "family": {"broker": "paper", "session": "always", "cash": "250000"},
        },
        "strategies": {"demo": {"accounts": ["paper"]}, "breakout": {"accounts": ["paper", "family"], "quantity": "5"}},
    }
    return load_settings(**{**given, **values})


class WebBox:
    """One running bridge. `ask` goes straight through the app, from whatever address; `url` is where it listens."""

    def __init__(self, settings: Settings, clock: Clock | None = None, make: type[Bridge] = Bridge) -> None:
        self.clock = clock or RunningClock()
        self.bridge = make(settings, self.clock)
        self.token = self.bridge.api_token
        self.app: ASGIApp = build_app(self.bridge)
        config = uvicorn.Config(self.app, port=0, access_log=False, log_level="critical", proxy_headers=False)
        self.server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ids = 0

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.server.serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __enter__(self) -> "WebBox":
        self._thread.start()
        done = threading.Event()
        for _ in range(int(WAIT_S / 0.02)):
            if self.server.started or not self._thread.is_alive():
                break
            done.wait(0.02)
        assert self.server.started, "the server did not start"
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """As `bridge serve` does when it is told to stop."""
        self.bridge.hub.close()
        self.server.should_exit = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the server did not stop"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in the bridge's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def write(self, command: Callable[[Tx], T]) -> T:
        """Run a command of the store, as the bridge's own parts do."""

        async def go() -> T:
            return await self.bridge.store.write(command)

        return self.run(go())

    def ask(
        self, method: str, path: str, *, peer: str = "127.0.0.1", base: str = LOOPBACK, cookies: Any = None, **values: Any
    ) -> httpx.Response:
        """One request through the app, without a socket."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(peer, 40_000))
            async with httpx.AsyncClient(transport=transport, base_url=base, cookies=cookies) as client:
                return await client.request(method, path, **values)

        return self.run(go())

    def api(self, method: str, path: str, **values: Any) -> httpx.Response:
        """One request of the API, with the token."""
        return self.ask(method, f"/api/v1{path}", headers={"authorization": f"Bearer {self.token}"}, **values)

    def mint(self, **claims: Any) -> str:
        """A capability token."""
        answer = self.api("POST", "/tokens", json={"strategy": "demo", **claims})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def alert(self, token: str, **fields: Any) -> httpx.Response:
        """Post an alert of now, with an id of its own."""
        self._ids += 1
        body = {
            "token": token, "strategy": "demo", "symbol": "NSE:SBIN", "action": "buy", "quantity": "10", "price": "812.5",
            "id": f"box-{self._ids}", "time": iso(self.clock.now() - timedelta(seconds=1)), **fields,
        }  # fmt: skip
        return self.ask("POST", "/webhook/tradingview", json={k: v for k, v in body.items() if v is not None})
