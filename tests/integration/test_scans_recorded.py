"""A day that the scanner lived through on ticks, replayed over the bars that it stored: the same wishes and reasons."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_days import SYMBOLS, Plot, Wished, day_settings, live, replayed, store_day_bars, store_days_before

SCAN: dict[str, Any] = {
    "name": "scan", "strategy": "scan", "universe": list(SYMBOLS), "interval": "1m",
    "filters": {"trend": "close > ema(close, 200) * 0.98"}, "score": "roc(close, 3) + adx(14) / 1000", "top": 2, "keep": 3,
    "size": {"quantity": 10},
}  # fmt: skip
BOTH_WAYS: dict[str, Any] = {
    "name": "both", "strategy": "both", "universe": list(SYMBOLS), "interval": "1m", "size": {"rupees": 50000},
    "long": {"enter": "ema(close, 3) > ema(close, 8)"}, "short": {"enter": "ema(close, 3) < ema(close, 8)"},
}  # fmt: skip
QUARTERS: dict[str, Any] = {
    "name": "quarters", "strategy": "quarters", "universe": list(SYMBOLS), "interval": "5m", "cadence": "15m",
    "score": "roc(close, 1)", "top": 2, "keep": 2, "size": {"quantity": 3},
}  # fmt: skip
DAILY: dict[str, Any] = {
    "name": "daily", "strategy": "daily", "universe": list(SYMBOLS), "interval": "1d", "cadence": "daily@09:35",
    "filters": {"trend": "close > sma(close, 2) * 0.9"}, "score": "roc(close, 1)", "top": 2, "keep": 2, "size": {"quantity": 5},
}  # fmt: skip
DAWN: dict[str, Any] = {
    "name": "dawn", "strategy": "dawn", "universe": list(SYMBOLS), "interval": "1d", "cadence": "pre-open",
    "long": {"enter": "close > open"}, "short": {"enter": "close < open"}, "size": {"quantity": 5},
}  # fmt: skip
ALL = (SCAN, BOTH_WAYS, QUARTERS, DAILY, DAWN)


@pytest.fixture(autouse=True, scope="module")
def slow() -> Any:
    """A virtual second costs as much as the turns in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.runner.runner.TURN_S", 0.5)
        yield


def by_bar(wished: Sequence[Wished]) -> list[Wished]:
    """In a replay what is wished at one bar goes out as its symbols trade again."""
    return sorted(wished, key=lambda one: (one[0], one[1], one[2], one[3]))


def both_days(folder: Path, plot: Plot, definitions: Sequence[dict[str, Any]]) -> tuple[list[Wished], list[Wished]]:
    """The day lived, and the same replayed."""
    made = day_settings(folder, definitions)
    prices = store_days_before(made, plot.seed)
    store_day_bars(made)
    lived = live(made, plot, definitions, prices)
    store_day_bars(made)
    return by_bar(lived), by_bar([wish for one in definitions for wish in replayed(made, one)])


@st.composite
def plots(draw: st.DrawFn) -> Plot:
    """Quiet shares, silent minutes, a late first price, a kill, a feed that is away; any of them or none."""
    killed_s = draw(st.none() | st.floats(300, 1500))
    away_s = draw(st.none() | st.floats(100, 1500))
    return Plot(
        seed=draw(st.integers(0, 10_000)), first=draw(st.sampled_from([0, 0, 7])), busy=draw(st.sampled_from([0.3, 0.8, 1.0])),
        silent=draw(st.sampled_from([0.0, 0.1])), killed_s=killed_s, down_s=draw(st.floats(1, 200)), away_s=away_s,
        gap_s=draw(st.floats(1, 130)),
    )  # fmt: skip


@given(plot=plots())
@settings(max_examples=2, deadline=None)
def test_a_recorded_day_replayed_wishes_the_same(plot: Plot) -> None:
    """Symbols, actions, bars, reasons, ranks and scores; over a restart, and whatever nobody heard."""
    with TemporaryDirectory() as folder:
        lived, again = both_days(Path(folder), plot, ALL)
    assert lived == again


def test_a_recorded_day_with_a_kill_and_a_gap_has_wishes_of_every_definition(tmp_path: Path) -> None:
    """The same of a day on which each of them has something to wish; by chance there may be nothing."""
    plot = Plot(seed=3, busy=0.8, silent=0.1, killed_s=1200.5, down_s=90, away_s=700, gap_s=70)
    lived, again = both_days(tmp_path, plot, ALL)
    assert lived == again
    assert {wish[0] for wish in lived} == {"scan", "both", "quarters", "daily", "dawn"}


ONCE = {"enter": "bars_seen() == 755"}
LEVELS: tuple[dict[str, Any], ...] = tuple(
    {
        "name": kind, "strategy": kind, "universe": list(SYMBOLS), "interval": "1m", side: ONCE, "size": {"quantity": 10},
        "exits": {kind: {"percent": percent}},
    }
    for kind, side, percent in (("stop", "long", 0.2), ("target", "short", 0.2), ("trail", "long", 0.2))
)  # fmt: skip


def test_an_exit_by_the_live_price_is_one_of_the_same_bar_and_level_in_a_replay(tmp_path: Path) -> None:
    """Where an entry costs the same, live and at the next open, each level is met in the same bar; live within it."""
    lived, again = both_days(tmp_path, Plot(seed=1, is_smooth=True), LEVELS)
    assert lived == again
    exits = [wish for wish in lived if wish[3] == "exit"]
    assert len(exits) > 5
    assert {wish[0] for wish in exits} == {"stop", "target", "trail"}
