"""`bridge venue --kite`: a stand-in for Zerodha that speaks Kite Connect v3, on this machine only."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bridge.commands.server import PortTakenError, Server, forward_logs, open_socket, run_until_stopped
from bridge.commands.venue import make_folder, read_amount
from bridge.core.errors import ConfigError
from bridge.log import configure
from bridge.sandbox.kite.app import build_kite
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.server import make_protocol
from bridge.settings import Settings, is_loopback, load_settings
from bridge.store.backend import ProcessLock

FOLDER, JOURNAL = "kite-venue", "kite.jsonl"


def kite_venue(arguments: argparse.Namespace) -> int:
    """Run the stand-in until SIGTERM or SIGINT."""
    configure(as_json=not sys.stderr.isatty())
    forward_logs()
    if not is_loopback(arguments.host):
        raise ConfigError(f"--kite lets anybody log in, so it is for this machine only; bind 127.0.0.1, not {arguments.host}")
    settings = load_settings()
    folder = make_folder(arguments.data, settings, FOLDER)
    lock = ProcessLock(folder, "venue.lock")
    with hold(lock, folder), Journal(folder / JOURNAL) as journal:
        box = make_sandbox(arguments, settings, journal)
        try:
            listening = open_socket(arguments.host, arguments.port, "--host")
        except PortTakenError as error:
            raise ConfigError(f"{error}; name another with --port (0: any free one)") from None
        server = Server(build_kite(box), listening, lock, box.stream.close_all, make_protocol(box.stream))
        print(describe(box, server.url), flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_until_stopped(server))
    return 0


@contextlib.contextmanager
def hold(lock: ProcessLock, folder: Path) -> Iterator[None]:
    """Keep others off the folder."""
    if not lock.acquire():
        raise ConfigError(f"another venue is running on {folder} (see {folder}/venue.lock)")
    try:
        yield
    finally:
        lock.release()


def make_sandbox(arguments: argparse.Namespace, settings: Settings, journal: Journal) -> KiteSandbox:
    """The sandbox as the command line wants it; ConfigError names what is wrong."""
    urls = {"redirect_url": arguments.redirect, "postback_url": arguments.postback}
    cash, file = read_amount("--cash", arguments.cash), settings.instruments_file()
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return KiteSandbox(lines, journal=journal, cash=cash, **urls)
    except OSError as error:
        raise ConfigError(f"instruments: {file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"--kite: {error}") from None


def describe(box: KiteSandbox, url: str) -> str:
    """What the user needs to connect to it."""
    key, stream = box.sessions.api_key, "ws" + url.removeprefix("http")
    lines = (
        "A sandbox that speaks Kite Connect v3. Nothing here reaches an exchange.",
        f"  root         {url}",
        f"  stream root  {stream}",
        f"  api_key      {key}",
        f"  api_secret   {box.sessions.api_secret}",
        f"  log in at    {url}/connect/login?v=3&api_key={key}",
    )
    return "\n".join(lines)
