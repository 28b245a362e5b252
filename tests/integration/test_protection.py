"""Stops and targets that rest at the broker: paper and Kite, from the entry's fill to the end of the position."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import OrdType
from bridge.core.order import Order
from bridge.core.protection import Leg, Legs
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, WatchedBridge, make_settings, running, write_freezes
from tests.support.samples import SBIN
from tests.support.waiting import until

BOTH = {"stop_loss": {"price": "800"}, "take_profit": {"percent": "4"}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(folder: Path, story: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    """A story with the paper broker; its books hold at the end, and nothing rests for what is not held."""

    async def whole() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(make_settings(folder, **settings), clock), clock) as rig:
            await story(rig)
            rig.check_books()
            assert rig.bridge.faults == []

    play(whole)


def protections(rig: Rig) -> list[Order]:
    """Protective orders that have not ended."""
    orders = list(rig.ledger.orders.values.values())
    return [order for order in orders if order.is_protection and not order.status.is_closed]


async def resting(rig: Rig, quantity: int) -> Order:
    """The one protection, once it rests at the broker for so much."""

    def look() -> Order | None:
        found = protections(rig)
        if [o.status.value for o in found] == ["PLACED"] and found[0].leaves_qty == quantity:
            return found[0]
        return None

    order = await until(look, f"a protection of {quantity}: {protections(rig)}")
    assert order is not None
    return order


async def gone(rig: Rig) -> None:
    """Nothing rests, and nothing is to."""
    await until(lambda: not protections(rig) and not rig.ledger.protections.values, "the end of the protection")


async def trade_at(rig: Rig, price: str) -> None:
    """The market trades here."""
    await rig.bridge.brokers["paper"].on_price(SBIN, Decimal(price))


async def enter(rig: Rig, quantity: int = 10, **fields: Any) -> str:
    """A filled entry with a stop and a target."""
    alert = await rig.accept(action="buy", quantity=str(quantity), **{**BOTH, **fields})
    await rig.ended(alert)
    return alert


def test_a_filled_entry_is_protected_by_a_stop_and_a_target(tmp_path: Path) -> None:
    """The percentage counts from the fill; limits are a percent beyond the triggers; the alert's way shows it."""

    async def story(rig: Rig) -> None:
        alert = await enter(rig)
        order = await resting(rig, 10)
        assert order.intent.ord_type is OrdType.GTT
        assert order.intent.legs == Legs(
            stop=Leg(trigger_px=Decimal(800), limit_px=Decimal(792)),
            target=Leg(trigger_px=Decimal(845), limit_px=Decimal("836.55")),
        )
        assert "protection_wanted" in rig.step_names(alert)
        assert [view.legs for view in rig.orders(alert) if view.ord_type == "GTT"] == ["stop 800, target 845"]

    tell(tmp_path, story)


@pytest.mark.parametrize(("price", "at"), [("799", "799"), ("846", "846")])
def test_one_leg_closes_the_position_and_the_other_is_gone(tmp_path: Path, price: str, at: str) -> None:
    """A stop that is met sells, and so does a target; nothing is left resting."""

    async def story(rig: Rig) -> None:
        alert = await enter(rig)
        await resting(rig, 10)
        await trade_at(rig, price)
        await until(lambda: rig.quantity() == 0, "the exit")
        await gone(rig)
        (order,) = [view for view in rig.orders(alert) if view.ord_type == "GTT"]
        assert (order.status.value, order.avg_px) == ("FILLED", Decimal(at))
        await trade_at(rig, "790")
        await trade_at(rig, "850")
        assert rig.quantity() == 0

    tell(tmp_path, story)


def test_an_entry_that_follows_an_exit_at_once_does_not_have_the_stop_of_the_one_before(tmp_path: Path) -> None:
    """The wish ends with the fill that leaves nothing held, and not with a look a moment later."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        await resting(rig, 10)
        await rig.ended(await rig.accept(action="exit"))
        assert rig.ledger.protections.values == {}
        await rig.ended(await rig.accept(action="buy", quantity="4"))
        await rig.bridge.protector.look()
        assert (rig.quantity(), rig.ledger.protections.values) == (4, {})

    tell(tmp_path, story)


@pytest.mark.parametrize("exit_by", [{"action": "exit"}, {"action": "sell", "quantity": "10"}, {"target": "0"}])
def test_an_exit_goes_after_the_protection_is_withdrawn(tmp_path: Path, exit_by: dict[str, str]) -> None:
    """Exit, sell and target close what was opened, and never more than that."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        order = await resting(rig, 10)
        ended = await rig.ended(await rig.accept(**exit_by))
        assert (ended.disposition, ended.code) == ("done", "FILLED")
        assert rig.quantity() == 0
        await gone(rig)
        assert rig.ledger.orders.values[order.cl_ord_id].status == "CANCELLED"
        assert rig.alarms() == []

    tell(tmp_path, story)


def test_a_partial_exit_leaves_the_rest_protected(tmp_path: Path) -> None:
    """Of ten, four are sold: six are protected, by the same levels."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        first = await resting(rig, 10)
        await rig.ended(await rig.accept(action="exit", quantity="4"))
        second = await resting(rig, 6)
        assert second.intent.legs == first.intent.legs
        await trade_at(rig, "799")
        await until(lambda: rig.quantity() == 0, "the exit")
        await gone(rig)

    tell(tmp_path, story)


def test_a_second_entry_enlarges_the_protection(tmp_path: Path) -> None:
    """With levels of its own they count for all that is held, without them the first ones stay."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        await resting(rig, 10)
        await rig.ended(await rig.accept(action="buy", quantity="5"))
        assert str((await resting(rig, 15)).intent.legs) == "stop 800, target 845"
        await enter(rig, 5, stop_loss={"price": "790"}, take_profit=None)
        assert str((await resting(rig, 20)).intent.legs) == "stop 790"

    tell(tmp_path, story)


def test_a_reversal_takes_the_protection_along(tmp_path: Path) -> None:
    """From long to short: the old one goes first, the new one protects the short position."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        await resting(rig, 10)
        await rig.ended(await rig.accept(target="-5", stop_loss={"price": "830"}))
        assert rig.quantity() == -5
        order = await resting(rig, 5)
        assert (order.intent.side.value, str(order.intent.legs)) == ("BUY", "stop 830")
        await trade_at(rig, "831")
        await until(lambda: rig.quantity() == 0, "the exit")
        await gone(rig)

    tell(tmp_path, story)


def test_a_cancel_leaves_the_protection(tmp_path: Path) -> None:
    """It withdraws resting orders of the strategy, not what protects its position."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        await resting(rig, 10)
        assert (await rig.ended(await rig.accept(action="cancel"))).disposition == "noop"
        await resting(rig, 10)

    tell(tmp_path, story)


async def covered(rig: Rig) -> Order:
    """The one protection, once it rests for all that is held."""
    await until(lambda: [o.leaves_qty for o in protections(rig)] == [rig.quantity()], f"all held protected: {protections(rig)}")
    return await resting(rig, int(rig.quantity()))


async def grow(rig: Rig) -> None:
    """The market fills another part of what rests."""
    before = rig.quantity()
    await trade_at(rig, "820")
    await until(lambda: rig.quantity() > before, "the next part")


HALVES = {"paper": {"broker": "paper", "session": "always", "fill_ratio": "0.5", "slippage_bps": "0", "charges": False}}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a resting entry has filled is protected without waiting for more."""
    monkeypatch.setattr("bridge.risk.protective.QUIET", timedelta())


@pytest.mark.usefixtures("at_once")
def test_an_entry_that_fills_on_when_its_protection_is_through_is_protected_anew(tmp_path: Path) -> None:
    """Half of a limit order fills, its target is met, and the market comes back: what fills then has an order of its own."""

    async def story(rig: Rig) -> None:
        await trade_at(rig, "830")
        entry = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="820", **BOTH)
        await rig.order_in(entry, "PLACED")
        await trade_at(rig, "820")
        first = await covered(rig)
        while rig.quantity():
            await trade_at(rig, "856")
            await asyncio.sleep(0)
        await gone(rig)
        await trade_at(rig, "820")
        again = await covered(rig)
        assert again.cl_ord_id != first.cl_ord_id
        assert rig.ledger.orders.values[first.cl_ord_id].status == "FILLED"

    tell(tmp_path, story, accounts=HALVES)


@pytest.mark.usefixtures("at_once")
def test_two_entries_that_fill_by_turns_never_use_an_order_twice(tmp_path: Path) -> None:
    """Each fill makes the protection another one, and gives it a number that no order has had."""

    async def story(rig: Rig) -> None:
        await trade_at(rig, "830")
        older = await rig.accept(action="buy", quantity="32", order_type="LIMIT", price="820", **BOTH)
        await rig.order_in(older, "PLACED")
        await trade_at(rig, "820")
        await covered(rig)
        newer = await enter(rig, 3)
        await covered(rig)
        for _ in range(2):
            await grow(rig)
            await covered(rig)
        made = [step.cl_ord_id for alert in (older, newer) for step in rig.steps(alert) if step.step == "order_new"]
        assert len(made) == len(set(made)) > 4

    tell(tmp_path, story, accounts=HALVES)


def test_a_halt_of_everything_leaves_what_rests(tmp_path: Path) -> None:
    """A protection cannot be made anew while nothing leaves, so one that is too small stays until trading goes on."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        first = await resting(rig, 10)
        entry = await rig.accept(action="buy", quantity="5", order_type="LIMIT", price="805")
        await rig.order_in(entry, "PLACED")
        await rig.halt(stop_all=True)
        await trade_at(rig, "804")
        await until(lambda: rig.quantity() == 15, "the entry's fill")
        rig.clock.jump(seconds=10)
        for _ in range(5):
            await asyncio.sleep(0.03)
            assert protections(rig) == [first]
        await rig.resume()
        await resting(rig, 15)

    tell(tmp_path, story)


def test_what_rests_stays_where_the_larger_one_cannot_be_made(tmp_path: Path) -> None:
    """Together the entries are more than the exchange takes in one order: the first stays protected, and a person is told."""

    async def story(rig: Rig) -> None:
        await enter(rig)
        first = await resting(rig, 10)
        await enter(rig)
        await until(rig.alarms, "the alarm")
        rig.clock.jump(seconds=10)
        await asyncio.sleep(0.1)
        assert protections(rig) == [first]
        assert ["20 are held" in told and "What rests for 10 stays" in told for told in rig.alarms()] == [True]
        await rig.ended(await rig.accept(action="exit", quantity="14"))
        await resting(rig, 6)

    tell(tmp_path, story, freeze_quantities=write_freezes(tmp_path, {"STATE BANK OF INDIA": 12}))
