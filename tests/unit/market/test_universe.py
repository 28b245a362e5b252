"""Universes: who belongs to one on a day, who is left out and why, and whether that was knowable then."""

import json
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import cli
from bridge.core.bar import Interval
from bridge.core.errors import ConfigError
from bridge.core.universe import PointInTime
from bridge.market.bars.liquidity import find_illiquid
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.synthetic import Plan, combine, make_parts, weekdays
from bridge.market.dump_rows import CASH
from bridge.market.instruments import load_catalog
from bridge.market.universe import Liquidity, Universes, UniverseSpec
from bridge.market.universe_files import read_shares, read_surveillance
from bridge.market.universe_log import UniverseLog
from tests.support.rigs import ROOT

DAY = date(2026, 11, 20)
INDEX = """Company Name,Industry,Symbol,Series,ISIN Code
State Bank of India,Financial Services,SBIN,EQ,INE062A01020
Infosys Ltd.,Information Technology,INFY,EQ,INE009A01021
Mahindra & Mahindra Ltd.,Automobile,M&M,EQ,INE101A01026
Small Ltd.,Textiles,SMALL,BE,INE000000001
"""
SURVEILLANCE = """ScripCode,Symbol,Nse Exclusive,Status,Series,GSM,Long_Term_Additional_Surveillance_Measure (Long Term ASM),\
Unsolicited_SMS,Short_Term_Additional_Surveillance_Measure (Short Term ASM),ESM
1,SBIN,N,A,EQ,100,100,100,100,100
2,INFY,N,A,EQ,100,1,100,100,100
3,M&M,N,A,EQ,0,100,100,2,100
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.csv").write_text(INDEX)
    (tmp_path / "reg.csv").write_text(SURVEILLANCE)
    return tmp_path


class Days:
    """Universes over a folder, on a day that goes on."""

    def __init__(self, folder, *specs, shares=("NSE:SBIN", "NSE:INFY"), illiquid=None):
        self.today = DAY
        self.shares = list(shares)
        self.universes = Universes(
            specs, log=UniverseLog(folder / "universes"), underlyings=lambda: self.shares, today=lambda: self.today,
            find_illiquid=lambda symbols, days, liquidity: {day: dict(illiquid or {}) for day in days},
        )  # fmt: skip


def test_an_index_is_read_as_its_provider_publishes_it(folder):
    """What trades for delivery alone is left out, with the reason."""
    shares = read_shares(folder / "index.csv")
    assert shares.symbols == ("NSE:SBIN", "NSE:INFY", "NSE:M&M")
    assert shares.left_out == {"NSE:SMALL": "series BE: traded for delivery alone"}


def test_a_watchlist_needs_symbols_alone(folder):
    """With or without their exchange, once each."""
    (folder / "mine.csv").write_text("symbol\nsbin\nNSE:INFY\n\nSBIN\n")
    assert read_shares(folder / "mine.csv").symbols == ("NSE:SBIN", "NSE:INFY")


def test_surveillance_is_read_from_the_daily_file_and_from_plain_lists(folder):
    """100 is none; on a list without stages every row is under it."""
    assert read_surveillance(folder / "reg.csv") == {
        "NSE:INFY": "under surveillance: long-term ASM stage 1",
        "NSE:M&M": "under surveillance: GSM stage 0, short-term ASM stage 2",
    }
    (folder / "esm.csv").write_text("Symbol,Company\nINFY,Infosys\n")
    assert read_surveillance(folder / "esm.csv") == {"NSE:INFY": "on the list esm"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the heading needs a column Symbol"),
        ("Name\nSBIN\n", "line 1: the heading needs a column Symbol"),
        ("Symbol\n", "names no share"),
        ("Symbol,Series\nSBIN,BZ\n", "names no share"),
        ("Symbol\nSBIN\n:::\n", "line 3, Symbol: ':::' is not a symbol"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder, text, words):
    """With line and column."""
    (folder / "bad.csv").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_shares(folder / "bad.csv")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_surveillance(folder / "none.csv")


def test_shares_with_futures_are_those_of_the_list_and_no_index():
    """NIFTY, BANKNIFTY and their like have futures and are no shares."""
    catalog = load_catalog(ROOT / "config" / "instruments.csv", lambda: DAY)
    found = catalog.listing.underlyings_of_futures()
    items = [catalog.get(symbol) for symbol in found]
    assert all(item is not None and item.exchange in CASH and item.kind == "EQ" for item in items)
    futures = {item.name for item in catalog if item.kind == "FUT" and item.exchange == "NFO"}
    assert futures & {"NIFTY", "BANKNIFTY"}
    assert {item.tradingsymbol for item in items if item} == {
        item.tradingsymbol for item in catalog if item.kind == "EQ" and item.exchange == "NSE" and item.tradingsymbol in futures
    }


def test_what_is_left_out_has_a_reason(folder):
    """Series, surveillance and liquidity, each by name."""
    limits = Liquidity(min_turnover=Decimal(1))
    spec = UniverseSpec(name="n", file=folder / "index.csv", minus=(folder / "reg.csv",), liquidity=limits)
    members = Days(folder, spec, illiquid={"NSE:SBIN": "turnover"}).universes.as_of("n", DAY)
    assert members.symbols == ()
    assert set(members.left_out) == {"NSE:SBIN", "NSE:INFY", "NSE:M&M", "NSE:SMALL"}
    assert members.point_in_time is PointInTime.YES


def test_a_day_that_was_written_down_is_known_for_good(folder):
    """Whatever the file says later."""
    spec = UniverseSpec(name="n", file=folder / "index.csv")
    days = Days(folder, spec)
    days.universes.record("n")
    days.today = DAY + timedelta(days=3)
    days.universes.record("n")
    (folder / "index.csv").write_text("Symbol\nNEW\n")
    days.today = DAY + timedelta(days=10)
    days.universes.record("n")
    told = [(days.universes.as_of("n", DAY + timedelta(days=number))) for number in (-1, 0, 2, 3, 5, 10, 20)]
    assert [members.point_in_time for members in told] == ["biased", "yes", "yes", "yes", "biased", "yes", "biased"]
    assert [len(members.symbols) for members in told] == [3, 3, 3, 3, 3, 1, 1]
    assert told[0].source == "the list of 2026-11-20, not of this day"
    assert told[4].source == "the list of 2026-11-23, not of this day"


def test_shares_with_futures_are_known_only_on_their_day(folder):
    """Unless somebody wrote them down."""
    days = Days(folder, UniverseSpec(name="fno", file=None))
    assert days.universes.as_of("fno", DAY).point_in_time is PointInTime.YES
    assert days.universes.as_of("fno", DAY - timedelta(days=1)).point_in_time is PointInTime.LIVE_ONLY
    days.universes.record("fno")
    days.today += timedelta(days=1)
    days.shares = ["NSE:OTHER"]
    assert days.universes.as_of("fno", DAY).symbols == ("NSE:SBIN", "NSE:INFY")
    assert days.universes.as_of("fno", days.today).symbols == ("NSE:OTHER",)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["A", "B", "AB"])), max_size=12))
def test_the_log_tells_of_each_recorded_day_what_was_recorded_last(tmp_path_factory, entries):
    """However often a universe changes, and back."""
    log, day, truth = UniverseLog(tmp_path_factory.mktemp("log")), DAY, {}
    for step, letters in entries:
        day += timedelta(days=step)
        symbols = tuple(f"NSE:{letter}" for letter in letters)
        log.write("u", day, symbols, {})
        truth[day] = symbols
    stretches = log.read("u")
    for known, symbols in truth.items():
        assert [set(one.symbols) for one in stretches if one.first <= known <= one.last] == [set(symbols)]
    assert all(one.last < after.first for one, after in pairwise(stretches))


def test_a_log_that_cannot_be_read_is_named(folder):
    """It is not begun anew: what it held is found nowhere else."""
    days = Days(folder, UniverseSpec(name="n", file=folder / "index.csv"))
    days.universes.record("n")
    (folder / "universes" / "n.json").write_text("[{")
    with pytest.raises(ConfigError, match="cannot be read"):
        days.universes.record("n")
    with pytest.raises(ConfigError, match="there is no universe 'x'; universes are n"):
        days.universes.as_of("x", DAY)


def test_what_trades_too_little_is_judged_by_the_days_before(folder):
    """Nothing of the day itself or later counts: a change of the future changes nothing."""
    days = weekdays(date(2026, 9, 1), date(2026, 11, 30))
    plan = Plan(seed=2, symbols=("NSE:A", "NSE:B", "NSE:C"), days=days)
    daily = {part.symbol: combine(Interval.DAY, part.series) for part in make_parts(plan)}
    past, whole = BarStore(folder / "past.db"), BarStore(folder / "whole.db")
    begin = int(daily["NSE:A"].times[days.index(DAY)])
    whole.merge(Interval.DAY, [Part(symbol=symbol, series=one) for symbol, one in daily.items()])
    past.merge(Interval.DAY, [Part(symbol=symbol, series=one.between(0, begin)) for symbol, one in daily.items()])
    turnover = sorted(float((one.close * one.volume)[days.index(DAY) - 20 : days.index(DAY)].mean()) for one in daily.values())
    limits = Liquidity(min_turnover=Decimal(int(turnover[1])), min_volume=Decimal(1))
    found = [find_illiquid(store, [*plan.symbols, "NSE:NONE"], [DAY], limits)[DAY] for store in (past, whole)]
    assert found[0] == found[1]
    assert "NSE:NONE" in found[0]
    assert found[0]["NSE:NONE"] == "only 0 of the last 20 sessions have a bar"
    assert any(why.startswith("turnover ₹") for why in found[0].values())
    assert 1 < len(found[0]) < 4
    before = DAY - timedelta(days=1)
    both = find_illiquid(whole, [*plan.symbols, "NSE:NONE"], [before, DAY], limits)
    assert both == {day: find_illiquid(whole, [*plan.symbols, "NSE:NONE"], [day], limits)[day] for day in (before, DAY)}
    many = find_illiquid(whole, ["NSE:A"], [DAY], Liquidity(min_volume=Decimal(10**12)))[DAY]
    assert many["NSE:A"].endswith("a day, less than 1000000000000")


def test_the_commands_show_and_record(folder, monkeypatch, capsys):
    """From the settings."""
    told = {
        "data_dir": str(folder / "data"), "accounts": {"paper": {"broker": "paper"}},
        "strategies": {"demo": {"accounts": ["paper"]}}, "instruments": str(ROOT / "config" / "instruments.csv"),
        "universes": {
            "mine": {"file": str(folder / "index.csv"), "minus": [str(folder / "reg.csv")]},
            "fno": {"derivatives": True},
        },
    }  # fmt: skip
    (folder / "bridge.yaml").write_text(json.dumps(told))
    monkeypatch.setenv("BRIDGE_CONFIG", str(folder / "bridge.yaml"))
    assert cli.main(["universe", "show", "mine"]) == 0
    out = capsys.readouterr().out
    assert "NSE:SBIN\n- NSE:SMALL: series BE" in out
    assert "1 members, 3 left out; point in time: yes (as it is now)" in out
    assert cli.main(["universe", "record"]) == 0
    assert "mine: 1 members" in capsys.readouterr().out
    assert cli.main(["bars", "doctor", "--universe", "mine", "--interval", "1d"]) == 1
    assert capsys.readouterr().out.startswith("✗ NSE:SBIN: no bars: there is no 1d bar of it\n0 of 1 symbols")
    assert cli.main(["universe", "show", "fno", "--as-of", "2020-01-01"]) == 0
    assert "point in time: live_only" in capsys.readouterr().out
    assert cli.main(["universe", "show", "mine", "--as-of", "yesterday"]) == 1
    assert cli.main(["universe", "show", "other"]) == 2
    assert "universes are mine, fno" in capsys.readouterr().err
    told["universes"] = {"both": {"file": "x.csv", "derivatives": True}}
    (folder / "bridge.yaml").write_text(json.dumps(told))
    assert cli.main(["universe", "record"]) == 2
    assert "name a file of shares, or derivatives: true" in capsys.readouterr().err


@settings(max_examples=20, deadline=None)
@given(
    records=st.lists(st.tuples(st.integers(1, 6), st.sets(st.sampled_from("ABCD"), min_size=1)), max_size=5),
    today=st.integers(-3, 25),
)
def test_the_members_over_a_span_are_those_of_each_of_its_days(tmp_path_factory, records, today):
    """In stretches that begin where something changes, and only there. No list but the first changes a day before its own."""
    folder = tmp_path_factory.mktemp("span")
    (folder / "index.csv").write_text("Symbol\nNOW\n")
    days, at = Days(folder, UniverseSpec(name="n", file=folder / "index.csv")), DAY
    log = UniverseLog(folder / "universes")
    log.write("n", DAY, ("NSE:A",), {})
    days.today, span = DAY + timedelta(days=today), (DAY - timedelta(days=3), DAY + timedelta(days=30))
    every = [span[0] + timedelta(days=number) for number in range(34)]
    for step, letters in records:
        before = {day: days.universes.as_of("n", day).symbols for day in every}
        at += timedelta(days=step)
        log.write("n", at, tuple(sorted(f"NSE:{letter}" for letter in letters)), {})
        changed = [day for day in every if days.universes.as_of("n", day).symbols != before[day]]
        assert all(day >= at or day == days.today for day in changed)
    found = days.universes.during("n", *span)
    for day in every:
        own, holds = days.universes.as_of("n", day), [members for members in found if members.day <= day][-1]
        assert (own.symbols, own.point_in_time, own.source) == (holds.symbols, holds.point_in_time, holds.source)
        assert (own.listed_on is None) == (own.point_in_time is PointInTime.YES)
    assert all((a.symbols, a.source) != (b.symbols, b.source) for a, b in pairwise(found))
