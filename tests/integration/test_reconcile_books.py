"""What a comparison makes of the broker's book and positions: taken over, shown, held, alarmed about, never guessed."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import OrdType, Product, ReportKind, Side
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow
from bridge.execution.reconcile import Comparison, Why
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, abandoned, copy_of, make_settings, running
from tests.support.samples import SBIN
from tests.support.scripted_broker import ACCEPT, IDLE, LOST, LOST_BUT_THERE, REFUSE_BUT_THERE
from tests.support.waiting import until

LIMIT = {"order_type": "LIMIT", "price": "700"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; the timer's ticks are far apart, so that a test makes every look itself."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 3600)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def tell(folder: Path, story: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        clock = RunningClock()
        async with running(ScriptedBridge(make_settings(folder, **settings), clock), clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def tell_twice(folder: Path, before: Callable[[Rig], Awaitable[None]], after: Callable[[Rig], Awaitable[None]]) -> None:
    """A crash between the two; the broker goes on."""

    async def whole() -> None:
        clock = RunningClock()
        first = ScriptedBridge(make_settings(folder / "first"), clock)
        async with abandoned(first, clock) as rig:
            await before(rig)
            brokers, copied = {"paper": rig.broker}, copy_of(first.settings, folder / "second")
        async with running(ScriptedBridge(copied, clock, brokers), clock) as rig:
            await after(rig)
            rig.check_books()

    play(whole)


async def look(rig: Rig, *, after_s: float = 0) -> Comparison:
    rig.clock.jump(seconds=after_s)
    return await rig.bridge.reconciler.compare("paper", Why.TIMER)


def stranger(rig: Rig, broker_order_id: str = "S1", **values: Any) -> BookRow:
    """A row that is not ours."""
    row = BookRow(
        broker_order_id=broker_order_id, tag="", symbol="NSE:INFY", side=Side.SELL, product=Product.CNC,
        ord_type=OrdType.LIMIT, order_qty=Decimal(7), cum_qty=Decimal(2), status=OrderStatus.PARTIAL, message="",
        updated_at=rig.clock.now(),
    )  # fmt: skip
    return replace(row, **values)


async def bought(rig: Rig, quantity: str = "10", **fields: Any) -> str:
    """A filled buy, long enough ago that a difference counts at once."""
    rig.broker.fill_px = Decimal(800)
    alert_id = await rig.accept(action="buy", quantity=quantity, **fields)
    await rig.ended(alert_id)
    rig.broker.fill_px = None
    rig.clock.jump(seconds=6)
    return alert_id


async def resting(rig: Rig, **fields: Any) -> Any:
    """An order that works at the broker."""
    return await rig.order_in(await rig.accept(action="buy", quantity="5", **LIMIT, **fields), "PLACED")


def lists(rig: Rig) -> list[str]:
    return [hold.message for _account, _symbol, hold in rig.bridge.store.reads.holds()]


# -- placed elsewhere, and placed twice -------------------------------------------------------------------------------


def test_orders_placed_elsewhere_are_shown_and_never_touched(tmp_path: Path) -> None:
    """Without a tag, or under one that we do not know; each look shows what is there now."""

    async def story(rig: Rig) -> None:
        await resting(rig)
        rig.broker.others = [stranger(rig), stranger(rig, "S2", tag="SOMEBODYELSES01", status=OrderStatus.FILLED)]
        found = await look(rig)
        assert (found.readable, found.drift) == (True, ())
        shown = rig.bridge.external_orders()
        assert sorted(view.broker_order_id for view in shown) == ["S1", "S2"]
        first = shown[0]
        assert (first.account, first.symbol, first.side, first.order_qty) == ("paper", "NSE:INFY", "SELL", Decimal(7))
        told = await rig.bridge.desk.reconcile(by="test")
        external = told["accounts"]["paper"]["external"]  # type: ignore[index]
        assert sorted(order["broker_order_id"] for order in external) == ["S1", "S2"]
        assert told["agree"] is True
        rig.broker.others = [stranger(rig, cum_qty=Decimal(7), status=OrderStatus.FILLED)]
        await look(rig)
        assert [(view.broker_order_id, view.cum_qty) for view in rig.bridge.external_orders()] == [("S1", Decimal(7))]
        assert rig.quantity("NSE:INFY") == 0
        assert rig.broker.cancelled == []
        assert rig.alarms() == []

    tell(tmp_path, story)


def test_only_the_latest_of_many_orders_placed_elsewhere_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's thousands do not fill memory."""
    monkeypatch.setattr("bridge.execution.compare.EXTERNAL_KEPT", 3)

    async def story(rig: Rig) -> None:
        at = rig.clock.now()
        rig.broker.others = [stranger(rig, f"S{n}", updated_at=at + timedelta(seconds=n)) for n in range(9)]
        await look(rig)
        assert [view.broker_order_id for view in rig.bridge.external_orders()] == ["S8", "S7", "S6"]

    tell(tmp_path, story)


def test_our_orders_of_before_a_restart_are_known_by_their_tags(tmp_path: Path) -> None:
    """Memory has forgotten what ended; the table has not: they are ours, and a fill that was missed is booked late."""

    async def before(rig: Rig) -> None:
        await bought(rig)

    async def after(rig: Rig) -> None:
        assert rig.ledger.orders.values == {}
        (tag,) = rig.broker.rows
        assert (await look(rig)).external == ()
        rig.broker.execute(tag, Decimal(3), Decimal(801))
        await look(rig)
        assert rig.quantity() == 13
        assert len([told for told in rig.alarms() if "after the order had ended" in told]) == 1

    tell_twice(tmp_path, before, after)


def test_two_orders_under_one_tag_are_an_alarm_at_once_and_once(tmp_path: Path) -> None:
    """Both ids are named and shown; the fills of both move the position, the end of the other is not ours."""

    async def story(rig: Rig) -> None:
        order = await resting(rig)
        (row,) = rig.broker.rows.values()
        fill = rig.broker.report(order.tag, ReportKind.FILL, exec_id="T1", last_qty=Decimal(5), last_px=Decimal(700))
        rig.broker.held[SBIN, "MIS"] = Decimal(5)
        twin = replace(
            row, broker_order_id="TWIN", status=OrderStatus.CANCELLED, cum_qty=Decimal(5),
            fills=(replace(fill, broker_order_id="TWIN"),),
        )  # fmt: skip
        rig.broker.others = [replace(row, broker_order_id="NO", status=OrderStatus.REJECTED)]
        assert (await look(rig)).doubles == ()  # what the broker did not take is no order
        rig.broker.others = [twin]
        for _ in range(2):
            await look(rig, after_s=61)
        found = await look(rig, after_s=61)
        assert found.doubles == ((order.cl_ord_id, tuple(sorted(["TWIN", row.broker_order_id]))),)
        (told,) = [told for told in rig.alarms() if "2 times" in told]
        assert "TWIN" in told
        assert row.broker_order_id in told
        assert [view.broker_order_id for view in rig.bridge.external_orders()] == ["TWIN"]
        now = rig.ledger.orders.get(order.cl_ord_id)
        assert (now.cum_qty, now.broker_order_id, rig.quantity()) == (5, row.broker_order_id, 5)
        report = await rig.bridge.desk.reconcile(by="test")
        assert report["accounts"]["paper"]["doubles"][0]["cl_ord_id"] == order.cl_ord_id  # type: ignore[index]

    tell(tmp_path, story)


def test_an_order_that_ended_here_and_works_there_is_told_once(tmp_path: Path) -> None:
    """Not in the first moments, when the book may be behind; and not again at every look."""

    async def story(rig: Rig) -> None:
        order = await resting(rig)
        await rig.broker.tell(rig.broker.report(order.tag, ReportKind.CANCELLED))
        await look(rig)
        assert rig.alarms() == []
        for _ in range(3):
            await look(rig, after_s=61)
        assert [told for told in rig.alarms() if "still works at the broker" in told] == rig.alarms()
        assert len(rig.alarms()) == 1

    tell(tmp_path, story)


def test_one_row_that_cannot_be_applied_stops_no_other(tmp_path: Path) -> None:
    """An execution id that another order has: that row waits for a person, the next is taken over."""

    async def story(rig: Rig) -> None:
        one, two, three = [await resting(rig, note=str(n)) for n in range(3)]
        rig.broker.execute(one.tag, Decimal(1), Decimal(700), "SAME")
        await look(rig)
        rig.broker.execute(two.tag, Decimal(1), Decimal(700), "SAME")
        rig.broker.execute(three.tag, Decimal(2), Decimal(700))
        found = await look(rig)
        assert (found.readable, two.cl_ord_id in found.message) == (False, True)
        assert rig.quantity() == 3
        for _ in range(3):
            await look(rig, after_s=31)
        assert len([told for told in rig.alarms() if "cannot be applied" in told]) == 1

    tell(tmp_path, story)


def test_a_doubt_that_the_book_settles_wrongly_is_for_a_person(tmp_path: Path) -> None:
    """Its row cannot be applied: the order stays in doubt, one alarm says why, and others in doubt are settled."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        await rig.broker.tell(rig.broker.execute(known.tag, Decimal(1), Decimal(700), "SAME"))
        rig.broker.book_lags = True
        rig.broker.answers.extend([LOST_BUT_THERE, LOST_BUT_THERE])
        bad, good = [await rig.accept(action="buy", quantity="2", symbol="NSE:TCS", note=note) for note in ("bad", "good")]
        order, other = await rig.order_in(bad, "IN_DOUBT"), await rig.order_in(good, "IN_DOUBT")
        rig.broker.execute(order.tag, Decimal(2), Decimal(700), "SAME")
        rig.broker.execute(other.tag, Decimal(2), Decimal(700))
        rig.broker.book_lags = False
        assert (await rig.ended(good)).code == "FILLED"
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 3, "more looks")
        assert (await rig.order_in(bad, "IN_DOUBT")).sends == 1
        assert len([told for told in rig.alarms() if "cannot be applied: DuplicateError" in told]) == 1

    tell(tmp_path, story)


# -- what is not there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["working", "ended"])
def test_an_empty_book_after_an_acknowledgement_is_late_and_not_true(tmp_path: Path, state: str) -> None:
    """Nothing is ended by it, nothing held; it is told, and an alarm when it lasts."""

    async def story(rig: Rig) -> None:
        if state == "working":
            await resting(rig)
        else:
            await bought(rig)
        rig.broker.book_lags = True
        rig.broker.held[SBIN, "MIS"] = Decimal(3)
        for _ in range(2):
            found = await look(rig, after_s=1)
            assert (found.readable, "order book is empty" in found.message) == (False, True)
            assert lists(rig) == []
        assert rig.alarms() == []
        assert len(rig.ledger.orders.values) == 1
        assert [order.status.is_closed for order in rig.orders()] == [state == "ended"]
        rig.broker.book_lags = False
        assert (await look(rig)).readable
        rig.broker.book_lags = True
        rig.broker.held[SBIN, "MIS"] = Decimal(0 if state == "working" else 10)
        for _ in range(3):
            await look(rig, after_s=20)
        assert [told for told in rig.alarms() if "order book is empty" in told] != []
        assert (await rig.bridge.desk.reconcile(by="test"))["agree"] is False

    tell(tmp_path, story)


@pytest.mark.parametrize("traded", [True, False])
def test_after_a_restart_the_table_tells_whether_an_empty_book_can_be_true(tmp_path: Path, traded: bool) -> None:
    """Orders that ended before it are not in memory any more, and were acknowledged all the same."""

    async def before(rig: Rig) -> None:
        if traded:
            await bought(rig)
        rig.broker.book_lags = True

    async def after(rig: Rig) -> None:
        assert (await look(rig)).readable is not traded
        if traded:
            rig.clock.jump(days=1)
            assert (await look(rig)).readable  # another day, another book

    tell_twice(tmp_path, before, after)


def test_a_book_without_an_acknowledged_order_settles_no_doubt(tmp_path: Path) -> None:
    """It is behind: the order in doubt may be missing for the same reason. A whole book settles it."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.hidden.add(known.tag)
        rig.broker.others = [stranger(rig)]
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="1", symbol="NSE:TCS")
        await rig.order_in(alert_id, "IN_DOUBT")
        for _ in range(3):
            reads = rig.broker.reads
            await until(lambda reads=reads: rig.broker.reads > reads + 5, "looks")  # type: ignore[misc]
            rig.clock.jump(seconds=11)
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        rig.broker.hidden.clear()
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 5, "looks into the whole book")
        rig.broker.hidden.add(known.tag)  # late once more: the whole looks before prove nothing of those after
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 2, "looks")
        rig.clock.jump(seconds=11)
        rig.broker.hidden.clear()
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 5, "looks into the whole book")
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        rig.clock.jump(seconds=11)
        await until(lambda: len(rig.broker.sent) == 3, "the second send")

    tell(tmp_path, story)


def test_an_acknowledged_order_that_stays_missing_is_for_a_person(tmp_path: Path) -> None:
    """Three looks and thirty seconds, then one alarm; no end is guessed. Positions are compared again all the same."""

    async def story(rig: Rig) -> None:
        missing, other = await resting(rig), await resting(rig, symbol="NSE:INFY")
        rig.broker.hidden.add(missing.tag)
        rig.broker.held["NSE:TCS", "MIS"] = Decimal(3)
        for _ in range(3):
            found = await look(rig, after_s=14)
            assert (found.readable, rig.alarms(), lists(rig)) == (False, [], [])
            assert missing.cl_ord_id in found.message
        for _ in range(2):
            await look(rig, after_s=14)
        assert (await look(rig, after_s=14)).readable is False
        assert len(rig.alarms()) == 1
        assert missing.broker_order_id in rig.alarms()[0]
        assert len(lists(rig)) == 1
        assert {rig.ledger.orders.get(order.cl_ord_id).status for order in (missing, other)} == {OrderStatus.PLACED}

    tell(tmp_path, story)


def test_an_order_acknowledged_while_the_book_was_read_is_not_missing(tmp_path: Path) -> None:
    """It is younger than the answer."""

    async def story(rig: Rig) -> None:
        await resting(rig)
        seen: list[Any] = []

        async def meanwhile() -> None:
            rig.broker.before_positions = lambda: None
            seen.append(await resting(rig, note="during the read"))

        rig.broker.before_positions = meanwhile
        assert (await look(rig)).readable
        assert len(seen) == 1

    tell(tmp_path, story)


@pytest.mark.parametrize("filled", [False, True])
def test_an_order_of_an_earlier_day_that_the_book_has_no_longer_has_ended(tmp_path: Path, filled: bool) -> None:
    """It could work on its own day only. What it filled unseen shows as a difference of positions."""

    async def story(rig: Rig) -> None:
        order = await resting(rig)
        rig.broker.rows.clear()
        if filled:
            rig.broker.held[SBIN, "MIS"] = Decimal(5)
        rig.clock.jump(days=1)
        for _ in range(2):
            assert (await look(rig)).readable
            assert rig.ledger.orders.get(order.cl_ord_id).status is OrderStatus.PLACED
            rig.clock.jump(seconds=20)
        await look(rig)
        view = await rig.ended(order.intent.alert_id)
        assert (view.disposition, view.code) == ("expired", "ENDED_AT_BROKER")
        assert lists(rig) == ([f"{SBIN}: we hold 0 MIS, the broker says 5 MIS."] if filled else [])
        assert not [told for told in rig.alarms() if "on an earlier day" in told]

    tell(tmp_path, story)


def test_a_buy_for_delivery_of_an_earlier_day_that_may_have_filled_unseen_is_for_a_person(tmp_path: Path) -> None:
    """Shares that the broker has beyond our books are no difference, so nothing else would ever tell of them."""

    async def story(rig: Rig) -> None:
        order = await resting(rig, product="CNC")
        rig.broker.rows.clear()
        rig.clock.jump(days=1)
        for _ in range(3):
            await look(rig)
            rig.clock.jump(seconds=20)
        await rig.ended(order.intent.alert_id)
        (told,) = [told for told in rig.alarms() if order.cl_ord_id in told]
        assert "to buy 5 NSE:SBIN" in told
        assert "no exit sells them" in told

    tell(tmp_path, story)


# -- positions --------------------------------------------------------------------------------------------------------


def test_an_empty_list_of_positions_counts_only_when_it_lasts(tmp_path: Path) -> None:
    """An endpoint that is behind looks like a flat account: two looks and thirty seconds, for what was opened today."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.positions_lag = True
        for _ in range(3):
            found = await look(rig, after_s=9)
            assert (found.readable, lists(rig)) == (False, [])
        rig.broker.positions_lag = False
        assert (await look(rig, after_s=9)).readable
        rig.broker.positions_lag = True
        assert (await look(rig, after_s=9)).readable is False
        found = await look(rig, after_s=31)
        assert (found.readable, lists(rig)) == (True, [f"{SBIN}: we hold 10 MIS, the broker says 0 MIS."])

    tell(tmp_path, story)


def test_an_empty_list_of_positions_settles_no_doubt_of_an_earlier_day(tmp_path: Path) -> None:
    """It is late, so it proves nothing; a list that agrees does."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.order_in(alert_id, "IN_DOUBT")
        rig.clock.jump(days=1)
        await bought(rig, symbol="NSE:TCS")
        rig.broker.positions_lag = True

        async def settle_time() -> None:
            reads = rig.broker.reads
            await until(lambda: rig.broker.reads > reads + 5, "looks")
            rig.clock.jump(seconds=11)

        for _ in range(2):
            await settle_time()
        assert (await rig.order_in(alert_id, "IN_DOUBT")).sends == 1
        rig.broker.positions_lag = False
        await settle_time()
        assert (await rig.ended(alert_id)).code == "STALE_BEFORE_SEND"

    tell(tmp_path, story)


def test_an_empty_list_is_believed_of_what_was_opened_earlier(tmp_path: Path) -> None:
    """Yesterday's position is no news that could be late."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.rows.clear()
        rig.clock.jump(days=1)
        rig.broker.held.clear()
        await look(rig)
        assert len(lists(rig)) == 1

    tell(tmp_path, story)


@pytest.mark.parametrize("lively", ["an order works", "a fill is fresh"])
def test_a_difference_in_a_lively_instrument_counts_when_seen_twice(tmp_path: Path, lively: str) -> None:
    """The two answers may be of different moments; the same again is believed, and its end too."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        if lively == "an order works":
            await resting(rig)
        else:
            await rig.broker.fill((await resting(rig)).tag, 5, 700)

        async def again(theirs: int) -> list[str]:
            rig.broker.held[SBIN, "MIS"] = Decimal(theirs)
            await look(rig)
            return lists(rig)

        ours = 10 if lively == "an order works" else 15
        assert await again(7) == []
        assert await again(6) == []
        assert await again(7) == []
        assert await again(7) == [f"{SBIN}: we hold {ours} MIS, the broker says 7 MIS."]
        assert len(await again(ours)) == 1
        assert await again(ours) == []

    tell(tmp_path, story)


def test_an_instrument_with_an_unanswered_send_is_left_for_later(tmp_path: Path) -> None:
    """What that order may have done nobody can say; others are compared."""

    async def story(rig: Rig) -> None:
        rig.broker.book_lags = True
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="1")
        await rig.order_in(alert_id, "IN_DOUBT")
        rig.broker.held.update({(SBIN, "MIS"): Decimal(1), ("NSE:TCS", "CNC"): Decimal(2)})
        for _ in range(2):
            await look(rig)
        assert lists(rig) == ["NSE:TCS: we hold 0 CNC, the broker says 2 CNC."]

    tell(tmp_path, story)


def test_every_product_that_differs_is_named_and_all_must_agree(tmp_path: Path) -> None:
    """One that agrees again does not clear the instrument; one alarm for each new difference."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.held.update({(SBIN, "MIS"): Decimal(7), (SBIN, "CNC"): Decimal(4)})
        found = await look(rig)
        assert lists(rig) == [f"{SBIN}: we hold 0 CNC and 10 MIS, the broker says 4 CNC and 7 MIS."]
        assert found.message == lists(rig)[0]
        rig.broker.held[SBIN, "MIS"] = Decimal(10)
        await look(rig)
        assert lists(rig) == [f"{SBIN}: we hold 0 CNC, the broker says 4 CNC."]
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"
        rig.broker.held[SBIN, "CNC"] = Decimal(0)
        await look(rig)
        assert lists(rig) == []

    tell(tmp_path, story)


# -- accepting --------------------------------------------------------------------------------------------------------


def test_an_accepted_difference_lets_entries_go_while_it_stays_exactly_so(tmp_path: Path) -> None:
    """Both sides trade on; another difference, be it smaller, holds anew. Our books never change."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        await look(rig)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"
        assert await rig.bridge.desk.accept_drift(SBIN, None, by="anna") == lists(rig)
        assert rig.quantity() == 10
        await bought(rig, "2", note="after it")
        assert (rig.quantity(), rig.broker.held[SBIN, "MIS"]) == (Decimal(12), Decimal(9))
        told = await rig.bridge.desk.reconcile(by="test")
        assert told["agree"] is True
        assert told["accounts"]["paper"]["drift"] == [  # type: ignore[index]
            {"symbol": SBIN, "product": "MIS", "ours": "12", "broker": "9", "accepted_by": "anna"}
        ]
        rig.broker.held[SBIN, "MIS"] = Decimal(10)
        await look(rig)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", note="2"))).code == "POSITION_UNSURE"
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"  # exits are never held
        steps = [row for row in rig.bridge.store.reads.audit_rows() if row[2].startswith("drift")]
        assert [row[2] for row in steps] == ["drift_found", "drift_accepted", "drift_found"]
        for text in ("we hold 10 MIS", "the broker says 7 MIS", "anna"):
            assert text in steps[1][7]
        assert '"differences":[{"product":"MIS","ours":"10","broker":"7"}]' in steps[1][8]

    tell(tmp_path, story)


def test_an_acceptance_outlives_a_restart_and_ends_with_the_difference(tmp_path: Path) -> None:
    """It is on disk with the numbers it is for; once the books agree nothing of it is left."""

    async def before(rig: Rig) -> None:
        await bought(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        await look(rig)
        await rig.bridge.desk.accept_drift(SBIN, "paper", by="anna")

    async def after(rig: Rig) -> None:
        assert [hold.accepted_by for _a, _s, hold in rig.bridge.store.reads.holds()] == ["anna"]
        await bought(rig, "1")
        rig.broker.held[SBIN, "MIS"] = Decimal(11)
        await look(rig)
        assert lists(rig) == []
        rig.broker.held[SBIN, "MIS"] = Decimal(8)  # the same difference as before, and nobody has accepted it since
        await look(rig)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "POSITION_UNSURE"

    tell_twice(tmp_path, before, after)


def test_an_exit_counts_what_was_closed_in_the_brokers_app(tmp_path: Path) -> None:
    """The book shows the order that closed it, so nobody has to say so first; selling it again would open a short."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.trade_by_hand(SBIN, Product.MIS, Side.SELL, Decimal(6))
        await look(rig)
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
        assert [order.intent.order_qty for order in rig.broker.sent[1:]] == [4]
        await look(rig, after_s=6)
        assert (await rig.ended(await rig.accept(action="exit", note="again"))).code == "POSITION_UNSURE"
        assert len(rig.broker.sent) == 2

    tell(tmp_path, story)


def test_what_was_closed_in_the_brokers_app_is_known_after_a_restart(tmp_path: Path) -> None:
    """It is kept with the difference: the next process may not be able to read the book, and the next day's has it no more."""

    async def before(rig: Rig) -> None:
        await bought(rig)
        rig.broker.trade_by_hand(SBIN, Product.MIS, Side.SELL, Decimal(6))
        await look(rig)
        rig.broker.book_readable = False

    async def after(rig: Rig) -> None:
        rig.broker.fill_px = Decimal(800)
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
        assert [order.intent.order_qty for order in rig.broker.sent[1:]] == [4]

    tell_twice(tmp_path, before, after)


def test_a_stop_stays_when_somebody_sells_what_was_his_own(tmp_path: Path) -> None:
    """The books differed by his ten, and agree when he has sold them: nothing of ours is missing."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="10", stop_loss={"price": "700"})
        await rig.broker.fill((await rig.order_in(alert_id, "PLACED")).tag, 10, 800)

        def stops() -> list[str]:
            return [order.status.value for order in list(rig.ledger.orders.values.values()) if order.is_protection]

        await until(lambda: stops() == ["PLACED"], "the stop")
        rig.broker.held[SBIN, "MIS"] += 10
        await look(rig, after_s=6)
        await look(rig, after_s=6)
        assert lists(rig)
        rig.broker.trade_by_hand(SBIN, Product.MIS, Side.SELL, Decimal(10))
        await look(rig, after_s=6)
        await look(rig, after_s=6)
        assert lists(rig) == []
        for _ in range(3):
            await rig.bridge.worker.tick()
        assert stops() == ["PLACED"]

    tell(tmp_path, story)


def test_what_cannot_be_accepted_is_refused_by_name(tmp_path: Path) -> None:
    """No difference, another account, or another difference than the person was shown."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        await look(rig)
        shown = lists(rig)[0]
        with pytest.raises(Exception, match="No difference is known in NSE:TCS"):
            await rig.bridge.desk.accept_drift("NSE:TCS", "paper", by="anna")
        with pytest.raises(Exception, match="no account 'other'"):
            await rig.bridge.desk.accept_drift(SBIN, "other", by="anna")
        rig.broker.held[SBIN, "MIS"] = Decimal(6)
        await look(rig)
        with pytest.raises(Exception, match="another one by now"):
            await rig.bridge.desk.accept_drift(SBIN, "paper", by="anna", seen=shown)
        assert [hold.accepted_by for _a, _s, hold in rig.bridge.store.reads.holds()] == [""]
        await rig.bridge.desk.accept_drift(SBIN, "paper", by="anna", seen=lists(rig)[0])
        assert [hold.accepted_by for _a, _s, hold in rig.bridge.store.reads.holds()] == ["anna"]

    tell(tmp_path, story)


def test_an_accepted_difference_is_agreement_for_a_doubt_of_an_earlier_day(tmp_path: Path) -> None:
    """Positions differ by what is known and by nothing more: the order did nothing."""

    async def story(rig: Rig) -> None:
        await bought(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(7)
        await look(rig)
        await rig.bridge.desk.accept_drift(SBIN, "paper", by="anna")
        rig.broker.answers.append(LOST)
        alert_id = await rig.accept(action="buy", quantity="1", note="lost")
        await rig.order_in(alert_id, "IN_DOUBT")
        rig.clock.jump(days=1)
        reads = rig.broker.reads
        await until(lambda: rig.broker.reads > reads + 5, "looks")
        rig.clock.jump(seconds=11)
        assert (await rig.ended(alert_id)).code == "STALE_BEFORE_SEND"

    tell(tmp_path, story)


def test_the_book_is_read_when_an_end_has_overtaken_fills(tmp_path: Path) -> None:
    """The stream lost or delayed them: the very next tick asks the book, and the order ends as it did there."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="10", **LIMIT)
        order = await rig.order_in(alert_id, "PLACED")
        rig.broker.execute(order.tag, Decimal(4), Decimal(700))
        await rig.broker.tell(replace(rig.broker.end(order.tag, OrderStatus.CANCELLED), cum_qty=Decimal(4)))
        assert (await rig.order_in(alert_id, "PLACED")).leaves_qty == 10
        rig.bridge.reconciler.watch()
        ended = await rig.order_in(alert_id, "CANCELLED")
        assert ended.cum_qty == rig.quantity() == 4
        assert (await rig.ended(alert_id)).code == "PARTLY_FILLED"

    tell(tmp_path, story)


def test_a_difference_is_seen_although_the_clock_was_set_back(tmp_path: Path) -> None:
    """Whether a fill came after a read is a matter of the monotonic clock: else nothing counted for as long as it was off."""

    async def story(rig: Rig) -> None:
        rig.clock.set_wrong(hours=2)
        await bought(rig)
        rig.clock.set_wrong(hours=-2)
        rig.broker.held[SBIN, "MIS"] = Decimal(3)
        found = await look(rig, after_s=10)
        assert [symbol for symbol, _hold in found.drift] == [SBIN]

    tell(tmp_path, story)


async def pass_time(rig: Rig, seconds: int) -> None:
    """Let the look-ups of doubts run on while time goes by."""
    for _ in range(seconds):
        reads = rig.broker.reads
        rig.clock.jump(seconds=1)
        if any(order.status is OrderStatus.IN_DOUBT for order in rig.orders()):
            await until(lambda reads=reads: rig.broker.reads > reads + 1, "a look-up")  # type: ignore[misc]


@pytest.mark.parametrize("turn", ["reload", "clock set back"])
def test_an_empty_book_settles_no_doubt_whatever_was_found_earlier_that_day(tmp_path: Path, turn: str) -> None:
    """Nothing was acknowledged in the morning; by now something was, though memory has dropped it or dates it to come."""

    async def story(rig: Rig) -> None:
        rig.broker.book_lags = True
        assert (await look(rig)).readable
        rig.broker.book_lags = False
        await bought(rig)
        if turn == "reload":
            rig.bridge.store.writer._stale = True  # what a commit leaves of which nobody knows whether it is on disk
            await rig.bridge.store.write(lambda _tx: None)
            await until(lambda: rig.ledger.orders.values == {}, "the reload")
        else:
            rig.clock.set_wrong(seconds=-1800)
        rig.broker.book_lags = True
        rig.broker.answers.append(LOST_BUT_THERE)
        alert_id = await rig.accept(action="buy", quantity="7")
        await rig.order_in(alert_id, "IN_DOUBT")
        sent = len(rig.broker.sent)
        await pass_time(rig, 30)
        assert [order.status for order in rig.orders(alert_id)] == [OrderStatus.IN_DOUBT]
        assert len(rig.broker.sent) == sent
        rig.broker.book_lags = False
        await until(lambda: not any(order.status is OrderStatus.IN_DOUBT for order in rig.orders()), "the doubt to end")
        assert len(rig.broker.sent) == sent

    tell(tmp_path, story)


def test_after_the_clock_was_set_back_missing_orders_and_zombies_are_still_told(tmp_path: Path) -> None:
    """Their last change lies in a time to come: that is long past, not moments ago."""

    async def story(rig: Rig) -> None:
        missing, ended = await resting(rig), await resting(rig)
        await rig.broker.tell(rig.broker.report(ended.tag, ReportKind.CANCELLED))
        rig.clock.set_wrong(seconds=-1800)
        rig.broker.hidden.add(missing.tag)
        assert not (await look(rig)).readable
        for _ in range(3):
            await look(rig, after_s=20)
        assert sorted("still works" in told for told in rig.alarms()) == [False, True]
        assert any(f"{missing.cl_ord_id} was acknowledged" in told for told in rig.alarms())

    tell(tmp_path, story)


# -- half an answer ---------------------------------------------------------------------------------------------------


def test_a_book_that_can_be_read_is_taken_over_although_positions_cannot(tmp_path: Path) -> None:
    """Ends and fills are booked; of positions nothing is said, no hold comes or goes; when it lasts, that is an alarm."""

    async def story(rig: Rig) -> None:
        order, filled = await resting(rig), await resting(rig)
        rig.broker.positions_readable = False
        rig.broker.end(order.tag, OrderStatus.CANCELLED)
        rig.broker.execute(filled.tag, Decimal(5), Decimal(700))
        found = await look(rig)
        assert (found.readable, found.is_unsure, "positions cannot be read" in found.message) == (False, True, True)
        assert rig.ledger.orders.get(order.cl_ord_id).status is OrderStatus.CANCELLED
        assert rig.quantity() == 5
        for _ in range(4):
            assert lists(rig) == []
            await look(rig, after_s=20)
        assert [told for told in rig.alarms() if "positions cannot be read" in told] == rig.alarms()
        assert len(rig.alarms()) == 1
        rig.broker.positions_readable = True
        assert (await look(rig, after_s=20)).readable
        assert lists(rig) == []

    tell(tmp_path, story)


def test_without_positions_an_order_of_an_earlier_day_is_neither_over_nor_sent_again(tmp_path: Path) -> None:
    """The next day's book lacks it for certain; only positions tell what it did."""

    async def story(rig: Rig) -> None:
        order = await resting(rig)
        rig.broker.answers.append(LOST)
        rig.broker.hidden.add(order.tag)
        rig.broker.positions_readable = False
        doubt = await rig.order_in(await rig.accept(action="buy", quantity="7", **LIMIT), "IN_DOUBT")
        rig.clock.jump(days=1)
        sent = len(rig.broker.sent)
        for _ in range(4):
            await look(rig, after_s=20)
            await pass_time(rig, 3)
        assert rig.ledger.orders.get(order.cl_ord_id).status is OrderStatus.PLACED
        assert rig.ledger.orders.get(doubt.cl_ord_id).status is OrderStatus.IN_DOUBT
        assert len(rig.broker.sent) == sent
        assert len([told for told in rig.alarms() if doubt.cl_ord_id in told and "positions cannot be read" in told]) == 1

    tell(tmp_path, story)


# -- what the broker said and did not do ------------------------------------------------------------------------------


def test_a_cancel_that_was_accepted_and_never_carried_out_is_asked_again_and_told_once(tmp_path: Path) -> None:
    """Two looks and half a minute; once per such time, until the book says that it ended."""

    async def story(rig: Rig) -> None:
        order = await resting(rig)
        rig.broker.cancels += [IDLE, IDLE, ACCEPT]
        await rig.ended(await rig.accept(action="cancel"))
        await until(lambda: len(rig.broker.cancelled) == 1, "the first request")
        await look(rig)
        await look(rig, after_s=20)
        assert (len(rig.broker.cancelled), rig.alarms()) == (1, [])
        await look(rig, after_s=11)
        await until(lambda: len(rig.broker.cancelled) == 2, "the second request")
        (told,) = rig.alarms()
        assert f"{order.cl_ord_id} was to be cancelled and still works" in told
        await look(rig, after_s=20)
        await look(rig, after_s=20)
        assert len(rig.broker.cancelled) == 2
        await look(rig, after_s=31)
        await rig.order_in(order.intent.alert_id, "CANCELLED")
        assert len(rig.broker.cancelled) == 3
        assert rig.alarms() == [told]

    tell(tmp_path, story)


def test_an_order_that_was_refused_and_works_all_the_same_is_looked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fills are booked by the next tick, and that it works is an alarm in moments, without the timer."""
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)

    async def story(rig: Rig) -> None:
        await rig.bridge.reconciler.compare("paper")
        rig.broker.answers.append(REFUSE_BUT_THERE)
        order = await rig.order_in(await rig.accept(action="buy", quantity="5", **LIMIT), "REJECTED")
        rig.broker.execute(order.tag, Decimal(2), Decimal(700))
        rig.clock.jump(seconds=11)
        await until(lambda: rig.quantity() == 2, "the fill")
        rig.clock.jump(seconds=11)
        await until(lambda: any("still works at the broker" in told for told in rig.alarms()), "the alarm")

    tell(tmp_path, story)
