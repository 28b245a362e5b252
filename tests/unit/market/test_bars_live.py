"""Live bars: ticks become the bars of their own time, closed by the clock, all symbols at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.kite.ticker import read_tick
from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.market import Tick
from bridge.market.bars.live import GRACE, ClosedBars, LiveBars, keep_closing
from bridge.market.calendar import load_calendar
from tests.support.clocks import StillClock
from tests.support.plays import play
from tests.support.waiting import until

OPENING = datetime(2026, 11, 20, 9, 15, tzinfo=IST).astimezone(UTC)
TOKENS = {11: "NSE:A", 22: "NSE:B", 33: "NSE:C"}
BEFORE = OPENING - timedelta(minutes=10)


def at(seconds: float) -> datetime:
    """So long after the opening."""
    return OPENING + timedelta(seconds=seconds)


def tick(token, seconds, price, volume=None):
    return Tick(token=token, price=Decimal(str(price)), at=at(seconds), volume=volume)


class Kept:
    """Live bars whose closed ones are kept; the session is from 09:15 to 15:30 every day."""

    def __init__(self, interval=Interval.MINUTE, heard_since=BEFORE):
        self.closed: list[ClosedBars] = []
        self.live = LiveBars(interval, TOKENS, heard_since=heard_since, is_open=self._is_open, on_bars=self.closed.append)

    @staticmethod
    def _is_open(moment: datetime) -> bool:
        local = moment.astimezone(IST)
        return (9, 15) <= (local.hour, local.minute) < (15, 30)

    def bar(self, symbol, place=-1):
        """Open, high, low, close and volume of a closed bar."""
        return self.closed[place].fields[:, list(TOKENS.values()).index(symbol)].tolist()


@pytest.fixture
def kept():
    return Kept()


def test_a_bar_is_closed_a_little_after_its_end_for_all_at_once(kept):
    """Ticks that were on their way still count; who did not trade has none."""
    kept.live.take([tick(11, 0, 100, 10), tick(11, 30, 103, 15), tick(22, 59.9, 50.25, 7)])
    assert kept.live.close_due(at(59)) == at(60) + GRACE
    assert kept.live.close_due(at(60) + GRACE - timedelta(microseconds=1)) == at(60) + GRACE
    kept.live.take([tick(11, 59, 99.5, 40)])
    assert kept.closed == []
    assert kept.live.close_due(at(60) + GRACE) is None
    (bars,) = kept.closed
    assert (bars.interval, bars.opened_at, bars.symbols, bars.is_whole) == (
        Interval.MINUTE,
        OPENING,
        tuple(TOKENS.values()),
        True,
    )
    assert kept.bar("NSE:A") == [100.0, 103.0, 99.5, 99.5, 40.0]
    assert kept.bar("NSE:B") == [50.25, 50.25, 50.25, 50.25, 7.0]
    assert np.isnan(bars.fields[:, 2]).all()


def test_a_tick_after_the_close_is_counted_and_changes_nothing(kept):
    """What a scan has seen stays what it was."""
    kept.live.take([tick(11, 10, 100)])
    kept.live.close_due(at(70))
    kept.live.take([tick(11, 20, 500), tick(11, 65, 101)])
    assert kept.live.late == 1
    kept.live.close_due(at(200))
    assert [bars.opened_at for bars in kept.closed] == [at(0), at(60)]
    assert kept.bar("NSE:A", 0)[1] == 100.0


def test_the_next_bar_forms_while_the_last_one_waits(kept):
    """A tick belongs to the bar of its own time, not of its arrival."""
    kept.live.take([tick(11, 61, 200), tick(11, 59, 100), tick(11, 62, 201)])
    kept.live.close_due(at(62))
    assert kept.bar("NSE:A")[:4] == [100.0] * 4
    kept.live.close_due(at(122))
    assert kept.bar("NSE:A")[:4] == [200.0, 201.0, 200.0, 201.0]


def test_an_interval_without_any_tick_has_no_bars(kept):
    """The feed is away, or the market is closed: a scan must not run on nothing."""
    kept.live.take([tick(11, 1, 100)])
    kept.live.take([tick(11, 301, 101)])
    kept.live.close_due(at(1_000))
    assert [bars.opened_at for bars in kept.closed] == [at(0), at(300)]


def test_ticks_outside_the_session_and_of_others_are_no_bars(kept):
    """Snapshots before the opening repeat yesterday's price."""
    kept.live.take([tick(11, -60, 100), tick(11, 6.25 * 3_600, 100), tick(99, 5, 100)])
    assert kept.live.close_due(at(30_000)) is None
    assert kept.closed == []


def test_volume_is_what_the_day_has_more_than_at_the_bar_before(kept):
    """Also over bars in which the symbol did not trade, and over the night."""
    kept.live.take([tick(11, 5, 100, 40), tick(22, 5, 1, 1), tick(22, 65, 1, 1), tick(11, 125, 100, 90)])
    kept.live.close_due(at(200))
    assert [kept.bar("NSE:A", place)[4] for place in (0, 2)] == [40.0, 50.0]
    assert kept.bar("NSE:B", 1)[4] == 0.0
    kept.live.take([tick(11, 86_400 + 5, 100, 30)])
    kept.live.close_due(at(86_400 + 100))
    assert kept.bar("NSE:A")[4] == 30.0


def test_what_began_before_it_was_heard_is_not_whole():
    """A bridge that starts at 11 has half a bar, and counts volume from the first tick of each."""
    kept = Kept(heard_since=at(90))
    kept.live.take([tick(11, 95, 100, 5_000), tick(11, 100, 101, 5_100), tick(11, 130, 100, 5_150), tick(22, 131, 7, 900)])
    kept.live.close_due(at(300))
    assert [bars.is_whole for bars in kept.closed] == [False, True]
    assert [kept.bar("NSE:A", place)[4] for place in (0, 1)] == [100.0, 50.0]
    assert kept.bar("NSE:B")[4] == 0.0
    kept.live.take([tick(11, 305, 100, 5_160)])
    kept.live.note_break(at(330))
    kept.live.take([tick(11, 361, 100, 5_170)])
    kept.live.close_due(at(500))
    assert [bars.is_whole for bars in kept.closed[2:]] == [False, True]


def test_a_day_is_whole_when_its_session_was():
    """A bar of a day begins at midnight; a bridge that starts at nine has missed nothing of it."""
    for heard_since, is_whole in ((at(-900), True), (at(5), False)):
        kept = Kept(Interval.DAY, heard_since)
        kept.live.take([tick(11, -30, 99, 0), tick(11, 10, 100, 500)])
        kept.live.close_due(at(60_000))
        assert [bars.is_whole for bars in kept.closed] == [is_whole]
        assert kept.bar("NSE:A")[:4] == [100.0] * 4


def test_bars_are_closed_while_it_runs(monkeypatch):
    """By the clock alone, without another tick; the session is the calendar's."""
    monkeypatch.setattr("bridge.market.bars.live.LOOK_S", 0.005)
    clock, closed, calendar = StillClock(at(-5)), list[ClosedBars](), load_calendar()
    live = LiveBars(Interval.MINUTE, TOKENS, heard_since=BEFORE, is_open=calendar.is_session, on_bars=closed.append)

    async def story() -> None:
        closing = asyncio.create_task(keep_closing(live, clock))
        live.take([tick(11, -1, 99), tick(11, 1, 100), tick(11, 6.25 * 3_600, 101)])
        await asyncio.sleep(0.02)
        assert closed == []
        clock.at = at(62)
        await until(lambda: len(closed) == 1)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)

    play(story)
    assert closed[0].fields[:, 0].tolist() == [100.0, 100.0, 100.0, 100.0, 0.0]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(TOKENS)), st.integers(0, 4_000), st.integers(1, 9_999), st.integers(0, 50)),
        min_size=1, max_size=60,
    ),
    st.sampled_from([Interval.MINUTE, Interval.MINUTES_5, Interval.MINUTES_15, Interval.DAY]),
    st.data(),
)  # fmt: skip
def test_bars_are_those_of_a_literal_reading(found, interval, data):
    """Whatever the ticks and however they are cut into messages: each bar is what its ticks say, in order of time."""
    ordered = sorted(found, key=lambda one: one[1])
    totals = dict.fromkeys(TOKENS, 0)
    ticks = []
    for token, second, paise, units in ordered:
        totals[token] += units
        ticks.append(tick(token, second, paise / 100, totals[token]))
    kept, rest = Kept(interval), list(ticks)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        kept.live.take(rest[:size])
        kept.live.close_due(rest[size - 1].at)
        rest = rest[size:]
    kept.live.close_due(at(90_000))
    assert kept.live.late == 0
    offset = timedelta(hours=9, minutes=15) if interval is Interval.DAY else timedelta()
    slots = sorted({(one.at - OPENING + offset) // interval.length for one in ticks})
    assert [bars.opened_at for bars in kept.closed] == [OPENING - offset + slot * interval.length for slot in slots]
    before = dict.fromkeys(TOKENS, 0)
    for bars, slot in zip(kept.closed, slots, strict=True):
        for place, token in enumerate(TOKENS):
            own = [one for one in ticks if one.token == token and (one.at - OPENING + offset) // interval.length == slot]
            if not own:
                assert np.isnan(bars.fields[:, place]).all()
                continue
            prices = [float(one.price) for one in own]
            assert own[-1].volume is not None
            volume, before[token] = own[-1].volume - before[token], own[-1].volume
            assert bars.fields[:, place].tolist() == [prices[0], max(prices), min(prices), prices[-1], volume]


def test_kites_ticks_bring_the_days_volume():
    """An index has none."""
    told = {"instrument_token": 11, "last_price": 812.5, "exchange_timestamp": None}
    assert read_tick({**told, "volume_traded": 1_234}, at(0)).volume == 1_234
    assert read_tick(told, at(0)).volume is None
