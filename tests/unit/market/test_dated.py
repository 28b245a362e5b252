"""The table of dated data: each row is old exactly when what it stands for is unknown or out of date."""

import os
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.charges import rates_facts
from bridge.core.dated import DatedData, RatesFacts
from bridge.market.ban import BanList, ban_to_json
from bridge.market.calendar import load_calendar
from bridge.market.dated import look_at_data
from bridge.market.freeze import freezes_to_json
from bridge.market.listing import ListFacts
from tests.support.rigs import make_settings

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
LIVE = {
    "accounts": {"zerodha": {"broker": "kite", "api_key": "keyofravi", "api_secret": "secretofravi"}},
    "strategies": {"demo": {"accounts": ["zerodha"]}},
    "risk": {},
}
FILE = ListFacts(source="a file")
FRESH = {"facts": ListFacts(source="zerodha", day=FRIDAY)}


@pytest.fixture
def look(tmp_path):
    """The rows by their part, at a moment and with these settings."""

    def look_at(now=NOON, *, facts=FILE, rates=None, **settings):
        made = make_settings(tmp_path, **settings)
        rows = look_at_data(made, calendar=load_calendar(), facts=facts, rates=rates or rates_facts(), now=now)
        return {row.part: row for row in rows}

    return look_at


@pytest.fixture
def keep(tmp_path):
    """Put a file where imported lists lie."""

    def put(name, text):
        folder = tmp_path / "data" / "exchange"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return put


def ban_of(day):
    return ban_to_json(BanList(day=day, names=frozenset()), source="test", as_of="now")


def freezes_of(first, last):
    return freezes_to_json({"NIFTY": 1800}, source="test", as_of=first, first=first, last=last)


@pytest.mark.parametrize(
    ("day", "now", "is_old"),
    [
        (FRIDAY, NOON, False),
        (date(2026, 11, 19), NOON, True),
        (FRIDAY, NOON + timedelta(days=2), False),  # Sunday: nothing trades
        (FRIDAY, NOON + timedelta(days=3), True),
        (MONDAY, NOON + timedelta(days=2), False),
        (MONDAY, NOON + timedelta(hours=6), False),  # in the evening, after the close
        (MONDAY, NOON, True),  # it has taken the place of today's
    ],
)
def test_a_ban_list_is_of_one_day_of_trading(look, keep, day, now, is_old):
    """The latest; the next one's may come once the market has closed."""
    keep("ban.json", ban_of(day))
    row = look(now, **LIVE)["F&O ban"]
    assert (row.of, row.until, row.is_old, row.is_trouble) == (day, day, is_old, is_old)


@pytest.mark.parametrize("text", [None, "", "[]", '{"day": "x", "names": []}', "\x00"])
def test_a_ban_list_that_is_not_there_or_spoilt_is_none(look, keep, text):
    """Unknown, and said so."""
    if text is not None:
        keep("ban.json", text)
    row = look(**LIVE)["F&O ban"]
    assert (row.told, row.is_trouble) == ("there are none", True)
    assert "bridge instruments ban" in row.sentence


def test_who_asks_for_a_ban_list_on_paper_is_told_too(look):
    """Its absence denies; without that limit it is nobody's business there."""
    assert not look()["F&O ban"].is_trouble
    assert look(risk={"require_ban_list": True})["F&O ban"].is_trouble
    assert look(strategies={"demo": {"accounts": ["paper"], "risk": {"require_ban_list": True}}})["F&O ban"].is_trouble


@pytest.mark.parametrize(
    ("first", "last", "is_old"),
    [
        (date(2026, 11, 1), date(2026, 11, 30), False),
        (date(2026, 10, 1), date(2026, 10, 31), True),
        (date(2026, 12, 1), date(2026, 12, 31), True),  # imported before its month begins
    ],
)
def test_freeze_quantities_are_of_this_month(look, keep, first, last, is_old):
    """The imported ones go before those that the bridge came with."""
    keep("freeze.json", freezes_of(first, last))
    row = look(**LIVE)["freeze quantities"]
    assert (row.of, row.until, row.is_old) == (first, last, is_old)


def test_freeze_quantities_are_those_in_use(look, keep, tmp_path):
    """A file of the settings, then imported ones, then the shipped ones; one that cannot be read is none."""
    assert look()["freeze quantities"].of == date(2026, 8, 1)
    keep("freeze.json", freezes_of(FRIDAY, FRIDAY))
    assert look()["freeze quantities"].of == FRIDAY
    named = tmp_path / "named.json"
    assert look(freeze_quantities=named)["freeze quantities"].told == "there are none"
    named.write_text(freezes_of(MONDAY, MONDAY))
    assert look(freeze_quantities=named)["freeze quantities"].of == MONDAY
    keep("freeze.json", "spoilt")
    assert look()["freeze quantities"].told == "there are none"


def test_a_list_of_instruments_is_of_the_latest_trading_day(look, tmp_path):
    """A broker's says so; a file of the settings is of the day it was written, and on paper nobody minds."""
    assert not look(**FRESH, **LIVE)["instrument list"].is_old
    assert look(NOON + timedelta(days=3), **FRESH)["instrument list"].is_trouble
    made = make_settings(tmp_path)
    os.utime(made.instruments, (0, 0))
    rows = look_at_data(made, calendar=load_calendar(), facts=ListFacts(source="f"), rates=rates_facts(), now=NOON)
    assert [(row.of, row.is_old, row.is_trouble) for row in rows if row.part == "instrument list"] == [
        (date(1970, 1, 1), True, False)
    ]


@pytest.mark.parametrize(
    ("now", "until", "is_old"),
    [
        (NOON, date(2026, 12, 31), False),
        (datetime(2026, 12, 1, 6, 0, tzinfo=UTC), date(2026, 12, 31), False),
        (datetime(2026, 12, 2, 6, 0, tzinfo=UTC), date(2026, 12, 31), True),
        (datetime(2027, 1, 1, 6, 0, tzinfo=UTC), None, True),
    ],
)
def test_the_holidays_of_the_next_thirty_days_have_to_be_known(look, now, until, is_old):
    """Where an account keeps the market's hours."""
    row = look(now, **LIVE)["holidays"]
    assert (row.until, row.is_old, row.is_trouble) == (until, is_old, is_old)
    assert not look(now)["holidays"].is_trouble


@pytest.mark.parametrize(
    ("as_of", "today", "is_old"),
    [("2026-04-01", "2027-03-31", False), ("2026-04-01", "2027-04-01", True), ("2026-03-31", "2026-04-01", True)],
)
def test_charges_hold_until_the_financial_year_ends(look, as_of, today, is_old):
    """In which they were looked at."""
    now = datetime.fromisoformat(f"{today}T12:00:00+05:30")
    rates = RatesFacts(days=(date(2024, 10, 1), date(2026, 4, 1), date(2028, 4, 1)), as_of=date.fromisoformat(as_of))
    row = look(now, rates=rates, **LIVE)["charges"]
    assert (row.of, row.is_old) == (date(2026, 4, 1), is_old)


def test_the_shipped_rates_have_dates(look):
    """And hold as they are shipped."""
    assert look(**LIVE)["charges"].told == "of 2026-04-01, good until 2027-03-31"


def test_every_file_of_a_universe_has_a_day(look, tmp_path):
    """Of the file itself; one that is missing is told."""
    members, watched = tmp_path / "nifty50.csv", tmp_path / "asm.csv"
    members.write_text("Symbol\nSBIN\n")
    for age_days, is_old in ((35, False), (36, True)):
        at = (NOON - timedelta(days=age_days)).timestamp()
        os.utime(members, (at, at))
        assert look(universes={"nifty50": {"file": members}})["universe nifty50"].is_trouble is is_old
    row = look(universes={"fno": {"derivatives": True, "minus": [watched]}})["universe fno"]
    assert (row.told, row.mend) == ("there are none", f"download {watched} anew")
    assert "universe fno" not in look(universes={"fno": {"derivatives": True}})


@given(st.booleans(), st.booleans(), st.none() | st.dates(), st.none() | st.dates())
def test_only_what_is_old_and_wanted_is_a_trouble(is_old, is_wanted, of, until):
    """And its sentence says what, since when, what comes of it and the mend."""
    row = DatedData(part="p", of=of, until=until, is_old=is_old, is_wanted=is_wanted, effect="it rains", mend="a roof")
    assert row.is_trouble is (is_old and is_wanted)
    assert row.sentence.startswith("p: ")
    assert row.sentence.endswith("While they are old, it rains. Mend: a roof.")
    for day in filter(None, (of, until)):
        assert str(day) in row.told
