"""Scans and strategies at work on live bars: from ticks to paper orders, once, whatever is cut off in between."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.core.bar import Interval
from bridge.core.order_states import OrderStatus
from bridge.market.bars.store import BarStore
from bridge.runner.program import Program
from bridge.runner.raiser import Raiser
from tests.support.samples import SBIN
from tests.support.scan_days import FRIDAY, INFY, UP, Day, hurry, tell
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    hurry(monkeypatch)


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
        await until(lambda: SBIN in day.program().group.outside and day.program().is_ready, "the new day")
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


def test_two_bars_that_are_judged_in_one_moment_enter_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a gap: what the first has wished is in no book yet when the second is judged."""

    async def story(day: Day) -> None:
        await day.enable()
        with monkeypatch.context() as patch:
            patch.setattr(Raiser, "raise_open", wait)
            for opening, closing in (("10:31", "10:32"), ("10:32", "10:33")):
                await day.bar(opening, "800", "801.5")
                await day.close(closing)
        await day.signals(1)
        await until(lambda: day.rig.quantity() == 10, "the position")
        await asyncio.sleep(0.1)
        assert len(day.raised()) == 1

    async def wait(*_: Any) -> int:
        return 0

    tell(tmp_path, story)
