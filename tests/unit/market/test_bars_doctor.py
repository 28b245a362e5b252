"""The data doctor: each fault that is put into a made-up market is found, named, and nothing else is."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from bridge.core.bar import Interval
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.findings import Complaint, Finding, Verdict
from bridge.market.bars.series import COLUMNS
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan, combine, make_parts, weekdays
from bridge.market.bars.times import day_of_number, first_second
from bridge.market.calendar import load_calendar

PRICES = COLUMNS[:4]
BEGIN, END = date(2026, 1, 1), date(2026, 6, 30)
SYMBOLS = tuple(f"NSE:S{number:02}" for number in range(8))
A, B, C = SYMBOLS[:3]
MINUTE, DAY = Interval.MINUTE, Interval.DAY
CALENDAR = load_calendar()
DAYS = tuple(day for day in weekdays(BEGIN, END) if CALENDAR.is_trading_day(day))


@pytest.fixture(scope="module")
def daily():
    return {p.symbol: combine(DAY, p.series) for p in make_parts(Plan(seed=5, symbols=SYMBOLS, days=DAYS))}


@pytest.fixture(scope="module")
def minutes():
    """Six weeks of minutes of four symbols."""
    plan = Plan(seed=5, symbols=SYMBOLS[:4], days=DAYS[:30])
    return {part.symbol: part.series for part in make_parts(plan)}


@pytest.fixture
def examine(tmp_path):
    def examine(series, interval=DAY, days=None, beside=None):
        """What is found in these series; `days` are known of each, by default those with a bar."""
        store = BarStore(tmp_path / f"{len(list(tmp_path.iterdir()))}.db")
        for each, told in ((interval, series), (DAY if interval is MINUTE else MINUTE, beside or {})):
            parts = []
            for symbol, one in told.items():
                own = {day_of_number(int(number)) for number in np.unique((one.times + 19_800) // 86_400)}
                parts.append(Part(symbol=symbol, series=one, days=own if days is None else days))
            store.merge(each, parts)
        return Doctor(store, CALENDAR).examine(interval, list(series), BEGIN, END)

    return examine


def complaints(verdict):
    return {finding.complaint for finding in verdict.findings}


def scale(series, factor, begin=0, end=None, names=PRICES):
    """Some bars at another price."""
    changed = {name: getattr(series, name).copy() for name in names}
    for column in changed.values():
        column[begin:end] = np.round(column[begin:end] * factor, 2)
    return replace(series, **changed)


def put(series, place, **values):
    """One bar changed."""
    changed = {name: getattr(series, name).copy() for name in values}
    for name, value in values.items():
        changed[name][place] = value
    return replace(series, **changed)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_market_has_no_patients(examine, seed):
    """No fault is found where there is none, in days and in minutes."""
    made = {p.symbol: p.series for p in make_parts(Plan(seed=seed, symbols=SYMBOLS, days=DAYS[:60]))}
    for interval, series in ((DAY, {symbol: combine(DAY, one) for symbol, one in made.items()}), (MINUTE, made)):
        verdicts = examine(series, interval)
        assert {symbol: verdict.reason for symbol, verdict in verdicts.items()} == dict.fromkeys(SYMBOLS, "")
        assert all(verdict.is_trusted for verdict in verdicts.values())


FAULTS = [
    (lambda one: put(one, 40, low=0.0), Complaint.BAD_PRICE, "1 bars have a price of zero or less, the first"),
    (lambda one: put(one, 40, open=-5.0, low=-5.0), Complaint.BAD_PRICE, "1 bars"),
    (lambda one: put(one, 40, high=one.low[40] / 2), Complaint.BAD_RANGE, "in 1 bars open or close lie outside"),
    (lambda one: scale(one, 0.5, 60), Complaint.SPLIT, "like a split or bonus of 1:2 not adjusted for; fetch it --again"),
    (lambda one: scale(one, 0.2, 60), Complaint.SPLIT, "of 1:5"),
    (lambda one: scale(one, 10.0, 60), Complaint.SPLIT, "of 10:1"),
    (lambda one: scale(one, 0.42, 60), Complaint.JUMP, "from the close before"),
    (lambda one: one.take(slice(0, -5)), Complaint.STALE, "5 sessions before others: nothing fetched since"),
    (lambda one: one.take(np.delete(np.arange(len(one)), slice(50, 60))), Complaint.HOLES, "10 of"),
    (lambda one: one.take(np.delete(np.arange(len(one)), 50)), Complaint.HOLE, "1 sessions are missing"),
    (lambda one: put(one, slice(50, 53), volume=0.0), Complaint.VOLUME, "3 days moved without volume"),
    (lambda one: put(one, slice(-20, None), volume=one.volume[-20:] * 100), Complaint.VOLUME, "times that before"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "complaint", "words"), FAULTS)
def test_a_fault_is_found_in_the_one_that_has_it(daily, examine, spoil, complaint, words):
    """By its name, with where and how much; the others are sound."""
    verdicts = examine({**daily, B: spoil(daily[B])})
    assert complaints(verdicts[B]) == {complaint}
    assert words in verdicts[B].reason
    assert verdicts[B].is_trusted == (not complaint.is_grave)
    assert [symbol for symbol, verdict in verdicts.items() if verdict.findings] == [B]


def test_a_price_that_stands_still_is_no_price(daily, examine):
    """Somebody filled the days he did not have."""
    last = float(daily[B].close[-7])
    frozen = put(daily[B], slice(-6, None), **dict.fromkeys(PRICES, last), volume=0.0)
    verdict = examine({**daily, B: frozen})[B]
    assert complaints(verdict) == {Complaint.FROZEN}
    assert "in each of the last 6 sessions" in verdict.reason


def test_one_company_in_two_files_is_found_in_both(daily, examine):
    """For all the time, or for a few weeks of it: nobody can say whose the prices are."""
    verdicts = examine({**daily, B: daily[A]})
    assert complaints(verdicts[A]) == complaints(verdicts[B]) == {Complaint.TWIN}
    assert f"has the prices of {A}" in verdicts[B].reason
    for_a_while = {name: getattr(daily[B], name).copy() for name in COLUMNS}
    for name, column in for_a_while.items():
        column[20:75] = getattr(daily[A], name)[20:75]
    verdicts = examine({**daily, C: daily[C], B: replace(daily[B], **for_a_while)})
    assert Complaint.TWIN in complaints(verdicts[A])
    assert Complaint.TWIN in complaints(verdicts[B])
    assert not verdicts[C].findings


def test_symbols_that_change_places_are_found(daily, examine):
    """From one day on each goes on at the other's price; prices that are near hide it."""
    swapped, far = {}, SYMBOLS[6]
    for own, other in ((A, far), (far, A)):
        columns = {name: getattr(daily[own], name).copy() for name in COLUMNS}
        for name, column in columns.items():
            column[60:] = getattr(daily[other], name)[60:]
        swapped[own] = replace(daily[own], **columns)
    verdicts = examine({**daily, **swapped})
    for own, other in ((A, far), (far, A)):
        assert Complaint.SWAPPED in complaints(verdicts[own])
        assert f"goes on at the price of {other} from {DAYS[60]} on" in verdicts[own].reason
    assert not verdicts[C].findings


def test_files_changed_for_one_another_show_beside_the_minutes(minutes, examine):
    """A whole file that is another's has no fault in itself; the other interval knows better."""
    days = {symbol: combine(DAY, one) for symbol, one in minutes.items()}
    verdicts = examine({**days, A: days[B], B: days[A]}, beside=minutes)
    for symbol in (A, B):
        assert complaints(verdicts[symbol]) == {Complaint.DISAGREES}
        assert "1d and 1m bars close apart on 30 of 30 days" in verdicts[symbol].reason
    assert not verdicts[C].findings


def test_days_known_to_have_no_trade_are_no_holes(daily, examine):
    """A halt is not a gap in the data; but a series that has ended is stale all the same."""
    fewer = daily[B].take(np.delete(np.arange(len(daily[B])), slice(50, 60)))
    assert examine({**daily, B: fewer}, days=frozenset(DAYS))[B].is_trusted
    ended = examine({**daily, C: daily[C].take(slice(0, 80))}, days=frozenset(DAYS))[C]
    assert complaints(ended) == {Complaint.STALE}


def test_minutes_in_another_zone_and_short_sessions_are_found(minutes, examine):
    """Five and a half hours early; and a day that breaks off at noon."""
    shifted = replace(minutes[A], times=minutes[A].times - 19_800)
    begin = first_second(DAYS[10])
    cut = minutes[B].take(~((minutes[B].times >= begin + 40_000) & (minutes[B].times < begin + 86_400)))
    verdicts = examine({**minutes, A: shifted, B: cut}, MINUTE)
    assert Complaint.ODD_HOURS in complaints(verdicts[A])
    assert "another time zone?" in verdicts[A].reason
    assert complaints(verdicts[B]) == {Complaint.SHORT_SESSION}
    assert f"1 sessions have less than half of the usual bars, the first {DAYS[10]}" in verdicts[B].reason
    assert not verdicts[C].findings


def test_bars_on_a_holiday_are_remarked(daily, examine):
    """Dates that are a day off fall on Saturdays."""
    shifted = replace(daily[A], times=daily[A].times + 86_400)
    assert Complaint.HOLIDAY in complaints(examine({A: shifted})[A])


def test_a_symbol_without_bars_is_not_trusted(daily, examine):
    """Missing data is a reason, never a silent pass."""
    empty = daily[A].take(slice(0, 0))
    verdict = examine({**daily, A: empty})[A]
    assert (complaints(verdict), verdict.is_trusted) == ({Complaint.NO_BARS}, False)
    assert not examine({A: empty})[A].is_trusted


def test_the_gravest_is_told_first():
    """A scan shows one sentence."""
    findings = (Finding(Complaint.VOLUME, "odd"), Finding(Complaint.SPLIT, "half"))
    assert Verdict(symbol=A, findings=findings).reason == "split: half; volume: odd"
