"""`bridge replay`: definitions over recorded bars, on a clock of their own and a paper account of their own."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bridge.brokers.charges import charges_for
from bridge.commands.client import CommandError
from bridge.commands.progress import Progress
from bridge.core.bar import Interval
from bridge.core.clock import IST, SystemClock
from bridge.core.enums import Product, Side
from bridge.core.money import ZERO
from bridge.market.bars.csv_file import read_csv
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.store import BarStore
from bridge.market.bars.universes import open_universes
from bridge.market.calendar import load_calendar
from bridge.market.listing import Listing
from bridge.market.lists import open_newest
from bridge.market.universe import Universes
from bridge.replay.alerts import read_recorded, replay_alerts
from bridge.replay.benchmarks import Benchmark, hold, quotes
from bridge.replay.bridge import plain_share
from bridge.replay.demo import BEGIN, END, demo_definitions, demo_settings, make_bars
from bridge.replay.doubts import Examined, doubt_rows, doubt_stamps, examine, untrusted_of
from bridge.replay.history import History
from bridge.replay.membership import Span, everybody, membership_rows, membership_stamps, outside_of, spans_of
from bridge.replay.report import Stamp, make_report
from bridge.replay.run import Outcome, Plan, replay_bars
from bridge.replay.sweep import judge, read_axis, run_sweep, variants_of
from bridge.scanner.definition import Definition, read_definition
from bridge.scanner.files import read_text
from bridge.scanner.own_factors import load_factors
from bridge.settings import Settings, load_settings, resource_dir
from bridge.web.replay_report import render_report

FOLDER = Path("config/scans")
TRIED = "replays.csv"
FINDINGS_TOLD = 10
_NOON = time(12, 0)
_MADE_UP = "The bars are made up: not a price of them was ever traded, and the figures say nothing about a market."
# Where nothing says how far back to go.
_YEAR = timedelta(days=365)


@dataclass(slots=True)
class Study:
    """One call of the command: what is replayed, over what, and what its report has to say before its figures."""

    settings: Settings
    bars: Path
    history: History
    listing: Listing
    plan: Plan
    stamps: list[Stamp]
    spans: dict[str, list[Span]] = field(default_factory=dict)  # by universe
    examined: list[Examined] = field(default_factory=list)
    ignores_doctor: bool = False

    def see_doctor(self) -> None:
        """Have all bars examined, and hold back what is doubted unless that is to be ignored."""
        self.examined = examine(self.plan, self.history, Doctor(BarStore(self.bars), load_calendar(self.settings.calendar)))
        self.stamps += doubt_stamps(self.examined, is_ignored=self.ignores_doctor)
        if not self.ignores_doctor:
            self.plan = replace(self.plan, untrusted=untrusted_of(self.examined))


def replay(arguments: argparse.Namespace) -> int:
    """Replay, write journal and report, and tell the figures."""
    settings = load_settings()
    if arguments.alerts is not None:
        return replay_recorded(settings, arguments)
    with TemporaryDirectory(prefix="bridge-bars-") as folder:
        study = _demo(settings, arguments, Path(folder)) if arguments.demo else _study(settings, arguments, Path(folder))
        study.ignores_doctor = arguments.ignore_doctor
        study.see_doctor()
        sweep = _sweep(study, arguments) if arguments.sweeps else None
        outcome = replay_bars(study.settings, study.plan, study.history, study.listing, _teller(study.plan))
        if not outcome.days:
            raise CommandError(f"there is no bar from {study.plan.begin} to {study.plan.end}")
        benchmarks = _benchmarks(study, outcome, arguments.benchmark)
    tried = 1 if arguments.demo else _note_tried(settings, study.plan, sweep)
    report = make_report(
        outcome, benchmarks=benchmarks, stamps=_stamps(study, outcome), tried=tried, sweep=sweep,
        universes={name: membership_rows(spans) for name, spans in study.spans.items()},
        doctor=doubt_rows(study.examined, is_ignored=study.ignores_doctor),
    )  # fmt: skip
    out = Path(arguments.out) if arguments.out else _folder_of_its_own(settings, study.plan)
    _write(out, outcome, report)
    _tell(report, out)
    return 1 if outcome.faults else 0


def replay_recorded(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take the recorded alerts of a data folder again, and tell what becomes of each now; 0 only when all is as it was."""
    database = _database(settings, arguments.alerts)
    recorded, reads = read_recorded(database, settings)
    progress = Progress(sys.stderr, SystemClock())
    listing = open_newest(settings.instruments_dir(), settings.instruments_file())
    outcome = replay_alerts(settings, recorded, reads, listing, lambda done, total: progress.tell(done, total, "alerts"))
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "journal.jsonl").write_text("".join(f"{line}\n" for line in outcome.journal), encoding="utf-8")
    other = [one for one in outcome.comparisons if not one.agrees]
    for one in other:
        print(f"{one.at.astimezone(IST):%Y-%m-%d %H:%M:%S}  {one.strategy} {one.action} {one.symbol}  {one.alert_id}")
        print(f"    then: {one.then}, filled {_units(one.filled_then)}\n    now:  {one.now}, filled {_units(one.filled_now)}")
    for fault in outcome.faults[:5]:
        print(f"  fault: {fault}")
    print(f"{len(outcome.comparisons) - len(other)} of {len(outcome.comparisons)} alerts came to the same; journal in {out}")
    return 1 if other or outcome.faults else 0


def _database(settings: Settings, folder: str) -> str:
    """The database of a data folder, by its usual name; of the settings' own folder the one that they name."""
    if Path(folder).resolve() == settings.data_dir.resolve():
        return settings.database.url
    path = Path(folder) / "bridge.db"
    if not path.is_file():
        raise CommandError(f"{path} is not there: name the data folder of a bridge")
    return f"sqlite:///{path}"


def _units(filled: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{account} {units:+f}" for account, units in sorted(filled.items())) or "nothing"


# -- what is replayed ---------------------------------------------------------------------------------------------------


def _demo(settings: Settings, arguments: argparse.Namespace, folder: Path) -> Study:
    progress = Progress(sys.stderr, SystemClock())
    store = make_bars(folder / "bars.db", settings, lambda done, total: progress.tell(done, total, "making a year up"))
    definitions = demo_definitions()
    plan = Plan(
        definitions=definitions, symbols={one.name: one.symbols for one in definitions}, begin=BEGIN, end=END,
        cash=_number(arguments.cash, "--cash"), slippage_bps=_number(arguments.slippage_bps, "--slippage-bps"),
    )  # fmt: skip
    return Study(
        settings=demo_settings(settings), bars=folder / "bars.db", history=History(store),
        listing=open_newest(settings.instruments_dir(), settings.instruments_file()), plan=plan,
        stamps=[Stamp(tone="warn", message=_MADE_UP)],
    )  # fmt: skip


def _study(settings: Settings, arguments: argparse.Namespace, folder: Path) -> Study:
    if not arguments.definitions:
        raise CommandError("name what to replay with --definition, or look at --demo")
    bars = _bars(settings, arguments, folder)
    history = History(BarStore(bars))
    definitions = tuple(_read_definition(name, settings) for name in arguments.definitions)
    if len({one.strategy for one in definitions}) < len(definitions):
        raise CommandError("two definitions have one strategy: what is held is counted by strategy, so give each its own")
    listing = open_newest(settings.instruments_dir(), settings.instruments_file())
    universes = open_universes(settings, listing, SystemClock(), BarStore(bars))
    begin, end = _span_of(arguments, definitions, history, universes)
    spans = {one.universe: _spans(one, history, universes, begin, end) for one in definitions if one.universe}
    return Study(
        settings=settings, bars=bars, history=history, listing=listing, spans=spans,
        plan=_plan(arguments, definitions, spans, begin, end), stamps=_membership_stamps(definitions, spans),
    )  # fmt: skip


def _bars(settings: Settings, arguments: argparse.Namespace, folder: Path) -> Path:
    if not arguments.csvs:
        return settings.bars_file()
    store, interval = BarStore(folder / "bars.db"), Interval(arguments.interval or "1d")
    for name in arguments.csvs:
        store.merge(interval, read_csv(Path(name), interval, now=SystemClock().now(), symbol=None))
    return folder / "bars.db"


def _read_definition(name: str, settings: Settings) -> Definition:
    path = Path(name)
    if not path.suffix:
        known = (folder / f"{name}.yaml" for folder in (FOLDER, resource_dir("config") / "scans"))
        path = next((file for file in known if file.is_file()), path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} is no definition's file, nor the name of one in {FOLDER}: {error}") from None
    definition = read_definition(read_text(text), load_factors(settings.factors))
    if definition.strategy not in settings.strategies:
        known_ones = ", ".join(sorted(settings.strategies))
        raise CommandError(f"{name}: the settings have no strategy {definition.strategy}; they have {known_ones}")
    return definition


def _span_of(
    arguments: argparse.Namespace, definitions: Sequence[Definition], history: History, universes: Universes
) -> tuple[date, date]:
    """The first and the last day: as they are asked for, and as far as there are bars of anybody who belongs."""
    end, begin = _day(arguments.until) or SystemClock().now().astimezone(IST).date(), _day(arguments.since)
    spans = []
    for one in definitions:
        found = universes.during(one.universe, begin or end - _YEAR, end) if one.universe else []
        symbols = one.symbols or tuple({symbol for members in found for symbol in members.symbols})
        if (span := history.span(one.interval, symbols)) is not None:
            spans.append(span)
    if spans:
        end = min(end, max(last for _first, last in spans))
        begin = begin or max(min(first for first, _last in spans), end - _YEAR)
    return begin or end, end


def _spans(definition: Definition, history: History, universes: Universes, begin: date, end: date) -> list[Span]:
    """The members of its universe on each day of trading."""
    found = universes.during(definition.universe, begin, end) if begin <= end else []
    symbols = list(dict.fromkeys(symbol for members in found for symbol in members.symbols))
    return spans_of(found, sorted(history.days(definition.interval, symbols, begin, end)))


def _plan(
    arguments: argparse.Namespace,
    definitions: tuple[Definition, ...],
    spans: Mapping[str, Sequence[Span]],
    begin: date,
    end: date,
) -> Plan:
    return Plan(
        definitions=definitions, begin=begin, end=end,
        symbols={one.name: everybody(spans[one.universe]) if one.universe else one.symbols for one in definitions},
        outside={one.name: outside_of(spans[one.universe]) for one in definitions if one.universe},
        cash=_number(arguments.cash, "--cash"), slippage_bps=_number(arguments.slippage_bps, "--slippage-bps"),
        product=Product(arguments.product) if arguments.product else None, no_limits=arguments.no_limits,
    )  # fmt: skip


def _membership_stamps(definitions: Sequence[Definition], spans: Mapping[str, Sequence[Span]]) -> list[Stamp]:
    named = [
        f"{one.name}: the symbols were named by hand, today; a share that is gone is not among them."
        for one in definitions
        if one.symbols
    ]
    return [
        *(stamp for universe, found in spans.items() for stamp in membership_stamps(universe, found)),
        *(Stamp(tone="quiet", message=message) for message in named),
    ]


def _sweep(study: Study, arguments: argparse.Namespace) -> dict[str, Any]:
    """Try the grid, and put what was best by its first days in place of the definition."""
    if len(study.plan.definitions) != 1:
        raise CommandError("--sweep is for one definition")
    axes, factors = [read_axis(text) for text in arguments.sweeps], load_factors(study.settings.factors)
    grid = list(variants_of(study.plan.definitions[0].source, axes, factors))
    progress = Progress(sys.stderr, SystemClock())
    variants = run_sweep(
        study.settings, study.plan, study.bars, grid, lambda done, total: progress.tell(done, total, "variants")
    )
    judged = judge(variants, float(study.plan.cash))
    study.plan = replace(study.plan, definitions=(variants[judged["chosen"]].definition,))
    last = judged["inside_span"].split()[-1]
    told = f"The values are the best of {judged['tried']} by the days to {last}; only the days after tell anything about them."
    study.stamps.append(Stamp(tone="warn", message=told))
    return judged


# -- what it is held against --------------------------------------------------------------------------------------------


def _benchmarks(study: Study, outcome: Outcome, symbol: str) -> list[Benchmark]:
    """One symbol, if its bars are there, and all in equal parts that belonged on the first day and are not doubted."""
    days, plan = [point.day for point in outcome.days], study.plan
    doubted = {symbol for found in plan.untrusted.values() for symbol in found}
    first = [study.spans[one.universe][0].members.symbols if one.universe else one.symbols for one in plan.definitions]
    trusted = sorted({symbol for symbols in first for symbol in symbols} - doubted)
    wanted = [(f"{symbol.partition(':')[2]}, held", [symbol])] if study.history.knows(symbol) else []
    if len(trusted) > 1:
        wanted.append((f"all {len(trusted)}, held in equal parts", trusted))
    made = [
        hold(name, symbols, days, plan.cash, quotes(study.history, symbols, days[0], days[-1]),
             slippage_bps=plan.slippage_bps, cost=_cost_of(study))
        for name, symbols in wanted
    ]  # fmt: skip
    return [one for one in made if one is not None]


def _cost_of(study: Study) -> Callable[[str, Side, Decimal, Decimal, date], Decimal]:
    def cost(symbol: str, side: Side, units: Decimal, price: Decimal, day: date) -> Decimal:
        if not study.plan.charges:
            return ZERO
        share = plain_share(symbol)
        return charges_for(share, Product.CNC, side, units, price, at=datetime.combine(day, _NOON, IST))

    return cost


def _stamps(study: Study, outcome: Outcome) -> list[Stamp]:
    told = list(study.stamps)
    if outcome.faults:
        told.insert(
            0, Stamp(tone="warn", message=f"{len(outcome.faults)} faults of the bridge: this is worthless. {outcome.faults[0]}")
        )
    if study.plan.no_limits:
        told.append(Stamp(tone="warn", message="The risk limits of the settings were off."))
    told.append(Stamp(tone="quiet", message="Any quantity fills. Ban lists and price bands of the time are not known."))
    return told


def _note_tried(settings: Settings, plan: Plan, sweep: Mapping[str, Any] | None) -> int:
    """Write down what was tried, and count the versions of these definitions that ever were on this machine."""
    path = settings.data_dir / TRIED
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = [(one.name, one.version) for one in plan.definitions]
    fresh += [(plan.definitions[0].name, row["version"]) for row in sweep["rows"]] if sweep else []
    known: list[tuple[str, str]] = []
    with suppress(FileNotFoundError), path.open(encoding="utf-8", newline="") as lines:
        known = [(row[0], row[1]) for row in csv.reader(lines) if len(row) == 2]
    with path.open("a", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows(sorted(set(fresh) - set(known)))
    names = {one.name for one in plan.definitions}
    return len({pair for pair in [*known, *fresh] if pair[0] in names})


# -- what comes out -----------------------------------------------------------------------------------------------------


def _folder_of_its_own(settings: Settings, plan: Plan) -> Path:
    """Where the page of replays finds it, with the latest at the top."""
    names = "-".join(one.name for one in plan.definitions)[:60]
    return settings.replays_dir() / f"{SystemClock().now().astimezone(IST):%Y%m%d-%H%M%S}-{names}"


def _write(out: Path, outcome: Outcome, report: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "journal.jsonl").write_text("".join(f"{line}\n" for line in outcome.journal), encoding="utf-8")
    (out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "report.html").write_text(render_report(report), encoding="utf-8")


def _tell(report: Mapping[str, Any], out: Path) -> None:
    curve, trades = report["curve"], report["trades"]
    names = ", ".join(f"{one['name']} {one['version']}" for one in report["definitions"])
    print(f"{names}: {report['begin']} to {report['end']}, {curve['days']} days, {report['bars']} bars")
    sharpe = "–" if curve["sharpe"] is None else f"{curve['sharpe']:.2f}"
    print(
        f"  equity {report['final_equity']:,.2f} of {report['cash']:,.2f} ({curve['total_return']:+.2%}), "
        f"drawdown {curve['max_drawdown']:.2%}, Sharpe {sharpe}, {trades['count']} trades, charges {report['charges']:,.2f}"
    )
    for one in report["benchmarks"]:
        print(f"  against {one['name']}: {one['curve']['total_return']:+.2%}, drawdown {one['curve']['max_drawdown']:.2%}")
    for stamp in report["stamps"]:
        print(f"  ! {stamp['message']}" if stamp["tone"] == "warn" else f"    {stamp['message']}")
    for one in [one for one in report["doctor"]["findings"] if one["is_grave"]][:FINDINGS_TOLD]:
        print(f"  ✗ {one['symbol']} {one['interval']}: {one['complaint']}: {one['message']}")
    for row in report["signals"]:
        print(f"  {row['count']:>6}  {row['ending']}")
    for fault in report["faults"][:5]:
        print(f"  fault: {fault}")
    print(f"Report: {out / 'report.html'}")


def _teller(plan: Plan) -> Callable[[date], None]:
    progress, total = Progress(sys.stderr, SystemClock()), (plan.end - plan.begin).days + 1

    def tell(day: date) -> None:
        progress.tell((day - plan.begin).days + 1, total, f"{day}")

    return tell


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
