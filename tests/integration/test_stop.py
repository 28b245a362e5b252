"""A stop by order: nothing new begins, what is on its way ends, the rest waits on disk, in doubt only what must be."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.errors import StoreError
from bridge.core.events import Event
from bridge.core.scope import GLOBAL
from bridge.settings import Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, Rig, ScriptedBridge, make_settings, running
from tests.support.scripted_broker import HANG, LOST, SLOW
from tests.support.stores import look
from tests.support.waiting import until

Story = Callable[[Rig], Awaitable[Any]]
After = Callable[[Rig, Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Every pause between two looks is short; what is logged is kept."""
    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))
    monkeypatch.setattr("bridge.bootstrap.log_event", lambda event, **fields: told.append((event, fields)))
    return told


@asynccontextmanager
async def stopping(bridge: ScriptedBridge, clock: RunningClock) -> AsyncIterator[Rig]:
    """The bridge from its start until the story has stopped it."""
    await bridge.start()
    try:
        yield Rig(bridge, clock)
    finally:
        if not bridge._is_drained:  # the story failed before it came to that
            bridge.hurry()
            await bridge.stop()


def restart(folder: Path, before: Story, after: After, **settings: Any) -> None:
    """`before` stops the first bridge; `after` finds a second one on the same files and the same broker."""

    async def whole() -> None:
        clock, own = RunningClock(), make_settings(folder, **settings)
        first = ScriptedBridge(own, clock)
        async with stopping(first, clock) as rig:
            found = await before(rig)
        broker = rig.broker
        broker.answers.clear()
        broker.connected = True
        async with running(ScriptedBridge(own, clock, {"paper": broker}), clock) as rig:
            await after(rig, found)
            rig.check_books()

    play(whole)


def sqlite_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'data' / 'bridge.db'}"


def statuses(settings: Settings) -> dict[str, str]:
    """Alert id → status of its order, as another program finds them on disk."""
    return {row[0]: row[1] for row in look(settings.database.url, "SELECT alert_id, status FROM orders")}


def actions(settings: Settings) -> list[str]:
    return [row[0] for row in look(settings.database.url, "SELECT action FROM audit ORDER BY seq")]


async def filled_once_and_never_in_doubt(rig: Rig, ids: list[str]) -> None:
    """What every order comes to that was not on its way at the stop."""
    rig.broker.fill_px = Decimal(800)
    for tag in list(rig.broker.rows):
        if not rig.broker.rows[tag].status.is_closed:
            await rig.broker.fill(tag, rig.broker.rows[tag].order_qty, 800)
    for alert_id in ids:
        assert (await rig.ended(alert_id)).code == "FILLED"
    assert len(rig.broker.rows) == len(ids)
    assert rig.quantity() == sum(row.order_qty for row in rig.broker.rows.values())
    assert "order_in_doubt" not in actions(rig.bridge.settings)


# -- the door ---------------------------------------------------------------------------------------------------------


def test_from_the_first_moment_alerts_are_answered_503_and_leave_nothing(tmp_path: Path) -> None:
    """Nothing is stored, so that the sender sends again; flatten would begin orders and is refused too."""

    async def before(rig: Rig) -> str:
        held = await rig.accept(action="buy", quantity="5")
        await rig.broker.fill((await rig.order_in(held, "PLACED")).tag, 5)
        await rig.ended(held)
        delivery = await rig.delivery(action="buy", quantity="1")
        rig.bridge.begin_stop()
        answer = await rig.bridge.pipeline.accept(delivery)
        assert (answer.http_status, answer.status, answer.alert_id) == (503, "unavailable", "")
        with pytest.raises(StoreError, match="stopping"):
            await rig.bridge.desk.flatten(None, by="test")
        assert rig.bridge.ready()["bridge"] == (False, "The bridge is stopping.")
        await rig.bridge.stop()
        assert list(statuses(rig.bridge.settings)) == [held]
        assert look(rig.bridge.settings.database.url, "SELECT COUNT(*) FROM alerts") == [(1,)]
        return held

    async def after(rig: Rig, held: str) -> None:
        assert "bridge" not in rig.bridge.ready()
        assert rig.alert(held).code == "FILLED"
        assert (await rig.send(action="exit")).status == "accepted"

    restart(tmp_path, before, after)


def test_what_waits_for_its_commit_when_the_stop_begins_is_committed_and_answered(tmp_path: Path) -> None:
    """It was let in before; its order waits on disk, and nothing of it has been sent."""

    async def before(rig: Rig) -> list[str]:
        deliveries = [await rig.delivery(action="buy", quantity="1", note=str(number)) for number in range(30)]
        answers = [asyncio.ensure_future(rig.bridge.pipeline.accept(delivery)) for delivery in deliveries]
        await asyncio.sleep(0)  # each has handed its command to the writer
        rig.bridge.begin_stop()
        await rig.bridge.stop()
        ids = [(await answer).alert_id for answer in answers]
        assert all(ids)
        assert statuses(rig.bridge.settings) == dict.fromkeys(ids, "NEW")
        assert rig.broker.sent == []
        assert "order_sending" not in actions(rig.bridge.settings)
        return ids

    restart(tmp_path, before, filled_once_and_never_in_doubt)


def test_a_halt_while_stopping_is_in_force_and_kept(tmp_path: Path) -> None:
    """The kill switch works to the last: what waits on disk is held against it at the next start."""

    async def before(rig: Rig) -> str:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="5")
        await rig.order_in(alert_id, "NEW")
        rig.bridge.begin_stop()
        await rig.halt()
        await rig.bridge.stop()
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert (await rig.ended(alert_id)).code == "HALTED"
        assert rig.ledger.states.get(GLOBAL).mode == "REDUCING"
        assert rig.broker.sent == []

    restart(tmp_path, before, after)


# -- what is on its way -----------------------------------------------------------------------------------------------


def test_what_is_at_the_broker_is_answered_and_its_reports_are_stored(tmp_path: Path) -> None:
    """The stop waits for the calls that have begun; a fill that comes meanwhile is booked like any other."""

    async def before(rig: Rig) -> list[str]:
        early = await rig.accept(action="buy", quantity="2")
        tag = (await rig.order_in(early, "PLACED")).tag
        rig.broker.answers.extend([SLOW] * 4)
        slow = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(4)]
        await until(lambda: len(rig.broker.sent) == 5, "the calls")
        full = [await rig.accept(action="buy", quantity="1", note=f"more {number}") for number in range(3)]
        stop = asyncio.ensure_future(rig.bridge.stop())
        await until(lambda: rig.bridge._is_drained, "the stop to begin")
        await rig.broker.fill(tag, 2, 800)
        assert (await rig.ended(early)).code == "FILLED"
        assert not stop.done()
        rig.broker.released.set()
        await stop
        assert statuses(rig.bridge.settings) == {
            early: "FILLED", **dict.fromkeys(slow, "PLACED"), **dict.fromkeys(full, "NEW")
        }  # fmt: skip
        assert len(rig.broker.sent) == 5
        return [early, *slow, *full]

    restart(tmp_path, before, filled_once_and_never_in_doubt)


def test_a_call_that_hangs_is_cut_off_after_the_limit_and_looked_up_at_the_next_start(
    tmp_path: Path, quick: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it arrived is unknown: it stays PENDING on disk, the log names it, and nothing sends it blindly."""
    monkeypatch.setattr("bridge.bootstrap.STOP_TIMEOUT_S", 0.2)

    async def before(rig: Rig) -> tuple[str, str]:
        rig.broker.answers.extend([HANG, HANG])
        arrived, lost = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(2)]
        await until(lambda: len(rig.broker.sent) == 2, "the calls")
        order = await rig.order_in(arrived, "PENDING")
        rig.broker.take(order)
        began = time.monotonic()
        await rig.bridge.stop()
        assert time.monotonic() - began < 2
        assert statuses(rig.bridge.settings) == {arrived: "PENDING", lost: "PENDING"}
        named = dict(quick)["broker_calls_cut_off"]
        assert named == {"account": "paper", "orders": sorted(order.cl_ord_id for order in rig.broker.sent)}
        return arrived, lost

    async def after(rig: Rig, ids: tuple[str, str]) -> None:
        arrived, lost = ids
        await rig.order_in(arrived, "PLACED")
        await rig.order_in(lost, "IN_DOUBT")
        assert len(rig.broker.sent) == 2

    restart(tmp_path, before, after)


def test_a_second_order_to_stop_waits_for_no_broker(tmp_path: Path) -> None:
    """At once, and still safe: the call is cut off, everything that can be known is on disk."""

    async def before(rig: Rig) -> str:
        rig.broker.answers.append(HANG)
        alert_id = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.broker.sent, "the call")
        stop = asyncio.ensure_future(rig.bridge.stop())
        await until(lambda: rig.bridge._is_drained, "the stop to begin")
        began = time.monotonic()
        rig.bridge.hurry()
        await stop
        assert time.monotonic() - began < 1
        assert statuses(rig.bridge.settings) == {alert_id: "PENDING"}
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        await rig.order_in(alert_id, "IN_DOUBT")

    restart(tmp_path, before, after)


def test_an_answer_that_cannot_be_stored_for_a_while_is_stored_before_the_end(tmp_path: Path) -> None:
    """A store that is away while the bridge stops: what the broker said is written down when it is back."""

    async def before(rig: Rig) -> str:
        rig.broker.answers.append(SLOW)
        alert_id = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.broker.sent, "the call")
        writer = rig.bridge.store.writer
        begin, tries = writer._try_group, []

        def away(group: Any, **values: Any) -> Any:
            tries.append(len(group))
            if len(tries) < 5:
                raise StoreError("the disk is full")
            return begin(group, **values)

        writer._may_block_loop = lambda size: False  # type: ignore[method-assign]
        writer._try_group = away  # type: ignore[method-assign]
        stop = asyncio.ensure_future(rig.bridge.stop())
        rig.broker.released.set()
        await stop
        assert len(tries) >= 5
        assert statuses(rig.bridge.settings) == {alert_id: "PLACED"}
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        await filled_once_and_never_in_doubt(rig, [alert_id])

    restart(tmp_path, before, after)


def test_a_cancel_that_gets_no_answer_is_left_to_the_next_start(tmp_path: Path) -> None:
    """Asking twice does no harm, so the stop does not wait for all the tries."""

    async def before(rig: Rig) -> str:
        alert_id = await rig.accept(action="buy", quantity="5", order_type="LIMIT", price="700")
        await rig.order_in(alert_id, "PLACED")
        rig.broker.cancels.extend([LOST] * 5)
        await rig.accept(action="cancel")
        await until(lambda: rig.broker.cancelled, "the request")
        await rig.bridge.stop()
        assert statuses(rig.bridge.settings) == {alert_id: "CANCEL_PENDING"}
        rig.broker.cancels.clear()
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"

    restart(tmp_path, before, after)


# -- let out, and not begun -------------------------------------------------------------------------------------------


def stop_when_granted(rig: Rig) -> None:
    """Let the stop begin at the very moment when a commit has let an order out and no lane has heard of it."""
    tell = rig.bridge.store.writer.on_events

    def hear(events: list[Event]) -> None:
        if any(order.status == "PENDING" for order in rig.ledger.orders.values.values()):
            rig.bridge.begin_stop()
        tell(events)

    rig.bridge.store.writer.on_events = hear


def test_an_order_let_out_by_the_commit_that_made_it_goes_back_when_the_stop_is_faster(tmp_path: Path) -> None:
    """PENDING on disk and no call begun: no byte has left, so it is NEW again and nothing is in doubt."""

    async def before(rig: Rig) -> list[str]:
        stop_when_granted(rig)
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.bridge.stop()
        assert rig.broker.sent == []
        assert statuses(rig.bridge.settings) == {alert_id: "NEW"}
        assert {"order_sending", "order_not_sent"} <= set(actions(rig.bridge.settings))
        return [alert_id]

    restart(tmp_path, before, filled_once_and_never_in_doubt)


def test_an_order_let_out_by_its_lane_goes_back_when_the_stop_is_faster(tmp_path: Path) -> None:
    """The same where the lane itself asked for the leave, after the broker had been away."""

    async def before(rig: Rig) -> list[str]:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.order_in(alert_id, "NEW")
        stop_when_granted(rig)
        rig.broker.connected = True
        await until(lambda: rig.bridge.pipeline._is_stopping, "the stop")
        await rig.bridge.stop()
        assert rig.broker.sent == []
        assert statuses(rig.bridge.settings) == {alert_id: "NEW"}
        return [alert_id]

    restart(tmp_path, before, filled_once_and_never_in_doubt)


def test_orders_let_out_that_wait_for_a_place_at_the_broker_go_back(tmp_path: Path) -> None:
    """The lane is full of calls that hang: what was let out behind them is NEW again, whatever becomes of those."""

    async def before(rig: Rig) -> list[str]:
        rig.broker.answers.append(SLOW)
        first = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.broker.sent, "the call")
        guarded = rig.bridge.guarded["paper"]
        guarded.capabilities = replace(guarded.capabilities, max_in_flight=1)
        behind = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(3)]
        assert [order.status for order in rig.ledger.orders.values.values()] == ["PENDING"] * 4
        stop = asyncio.ensure_future(rig.bridge.stop())
        for alert_id in behind:
            await rig.order_in(alert_id, "NEW")
        assert not stop.done()
        rig.broker.released.set()
        await stop
        assert statuses(rig.bridge.settings) == {first: "PLACED", **dict.fromkeys(behind, "NEW")}
        guarded.capabilities = replace(guarded.capabilities, max_in_flight=4)
        return [first, *behind]

    restart(tmp_path, before, filled_once_and_never_in_doubt)


def test_an_order_let_out_by_a_commit_that_ends_after_the_lanes_goes_back(tmp_path: Path) -> None:
    """A slow disk: the commit was under way when the stop began, its lane is full, and has ended its work meanwhile."""

    async def before(rig: Rig) -> list[str]:
        rig.broker.answers.append(SLOW)
        first = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.broker.sent, "the call")
        guarded = rig.bridge.guarded["paper"]
        guarded.capabilities = replace(guarded.capabilities, max_in_flight=1)
        writer, is_written, may_end = rig.bridge.store.writer, threading.Event(), threading.Event()
        commit = writer._commit

        def slow(group: Any, **values: Any) -> list[Event]:
            events = commit(group, **values)
            is_written.set()
            may_end.wait(10)
            return events

        late = asyncio.ensure_future(rig.send(action="buy", quantity="1", note="late"))
        writer._commit = slow  # type: ignore[method-assign]
        await until(is_written.is_set, "the commit")
        stop = asyncio.ensure_future(rig.bridge.stop())
        runner = rig.bridge.lanes["paper"]._runner
        await until(lambda: runner is not None and runner.done(), "the end of the lane")
        may_end.set()
        second = (await late).alert_id
        await rig.order_in(second, "NEW")
        rig.broker.released.set()
        await stop
        assert statuses(rig.bridge.settings) == {first: "PLACED", second: "NEW"}
        guarded.capabilities = replace(guarded.capabilities, max_in_flight=4)
        return [first, second]

    restart(tmp_path, before, filled_once_and_never_in_doubt, database={"url": sqlite_in(tmp_path), "writer": "thread"})


@pytest.mark.parametrize("why", ["throttle", "disconnected"])
def test_a_lane_that_waits_is_not_waited_for(tmp_path: Path, why: str) -> None:
    """Its orders are NEW and stay it; the stop comes in the middle of the pause."""
    account = {**NO_CHARGES, **({"orders_per_second": 1} if why == "throttle" else {})}

    async def before(rig: Rig) -> list[str]:
        rig.broker.connected = why == "throttle"
        ids = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(4)]
        await until(lambda: rig.bridge.lanes["paper"].backlog, "orders that wait")
        began = time.monotonic()
        await rig.bridge.stop()
        assert time.monotonic() - began < 0.4
        found = statuses(rig.bridge.settings)
        assert list(found) == ids
        assert set(found.values()) <= {"NEW", "PLACED"}
        assert list(found.values()).count("NEW") >= 2
        return ids

    restart(tmp_path, before, filled_once_and_never_in_doubt, accounts={"paper": account})


def test_a_bridge_told_to_stop_while_it_starts_sends_nothing(tmp_path: Path) -> None:
    """The start goes to its end and takes up what waited, but nothing of it leaves."""

    async def whole() -> None:
        clock, settings = RunningClock(), make_settings(tmp_path)
        first = ScriptedBridge(settings, clock)
        async with stopping(first, clock) as rig:
            rig.broker.connected = False
            alert_id = await rig.accept(action="buy", quantity="1")
            await rig.order_in(alert_id, "NEW")
            await first.stop()
        broker = rig.broker
        broker.connected = True
        second = ScriptedBridge(settings, clock, {"paper": broker})
        second.begin_stop()
        await second.start()
        await second.stop()
        assert broker.sent == []
        async with running(ScriptedBridge(settings, clock, {"paper": broker}), clock) as rig:
            await filled_once_and_never_in_doubt(rig, [alert_id])

    play(whole)
