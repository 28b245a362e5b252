"""What serves a sandbox: the protocol that takes WebSockets and can hang up, and a server in a thread of its own for tests."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.sandbox.kite.answers import DROP
from bridge.sandbox.kite.app import build_kite
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.stream import Stream
from bridge.sandbox.kite.websocket import Connection

T = TypeVar("T")
START_LIMIT_S = 10.0


def make_protocol(stream: Stream) -> type[asyncio.Protocol]:
    """uvicorn's own protocol, whose WebSockets are the stream's and whose connections an answer may close."""

    class KiteProtocol(HttpToolsProtocol):
        def __init__(self, *words: Any, **named: Any) -> None:
            super().__init__(*words, **named)
            self.ws_protocol_class = self._make_connection  # type: ignore[assignment]

        def _make_connection(self, **_named: Any) -> Connection:
            return Connection(stream, cast("set[Connection]", self.connections))

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {DROP: self.transport.abort}  # type: ignore[dict-item]

    return KiteProtocol


class KiteServer:
    """A sandbox served on a port of its own, in a thread: `with KiteServer(box) as kite: KiteConnect(…, root=kite.root)`.

    The sandbox outlives the server: `stop` and `start` again and the book is as it was, on the same port. From other
    threads ask it through `do`, which runs in the server's own.
    """

    def __init__(self, box: KiteSandbox, port: int = 0) -> None:
        self.box = box
        self.port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None

    @property
    def root(self) -> str:
        """What `KiteConnect(root=…)` wants."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_root(self) -> str:
        """What `KiteTicker(root=…)` wants."""
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> "KiteServer":
        """Return once requests are answered."""
        # Named as TCP, or asyncio does not switch Nagle's algorithm off, and every answer takes forty milliseconds.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()
        self.port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening, ready), name="kite-sandbox", daemon=True)
        self._thread.start()
        if not ready.wait(START_LIMIT_S):
            raise TimeoutError("the sandbox did not start")
        return self

    def _run(self, listening: socket.socket, ready: threading.Event) -> None:
        config = uvicorn.Config(
            build_kite(self.box), http=make_protocol(self.box.stream), ws="none", lifespan="on", loop="asyncio",
            log_config=None, access_log=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = _ThreadServer(config, ready)
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._server.serve([listening]))

    def stop(self) -> None:
        """End the server; the sandbox stays."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = False
            self._thread.join(START_LIMIT_S)
            self._thread = self._loop = self._server = None

    def do(self, what: Callable[[KiteSandbox], T]) -> T:
        """Call in the server's thread, where nothing else happens meanwhile; what it raises is raised here."""
        if self._loop is None:
            return what(self.box)

        async def run() -> T:
            return what(self.box)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_LIMIT_S)

    def __enter__(self) -> "KiteServer":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _ThreadServer(uvicorn.Server):
    """uvicorn that says when it is ready, and leaves signals to the main thread."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    @contextmanager
    def capture_signals(self) -> Any:
        yield
