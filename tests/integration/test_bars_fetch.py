"""Backfills from a Kite on this machine: what is missing is asked for, within the limits, once, and goes on after a break."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge import cli
from bridge.brokers.kite.client import HeldToken
from bridge.brokers.kite.history import KiteHistory
from bridge.core.bar import Interval
from bridge.core.clock import IST, SystemClock
from bridge.market.bars import fetch
from bridge.market.bars.fetch import Backfill, Fetched, FetchError, find_spans
from bridge.market.bars.store import BarStore
from bridge.market.bars.times import days_between, first_second
from bridge.market.calendar import load_calendar
from bridge.market.instruments import Catalog, load_catalog
from bridge.sandbox.kite.box import API_KEY, API_SECRET
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.kite_bridge import trading_clock
from tests.support.logins import ACCOUNT, NOWHERE
from tests.support.rigs import ROOT
from tests.support.samples import SBIN

MINUTE, DAY = Interval.MINUTE, Interval.DAY
TODAY = date(2026, 11, 20)
JULY = date(2026, 7, 20)
INFY = "NSE:INFY"


def past(days: list[date]) -> list[tuple[datetime, Decimal, int]]:
    """Two minutes with two trades each on every day."""
    opening = [datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST) for day in days]
    points = []
    for number, at in enumerate(opening):
        base = Decimal(800) + number
        for minute, step in ((0, "0"), (0, "1.5"), (7, "-2.05"), (7, "0.25")):
            points.append(((at + timedelta(minutes=minute)).astimezone(UTC), base + Decimal(step), 10))
    return points


class Fetching:
    """A Kite with some months of trades, a file of bars, and a backfill between them."""

    def __init__(self, desk: Desk, folder: Path, clock: RunningClock) -> None:
        self.desk, self.clock = desk, clock
        self.calendar = load_calendar()
        self.days = [day for day in days_between(JULY, TODAY) if self.calendar.is_trading_day(day)]
        desk.server.do(lambda box: box.market.record_past(SBIN, past(self.days[:-1])))
        self.catalog: Catalog = load_catalog(ROOT / "config" / "instruments.csv", lambda: TODAY)
        self.store = BarStore(folder / "bars.db")
        self.tokens = HeldToken(str(desk.client.access_token))
        self.told: list[int] = []
        self.on_told: Callable[[int], None] = self.told.append

    def run(
        self, interval: Interval = MINUTE, *, symbols: tuple[str, ...] = (SBIN,), begin: date = JULY, gap_s: float = 0.0
    ) -> tuple[int, Fetched]:
        """Plan and fetch; how many requests were planned, and what came of them."""
        history = KiteHistory(api_key=self.desk.box.sessions.api_key, root=self.desk.server.root, tokens=self.tokens)
        history.gap_s = gap_s
        backfill = Backfill(
            store=self.store, history=history, calendar=self.calendar, clock=self.clock,
            tell=lambda done, _total, _symbol: self.on_told(done),
        )  # fmt: skip
        found = [self.catalog.resolve(symbol) for symbol in symbols]
        requests = backfill.plan(found, interval, begin, TODAY)
        try:
            return len(requests), asyncio.run(backfill.run(interval, requests))
        finally:
            history.close()

    def asked(self) -> int:
        """How many requests for history Kite has seen."""
        return self.desk.server.do(lambda box: box.limits.totals["historical_attempts"])


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetching]:
    monkeypatch.setattr(fetch, "FIRST_WAIT_S", 0.02)
    clock = trading_clock()
    with open_desk(clock) as desk:
        yield Fetching(desk, tmp_path, clock)


def test_what_is_missing_is_fetched_and_then_nothing_is_missing(fetching):
    """Four months of minutes are three requests of at most sixty days; known days are not asked for again."""
    planned, fetched = fetching.run()
    assert (planned, fetched.bars, fetched.failed) == (3, 2 * (len(fetching.days) - 1), {})
    assert fetching.told == [0, 1, 2, 3]
    series = fetching.store.series(MINUTE, SBIN, JULY, TODAY)
    assert series.times[:2].tolist() == [first_second(JULY) + 33_300, first_second(JULY) + 33_300 + 420]
    assert series.open[:2].tolist() == [800.0, 797.95]
    assert series.high[:2].tolist() == [801.5, 800.25]
    assert series.low[:2].tolist() == [800.0, 797.95]
    assert series.close[:2].tolist() == [801.5, 800.25]
    assert series.volume[:2].tolist() == [20, 20]
    assert fetching.store.covered(MINUTE, SBIN, JULY, TODAY) == set(days_between(JULY, date(2026, 11, 19)))
    asked = fetching.asked()
    planned, _ = fetching.run()
    assert planned == 1  # today, which goes on
    assert fetching.asked() == asked + 1


def test_today_is_known_once_it_is_over(fetching):
    """Bars that are over are stored at once, the day counts a quarter of an hour after the close."""
    fetching.desk.price("812.5")
    fetching.clock.jump(minutes=2)
    fetching.run(begin=TODAY)
    assert len(fetching.store.series(MINUTE, SBIN, TODAY, TODAY)) == 1
    assert fetching.run(DAY, begin=TODAY)[1].bars == 0
    fetching.clock.jump(hours=5, minutes=30)  # past 15:45
    assert fetching.run(begin=TODAY)[0] == 1
    assert fetching.run(begin=TODAY)[0] == 0
    assert fetching.run(DAY, begin=TODAY)[1].bars == 1


def test_an_instrument_without_trades_is_known_to_have_none(fetching):
    """Empty because nothing traded is not the same as never asked."""
    _, fetched = fetching.run(symbols=(INFY,))
    assert (fetched.bars, fetched.failed) == (0, {})
    assert fetching.store.covered(MINUTE, INFY, JULY, date(2026, 11, 19)) == set(days_between(JULY, date(2026, 11, 19)))
    assert fetching.run(symbols=(INFY,))[0] == 1


def test_what_passes_is_tried_again(fetching):
    """A gateway's error, too many requests, a connection that breaks off: asked again after a moment."""
    fetching.desk.faults("reads", _502_before=1, _429=1, drop_before=1)
    _, fetched = fetching.run()
    assert fetched.bars == 2 * (len(fetching.days) - 1)


def test_a_broker_that_stays_away_ends_it_and_the_next_run_goes_on(fetching):
    """What was fetched is stored; only the rest is asked for."""
    fetching.desk.faults("reads", _503_before=5)
    with pytest.raises(FetchError, match="what was fetched is stored"):
        fetching.run()
    _, fetched = fetching.run()
    assert fetched.requests == 3


def test_a_session_that_ends_on_the_way_loses_nothing(fetching):
    """The second request meets a dead token; after a login the other two are asked."""

    def end(done):
        if done == 1:
            fetching.desk.server.do(lambda box: box.sessions.end())

    fetching.on_told = end
    with pytest.raises(FetchError, match="log in again"):
        fetching.run()
    assert fetching.tokens.token() is None
    with pytest.raises(FetchError, match="Log in to Kite"):
        fetching.run()
    fetching.tokens.give(fetching.desk.log_in())
    fetching.on_told = fetching.told.append
    planned, fetched = fetching.run()
    assert planned == 2
    assert fetched.failed == {}
    assert len(fetching.store.series(MINUTE, SBIN, JULY, TODAY)) == 2 * (len(fetching.days) - 1)


def test_an_instrument_that_kite_does_not_know_fails_alone(fetching):
    """The others have their bars; the reason is Kite's own."""
    fetching.desk.server.do(lambda box: box.market.by_token.pop(fetching.catalog.resolve(INFY).token))
    _, fetched = fetching.run(symbols=(INFY, SBIN))
    assert list(fetched.failed) == [INFY]
    assert "invalid token" in fetched.failed[INFY]
    assert fetched.bars == 2 * (len(fetching.days) - 1)


def test_the_limit_of_three_a_second_is_kept(fetching):
    """With the gap as it is, Kite never sees a fourth request in a second."""
    fetching.desk.turn(enforce_limits=True)
    fetching.run(symbols=(SBIN, INFY), begin=date(2026, 9, 1), gap_s=0.35)
    shown = fetching.desk.server.do(lambda box: box.limits.show())
    assert shown["largest"]["historical_per_second"] <= 3
    assert "historical_refused" not in shown["totals"]


def test_spans_hold_every_missing_day_and_are_no_longer_than_allowed():
    """From a missing day to a missing day; known ones between them ride along."""
    days = days_between(date(2026, 1, 1), date(2026, 1, 31))
    known = {date(2026, 1, number) for number in (1, 5, 11, 12, 13, 31)}
    assert list(find_spans(days, known, 10)) == [
        (date(2026, 1, 2), date(2026, 1, 10)),
        (date(2026, 1, 14), date(2026, 1, 23)),
        (date(2026, 1, 24), date(2026, 1, 30)),
    ]
    assert list(find_spans(days, set(days), 10)) == []


# -- the commands ------------------------------------------------------------------------------------------------------


def write_config(folder: Path, monkeypatch: pytest.MonkeyPatch, root: str = NOWHERE) -> None:
    """Settings with an account at a Kite, and one on paper."""
    ravi = {
        "broker": "kite", "root": root, "login_root": f"{root}/connect/login", "updates": "poll", "api_key": API_KEY,
        "api_secret": API_SECRET,
    }  # fmt: skip
    told = {
        "data_dir": str(folder / "data"), "database": {"url": f"sqlite:///{folder}/data/bridge.db"},
        "accounts": {ACCOUNT: ravi, "paper": {"broker": "paper"}}, "strategies": {"demo": {"accounts": ["paper"]}},
        "instruments": str(ROOT / "config" / "instruments.csv"),
    }  # fmt: skip
    (folder / "bridge.yaml").write_text(json.dumps(told))
    monkeypatch.setenv("BRIDGE_CONFIG", str(folder / "bridge.yaml"))


def test_from_the_login_to_the_bars(tmp_path, monkeypatch, capsys):
    """By the login that the store remembers the bars come; they are listed, dropped, and fetched anew."""
    with open_desk(SystemClock()) as desk:
        write_config(tmp_path, monkeypatch, desk.server.root)
        tell_a_whole_story(desk, capsys)


def tell_a_whole_story(desk, capsys):
    words = ["bars", "fetch", "--symbol", "SBIN", "--interval", "1d", "--from", "2026-01-01", "--to", "2026-01-31"]
    day = datetime(2026, 1, 6, 10, 0, tzinfo=IST).astimezone(UTC)
    desk.server.do(lambda box: box.market.record_past(SBIN, [(day, Decimal("812.5"), 5)]))
    token = desk.server.do(lambda box: box.sessions.give_request_token())
    assert cli.main(["login", ACCOUNT, "--request-token", token]) == 0
    capsys.readouterr()
    assert cli.main(words) == 0
    told = capsys.readouterr()
    assert "1 bars of 1 symbols are stored." in told.out
    assert "1 requests, at least 0 s" in told.err
    assert cli.main(words) == 0
    assert "Nothing is missing" in capsys.readouterr().out
    assert cli.main(["bars", "list"]) == 0
    assert "1d  NSE:SBIN" in capsys.readouterr().out
    assert cli.main(["bars", "drop", "--symbol", "NSE:SBIN", "--interval", "1d"]) == 0
    assert cli.main([*words, "--again"]) == 0
    assert "1 bars of 1 symbols are stored." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fetch", "--symbol", "SBIN", "--interval", "1d", "--account", "nobody"], "accounts are ravi, paper"),
        (["fetch", "--symbol", "SBIN", "--interval", "1d", "--account", "paper"], "choose one with --account: ravi"),
        (["fetch", "--symbol", "SBIN", "--interval", "1d"], "there is no database at"),
        (["fetch", "--symbol", "SBIX", "--interval", "1d"], "is not in the list of instruments. Near it: NSE:SBIN"),
        (["fetch", "--interval", "1d"], "name the symbols with --symbol NSE:SBIN"),
        (["fetch", "--symbol", "SBIN", "--interval", "1d", "--from", "last week"], "write days like 2026-11-20"),
        (["fetch", "--symbol", "SBIN", "--interval", "1d", "--from", "2026-02-01", "--to", "2026-01-01"], "is after"),
        (["make", "--from", "2026-01-03", "--to", "2026-01-04"], "there is no trading day"),
        (["import", "nowhere.csv", "--interval", "1d"], "nowhere.csv cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_mend(tmp_path, monkeypatch, capsys, words, told):
    """One line, and not 0."""
    write_config(tmp_path, monkeypatch)
    assert cli.main(["bars", *words]) != 0
    assert told in capsys.readouterr().err


def test_files_and_made_up_bars_are_listed(tmp_path, monkeypatch, capsys):
    """Import and make need no broker."""
    write_config(tmp_path, monkeypatch)
    file = tmp_path / "sbin.csv"
    file.write_text("time,open,high,low,close,volume\n2026-01-05,1,2,1,2,100\n")
    assert cli.main(["bars", "list"]) == 0
    assert "There are no bars yet" in capsys.readouterr().out
    assert cli.main(["bars", "import", str(file), "--interval", "1d", "--symbol", "SBIN"]) == 0
    assert f"{file}: 1 bars of 1 symbol\n" in capsys.readouterr().out
    assert cli.main(["bars", "make", "--count", "2", "--from", "2026-01-22", "--to", "2026-01-27"]) == 0
    assert "not a price of them was ever traded" in capsys.readouterr().out
    span = ["--from", "2026-01-01", "--to", "2026-01-31"]
    assert cli.main(["bars", "doctor", "--interval", "1m", *span]) == 0
    assert capsys.readouterr().out == "2 of 2 symbols can be trusted, from 2026-01-01 to 2026-01-31.\n"
    assert cli.main(["bars", "doctor", "--interval", "1d", *span, "--symbol", "NSE:NONE"]) == 1
    assert "✗ NSE:NONE: no bars: there is no 1d bar of it" in capsys.readouterr().out
    assert cli.main(["bars", "list", "--interval", "1m"]) == 0
    assert capsys.readouterr().out.count("3 days known  2026-01-22 to 2026-01-27") == 2  # the 26th is a holiday
