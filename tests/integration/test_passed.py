"""A stop or target that the market has passed with nothing at the broker: the position is closed, once, and it is told why."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.market import Mark
from bridge.core.protection import ProtectionStatus
from bridge.core.views import AlertView
from bridge.feed import put_marks
from tests.support.clocks import RunningClock
from tests.support.kite_bridge import trading_clock
from tests.support.plays import play
from tests.support.rigs import Rig, WatchedBridge, abandoned, make_settings, running, write_freezes
from tests.support.samples import SBIN
from tests.support.waiting import until

BOTH = {"stop_loss": {"price": "800"}, "take_profit": {"price": "840"}}
D = Decimal
ACCOUNTS = {"paper": {"broker": "paper", "session": "always", "slippage_bps": "0", "charges": False}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(folder: Path, story: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    """A story with the paper broker, at the end of which nothing is held, rests or is to be done."""

    async def whole() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(make_settings(folder, accounts=ACCOUNTS, **settings), clock), clock) as rig:
            await story(rig)
            await over(rig)

    play(whole)


async def over(rig: Rig) -> None:
    """Flat, on both sides, and nothing is left of the protection."""
    await until(lambda: rig.quantity() == 0 and not rig.ledger.protections.values, f"the end: {rig.ledger.protections.values}")
    assert not [order for order in rig.ledger.orders.values.values() if not order.status.is_closed]
    rig.check_books()
    assert rig.bridge.faults == []


async def trade_at(rig: Rig, price: str) -> None:
    """The market trades here, and a feed says so."""
    mark = Mark(symbol=SBIN, price=Decimal(price), at=rig.clock.now(), source="test")
    await rig.bridge.store.write(partial(put_marks, marks=[mark]))


async def rest_entry(rig: Rig, **fields: Any) -> str:
    """A limit order below the market that wants a stop and a target."""
    await trade_at(rig, "812.5")
    order = {"action": "buy", "quantity": "10", "order_type": "LIMIT", "price": "805"}
    entry = await rig.accept(**{**order, **BOTH, **fields})
    await rig.order_in(entry, "PLACED")
    return entry


def exits(rig: Rig) -> list[AlertView]:
    """The exits that the bridge has raised, the first one first."""
    views = rig.bridge.store.reads.alerts(limit=100)
    return [view for view in reversed(views) if view.source == "protection"]


async def exit_of(rig: Rig) -> AlertView:
    """The one exit, when it has ended."""
    await until(lambda: exits(rig), "the exit")
    (view,) = exits(rig)
    return await rig.ended(view.alert_id)


def test_a_price_that_jumps_through_the_stop_closes_the_position(tmp_path: Path) -> None:
    """The entry fills at its limit on the way down; its stop cannot rest any more, and an exit at market goes at once."""

    async def story(rig: Rig) -> None:
        entry = await rest_entry(rig)
        await trade_at(rig, "790")
        ended = await exit_of(rig)
        assert (ended.disposition, ended.code) == ("done", "FILLED")
        (order,) = rig.orders(ended.alert_id)
        assert (order.ord_type, order.reduce_only, order.order_qty, order.avg_px) == ("MARKET", True, D(10), D(790))
        why = "Trigger already met: 800, and the last price is 790"
        assert f'"why":"{why}."' in ended.body.replace('": ', '":')
        assert [step.message for step in rig.steps(entry) if step.step == "protection_passed"] == [why]
        assert [
            f"closed at market: its protection (stop 800, target 840) could not rest. {why}." in told for told in rig.alarms()
        ] == [True]
        assert [view.status.value for view in rig.orders(entry) if view.ord_type == "GTT"] == ["REJECTED"]

    tell(tmp_path, story)


@pytest.mark.parametrize(("price", "stop", "target"), [("795", "800", None), ("845", None, "840")])
def test_an_entry_that_fills_beyond_its_own_level_is_closed(
    tmp_path: Path, price: str, stop: str | None, target: str | None
) -> None:
    """Nothing is even tried at the broker: below the stop, or above the target, there is nothing to wait for."""

    async def story(rig: Rig) -> None:
        await trade_at(rig, price)
        levels = {"stop_loss": stop and {"price": stop}, "take_profit": target and {"price": target}}
        entry = await rig.accept(action="buy", quantity="10", price=None, **levels)
        ended = await exit_of(rig)
        assert ended.code == "FILLED"
        assert [view.ord_type for view in rig.orders(entry)] == ["MARKET"]
        assert "the entry at " + price in rig.alarms()[0]

    tell(tmp_path, story)


def test_a_target_that_was_passed_while_nothing_could_leave_is_taken(tmp_path: Path) -> None:
    """Under a halt of everything no protection rests; when trading goes on the price is beyond the target."""

    async def story(rig: Rig) -> None:
        await rest_entry(rig)
        await rig.halt(stop_all=True)
        await trade_at(rig, "804")
        await until(lambda: rig.quantity() == 10, "the entry")
        await trade_at(rig, "845")
        await asyncio.sleep(0.1)
        assert exits(rig) == []
        await rig.resume()
        (order,) = rig.orders((await exit_of(rig)).alert_id)
        assert order.avg_px == 845

    tell(tmp_path, story)


def test_a_strategy_closes_its_own_share_alone(tmp_path: Path) -> None:
    """What another strategy holds of the same instrument is none of its business."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(strategy="other", action="buy", quantity="7"))
        await rest_entry(rig)
        await trade_at(rig, "790")
        await exit_of(rig)
        assert rig.quantity() == 7
        await rig.ended(await rig.accept(strategy="other", action="exit"))

    strategies = {name: {"accounts": ["paper"], "product": "MIS"} for name in ("demo", "other")}
    tell(tmp_path, story, strategies=strategies)


async def watched(rig: Rig) -> None:
    """Twenty are held, and the exchange takes twelve in one order: the bridge looks at the price itself."""
    await rig.ended(await rig.accept(action="buy", quantity="10"))
    await rig.ended(await rig.accept(action="buy", quantity="10", **BOTH))
    await until(
        lambda: [one.status for one in rig.ledger.protections.values.values()] == [ProtectionStatus.WATCHED], "the watch"
    )


def test_where_no_order_can_rest_the_bridge_looks_at_the_price(tmp_path: Path) -> None:
    """It says so, leaves the position alone between the levels, and closes it, in parts, once one is passed."""

    async def story(rig: Rig) -> None:
        await watched(rig)
        (told,) = rig.alarms()
        assert "20 are held" in told
        assert "closes it at market once one is passed" in told
        await trade_at(rig, "801")
        await asyncio.sleep(0.1)
        assert (rig.quantity(), exits(rig)) == (20, [])
        await trade_at(rig, "799.5")
        ended = await exit_of(rig)
        assert {(order.order_qty, order.avg_px) for order in rig.orders(ended.alert_id)} == {
            (D(12), D("799.5")),
            (D(8), D("799.5")),
        }
        assert "The stop of 800 is passed: the price is 799.5" in rig.alarms()[0]

    tell(tmp_path, story, freeze_quantities=write_freezes(tmp_path, {"STATE BANK OF INDIA": 12}))


def test_a_passed_stop_is_closed_after_a_crash_and_once(tmp_path: Path) -> None:
    """It was passed under a halt that lets nothing out; the price has come back meanwhile, and that changes nothing."""
    freezes = write_freezes(tmp_path, {"STATE BANK OF INDIA": 12})
    settings = make_settings(tmp_path, accounts=ACCOUNTS, freeze_quantities=freezes)

    async def whole() -> None:
        clock = RunningClock()
        async with abandoned(WatchedBridge(settings, clock), clock) as rig:
            await watched(rig)
            await rig.halt(stop_all=True)
            await trade_at(rig, "799")
            await until(lambda: len(rig.alarms()) == 2, "the alarm")
            await asyncio.sleep(0.1)
            assert exits(rig) == []
        async with running(WatchedBridge(settings, clock), clock) as rig:
            await trade_at(rig, "812")
            await rig.resume()
            assert (await exit_of(rig)).code == "FILLED"
            await over(rig)
        async with running(WatchedBridge(settings, clock), clock) as rig:
            await over(rig)
            assert len(exits(rig)) == 1

    play(whole)


def test_an_exit_of_the_strategy_itself_goes_first(tmp_path: Path) -> None:
    """Two exits for one position would be one too many: what the strategy says is as good."""

    async def story(rig: Rig) -> None:
        await watched(rig)
        await rig.halt(stop_all=True)
        await trade_at(rig, "799")
        await until(lambda: len(rig.alarms()) == 2, "the alarm")
        await rig.resume()
        await rig.ended(await rig.accept(action="exit"))

    tell(tmp_path, story, freeze_quantities=write_freezes(tmp_path, {"STATE BANK OF INDIA": 12}))


def test_a_new_entry_with_levels_of_its_own_is_the_newer_wish(tmp_path: Path) -> None:
    """The exit has not left for a halt; what is bought now is to be protected by levels that are not passed, and so is all."""

    async def story(rig: Rig) -> None:
        await watched(rig)
        entry = {"action": "buy", "quantity": "1", "order_type": "LIMIT", "price": "790", "stop_loss": {"price": "780"}}
        await rig.order_in(await rig.accept(**entry), "PLACED")
        await rig.halt(stop_all=True)
        await trade_at(rig, "799")
        await until(lambda: len(rig.alarms()) == 2, "the alarm")
        await trade_at(rig, "789")
        await until(lambda: rig.quantity() == 21, "the entry")
        (one,) = rig.ledger.protections.values.values()
        assert (one.status, str(one.protect)) == (ProtectionStatus.WANTED, "stop 780")
        await rig.resume()
        await until(lambda: "21 are held" in rig.alarms()[0], "the watch over all")
        assert exits(rig) == []
        await trade_at(rig, "779")
        assert (await exit_of(rig)).code == "FILLED"

    tell(tmp_path, story, freeze_quantities=write_freezes(tmp_path, {"STATE BANK OF INDIA": 12}))


def test_a_stop_that_is_passed_when_the_market_is_closed_waits_for_it_to_open(tmp_path: Path) -> None:
    """No exit is raised in vain; the next morning the first one goes."""
    accounts = {"paper": {**ACCOUNTS["paper"], "session": "market"}}
    strategies = {"demo": {"accounts": ["paper"], "product": "CNC"}}
    freezes = write_freezes(tmp_path, {"STATE BANK OF INDIA": 12})
    settings = make_settings(tmp_path, accounts=accounts, strategies=strategies, freeze_quantities=freezes)

    async def whole() -> None:
        clock = trading_clock()
        async with running(WatchedBridge(settings, clock), clock) as rig:
            await watched(rig)
            clock.jump(hours=6)
            await trade_at(rig, "799")
            await until(lambda: len(rig.alarms()) == 2, "the alarm")
            await asyncio.sleep(0.1)
            assert exits(rig) == []
            clock.jump(days=2, hours=17)  # the weekend
            assert (await exit_of(rig)).code == "FILLED"

    play(whole)
