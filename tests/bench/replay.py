"""`python -m tests.bench.replay`: a year of one-minute bars of 200 symbols through indicators and ranking, by a replay."""

import json
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from bridge.core.bar import Interval
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import Plan as Market
from bridge.market.bars.synthetic import make_parts, weekdays
from bridge.market.listing import list_in_memory
from bridge.replay.history import History
from bridge.replay.run import Plan, replay_bars
from bridge.scanner.definition import read_definition
from tests.support.rigs import NO_CHARGES, make_settings

SYMBOLS = tuple(f"NSE:MADE{number:03}" for number in range(200))
YEAR = (date(2025, 1, 1), date(2025, 12, 31))
# Indicators of all symbols and their rank at every minute; the best are asked about each minute and none is good enough.
SCAN = {
    "name": "minute-rank", "strategy": "scan", "universe": list(SYMBOLS), "interval": "1m",
    "filters": {
        "strong": "adx(14) > 20 & plus_di(14) > minus_di(14)", "up": "ema(close, 9) > ema(close, 21)",
        "high": "close >= donchian_high(20)", "alive": "turnover(20) > 0 & rsi(close, 14) > 50",
    },
    "score": "roc(close, 21) + roc(close, 63) + roc(close, 126) + roc(close, 252)", "top": 10,
    "long": {"enter": "close > 1000000000"}, "exits": {"stop": {"atr": 3}},
}  # fmt: skip


def make_year(folder: Path, days: tuple[date, ...], symbols: tuple[str, ...] = SYMBOLS) -> BarStore:
    """The bars, a symbol at a time."""
    store = BarStore(folder / "bars.db")
    for part in make_parts(Market(seed=11, symbols=symbols, days=days)):
        store.merge(Interval.MINUTE, [part])
    return store


def measure_replay(
    store: BarStore, folder: Path, days: tuple[date, ...], symbols: tuple[str, ...] = SYMBOLS
) -> dict[str, float]:
    """Seconds of one replay, reading the bars included."""
    definition = read_definition({**SCAN, "universe": list(symbols)})
    settings = make_settings(
        folder / "settings", accounts={"paper": NO_CHARGES}, strategies={"scan": {"accounts": ["paper"], "product": "CNC"}}
    )
    plan = Plan(definitions=(definition,), symbols={definition.name: symbols}, begin=days[0], end=days[-1])
    began = time.perf_counter()
    outcome = replay_bars(settings, plan, History(store), list_in_memory([]))
    took = time.perf_counter() - began
    assert not outcome.faults
    assert not outcome.raised
    return {"replay_year_s": round(took, 2), "replay_bar_us": round(took / outcome.bars * 1e6, 1)}


def measure(kept: Path | None = None) -> dict[str, float]:
    """A year, whose bars are kept in a folder and used again when one is named."""
    days = weekdays(*YEAR)
    with tempfile.TemporaryDirectory(prefix="bridge-bench-replay-") as made:
        folder = kept or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        store = BarStore(folder / "bars.db") if (folder / "bars.db").exists() else make_year(folder, days)
        return measure_replay(store, Path(made), days)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None), indent=1))
