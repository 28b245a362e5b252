"""A program at work decides at every bar what a fresh one would that reads the stored bars; what is missing is known."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.enums import Product
from bridge.core.market import Tick
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import weekdays
from bridge.market.bars.times import first_second
from bridge.market.calendar import load_calendar
from bridge.market.instruments import load_catalog
from bridge.runner.books import Member
from bridge.runner.hours import Hours
from bridge.runner.program import Program, Setting
from bridge.scanner.decide import Evaluation
from bridge.scanner.definition import read_definition
from bridge.scanner.programs import GroupKey, warm_begin
from tests.support.rigs import ROOT
from tests.support.samples import SBIN

SYMBOLS = (SBIN, "NSE:INFY", "NSE:TCS")
OPENING = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
MINUTE = timedelta(minutes=1)
CROSS: dict[str, Any] = {
    "name": "cross", "strategy": "demo", "universe": list(SYMBOLS), "interval": "1m", "filters": {"calm": "rsi(close, 4) < 90"},
    "score": "roc(close, 2)", "top": 2, "keep": 3,
    "long": {"enter": "ema(close, 2) > ema(close, 4)", "leave": "ema(close, 2) < ema(close, 4)"},
}  # fmt: skip
CALENDAR = load_calendar()
CATALOG = load_catalog(ROOT / "config" / "instruments.csv", OPENING.date)
# By minute: for each symbol its move in ticks and how late it trades, or nothing.
Minute = tuple[tuple[int, int] | None, ...]
MINUTES = st.lists(
    st.tuples(*[st.none() | st.tuples(st.integers(-40, 40), st.integers(0, 59))] * len(SYMBOLS)), min_size=3, max_size=30
)


def hours() -> Hours:
    instrument = CATALOG.get(SBIN)
    assert instrument is not None
    return Hours(CALENDAR, [instrument])


def ends_at() -> datetime:
    """The end of the day's continuous trading."""
    found = hours().of(OPENING)
    assert found is not None
    return found[1]


def make_program(
    folder: Path, heard_since: datetime = OPENING - MINUTE, outside: frozenset[str] = frozenset(), **changes: Any
) -> Program:
    definition = read_definition({**CROSS, **changes})
    member = Member(definition=definition, accounts=("paper",), product=Product.MIS, since=OPENING - MINUTE)
    setting = Setting(
        key=GroupKey(definition.interval, SYMBOLS, ((date.min, outside),)), members=(member,), held_back={},
        tokens=dict(enumerate(SYMBOLS, start=1)), lots=dict.fromkeys(SYMBOLS, Decimal(1)),
    )  # fmt: skip
    store = BarStore(folder / "bars.db")
    return Program(setting, store=store, doctor=Doctor(store, CALENDAR), hours=hours(), heard_since=heard_since)


def ask(program: Program) -> Evaluation:
    return program.evaluate(program.members[0], {}, {})


def told(evaluation: Evaluation) -> list[Any]:
    """All that an evaluation says, to the last bit."""
    return [*evaluation.wishes, *map(repr, evaluation.lines())]


@given(minutes=MINUTES, cut=st.integers(0, 29))
@settings(max_examples=12, deadline=None)
def test_a_program_at_work_says_what_a_fresh_one_does(minutes: list[Minute], cut: int) -> None:
    """At each bar, for silent minutes, silent symbols and whatever moves; also when it was cut off and loaded anew."""
    with TemporaryDirectory() as folder:
        live = make_program(Path(folder))
        live.load(OPENING)
        live.is_ready = True
        prices = [16_000] * len(SYMBOLS)
        for number, minute in enumerate(minutes):
            opened = OPENING + number * MINUTE
            for place, trade in enumerate(minute):
                if trade is not None:
                    prices[place] += trade[0]
                    at = opened + timedelta(seconds=trade[1])
                    live.live.take([Tick(token=place + 1, price=Decimal(prices[place]) / 20, at=at, volume=number)])
            live.close_due(opened + MINUTE + timedelta(seconds=3))
            for closed in live.take_closed():
                live.keep(closed)
                assert live.step(closed)
                fresh = make_program(Path(folder))
                fresh.load(opened + MINUTE)
                assert fresh.group.closed_at == live.group.closed_at == fresh.known_until == opened + MINUTE
                assert told(ask(fresh)) == told(ask(live))
                assert not live.step(closed)
            if number == cut:
                live.load(opened + MINUTE)


def test_a_mark_tells_up_to_when_nothing_is_missing(tmp_path: Path) -> None:
    """Only sessions count: a bridge that slept over night, heard the close and hears the opening misses nothing."""
    at = OPENING + timedelta(minutes=30, seconds=20)
    program = make_program(tmp_path, heard_since=at)
    program.load(at)
    gaps = program.missing(at)
    begin = warm_begin(Interval.MINUTE, OPENING.date())
    assert gaps[0][0].astimezone(IST).date() == min(d for d in days_from(begin) if CALENDAR.is_trading_day(d))
    assert gaps[-1] == (OPENING, OPENING + timedelta(minutes=31))
    program.note_known(OPENING + timedelta(minutes=10))
    assert program.missing(at) == [(OPENING + timedelta(minutes=10), OPENING + timedelta(minutes=31))]
    program.note_known(gaps[-1][1])
    assert program.missing(at) == []
    monday = OPENING + timedelta(days=3)
    program.note_break(monday - MINUTE)
    assert program.missing(monday) == [(OPENING + timedelta(minutes=31), ends_at())]
    program.note_known(ends_at())
    assert program.missing(monday) == []
    program.note_break(monday + timedelta(seconds=1))
    assert program.missing(monday) == [(monday, monday + MINUTE)]


def days_from(begin: date) -> list[date]:
    return [begin + timedelta(days=number) for number in range(10)]


def test_a_day_is_whole_when_its_session_is_over(tmp_path: Path) -> None:
    """Its bar closes a minute after the session, and is asked about on the next trading day, not before."""
    program = make_program(tmp_path, interval="1d", cadence="daily@10:00", score="close", top=1, keep=1, filters={})
    program.load(OPENING)
    program.is_ready = True
    program.live.take([Tick(token=1, price=Decimal(800), at=OPENING + MINUTE), Tick(token=1, price=Decimal(810), at=OPENING)])
    end = ends_at()
    program.close_due(end + timedelta(seconds=50))
    assert program.take_closed() == []
    program.close_due(end + timedelta(seconds=61))
    (closed,) = program.take_closed()
    assert closed.is_whole
    assert np.isnan(closed.fields[3]).tolist() == [False, True, True]
    program.keep(closed)
    program.step(closed)
    assert program.due_members(end + timedelta(seconds=62)) == []
    monday = OPENING + timedelta(days=3)
    assert program.due_members(monday + timedelta(minutes=44)) == []
    (member,) = program.due_members(monday.replace(hour=10, minute=0, second=6))
    program.note_asked(member.definition, monday)
    assert program.due_members(monday.replace(hour=10, minute=1)) == []
    tuesday = monday + timedelta(days=1)
    assert program.stale(tuesday) == f"there are no bars of {monday.date()}"
    assert program.due_members(tuesday.replace(hour=10, minute=1)) == []


@pytest.mark.parametrize(
    ("interval", "heard", "whole"),
    [("1m", "09:10:00", "09:10:00"), ("5m", "09:15:00", "09:15:00"), ("5m", "09:15:01", "09:20:00"),
     ("60m", "10:20:00", "11:15:00"), ("5m", "09:20:00", "09:20:00"), ("1m", "15:31:00", "15:31:00")],
)  # fmt: skip
def test_the_first_bar_that_was_heard_whole(interval: str, heard: str, whole: str) -> None:
    """Bars count from the opening."""
    at, expected = (datetime.fromisoformat(f"2026-11-20T{each}").replace(tzinfo=IST) for each in (heard, whole))
    assert hours().whole_from(Interval(interval), at) == expected


def test_bars_that_are_doubted_and_who_left_the_universe_count_in_no_rank(tmp_path: Path) -> None:
    """The first of the ranking is the best of those who belong and are trusted."""
    days = weekdays(date(2026, 9, 1), date(2026, 11, 19))
    store, times = BarStore(tmp_path / "bars.db"), np.array([first_second(day) for day in days])
    for number, symbol in enumerate(SYMBOLS):
        close = np.round(np.cumprod(1 + np.random.default_rng(number).normal(0, 0.01, len(days))) * (500 - 100 * number), 2)
        if number == 0:
            close[:20] *= 5
        series = Series(times=times, open=close, high=close, low=close, close=close, volume=np.full(len(days), 100.0))
        store.merge(Interval.DAY, [Part(symbol=symbol, series=series)])
    ranking: dict[str, Any] = {
        "interval": "1d",
        "cadence": "bar",
        "score": "close",
        "top": 1,
        "keep": 1,
        "filters": {},
        "long": {},
    }
    program = make_program(tmp_path, **ranking)
    program.load(OPENING)
    found = ask(program)
    assert [(wish.symbol, wish.rank) for wish in found.wishes] == [(SYMBOLS[1], 1)]
    assert found.line(0).why.startswith("split: opens on")
    program = make_program(tmp_path, outside=frozenset({SYMBOLS[1]}), **ranking)
    program.load(OPENING)
    assert [(wish.symbol, wish.rank) for wish in ask(program).wishes] == [(SYMBOLS[2], 1)]
