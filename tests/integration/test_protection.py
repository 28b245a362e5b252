"""Stops and targets that rest at the broker: paper and Kite, from the entry's fill to the end of the position."""

from collections.abc import Awaitable, Callable
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
from tests.support.rigs import Rig, WatchedBridge, make_settings, running
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
