"""`bridge replay`: definitions over recorded bars, on a clock of their own and a paper account of their own."""

import argparse
import sys
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.commands.client import CommandError
from bridge.commands.progress import Progress
from bridge.core.bar import Interval
from bridge.core.clock import IST, SystemClock
from bridge.core.enums import Product
from bridge.market.bars.csv_file import read_csv
from bridge.market.bars.store import BarStore
from bridge.market.bars.universes import open_universes
from bridge.market.listing import Listing
from bridge.market.lists import open_newest
from bridge.replay.history import History
from bridge.replay.run import Outcome, Plan, replay_bars
from bridge.scanner.definition import Definition, read_definition
from bridge.scanner.files import read_text
from bridge.settings import Settings, load_settings, resource_dir

FOLDER = Path("config/scans")
OUT = Path("replay")


def replay(arguments: argparse.Namespace) -> int:
    """Replay, write journal and report, and tell the figures."""
    settings = load_settings()
    with TemporaryDirectory(prefix="bridge-bars-") as folder:
        history = _history(settings, arguments, Path(folder))
        definitions = tuple(_read_definition(name, settings) for name in arguments.definitions)
        listing = open_newest(settings.instruments_dir(), settings.instruments_file())
        plan = _plan(settings, arguments, definitions, history, listing)
        outcome = replay_bars(settings, plan, history, listing, _teller(plan))
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "journal.jsonl").write_text("".join(f"{line}\n" for line in outcome.journal), encoding="utf-8")
    _tell(outcome, out)
    return 1 if outcome.faults else 0


def _teller(plan: Plan) -> Callable[[date], None]:
    progress, total = Progress(sys.stderr, SystemClock()), (plan.end - plan.begin).days + 1

    def tell(day: date) -> None:
        progress.tell((day - plan.begin).days + 1, total, f"{day}")

    return tell


def _history(settings: Settings, arguments: argparse.Namespace, folder: Path) -> History:
    if not arguments.csvs:
        return History(BarStore(settings.bars_file()))
    store, interval = BarStore(folder / "bars.db"), Interval(arguments.interval or "1d")
    for name in arguments.csvs:
        store.merge(interval, read_csv(Path(name), interval, now=SystemClock().now(), symbol=None))
    return History(store)


def _read_definition(name: str, settings: Settings) -> Definition:
    path = Path(name)
    if not path.suffix:
        path = next(
            (p for p in (FOLDER / f"{name}.yaml", resource_dir("config") / "scans" / f"{name}.yaml") if p.is_file()), path
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} is no definition's file, nor the name of one in {FOLDER}: {error}") from None
    definition = read_definition(read_text(text))
    if definition.strategy not in settings.strategies:
        known = ", ".join(sorted(settings.strategies))
        raise CommandError(f"{name}: the settings have no strategy {definition.strategy}; they have {known}")
    return definition


def _plan(
    settings: Settings, arguments: argparse.Namespace, definitions: tuple[Definition, ...], history: History, listing: Listing
) -> Plan:
    symbols: dict[str, tuple[str, ...]] = {}
    end = _day(arguments.until) or SystemClock().now().astimezone(IST).date()
    for one in definitions:
        symbols[one.name] = one.symbols or open_universes(settings, listing, SystemClock()).as_of(one.universe, end).symbols
    spans = [span for one in definitions if (span := history.span(one.interval, symbols[one.name]))]
    begin = _day(arguments.since)
    if spans:
        end = min(end, max(span[1] for span in spans))
        begin = begin or max(min(span[0] for span in spans), end - timedelta(days=365))
    return Plan(
        definitions=definitions, symbols=symbols, begin=begin or end, end=end, cash=_number(arguments.cash, "--cash"),
        slippage_bps=_number(arguments.slippage_bps, "--slippage-bps"),
        product=Product(arguments.product) if arguments.product else None, no_limits=arguments.no_limits,
    )  # fmt: skip


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise CommandError(f"{error}; write days like 2026-11-20") from None


def _number(text: str, name: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or number < 0:
        raise CommandError(f"{name}: a number of zero or more is wanted, not {text!r}")
    return number


def _tell(outcome: Outcome, out: Path) -> None:
    endings: dict[str, int] = {}
    for alert in outcome.alerts:
        endings[f"{alert.disposition} {alert.code}"] = endings.get(f"{alert.disposition} {alert.code}", 0) + 1
    print(f"{outcome.bars} bars, {len(outcome.raised)} signals, {len(outcome.fills)} fills, {len(outcome.trades)} trades")
    for told, number in sorted(endings.items(), key=lambda item: -item[1]):
        print(f"  {number:>6}  {told}")
    if outcome.days:
        print(f"equity {outcome.days[-1].equity:,.2f} from {outcome.plan.cash:,.2f}; written to {out}")
    for fault in outcome.faults[:5]:
        print(f"fault: {fault}")
