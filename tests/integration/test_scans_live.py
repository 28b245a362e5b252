"""Scans and strategies at work on live bars: from ticks to paper orders, once, whatever is cut off in between."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.bootstrap import Bridge
from bridge.brokers.base import Broker
from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.market import Tick
from bridge.core.order_states import OrderStatus
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.times import days_between, first_second
from bridge.market.calendar import load_calendar
from bridge.runner.program import Program
from bridge.runner.raiser import Raiser
from bridge.runner.runner import Runner
from bridge.runner.wiring import make_runner
from bridge.settings import AccountSettings, Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, abandoned, make_settings, running
from tests.support.samples import SBIN
from tests.support.waiting import until

INFY = "NSE:INFY"
FRIDAY = datetime(2026, 11, 20, 10, 30, 5, tzinfo=IST)
UP: dict[str, Any] = {
    "name": "up", "strategy": "demo", "universe": [SBIN, INFY], "interval": "1m",
    "long": {"enter": "close > open", "leave": "close < open"}, "size": {"quantity": 10},
}  # fmt: skip
Story = Callable[["Day"], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    hurry(monkeypatch)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)
    monkeypatch.setattr("bridge.feed.TURN_S", 0.02)
    monkeypatch.setattr("bridge.runner.runner.TURN_S", 0.01)
    monkeypatch.setattr("bridge.runner.runner.WATCH_S", 0.02)


class Day:
    """A bridge on a trading day, and a feed of prices that is moved by hand."""

    def __init__(self, rig: Rig) -> None:
        assert isinstance(rig.bridge, LearnedBridge)
        self.rig, self.bridge, self.clock = rig, rig.bridge, rig.clock

    @property
    def historian(self) -> "Historian":
        assert self.bridge.historian is not None
        return self.bridge.historian

    def state(self, name: str = "up") -> str:
        return self.bridge.scans.state_of(name)

    async def stands(self, part: str, name: str = "up") -> None:
        """Wait until its line says this; "" is that nothing is waited for."""
        await until(lambda: part in self.state(name) if part else not self.state(name), f"{part!r}: {self.state(name)!r}")

    async def enable(self, **changes: Any) -> None:
        source = {**UP, **changes}
        await self.bridge.scans.definitions.save(source, by="test")
        await self.bridge.scans.definitions.enable(str(source["name"]), by="test")
        await self.ready(str(source["name"]))

    async def ready(self, name: str = "up") -> None:
        """Wait until the runner has taken it up, and its next bar is one that is heard whole."""
        await until(lambda: name in self.bridge.scans.states, f"{name} at work")
        self.clock.jump(seconds=2)

    def tick(self, price: str, symbol: str = SBIN, volume: int | None = None) -> None:
        instrument = self.bridge.catalog.get(symbol)
        assert instrument is not None
        self.bridge.feed.take([Tick(token=instrument.token, price=Decimal(price), at=self.clock.now(), volume=volume)])

    def to(self, told: str) -> None:
        """Jump to this time of the day."""
        there = datetime.combine(self.clock.now().astimezone(IST).date(), time.fromisoformat(told), IST)
        assert there >= self.clock.now(), told
        self.clock.ahead += there - self.clock.now()

    async def bar(self, minute: str, *prices: str, symbol: str = SBIN) -> None:
        """One minute, at these prices; what it leads to is waited for elsewhere."""
        self.to(f"{minute}:10")
        for price in prices:
            self.tick(price, symbol)
        await asyncio.sleep(0.03)

    async def close(self, minute: str) -> None:
        """The minute before this one is over."""
        self.to(f"{minute}:02")
        self.clock.jump(seconds=0.3)
        opened = self.clock.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
        await until(lambda: self.asked_at() == opened + timedelta(minutes=1), f"the close of {minute}")

    def asked_at(self, name: str = "up") -> datetime | None:
        found = self.bridge.scans.evaluations.get(name)
        return None if found is None else found.at

    def program(self) -> Program:
        """The one that there is."""
        runner = self.bridge.scans._runner
        assert runner is not None
        (program,) = runner._programs.values()
        return program

    def raised(self) -> list[Any]:
        return [view for view in self.bridge.store.reads.alerts(100, None) if view.source == "scan"][::-1]

    async def signals(self, count: int) -> list[Any]:
        await until(lambda: len(self.raised()) >= count, f"{count} signals")
        assert len(self.raised()) == count
        return self.raised()


class Historian:
    """A broker's history: what `bridge bars fetch` would store. Bars around one price, of every minute or day that is over."""

    def __init__(self, folder: Path, clock: RunningClock) -> None:
        self.folder, self.clock = folder, clock
        self.trouble = ""
        self.asked: list[tuple[Interval, date, date]] = []
        self.prices = {SBIN: 800.0, INFY: 1500.0}

    async def fetch(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> str:
        self.asked.append((interval, begin, end))
        if self.trouble:
            return self.trouble
        times = [second for day in days_between(begin, end) for second in self._openings(interval, day)]
        parts = [Part(symbol=symbol, series=around(times, self.prices[symbol])) for symbol in symbols]
        BarStore(self.folder / "data" / "bars.db").merge(interval, parts)
        return ""

    def _openings(self, interval: Interval, day: date) -> list[int]:
        calendar = load_calendar()
        if not calendar.is_trading_day(day):
            return []
        begin_s = first_second(day)
        if interval is Interval.DAY:
            return [begin_s] if day < self.clock.now().astimezone(IST).date() else []
        opening = begin_s + 33_300
        now_s = int(self.clock.now().timestamp()) - 30
        return [at for at in range(opening, opening + 22_500, interval.seconds) if at + interval.seconds <= now_s]


def around(times: list[int], price: float) -> Series:
    """Bars that go up and down, each price in its own way."""
    moved = np.array([price * (1 + ((at // 60 * int(price)) % 29 - 14) / 10_000) for at in times])
    columns = {"open": moved, "high": moved + 1, "low": moved - 1, "close": moved}
    return Series(times=np.array(times, np.int64), volume=np.full(len(times), 10.0), **columns)


class LearnedBridge(ScriptedBridge):
    """A bridge with a feed that is moved by hand, perhaps a history, and perhaps a broker that fills when it is told to."""

    def __init__(self, settings: Settings, clock: RunningClock, historian: Historian | None, *, is_scripted: bool) -> None:
        self.is_scripted = is_scripted
        super().__init__(settings, clock)
        self.historian = historian
        self.connected_at: datetime | None = clock.now() - timedelta(hours=1)
        self.feed.add_source(lambda _tokens: None, lambda: self.connected_at)

    def _make_broker(self, name: str, account: AccountSettings) -> Broker:
        return super()._make_broker(name, account) if self.is_scripted else Bridge._make_broker(self, name, account)

    def _make_runner(self) -> Runner:
        return make_runner(self, timedelta(seconds=120), None if self.historian is None else self.historian.fetch)


def settings_in(folder: Path, **values: Any) -> Settings:
    return make_settings(folder, **values)


def tell(
    folder: Path,
    *stories: Story,
    start: datetime = FRIDAY,
    has_history: bool = False,
    is_scripted: bool = False,
    **values: Any,
) -> None:
    """Each story is cut off as by kill -9, and the next is told by a bridge on the same files; the last one ends well."""

    async def whole() -> None:
        clock, settings = RunningClock(), settings_in(folder, **values)
        clock.ahead += start - clock.now()
        historian = Historian(folder, clock) if has_history else None
        for number, story in enumerate(stories, start=1):
            bridge = LearnedBridge(settings, clock, historian, is_scripted=is_scripted)
            opening = running if number == len(stories) else abandoned
            async with opening(bridge, clock) as rig:
                await story(Day(rig))
                assert rig.bridge.faults == []
                if number == len(stories):
                    rig.check_books()

    play(whole)


def test_a_bar_becomes_a_signal_and_a_paper_order(tmp_path: Path) -> None:
    """The alert tells the definition, its version, the rule and the numbers; the bar is stored before."""

    async def story(day: Day) -> None:
        await day.enable()
        await day.bar("10:31", "800", "801.5")
        day.tick("1500", INFY)
        await day.close("10:32")
        (alert,) = await day.signals(1)
        ended = await day.rig.ended(alert.alert_id)
        assert (ended.disposition, ended.symbol, ended.strategy) == ("done", SBIN, "demo")
        view = day.bridge.scans.definitions.get("up")
        assert view is not None
        version = view.record.version
        for word in ("up", version, "close > open", "801.5"):
            assert word in ended.body
        await until(lambda: day.rig.quantity() == 10, "the position")
        series = BarStore(day.bridge.settings.bars_file()).series(Interval.MINUTE, SBIN, FRIDAY.date(), FRIDAY.date())
        assert (series.open.tolist(), series.close.tolist()) == ([800.0], [801.5])
        await day.bar("10:32", "801", "800")
        await day.close("10:33")
        _, alert = await day.signals(2)
        assert (await day.rig.ended(alert.alert_id)).disposition == "done"
        assert day.rig.quantity() == 0

    tell(tmp_path, story)


def test_what_was_killed_between_the_bar_and_the_order_is_raised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored bar is asked about again while it is fresh; whoever has raised already raises nothing twice."""

    async def cut(day: Day) -> None:
        async def die(*_: Any) -> int:
            raise asyncio.CancelledError

        await day.enable()
        monkeypatch.setattr(Raiser, "_raise", die)
        await day.bar("10:31", "800", "801.5")
        day.to("10:32:02")
        day.clock.jump(seconds=0.3)
        store = BarStore(day.bridge.settings.bars_file())
        await until(lambda: len(store.series(Interval.MINUTE, SBIN, FRIDAY.date(), FRIDAY.date())), "the stored bar")
        await asyncio.sleep(0.05)
        assert day.raised() == []
        monkeypatch.undo()
        hurry(monkeypatch)

    async def raised(day: Day) -> None:
        await day.signals(1)
        await until(lambda: day.rig.quantity() == 10, "the position")

    async def again(day: Day) -> None:
        await until(lambda: day.asked_at() is not None, "the stored bar")
        await asyncio.sleep(0.1)
        await day.signals(1)
        assert day.rig.quantity() == 10

    tell(tmp_path, cut, raised, again)


def test_what_nobody_heard_is_fetched_before_anything_is_decided(tmp_path: Path) -> None:
    """Until then the definition waits and says why; a fault of the broker is told, and it is asked again."""

    async def story(day: Day) -> None:
        day.historian.trouble = "zerodha is not logged in"
        await day.enable()
        await day.stands("are missing; they are fetched")
        await day.bar("10:31", "800", "801")
        day.to("10:32:10")
        await day.stands("zerodha is not logged in")
        assert [(interval, end) for interval, _, end in day.historian.asked] == [(Interval.MINUTE, FRIDAY.date())]
        await asyncio.sleep(0.05)
        assert (len(day.historian.asked), day.raised()) == (1, [])
        day.historian.trouble = ""
        day.to("10:33:20")
        await day.stands("")
        assert len(day.historian.asked) == 2
        await day.bar("10:34", "800", "801")
        await day.close("10:35")
        await day.signals(1)

    tell(tmp_path, story, has_history=True)


def test_a_feed_that_was_away_leaves_a_gap_that_is_filled(tmp_path: Path) -> None:
    """The bar that it broke off in decides nothing; afterwards the engine has seen what a fresh one would have."""

    async def story(day: Day) -> None:
        await day.enable()
        day.to("10:31:50")
        await day.stands("")
        asked = len(day.historian.asked)
        await day.bar("10:32", "800")
        day.bridge.connected_at = None
        await day.stands("the feed of prices is away")
        day.to("10:32:40")
        day.bridge.connected_at = day.clock.now()
        day.tick("805")
        await day.stands("are missing")
        day.to("10:33:20")
        await asyncio.sleep(0.05)
        day.historian.prices[SBIN] = 810.0
        day.to("10:33:46")
        await day.stands("")
        assert (len(day.historian.asked), day.raised()) == (asked + 1, [])
        series = BarStore(day.bridge.settings.bars_file()).series(Interval.MINUTE, SBIN, FRIDAY.date(), FRIDAY.date())
        assert series.close[-1] > 805

    tell(tmp_path, story, has_history=True)


def test_a_bar_that_was_not_heard_whole_orders_nothing(tmp_path: Path) -> None:
    """Also where no history will ever tell what it was."""

    async def story(day: Day) -> None:
        await day.enable()
        await day.stands("it goes on")
        await day.bar("10:31", "800")
        day.bridge.connected_at = day.clock.now()
        await asyncio.sleep(0.05)
        await day.bar("10:31", "805") if day.clock.now().second < 9 else day.tick("805")
        day.to("10:32:05")
        await asyncio.sleep(0.1)
        assert day.raised() == []
        await day.bar("10:32", "805", "806")
        await day.close("10:33")
        await day.signals(1)

    tell(tmp_path, story)


def test_a_stop_is_met_at_the_live_price_and_raised_once(tmp_path: Path) -> None:
    """The bar has not closed yet; when it does, nothing is left to be done."""

    async def story(day: Day) -> None:
        await day.enable(exits={"stop": {"percent": 1}})
        await day.bar("10:31", "800", "801")
        await day.close("10:32")
        await until(lambda: day.rig.quantity() == 10, "the position")
        day.to("10:32:10")
        day.tick("794")
        await asyncio.sleep(0.1)
        assert len(day.raised()) == 1
        day.tick("792")
        _, stop = await day.signals(2)
        assert "stop at 792.99; 792 was traded" in stop.body
        await until(lambda: day.rig.quantity() == 0, "the end of the position")
        day.tick("791")
        await day.close("10:33")
        await asyncio.sleep(0.05)
        assert len(day.raised()) == 2

    tell(tmp_path, story)


def test_a_definition_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line says so; the fault is counted."""
    evaluate = Program.evaluate

    def fail(program: Program, member: Any, *words: Any) -> Any:
        if member.definition.name == "bad":
            raise ZeroDivisionError("0/0")
        return evaluate(program, member, *words)

    async def story(day: Day) -> None:
        monkeypatch.setattr(Program, "evaluate", fail)
        await day.enable(name="bad", strategy="other")
        await day.enable()
        await day.bar("10:31", "800", "801")
        await day.close("10:32")
        await day.signals(1)
        assert day.state("bad") == "it failed: ZeroDivisionError: 0/0"
        assert [where for where, _ in day.bridge.faults] == ["scan bad"]
        day.bridge.faults.clear()

    strategies = {name: {"accounts": ["paper"], "product": "MIS"} for name in ("demo", "other")}
    tell(tmp_path, story, strategies=strategies)


def test_bars_of_days_are_asked_on_the_next_trading_day(tmp_path: Path) -> None:
    """At their time, at today's price, once; also by the next process."""
    daily = {"interval": "1d", "cadence": "daily@10:40", "long": {"enter": "close > 1"}}

    async def story(day: Day) -> None:
        await day.enable(**daily)
        await day.stands("")
        assert day.historian.asked[-1][0] is Interval.DAY
        await day.bar("10:39", "800")
        day.tick("1500", INFY)
        await asyncio.sleep(0.05)
        assert day.raised() == []
        day.to("10:40:06")
        alerts = await day.signals(2)
        assert {alert.symbol for alert in alerts} == {SBIN, INFY}
        await until(lambda: day.rig.quantity() == 10, "the position")
        (position,) = [p for p in day.bridge.store.reads.positions() if p.symbol == SBIN]
        assert position.avg_px == 800

    async def again(day: Day) -> None:
        await until(lambda: day.asked_at() is not None, "the question")
        await asyncio.sleep(0.1)
        assert len(day.raised()) == 2

    tell(tmp_path, story, again, has_history=True)


def test_what_is_disabled_or_changed_is_so_from_the_next_bar_on(tmp_path: Path) -> None:
    """Another version begins with the bars that are there; a bar that closed before is not made up for."""

    async def story(day: Day) -> None:
        scans = day.bridge.scans.definitions
        await day.enable()
        await scans.disable("up", by="test")
        await until(lambda: "up" not in day.bridge.scans.states, "the end of it")
        await day.bar("10:31", "800", "801")
        day.to("10:32:05")
        await asyncio.sleep(0.1)
        assert day.raised() == []
        await scans.enable("up", by="test")
        await scans.save({**UP, "size": {"quantity": 7}}, by="test")
        await day.ready()
        await asyncio.sleep(0.1)
        assert day.raised() == []
        await day.bar("10:33", "801", "802")
        await day.close("10:34")
        await day.signals(1)
        await until(lambda: day.rig.quantity() == 7, "the position")

    tell(tmp_path, story)


def test_what_left_the_universe_may_be_left_and_not_entered(tmp_path: Path) -> None:
    """A universe of the settings is read and written down each day; what is held is looked at until it is sold."""
    file = tmp_path / "mine.csv"
    file.write_text("Symbol\nSBIN\nINFY\n")

    async def story(day: Day) -> None:
        await day.enable(universe="mine", long={"enter": "close > 1", "leave": "close < 790"})
        assert (day.bridge.settings.universes_dir() / "mine.json").exists()
        await day.bar("10:31", "800")
        await day.close("10:32")
        await until(lambda: day.rig.quantity() == 10, "the position")
        file.write_text("Symbol\nINFY\n")
        day.clock.ahead += timedelta(days=2, hours=22)  # Monday, before the opening
        day.to("09:10:00")
        day.bridge.connected_at = day.clock.now()
        await until(lambda: SBIN in day.program().held_back and day.program().is_ready, "the new day")
        day.to("09:14:30")
        await day.bar("09:15", "789")
        await day.close("09:16")
        await day.signals(2)
        await until(lambda: day.rig.quantity() == 0, "the end of the position")
        await day.bar("09:16", "801")
        await day.close("09:17")
        assert len(day.raised()) == 2
        told = day.bridge.scans.explain("up", SBIN)
        assert "does not belong to the universe any more" in str(told["lines"])

    strategies = {"demo": {"accounts": ["paper"], "product": "CNC"}}
    tell(tmp_path, story, universes={"mine": {"file": str(file)}}, strategies=strategies)


def test_an_entry_under_way_is_not_wished_again(tmp_path: Path) -> None:
    """The broker has not filled it when the next bar closes, nor the one after; a rule to leave withdraws it or closes it."""

    async def story(day: Day) -> None:
        await day.enable(long={"enter": "close > 800", "leave": "close < 790"}, exits={"stop": {"percent": 1}})
        await day.bar("10:31", "801")
        await day.close("10:32")
        (alert,) = await day.signals(1)
        order = await day.rig.order_in(alert.alert_id, OrderStatus.PLACED)
        for minute in ("10:32", "10:33"):
            await day.bar(minute, "815")
            await day.close(f"10:{int(minute[3:]) + 1}")
        assert len(day.raised()) == 1
        await day.rig.broker.fill(order.tag, 4)
        await day.bar("10:34", "815")
        await day.close("10:35")
        await day.rig.broker.fill(order.tag, 6)
        await day.rig.ended(alert.alert_id)
        await day.bar("10:35", "815")
        await day.close("10:36")
        assert (len(day.raised()), day.rig.quantity()) == (1, 10)
        await day.bar("10:36", "789")
        await day.close("10:37")
        await until(lambda: len(day.raised()) >= 2, "the exit")

    tell(tmp_path, story, is_scripted=True)
