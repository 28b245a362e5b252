"""Scans and strategies at work on live bars: from ticks to paper orders, once, whatever is cut off in between."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.market import Tick
from bridge.market.bars.store import BarStore
from bridge.runner.raiser import Raiser
from bridge.settings import Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, WatchedBridge, abandoned, make_settings, running
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
        self.rig, self.bridge, self.clock = rig, rig.bridge, rig.clock

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

    def raised(self) -> list[Any]:
        return [view for view in self.bridge.store.reads.alerts(100, None) if view.source == "scan"][::-1]

    async def signals(self, count: int) -> list[Any]:
        await until(lambda: len(self.raised()) >= count, f"{count} signals")
        assert len(self.raised()) == count
        return self.raised()


def settings_in(folder: Path, **values: Any) -> Settings:
    return make_settings(folder, **values)


def heard(bridge: WatchedBridge, since: datetime) -> WatchedBridge:
    """A bridge with a feed that has been there since then."""
    bridge.feed.add_source(lambda _tokens: None, lambda: since)
    return bridge


def tell(folder: Path, *stories: Story, start: datetime = FRIDAY, **values: Any) -> None:
    """Each story is cut off as by kill -9, and the next is told by a bridge on the same files; the last one ends well."""

    async def whole() -> None:
        clock, settings = RunningClock(), settings_in(folder, **values)
        clock.ahead += start - clock.now()
        for number, story in enumerate(stories, start=1):
            bridge = heard(WatchedBridge(settings, clock), clock.now() - timedelta(hours=1))
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
        monkeypatch.setattr(Raiser, "raise_open", die)
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
