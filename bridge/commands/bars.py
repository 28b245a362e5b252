"""`bridge bars import · fetch · make · list · doctor · drop`: the history that scans and replays look at."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from bridge.commands.client import CommandError
from bridge.commands.history import open_history
from bridge.commands.progress import Progress
from bridge.core.bar import Interval
from bridge.core.clock import IST, Clock, SystemClock
from bridge.core.instrument import Instrument
from bridge.market.bars.csv_file import read_csv
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.fetch import Backfill
from bridge.market.bars.store import BarStore, Holding
from bridge.market.bars.synthetic import Plan, make_parts, weekdays
from bridge.market.bars.universes import open_universes
from bridge.market.calendar import load_calendar
from bridge.market.instruments import Catalog
from bridge.market.listing import Listing
from bridge.market.lists import open_newest
from bridge.market.symbols import check_symbol
from bridge.settings import Settings, load_settings

SHOWN_FAULTS = 20


def import_files(arguments: argparse.Namespace) -> int:
    """Store the bars of CSV files, each file whole or not at all."""
    store, clock = _store(load_settings()), SystemClock()
    interval = Interval(arguments.interval)
    symbol = _check_symbol(arguments.symbol) if arguments.symbol else None
    for name in arguments.files:
        parts = read_csv(Path(name), interval, now=clock.now(), symbol=symbol)
        count = store.merge(interval, parts)
        print(f"{name}: {count} bars of {len(parts)} symbol{'s' if len(parts) != 1 else ''}")
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Ask a broker for what is missing; 0 only when every symbol has its bars."""
    return asyncio.run(_fetch(arguments))


async def _fetch(arguments: argparse.Namespace) -> int:
    settings, clock = load_settings(), SystemClock()
    interval, (begin, end) = Interval(arguments.interval), read_span(arguments, clock)
    instruments = _resolve(settings, clock, _symbols(arguments))
    store = _store(settings)
    if arguments.again:
        store.drop(interval, [instrument.symbol for instrument in instruments])
    history = open_history(settings, arguments.account, clock)
    progress = Progress(sys.stderr, clock)
    backfill = Backfill(
        store=store, history=history, calendar=load_calendar(settings.calendar), clock=clock, tell=progress.tell
    )
    try:
        requests = backfill.plan(instruments, interval, begin, end)
        if not requests:
            print(f"Nothing is missing: the {interval} bars from {begin} to {end} are there.")
            return 0
        seconds = round(len(requests) * history.gap_s)
        print(f"{len(requests)} requests, at least {seconds} s within the broker's limits.", file=sys.stderr)
        fetched = await backfill.run(interval, requests)
    finally:
        history.close()
    print(f"{fetched.bars} bars of {len(instruments) - len(fetched.failed)} symbols are stored.")
    for symbol in list(fetched.failed)[:SHOWN_FAULTS]:
        print(f"  {symbol}: {fetched.failed[symbol]}")
    if fetched.failed and not arguments.some:
        raise CommandError(f"{len(fetched.failed)} of {len(instruments)} symbols have no bars")
    return 0


def make(arguments: argparse.Namespace) -> int:
    """Make a market up, for a replay or a demo without data."""
    clock = SystemClock()
    begin, end = read_span(arguments, clock)
    symbols = tuple(_symbols(arguments, needed=False)) or tuple(f"NSE:MADE{number:03}" for number in range(arguments.count))
    settings = load_settings()
    calendar = load_calendar(settings.calendar)
    days = tuple(day for day in weekdays(begin, end) if calendar.is_trading_day(day) or not calendar.knows(day))
    plan = Plan(seed=arguments.seed, symbols=symbols, days=days)
    if not plan.days:
        raise CommandError(f"there is no trading day from {begin} to {end}")
    store, progress, count = _store(settings), Progress(sys.stderr, clock), 0
    for number, part in enumerate(make_parts(plan)):
        progress.tell(number, len(symbols), part.symbol)
        count += store.merge(Interval.MINUTE, [part])
    progress.tell(len(symbols), len(symbols))
    print(f"{count} made-up bars of {len(symbols)} symbols, seed {plan.seed}: not a price of them was ever traded.")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """List what is stored."""
    held = _store(load_settings()).holdings(Interval(arguments.interval) if arguments.interval else None)
    if not held:
        print("There are no bars yet: bridge bars import, fetch or make.")
    for one in held:
        print(_line(one))
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Examine what is stored; 0 only when every symbol can be trusted."""
    settings, clock = load_settings(), SystemClock()
    interval, (begin, end) = Interval(arguments.interval), read_span(arguments, clock)
    store = _store(settings)
    symbols = _symbols(arguments, needed=False) or [held.symbol for held in store.holdings(interval)]
    if not symbols:
        raise CommandError(f"there are no {interval} bars to examine")
    verdicts = Doctor(store, load_calendar(settings.calendar)).examine(interval, symbols, begin, end)
    for verdict in verdicts.values():
        if verdict.findings:
            print(f"{'✓' if verdict.is_trusted else '✗'} {verdict.symbol}: {verdict.reason}")
    sick = sum(not verdict.is_trusted for verdict in verdicts.values())
    print(f"{len(verdicts) - sick} of {len(verdicts)} symbols can be trusted, from {begin} to {end}.")
    if sick:
        raise CommandError(f"{sick} symbols cannot be trusted: no scan ranks them")
    return 0


def drop(arguments: argparse.Namespace) -> int:
    """Forget symbols, to fetch or import them anew."""
    interval, symbols = Interval(arguments.interval), _symbols(arguments)
    _store(load_settings()).drop(interval, symbols)
    print(f"The {interval} bars of {', '.join(symbols)} are forgotten.")
    return 0


def read_span(arguments: argparse.Namespace, clock: Clock) -> tuple[date, date]:
    """The days of --from and --to, both counted; a year up to today unless they say otherwise. CommandError."""
    try:
        end = date.fromisoformat(arguments.until) if arguments.until else clock.now().astimezone(IST).date()
        begin = date.fromisoformat(arguments.since) if arguments.since else end - timedelta(days=365)
    except ValueError as error:
        raise CommandError(f"{error}; write days like 2026-11-20") from None
    if begin > end:
        raise CommandError(f"{begin} is after {end}")
    return begin, end


def _line(held: Holding) -> str:
    span = f"{held.first} to {held.last}" if held.first else "no trade"
    return f"{held.interval:>4}  {held.symbol:<24} {held.bars:>9} bars  {held.days:>5} days known  {span}"


def _symbols(arguments: argparse.Namespace, *, needed: bool = True) -> list[str]:
    symbols = list(dict.fromkeys(map(_check_symbol, arguments.symbols)))
    if universe := getattr(arguments, "universe", None):
        settings, clock = load_settings(), SystemClock()
        today = clock.now().astimezone(IST).date()
        symbols += open_universes(settings, _listing(settings), clock).as_of(universe, today).symbols
    if needed and not symbols:
        raise CommandError("name the symbols with --symbol NSE:SBIN")
    return list(dict.fromkeys(symbols))


def _check_symbol(text: str) -> str:
    try:
        return check_symbol(text)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _resolve(settings: Settings, clock: Clock, symbols: Sequence[str]) -> list[Instrument]:
    catalog = Catalog(_listing(settings), lambda: clock.now().astimezone(IST).date())
    found = [catalog.resolve(symbol) for symbol in symbols]
    return list({instrument.symbol: instrument for instrument in found}.values())


def _listing(settings: Settings) -> Listing:
    return open_newest(settings.instruments_dir(), settings.instruments_file())


def _store(settings: Settings) -> BarStore:
    return BarStore(settings.bars_file())
