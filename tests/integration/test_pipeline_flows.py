"""Alerts that meet each other: waits, lanes, throttles, halts, several accounts; paper and scripted brokers."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import Side, TradingMode
from bridge.core.scope import GLOBAL, account_scope, strategy_scope
from bridge.log import configure
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, Rig, ScriptedBridge, WatchedBridge, make_settings, running
from tests.support.samples import SBIN
from tests.support.scripted_broker import LOST, LOST_BUT_THERE, NOT_SENT, REFUSE
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(
    folder: Path, story: Callable[[Rig], Awaitable[None]], *, bridge: dict[str, Any] | None = None, **settings: Any
) -> None:
    """A story with scripted brokers behind the real bridge."""

    async def whole() -> None:
        clock = RunningClock()
        made = ScriptedBridge(make_settings(folder, **settings), clock, **(bridge or {}))
        async with running(made, clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def tell_on_paper(folder: Path, story: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    """A story with the paper broker."""

    async def whole() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(make_settings(folder, **settings), clock), clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


# -- alerts that wait for an order ------------------------------------------------------------------------------------


def test_a_target_waits_for_the_entry_under_way_and_is_sized_by_its_end(tmp_path: Path) -> None:
    """Sized at once it would be wrong whichever way the entry ends."""

    async def story(rig: Rig) -> None:
        entry = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(entry, "PLACED")
        target = await rig.accept(target="-5")
        assert rig.alert(target).disposition is None
        assert rig.orders(target) == []
        await rig.broker.fill(order.tag, 10, 800)
        follow = await rig.order_in(target, "PLACED")
        assert (follow.intent.side, follow.intent.order_qty) == (Side.SELL, Decimal(15))
        await rig.broker.fill(follow.tag, 15, 800)
        assert (await rig.ended(target)).code == "FILLED"
        assert rig.quantity() == -5

    tell(tmp_path, story)


def test_an_exit_waits_for_the_entry_under_way_and_closes_what_came_of_it(tmp_path: Path) -> None:
    """An exit right behind its entry closes what was filled, not the nothing that is held when it arrives."""

    async def story(rig: Rig) -> None:
        entry = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(entry, "PLACED")
        leaving = await rig.accept(action="exit")
        await rig.broker.fill(order.tag, 4, 800)
        assert rig.orders(leaving) == []
        await rig.broker.tell(rig.broker.end(order.tag, order.status.CANCELLED))
        follow = await rig.order_in(leaving, "PLACED")
        assert (follow.intent.side, follow.intent.order_qty, follow.intent.reduce_only) == (Side.SELL, Decimal(4), True)
        await rig.broker.fill(follow.tag, 4, 800)
        assert (await rig.ended(leaving)).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story)


def test_an_exit_whose_entry_came_to_nothing_is_a_noop(tmp_path: Path) -> None:
    """The entry is rejected: there is nothing to close."""

    async def story(rig: Rig) -> None:
        entry = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(entry, "PLACED")
        leaving = await rig.accept(action="exit")
        await rig.broker.tell(rig.broker.end(order.tag, order.status.REJECTED, "no"))
        assert (await rig.ended(leaving)).code == "FLAT"
        assert (await rig.ended(entry)).code == "BROKER_REJECTED"

    tell(tmp_path, story)


def test_an_exit_does_not_wait_for_ever(tmp_path: Path) -> None:
    """After its wait it closes what is there, and an entry that fills later does not take it back."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="3"))
        rig.broker.fill_px = None
        entry = await rig.accept(action="buy", quantity="10")
        await rig.order_in(entry, "PLACED")
        leaving = await rig.accept(action="exit")
        assert rig.orders(leaving) == []
        rig.clock.jump(seconds=21)
        follow = await rig.order_in(leaving, "PLACED")
        assert follow.intent.order_qty == 3

    tell(tmp_path, story)


def test_two_exits_never_close_more_than_is_held(tmp_path: Path) -> None:
    """What an exit under way closes already is not closed again."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        first = await rig.accept(action="exit", quantity="6")
        await rig.order_in(first, "PLACED")
        second = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        assert second.intent.order_qty == 4
        third = await rig.ended(await rig.accept(action="exit", note="3"))
        assert (third.disposition, third.code) == ("noop", "EXIT_IN_FLIGHT")

    tell(tmp_path, story)


def test_many_alerts_waiting_for_one_order_are_each_carried_on_once(tmp_path: Path) -> None:
    """Cancels, exits and targets wait side by side; the order's end carries on every one of them, to one end each."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(NOT_SENT)
        resting = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700")
        rig.broker.connected = True
        entry = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(entry, "PLACED")
        waiting = [
            await rig.accept(action="exit"), await rig.accept(target="-5"), await rig.accept(action="cancel"),
            await rig.accept(action="exit", note="2"), await rig.accept(target="2"),
            await rig.accept(action="cancel", note="2"),
        ]  # fmt: skip
        rig.broker.fill_px = Decimal(800)
        await rig.broker.fill(order.tag, 10, 800)
        rig.clock.jump(seconds=2)
        for alert_id in (*waiting, entry):
            view = await rig.ended(alert_id)
            assert view.disposition in ("done", "noop"), view
            assert rig.step_names(alert_id).count("alert_ended") == 1
            assert len(rig.orders(alert_id)) <= 1
        await rig.accept(action="cancel", note="3")
        await rig.ended(resting)
        tags = [sent.tag for sent in rig.broker.sent if sent.cl_ord_id != rig.orders(resting)[0].cl_ord_id]
        assert len(tags) == len(set(tags))
        assert rig.ledger.alerts.values == {}
        assert rig.ledger.waiting.values == {}
        assert rig.bridge.faults == []

    tell(tmp_path, story)


# -- lanes ------------------------------------------------------------------------------------------------------------


def test_held_up_orders_leave_in_order_and_exits_before_entries(tmp_path: Path) -> None:
    """While the broker is away they queue; then the exit goes first and the entries in the order of their alerts."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        rig.broker.connected = False
        first = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY")
        await rig.order_in(first, "NEW")
        entries = [await rig.accept(action="buy", quantity="1", symbol=f"NSE:{s}") for s in ("TCS", "RELIANCE")]
        leaving = await rig.accept(action="exit")
        sent_before = len(rig.broker.sent)
        await until(lambda: rig.bridge.lanes["paper"].backlog == 4, "the lane to hold all four")
        rig.broker.connected = True
        await until(lambda: len(rig.broker.sent) == sent_before + 4, "all to leave")
        sent = [order.intent.alert_id for order in rig.broker.sent[sent_before:]]
        assert sent[0] == leaving
        assert [alert_id for alert_id in sent if alert_id in entries] == entries

    tell(tmp_path, story)


def test_an_exit_held_up_for_long_still_leaves_when_entries_have_expired(tmp_path: Path) -> None:
    """A hold is not a failure: exits keep their place, entries expire."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.connected = False
        entry = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY")
        leaving = await rig.accept(action="exit")
        await rig.order_in(leaving, "NEW")
        rig.clock.jump(minutes=10)
        assert (await rig.ended(entry)).code == "STALE_BEFORE_SEND"
        rig.broker.connected = True
        assert (await rig.ended(leaving)).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story)


def test_no_calendar_second_sees_more_orders_than_allowed_and_their_order_stays(tmp_path: Path) -> None:
    """Two a second, counted by calendar seconds; the first come leave first."""
    accounts = {"paper": {**NO_CHARGES, "orders_per_second": 2}}

    async def story(rig: Rig) -> None:
        alert_ids = [await rig.accept(action="buy", quantity="1", note=str(n)) for n in range(6)]
        await until(lambda: len(rig.broker.sent) == 6, "all to leave")
        assert [order.intent.alert_id for order in rig.broker.sent] == alert_ids
        seconds = [order.sent_at.replace(microsecond=0) for order in rig.broker.sent if order.sent_at]
        assert len(seconds) == 6
        assert max(seconds.count(second) for second in seconds) <= 2

    tell(tmp_path, story, accounts=accounts)


def test_at_most_so_many_calls_are_at_a_broker_at_once(tmp_path: Path) -> None:
    """`max_in_flight` of the broker holds, and the rest follows in order."""

    async def story(rig: Rig) -> None:
        open_calls = most = 0
        place = rig.broker.place

        async def counted(order: Any) -> Any:
            nonlocal open_calls, most
            open_calls += 1
            most = max(most, open_calls)
            await asyncio.sleep(0.005)
            try:
                return await place(order)
            finally:
                open_calls -= 1

        rig.broker.place = counted  # type: ignore[method-assign]
        ids = await asyncio.gather(*(rig.accept(action="buy", quantity="1", n=n) for n in range(20)))
        await until(lambda: len(rig.broker.sent) == 20, "all to leave")
        assert most == 2
        assert {order.intent.alert_id for order in rig.broker.sent} == set(ids)

    tell(tmp_path, story, bridge={"max_in_flight": 2})


# -- halts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [GLOBAL, account_scope("paper"), strategy_scope("demo")], ids=str)
@pytest.mark.parametrize("stop_all", [False, True], ids=["halt", "halt all"])
def test_a_halt_withdraws_what_waits_in_the_lane(tmp_path: Path, scope: Any, stop_all: bool) -> None:
    """The gate is asked again right before sending: an entry approved before the halt does not leave after it."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.connected = False
        entry = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY")
        leaving = await rig.accept(action="exit")
        await rig.order_in(entry, "NEW")
        await rig.order_in(leaving, "NEW")
        sent = len(rig.broker.sent)
        await rig.halt(scope, stop_all=stop_all)
        rig.broker.connected = True
        view = await rig.ended(entry)
        assert (view.disposition, view.code) == ("denied", "HALTED")
        if stop_all:
            assert (await rig.ended(leaving)).code == "HALTED"
            assert rig.quantity() == 10
            assert len(rig.broker.sent) == sent
        else:
            assert (await rig.ended(leaving)).code == "FILLED"
            assert [order.intent.alert_id for order in rig.broker.sent[sent:]] == [leaving]

    tell(tmp_path, story)


def test_an_order_whose_sending_is_recorded_does_not_leave_after_the_halt(tmp_path: Path) -> None:
    """Between the commit and the call lies the gate: what is PENDING at the halt and not yet at the broker stays here."""

    async def story(rig: Rig) -> None:
        # Closing the gate in the very commit that grants the sending is the latest moment there is.
        rig.bridge.gate.close(GLOBAL, TradingMode.REDUCING, rig.clock.now())
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.halt()
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("denied", "HALTED")
        assert rig.broker.sent == []
        names = rig.step_names(alert_id)
        assert "order_sending" in names
        assert "order_not_sent" in names

    tell(tmp_path, story)


def test_cancels_leave_under_any_halt(tmp_path: Path) -> None:
    """HALTED lets out nothing but cancels."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700")
        await rig.order_in(alert_id, "PLACED")
        await rig.halt(stop_all=True)
        assert (await rig.ended(await rig.accept(action="cancel"))).code == "CANCELS_SENT"
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"

    tell(tmp_path, story)


def test_a_live_account_starts_with_exits_only_until_a_person_resumes_it(tmp_path: Path) -> None:
    """Real money waits for a person at the first start; what the person decided is kept afterwards."""
    risk = {"profile": "none"}

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        view = await rig.ended(await rig.accept(action="buy", quantity="1"))
        assert (view.disposition, view.code) == ("denied", "HALTED")
        await rig.resume(account_scope("paper"))
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code != "HALTED"

    tell(tmp_path, story, bridge={"is_paper": False}, risk=risk)


def test_a_halt_that_could_not_be_stored_still_holds_in_this_process(tmp_path: Path) -> None:
    """The gate closes first: when the store fails nothing leaves, and the caller is told that it is not on disk."""

    async def story(rig: Rig) -> None:
        from bridge.core.errors import StoreError

        writer: Any = rig.bridge.store.writer
        real = writer._connection

        class Full:
            def execute(self, sql: str, *params: Any) -> Any:
                if sql == "COMMIT":
                    import sqlite3

                    raise sqlite3.OperationalError("database or disk is full")
                return real.execute(sql, *params)

            def close(self) -> None:
                real.close()

        writer._connection = Full()
        with pytest.raises(StoreError, match=r"in force, but could not be written down: .*full\. Halt again\."):
            await rig.halt()
        assert [(state.scope, state.mode) for state in rig.bridge.mode_now() if state.scope == GLOBAL] == [
            (GLOBAL, TradingMode.REDUCING)
        ]
        assert rig.bridge.ready()["store"] == (False, "the store did not commit: database or disk is full")
        alert_id = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.step_names(alert_id).count("order_not_sent") >= 2, "the gate to hold it")
        assert rig.broker.sent == []
        await rig.resume()
        await until(lambda: len(rig.broker.sent) == 1, "the order to leave after all")

    tell(tmp_path, story)


# -- several accounts -------------------------------------------------------------------------------------------------

TWO = {
    "accounts": {"a": NO_CHARGES, "b": NO_CHARGES},
    "strategies": {"demo": {"accounts": ["a", "b"]}, "only_a": {"accounts": ["a"]}, "only_b": {"accounts": ["b"]}},
}


@pytest.mark.parametrize(
    ("in_a", "in_b", "expected"),
    [
        ("fill", "fill", ("done", "FILLED")),
        ("fill", "refuse", ("failed", "BROKER_REJECTED")),
        ("fill", "halt", ("denied", "HALTED")),
        ("refuse", "halt", ("failed", "BROKER_REJECTED")),
        ("halt", "halt", ("denied", "HALTED")),
    ],
)
def test_one_alert_for_two_accounts_ends_as_its_worst_part(
    tmp_path: Path, in_a: str, in_b: str, expected: tuple[str, str]
) -> None:
    """One disposition for all, with what became of each account in its sentence."""

    async def story(rig: Rig) -> None:
        for name, what in (("a", in_a), ("b", in_b)):
            broker = rig.broker_of(name)
            broker.fill_px = Decimal(800)
            if what == "refuse":
                broker.answers.append(REFUSE)
            elif what == "halt":
                await rig.halt(account_scope(name))
        view = await rig.ended(await rig.accept(action="buy", quantity="5"))
        assert (view.disposition, view.code) == expected
        assert "a: " in view.message
        assert "b: " in view.message
        assert (rig.quantity(account="a"), rig.quantity(account="b")) == (5 * (in_a == "fill"), 5 * (in_b == "fill"))

    tell(tmp_path, story, **TWO)


def test_an_exit_for_two_accounts_closes_the_one_that_holds_something(tmp_path: Path) -> None:
    """Flat in one and long in the other: done, and both are told."""

    async def story(rig: Rig) -> None:
        for name in "ab":
            rig.broker_of(name).fill_px = Decimal(800)
        await rig.ended(await rig.accept(strategy="only_b", action="buy", quantity="5"))
        view = await rig.ended(await rig.accept(action="exit"))
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert (rig.quantity(account="a"), rig.quantity(account="b")) == (0, 0)
        assert len(rig.orders(view.alert_id)) == 1

    tell(tmp_path, story, **TWO)


def test_an_alert_for_two_accounts_waits_when_one_has_an_order_under_way(tmp_path: Path) -> None:
    """It is sized for all of them at once, when that is possible for all of them."""

    async def story(rig: Rig) -> None:
        entry = await rig.accept(strategy="only_a", action="buy", quantity="5")
        order = await rig.order_in(entry, "PLACED")
        target = await rig.accept(target="8")
        assert rig.orders(target) == []
        await rig.broker_of("a").fill(order.tag, 5, 800)
        await until(lambda: len(rig.orders(target)) == 2, "both orders")
        assert {o.account: o.order_qty for o in rig.orders(target)} == {"a": 3, "b": 8}

    tell(tmp_path, story, **TWO)


# -- on paper ---------------------------------------------------------------------------------------------------------


def test_concurrent_entries_do_not_pass_a_limit_together(tmp_path: Path) -> None:
    """Exposure in flight counts: of many entries at once only as many pass as fit."""
    risk = {"profile": "none", "max_position_qty": "50"}

    async def story(rig: Rig) -> None:
        ids = await asyncio.gather(*(rig.accept(action="buy", quantity="10", n=n) for n in range(12)))
        views = [await rig.ended(alert_id) for alert_id in ids]
        assert sorted(view.code for view in views) == ["FILLED"] * 5 + ["MAX_POSITION_QTY"] * 7
        assert rig.quantity() == 50

    tell_on_paper(tmp_path, story, risk=risk)


def test_a_day_of_alerts_leaves_books_that_agree(tmp_path: Path) -> None:
    """Entries, reversals, exits and cancels at once in three symbols: paper's books and ours are the same afterwards."""

    async def story(rig: Rig) -> None:
        fields: list[dict[str, Any]] = [
            {"action": "buy", "quantity": "3"}, {"action": "sell", "quantity": "7"}, {"target": "-4"}, {"target": "6"},
            {"action": "exit"}, {"action": "buy", "quantity": "2", "order_type": "LIMIT", "price": "100"}, {"action": "cancel"},
        ]  # fmt: skip
        symbols = (SBIN, "NSE:INFY", "NSE:TCS")
        ids = await asyncio.gather(
            *(rig.accept(symbol=symbols[n % 3], n=n, **{"price": "800", **fields[n % 7]}) for n in range(105))
        )
        rig.clock.jump(seconds=2)
        for symbol in symbols:
            await rig.ended(await rig.accept(symbol=symbol, action="cancel", note="last"))
        for alert_id in ids:
            assert (await rig.ended(alert_id)).disposition in ("done", "noop")
        told = await rig.bridge.desk.reconcile(by="test")
        assert told["agree"] is True
        assert rig.bridge.faults == []

    tell_on_paper(tmp_path, story)


def test_a_fault_of_ours_in_processing_is_tried_again_and_then_told(tmp_path: Path) -> None:
    """The acknowledgement stands; after three attempts the alert fails with a sentence, and the lane goes on."""

    async def story(rig: Rig) -> None:
        known = rig.bridge.pipeline._instrument

        def broken(symbol: str) -> Any:
            if symbol == "NSE:TCS":
                raise RuntimeError("a bug")
            return known(symbol)

        rig.bridge.pipeline._instrument = broken
        alert_id = await rig.accept(action="buy", quantity="1", symbol="NSE:TCS")
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "FILLED"
        rig.clock.jump(seconds=2)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("failed", "INTERNAL")
        assert rig.step_names(alert_id).count("alert_deferred") == 3
        assert "a bug" not in str([step.message for step in rig.steps(alert_id)])

    tell_on_paper(tmp_path, story)


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under the log: faults are still contained, and alerts still answered."""

    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    async def story(rig: Rig) -> None:
        rig.bridge.on_fault("test", RuntimeError("contained"))

        def bug(_tx: Any) -> None:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            await rig.bridge.store.write(bug)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "FILLED"

    monkeypatch.setattr(sys, "stderr", Full())
    configure()
    try:
        tell_on_paper(tmp_path, story)
    finally:
        monkeypatch.undo()
        configure()


# -- resting orders in the way of an exit ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"action": "exit"}, {"target": "0"}, {}], ids=["exit", "target", "flatten"])
def test_an_exit_at_market_withdraws_the_resting_order_that_would_close_some_day(tmp_path: Path, how: dict[str, str]) -> None:
    """A profit target far from the market must not keep a stop or the panic button from closing the position now."""

    async def whole() -> None:
        clock = RunningClock()
        async with running(ScriptedBridge(make_settings(tmp_path), clock), clock) as rig:
            rig.broker.fill_px = Decimal(800)
            await rig.ended(await rig.accept(action="buy", quantity="10"))
            rig.broker.fill_px = None
            target = await rig.accept(action="sell", quantity="10", order_type="LIMIT", price="900")
            await rig.order_in(target, "PLACED")
            rig.broker.fill_px = Decimal(790)
            alert_id = await rig.accept(**how) if how else (await rig.bridge.desk.flatten(None, by="test"))[0]
            assert (await rig.ended(alert_id)).code == "FILLED"
            assert (await rig.ended(target)).code == "CANCELLED_UNFILLED"
            assert rig.quantity() == 0
            rig.check_books()

    play(whole)


# -- what an exit or a cancel finds on its way --------------------------------------------------------------------------


def test_an_exit_withdraws_an_entry_that_has_not_left_when_its_wait_is_over(tmp_path: Path) -> None:
    """Else the exit finds nothing to close, and the entry opens the position afterwards."""

    async def story(rig: Rig) -> None:
        rig.broker.connected = False
        entry = await rig.accept(action="buy", quantity="10")
        await rig.order_in(entry, "NEW")
        leaving = await rig.accept(action="exit")
        rig.clock.jump(seconds=21)
        assert (await rig.ended(leaving)).code == "FLAT"
        view = await rig.ended(entry)
        assert (view.disposition, view.code) == ("denied", "OVERTAKEN")
        assert leaving in view.message
        rig.broker.connected = True
        await rig.order_in(await rig.accept(action="buy", quantity="1", note="later"), "PLACED")
        assert [order.intent.order_qty for order in rig.broker.sent] == [1]

    tell(tmp_path, story)


def test_a_target_withdraws_only_what_goes_beyond_it(tmp_path: Path) -> None:
    """An unsent entry that fits below a target counts towards it; one that does not is withdrawn, and the target sized anew."""

    async def story(rig: Rig) -> None:
        rig.broker.connected = False
        entry = await rig.accept(action="buy", quantity="10")
        await rig.order_in(entry, "NEW")
        higher = await rig.accept(target="12")
        rig.clock.jump(seconds=21)
        assert (await rig.order_in(higher, "NEW")).intent.order_qty == 2
        lower = await rig.accept(target="5")
        rig.clock.jump(seconds=21)
        assert (await rig.order_in(lower, "NEW")).intent.order_qty == 3
        assert (await rig.ended(entry)).code == "OVERTAKEN"

    tell(tmp_path, story, webhook={"freshness_s": 60})


@pytest.mark.parametrize("answer", [LOST, LOST_BUT_THERE])
@pytest.mark.parametrize("leaving", [{"action": "exit"}, {"target": "0"}])
def test_an_exit_waits_for_an_entry_in_doubt_however_long_that_takes(
    tmp_path: Path, answer: str, leaving: dict[str, str]
) -> None:
    """Whether there is something to close is not known before; the entry is not sent again when the exit's wait is over."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(answer)
        rig.broker.book_readable = False
        rig.broker.fill_px = Decimal(800)
        entry = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(entry, "IN_DOUBT")
        if answer == LOST_BUT_THERE:
            rig.broker.execute(order.tag, Decimal(10), Decimal(800))
        exit_id = await rig.accept(**leaving)
        rig.clock.jump(seconds=21)
        await rig.bridge.worker.tick()
        assert not rig.alert(exit_id).disposition
        rig.broker.book_readable = True
        await until(lambda: jumped(rig) and rig.alert(exit_id).disposition, "the exit to end")
        assert rig.quantity() == 0
        entries = [order for order in rig.broker.sent if order.intent.alert_id == entry]
        assert len(entries) == 1
        assert rig.alert(entry).code == ("OVERTAKEN" if answer == LOST else "FILLED")

    tell(tmp_path, story)


@pytest.mark.parametrize("answer", [LOST, LOST_BUT_THERE])
@pytest.mark.parametrize("reload", [False, True])
def test_a_cancel_of_an_entry_in_doubt_is_remembered(tmp_path: Path, answer: str, reload: bool) -> None:
    """Absent, it is not sent again; found at the broker, it is cancelled there; also when the books were loaded anew."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(answer)
        rig.broker.book_readable = False
        entry = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="700")
        await rig.order_in(entry, "IN_DOUBT")
        cancel = await rig.accept(action="cancel")
        rig.clock.jump(seconds=21)
        assert (await rig.ended(cancel)).code == "CANCEL_IMPOSSIBLE"
        if reload:
            rig.bridge.store.writer._stale = True
        rig.broker.book_readable = True
        await until(lambda: jumped(rig) and rig.alert(entry).disposition, "the entry to end")
        assert [order.status.value for order in rig.orders(entry)] == ["CANCELLED"]
        assert len(rig.broker.sent) == 1
        assert cancel in rig.orders(entry)[0].message or answer == LOST_BUT_THERE

    tell(tmp_path, story)


def jumped(rig: Rig) -> bool:
    """A little later, so that an absence lasts."""
    rig.clock.jump(seconds=0.5)
    return True
