"""`bridge serve`: the bridge behind uvicorn, on a socket of our own; the demo serves with the same parts."""

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop

from bridge.app import build_app
from bridge.bootstrap import Bridge
from bridge.commands.running import find_running, url_of
from bridge.core.errors import BridgeError, ConfigError
from bridge.log import configure, log_event, log_fault
from bridge.settings import Settings, load_settings
from bridge.web.auth import needs_password

BACKLOG = 2048
# Longer than TradingView's own idle time, so that it is never we who close a connection it is about to use.
KEEP_ALIVE_S = 75
# Answers under way get this long when the bridge is told to stop; what is on disk is safe either way.
GRACE_S = 10
PASSWORD_MEND = "run `bridge operator password` first, or bind 127.0.0.1 and put a proxy in front"  # noqa: S105


def serve(arguments: argparse.Namespace) -> int:
    """Run the bridge until SIGTERM or SIGINT."""
    configure(as_json=not sys.stderr.isatty())
    forward_logs()
    named = {name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None}
    settings = load_settings(**({"server": named} if named else {}))
    if needs_password(settings):
        raise ConfigError(f"others can reach {settings.server.host}, and no operator password is set: {PASSWORD_MEND}")
    settings, listening = listen(settings)
    server = BridgeServer(Bridge(settings), listening)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(server))
    return 0


async def _serve(server: "BridgeServer") -> None:
    work = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait((work, ready), return_when=asyncio.FIRST_COMPLETED)
    if server.ready.is_set():
        print(f"serving {server.url}", flush=True)
    ready.cancel()
    await work
    log_event("bridge_stopped")


def listen(settings: Settings) -> tuple[Settings, socket.socket]:
    """The settings with the port that was taken, and the socket that listens on it; ConfigError says why it cannot.

    It listens from now on: whoever calls while the bridge still starts waits a second instead of being turned away.
    """
    host, port = settings.server.host, settings.server.port
    try:
        # As bytes: a text would load the tables of international names for nothing.
        found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(f"server.host: {host!r} is no address of this machine; 127.0.0.1 is the usual one") from None
    # `localhost` is often ::1 first, and then nobody who says 127.0.0.1 gets through.
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] is not socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(_why_not(settings, error)) from None
    taken: int = listening.getsockname()[1]
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": taken})}), listening


def _why_not(settings: Settings, error: OSError) -> str:
    host, port = settings.server.host, settings.server.port
    if error.errno == errno.EADDRINUSE:
        running = find_running(settings.data_dir)
        if running is not None:
            return f"a bridge is running on {settings.data_dir} already: {running}"
        return f"port {port} of {host} is in use by another program; name another with --port or server.port (0: any free one)"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this user has not; use one above 1023 and a proxy in front"
    return f"server.host: {host} cannot be bound ({error.strerror})"


class BridgeServer(uvicorn.Server):
    """uvicorn around one bridge: tells when it is ready, and ends well when told to stop."""

    def __init__(self, bridge: Bridge, listening: socket.socket):
        app = build_app(bridge)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
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
        self._bridge = bridge
        self._listening = listening
        self._life = AppLife(app)
        self.ready = asyncio.Event()
        host, port = listening.getsockname()[:2]
        self._where = {"pid": os.getpid(), "host": host, "port": port}
        self.url = url_of(host, port)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`; errors of the start are raised as they are."""
        await super().serve(sockets or [self._listening])

    def stop(self) -> None:
        """Take nothing new from now on, and end when what is under way is done; a second time: wait for nothing."""
        if self.should_exit:
            self._bridge.hurry()
            self.force_exit = True
        self._bridge.begin_stop()
        self.should_exit = True

    def _stop_by_signal(self) -> None:
        log_event("bridge_stopping", at_once=self.should_exit)
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the bridge, then the listener."""
        await self._life.start()
        try:
            await super().startup(sockets)
        except BaseException:
            await self._life.stop()
            raise
        self._bridge.lock.write(dict(self._where))
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is at brokers, answering 503 meanwhile; then end streams and the listener, then the bridge."""
        await self._bridge.drain()
        self._bridge.hub.close()
        await super().shutdown(sockets)
        await self._life.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal stops the server and is done with; uvicorn's own would raise it again at the end, and the exit not be 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop_by_signal)
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
