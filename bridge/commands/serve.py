"""`bridge serve`: the bridge behind uvicorn, on a socket of our own; the demo serves with the same parts."""

import argparse
import asyncio
import socket
import sys

import uvloop

from bridge.app import build_app
from bridge.bootstrap import Bridge
from bridge.commands.running import find_running
from bridge.commands.server import PortTakenError, Server, forward_logs, open_socket, run_until_stopped
from bridge.core.errors import ConfigError
from bridge.log import configure, log_event
from bridge.settings import Settings, load_settings
from bridge.web.auth import needs_password

PASSWORD_MEND = "run `bridge operator password` first, or bind 127.0.0.1 and put a proxy in front"  # noqa: S105


def serve(arguments: argparse.Namespace) -> int:
    """Run the bridge until SIGTERM or SIGINT."""
    configure(as_json=not sys.stderr.isatty())
    forward_logs()
    named = {name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None}
    settings = load_settings(**({"server": named} if named else {}))
    settings.require_secrets()
    if needs_password(settings):
        raise ConfigError(f"others can reach {settings.server.host}, and no operator password is set: {PASSWORD_MEND}")
    settings, listening = listen(settings)
    server = BridgeServer(Bridge(settings), listening)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_stopped(server))
    log_event("bridge_stopped")
    return 0


def listen(settings: Settings) -> tuple[Settings, socket.socket]:
    """The settings with the port that was taken, and the socket that listens on it; ConfigError says why it cannot."""
    try:
        listening = open_socket(settings.server.host, settings.server.port, "server.host")
    except PortTakenError as error:
        running = find_running(settings.data_dir)
        if running is not None:
            raise ConfigError(f"a bridge is running on {settings.data_dir} already: {running}") from None
        raise ConfigError(f"{error}; name another with --port or server.port (0: any free one)") from None
    taken: int = listening.getsockname()[1]
    return settings.model_copy(update={"server": settings.server.model_copy(update={"port": taken})}), listening


class BridgeServer(Server):
    """The server of one bridge."""

    def __init__(self, bridge: Bridge, listening: socket.socket):
        super().__init__(build_app(bridge), listening, bridge.lock, bridge.hub.close)
        self._bridge = bridge

    def stop(self) -> None:
        """Take nothing new from now on, and end when what is under way is done; a second time: wait for nothing."""
        if self.should_exit:
            self._bridge.hurry()
            self.force_exit = True
        self._bridge.begin_stop()
        self.should_exit = True

    def stop_by_signal(self) -> None:
        """The same, and a word in the log."""
        log_event("bridge_stopping", at_once=self.should_exit)
        self.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is at brokers, answering 503 meanwhile; then end streams and the listener, then the bridge."""
        await self._bridge.drain()
        self._bridge.hub.close()
        await super().shutdown(sockets)
