"""What becomes of an order when the broker answers, does not answer, answers late, or says something else than its book."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import OutcomeKind, ReportKind
from bridge.core.events import AlarmRaised
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import Outcome
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, make_settings, running
from tests.support.samples import SBIN, make_order
from tests.support.scripted_broker import ACCEPT, HANG, LOST, LOST_BUT_THERE, NOT_SENT, RAISE, REFUSE
from tests.support.waiting import until

SETTLE_S = 11  # a little more than the bridge waits before it believes that an order is absent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short; what counts in seconds is jumped over with the clock."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(
    folder: Path, story: Callable[[Rig], Awaitable[None]], *, bridge: dict[str, Any] | None = None, **settings: Any
) -> None:
    """A story with a scripted broker behind the real bridge; afterwards the books and the audit are whole."""

    async def whole() -> None:
        clock = RunningClock()
        made = ScriptedBridge(make_settings(folder, **settings), clock, **(bridge or {}))
        async with running(made, clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


# -- outcomes ---------------------------------------------------------------------------------------------------------

ANSWERS = {
    OutcomeKind.ACCEPTED: OrderStatus.PLACED, OutcomeKind.REFUSED: OrderStatus.REJECTED,
    OutcomeKind.NOT_SENT: OrderStatus.NEW, OutcomeKind.UNKNOWN: OrderStatus.IN_DOUBT,
}  # fmt: skip


def test_an_outcome_moves_an_order_that_awaits_it_and_no_other(tmp_path: Path) -> None:
    """Outcome x status: only PENDING waits for an answer; reports that overtook it are never undone by it."""

    async def story(rig: Rig) -> None:
        number = 0
        for status in OrderStatus:
            for kind, expected in ANSWERS.items():
                number += 1
                order = make_order(number, symbol="NSE:X", status=status)
                outcome = Outcome(kind=kind, broker_order_id="B7" if kind is OutcomeKind.ACCEPTED else None)

                def command(tx: Any, order: Any = order, outcome: Any = outcome) -> Any:
                    tx.put(tx.ledger.orders, order.cl_ord_id, order)
                    after = rig.bridge.pipeline.apply_outcome(tx, order, outcome, rig.clock.now())
                    tx.put(tx.ledger.orders, order.cl_ord_id, None)
                    return after

                after = await rig.bridge.store.write(command)
                assert after.status is (expected if status is OrderStatus.PENDING else status), (status, kind)
                assert after.broker_order_id == ("B7" if kind is OutcomeKind.ACCEPTED else None)

    tell(tmp_path, story)


def test_an_accepted_order_is_followed_to_its_fill(tmp_path: Path) -> None:
    """Accepted, filled in parts, done; one call at the broker."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "PLACED")
        await rig.broker.fill(order.tag, 4)
        assert (await rig.order_in(alert_id, "PARTIAL")).cum_qty == 4
        await rig.broker.fill(order.tag, 6)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert [sent.tag for sent in rig.broker.sent] == [order.tag]

    tell(tmp_path, story)


@pytest.mark.parametrize("message", ["no margin", "a\0b", "half \ud800 pair", "x" * 10_000, "{}\n\r\t\x1b[2J"])
def test_a_refused_order_fails_its_alert_with_the_brokers_words(tmp_path: Path, message: str) -> None:
    """Refused is final and never sent again; whatever the broker says can be stored and shown."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(REFUSE)
        rig.broker.message = message
        view = await rig.ended(await rig.accept(action="buy", quantity="10"))
        assert (view.disposition, view.code) == ("failed", "BROKER_REJECTED")
        assert len(view.message) < 1000
        assert "\0" not in view.message
        assert len(rig.broker.sent) == 1
        # the lane goes on
        rig.broker.fill_px = Decimal("812.5")
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).disposition == "done"

    tell(tmp_path, story)


def test_what_was_not_sent_is_sent_again_under_the_same_name(tmp_path: Path) -> None:
    """NOT_SENT proves that no byte arrived: the same tag, again and again, until it is accepted."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.extend([NOT_SENT, NOT_SENT, NOT_SENT])
        rig.broker.fill_px = Decimal(812)
        alert_id = await rig.accept(action="buy", quantity="10")
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert len({sent.tag for sent in rig.broker.sent}) == 1
        assert len(rig.broker.sent) == 4
        assert rig.orders(alert_id)[0].cum_qty == 10

    tell(tmp_path, story)


def test_what_was_never_sent_expires_when_the_signal_is_stale(tmp_path: Path) -> None:
    """An entry is not sent hours later; the alert ends expired, and the broker saw no order."""

    async def story(rig: Rig) -> None:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="10")
        await rig.order_in(alert_id, "NEW")
        rig.clock.jump(minutes=10)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("expired", "STALE_BEFORE_SEND")
        rig.broker.connected = True
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "FILLED"
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story)


async def looked_up(rig: Rig, alert_id: str) -> Order:
    """The order of an alert, in doubt, once the broker's book has been read for it several times."""
    order = await rig.order_in(alert_id, "IN_DOUBT")
    reads = rig.broker.reads
    await until(lambda: rig.broker.reads > reads + 5, "looks into the book")
    return order


# -- in doubt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [LOST_BUT_THERE, RAISE])
def test_an_order_whose_answer_was_lost_is_adopted_from_the_book(tmp_path: Path, how: str) -> None:
    """UNKNOWN is looked up by the tag: found is taken over, and never sent a second time."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(how)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "IN_DOUBT")
        if how == RAISE:
            rig.broker.take(order)  # the adapter broke after the order had left
        rig.broker.execute(order.tag, Decimal(10), Decimal(800))
        rig.broker.book_lags = False
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert len(rig.broker.sent) == 1
        assert rig.quantity() == 10

    tell(tmp_path, story)


def test_an_order_in_doubt_that_is_absent_for_long_is_sent_again_once(tmp_path: Path) -> None:
    """Absence counts only over several clean reads and a settle time; then the same tag goes out again."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST)
        rig.broker.fill_px = Decimal(800)
        alert_id = await rig.accept(action="buy", quantity="10")
        await looked_up(rig, alert_id)
        assert len(rig.broker.sent) == 1  # many reads alone prove nothing
        rig.clock.jump(seconds=SETTLE_S)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert [sent.tag for sent in rig.broker.sent] == [rig.broker.sent[0].tag] * 2
        assert rig.quantity() == 10
        names = rig.step_names(alert_id)
        assert names.index("order_in_doubt") < names.index("order_not_sent") < names.index("order_placed")

    tell(tmp_path, story)


def test_an_entry_in_doubt_that_is_absent_and_stale_expires(tmp_path: Path) -> None:
    """Found absent when the signal is too old: the entry is not sent any more."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="10")
        await looked_up(rig, alert_id)
        rig.clock.jump(minutes=10)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("expired", "STALE_BEFORE_SEND")
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story)


def test_an_unreadable_book_proves_nothing_and_is_told_once(tmp_path: Path) -> None:
    """The order stays in doubt however long it lasts, with one alarm; entries of others go on meanwhile."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.extend([LOST, ACCEPT])
        rig.broker.book_readable = False
        alert_id = await rig.accept(action="buy", quantity="10")
        await rig.order_in(alert_id, "IN_DOUBT")
        reads = rig.broker.reads
        rig.clock.jump(seconds=60)
        await until(lambda: rig.broker.reads > reads + 5, "reads")
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        assert len([told for told in rig.alarms() if "in doubt" in told]) == 1
        other = await rig.accept(action="buy", quantity="1", symbol="NSE:INFY")
        await rig.order_in(other, "PLACED")
        rig.broker.book_readable = True
        await looked_up(rig, alert_id)
        rig.clock.jump(seconds=SETTLE_S)
        await until(lambda: len(rig.broker.sent) == 3, "the second sending")

    tell(tmp_path, story)


def test_a_report_for_an_order_found_absent_keeps_it_from_being_sent_again(tmp_path: Path) -> None:
    """The book lagged: before the second sending the broker tells of the first. It is adopted, and nothing more is sent."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await looked_up(rig, alert_id)
        rig.broker.connected = False  # so that the second sending has to wait
        rig.clock.jump(seconds=SETTLE_S)
        await rig.order_in(alert_id, "NEW")
        await rig.broker.fill(order.tag, 10, 800)
        rig.broker.connected = True
        assert (await rig.ended(alert_id)).code == "FILLED"
        await until(lambda: not rig.bridge.lanes["paper"].knows(order.cl_ord_id), "the lane to let go")
        assert len(rig.broker.sent) == 1
        assert rig.quantity() == 10

    tell(tmp_path, story)


@pytest.mark.parametrize("end", [OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED])
def test_an_end_reported_while_the_order_is_in_doubt_settles_it(tmp_path: Path, end: OrderStatus) -> None:
    """Whatever the stream says first is taken; the lane and the delivery of reports go on."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "IN_DOUBT")
        await rig.broker.tell(rig.broker.end(order.tag, end, "so it goes"))
        view = await rig.ended(alert_id)
        assert rig.orders(alert_id)[0].status is end
        assert view.disposition in ("done", "failed", "expired")
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story)


async def to_the_next_day(rig: Rig, alert_id: str) -> Order:
    """The order of an alert, in doubt, looked up long enough on the day after, when the book is empty."""
    order = await looked_up(rig, alert_id)
    rig.broker.rows.clear()
    rig.clock.jump(days=1)
    return await settle_time(rig, order)


async def settle_time(rig: Rig, order: Order) -> Order:
    """Enough looks, over a long enough time."""
    reads = rig.broker.reads
    await until(lambda: rig.broker.reads > reads + 5, "looks into the book")
    rig.clock.jump(seconds=SETTLE_S)
    return order


def test_an_entry_in_doubt_of_an_earlier_day_that_did_nothing_expires(tmp_path: Path) -> None:
    """Positions agree, so it did nothing: it is withdrawn as too old, and its alert ends without an alarm."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="10")
        await to_the_next_day(rig, alert_id)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("expired", "STALE_BEFORE_SEND")
        assert len(rig.broker.sent) == 1
        assert rig.alarms() == []

    tell(tmp_path, story)


async def withdrawn(rig: Rig, quantity: int) -> Order:
    """A sell order that rested at the broker and was cancelled."""
    rig.broker.fill_px, known = None, rig.broker.fill_px
    resting = await rig.accept(action="sell", quantity=str(quantity), order_type="LIMIT", price="900")
    await rig.order_in(resting, "PLACED")
    await rig.ended(await rig.accept(action="cancel", price=None))
    order = await rig.order_in(resting, "CANCELLED")
    rig.broker.fill_px = known
    return order


@pytest.mark.parametrize("left", [10, 4])
def test_an_exit_in_doubt_of_an_earlier_day_that_did_nothing_goes_again(tmp_path: Path, left: int) -> None:
    """Exits do not expire: it is sent a second time, sized by what there is to close by then."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        late = await withdrawn(rig, quantity=10 - left) if left < 10 else None
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="exit")
        order = await looked_up(rig, alert_id)
        rig.clock.jump(days=1)
        rig.broker.book_readable = False
        if late is not None:  # a part was closed meanwhile, which both know
            await rig.broker.fill(late.tag, late.intent.order_qty)
        rig.broker.book_readable = True
        await settle_time(rig, order)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert rig.quantity() == 0
        assert rig.broker.sent[-1].tag == order.tag
        assert rig.broker.sent[-1].intent.order_qty == left

    tell(tmp_path, story)


def test_an_order_in_doubt_of_an_earlier_day_ends_where_positions_differ(tmp_path: Path) -> None:
    """It may have been filled: nothing is sent, its alert fails, entries are held, and both numbers are told."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "IN_DOUBT")
        rig.broker.execute(order.tag, Decimal(10), Decimal(800))
        await to_the_next_day(rig, alert_id)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("failed", "OUTCOME_UNKNOWN")
        assert "we hold 0 MIS, the broker says 10 MIS" in view.message
        assert rig.orders(alert_id)[0].status is OrderStatus.EXPIRED
        assert [told for told in rig.alarms() if "not known what became" in told] == [view.message]
        assert rig.quantity() == 0
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story)


def test_a_doubt_of_an_earlier_day_is_not_settled_while_positions_cannot_be_read(tmp_path: Path) -> None:
    """Neither sent nor ended; positions that come back settle it."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="10")
        rig.broker.positions_readable = False
        order = await to_the_next_day(rig, alert_id)
        await settle_time(rig, order)
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        rig.broker.positions_readable = True
        await settle_time(rig, order)
        assert (await rig.ended(alert_id)).code == "STALE_BEFORE_SEND"

    tell(tmp_path, story)


def test_each_send_is_settled_by_its_own_looks(tmp_path: Path) -> None:
    """Lost a second time: the looks after the first send prove nothing of the second, whose time begins anew."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.extend([LOST, LOST])
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await looked_up(rig, alert_id)
        rig.clock.jump(seconds=SETTLE_S)
        await until(lambda: len(rig.broker.sent) == 2, "the second send")
        assert (await looked_up(rig, alert_id)).sends == 2
        assert len(rig.broker.sent) == 2
        rig.clock.jump(seconds=SETTLE_S)
        await until(lambda: len(rig.broker.sent) == 3, "the third send")
        assert {sent.tag for sent in rig.broker.sent} == {order.tag}
        await rig.order_in(alert_id, "PLACED")

    tell(tmp_path, story)


# -- reports that cannot be applied -----------------------------------------------------------------------------------


def test_one_report_that_cannot_be_booked_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """The same execution id for two orders: the second is told to a person, all other reports are applied."""

    async def story(rig: Rig) -> None:
        first, second = await rig.accept(action="buy", quantity="5"), await rig.accept(action="buy", quantity="6", note="b")
        one, two = await rig.order_in(first, "PLACED"), await rig.order_in(second, "PLACED")
        await rig.broker.tell(
            rig.broker.execute(one.tag, Decimal(2), Decimal(800), "SAME"),
            rig.broker.execute(two.tag, Decimal(2), Decimal(800), "SAME"),
            rig.broker.execute(one.tag, Decimal(3), Decimal(800)),
            rig.broker.execute(two.tag, Decimal(4), Decimal(800)),
        )
        assert (await rig.ended(first)).code == "FILLED"
        assert (await rig.order_in(second, "PARTIAL")).cum_qty == 4
        assert len(rig.alarms()) == 1
        assert rig.quantity() == 9

    tell(tmp_path, story)


def test_reports_of_strangers_are_passed_over(tmp_path: Path) -> None:
    """Orders placed by hand at the broker carry no tag of ours; they change nothing and disturb nothing."""

    async def story(rig: Rig) -> None:
        stranger = rig.broker.report("", ReportKind.FILL, exec_id="Z", last_qty=Decimal(5), last_px=Decimal(1))
        await rig.broker.tell(stranger)
        assert rig.quantity() == 0
        assert rig.bridge.faults == []

    tell(tmp_path, story)


# -- drift ------------------------------------------------------------------------------------------------------------


def test_a_position_that_differs_is_shown_and_holds_entries_until_it_agrees(tmp_path: Path) -> None:
    """Drift is told with both numbers, never absorbed: entries wait, exits leave, agreement frees."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        told = await rig.bridge.desk.reconcile(by="test")
        assert told["agree"] is False
        differs = {"symbol": SBIN, "product": "MIS", "ours": "10", "broker": "7", "accepted_by": None}
        assert told["accounts"]["paper"]["drift"] == [differs]  # type: ignore[index]
        assert rig.quantity() == 10
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", symbol="NSE:INFY"))).code == "FILLED"
        rig.broker.held[SBIN, "MIS"] = Decimal(10)
        assert (await rig.bridge.desk.reconcile(by="test"))["agree"] is True
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "FILLED"

    tell(tmp_path, story)


def test_a_fill_booked_while_the_positions_were_read_is_no_drift(tmp_path: Path) -> None:
    """A comparison under load must not hold entries for what is only haste."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "PLACED")

        async def meanwhile() -> None:
            rig.broker.before_positions = lambda: None
            await rig.broker.fill(order.tag, 10, 800)

        rig.broker.before_positions = meanwhile
        await rig.bridge.desk.reconcile(by="test")
        assert rig.bridge.store.reads.holds() == []

    tell(tmp_path, story)


def test_fills_missed_by_the_stream_are_taken_over_from_the_book(tmp_path: Path) -> None:
    """Reconciling applies what the book says of our orders, once."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="10")
        order = await rig.order_in(alert_id, "PLACED")
        rig.broker.execute(order.tag, Decimal(4), Decimal(800))
        for _ in range(2):
            await rig.bridge.desk.reconcile(by="test")
            assert rig.quantity() == 4
        rig.broker.end(order.tag, OrderStatus.CANCELLED, "by hand")
        await rig.bridge.desk.reconcile(by="test")
        assert (await rig.ended(alert_id)).code == "PARTLY_FILLED"

    tell(tmp_path, story)


# -- cancels ----------------------------------------------------------------------------------------------------------

LIMIT = {"order_type": "LIMIT", "price": "800"}


@pytest.mark.parametrize(
    ("answers", "status", "calls"),
    [
        ((ACCEPT,), "CANCELLED", 1), ((REFUSE,), "PLACED", 1), ((LOST, NOT_SENT, ACCEPT), "CANCELLED", 3),
        ((NOT_SENT, LOST, REFUSE), "PLACED", 3),
    ],
)  # fmt: skip
def test_a_cancel_is_asked_until_it_is_answered(tmp_path: Path, answers: tuple[str, ...], status: str, calls: int) -> None:
    """Accepted ends by the report, refused puts the order back to work, no answer is asked for again."""

    async def story(rig: Rig) -> None:
        rig.broker.cancels.extend(answers)
        alert_id = await rig.accept(action="buy", quantity="10", **LIMIT)
        await rig.order_in(alert_id, "PLACED")
        view = await rig.ended(await rig.accept(action="cancel", price=None))
        assert (view.disposition, view.code) == ("done", "CANCELS_SENT")
        await until(lambda: len(rig.broker.cancelled) == calls, "the cancels")
        await rig.order_in(alert_id, status)

    tell(tmp_path, story)


def test_a_cancel_with_nothing_open_is_a_noop_and_one_for_an_unsent_order_withdraws_it(tmp_path: Path) -> None:
    """What never left is cancelled by us alone."""

    async def story(rig: Rig) -> None:
        assert (await rig.ended(await rig.accept(action="cancel"))).code == "NOTHING_OPEN"
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="10", **LIMIT)
        await rig.order_in(alert_id, "NEW")
        assert (await rig.ended(await rig.accept(action="cancel", note="2"))).code == "CANCELS_SENT"
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"
        assert rig.broker.cancelled == []

    tell(tmp_path, story)


def test_a_cancel_waits_for_an_order_whose_answer_is_awaited(tmp_path: Path) -> None:
    """Asking to cancel what the broker may not have yet would go astray: first its answer, then the cancel."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST_BUT_THERE)
        rig.broker.book_lags = True
        alert_id = await rig.accept(action="buy", quantity="10", **LIMIT)
        await rig.order_in(alert_id, "IN_DOUBT")
        cancel = await rig.accept(action="cancel")
        assert rig.alert(cancel).disposition is None
        rig.broker.book_lags = False
        await rig.order_in(alert_id, "PLACED", "CANCEL_PENDING", "CANCELLED")
        rig.clock.jump(seconds=2)
        assert (await rig.ended(cancel)).code == "CANCELS_SENT"
        await rig.order_in(alert_id, "CANCELLED")

    tell(tmp_path, story)


# -- a broker that hangs ----------------------------------------------------------------------------------------------


def test_a_broker_that_never_answers_delays_its_own_lane_only(tmp_path: Path) -> None:
    """One account's silence is not another's; acknowledgements go on everywhere."""
    accounts = {name: {"broker": "paper", "session": "always"} for name in ("slow", "paper")}
    strategies = {name: {"accounts": [name]} for name in ("slow", "paper")}

    async def story(rig: Rig) -> None:
        rig.broker_of("slow").answers.extend([HANG] * 9)
        rig.broker_of("paper").fill_px = Decimal(800)
        stuck = [await rig.accept(strategy="slow", action="buy", quantity="1", note=str(n)) for n in range(6)]
        assert (await rig.ended(await rig.accept(strategy="paper", action="buy", quantity="1"))).code == "FILLED"
        assert len(rig.broker_of("slow").sent) <= 4
        assert all(rig.alert(alert_id).disposition is None for alert_id in stuck)

    async def bounded(rig: Rig) -> None:
        await story(rig)
        # the answers never come: stopping must not wait for them longer than it says
        for lane in rig.bridge.lanes.values():
            await lane.stop()

    tell(tmp_path, bounded, accounts=accounts, strategies=strategies)


def test_a_long_wait_is_in_doubt_after_a_restart_and_not_before(tmp_path: Path) -> None:
    """While this very process awaits an answer the order is PENDING, not in doubt; only the guard cuts the waiting off."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(HANG)
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.order_in(alert_id, "PENDING")
        rig.clock.ahead += timedelta(seconds=30)
        await asyncio.sleep(0.1)
        assert (await rig.order_in(alert_id, "PENDING")).sends == 1
        await rig.bridge.lanes["paper"].stop()

    tell(tmp_path, story)


# -- exits and entries of one side -------------------------------------------------------------------------------------


def test_an_exit_is_not_given_up_for_an_entry_that_leaves_after_it(tmp_path: Path) -> None:
    """The entry was sized with the exit counted: without it the position would stop short of what the strategy wants."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        await rig.ended(await rig.accept(action="buy", quantity="1"))
        rig.broker.connected = False
        leaving = await rig.accept(action="exit")
        await rig.order_in(leaving, "NEW")
        target = await rig.accept(target="-4")
        rig.clock.jump(seconds=21)  # the target has waited for the exit for as long as it may
        assert (await rig.order_in(target, "NEW")).intent.order_qty == 4
        rig.broker.connected = True
        assert (await rig.ended(leaving)).code == "FILLED"
        assert (await rig.ended(target)).code == "FILLED"
        assert rig.quantity() == -4
        assert [order.intent.reduce_only for order in rig.broker.sent] == [False, True, False]

    tell(tmp_path, story)


def test_an_event_that_nobody_can_take_does_not_lose_the_others_of_its_commit(tmp_path: Path) -> None:
    """One broken listener costs its own event, which is counted; orders of the same commit still leave."""

    async def story(rig: Rig) -> None:
        worker = rig.bridge.worker
        heard: list[str] = []

        def hear(message: str) -> None:
            heard.append(message)
            if message == "first":
                raise RuntimeError("the listener is broken")

        worker._on_alarm = hear
        faults: list[tuple[str, str]] = []
        worker._on_fault = lambda where, error: faults.append((where, type(error).__name__))
        worker.on_events([AlarmRaised(message="first"), AlarmRaised(message="second")])
        assert (heard, faults) == (["first", "second"], [("events", "RuntimeError")])

    tell(tmp_path, story)
