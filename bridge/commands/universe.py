"""`bridge universe show · record`: the shares that scans look at."""

import argparse
from datetime import date

from bridge.commands.client import CommandError
from bridge.core.clock import IST, SystemClock
from bridge.market.bars.universes import open_universes
from bridge.market.lists import open_newest
from bridge.market.universe import Universes
from bridge.settings import load_settings


def show(arguments: argparse.Namespace) -> int:
    """Tell who belongs to it on a day, how that is known, and who is left out."""
    universes = _open()
    try:
        day = date.fromisoformat(arguments.as_of) if arguments.as_of else SystemClock().now().astimezone(IST).date()
    except ValueError as error:
        raise CommandError(f"{error}; write the day like 2026-11-20") from None
    members = universes.as_of(arguments.name, day)
    for symbol in members.symbols:
        print(symbol)
    for symbol, why in members.left_out.items():
        print(f"- {symbol}: {why}")
    told = f"{len(members.symbols)} members, {len(members.left_out)} left out"
    print(f"{members.universe} on {day}: {told}; point in time: {members.point_in_time} ({members.source})")
    return 0


def record(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command gets its words
    """Write every universe down; 0 only when all could be read."""
    universes = _open()
    if not universes.names:
        raise CommandError("the settings name no universes")
    for name in universes.names:
        print(f"{name}: {len(universes.record(name).symbols)} members")
    return 0


def _open() -> Universes:
    settings = load_settings()
    return open_universes(settings, open_newest(settings.instruments_dir(), settings.instruments_file()), SystemClock())
