"""Days of scans for tests: a whole bridge with a feed of prices moved by hand, and a history that it may ask for."""

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
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore, Part
from bridge.market.bars.times import days_between, first_second
from bridge.market.calendar import load_calendar
from bridge.runner.program import Program
from bridge.runner.runner import Runner
from bridge.runner.wiring import make_runner
from bridge.settings import AccountSettings, Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, abandoned, make_settings, running
from tests.support.samples import SBIN
from tests.support.scripted_broker import ScriptedBroker
from tests.support.waiting import until

INFY = "NSE:INFY"
FRIDAY = datetime(2026, 11, 20, 10, 30, 5, tzinfo=IST)
UP: dict[str, Any] = {
    "name": "up", "strategy": "demo", "universe": [SBIN, INFY], "interval": "1m",
    "long": {"enter": "close > open", "leave": "close < open"}, "size": {"quantity": 10},
}  # fmt: skip
Story = Callable[["Day"], Awaitable[None]]


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

    def __init__(
        self,
        settings: Settings,
        clock: RunningClock,
        historian: Historian | None,
        *,
        is_scripted: bool,
        books: dict[str, ScriptedBroker] | None = None,
    ) -> None:
        self.is_scripted = is_scripted
        super().__init__(settings, clock, books)
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
        books: dict[str, ScriptedBroker] = {}  # a broker outlives the bridge
        for number, story in enumerate(stories, start=1):
            bridge = LearnedBridge(settings, clock, historian, is_scripted=is_scripted, books=books)
            opening = running if number == len(stories) else abandoned
            async with opening(bridge, clock) as rig:
                await story(Day(rig))
                assert rig.bridge.faults == []
                if number == len(stories):
                    rig.check_books()
            books = {name: one for name, one in bridge.brokers.items() if isinstance(one, ScriptedBroker)}

    play(whole)
