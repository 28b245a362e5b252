"""Bars out of CSV files: what an export looks like is read, and what is wrong is named by file, line and column."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.market.bars.csv_file import read_csv
from bridge.market.bars.series import BarsError
from bridge.market.bars.times import first_second

NOW = datetime(2026, 1, 7, 6, 0, tzinfo=UTC)  # 11:30 on a Wednesday in India
HEADING = "symbol,time,open,high,low,close,volume"
FIVE = first_second(date(2026, 1, 5)) + 33_300


@pytest.fixture
def read(tmp_path):
    def read(text, interval=Interval.MINUTE, **given):
        path = tmp_path / "bars.csv"
        path.write_text(text, encoding="utf-8")
        return read_csv(path, interval, now=NOW, **given)

    return read


def test_a_file_of_two_symbols_is_read(read):
    """In any order of lines; a symbol without an exchange is NSE's."""
    parts = read(
        f"{HEADING}\nNSE:INFY,2026-01-05T09:16:00+05:30,1,2,0.5,1.5,10\nsbin,2026-01-05 09:15,812.5,813,812,812.55,7\n\n"
        "NSE:INFY,2026-01-05T03:45:00Z,1,1,1,1,0\n"
    )
    assert [part.symbol for part in parts] == ["NSE:INFY", "NSE:SBIN"]
    infy, sbin = (part.series for part in parts)
    assert infy.times.tolist() == [FIVE, FIVE + 60]
    assert infy.high.tolist() == [1.0, 2.0]
    assert (sbin.times[0], sbin.close[0], sbin.volume[0]) == (FIVE, 812.55, 7)
    assert parts[0].days == {date(2026, 1, 5)}


@pytest.mark.parametrize("time", ["2026-01-05 09:15", "2026-01-05T09:15:00+05:30", "2026-01-05T03:45:00Z", str(FIVE)])
def test_a_time_is_written_as_exports_write_it(read, time):
    """With a zone, without one (India's), or as seconds since 1970; the column has several names too."""
    (part,) = read(f"Date,Volume,Open,High,Low,Close\n{time},5,1,1,1,1\n", symbol="NSE:SBIN")
    assert part.series.times.tolist() == [FIVE]


def test_a_bar_of_a_day_begins_at_midnight_in_india(read):
    """Whatever hour the export gives it."""
    lines = "2026-01-05,1,1,1,1,1\n2026-01-06T09:15:00+05:30,1,1,1,1,1\n"
    (part,) = read(f"time,open,high,low,close,volume\n{lines}", Interval.DAY, symbol="SBIN")
    assert part.series.times.tolist() == [first_second(date(2026, 1, 5)), first_second(date(2026, 1, 6))]


def test_bars_that_are_not_over_are_left_out_and_today_is_not_known(read):
    """The bar of 11:29 is over at 11:30, that of 11:30 is not, and more of today may come."""
    rows = "".join(f"2026-01-07 {time},1,1,1,1,1\n" for time in ("11:29", "11:30", "15:00"))
    (part,) = read(f"time,open,high,low,close,volume\n{rows}", symbol="SBIN")
    assert len(part.series) == 1
    assert part.days == frozenset()
    with pytest.raises(BarsError, match="no closed bar"):
        read("time,open,high,low,close,volume\n2026-01-07,1,1,1,1,1\n", Interval.DAY, symbol="SBIN")


ROW = "NSE:A,2026-01-05 09:15,1,1,1,1,1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, symbol: the column is missing"),
        (HEADING.replace("volume", "vol"), "line 1, volume: the column is missing"),
        (f"{HEADING},open", "line 1, open: the column is twice"),
        (f"{HEADING}\n{ROW}\nNSE:A,2026-01-05 09:16,1,1", "line 3: the line has 4 columns"),
        (f"{HEADING}\nNSE:A,5 Jan 2026,1,1,1,1,1", "line 2, time: '5 Jan 2026' is not a time"),
        (f"{HEADING}\nNSE:A,99999999999999999,1,1,1,1,1", "line 2, time: .* is not a time"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15:30,1,1,1,1,1", "line 2, time: no 1m bar opens at"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15,1,,1,1,1", "line 2, high: '' is not a number"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15,1,1,nan,1,1", "line 2, low: 'nan' is not a number that can be kept"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15,1,1,1,1e99,1", "line 2, close: '1e99' is not a number that can be kept"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15,1,1,1,1,1.5", "line 2, volume: '1.5' is not a whole number"),
        (f"{HEADING}\nNSE:A,2026-01-05 09:15,1,1,1,1,-1", "line 2, volume: '-1' is not a whole number"),
        (f"{HEADING}\nA:B:,2026-01-05 09:15,1,1,1,1,1", "line 2, symbol: 'A:B:' is not a symbol"),
        (f"{HEADING}\n{ROW}\n{ROW.replace('15,1,', '15,2,')}", "line 3, time: .* comes twice, with different prices"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_column(read, text, words):
    """So that a person finds it in a file of a million lines."""
    with pytest.raises(BarsError, match=rf"bars\.csv, {words}"):
        read(text)


def test_a_line_that_comes_twice_alike_is_one_bar(read):
    """Exports overlap."""
    assert len(read(f"{HEADING}\n{ROW}\n{ROW}\n")[0].series) == 1


def test_bars_of_a_quarter_of_an_hour_open_on_the_quarter(read):
    """They count from 09:15 in India."""
    good = read("time,open,high,low,close,volume\n2026-01-05 15:15,1,1,1,1,1\n", Interval.MINUTES_15, symbol="SBIN")
    assert len(good[0].series) == 1
    with pytest.raises(BarsError, match="no 60m bar opens at '2026-01-05 15:00': they count from 09:15"):
        read("time,open,high,low,close,volume\n2026-01-05 15:00,1,1,1,1,1\n", Interval.HOUR, symbol="SBIN")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """None there, or no text."""
    with pytest.raises(BarsError, match=r"none\.csv cannot be read"):
        read_csv(tmp_path / "none.csv", Interval.MINUTE, now=NOW)
    (tmp_path / "zip.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(BarsError, match=r"zip\.csv cannot be read"):
        read_csv(tmp_path / "zip.csv", Interval.MINUTE, now=NOW)


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_no_line_is_ever_a_traceback(tmp_path_factory, line):
    """Bad input is an answer."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(f"{HEADING}\n{line}", encoding="utf-8", errors="replace")
    with pytest.raises(BarsError):
        read_csv(path, Interval.MINUTE, now=NOW)
