"""Replays for tests: walks whose opens differ from the closes before them, in a store of their own, and a plain way to play."""

from datetime import date
from pathlib import Path

import numpy as np

from bridge.core.bar import Interval
from bridge.market.bars.series import COLUMNS, Series
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import weekdays
from bridge.market.bars.times import OPENING_S, first_second
from bridge.market.listing import list_in_memory
from bridge.replay.history import History
from bridge.replay.run import Outcome, Plan, replay_bars
from bridge.scanner.definition import read_definition
from tests.support.rigs import NO_CHARGES, make_settings

YEAR = weekdays(date(2025, 1, 1), date(2025, 12, 31))
TICK = 0.05


def walk(seed: int, times: np.ndarray, *, gap: float = 0.01) -> Series:
    """A random walk in which every bar opens away from the close before it, on the tick."""
    chance = np.random.default_rng(seed)
    rows = len(times)
    close = 500 * np.cumprod(1 + chance.normal(0, 0.02, rows))
    opened = np.append(500.0, close[:-1]) * (1 + chance.normal(0, gap, rows))
    opened, close = (np.round(each / TICK) * TICK for each in (opened, close))
    reach = np.round(np.abs(chance.normal(0, 3, (2, rows))) / TICK) * TICK
    high, low = np.maximum(opened, close) + reach[0], np.minimum(opened, close) - reach[1]
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": np.full(rows, 1000.0)}
    return Series(times=times, **{name: np.round(columns[name], 2) for name in COLUMNS})


def daily_times(days=YEAR) -> np.ndarray:
    return np.array([first_second(day) for day in days], np.int64)


def minute_times(days, interval=Interval.MINUTES_15) -> np.ndarray:
    step = interval.seconds
    return np.array([first_second(d) + OPENING_S + at for d in days for at in range(0, 375 * 60, step)], np.int64)


def store_of(folder: Path, interval: Interval, found: dict[str, Series]) -> BarStore:
    store = BarStore(folder / "bars.db")
    store.merge(interval, [Part(symbol=symbol, series=series) for symbol, series in found.items()])
    return store


def play(folder: Path, store: BarStore, *sources: dict, days=YEAR, product=None, **values) -> Outcome:
    """Replay definitions over the store without charges, slippage, limits or square-off, unless told otherwise."""
    definitions = tuple(read_definition({"strategy": f"s{n}", **source}) for n, source in enumerate(sources))
    account = {**NO_CHARGES, "square_off": False, **values.pop("account", {})}
    strategies = {one.strategy: {"accounts": ["paper"], "product": product or "MIS"} for one in definitions}
    settings = make_settings(folder / "settings", accounts={"paper": account}, strategies=strategies)
    plan = Plan(
        definitions=definitions, begin=days[0], end=days[-1],
        **{
            "symbols": {one.name: one.symbols for one in definitions}, "slippage_bps": 0, "no_limits": True, "charges": False,
            "cash": 100_000_000, **values,
        },
    )  # fmt: skip
    outcome = replay_bars(settings, plan, History(store), list_in_memory([]))
    assert outcome.faults == ()
    return outcome
