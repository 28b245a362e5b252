"""What serves an app on a socket of our own: uvicorn that tells when it is ready, and ends well when told to stop."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from bridge.commands.running import url_of
from bridge.core.errors import BridgeError, ConfigError
from bridge.log import log_event, log_fault
from bridge.store.backend import ProcessLock

BACKLOG = 2048
# Longer than TradingView's own idle time, so that it is never we who close a connection it is about to use.
KEEP_ALIVE_S = 75
# Answers under way get this long when the process is told to stop; what is on disk is safe either way.
GRACE_S = 10
# With everything long-lived frozen, collecting less often gained about a tenth of the throughput.
GC_THRESHOLD = 100_000


class PortTakenError(ConfigError):
    """Another program listens there."""


async def run_until_stopped(server: "Server") -> None:
    """Serve, and say where once requests are answered."""
    work = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait((work, ready), return_when=asyncio.FIRST_COMPLETED)
    if server.ready.is_set():
        print(f"serving {server.url}", flush=True)
    ready.cancel()
    await work


def open_socket(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens; ConfigError says why it cannot, and names the setting of the host.

    It listens from now on: whoever calls while the app still starts waits a second instead of being turned away.
    """
    try:
        # As bytes: a text would load the tables of international names for nothing.
        found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(f"{setting}: {host!r} is no address of this machine; 127.0.0.1 is the usual one") from None
    # `localhost` is often ::1 first, and then nobody who says 127.0.0.1 gets through.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"port {port} of {host} is in use by another program") from None
        if error.errno == errno.EACCES:
            message = f"port {port} needs rights that this user has not; use one above 1023 and a proxy in front"
            raise ConfigError(message) from None
        raise ConfigError(f"{setting}: {host} cannot be bound ({error.strerror})") from None
    return listening


class Server(uvicorn.Server):
    """uvicorn around one app. `lock` is left word in of where it listens; `close` ends what would hold up the end."""

    def __init__(
        self,
        app: Any,
        listening: socket.socket,
        lock: ProcessLock,
        close: Callable[[], None],
        http: type[asyncio.Protocol] | str = "httptools",
    ):
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=http,
                ws="none",
                interface="asgi3",
                lifespan="off",  # AppLife does it: uvicorn would log a traceback and exit with 3
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # intake/addresses believes nobody but the proxies of the settings
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                backlog=BACKLOG,
            )
        )
        self._listening = listening
        self._lock = lock
        self._close = close
        self._life = AppLife(app)
        self.ready = asyncio.Event()
        host, port = listening.getsockname()[:2]
        self._where = {"pid": os.getpid(), "host": host, "port": port}
        self.url = url_of(host, port)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`; errors of the start are raised as they are."""
        await super().serve(sockets or [self._listening])

    def stop(self) -> None:
        """End streams, answer what is under way, lay the work down; a second time: at once."""
        self._close()
        self.handle_exit(signal.SIGINT, None)

    def stop_by_signal(self) -> None:
        """What SIGTERM and SIGINT do."""
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then the listener."""
        await self._life.start()
        try:
            await super().startup(sockets)
        except BaseException:
            await self._life.stop()
            raise
        self._lock.write(dict(self._where))
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the listener, then the app."""
        await super().shutdown(sockets)
        await self._life.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal stops the server and is done with; uvicorn's own would raise it again at the end, and the exit not be 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop_by_signal)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


class AppLife:
    """The app's lifespan; what goes wrong in it is raised here as it is."""

    def __init__(self, app: Any):
        self._app = app
        self._inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._is_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the app is up."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.create_task(self._app(scope, self._inbox.get, self._hear))
        await self._inbox.put({"type": "lifespan.startup"})
        is_up = asyncio.create_task(self._is_up.wait())
        await asyncio.wait((self._task, is_up), return_when=asyncio.FIRST_COMPLETED)
        is_up.cancel()
        if self._task.done():
            await self._task
            raise BridgeError("the app ended before it had started")

    async def stop(self) -> None:
        """Return once the app is down."""
        if self._task is not None:
            await self._inbox.put({"type": "lifespan.shutdown"})
            await self._task

    async def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._is_up.set()


class _ToOurLog(logging.Handler):
    """What libraries warn of, as an event of ours; an exception by kind and place, since its text may quote a body."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            log_fault(record.name, error)
        else:
            log_event("library", name=record.name, level=record.levelname.lower(), message=record.getMessage())


def forward_logs() -> None:
    """Let nothing but our own log write to standard error."""
    root = logging.getLogger()
    root.handlers = [_ToOurLog(level=logging.WARNING)]
    root.setLevel(logging.WARNING)
