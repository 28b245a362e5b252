"""The calendar: every boundary on both sides, holidays, special days, the edges of what it knows."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.clock import IST
from bridge.core.enums import InstrumentKind, OrdType, TimeInForce, Variety
from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.core.market import SessionQuestion, SessionState, never_closed
from bridge.core.reasons import Reason
from bridge.market.calendar import Calendar, load_calendar

# Reference E6 of the project, typed again by hand: the weekdays of 2026 on which shares and their derivatives rest.
HOLIDAYS = (
    *("2026-01-15", "2026-01-26", "2026-03-03", "2026-03-26", "2026-03-31", "2026-04-03", "2026-04-14", "2026-05-01"),
    *("2026-05-28", "2026-06-26", "2026-09-14", "2026-10-02", "2026-10-20", "2026-11-10", "2026-11-24", "2026-12-25"),
)
BUDGET, MUHURAT = date(2026, 2, 1), date(2026, 11, 8)
CALENDAR = load_calendar()


def make_instrument(
    exchange="NSE", name="SBIN", kind=InstrumentKind.EQ, expiry: date | None = None, has_derivatives=False
) -> Instrument:
    return Instrument(
        symbol=f"{exchange}:{name}",
        exchange=exchange,
        tradingsymbol=name,
        name=name,
        kind=kind,
        tick=Decimal("0.05"),
        lot=Decimal(1),
        expiry=expiry,
        has_derivatives=has_derivatives,
    )


PLAIN = make_instrument(name="SMALLCO")
FNO = make_instrument(has_derivatives=True)
FUTURE = make_instrument("NFO", "NIFTY", InstrumentKind.FUT, date(2027, 3, 30))
MONTH_END = make_instrument("NFO", "NIFTY", InstrumentKind.CE, date(2026, 12, 29))
STOCK_END = make_instrument("NFO", "SBIN", InstrumentKind.FUT, date(2026, 12, 29))
SENSEX_END = make_instrument("BFO", "SENSEX", InstrumentKind.PE, date(2026, 12, 31))
USDINR = make_instrument("CDS", "USDINR", InstrumentKind.FUT, date(2027, 3, 29))
CRUDE = make_instrument("MCX", "CRUDEOIL", InstrumentKind.FUT, date(2027, 3, 18))


def at(day: str | date, clock: str) -> datetime:
    """A moment in India, in UTC as the bridge has it."""
    day = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(day, time.fromisoformat(clock), IST).astimezone(UTC)


def ask(
    moment: datetime,
    instrument: Instrument = FNO,
    ord_type: OrdType = OrdType.MARKET,
    time_in_force: TimeInForce = TimeInForce.DAY,
    calendar: Calendar = CALENDAR,
) -> SessionState:
    question = SessionQuestion(instrument=instrument, ord_type=ord_type, time_in_force=time_in_force, at=moment)
    return calendar.session(question)


# --- the hours of a day, on both sides of each boundary ---


@pytest.mark.parametrize(
    ("instrument", "day", "opens", "closes"),
    [
        (PLAIN, "2026-07-31", "09:15", "15:30"),
        (PLAIN, "2026-11-20", "09:15", "15:30"),
        (PLAIN, "2026-12-07", "09:15", "15:30"),
        (FNO, "2026-07-31", "09:15", "15:30"),
        (FNO, "2026-08-03", "09:15", "15:15"),
        (FNO, "2026-11-20", "09:15", "15:15"),
        (FNO, "2026-12-04", "09:15", "15:15"),
        (FNO, "2026-12-07", "09:15", "15:30"),
        (FUTURE, "2026-07-31", "09:15", "15:30"),
        (FUTURE, "2026-08-03", "09:15", "15:40"),
        (FUTURE, "2026-12-04", "09:15", "15:40"),
        (FUTURE, "2026-12-07", "09:15", "15:45"),
        (MONTH_END, "2026-12-28", "09:15", "15:45"),
        (MONTH_END, "2026-12-29", "09:15", "15:30"),
        (STOCK_END, "2026-12-29", "09:15", "15:45"),
        (SENSEX_END, "2026-12-31", "09:15", "15:30"),
        (make_instrument("BSE", has_derivatives=True), "2026-11-20", "09:15", "15:15"),
        (make_instrument("BSE", "SENSEX", InstrumentKind.INDEX), "2026-11-20", "09:15", "15:30"),
        (USDINR, "2026-11-20", "09:00", "17:00"),
        (CRUDE, "2026-03-06", "09:00", "23:55"),
        (CRUDE, "2026-03-09", "09:00", "23:30"),
        (CRUDE, "2026-10-30", "09:00", "23:30"),
        (CRUDE, "2026-11-02", "09:00", "23:55"),
    ],
)
def test_stop_order_passes_exactly_in_continuous_trading(instrument, day, opens, closes):
    """A window holds its first instant and not its last; stops go in only while trading is continuous."""
    first, last = at(day, opens), at(day, closes)
    tick = timedelta(microseconds=1)

    for moment in (first, first + tick, first + timedelta(hours=1), last - timedelta(minutes=1), last - tick):
        assert ask(moment, instrument, OrdType.SL).is_open, moment
    for moment in (first - tick, first - timedelta(minutes=1), last, last + tick, last + timedelta(minutes=1)):
        assert ask(moment, instrument, OrdType.SL).reason is Reason.MARKET_CLOSED, moment


def test_every_minute_of_a_normal_day_is_open_or_closed_as_written():
    """Minute by minute, a share without futures trades from 09:15 until before 15:30 and not else."""
    midnight = at("2026-11-20", "00:00")

    open_minutes = [m for m in range(1440) if ask(midnight + timedelta(minutes=m), PLAIN).is_open]

    assert open_minutes == list(range(9 * 60 + 15, 15 * 60 + 30))


# --- the closing auction ---


@pytest.mark.parametrize(
    ("day", "from_minute", "market_until", "limit_until"),
    [("2026-08-03", "15:20", "15:25", "15:30"), ("2026-12-07", "15:31", "15:36", "15:40")],
)
def test_closing_auction_takes_market_then_only_limit(day, from_minute, market_until, limit_until):
    """First half limit and market, second half limit only, before and after nothing."""
    begin, middle, end = (at(day, clock) for clock in (from_minute, market_until, limit_until))
    tick = timedelta(microseconds=1)

    assert not ask(begin - tick, FNO, OrdType.LIMIT).is_open
    for moment in (begin, middle - tick):
        assert ask(moment, FNO, OrdType.MARKET).is_open
        assert ask(moment, FNO, OrdType.LIMIT).is_open
    for moment in (middle, end - tick):
        assert not ask(moment, FNO, OrdType.MARKET).is_open
        assert ask(moment, FNO, OrdType.LIMIT).is_open
    assert not ask(end, FNO, OrdType.LIMIT).is_open


@pytest.mark.parametrize("clock", ["15:15", "15:19", "15:20", "15:24", "15:25", "15:29"])
@pytest.mark.parametrize(
    ("ord_type", "time_in_force"),
    [
        (OrdType.SL, TimeInForce.DAY),
        (OrdType.SL_M, TimeInForce.DAY),
        (OrdType.LIMIT, TimeInForce.IOC),
        (OrdType.MARKET, TimeInForce.IOC),
    ],
)
def test_stop_and_ioc_orders_are_closed_after_1515(clock, ord_type, time_in_force):
    """The auction has no stop and no IOC orders: the answer names the next morning, not the auction."""
    state = ask(at("2026-11-20", clock), FNO, ord_type, time_in_force)

    assert state.reason is Reason.MARKET_CLOSED
    assert "opens Mon 23 Nov 09:15 IST" in state.message


def test_order_the_auction_does_not_take_is_told_what_it_takes():
    """The sentence says which orders the phase takes and which one this is."""
    assert ask(at("2026-11-20", "15:21"), FNO, OrdType.SL).message == (
        "The closing auction takes MARKET and LIMIT DAY orders, not SL DAY; for that NSE opens Mon 23 Nov 09:15 IST."
    )


def test_pause_before_the_auction_names_the_auction():
    """A market order at 15:17 is told 15:20 of the same day."""
    message = ask(at("2026-11-20", "15:17"), FNO).message

    assert message == "NSE is closed at 15:17 IST; it opens Fri 20 Nov 15:20 IST."


# --- orders for the next session ---


def ask_amo(moment: datetime, instrument: Instrument = FNO) -> SessionState:
    question = SessionQuestion(
        instrument=instrument, ord_type=OrdType.MARKET, time_in_force=TimeInForce.DAY, at=moment, variety=Variety.AMO
    )
    return CALENDAR.session(question)


def test_order_for_the_next_session_passes_exactly_while_the_market_is_closed():
    """Before the first window of the day and after the last; a pause between two is no closed market."""
    midnight = at("2026-11-20", "00:00")

    taken = [m for m in range(1440) if ask_amo(midnight + timedelta(minutes=m)).is_open]

    assert taken == [*range(9 * 60 + 15), *range(15 * 60 + 30, 1440)]
    refused = ask_amo(at("2026-11-20", "15:17"))
    assert refused.reason is Reason.MARKET_OPEN
    assert refused.message == 'NSE is open at 15:17 IST; "variety": "amo" is for the closed market. Leave it out.'


def test_order_for_the_next_session_waits_over_holidays_but_not_over_days_nobody_knows():
    """A holiday is a closed market like any other; what the calendar does not know is not taken for one."""
    assert ask_amo(at("2026-11-24", "11:00")).is_open
    assert ask_amo(at("2026-11-21", "11:00")).is_open
    assert ask_amo(at("2027-03-02", "20:00")).reason is Reason.CALENDAR_UNKNOWN


@given(st.sampled_from(Variety))
def test_account_that_trades_at_any_time_has_no_closed_market(variety):
    """There an order for the next session would wait for ever."""
    question = SessionQuestion(
        instrument=FNO, ord_type=OrdType.MARKET, time_in_force=TimeInForce.DAY, at=at("2026-11-21", "11:00"), variety=variety
    )
    state = never_closed(question)
    assert state.is_open is (variety is not Variety.AMO)
    assert state.is_open or (state.reason is Reason.MARKET_OPEN and state.message.endswith("."))


@pytest.mark.parametrize(("clock", "taken"), [("09:14", False), ("09:15", True), ("15:14", True), ("15:21", False)])
def test_order_of_minutes_goes_in_while_trading_is_continuous(clock, taken):
    """The auction takes orders of the day only."""
    assert ask(at("2026-11-20", clock), FNO, OrdType.LIMIT, TimeInForce.TTL).is_open is taken


# --- days ---


def test_weekdays_of_the_year_rest_exactly_on_the_listed_holidays():
    """Every weekday of 2026, against a table typed from the reference and not from the data file."""
    rests = set()
    for number in range(365):
        day = date(2026, 1, 1) + timedelta(days=number)
        state = ask(at(day, "10:00"), PLAIN)
        assert ask(at(day, "10:00"), FUTURE) == state or not state.is_open
        if day.weekday() < 5 and not state.is_open:
            rests.add(day.isoformat())

    assert rests == set(HOLIDAYS)


@pytest.mark.parametrize("holiday", HOLIDAYS)
@pytest.mark.parametrize("instrument", [PLAIN, FNO, FUTURE, make_instrument("BSE"), SENSEX_END, USDINR])
def test_holiday_is_closed_from_midnight_to_midnight_and_names_itself(holiday, instrument):
    """All day long, with the holiday's name and the next opening in the sentence."""
    for clock in ("00:00", "09:15", "12:00", "15:29", "23:59"):
        state = ask(at(holiday, clock), instrument)
        assert state.reason is Reason.MARKET_CLOSED
        assert "(" in state.message
        assert " IST." in state.message


def test_weekends_are_closed_but_for_the_special_sundays():
    """Every Saturday and Sunday of the year at noon."""
    weekend = [d for n in range(365) if (d := date(2026, 1, 1) + timedelta(days=n)).weekday() >= 5]

    states = {day: ask(at(day, "12:00"), FNO) for day in weekend}

    assert [day for day, state in states.items() if state.is_open] == [BUDGET]
    assert [day for day, state in states.items() if state.reason is Reason.CALENDAR_UNKNOWN] == [MUHURAT]
    assert "(Saturday)" in states[date(2026, 11, 21)].message


def test_budget_sunday_has_the_usual_hours():
    """1 February 2026 trades like a weekday, on its boundaries too."""
    assert not ask(at(BUDGET, "09:14:59"), FNO).is_open
    assert ask(at(BUDGET, "09:15"), FNO, OrdType.SL).is_open
    assert ask(at(BUDGET, "15:29:59"), FUTURE).is_open
    assert not ask(at(BUDGET, "15:30"), FUTURE).is_open
    assert not ask(at(BUDGET, "12:00"), USDINR).is_open
    assert ask(at(BUDGET, "16:59:59"), CRUDE).is_open
    assert not ask(at(BUDGET, "17:00"), CRUDE).is_open


@pytest.mark.parametrize("instrument", [PLAIN, FNO, FUTURE, USDINR, CRUDE])
@pytest.mark.parametrize("clock", ["00:00", "18:00", "18:30", "23:59"])
def test_muhurat_session_of_unknown_hours_denies(instrument, clock):
    """Held, but nobody told us when: missing data never opens the market."""
    state = ask(at(MUHURAT, clock), instrument)

    assert state.reason is Reason.CALENDAR_UNKNOWN
    assert "Muhurat" in state.message


@pytest.mark.parametrize(
    ("day", "is_open_at_ten", "is_open_at_six"),
    [
        ("2026-01-01", True, False),
        ("2026-01-26", False, False),
        ("2026-03-03", False, True),
        ("2026-11-10", False, True),
        ("2026-11-24", False, True),
        ("2026-12-25", False, False),
        ("2026-08-26", True, True),
    ],
)
def test_commodities_keep_holidays_by_half_days(day, is_open_at_ten, is_open_at_six):
    """Morning until 17:00 and evening from 17:00 rest separately."""
    assert ask(at(day, "10:00"), CRUDE).is_open is is_open_at_ten
    assert ask(at(day, "18:00"), CRUDE).is_open is is_open_at_six
    assert ask(at(day, "16:59:59"), CRUDE).is_open is is_open_at_ten
    assert ask(at(day, "17:00"), CRUDE).is_open is is_open_at_six


@pytest.mark.parametrize("day", ["2026-02-19", "2026-03-19", "2026-04-01", "2026-08-26"])
def test_currencies_rest_on_bank_holidays_when_shares_trade(day):
    """Four days of the year close the currency segment alone."""
    assert not ask(at(day, "12:00"), USDINR).is_open
    assert ask(at(day, "12:00"), PLAIN).is_open


# --- edges of what is known ---


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (at("2025-12-31", "23:59:59"), Reason.CALENDAR_UNKNOWN),
        (at("2026-01-01", "00:00"), Reason.MARKET_CLOSED),
        (at("2026-12-31", "23:59:59"), Reason.MARKET_CLOSED),
        (at("2027-01-01", "00:00"), Reason.CALENDAR_UNKNOWN),
        (at("2027-01-01", "10:00"), Reason.CALENDAR_UNKNOWN),
        (at("2027-01-02", "10:00"), Reason.CALENDAR_UNKNOWN),
        (at("2020-06-01", "10:00"), Reason.CALENDAR_UNKNOWN),
    ],
)
def test_days_outside_the_known_years_are_never_open(moment, reason):
    """The year turns at midnight in India, five and a half hours before it does in UTC; a Saturday is unknown too."""
    state = ask(moment, PLAIN)

    assert state.reason is reason
    assert not state.is_open


def test_unknown_year_names_the_setting():
    """The mend is in the sentence."""
    assert "`calendar`" in ask(at("2027-01-04", "10:00")).message


def test_last_evening_of_the_year_does_not_guess_the_next_opening():
    """After the last session of the file nobody knows the next one."""
    assert "does not know when it opens next" in ask(at("2026-12-31", "16:00")).message


def test_day_turns_at_midnight_in_india():
    """18:30 UTC is the next day: Monday evening UTC is already the holiday."""
    before, after = datetime(2026, 11, 23, 18, 29, 59, tzinfo=UTC), datetime(2026, 11, 23, 18, 30, tzinfo=UTC)

    assert "at 23:59 IST" in ask(before).message
    assert "Tue 24 Nov (Prakash Gurpurb" in ask(after).message


def test_same_moment_in_any_zone_gets_the_same_answer():
    """03:45 UTC and 09:15 in India are one instant."""
    utc = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)

    assert ask(utc).is_open
    assert ask(utc.astimezone(IST)).is_open
    assert not ask(utc - timedelta(seconds=1)).is_open


def test_naive_moment_is_refused():
    """House rule: no naive datetimes."""
    with pytest.raises(TypeError):
        ask(datetime(2026, 11, 20, 10))  # noqa: DTZ001


def test_unknown_exchange_denies():
    """GIFT city and the like are not in the file."""
    state = ask(at("2026-11-20", "10:00"), make_instrument("NSEIX"))

    assert state.reason is Reason.CALENDAR_UNKNOWN
    assert "NSEIX" in state.message


@given(
    moment=st.datetimes(timezones=st.timezones() | st.just(UTC)),
    instrument=st.sampled_from([PLAIN, FNO, FUTURE, MONTH_END, USDINR, CRUDE, make_instrument("XYZ")]),
    ord_type=st.sampled_from(OrdType),
    time_in_force=st.sampled_from(TimeInForce),
)
def test_any_aware_moment_gets_an_answer(moment, instrument, ord_type, time_in_force):
    """Never an exception, never open without being in a known year, never closed without reason and sentence."""
    state = ask(moment, instrument, ord_type, time_in_force)

    if state.is_open:
        assert moment.astimezone(IST).year == 2026
    else:
        assert state.reason in (Reason.MARKET_CLOSED, Reason.CALENDAR_UNKNOWN)
        assert state.message.endswith(".")


@given(moment=st.datetimes(datetime(2025, 12, 20), datetime(2027, 1, 20), timezones=st.just(UTC)))  # noqa: DTZ001
def test_next_open_is_the_first_moment_that_is_open(moment):
    """At `next_open` an order goes in; just before it, none did."""
    found = CALENDAR.next_open(FNO, moment)

    if found is None:
        assert not ask(moment).is_open
        return
    assert found >= moment
    assert ask(found, FNO, OrdType.LIMIT).is_open
    if found > moment:
        assert not ask(found - timedelta(microseconds=1), FNO, OrdType.LIMIT).is_open
        assert not ask(moment, FNO, OrdType.LIMIT).is_open


@pytest.mark.parametrize(
    "edge",
    [
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_first_and_last_moment_of_all_are_answered(edge):
    """Their day in India lies outside what a date can hold, or at its very edge."""
    assert ask(edge).reason is Reason.CALENDAR_UNKNOWN
    assert CALENDAR.next_open(FNO, edge) is None


# --- next_open and is_trading_day ---


@pytest.mark.parametrize(
    ("moment", "instrument", "expected"),
    [
        (at("2026-11-20", "10:00"), FNO, at("2026-11-20", "10:00")),
        (at("2026-11-20", "08:00"), FNO, at("2026-11-20", "09:15")),
        (at("2026-11-20", "15:15"), FNO, at("2026-11-20", "15:20")),
        (at("2026-11-20", "15:30"), FNO, at("2026-11-23", "09:15")),
        (at("2026-11-23", "15:40"), FUTURE, at("2026-11-25", "09:15")),
        (at("2026-11-24", "12:00"), CRUDE, at("2026-11-24", "17:00")),
        (at("2026-11-06", "16:00"), FNO, at("2026-11-09", "09:15")),
        (at("2026-12-31", "16:00"), FNO, None),
        (at("2027-01-04", "10:00"), FNO, None),
        (at(MUHURAT, "10:00"), FNO, None),
        (at("2026-12-29", "15:30"), MONTH_END, None),
        (at("2026-12-30", "10:00"), make_instrument("NSEIX"), None),
    ],
)
def test_next_open(moment, instrument, expected):
    """Now when a session is under way, else the next known one, None when nobody can say."""
    assert CALENDAR.next_open(instrument, moment) == expected


def test_expired_contract_is_not_promised_another_session():
    """After its last session a contract never opens again, and the sentence says so."""
    assert "does not trade again" in ask(at("2026-12-29", "15:40"), MONTH_END).message
    assert "does not know when" in ask(at("2026-12-31", "16:00"), FUTURE).message


@pytest.mark.parametrize(
    ("day", "exchange", "expected"),
    [
        ("2026-11-20", "NSE", True),
        ("2026-11-21", "NSE", False),
        ("2026-11-24", "NSE", False),
        ("2026-11-24", "MCX", True),
        ("2026-02-01", "NFO", True),
        ("2026-02-01", "CDS", False),
        ("2026-11-08", "NSE", True),
        ("2027-01-04", "NSE", False),
        ("2026-11-20", "NSEIX", False),
    ],
)
def test_is_trading_day(day, exchange, expected):
    """A day with any session, even one of unknown hours, is a trading day; what is not known is none."""
    assert CALENDAR.is_trading_day(date.fromisoformat(day), exchange) is expected


@pytest.mark.parametrize(
    ("day", "exchange", "first", "last"),
    [
        ("2026-11-20", "NSE", "09:15", "15:30"),
        ("2026-11-24", "MCX", "17:00", "23:55"),
    ],
)
def test_the_hours_of_a_day_are_its_first_and_last_moment(day, exchange, first, last):
    """Of a holiday's evening session too."""
    assert CALENDAR.hours(date.fromisoformat(day), exchange) == (at(day, first), at(day, last))


@pytest.mark.parametrize(
    ("day", "exchange"),
    [("2026-11-21", "NSE"), ("2026-11-24", "NSE"), ("2026-11-08", "NSE"), ("2031-06-02", "NSE"), ("2026-11-20", "LSE")],
)
def test_a_day_without_known_hours_has_none(day, exchange):
    """Weekend, holiday, hours not told yet, a year not known, an exchange not known."""
    assert CALENDAR.hours(date.fromisoformat(day), exchange) is None


def test_calendar_remembers_a_bounded_number_of_days():
    """A replay over centuries does not grow the process."""
    calendar = load_calendar()
    for number in range(3_000):
        ask(at(date(2020, 1, 1) + timedelta(days=number), "10:00"), FNO, calendar=calendar)

    assert len(calendar._plans) <= 512


def test_operators_file_replaces_the_shipped_one(tmp_path: Path):
    """The setting `calendar` names another file, for instance with the hours of the Muhurat session."""
    shipped = (Path(load_calendar.__code__.co_filename).parent / "data" / "nse-2026.json").read_text()
    own = shipped.replace(
        '(Muhurat trading)", "hours": "unknown"', '(Muhurat trading)", "hours": [["continuous", "18:00", "19:00"]]'
    )
    (tmp_path / "own.json").write_text(own)
    calendar = load_calendar(tmp_path / "own.json")

    assert ask(at(MUHURAT, "18:00"), FNO, calendar=calendar).is_open
    assert ask(at(MUHURAT, "17:59:59"), FNO, calendar=calendar).message.endswith("it opens Sun 8 Nov 18:00 IST.")
    assert not ask(at(MUHURAT, "19:00"), FNO, calendar=calendar).is_open


def test_missing_file_is_a_config_error(tmp_path: Path):
    """The message names the file."""
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        load_calendar(tmp_path / "none.json")
