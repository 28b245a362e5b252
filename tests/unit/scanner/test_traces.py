"""Traces: which terms can be drawn beside closes, and that they are what the engine says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from bridge.recent_bars import SHOWN, trace_recent
from bridge.scanner.definition import read_definition
from bridge.scanner.terms import Bars, Engine, library, parse
from bridge.scanner.traces import MAX_LINES, is_price, price_terms, trace
from tests.support.scans import CLOSED_AT, MOMENTUM, store_bars


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("close", True), ("volume", False), ("sma(close, 5)", True), ("sma(volume, 5)", False), ("donchian_high(20)", True),
        ("rsi(close, 14)", False), ("close - 2 * atr(14)", True), ("ema(close, 9) - ema(close, 21)", False),
        ("1.02 * sma(high, 5)", True), ("close * volume", False), ("highest(absolute(roc(close, 1)), 90)", False),
        ("close[3]", True), ("close / sma(close, 5)", False), ("larger(close, open)", True),
    ],
)  # fmt: skip
def test_only_prices_stand_on_the_scale_of_prices(text: str, told: bool) -> None:
    assert is_price(parse(text)) is told


def test_the_terms_are_those_that_rules_compare() -> None:
    """Each once, and no more than can be told apart."""
    rules = {f"f{n}": f"close > ema(close, {n})" for n in range(2, 12)}
    assert len(price_terms(read_definition({**MOMENTUM, "filters": rules}))) == MAX_LINES
    assert [str(term) for term in price_terms(read_definition(MOMENTUM))] == ["ema(close, 50)"]


def test_a_trace_is_what_the_engine_says_bar_by_bar(tmp_path: Path) -> None:
    bars = store_bars(tmp_path / "bars.db", ["NSE:SBIN"])
    definition = read_definition(MOMENTUM)
    found = trace_recent(tmp_path / "bars.db", definition, "NSE:SBIN", CLOSED_AT)
    assert found is not None
    assert len(found.closes) == SHOWN
    engine = Engine([ema := library.ema(library.close, 50)], 1)
    values = []
    for bar in bars:
        engine.step(bar)
        values.append(float(engine.read().value(ema)[0]))
    assert found.lines[0].values == tuple(values[-SHOWN:])
    assert found.closes == tuple(bars.fields[-SHOWN:, 3, 0].tolist())


def test_nothing_later_than_the_bar_that_was_decided_on_is_drawn(tmp_path: Path) -> None:
    """A bar counts once it has closed."""
    store_bars(tmp_path / "bars.db", ["NSE:SBIN"])
    definition, until = read_definition(MOMENTUM), datetime(2026, 11, 19, 6, 0, tzinfo=UTC)
    found = trace_recent(tmp_path / "bars.db", definition, "NSE:SBIN", until)
    assert found is not None
    assert found.opened_at[-1] == until - timedelta(minutes=15)


def test_without_bars_there_is_nothing_to_draw(tmp_path: Path) -> None:
    definition = read_definition(MOMENTUM)
    assert trace_recent(tmp_path / "none.db", definition, "NSE:SBIN", CLOSED_AT) is None
    store_bars(tmp_path / "bars.db", ["NSE:SBIN"])
    assert trace_recent(tmp_path / "bars.db", definition, "NSE:OTHER", CLOSED_AT) is None
    assert trace(definition, Bars(np.empty((0, 5, 1))), [], SHOWN).closes == ()
