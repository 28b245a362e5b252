"""Scans for tests: definitions as one writes them, bars of made-up markets, and what a definition sees in those."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan, combine, make_parts, weekdays
from bridge.scanner.decide import Evaluation, Holding
from bridge.scanner.definition import Definition, read_definition
from bridge.scanner.terms import Bars, Engine
from tests.support.web import WebBox

DAYS = weekdays(date(2026, 11, 9), date(2026, 11, 20))
CLOSED_AT = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
SYMBOLS = ("NSE:SBIN", "NSE:RELIANCE", "NSE:INFY", "NSE:TCS", "NSE:M&M", "NSE:BAJAJ-AUTO")
MOMENTUM: dict[str, Any] = {
    "name": "momentum",
    "note": "the strongest of the last hours",
    "strategy": "demo",
    "universe": list(SYMBOLS),
    "interval": "15m",
    "filters": {"trend": "close > ema(close, 50)", "turnover": "turnover(20) > 10000000", "strength": "adx(14) > 15"},
    "score": "roc(close, 25)",
    "top": 2,
    "keep": 3,
    "exits": {"stop": {"percent": 1}},
    "size": {"rupees": 50000},
}


def store_bars(path: Path, symbols: Sequence[str], interval: Interval = Interval.MINUTES_15) -> Bars:
    """Two weeks of a made-up market, stored; and the same as an engine takes them."""
    parts = [
        Part(symbol=part.symbol, series=combine(interval, part.series), days=part.days)
        for part in make_parts(Plan(seed=7, symbols=tuple(symbols), days=DAYS))
    ]
    store = BarStore(path)
    store.merge(interval, parts)
    found = store.read(interval, symbols, DAYS[0], DAYS[-1])
    days = [datetime.fromtimestamp(second, UTC).astimezone(IST).date() for second in found.times.tolist()]
    return Bars(found.fields, days)


def evaluate(source: Mapping[str, Any], bars: Bars, held: Mapping[str, str] | None = None) -> Evaluation:
    """What a definition sees after the last of some bars; `held` says how many of which symbol."""
    definition: Definition = read_definition(source)
    engine = Engine(definition.terms(), len(definition.symbols))
    engine.warm(bars)
    holdings = {symbol: Holding(quantity=Decimal(units), entry_px=100.0) for symbol, units in (held or {}).items()}
    return Evaluation(definition, engine.read(), definition.symbols, holdings, at=CLOSED_AT, lots={})


def show(box: WebBox, source: Mapping[str, Any], held: Mapping[str, str] | None = None) -> Evaluation:
    """Save a definition in a running bridge, enabled, and let it have seen the last of its bars."""
    definitions = box.bridge.scans.definitions
    box.run(definitions.save(source, by="test"))
    box.run(definitions.enable(str(source["name"]), by="test"))
    bars = store_bars(box.bridge.settings.bars_file(), source["universe"])
    found = evaluate(source, bars, held)
    box.bridge.scans.evaluations[found.definition.name] = found
    return found
