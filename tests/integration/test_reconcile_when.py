"""When books are compared, and that a broker which does not answer holds up nobody."""

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from tenacity import wait_fixed

from bridge.brokers.base import CALL_TIMEOUT_S
from bridge.core.errors import StoreError
from bridge.core.events import Reloaded
from bridge.core.reasons import AuditAction
from bridge.execution.breaker import OPEN_AFTER, BreakerState
from bridge.execution.reconcile import Why
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, Rig, ScriptedBridge, make_settings, running
from tests.support.samples import SBIN, make_order
from tests.support.scripted_broker import BUSY, LOST_BUT_THERE, ScriptedBroker
from tests.support.waiting import until

TWO: dict[str, Any] = {
    "accounts": dict.fromkeys(("slow", "paper"), NO_CHARGES),
    "strategies": {name: {"accounts": [name]} for name in ("slow", "paper")},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short; what counts in seconds is jumped over with the clock."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(
    folder: Path,
    story: Callable[[Rig], Awaitable[None]],
    brokers: Callable[[RunningClock], dict[str, ScriptedBroker]] | None = None,
    timeout_s: float = CALL_TIMEOUT_S,
    **settings: Any,
) -> None:
    """A story with scripted brokers whose hanging calls are cut off after `timeout_s`."""

    async def whole() -> None:
        clock = RunningClock()
        books = brokers(clock) if brokers else None
        made = ScriptedBridge(make_settings(folder, **settings), clock, books, call_timeout_s=timeout_s)
        async with running(made, clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def compared(rig: Rig) -> list[str]:
    """The accounts whose comparison is in the audit, latest first."""
    return [step.account for step in rig.bridge.store.reads.recent([AuditAction.RECONCILED], 100)]


async def looked(rig: Rig) -> None:
    """No look is under way: the next is counted from the end of this one, so a jump of the clock before that would be lost."""
    watch = rig.bridge.reconciler._watches["paper"]
    await until(lambda: watch.looking is None or watch.looking.done(), "the end of the look")


async def holding(rig: Rig, quantity: str = "10") -> None:
    """A position at the broker and here, old enough to be compared at once."""
    rig.broker.fill_px = Decimal(800)
    await rig.ended(await rig.accept(action="buy", quantity=quantity))
    rig.clock.jump(seconds=6)


def test_the_timer_finds_what_nobody_asked_for(tmp_path: Path) -> None:
    """A position that a person changed at the broker holds entries within the account's `reconcile_s`, without a command."""

    async def story(rig: Rig) -> None:
        await holding(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        watch = rig.bridge.reconciler._watches["paper"]
        looking = watch.looking
        rig.clock.jump(seconds=28)
        rig.bridge.reconciler.watch()
        assert watch.looking is looking  # not yet
        rig.clock.jump(seconds=2)
        await until(lambda: rig.ledger.holds.values, "the hold")
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"

    async def first(rig: Rig) -> None:
        await rig.bridge.reconciler.compare("paper")  # the timer begins anew with every comparison
        await story(rig)

    tell(tmp_path, first, accounts={"paper": {**NO_CHARGES, "reconcile_s": 36}})


def test_a_look_by_the_timer_that_finds_nothing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No audit record and no commit; a start, a reconnect and a command are told."""
    monkeypatch.setattr("bridge.worker.TICK_S", 3600)

    async def story(rig: Rig) -> None:
        await holding(rig)
        resting = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY", order_type="LIMIT", price="700")
        rig.broker.fill_px = None
        await rig.order_in(resting, "PLACED", "FILLED")
        await rig.bridge.reconciler.compare("paper", Why.TIMER)
        told, commits = len(compared(rig)), []
        rig.bridge.store.writer.on_group = lambda size, _took: commits.append(size)
        for _ in range(3):
            rig.clock.jump(seconds=61)
            look = await rig.bridge.reconciler.compare("paper", Why.TIMER)
            assert (look.readable, look.message) == (True, "Orders and positions agree.")
        assert commits == []
        assert len(compared(rig)) == told
        for why in (Why.COMMAND, Why.RECONNECT, Why.START):
            await rig.bridge.reconciler.compare("paper", why)
        assert len(compared(rig)) == told + 3

    tell(tmp_path, story)


def test_a_look_by_the_timer_that_changes_something_is_told(tmp_path: Path) -> None:
    """A fill that the stream missed: taken over, and in the audit why."""

    async def story(rig: Rig) -> None:
        order = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PLACED")
        told = len(compared(rig))
        rig.broker.execute(order.tag, Decimal(4), Decimal(800))
        rig.clock.jump(seconds=61)
        await until(lambda: rig.quantity() == 4, "the fill")
        await until(lambda: len(compared(rig)) > told, "the record")

    tell(tmp_path, story)


def test_orders_placed_elsewhere_are_no_news_for_the_audit(tmp_path: Path) -> None:
    """What others do at the broker is shown; a busy neighbour does not fill our records."""

    async def story(rig: Rig) -> None:
        told = len(compared(rig))
        for n in range(3):
            order = make_order(n, symbol="NSE:TCS")
            rig.broker.others = [replace(rig.broker.take(order), tag="", cum_qty=Decimal(n))]
            rig.broker.rows.clear()
            rig.clock.jump(seconds=61)
            await until(lambda n=n: [one.cum_qty for one in rig.bridge.external_orders()] == [n], "it is shown")  # type: ignore[misc]
        assert len(compared(rig)) == told

    tell(tmp_path, story)


def test_books_are_compared_after_a_lost_database(tmp_path: Path) -> None:
    """Memory was read anew, and reports may have been lost with what was not written."""

    async def story(rig: Rig) -> None:
        told = len(compared(rig))
        rig.bridge.worker.on_events([Reloaded()])
        await until(lambda: len(compared(rig)) == told + 1, "the comparison")

    tell(tmp_path, story)


def test_a_broker_that_comes_back_is_compared_at_once(tmp_path: Path) -> None:
    """Whatever happened while it was away is taken over; the first look after a start is the start's own."""

    async def story(rig: Rig) -> None:
        order = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PLACED")
        assert compared(rig) == ["paper"]
        rig.broker.connected = False
        await until(lambda: rig.bridge.reconciler._watches["paper"].was_away, "a tick that sees it gone")
        rig.broker.execute(order.tag, Decimal(10), Decimal(800))
        watch = rig.bridge.reconciler._watches["paper"]
        looking = watch.looking
        rig.clock.jump(seconds=300)
        rig.bridge.reconciler.watch()
        assert watch.looking is looking  # nobody asks a broker that is away
        rig.broker.connected = True
        await until(lambda: rig.quantity() == 10, "the fill")
        await until(lambda: len(compared(rig)) == 2, "the record")
        (row,) = [row for row in rig.bridge.store.reads.audit_rows() if row[2] == "reconciled"][1:]
        assert '"why":"reconnect"' in row[8]

    tell(tmp_path, story)


@pytest.mark.parametrize("read", ["book", "positions", "funds"])
def test_a_read_that_hangs_delays_neither_start_nor_sweeps_nor_other_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The start waits for a while; one read of a kind at a time; entries expire and others are compared meanwhile."""
    monkeypatch.setattr("bridge.worker.START_PATIENCE_S", 0.2)

    def brokers(clock: RunningClock) -> dict[str, ScriptedBroker]:
        slow = ScriptedBroker("slow", clock)
        slow.hanging.add(read)
        return {"slow": slow}

    async def other_look(rig: Rig) -> None:
        """Time goes on until one has begun: a look that is under way at a jump counts its minute from its own end."""
        paper = rig.broker_of("paper")
        reads = paper.reads

        def has_begun() -> bool:
            rig.clock.jump(seconds=100)
            return paper.reads > reads

        await until(has_begun, "the other account's look")

    async def story(rig: Rig) -> None:
        slow = rig.broker_of("slow")
        rig.clock.jump(seconds=400)
        await until(lambda: slow.asking[read] == 1, "a read that hangs")
        looking = rig.bridge.reconciler._watches["slow"].looking
        slow.connected = False
        waiting = await rig.accept(strategy="slow", action="buy", quantity="1", token_claims={"strategy": "slow"})
        rig.clock.jump(seconds=400)
        assert (await rig.ended(waiting)).code == "STALE_BEFORE_SEND"
        await other_look(rig)
        assert slow.most_asking == 1
        slow.connected = True
        await other_look(rig)
        if read != "funds":  # nor does another one wait behind it
            assert rig.bridge.reconciler._watches["slow"].looking is looking

    tell(tmp_path, story, brokers, **TWO)


def test_an_order_in_doubt_is_settled_once_a_hanging_book_answers(tmp_path: Path) -> None:
    """The look-up outlives reads without an end, and tells a person once."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.hanging.add("book")
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.order_in(alert_id, "IN_DOUBT")
        await until(lambda: rig.broker.reads > 4, "several reads")
        assert len([told for told in rig.alarms() if "did not answer in time" in told]) == 1
        rig.broker.hanging.clear()
        await rig.order_in(alert_id, "PLACED")

    tell(tmp_path, story, timeout_s=0.05)


def test_an_adapter_that_raises_is_as_good_as_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is counted, the look comes to nothing, and the next one works."""

    async def story(rig: Rig) -> None:
        async def broken() -> Any:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(rig.broker, "positions", broken)
            look = await rig.bridge.reconciler.compare("paper")
        assert (look.readable, "the adapter failed (RuntimeError)" in look.message) == (False, True)
        assert any(where == "broker" for where, _error in rig.bridge.faults)
        assert (await rig.bridge.reconciler.compare("paper")).readable

    tell(tmp_path, story)


def test_a_fault_of_ours_in_a_look_is_counted_and_the_next_look_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer goes on, as does the settling of doubts."""

    async def story(rig: Rig) -> None:
        def broken(*_values: Any) -> Any:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr("bridge.execution.reconcile.judge", broken)
            rig.clock.jump(seconds=61)
            await until(lambda: rig.bridge.faults, "the fault")
        with monkeypatch.context() as patch:
            patch.setattr("bridge.execution.reconcile.why_late", broken)
            rig.broker.answers.append(LOST_BUT_THERE)
            alert_id = await rig.accept(action="buy", quantity="1")
            await until(lambda: len(rig.bridge.faults) > 1, "another")
        await rig.order_in(alert_id, "PLACED")
        rig.broker.execute(rig.orders(alert_id)[0].tag, Decimal(1), Decimal(800))
        rig.clock.jump(seconds=61)
        assert (await rig.ended(alert_id)).code == "FILLED"

    tell(tmp_path, story)


class Away:
    """A database that takes nothing until it is back."""

    def __init__(self, rig: Rig) -> None:
        self._backend = cast("Any", rig.bridge.store.backend)
        self._real = self._backend.raw, self._backend.begin
        self._backend.raw = self._backend.begin = self._refuse
        self.refused = 0

    def _refuse(self, *_connection: Any) -> Any:
        self.refused += 1
        raise sqlite3.OperationalError("unable to open database file")

    def come_back(self) -> None:
        self._backend.raw, self._backend.begin = self._real


def test_a_store_that_is_away_ends_neither_looks_nor_doubts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was written; the next look finds the same and writes it. A command is told."""
    monkeypatch.setattr("bridge.worker.TICK_S", 3600)

    async def story(rig: Rig) -> None:
        order = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PLACED")
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.book_lags = True
        doubted = await rig.accept(action="buy", quantity="1", symbol="NSE:TCS")
        await rig.order_in(doubted, "IN_DOUBT")
        away = Away(rig)
        rig.broker.execute(order.tag, Decimal(10), Decimal(800))
        rig.broker.book_lags = False
        await until(lambda: away.refused > 2, "tries to settle the doubt")
        with pytest.raises(StoreError):
            await rig.bridge.desk.reconcile(by="test")
        rig.clock.jump(seconds=61)
        refused = away.refused
        rig.bridge.reconciler.watch()
        looking = rig.bridge.reconciler._watches["paper"].looking
        assert looking is not None
        await looking
        assert away.refused > refused
        away.come_back()
        await rig.order_in(doubted, "PLACED")
        rig.clock.jump(seconds=61)
        rig.bridge.reconciler.watch()
        await until(lambda: rig.quantity() == 10, "the fill")
        assert rig.bridge.faults == []

    tell(tmp_path, story)


def unreadable(rig: Rig) -> int:
    return len([told for told in rig.alarms() if "cannot be read" in told])


def test_unreadable_books_are_an_alarm_when_it_lasts_and_once(tmp_path: Path) -> None:
    """The funds can be read, so the broker is there: three looks and thirty seconds; its end is told, and a next time too."""

    async def story(rig: Rig) -> None:
        for times in (1, 2):
            rig.broker.book_readable = False
            reads = rig.broker.reads
            for seconds in (61, 6, 6):
                assert unreadable(rig) == times - 1
                rig.clock.jump(seconds=seconds)
                reads += 1
                await until(lambda reads=reads: rig.broker.reads >= reads, "a look")  # type: ignore[misc]
                await looked(rig)
            rig.clock.jump(seconds=31)
            await until(lambda times=times: unreadable(rig) == times, "the alarm")  # type: ignore[misc]
            await looked(rig)
            rig.clock.jump(seconds=61)
            await until(lambda reads=reads: rig.broker.reads > reads + 1, "one more look")  # type: ignore[misc]
            await looked(rig)
            assert unreadable(rig) == times
            assert len(rig.alarms()) == times
            assert rig.bridge.guarded["paper"].state is BreakerState.CLOSED
            told = len(compared(rig))
            rig.broker.book_readable = True
            rig.clock.jump(seconds=61)
            await until(lambda told=told: len(compared(rig)) > told, "the end of it")  # type: ignore[misc]
            await looked(rig)

    tell(tmp_path, story)


def test_a_broker_that_answers_nothing_is_one_alarm_and_not_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its breaker tells; that its books cannot be read either is no news, however often a person asks."""
    monkeypatch.setattr("bridge.execution.retry._LOOKS", wait_fixed(20))

    async def story(rig: Rig) -> None:
        rig.broker.readable = False
        for _ in range(OPEN_AFTER):
            failed = rig.broker.calls.count("funds")
            rig.clock.jump(seconds=11)
            await until(lambda failed=failed: rig.broker.calls.count("funds") > failed, "the funds")  # type: ignore[misc]
        await until(lambda: rig.bridge.guarded["paper"].state is BreakerState.OPEN, "the breaker to open")
        reads = rig.broker.reads
        for _ in range(4):
            rig.clock.jump(seconds=61)
            look = await rig.bridge.reconciler.compare("paper")
            assert (look.readable, "does not answer" in look.message) == (False, True)
        assert rig.broker.reads == reads
        await until(rig.alarms, "the alarm")  # written down in the background
        (told,) = rig.alarms()
        assert "Nothing leaves" in told
        rig.broker.readable = True
        rig.clock.jump(seconds=61)
        await until(lambda: len(compared(rig)) == 2, "the look at what was missed")
        assert len(rig.alarms()) == 1

    tell(tmp_path, story)


def test_a_broker_that_asked_us_to_wait_was_never_away(tmp_path: Path) -> None:
    """Nothing is read before its time, and no look is due afterwards: its reports came all the while."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(BUSY)
        rig.broker.retry_after_s = 20
        alert_id = await rig.accept(action="buy", quantity="1")
        await until(lambda: not rig.bridge.guarded["paper"].status().connected, "the wait")
        reads = rig.broker.reads
        look = await rig.bridge.reconciler.compare("paper")
        assert (look.readable, "asked us to wait" in look.message) == (False, True)
        assert rig.broker.reads == reads
        await until(lambda: not rig.bridge.reconciler._watches["paper"].was_away, "a tick")
        rig.clock.jump(seconds=21)
        await rig.order_in(alert_id, "PLACED")
        assert compared(rig) == ["paper"]
        assert rig.alarms() == []

    tell(tmp_path, story)


def test_a_comparison_by_a_person_asks_one_account_or_all(tmp_path: Path) -> None:
    """An account that is named is the only one asked; one that does not exist is refused."""

    async def story(rig: Rig) -> None:
        told = await rig.bridge.desk.reconcile("slow", by="test")
        assert list(told["accounts"]) == ["slow"]  # type: ignore[call-overload]
        told = await rig.bridge.desk.reconcile(by="test")
        assert (told["agree"], sorted(told["accounts"])) == (True, ["paper", "slow"])  # type: ignore[call-overload]
        with pytest.raises(Exception, match="no account 'nobody'"):
            await rig.bridge.desk.reconcile("nobody", by="test")

    tell(tmp_path, story, **TWO)
