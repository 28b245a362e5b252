"""Orders above the freeze quantity: sent in parts, each an order of its own, ended and counted as the one that was wished."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, abandoned, copy_of, make_settings, running, write_freezes
from tests.support.scripted_broker import REFUSE, SLOW
from tests.support.waiting import until

FREEZE = 100


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def freezes(folder: Path) -> Path:
    return write_freezes(folder, {"STATE BANK OF INDIA": FREEZE})


def tell(folder: Path, story: Callable[[Rig], Awaitable[None]], *, max_in_flight: int = 4, **settings: Any) -> None:
    """A story with a scripted broker, where the exchange takes at most 100 NSE:SBIN in one order."""

    async def whole() -> None:
        clock = RunningClock()
        made = make_settings(folder, freeze_quantities=freezes(folder), **settings)
        async with running(ScriptedBridge(made, clock, max_in_flight=max_in_flight), clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def test_an_order_above_the_freeze_quantity_is_sent_in_parts_and_ends_as_one(tmp_path: Path) -> None:
    """Every part is below the limit, none is forgotten, and the rate limits count one order."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal("812.5")
        alert = await rig.ended(await rig.accept(action="buy", quantity="250"))
        assert alert.disposition == "done"
        assert "250 filled at 812.5" in alert.message
        orders = rig.orders(alert.alert_id)
        assert sorted((order.part, order.parts, int(order.order_qty)) for order in orders) == [
            (1, 3, 100), (2, 3, 100), (3, 3, 50),
        ]  # fmt: skip
        assert len({order.tag for order in orders}) == 3
        assert [int(order.intent.order_qty) for order in rig.broker.sent] == [100, 100, 50]
        assert rig.step_names(alert.alert_id).count("intent_sliced") == 1
        assert "250 NSE:SBIN go in 3 orders of at most 100." in [step.message for step in rig.steps(alert.alert_id)]
        assert rig.quantity() == 250
        # The second order of the minute, not the fourth.
        assert (await rig.ended(await rig.accept(action="exit"))).disposition == "done"
        assert rig.quantity() == 0

    tell(tmp_path, story, risk={"profile": "none", "max_orders_per_minute": 2})


def test_an_entry_of_which_a_part_is_rejected_sends_no_more_of_it(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal("812.5")
        rig.broker.answers.extend(["accept", REFUSE])
        rig.broker.message = "insufficient funds"
        alert = await rig.ended(await rig.accept(action="buy", quantity="400"))
        assert len(rig.broker.sent) == 2
        assert (alert.disposition, alert.code) == ("done", "PARTLY_FILLED")
        assert "100 of 400 filled" in alert.message
        statuses = [order.status.value for order in sorted(rig.orders(alert.alert_id), key=lambda order: order.part)]
        assert statuses == ["FILLED", "REJECTED", "CANCELLED", "CANCELLED"]
        assert rig.quantity() == 100

    tell(tmp_path, story, max_in_flight=1)


def test_every_part_of_an_exit_is_tried(tmp_path: Path) -> None:
    """What one part cannot close the others may."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal("812.5")
        await rig.ended(await rig.accept(action="buy", quantity="300"))
        rig.broker.answers.append(REFUSE)
        alert = await rig.ended(await rig.accept(action="exit"))
        assert rig.quantity() == 100
        assert alert.code == "PARTLY_FILLED"
        assert any("position is still open" in alarm for alarm in rig.alarms())

    tell(tmp_path, story, max_in_flight=1)


def test_an_exit_that_comes_between_the_parts_withdraws_those_that_have_not_left(tmp_path: Path) -> None:
    """It waits for the part on its way, not for one after the other."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal("812.5")
        rig.broker.answers.append(SLOW)
        entry = await rig.accept(action="buy", quantity="500")
        await until(lambda: len(rig.broker.sent) == 1, "the first part")
        leave = await rig.accept(action="exit")
        rig.broker.released.set()
        told = await rig.ended(entry)
        assert "100 of 500 filled" in told.message
        assert (await rig.ended(leave)).disposition == "done"
        assert rig.quantity() == 0
        assert [int(order.intent.order_qty) for order in rig.broker.sent] == [100, 100]

    tell(tmp_path, story, max_in_flight=1)


def test_more_parts_than_could_leave_in_time_are_denied(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        alert = await rig.ended(await rig.accept(action="buy", quantity="50000"))
        assert (alert.disposition, alert.code) == ("denied", "FREEZE_QTY")
        assert rig.broker.sent == []

    tell(tmp_path, story)


def test_a_crash_between_two_parts_sends_the_others_once(tmp_path: Path) -> None:
    """All parts are on disk with the alert's own commit; what left before the crash is found in the book."""

    async def whole() -> None:
        clock = RunningClock()
        settings = make_settings(tmp_path / "one", freeze_quantities=freezes(tmp_path))
        first = ScriptedBridge(settings, clock, max_in_flight=1)
        async with abandoned(first, clock) as rig:
            rig.broker.answers.extend(["accept", SLOW])
            alert_id = await rig.accept(action="buy", quantity="350")
            await until(lambda: len(rig.broker.sent) == 2, "the second part")
            again = copy_of(settings, tmp_path / "two", freeze_quantities=freezes(tmp_path))
        broker = rig.broker
        broker.answers.clear()
        async with running(ScriptedBridge(again, clock, books={"paper": broker}, max_in_flight=1), clock) as rig:
            reads = broker.reads
            await until(lambda: broker.reads > reads + 4, "looks into the book")
            clock.jump(seconds=11)  # absent for long enough
            await until(lambda: len(broker.rows) == 4, "all four at the broker")
            for tag in list(broker.rows):
                await broker.fill(tag, broker.rows[tag].order_qty, Decimal("812.5"))
            alert = await rig.ended(alert_id)
            assert "350 filled" in alert.message
            assert rig.quantity() == 350
            rig.check_books()

    play(whole)
