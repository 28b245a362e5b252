"""A day that a bridge lives through on ticks, on virtual time, and the same day replayed over the bars that it stored."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from bridge.bootstrap import Bridge
from bridge.core.alert import Alert
from bridge.core.bar import Interval, day_of_bar
from bridge.core.clock import IST
from bridge.core.enums import Source
from bridge.core.market import Tick
from bridge.core.reasons import AuditAction
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan as MarketPlan
from bridge.market.bars.synthetic import combine, make_parts
from bridge.market.lists import open_newest
from bridge.replay.bridge import ReplayBackend
from bridge.replay.history import History
from bridge.replay.loop import VirtualClock, VirtualLoop
from bridge.replay.run import Plan, replay_bars
from bridge.runner.runner import Runner
from bridge.runner.wiring import make_runner
from bridge.scanner.definition import read_definition
from bridge.settings import Settings
from bridge.store.backend import Backend
from tests.support.rigs import SYMBOLS as NAMES
from tests.support.rigs import make_settings

SYMBOLS = tuple(f"NSE:{name}" for name in NAMES)
DAY = date(2026, 11, 20)
BEFORE = [date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18), date(2026, 11, 19)]
OPENING = datetime.combine(DAY, time(9, 15), IST)
FRESH = timedelta(seconds=120)
MINUTE = timedelta(minutes=1)
Wished = tuple[str, str, str, str, str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What happens on a day up to minute `minutes` of its session, by chance of `seed`.

    The first price comes in minute `first`. A share trades in `busy` of the minutes; in `silent` of them nothing does.
    `is_smooth`: each minute begins at the price where the one before ended. The bridge is cut off `killed_s` seconds after
    the opening for `down_s`, and the feed is away at `away_s` for `gap_s`.
    """

    seed: int
    first: int = 0
    minutes: int = 30
    busy: float = 1.0
    silent: float = 0.0
    is_smooth: bool = False
    killed_s: float | None = None
    down_s: float = 20
    away_s: float | None = None
    gap_s: float = 20


class HeardBridge(Bridge):
    """The bridge as it is, on virtual time, with a feed that is moved by hand and no history to ask."""

    def __init__(self, settings: Settings, clock: VirtualClock, connected_at: datetime) -> None:
        self.faults: list[str] = []
        self.connected_at: datetime | None = connected_at
        super().__init__(settings, clock)
        self.feed.add_source(lambda _tokens: None, lambda: self.connected_at)

    def _make_runner(self) -> Runner:
        return make_runner(self, FRESH, None)

    def _make_backend(self) -> Backend:
        return ReplayBackend(self.settings.database.url)  # a kill in one process is no power failure

    def on_fault(self, where: str, error: BaseException) -> None:
        self.faults.append(f"{where}: {type(error).__name__}: {error}")


def day_settings(folder: Path, definitions: Sequence[dict[str, Any]]) -> Settings:
    """Every definition has a strategy and a paper account of its own: in one, a share that two hold is one position."""
    paper = {"broker": "paper", "cash": "100000000", "slippage_bps": "0", "charges": False, "square_off": False}
    return make_settings(
        folder,
        database={"url": f"sqlite:///{folder / 'data' / 'bridge.db'}", "writer": "inline"},
        accounts={str(one["strategy"]): paper for one in definitions},
        strategies={str(one["strategy"]): {"accounts": [one["strategy"]], "product": "MIS"} for one in definitions},
    )


def store_days_before(settings: Settings, seed: int, days: Sequence[date] = BEFORE) -> dict[str, float]:
    """A made-up market of the days before, stored; where each share stands at the last close."""
    parts = list(make_parts(MarketPlan(seed=seed, symbols=SYMBOLS, days=tuple(days))))
    BarStore(settings.bars_file()).merge(Interval.MINUTE, parts)
    return {part.symbol: float(part.series.close[-1]) for part in parts}


def store_day_bars(settings: Settings) -> None:
    """The daily bars of all the minutes that are stored, as a broker tells them of a day that is over."""
    store = BarStore(settings.bars_file())
    minutes = {symbol: store.series(Interval.MINUTE, symbol, BEFORE[0], DAY) for symbol in SYMBOLS}
    store.merge(Interval.DAY, [Part(symbol=name, series=combine(Interval.DAY, each)) for name, each in minutes.items()])


def make_ticks(plot: Plot, prices: dict[str, float], tokens: dict[str, int]) -> list[Tick]:
    """The day's ticks, in order of time: few in a minute, on the tick of five paise."""
    chance = np.random.default_rng(plot.seed)
    stands = {symbol: round(price * 20) for symbol, price in prices.items()}
    traded = dict.fromkeys(prices, 0)
    found = []
    for minute in range(plot.first, plot.minutes):
        is_silent = chance.random() < plot.silent
        for symbol in prices:
            if chance.random() > plot.busy or is_silent:
                continue
            for number, second in enumerate(sorted(chance.uniform(4, 58, chance.integers(1, 5)).tolist())):
                is_opening = number == 0
                if not (is_opening and plot.is_smooth):
                    stands[symbol] = max(20, stands[symbol] + int(chance.integers(-25, 26)))
                traded[symbol] += int(chance.integers(1, 500))
                at = OPENING + minute * MINUTE + timedelta(seconds=0.7 if is_opening else round(second, 3))
                tick = Tick(token=tokens[symbol], price=Decimal(stands[symbol]) / 20, at=at, volume=traded[symbol])
                found.append(tick)
    return sorted(found, key=lambda tick: tick.at)


def live(settings: Settings, plot: Plot, definitions: Sequence[dict[str, Any]], prices: dict[str, float]) -> list[Wished]:
    """Live through the day; what was wished."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(_live(settings, VirtualClock(loop, OPENING - 5 * MINUTE), plot, definitions, prices))


async def _live(
    settings: Settings, clock: VirtualClock, plot: Plot, definitions: Sequence[dict[str, Any]], prices: dict[str, float]
) -> list[Wished]:
    bridge = HeardBridge(settings, clock, clock.now())
    await bridge.start()
    for one in definitions:
        await bridge.scans.definitions.save(one, by="test")
        await bridge.scans.definitions.enable(str(one["name"]), by="test")
    tokens = {symbol: instrument.token for symbol in prices if (instrument := bridge.catalog.get(symbol)) is not None}
    ticks = make_ticks(plot, prices, tokens)
    events = sorted(_events(plot, ticks), key=lambda event: event[0])
    for at, what in events:
        await asyncio.sleep(max(0.0, (at - clock.now()).total_seconds()))
        if isinstance(what, Tick):
            if bridge.connected_at is not None:
                bridge.feed.take([what])
        elif what == "away":
            bridge.connected_at = None
        elif what == "back":
            bridge.connected_at = clock.now()
        else:
            await _kill(bridge)
            await asyncio.sleep(plot.down_s)
            bridge = HeardBridge(settings, clock, clock.now())
            await bridge.start()
    await asyncio.sleep((OPENING + plot.minutes * MINUTE - clock.now()).total_seconds() + 10)
    assert bridge.faults == []
    wished = _wished(bridge)
    await bridge.stop()
    return wished


def _wished(bridge: HeardBridge) -> list[Wished]:
    """In the order of the audit: what is raised at one bar has one virtual time."""
    reads = bridge.store.reads
    alerts = {alert.alert_id: alert for alert in reads.alerts_as_they_came() if alert.source is Source.SCAN}
    accepted = [row[3] for row in reads.audit_rows() if row[2] == AuditAction.ALERT_ACCEPTED]
    return [wish_of(alerts[alert_id]) for alert_id in accepted if alert_id in alerts]


def _events(plot: Plot, ticks: Sequence[Tick]) -> Iterator[tuple[datetime, Tick | str]]:
    if plot.killed_s is not None:
        yield OPENING + timedelta(seconds=plot.killed_s), "killed"
    if plot.away_s is not None:
        yield OPENING + timedelta(seconds=plot.away_s), "away"
        yield OPENING + timedelta(seconds=plot.away_s + plot.gap_s), "back"
    for tick in ticks:
        yield tick.at, tick


async def _kill(bridge: HeardBridge) -> None:
    """As by kill -9: nothing of it says goodbye."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bridge.faults == []
    await bridge.store.close()
    bridge.lock.release()


def wish_of(alert: Alert) -> Wished:
    """What an alert of a scan was raised for, and by which bar; by the live price, by the bar that was forming then."""
    notes = alert.signal.notes
    told = notes.get("bar closed at")
    at = datetime.fromisoformat(told) if told else alert.signal.signal_at.replace(second=0, microsecond=0) + MINUTE
    name, why = notes["definition"], notes["why"].partition(";")[0]
    bar = notes.get("bar of") or clock_time(at)
    return name, bar, alert.signal.symbol, alert.signal.action.value, why, notes.get("rank"), notes.get("score")


def clock_time(at: datetime) -> str:
    return at.astimezone(IST).strftime("%H:%M")


def bar_of(closed_at: datetime, interval: Interval) -> str:
    """What a bar is called in a wish: a daily one by its day."""
    return clock_time(closed_at) if interval is not Interval.DAY else day_of_bar(closed_at).isoformat()


def replayed(settings: Settings, definition: dict[str, Any], begin: date = DAY) -> list[Wished]:
    """What a definition wishes on the day when that is replayed over the bars that were stored of it."""
    read = read_definition(definition)
    plan = Plan(
        definitions=(read,), symbols={read.name: read.symbols}, begin=begin, end=DAY, cash=Decimal(100_000_000),
        slippage_bps=Decimal(0), no_limits=True, charges=False,
    )  # fmt: skip
    listing = open_newest(settings.instruments_dir(), settings.instruments_file())
    outcome = replay_bars(settings, plan, History(BarStore(settings.bars_file())), listing)
    assert outcome.faults == ()
    return [
        (
            one.definition, bar_of(one.bar_closed_at, read.interval), one.wish.symbol, one.wish.action.value, one.wish.why,
            None if one.wish.rank is None else str(one.wish.rank),
            None if one.wish.score is None else f"{one.wish.score:.6g}",
        )
        for one in outcome.raised
    ]  # fmt: skip
