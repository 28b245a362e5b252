"""A replay: fills at the next open, nothing of the future, the same bytes each time."""

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.market.bars.series import COLUMNS, Series
from bridge.market.bars.store import Part
from bridge.market.bars.synthetic import combine, weekdays
from tests.support.replays import daily_times, minute_times, play, store_of, walk
from tests.support.rigs import ROOT

A, B = "NSE:AAA", "NSE:BBB"
DAYS = weekdays(date(2026, 6, 1), date(2026, 6, 5))
CROSS = {
    "name": "cross", "universe": [A, B], "interval": "15m", "size": {"quantity": 5},
    "long": {"enter": "cross_over(close, sma(close, 3))", "leave": "cross_under(close, sma(close, 3))"},
    "exits": {"stop": {"percent": 2}, "trail": {"percent": 3}, "target": {"percent": 4}},
}  # fmt: skip


def walks(seed=5, days=DAYS):
    times = minute_times(days)
    return {A: walk(seed, times), B: walk(seed + 1, times)}


def fills(outcome):
    return [(f.transact_time, f.symbol, f.side.sign * f.last_qty, f.last_px) for f in outcome.fills]


def test_a_wish_fills_at_the_next_open_of_its_symbol(tmp_path):
    """Every fill is at the open of the bar after the close that wished it; nothing fills at that close."""
    found = walks()
    outcome = play(tmp_path, store_of(tmp_path, Interval.MINUTES_15, found), CROSS, days=DAYS)
    opens = {s: dict(zip(each.times.tolist(), each.open.tolist(), strict=True)) for s, each in found.items()}
    assert len(outcome.fills) > 20
    for at, symbol, _quantity, price in fills(outcome):
        assert float(price) == opens[symbol][int(at.timestamp())]


def test_slippage_goes_against_every_fill(tmp_path):
    """A buy pays more than the open and a sale gets less, on the tick."""
    found = walks()
    store = store_of(tmp_path, Interval.MINUTES_15, found)
    outcome = play(tmp_path, store, CROSS, days=DAYS, slippage_bps=Decimal(10))
    opens = {s: dict(zip(each.times.tolist(), each.open.tolist(), strict=True)) for s, each in found.items()}
    for at, symbol, quantity, price in fills(outcome):
        worse = (float(price) - opens[symbol][int(at.timestamp())]) * (1 if quantity > 0 else -1)
        assert 0.0009 * float(price) < worse < 0.0012 * float(price) + 0.05


def test_what_is_wished_at_the_last_close_meets_a_closed_market(tmp_path):
    """No order waits overnight: the bridge denies it at 15:30, as it would live."""
    outcome = play(tmp_path, store_of(tmp_path, Interval.MINUTES_15, walks()), CROSS, days=DAYS)
    late = [alert for alert in outcome.alerts if alert.code == "MARKET_CLOSED"]
    assert late
    assert {alert.received_at.strftime("%H:%M") for alert in late} == {"10:00"}


def test_intraday_positions_are_squared_off_and_none_stays_overnight(tmp_path):
    """With square-off on, as in the settings, MIS is flat at each day's end, at prices of the day."""
    account = {"session": "market", "square_off": True}
    outcome = play(tmp_path, store_of(tmp_path, Interval.MINUTES_15, walks()), CROSS, days=DAYS, account=account)
    assert all(point.held == 0 for point in outcome.days)
    assert any(alert.source == "square_off" for alert in outcome.alerts)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(30, 110), seed=st.integers(0, 50))
def test_bars_to_come_never_change_what_was_done_before(tmp_path_factory, cut, seed):
    """Another future after bar `cut`: the journal up to its close is the same, line by line."""
    folder = tmp_path_factory.mktemp("future")
    past, other = walks(seed), walks(seed + 100)
    journals = []
    for number, future in enumerate((past, other)):
        mixed = {
            symbol: Series(
                times=series.times,
                **{
                    name: np.concatenate([getattr(series, name)[:cut], getattr(future[symbol], name)[cut:]]) for name in COLUMNS
                },
            )
            for symbol, series in past.items()
        }
        place = folder / str(number)
        journals.append(play(place, store_of(place, Interval.MINUTES_15, mixed), CROSS, days=DAYS).journal)
    until = past[A].times[cut]
    before = [
        [line for line in journal if json.loads(line)["at"] < np.datetime64(int(until), "s").item().isoformat()]
        for journal in journals
    ]
    assert before[0] == before[1]
    assert before[0]


PLAY = """
import sys
from pathlib import Path
from tests.unit.replay.test_engine import CROSS, DAYS, walks
from tests.support.replays import Interval, play, store_of
folder = Path(sys.argv[1])
print("\\n".join(play(folder, store_of(folder, Interval.MINUTES_15, walks()), CROSS, days=DAYS).journal))
"""


def test_the_journal_is_the_same_to_the_byte_in_another_process(tmp_path):
    """Same bars, same definition: nothing hangs on the process, its hash seed or the folder."""
    outcome = play(tmp_path / "a", store_of(tmp_path / "a", Interval.MINUTES_15, walks()), CROSS, days=DAYS)
    told = subprocess.run(
        [sys.executable, "-c", PLAY, str(tmp_path / "b")], cwd=ROOT, check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert told.stdout.splitlines() == list(outcome.journal)


def test_daily_definitions_act_at_the_next_days_open(tmp_path):
    """What a daily bar decides is done when the market opens again, at that open."""
    days = weekdays(date(2026, 3, 2), date(2026, 6, 26))
    series = walk(3, daily_times(days))
    source = {**CROSS, "interval": "1d", "universe": [A]}
    outcome = play(tmp_path, store_of(tmp_path, Interval.DAY, {A: series}), source, days=days, product="CNC")
    opens = dict(zip([day.isoformat() for day in days], series.open.tolist(), strict=True))
    assert len(outcome.fills) > 10
    for at, _symbol, _quantity, price in fills(outcome):
        assert at.strftime("%H:%M") == "03:45"
        assert float(price) == opens[at.date().isoformat()]


def test_definitions_of_other_bars_change_nothing_for_each_other(tmp_path):
    """A trail of quarter hours counts from its own bars, also where a definition of days looks at the same symbol."""
    days = weekdays(date(2026, 3, 2), date(2026, 4, 10))
    minutes = walk(9, minute_times(days), gap=0.0)
    store = store_of(tmp_path, Interval.MINUTES_15, {A: minutes})
    store.merge(Interval.DAY, [Part(symbol=A, series=combine(Interval.DAY, minutes))])
    trailed = {**CROSS, "universe": [A], "exits": {"trail": {"percent": 4}}}
    daily = {"name": "days", "universe": [A], "interval": "1d", "long": {"enter": "close > 1000000"}, "size": {"quantity": 1}}
    alone = play(tmp_path / "a", store, trailed, days=days, product="CNC")
    both = play(tmp_path / "b", store, trailed, daily, days=days, product="CNC")
    assert fills(both) == fills(alone)
    assert any("trailing stop" in one.wish.why for one in alone.raised)
    assert alone.days == both.days
