"""A crash at every recovery point: the next bridge on the same files takes each alert and order up where it lay."""

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import TradingMode
from bridge.core.errors import ConfigError, StoreError
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.scope import GLOBAL
from bridge.settings import Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, Rig, ScriptedBridge, WatchedBridge, abandoned, copy_of, make_settings, running
from tests.support.scripted_broker import ACCEPT, HANG, LOST, LOST_BUT_THERE
from tests.support.waiting import until

Story = Callable[[Rig], Awaitable[Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def crash(folder: Path, before: Story, after: Callable[[Rig, Any], Awaitable[None]], **settings: Any) -> None:
    """`before` on one bridge, a crash, `after` on a second one with a copy of the files and the same broker."""

    async def whole() -> None:
        clock = RunningClock()
        first = ScriptedBridge(make_settings(folder / "first", **settings), clock)
        async with abandoned(first, clock) as rig:
            found = await before(rig)
            brokers = {name: rig.broker_of(name) for name in rig.bridge.brokers}
            copied = copy_of(first.settings, folder / "second")
        async with running(ScriptedBridge(copied, clock, brokers), clock) as rig:
            await after(rig, found)
            rig.check_books()

    play(whole)


def test_an_order_that_had_not_left_leaves_after_the_restart(tmp_path: Path) -> None:
    """NEW: approved and stored. It is sent once, by the next process."""

    async def before(rig: Rig) -> str:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="5")
        await rig.order_in(alert_id, "NEW")
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert rig.broker.sent == []
        rig.broker.fill_px = Decimal(800)
        rig.broker.connected = True
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert len(rig.broker.sent) == 1

    crash(tmp_path, before, after)


def test_an_order_that_had_not_left_and_is_stale_expires_after_the_restart(tmp_path: Path) -> None:
    """A bridge that comes back in the evening does not send the morning's entries."""

    async def before(rig: Rig) -> str:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="5")
        await rig.order_in(alert_id, "NEW")
        rig.clock.jump(minutes=30)
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        rig.broker.connected = True
        assert (await rig.ended(alert_id)).disposition == "expired"
        assert rig.broker.sent == []

    crash(tmp_path, before, after)


@pytest.mark.parametrize("arrived", [True, False], ids=["it had arrived", "it had not"])
def test_an_order_that_was_being_sent_is_looked_up_after_the_restart(tmp_path: Path, arrived: bool) -> None:
    """PENDING without an answer: in the book it is adopted; absent for long it is sent, and in both cases there is one."""

    async def before(rig: Rig) -> str:
        rig.broker.answers.append(HANG)
        alert_id = await rig.accept(action="buy", quantity="5")
        order = await rig.order_in(alert_id, "PENDING")
        await until(lambda: rig.broker.sent, "the call")
        if arrived:
            rig.broker.take(order)
            rig.broker.execute(order.tag, Decimal(2), Decimal(800))
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        if arrived:
            order = await rig.order_in(alert_id, "PARTIAL")
            assert rig.quantity() == 2
            await rig.broker.fill(order.tag, 3, 800)
        else:
            await rig.order_in(alert_id, "IN_DOUBT")
            rig.broker.fill_px = Decimal(800)
            reads = rig.broker.reads
            await until(lambda: rig.broker.reads > reads + 4, "looks into the book")
            assert len(rig.broker.sent) == 1
            rig.clock.jump(seconds=11)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert rig.quantity() == 5
        assert len(rig.broker.sent) == (1 if arrived else 2)
        assert len(rig.broker.rows) == 1

    crash(tmp_path, before, after)


@pytest.mark.parametrize("how", [LOST, LOST_BUT_THERE])
def test_an_order_in_doubt_is_still_in_doubt_after_the_restart_and_is_settled(tmp_path: Path, how: str) -> None:
    """IN_DOUBT: the looking up goes on; nothing is sent before it has come to something."""

    async def before(rig: Rig) -> str:
        rig.broker.answers.append(how)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="5")
        await rig.order_in(alert_id, "IN_DOUBT")
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        rig.broker.book_lags = False
        if how == LOST:
            reads = rig.broker.reads
            await until(lambda: rig.broker.reads > reads + 4, "looks into the book")
            rig.clock.jump(seconds=11)
        order = await rig.order_in(alert_id, "PLACED")
        await rig.broker.fill(order.tag, 5, 800)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert len(rig.broker.sent) == (2 if how == LOST else 1)
        assert len(rig.broker.rows) == 1

    crash(tmp_path, before, after)


def test_a_working_order_is_followed_on_and_what_was_missed_is_taken_over(tmp_path: Path) -> None:
    """PLACED: fills and ends that happened while nobody listened are in the book."""

    async def before(rig: Rig) -> tuple[str, str, str]:
        ids = [await rig.accept(action="buy", quantity=str(n), order_type="LIMIT", price="700") for n in (5, 6, 7)]
        orders = [await rig.order_in(alert_id, "PLACED") for alert_id in ids]
        await rig.broker.fill(orders[0].tag, 2, 700)
        rig.broker.execute(orders[0].tag, Decimal(3), Decimal(700))
        rig.broker.execute(orders[1].tag, Decimal(1), Decimal(700))
        rig.broker.end(orders[1].tag, OrderStatus.CANCELLED, "by hand")
        return ids[0], ids[1], ids[2]

    async def after(rig: Rig, ids: tuple[str, str, str]) -> None:
        assert (await rig.ended(ids[0])).code == "FILLED"
        assert (await rig.ended(ids[1])).code == "PARTLY_FILLED"
        order = await rig.order_in(ids[2], "PLACED")
        assert rig.quantity() == 6
        await rig.broker.fill(order.tag, 7, 700)
        assert (await rig.ended(ids[2])).code == "FILLED"
        assert len(rig.broker.sent) == 3

    crash(tmp_path, before, after)


def test_an_alert_that_waited_is_carried_on(tmp_path: Path) -> None:
    """An alert without an order: it still waits for the same order, and is then sized by what came of it."""

    async def before(rig: Rig) -> tuple[str, str]:
        entry = await rig.accept(action="buy", quantity="5")
        await rig.order_in(entry, "PLACED")
        return entry, await rig.accept(target="-2")

    async def after(rig: Rig, ids: tuple[str, str]) -> None:
        entry, target = ids
        order = await rig.order_in(entry, "PLACED")
        assert rig.orders(target) == []
        await rig.broker.fill(order.tag, 5, 800)
        rig.clock.jump(seconds=2)
        follow = await rig.order_in(target, "PLACED")
        assert follow.intent.order_qty == 7
        await rig.broker.fill(follow.tag, 7, 800)
        assert (await rig.ended(target)).code == "FILLED"
        assert rig.quantity() == -2

    crash(tmp_path, before, after)


def test_an_alert_whose_processing_failed_is_tried_again(tmp_path: Path) -> None:
    """Stored and acknowledged, then a fault of ours: a repaired bridge carries it out."""

    async def before(rig: Rig) -> str:
        def broken(_symbol: str) -> Any:
            raise RuntimeError("a bug")

        rig.bridge.pipeline._instrument = broken
        alert_id = await rig.accept(action="buy", quantity="5")
        assert rig.alert(alert_id).disposition is None
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        rig.broker.fill_px = Decimal(800)
        rig.clock.jump(seconds=2)
        assert (await rig.ended(alert_id)).code == "FILLED"

    crash(tmp_path, before, after)


def test_a_cancel_that_was_asked_for_is_asked_again(tmp_path: Path) -> None:
    """CANCEL_PENDING: the request may never have left; asking twice does no harm, not asking would."""

    async def before(rig: Rig) -> str:
        alert_id = await rig.accept(action="buy", quantity="5", order_type="LIMIT", price="700")
        await rig.order_in(alert_id, "PLACED")
        rig.broker.cancels.append(HANG)
        await rig.ended(await rig.accept(action="cancel"))
        await rig.order_in(alert_id, "CANCEL_PENDING")
        await until(lambda: rig.broker.cancelled, "the request")
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"

    crash(tmp_path, before, after)


def test_a_halt_holds_after_the_restart_also_for_what_had_been_approved(tmp_path: Path) -> None:
    """NEW at the crash, halted before it: the next process does not send it."""

    async def before(rig: Rig) -> str:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="5")
        await rig.order_in(alert_id, "NEW")
        await rig.halt()
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        rig.broker.connected = True
        assert (await rig.ended(alert_id)).code == "HALTED"
        assert rig.broker.sent == []
        state = rig.ledger.states.get(GLOBAL)
        assert state is not None
        assert state.mode is TradingMode.REDUCING

    crash(tmp_path, before, after)


def test_a_revoked_token_a_repeated_alert_and_a_rate_are_known_after_the_restart(tmp_path: Path) -> None:
    """What decides over the next alert is on disk: revocations, claims and the orders of the last minute."""
    risk = {"profile": "none", "max_orders_per_minute": 1}

    async def before(rig: Rig) -> tuple[Any, Any]:
        revoked = await rig.bridge.desk.mint_token({"strategy": "demo", "max_quantity": "9"}, by="test")
        rejected = await rig.delivery(action="buy", quantity="1", token=revoked["token"])
        await rig.bridge.desk.revoke_token(str(revoked["token_id"]), by="test")
        good = await rig.delivery(action="buy", quantity="1")
        assert (await rig.bridge.pipeline.accept(good)).status == "accepted"
        return rejected, good

    async def after(rig: Rig, deliveries: tuple[Any, Any]) -> None:
        rejected, good = deliveries
        assert (await rig.bridge.pipeline.accept(rejected)).code == "E_AUTH"
        assert (await rig.bridge.pipeline.accept(good)).status == "duplicate"
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="buy", quantity="2"))).code == "ORDER_RATE"

    crash(tmp_path, before, after, risk=risk)


@pytest.mark.parametrize("status", ["NEW", "PLACED", "IN_DOUBT"])
def test_an_account_with_open_orders_may_not_vanish_from_the_settings(tmp_path: Path, status: str) -> None:
    """Its orders would be followed by nobody: the bridge says which account is missing and does not start."""

    async def whole() -> None:
        clock = RunningClock()
        first = ScriptedBridge(make_settings(tmp_path / "first"), clock)
        async with abandoned(first, clock) as rig:
            rig.broker.connected = status != "NEW"
            rig.broker.answers.append(LOST if status == "IN_DOUBT" else ACCEPT)
            await rig.order_in(await rig.accept(action="buy", quantity="1"), status)
            copied = copy_of(
                first.settings, tmp_path / "second",
                accounts={"other": NO_CHARGES}, strategies={"demo": {"accounts": ["other"]}},
            )  # fmt: skip
        second = ScriptedBridge(copied, clock)
        with pytest.raises(ConfigError, match=r"accounts\.paper"):
            await second.start()
        await second.store.close()
        second.lock.release()

    play(whole)


def test_a_second_bridge_on_the_folder_is_refused(tmp_path: Path) -> None:
    """One process per data folder: the second says so and touches nothing."""

    async def whole() -> None:
        clock = RunningClock()
        settings: Settings = make_settings(tmp_path)
        async with running(WatchedBridge(settings, clock), clock) as rig:
            with pytest.raises(ConfigError, match="another bridge"):
                await WatchedBridge(settings, clock).start()
            rig.check_books()

    play(whole)


# -- a commit of which nobody knows whether it arrived ----------------------------------------------------------------


class AnswerLost:
    """The next COMMIT with rows for a table arrives, and its answer does not; others may come before it by the clock."""

    def __init__(self, real: Any, table: str) -> None:
        self.real = real
        self.table = table
        self.is_meant = False
        self.armed = True

    def execute(self, sql: str, *params: Any) -> Any:
        import sqlite3

        result = self.real.execute(sql, *params)
        self.is_meant |= sql.startswith("INSERT") and f'"{self.table}"' in sql.split()[:4]
        if sql == "COMMIT" and self.armed and self.is_meant:
            self.armed = False
            raise sqlite3.OperationalError("disk I/O error")
        return result

    def close(self) -> None:
        self.real.close()


def lose_the_next_answer(rig: Rig, table: str) -> None:
    writer: Any = rig.bridge.store.writer
    writer._connection = AnswerLost(writer._connection, table)


def tell(folder: Path, story: Story) -> None:
    async def whole() -> None:
        clock = RunningClock()
        async with running(ScriptedBridge(make_settings(folder), clock), clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def test_an_alert_whose_commit_was_not_answered_is_told_unavailable_and_carried_out_once(tmp_path: Path) -> None:
    """503, but it is on disk: the re-send is a duplicate of it, and one order comes of the two."""

    async def story(rig: Rig) -> None:
        delivery = await rig.delivery(action="buy", quantity="5")
        lose_the_next_answer(rig, "alerts")
        assert (await rig.bridge.pipeline.accept(delivery)).http_status == 503
        again = await rig.bridge.pipeline.accept(delivery)
        assert again.status == "duplicate"
        rig.broker.fill_px = Decimal(800)
        await rig.order_in(again.alert_id, "IN_DOUBT")
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 4, "looks into the book")
        rig.clock.jump(seconds=11)
        assert (await rig.ended(again.alert_id)).code == "FILLED"
        assert len(rig.broker.rows) == 1
        assert rig.quantity() == 5

    tell(tmp_path, story)


@pytest.mark.parametrize("waiting", [{"action": "exit"}, {"target": "-3"}, {"target": "0"}])
def test_an_alert_that_got_its_order_in_a_commit_that_was_not_answered_gets_no_second_one(
    tmp_path: Path, waiting: dict[str, str]
) -> None:
    """The fill of an entry carries on the alert that waited for it; that commit's answer is lost, and the fill told again."""

    async def story(rig: Rig) -> None:
        entry = await rig.accept(action="buy", quantity="5")
        order = await rig.order_in(entry, "PLACED")
        follower = await rig.accept(**waiting)
        assert follower in rig.ledger.waiting.values
        fill = rig.broker.execute(order.tag, Decimal(5), Decimal(800))
        lose_the_next_answer(rig, "fills")
        with pytest.raises(Exception, match="did not commit"):
            await rig.broker.tell(fill)
        await rig.broker.tell(fill)
        await rig.ended(entry)
        follow = await rig.order_in(follower, "IN_DOUBT", "PLACED")
        # Anything that ends in the symbol asks who waited for it; another product, so that it need not wait for the exit.
        other = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700", product="CNC")
        resting = await rig.order_in(other, "PLACED")
        await rig.broker.tell(rig.broker.end(resting.tag, OrderStatus.CANCELLED))
        await rig.ended(other)
        assert rig.alert(follower).disposition is None
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 4, "looks into the book")
        rig.broker.fill_px = Decimal(800)
        rig.clock.jump(seconds=11)
        view = await rig.ended(follower)
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert [row.tag for row in rig.broker.rows.values() if row.side is follow.intent.side] == [follow.tag]
        assert rig.step_names(follower).count("order_new") == 1
        assert rig.step_names(follower).count("alert_ended") == 1
        assert rig.quantity() == {"exit": 0, "-3": -3, "0": 0}[next(iter(waiting.values()))]

    tell(tmp_path, story)


def test_a_store_that_stays_away_is_recovered_from_once_a_tick_and_told_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failed commit has the database read anew; that must not start a recovery each time, and each of these another."""
    monkeypatch.setattr("bridge.store.writer.FIRST_REST_S", 0)

    async def story(rig: Rig) -> None:
        writer: Any = rig.bridge.store.writer
        await rig.token()  # while it can be stored
        real, reads = writer._try_group, rig.broker.reads

        def away(group: Any, **values: Any) -> Any:
            writer._stale = True
            raise StoreError("the disk is gone")

        writer._may_block_loop = lambda _size: False
        writer._try_group = away
        began = time.monotonic()
        while time.monotonic() - began < 0.6:
            assert (await rig.send(action="buy", quantity="1")).http_status == 503
            assert rig.bridge.ready()["store"] == (False, "the disk is gone")
        seconds = time.monotonic() - began
        assert rig.broker.reads - reads <= seconds / 0.03 + 5
        writer._try_group = real
        await until(lambda: rig.bridge.ready()["store"][0], "the store to be back")
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "FILLED"
        assert [step.step for step in rig.bridge.store.reads.recent([AuditAction.STORE_BACK])] == ["store_back"]

    tell(tmp_path, story)
