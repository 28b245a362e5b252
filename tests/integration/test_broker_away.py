"""A broker that is gone, hangs, or sends us away: what reaches it, what waits, and in which order it goes on."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import OutcomeKind, TradingMode
from bridge.core.errors import StoreError
from bridge.core.order import Order
from bridge.core.report import Outcome
from bridge.core.scope import GLOBAL
from bridge.execution.breaker import OPEN_AFTER, BreakerState
from bridge.execution.orders import ask_cancel
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, make_settings, running
from tests.support.samples import SBIN
from tests.support.scripted_broker import ACCEPT, BUSY, HANG, LOST, LOST_BUT_THERE, NOT_SENT, RAISE
from tests.support.waiting import until

LOOK_S = 20.0  # the fixed pause between looks here: never over by itself, jumped over with the clock
LIMIT = {"order_type": "LIMIT", "price": "800"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls and back-offs are short; the pauses before looks are left to the clock."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))
    monkeypatch.setattr("bridge.execution.retry._JITTER", wait_fixed(0))
    monkeypatch.setattr("bridge.execution.retry._LOOKS", wait_fixed(LOOK_S))


def tell(folder: Path, story: Callable[[Rig], Awaitable[None]], *, timeout_s: float = 0.15, **settings: Any) -> None:
    """A story with a scripted broker whose hanging calls are cut off after `timeout_s`."""

    async def whole() -> None:
        clock = RunningClock()
        made = ScriptedBridge(make_settings(folder, **settings), clock, call_timeout_s=timeout_s)
        async with running(made, clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def state(rig: Rig) -> BreakerState:
    return rig.bridge.guarded["paper"].state


async def opened(rig: Rig) -> None:
    await until(lambda: state(rig) is BreakerState.OPEN, "the breaker to open")


async def look(rig: Rig) -> None:
    """Let the pause be over."""
    rig.clock.jump(seconds=LOOK_S + 0.1)


async def ticks(rig: Rig, count: int = 3) -> None:
    """Give worker and lanes several passes in which they could do something wrong."""
    for _ in range(count):
        await rig.bridge.worker.tick()
        await asyncio.sleep(0.02)


async def hold(rig: Rig, quantity: int, symbol: str = SBIN) -> None:
    """A position to close."""
    rig.broker.fill_px = Decimal(800)
    await rig.ended(await rig.accept(action="buy", quantity=str(quantity), symbol=symbol))
    rig.broker.fill_px = None


def tags(orders: list[Order]) -> list[str]:
    return [order.tag for order in orders]


# -- a dead broker ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [NOT_SENT, HANG, LOST, RAISE])
def test_a_dead_broker_gets_few_orders_and_then_one_look_for_each_pause(tmp_path: Path, how: str) -> None:
    """Fifty orders wait: as many as may be on their way reach it, then reads of the funds alone, one for each pause."""

    async def story(rig: Rig) -> None:
        rig.broker.dead = how
        alerts = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(50)]
        await opened(rig)
        await until(lambda: not rig.bridge.lanes["paper"]._sending, "the calls under way")
        assert len(rig.broker.sent) <= rig.broker.capabilities.max_in_flight
        rig.broker.calls.clear()
        for looks in range(1, 4):
            await ticks(rig)
            assert Counter(rig.broker.calls) == ({"funds": looks - 1} if looks > 1 else {})
            await look(rig)
            await until(lambda looks=looks: len(rig.broker.calls) == looks, "the look")  # type: ignore[misc]
            await opened(rig)
        assert len([told for told in rig.alarms() if "Nothing leaves" in told]) == 1
        assert all(rig.alert(alert_id).disposition is None for alert_id in alerts)
        (account,) = rig.bridge.accounts()
        assert not account.connected
        assert "Next look in" in account.message
        ready = await asyncio.to_thread(rig.bridge.ready)
        assert ready["broker paper"] == (False, rig.bridge.guarded["paper"].status().message)
        metrics = rig.bridge.metrics.render().decode()
        assert 'bridge_breaker_state{account="paper"} 2.0' in metrics
        assert 'bridge_breaker_openings_total{account="paper"} 1.0' in metrics

    tell(tmp_path, story)


def test_exits_that_cannot_leave_for_long_are_an_alarm_once(tmp_path: Path) -> None:
    """A lost session opens no breaker; a person must hear of an exit that waits all the same."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="5"))
        rig.broker.connected = False
        await ticks(rig)
        rig.clock.jump(seconds=31)
        await ticks(rig)
        assert [told for told in rig.alarms() if "exits wait" in told] == []  # nothing waits yet
        alert_id = await rig.accept(action="exit")
        await rig.order_in(alert_id, "NEW")
        await until(
            lambda: [told for told in rig.alarms() if "exits wait and cannot leave (1): signed out" in told], "the alarm"
        )
        await ticks(rig)
        assert len([told for told in rig.alarms() if "exits wait" in told]) == 1
        rig.broker.connected = True
        assert (await rig.ended(alert_id)).code == "FILLED"

    tell(tmp_path, story)


@pytest.mark.parametrize("how", [NOT_SENT, LOST, LOST_BUT_THERE, HANG])
def test_when_it_comes_back_everything_goes_once(tmp_path: Path, how: str) -> None:
    """What was not sent is sent, what was lost is looked up first; no order is twice in the broker's book."""

    async def story(rig: Rig) -> None:
        rig.broker.dead = how
        alerts = [await rig.accept(action="buy", quantity="1", note=str(number)) for number in range(12)]
        await opened(rig)
        await until(lambda: not rig.bridge.lanes["paper"]._sending, "the calls under way")
        lost = len(rig.broker.sent)
        rig.broker.dead = ""
        rig.broker.fill_px = Decimal(800)
        await look(rig)
        await until(lambda: len(rig.broker.sent) >= 12, "the orders that wait")
        if how == LOST_BUT_THERE:
            for order in rig.broker.sent[:lost]:
                rig.broker.execute(order.tag, Decimal(1), Decimal(800))
            await rig.bridge.desk.reconcile(by="test")
        elif how != NOT_SENT:
            reads = rig.broker.reads
            await until(lambda: rig.broker.reads > reads + 4, "looks into the book")
            rig.clock.jump(seconds=11)  # absent for long enough
        for alert_id in alerts:
            assert (await rig.ended(alert_id)).code == "FILLED"
        assert rig.quantity() == 12
        assert len(rig.broker.rows) == 12
        assert len(rig.broker.sent) == 12 + (0 if how == LOST_BUT_THERE else lost)

    tell(tmp_path, story)


def test_exits_go_first_when_it_comes_back(tmp_path: Path) -> None:
    """Entries came before it into the lane, and leave after it."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.dead = NOT_SENT
        entries = [await rig.accept(action="buy", quantity="1", symbol="NSE:INFY", note=str(n)) for n in range(6)]
        await opened(rig)
        leaving = await rig.accept(action="exit")
        exit_tag = (await rig.order_in(leaving, "NEW")).tag
        await ticks(rig)
        sent = len(rig.broker.sent)
        rig.broker.dead = ""
        await look(rig)
        for alert_id in entries:
            await rig.order_in(alert_id, "PLACED")
        again = tags(rig.broker.sent)[sent:]
        assert again[0] == exit_tag
        assert len(again) == len(set(again)) == 7

    tell(tmp_path, story)


def test_entries_become_too_old_while_it_is_away_and_exits_do_not(tmp_path: Path) -> None:
    """An entry of ten minutes ago is not sent; the exit keeps its place."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.dead = NOT_SENT
        entries = [await rig.accept(action="buy", quantity="1", symbol="NSE:INFY", note=str(n)) for n in range(6)]
        await opened(rig)
        leaving = await rig.accept(action="exit")
        await rig.order_in(leaving, "NEW")
        rig.clock.jump(minutes=10)
        for alert_id in entries:
            view = await rig.ended(alert_id)
            assert (view.disposition, view.code) == ("expired", "STALE_BEFORE_SEND")
        sent = len(rig.broker.sent)
        rig.broker.dead = ""
        await look(rig)
        await rig.order_in(leaving, "PLACED")
        assert len(rig.broker.sent) == sent + 1

    tell(tmp_path, story)


def test_one_lost_answer_slows_the_lane_and_does_not_stop_it(tmp_path: Path) -> None:
    """An accident is not an illness: the next order goes at once, and with its answer all is as before."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.extend([LOST_BUT_THERE, ACCEPT])
        await rig.order_in(await rig.accept(action="buy", quantity="1"), "IN_DOUBT", "PLACED")
        await rig.order_in(await rig.accept(action="buy", quantity="2"), "PLACED")
        assert rig.bridge.guarded["paper"].room == 4
        assert rig.alarms() == []

    tell(tmp_path, story)


def test_a_dead_broker_does_not_hold_up_the_worker_or_other_accounts(tmp_path: Path) -> None:
    """Its reads hang: entries of the other account go on, and alerts end in time."""
    accounts = {name: {"broker": "paper", "session": "always"} for name in ("dead", "paper")}
    strategies = {name: {"accounts": [name]} for name in ("dead", "paper")}

    async def story(rig: Rig) -> None:
        rig.broker_of("dead").dead = HANG
        rig.broker_of("paper").fill_px = Decimal(800)
        rig.clock.jump(seconds=6)  # its funds are asked for, and never come
        await until(lambda: "funds" in rig.broker_of("dead").calls[1:], "the funds to be asked for")
        late = await rig.accept(strategy="dead", action="buy", quantity="1", note="a")
        rig.broker_of("paper").connected = False
        other = await rig.accept(strategy="paper", action="buy", quantity="1")
        await rig.order_in(other, "NEW")
        rig.clock.jump(minutes=10)
        assert (await rig.ended(other)).code == "STALE_BEFORE_SEND"
        rig.broker_of("paper").connected = True
        assert (await rig.ended(await rig.accept(strategy="paper", action="buy", quantity="1"))).code == "FILLED"
        assert rig.alert(late).disposition is None
        for lane in rig.bridge.lanes.values():
            await lane.stop()

    tell(tmp_path, story, timeout_s=30, accounts=accounts, strategies=strategies)


def test_a_look_is_taken_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the funds would be asked for anyway: an exit may be waiting."""
    monkeypatch.setattr("bridge.execution.retry._LOOKS", wait_fixed(0.1))
    monkeypatch.setattr("bridge.worker.FUNDS_EVERY_S", 1000)

    async def story(rig: Rig) -> None:
        rig.broker.dead = NOT_SENT
        alert_id = await rig.accept(action="buy", quantity="1")
        await opened(rig)
        rig.broker.dead = ""
        await rig.order_in(alert_id, "PLACED")

    tell(tmp_path, story)


def test_a_lost_session_opens_nothing(tmp_path: Path) -> None:
    """Signed out: the lane waits, nothing is counted, and it goes on when the session is back."""

    async def story(rig: Rig) -> None:
        rig.broker.connected = False
        rig.broker.readable = False
        alert_id = await rig.accept(action="buy", quantity="1")
        for _ in range(2 * OPEN_AFTER):
            rig.clock.jump(seconds=6)
            await ticks(rig, 1)
        assert state(rig) is BreakerState.CLOSED
        assert rig.alarms() == []
        rig.broker.connected = rig.broker.readable = True
        await rig.order_in(alert_id, "PLACED")

    tell(tmp_path, story)


def test_a_halt_that_is_not_on_disk_yet_does_not_spin_the_lane(tmp_path: Path) -> None:
    """Only the gate knows of it: the order is held back each time, with the usual pauses between."""

    async def story(rig: Rig) -> None:
        rig.bridge.gate.close(GLOBAL, TradingMode.HALTED, rig.clock.now())  # as a halt does whose record cannot be written
        alert_id = await rig.accept(action="buy", quantity="1")
        await until(lambda: rig.step_names(alert_id).count("order_not_sent") >= 3, "several tries")
        steps = [step.at for step in rig.steps(alert_id) if step.step == "order_not_sent"]
        assert all(later - sooner >= timedelta(seconds=0.01) for sooner, later in itertools.pairwise(steps))
        assert rig.broker.sent == []

    tell(tmp_path, story)


# -- sent away --------------------------------------------------------------------------------------------------------


def test_a_named_wait_holds_the_account_and_lets_exits_go_first(tmp_path: Path) -> None:
    """After a 429 nothing reaches the broker before its time, then the exit that came last leaves first."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.answers.append(BUSY)
        rig.broker.retry_after_s = 20
        refused = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY")
        await until(lambda: not rig.bridge.guarded["paper"].status().connected, "the wait")
        rig.broker.calls.clear()
        sent = len(rig.broker.sent)
        entry = await rig.accept(action="buy", quantity="1", symbol="NSE:TCS")
        leaving = await rig.accept(action="exit")
        await rig.order_in(leaving, "NEW")
        rig.clock.jump(seconds=15)
        await ticks(rig)
        assert rig.broker.calls == []
        assert state(rig) is BreakerState.CLOSED
        assert rig.alarms() == []
        rig.clock.jump(seconds=6)
        for alert_id in (leaving, entry, refused):
            await rig.order_in(alert_id, "PLACED")
        assert tags(rig.broker.sent)[sent] == (await rig.order_in(leaving, "PLACED")).tag
        assert len(rig.broker.sent) == sent + 3

    tell(tmp_path, story)


def test_an_exit_that_was_sent_away_goes_before_the_entries_that_wait(tmp_path: Path) -> None:
    """The account waits, not the order: it is in front when the wait is over, however often it was tried."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.answers.append(BUSY)
        rig.broker.retry_after_s = 20
        leaving = await rig.accept(action="exit")
        await until(lambda: not rig.bridge.guarded["paper"].status().connected, "the wait")
        entry = await rig.accept(action="buy", quantity="1", symbol="NSE:TCS")
        await rig.order_in(entry, "NEW")
        rig.clock.jump(seconds=21)
        first, second = await rig.order_in(leaving, "PLACED"), await rig.order_in(entry, "PLACED")
        assert tags(rig.broker.sent)[-2:] == [first.tag, second.tag]

    tell(tmp_path, story)


def test_an_entry_that_would_be_too_old_after_the_named_wait_ends_at_once(tmp_path: Path) -> None:
    """No pointless wait: it has expired, with the reason, in the commit that noted the answer; an exit waits."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.answers.extend([BUSY, BUSY])
        rig.broker.retry_after_s = 500
        view = await rig.ended(await rig.accept(action="buy", quantity="1", symbol="NSE:INFY"))
        assert (view.disposition, view.code) == ("expired", "STALE_BEFORE_SEND")
        assert "too many requests" in rig.orders(view.alert_id)[0].message
        assert any("asked us to wait" in told for told in rig.alarms())
        leaving = await rig.accept(action="exit")
        await ticks(rig)
        assert (await rig.order_in(leaving, "NEW")).code == ""
        rig.clock.jump(seconds=501)
        await until(lambda: len(rig.broker.sent) == 3, "the exit's next try")
        rig.clock.jump(seconds=501)
        await rig.order_in(leaving, "PLACED")

    tell(tmp_path, story)


# -- cancels ----------------------------------------------------------------------------------------------------------


async def resting(rig: Rig, status: str = "PLACED") -> str:
    alert_id = await rig.accept(action="buy", quantity="10", **LIMIT)
    await rig.order_in(alert_id, status)
    return alert_id


def test_a_cancel_asked_while_the_broker_is_away_goes_when_it_is_back(tmp_path: Path) -> None:
    """It reaches nobody while the breaker is open, is not given up, and is asked once afterwards."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.dead = NOT_SENT
        for number in range(OPEN_AFTER):
            await rig.accept(action="buy", quantity="1", symbol="NSE:INFY", note=str(number))
        await opened(rig)
        await rig.ended(await rig.accept(action="cancel", price=None))
        await rig.order_in(alert_id, "CANCEL_PENDING")
        await ticks(rig, 10)
        assert rig.broker.cancelled == []
        rig.broker.dead = ""
        await look(rig)
        await rig.order_in(alert_id, "CANCELLED")
        assert len(rig.broker.cancelled) == 1

    tell(tmp_path, story)


def test_a_cancel_that_is_never_answered_is_told_and_stays_until_the_book_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not refused, since nobody said so: an alarm, CANCEL_PENDING, and the broker's book tells the end."""
    monkeypatch.setattr("bridge.execution.retry.CANCEL_ATTEMPTS", 5)
    monkeypatch.setattr("bridge.execution.breaker.OPEN_AFTER", 100)

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.cancels.extend([LOST, NOT_SENT, LOST, LOST, LOST])
        await rig.ended(await rig.accept(action="cancel", price=None))
        await until(lambda: any("does not say whether" in told for told in rig.alarms()), "the alarm")
        order = await rig.order_in(alert_id, "CANCEL_PENDING")
        await ticks(rig)
        assert len(rig.broker.cancelled) == 5
        rig.broker.end(order.tag, type(order.status).CANCELLED, "on request")
        await rig.bridge.desk.reconcile(by="test")
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"

    tell(tmp_path, story)


def test_another_cancel_asks_anew_after_one_that_was_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who was told may say it again."""
    monkeypatch.setattr("bridge.execution.retry.CANCEL_ATTEMPTS", 2)

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.cancels.extend([LOST, LOST])
        await rig.ended(await rig.accept(action="cancel", price=None))
        await until(lambda: len(rig.alarms()) == 1, "the alarm")
        await rig.ended(await rig.accept(action="cancel", price=None, note="again"))
        await rig.order_in(alert_id, "CANCELLED")
        assert len(rig.broker.cancelled) == 3

    tell(tmp_path, story)


def test_one_cancel_is_asked_of_an_order_at_a_time(tmp_path: Path) -> None:
    """Repeated wishes while one is on its way make no second call beside it, and one more after it."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.cancels.append(HANG)
        for number in range(5):
            await rig.ended(await rig.accept(action="cancel", price=None, note=str(number)))
        await until(lambda: rig.broker.cancelled, "the first call")
        await ticks(rig)
        assert len(rig.broker.cancelled) == 1
        await rig.bridge.lanes["paper"].stop()
        assert (await rig.order_in(alert_id, "CANCEL_PENDING")).sends == 1

    tell(tmp_path, story, timeout_s=30)


def test_a_cancel_is_not_asked_any_more_once_the_order_has_closed(tmp_path: Path) -> None:
    """It was filled while the broker did not answer for the cancel."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.connected = False
        await rig.ended(await rig.accept(action="cancel", price=None))
        order = await rig.order_in(alert_id, "CANCEL_PENDING")
        await rig.broker.fill(order.tag, 10, 800)
        assert (await rig.ended(alert_id)).code == "FILLED"
        rig.broker.connected = True
        await until(lambda: not rig.bridge.lanes["paper"]._asking, "the lane to let go")
        await ticks(rig)
        assert rig.broker.cancelled == []

    tell(tmp_path, story)


def test_a_refusal_that_a_fill_overtook_changes_nothing(tmp_path: Path) -> None:
    """Too late to cancel, says the broker, and its fill arrived first."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)

        async def too_late(order: Order) -> Outcome:
            await rig.broker.fill(order.tag, 10, 800)
            return Outcome(kind=OutcomeKind.REFUSED, message="it is filled")

        rig.broker.cancel = too_late  # type: ignore[method-assign]
        await rig.ended(await rig.accept(action="cancel", price=None))
        assert (await rig.ended(alert_id)).code == "FILLED"
        await until(lambda: not rig.bridge.lanes["paper"]._asking, "the lane to let go")
        assert "order_cancel_refused" not in rig.step_names(alert_id)

    tell(tmp_path, story)


@pytest.mark.parametrize("away", ["signed out", "not answering"])
def test_a_stop_does_not_wait_for_a_cancel_that_cannot_be_asked(tmp_path: Path, away: str) -> None:
    """It is asked again at the next start; a stop of ten seconds for nothing would be a stop that is killed."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.connected = away != "signed out"
        rig.broker.cancels.extend([BUSY] * 3)
        rig.broker.retry_after_s = 60
        await rig.ended(await rig.accept(action="cancel", price=None))
        await until(lambda: not rig.bridge.guarded["paper"].status().connected, "the wait")
        async with asyncio.timeout(2):
            rig.bridge.lanes["paper"].hold()
            await rig.bridge.lanes["paper"].finish()
        assert (await rig.order_in(alert_id, "CANCEL_PENDING")).sends == 1

    tell(tmp_path, story)


def test_a_cancel_wanted_again_as_the_refusal_is_noted_is_asked(tmp_path: Path) -> None:
    """The refusal and the next wish share a commit: the lane must not take the wish for the one it is ending."""

    async def story(rig: Rig) -> None:
        alert_id = await resting(rig)
        rig.broker.cancels.extend(["refuse", ACCEPT])
        lane, done = rig.bridge.lanes["paper"], asyncio.Event()
        order = await rig.order_in(alert_id, "PLACED")
        known = lane._end_asking

        def and_again(tx: Any, order: Order, outcome: Any, after: Any, *, is_unsure: bool) -> None:
            known(tx, order, outcome, after, is_unsure=is_unsure)
            ask_cancel(tx, tx.ledger.orders.get(order.cl_ord_id), rig.clock.now(), "again")
            done.set()

        lane._end_asking = and_again  # type: ignore[method-assign]
        await rig.ended(await rig.accept(action="cancel", price=None))
        await until(done.is_set, "the refusal")
        await rig.order_in(alert_id, "CANCELLED")
        assert tags(rig.broker.cancelled) == [order.tag] * 2

    tell(tmp_path, story)


def test_the_alarm_of_an_opening_waits_for_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person must hear of it even when both fail together."""

    async def story(rig: Rig) -> None:
        write, fails = rig.bridge.store.write, iter(range(3))

        def broken(command: Any, *claims: Any) -> Any:
            if next(fails, None) is not None:
                failed = asyncio.get_running_loop().create_future()
                failed.set_exception(StoreError("away"))
                return failed
            return write(command, *claims)

        monkeypatch.setattr(rig.bridge.store, "write", broken)
        rig.bridge.worker.raise_alarm("paper", "The broker does not answer.")
        await until(lambda: rig.alarms() == ["The broker does not answer."], "the alarm")

    tell(tmp_path, story)
