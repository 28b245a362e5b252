"""The file of bars: merged once however often they come, all or nothing, with what is known of each day."""

import sqlite3
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.market.bars.series import COLUMNS, BarsError, Series
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan, make_parts, weekdays
from bridge.market.bars.times import day_numbers, first_second, number_of_day
from tests.support.rigs import ROOT

MINUTE, DAY = Interval.MINUTE, Interval.DAY
JAN = date(2026, 1, 1)
MAR = date(2026, 3, 31)


def make(minutes, price=100.0):
    """Bars at the given minutes of 2026, all at one price."""
    times = first_second(JAN) + 60 * np.array(sorted(minutes), np.int64)
    flat = np.full(len(times), price)
    return Series(times=times, open=flat, high=flat, low=flat, close=flat, volume=np.ones(len(times)))


def same(one, other):
    names = ("times", *COLUMNS)
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "times") for name in names)


@pytest.fixture
def store(tmp_path):
    return BarStore(tmp_path / "deep" / "bars.db")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three symbols over two months, one of them thin, and what was put in."""
    store = BarStore(tmp_path_factory.mktemp("three") / "bars.db")
    parts = list(make_parts(Plan(seed=3, symbols=("NSE:A", "NSE:B", "NSE:C"), days=weekdays(date(2026, 1, 20), MAR))))
    thin = parts[2].series.take(np.arange(0, len(parts[2].series), 7))
    parts[2] = Part(symbol="NSE:C", series=thin, days=parts[2].days)
    store.merge(MINUTE, parts)
    return store, parts


def test_what_is_stored_is_read_and_nothing_else(three):
    """Days are India's, both counted; other symbols and intervals have no part in it."""
    store, parts = three
    day = date(2026, 2, 10)
    read = store.series(MINUTE, "NSE:A", day, day)
    assert same(read, parts[0].series.between(first_second(day), first_second(day + timedelta(days=1))))
    assert len(read) == 375
    assert len(store.series(MINUTE, "NSE:Z", JAN, MAR)) == 0
    assert len(store.series(DAY, "NSE:A", JAN, MAR)) == 0


def test_a_common_axis_has_a_hole_where_there_is_no_bar(three):
    """Each symbol's column, without its holes, is its series."""
    store, parts = three
    bars = store.read(MINUTE, ["NSE:C", "NSE:A", "NSE:Z"], JAN, MAR)
    assert bars.close.shape == (len(bars.times), 3)
    assert bars.fields.flags.c_contiguous
    assert bars.days()[:1] + bars.days()[-1:] == [date(2026, 1, 20), MAR]
    assert same(bars.of("NSE:A"), parts[0].series)
    assert same(bars.of("NSE:C"), parts[2].series)
    assert np.isnan(bars.volume[:, 2]).all()
    assert np.isnan(bars.close[:, 0]).sum() == len(parts[0].series) - len(parts[2].series)
    with pytest.raises(BarsError, match="NSE:Q is not among"):
        bars.of("NSE:Q")


def test_month_by_month_is_the_same(three):
    """The pieces, one after the other, are the whole."""
    store, _parts = three
    symbols = ["NSE:A", "NSE:B", "NSE:C"]
    begin, end = date(2026, 1, 25), date(2026, 3, 9)
    whole = store.read(MINUTE, symbols, begin, end)
    pieces = list(store.months(MINUTE, symbols, begin, end))
    assert len(pieces) == 3
    assert np.array_equal(np.concatenate([piece.times for piece in pieces]), whole.times)
    for name in COLUMNS:
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        assert np.array_equal(joined, getattr(whole, name), equal_nan=True)


@settings(max_examples=6)
@given(data=st.data())
def test_bars_come_in_any_order_and_as_often_as_they_like(tmp_path_factory, data):
    """Whatever the pieces and their order, with repeats: the whole is stored, once."""
    minutes = sorted(data.draw(st.sets(st.integers(0, 100_000), min_size=1, max_size=40)))
    pieces = data.draw(st.lists(st.sets(st.sampled_from(minutes)), min_size=1, max_size=6))
    pieces = data.draw(st.permutations([*pieces, set(minutes)]))
    store = BarStore(tmp_path_factory.mktemp("order") / "bars.db")
    for piece in pieces:
        store.merge(MINUTE, [Part(symbol="NSE:A", series=make(piece))])
    assert same(store.series(MINUTE, "NSE:A", JAN, MAR), make(minutes))
    assert store.holdings()[0].bars == len(minutes)


def test_of_two_bars_at_one_time_the_new_one_stays(store):
    """A broker corrects its history; and after a split all of it is other."""
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([1, 2, 3], 100.0))])
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([2], 50.0))])
    assert store.series(MINUTE, "NSE:A", JAN, MAR).close.tolist() == [100.0, 50.0, 100.0]


def test_a_day_without_a_trade_is_known_and_a_day_never_fetched_is_not(store):
    """An empty day is covered when somebody says so."""
    known = {date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1), date(2026, 12, 31)}
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([1]), days=known)])
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([2]), days={date(2026, 1, 2)})])
    assert store.covered(MINUTE, "NSE:A", JAN, date(2026, 12, 31)) == known | {date(2026, 1, 2)}
    assert store.covered(MINUTE, "NSE:A", date(2026, 1, 2), date(2026, 1, 31)) == {date(2026, 1, 2), date(2026, 1, 31)}
    assert store.covered(MINUTE, "NSE:B", JAN, MAR) == set()
    assert store.covered(DAY, "NSE:A", JAN, MAR) == set()


def test_days_are_kept_by_the_year(store):
    """A bar of a day begins at midnight in India and belongs to that day."""
    days = [date(2024, 2, 29), date(2025, 12, 31), date(2026, 1, 1)]
    times = np.array([first_second(day) for day in days], np.int64)
    flat = np.full(3, 5.0)
    series = Series(times=times, open=flat, high=flat, low=flat, close=flat, volume=flat)
    store.merge(DAY, [Part(symbol="NSE:A", series=series, days=frozenset(days))])
    assert [number_of_day(day) for day in days] == day_numbers(times).tolist()
    assert same(store.series(DAY, "NSE:A", days[0], days[2]), series)
    assert store.series(DAY, "NSE:A", days[1], days[1]).times.tolist() == [times[1]]
    assert store.covered(DAY, "NSE:A", days[0], days[2]) == set(days)
    assert [len(piece) for piece in store.months(DAY, ["NSE:A"], days[0], days[2])] == [1, 1, 1]
    held = store.holdings(DAY)[0]
    assert (held.bars, held.days, held.first, held.last) == (3, 3, days[0], days[2])


def test_an_import_is_stored_whole_or_not_at_all(store):
    """One bar that cannot be kept, and nothing of the import is; the message says whose."""
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([1]))])
    bad = make([2], float("nan"))
    with pytest.raises(BarsError, match="NSE:B, 1m bars of 202601: a price"):
        store.merge(MINUTE, [Part(symbol="NSE:A", series=make([3])), Part(symbol="NSE:B", series=bad)])
    assert [(held.symbol, held.bars) for held in store.holdings()] == [("NSE:A", 1)]


def test_what_is_dropped_is_unknown(store):
    """To be fetched anew."""
    store.merge(MINUTE, [Part(symbol=name, series=make([1]), days={JAN}) for name in ("NSE:A", "NSE:B")])
    store.drop(MINUTE, ["NSE:A"])
    assert [held.symbol for held in store.holdings()] == ["NSE:B"]
    assert store.covered(MINUTE, "NSE:A", JAN, MAR) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stretch SET body = zeroblob(9)",
        "UPDATE stretch SET symbol = 'NSE:A' WHERE symbol = 'NSE:B'",
        "UPDATE stretch SET days = x'ffff'",
    ],
)
def test_a_stretch_that_was_changed_from_outside_is_not_read(store, tmp_path, statement):
    """The checksum is over the key, the days and the bars: a body in another symbol's row is found too."""
    store.merge(MINUTE, [Part(symbol="NSE:B", series=make([1]))])
    with sqlite3.connect(tmp_path / "deep" / "bars.db") as connection:
        connection.execute(statement)
    connection.close()
    symbol = store.holdings()[0].symbol
    with pytest.raises(BarsError, match="cannot be read: the checksum does not fit; drop the symbol"):
        store.series(MINUTE, symbol, JAN, MAR)


def test_a_file_that_is_none_of_ours_is_named(tmp_path):
    """No database, and one of another version."""
    path = tmp_path / "bars.db"
    path.write_bytes(b"no database, but long enough to be looked at as one" * 40)
    with pytest.raises(BarsError, match=r"bars\.db cannot be worked with"):
        BarStore(path).holdings()
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(BarsError, match="format 7, not 1"):
        BarStore(path).holdings()


KILLED = """
import sys
from pathlib import Path
from bridge.core.bar import Interval
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan, make_parts, weekdays
from datetime import date
store = BarStore(Path(sys.argv[1]))
made = list(make_parts(Plan(seed=1, symbols=("NSE:A", "NSE:B"), days=weekdays(date(2026, 1, 1), date(2026, 6, 30)))))
for round in range(1_000_000):
    store.merge(Interval.MINUTE, [Part(symbol=f"{part.symbol}{round}", series=part.series) for part in made])
    print(round, flush=True)
"""


def test_a_kill_in_the_middle_leaves_whole_imports(tmp_path):
    """Whatever the moment: each import is there with both of its symbols, or not at all, and reading goes on."""
    path = tmp_path / "bars.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(5)]
        process.kill()
    store = BarStore(path)
    held = {one.symbol: one.bars for one in store.holdings()}
    assert {symbol[4] for symbol in held} == {"A", "B"}
    assert {symbol[5:] for symbol in held if symbol[4] == "A"} == {symbol[5:] for symbol in held if symbol[4] == "B"}
    assert all(f"NSE:A{number}" in held for number in done)
    assert len(set(held.values())) <= 2
    assert len(store.read(MINUTE, list(held), JAN, date(2026, 6, 30))) > 0


def test_a_mark_is_true_with_its_bars_and_not_without(store):
    """What is stored in one call is there whole or not at all, and the last text under a name counts."""
    assert store.mark("known") is None
    store.merge(MINUTE, [Part(symbol="NSE:A", series=make([1]))], marks={"known": "one"})
    bad = make([2])
    bad.volume[0] = 0.5
    with pytest.raises(BarsError, match="whole number"):
        store.merge(MINUTE, [Part(symbol="NSE:A", series=make([3])), Part(symbol="NSE:B", series=bad)], marks={"known": "two"})
    assert (store.mark("known"), len(store.series(MINUTE, "NSE:A", JAN, JAN))) == ("one", 1)
    store.merge(MINUTE, (), marks={"known": "three", "other": "1"})
    assert (store.mark("known"), store.mark("other")) == ("three", "1")
