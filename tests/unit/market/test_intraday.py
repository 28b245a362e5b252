"""When intraday positions are closed: before the end of continuous trading, on usual and on special days."""

from datetime import date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.clock import IST
from bridge.core.instrument import Instrument
from bridge.market.calendar import load_calendar
from bridge.market.intraday import DEFAULT_MINUTES, SquareOffTimes
from bridge.market.schedule import Segment
from tests.unit.market.test_calendar import CRUDE, FNO, FUTURE, MONTH_END, PLAIN, USDINR, make_instrument

CALENDAR = load_calendar()
DEFAULTS = SquareOffTimes(calendar=CALENDAR, named={})


def at(day: str, clock: str = "12:00") -> datetime:
    return datetime.combine(date.fromisoformat(day), time.fromisoformat(clock), IST)


def ends(times: SquareOffTimes, instrument: Instrument, day: str) -> str | None:
    found = times(instrument, at(day))
    if found is None:
        return None
    assert found.astimezone(IST).date().isoformat() == day
    return f"{found.astimezone(IST):%H:%M}"


@pytest.mark.parametrize(
    ("instrument", "day", "clock"),
    [
        (PLAIN, "2026-11-20", "15:15"),
        (FNO, "2026-07-31", "15:15"),
        (FNO, "2026-11-20", "15:00"),
        (FNO, "2026-12-07", "15:15"),
        (FUTURE, "2026-11-20", "15:15"),
        (FUTURE, "2026-12-07", "15:20"),
        (MONTH_END, "2026-12-29", "15:05"),
        (USDINR, "2026-11-20", "16:40"),
        (CRUDE, "2026-10-30", "23:00"),
        (CRUDE, "2026-11-20", "23:25"),
        (PLAIN, "2026-02-01", "15:15"),
        (CRUDE, "2026-02-01", "16:30"),
        (CRUDE, "2026-11-24", "23:25"),
    ],
)
def test_defaults_follow_the_hours_of_the_day(instrument, day, clock):
    """Five minutes before the broker's documented times, on shortened days and special Sundays too."""
    assert ends(DEFAULTS, instrument, day) == clock


@pytest.mark.parametrize(
    ("instrument", "day"),
    [
        (PLAIN, "2026-11-24"),
        (PLAIN, "2026-11-21"),
        (PLAIN, "2026-11-08"),
        (PLAIN, "2027-01-04"),
        (make_instrument("XYZ"), "2026-11-20"),
    ],
)
def test_a_day_without_known_trading_has_no_moment(instrument, day):
    """A holiday, a weekend, hours that nobody knows, a year beyond the calendar, an exchange that is not known."""
    assert ends(DEFAULTS, instrument, day) is None


@pytest.mark.parametrize(
    ("named", "instrument", "day", "clock"),
    [
        ({Segment.EQUITY: 45}, PLAIN, "2026-11-20", "14:45"),
        ({Segment.EQUITY: 45}, FNO, "2026-11-20", "15:00"),
        ({Segment.EQUITY: time(15, 5)}, PLAIN, "2026-11-20", "15:05"),
        ({Segment.EQUITY: None}, PLAIN, "2026-11-20", None),
        ({Segment.COMMODITY: time(22, 0)}, CRUDE, "2026-11-20", "22:00"),
        ({Segment.COMMODITY: time(22, 0)}, CRUDE, "2026-11-24", "22:00"),
        ({Segment.COMMODITY: time(22, 0)}, CRUDE, "2026-02-01", "16:30"),
        ({Segment.DERIVATIVES: 10}, MONTH_END, "2026-12-29", "15:20"),
        ({Segment.DERIVATIVES: 10, Segment.INDEX_EXPIRY: 30}, MONTH_END, "2026-12-29", "15:00"),
        ({Segment.DERIVATIVES: None}, MONTH_END, "2026-12-29", None),
    ],
)
def test_named_minutes_and_times(named, instrument, day, clock):
    """A time of day holds where it lies within trading; on a special day the default distance does."""
    assert ends(SquareOffTimes(calendar=CALENDAR, named=named), instrument, day) == clock


WHENS = st.one_of(st.none(), st.integers(1, 240), st.times().map(lambda clock: clock.replace(second=0, microsecond=0)))


@given(
    named=st.dictionaries(st.sampled_from(list(Segment)), WHENS),
    instrument=st.sampled_from([PLAIN, FNO, FUTURE, MONTH_END, USDINR, CRUDE]),
    day=st.dates(date(2026, 1, 1), date(2026, 12, 31)),
)
def test_the_moment_lies_before_the_end_of_continuous_trading(named, instrument, day):
    """Whatever is named: an exit at market finds a market that takes it."""
    found = SquareOffTimes(calendar=CALENDAR, named=named)(instrument, at(day.isoformat()))
    hours = CALENDAR.continuous(instrument, at(day.isoformat()))
    if found is not None:
        assert hours is not None
        assert found < hours[1]


def test_every_segment_has_a_default():
    """Else its positions would be left to the broker unasked."""
    assert set(DEFAULT_MINUTES) == set(Segment)
