"""`bridge venue`: the paper book as a broker of its own, behind HTTP; to rehearse with, and to break on purpose."""

import argparse
import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.brokers.paper.values import PaperPolicy
from bridge.commands.server import PortTakenError, Server, forward_logs, open_socket, run_until_stopped
from bridge.core.clock import IST, SystemClock
from bridge.core.errors import ConfigError
from bridge.core.money import parse_decimal
from bridge.log import configure
from bridge.market.instruments import Catalog
from bridge.market.lists import open_newest
from bridge.settings import VENUE_TOKEN_VARIABLE, Settings, is_loopback, load_settings
from bridge.venue.app import DROP, build_venue
from bridge.venue.office import Office

MIN_TOKEN_CHARS = 16


def venue(arguments: argparse.Namespace) -> int:
    """Run the venue until SIGTERM or SIGINT."""
    configure(as_json=not sys.stderr.isatty())
    forward_logs()
    settings, token = load_settings(), os.environ.get(VENUE_TOKEN_VARIABLE) or None
    check_reach(arguments.host, token)
    folder = make_folder(arguments.data, settings)
    office = make_office(folder, arguments, settings)
    try:
        listening = open_socket(arguments.host, arguments.port, "--host")
    except PortTakenError as error:
        raise ConfigError(f"{error}; name another with --port (0: any free one)") from None
    server = Server(build_venue(office, token), listening, office.lock, office.close, VenueProtocol)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_until_stopped(server))
    return 0


class VenueProtocol(HttpToolsProtocol):
    """HTTP whose connections the app may close without an answer."""

    def on_message_begin(self) -> None:
        """Put the way to do so into the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {DROP: self.transport.abort}  # type: ignore[dict-item]


def check_reach(host: str, token: str | None) -> None:
    """Whoever reaches the venue trades there: without a token only this machine may."""
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(f"{VENUE_TOKEN_VARIABLE}: at least {MIN_TOKEN_CHARS} characters, please")
    if token is None and not is_loopback(host):
        raise ConfigError(f"others can reach {host}; set {VENUE_TOKEN_VARIABLE}, or bind 127.0.0.1")


def make_folder(named: str | None, settings: Settings, usual: str = "venue") -> Path:
    """The venue's data folder: the one that was named, else the usual one in `data_dir`; both for us alone."""
    folder = settings.data_dir / usual if named is None else Path(named)
    if named is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def make_office(folder: Path, arguments: argparse.Namespace, settings: Settings) -> Office:
    """The venue as the command line wants it; ConfigError names the option that is wrong."""
    clock = SystemClock()
    return Office(
        folder,
        catalog=Catalog(
            open_newest(settings.instruments_dir(), settings.instruments_file()), lambda: clock.now().astimezone(IST).date()
        ),
        cash=read_amount("--cash", arguments.cash),
        policy=PaperPolicy(slippage_bps=read_amount("--slippage-bps", arguments.slippage_bps), charges=arguments.charges),
        clock=clock,
    )


def read_amount(option: str, text: str) -> Decimal:
    """A number of zero or more."""
    try:
        amount = parse_decimal(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text[:40]!r} {error}") from None
    if amount < 0:
        raise ConfigError(f"{option}: {text[:40]!r} is below zero")
    return amount
