"""An alert that modifies: found, judged, asked, answered; whatever the broker says, loses or does meanwhile."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import OutcomeKind
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import Terms
from bridge.core.report import Outcome, reports_of
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, abandoned, copy_of, make_settings, running, write_freezes
from tests.support.scripted_broker import HANG, IDLE, LOST, LOST_BUT_THERE, NOT_SENT, REFUSE, REFUSE_BUT_THERE
from tests.support.waiting import until

D = Decimal
Story = Callable[[Rig], Awaitable[Any]]
After = Callable[[Rig, Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.reconcile.LOOK_AGAIN_S", 0.02)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))
    monkeypatch.setattr("bridge.execution.changes.AGAIN_S", 0.05)
    monkeypatch.setattr("bridge.execution.changes.NEVER_S", 0.3)


def tell(folder: Path, story: Story, *, max_replaces: int | None = None, call_timeout_s: float = 15, **settings: Any) -> None:
    """A story with a scripted broker that changes an order at most so often."""

    async def whole() -> None:
        clock = RunningClock()
        made = make_settings(folder, **settings)
        bridge = ScriptedBridge(made, clock, max_replaces=max_replaces, call_timeout_s=call_timeout_s)
        async with running(bridge, clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def crash(
    folder: Path, before: Story, after: Callable[[Rig, Any], Awaitable[None]], *, max_replaces: int | None = None
) -> None:
    """`before` on one bridge, a crash, `after` on a second one with a copy of the files and the same broker."""

    async def whole() -> None:
        clock = RunningClock()
        first = ScriptedBridge(make_settings(folder / "first"), clock, max_replaces=max_replaces)
        async with abandoned(first, clock) as rig:
            found = await before(rig)
            brokers = {name: rig.broker_of(name) for name in rig.bridge.brokers}
            copied = copy_of(first.settings, folder / "second")
        async with running(ScriptedBridge(copied, clock, brokers, max_replaces=max_replaces), clock) as rig:
            await after(rig, found)
            rig.check_books()

    play(whole)


async def resting(rig: Rig, side: str = "buy", quantity: str = "10", **fields: Any) -> Order:
    """A limit order of the strategy that works at the broker."""
    fields = {"order_type": "LIMIT", "price": "800", **fields}
    alert_id = await rig.accept(action=side, quantity=quantity, **fields)
    return await rig.order_in(alert_id, "PLACED")


async def modify(rig: Rig, **fields: Any) -> str:
    return await rig.accept(action="modify", **{"price": None, **fields})


def order(rig: Rig, known: Order) -> Order:
    found: Order = rig.ledger.orders.get(known.cl_ord_id)
    return found


# -- what the alert may ask ---------------------------------------------------------------------------------------------


def test_an_order_gets_the_terms_that_the_broker_confirms(tmp_path: Path) -> None:
    """Both alerts' ways tell of it; the order's own ends by its fill alone."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        alert = await rig.ended(await modify(rig, price="805", quantity="12"))
        assert (alert.disposition, alert.code, alert.message) == ("done", "MODIFIED", "12 units, price 805")
        now = order(rig, known)
        assert (now.status.value, now.intent.order_qty, now.intent.price, now.replaces) == ("PLACED", D(12), D(805), 1)
        steps = rig.step_names(alert.alert_id)
        assert [step for step in steps if step.startswith("order")] == ["order_replace_asked", "order_replaced"]
        assert rig.steps(alert.alert_id)[1].cl_ord_id == known.cl_ord_id
        assert rig.step_names(known.intent.alert_id)[-2:] == ["order_replace_asked", "order_replaced"]
        assert len(rig.broker.modified) == 1
        await rig.broker.fill(known.tag, 12, 805)
        assert "12 filled at 805" in (await rig.ended(known.intent.alert_id)).message
        (shown,) = rig.orders(known.intent.alert_id)
        assert (shown.price, shown.order_qty) == (D(805), D(12))

    tell(tmp_path, story)


def test_which_order_is_meant(tmp_path: Path) -> None:
    """The one that rests; the type chooses among several; without one there is nothing to do."""

    async def story(rig: Rig) -> None:
        assert (await rig.ended(await modify(rig, price="805"))).code == "NOTHING_OPEN"
        limit = await resting(rig)
        stop = await resting(rig, "sell", order_type="SL", price="780", trigger_price="785")
        several = await rig.ended(await modify(rig, price="779"))
        assert (several.disposition, several.code) == ("denied", "SEVERAL_ORDERS")
        assert limit.cl_ord_id in several.message
        assert stop.cl_ord_id in several.message
        moved = await rig.ended(await modify(rig, order_type="SL", trigger_price="790", price="784"))
        assert moved.code == "MODIFIED"
        assert order(rig, stop).intent.trigger_price == D(790)
        assert order(rig, limit).intent == limit.intent
        assert (await rig.ended(await modify(rig, order_type="LIMIT", trigger_price="790"))).code == "NOT_MODIFIABLE"

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"price": "800"}, "UNCHANGED"),
        ({"price": "800.01"}, "TICK"),
        ({"quantity": "101"}, "MAX_ORDER_QTY"),
        ({"quantity": "4"}, "NOT_MODIFIABLE"),
        ({"trigger_price": "790"}, "NOT_MODIFIABLE"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_terms_that_may_not_be_are_not_asked_for(tmp_path: Path, fields: dict[str, str], code: str) -> None:
    """Judged like a new order of these terms; less than what is filled is no change but a cancel."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        await rig.broker.fill(known.tag, 4, 800)
        assert (await rig.ended(await modify(rig, **fields))).code == code
        assert rig.broker.modified == []
        assert order(rig, known).replaces == 0

    tell(tmp_path, story, risk={"profile": "none", "max_order_qty": 100})


def test_more_than_the_exchange_takes_in_one_order_is_denied(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await resting(rig)
        assert (await rig.ended(await modify(rig, quantity="101"))).code == "FREEZE_QTY"
        assert rig.broker.modified == []

    tell(tmp_path, story, freeze_quantities=write_freezes(tmp_path, {"STATE BANK OF INDIA": 100}))


def test_a_halt_lets_exits_be_changed_and_no_entry_and_nothing_when_it_is_of_all(tmp_path: Path) -> None:
    """P6: a change of an entry may add exposure."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = D(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        await resting(rig, "sell", "5", price="900")
        entry = await resting(rig, "buy", "5", price="790", strategy="other", token_claims={"strategy": "other"})
        await rig.halt()
        denied = await rig.ended(await modify(rig, price="785", strategy="other", token_claims={"strategy": "other"}))
        assert denied.code == "HALTED"
        grown = await rig.ended(await modify(rig, quantity="20", price="880"))
        assert grown.code == "MODIFIED"  # P4: to what the position is
        assert grown.message == "10 units, price 880"
        await rig.halt(stop_all=True)
        assert (await rig.ended(await modify(rig, price="870"))).code == "HALTED"
        assert order(rig, entry).replaces == 0

    strategies = {name: {"accounts": ["paper"], "product": "MIS"} for name in ("demo", "other")}
    tell(tmp_path, story, strategies=strategies)


# -- what the broker may do ---------------------------------------------------------------------------------------------


def test_a_refusal_leaves_the_order_as_it_was(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(REFUSE)
        rig.broker.message = "Order cannot be modified"
        alert = await rig.ended(await modify(rig, price="805"))
        assert (alert.disposition, alert.code, alert.message) == ("failed", "MODIFY_REFUSED", "Order cannot be modified")
        now = order(rig, known)
        assert (now.status.value, now.intent.price, now.replace) == ("PLACED", D(800), None)

    tell(tmp_path, story)


@pytest.mark.parametrize("lost", [[LOST], [LOST_BUT_THERE], [NOT_SENT, LOST], [LOST_BUT_THERE, REFUSE]])
def test_a_lost_answer_is_asked_again_until_the_book_shows_the_terms(tmp_path: Path, lost: list[str]) -> None:
    """Asking for the same terms again does no harm; and a refusal after a lost answer says nothing of the first request."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.extend(lost)
        alert = await rig.ended(await modify(rig, price="805", quantity="7"))
        assert alert.code == "MODIFIED", alert
        assert (order(rig, known).intent.price, order(rig, known).intent.order_qty) == (D(805), D(7))

    tell(tmp_path, story)


def test_what_the_broker_took_and_does_not_do_is_asked_again_and_given_up(tmp_path: Path) -> None:
    """Meanwhile the larger quantity counts; a wish that never comes true must not wait for ever."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.extend([IDLE] * 100)
        alert_id = await modify(rig, quantity="30")
        await until(lambda: order(rig, known).replace is not None, "the request")
        assert order(rig, known).leaves_qty == 30
        rig.bridge.reconciler.look_at("paper")
        alert = await rig.ended(alert_id)
        assert (alert.disposition, alert.code) == ("failed", "MODIFY_REFUSED")
        assert "did not carry it out" in alert.message
        assert len(rig.broker.modified) > 1
        assert order(rig, known).leaves_qty == 10

    tell(tmp_path, story)


def test_a_refusal_that_was_a_lie_is_seen_in_the_book(tmp_path: Path) -> None:
    """The book has other terms than we believe: they are the order's, whoever made them."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(REFUSE_BUT_THERE)
        assert (await rig.ended(await modify(rig, quantity="30"))).code == "MODIFY_REFUSED"
        rig.clock.jump(seconds=6)
        for _ in range(2):
            await rig.bridge.reconciler.compare("paper")
        assert order(rig, known).intent.order_qty == 30
        assert "changed at the broker: 30 units, price 800" in [step.message for step in rig.steps(known.intent.alert_id)]

    tell(tmp_path, story)


def test_an_order_that_a_person_changes_in_the_brokers_app_is_followed(tmp_path: Path) -> None:
    """Only after two looks, since books lag behind; a third finds nothing to do."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.alter(known.tag, Terms(order_qty=D(25), price=D(790)))
        rig.clock.jump(seconds=6)
        await rig.bridge.reconciler.compare("paper")
        assert order(rig, known).intent.order_qty == 10
        for _ in range(2):
            await rig.bridge.reconciler.compare("paper")
        now = order(rig, known)
        assert (now.intent.order_qty, now.intent.price, now.leaves_qty) == (D(25), D(790), D(25))
        assert rig.step_names(known.intent.alert_id).count("order_replaced") == 1

    tell(tmp_path, story)


# -- what may happen meanwhile ------------------------------------------------------------------------------------------


def test_an_order_that_a_person_cut_down_to_what_was_filled_has_ended(tmp_path: Path) -> None:
    """It is complete there; what it never will fill must not keep an exit from closing the rest."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = D("800")
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        known = await resting(rig, "sell", "10", price="820")
        await rig.broker.fill(known.tag, 8, 820)
        rig.broker.alter(known.tag, Terms(order_qty=D(8)))
        rig.broker.rows[known.tag] = replace(rig.broker.rows[known.tag], status=OrderStatus.FILLED)
        rig.bridge.reconciler.look_at("paper")
        assert (await rig.ended(known.intent.alert_id)).code == "FILLED"
        rig.broker.fill_px = D("819")
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story)


@pytest.mark.parametrize(("filled", "code"), [(10, "ENDED_FIRST"), (4, "MODIFIED")])
def test_fills_that_race_with_a_change_are_counted_once(tmp_path: Path, filled: int, code: str) -> None:
    """The broker carries the change out, or has filled the order before it got there."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(IDLE)
        alert_id = await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        await rig.broker.fill(known.tag, filled, 800)
        if filled < 10:
            rig.broker.change(rig.broker.modified[0])
            rig.bridge.reconciler.look_at("paper")
        assert (await rig.ended(alert_id)).code == code
        assert rig.quantity() == filled

    tell(tmp_path, story)


def test_a_fill_that_is_newer_than_its_row_of_the_book_waits_for_the_terms(tmp_path: Path) -> None:
    """A broker's orders are read before its trades: the row may be of before the change, and a fill of after it."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(IDLE)
        alert_id = await modify(rig, quantity="15")
        await until(lambda: rig.broker.modified, "the request")
        before = rig.broker.rows[known.tag]
        rig.broker.change(rig.broker.modified[0])
        fill = rig.broker.execute(known.tag, D(15), D(800))
        await rig.broker.tell(*reports_of("paper", replace(before, cum_qty=D(15), cum_qty_then=D(0), fills=(fill,))))
        assert (await rig.ended(alert_id)).code == "MODIFIED"
        assert "15 filled" in (await rig.ended(known.intent.alert_id)).message
        assert rig.alarms() == []

    tell(tmp_path, story)


def test_a_quantity_down_to_what_was_filled_meanwhile_closes_the_order(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(IDLE)
        alert_id = await modify(rig, quantity="6")
        await until(lambda: rig.broker.modified, "the request")
        await rig.broker.fill(known.tag, 6, 800)
        assert order(rig, known).status.value == "REPLACE_PENDING"  # of ten, as far as anybody knows
        rig.broker.change(rig.broker.modified[0])
        rig.bridge.reconciler.look_at("paper")
        assert (await rig.ended(alert_id)).code == "MODIFIED"
        assert (await rig.ended(known.intent.alert_id)).code == "FILLED"
        assert order(rig, known).status.value == "FILLED"

    tell(tmp_path, story)


def test_an_order_that_filled_before_a_larger_quantity_was_refused_ends(tmp_path: Path) -> None:
    """While it might have been for more it was not closed; the refusal says that it was for no more."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)

        async def too_late(order: Order) -> Outcome:
            await rig.broker.fill(order.tag, 10, 800)
            assert rig.ledger.orders.get(known.cl_ord_id).status.value == "REPLACE_PENDING"
            return Outcome(kind=OutcomeKind.REFUSED, message="it is filled")

        rig.broker.modify = too_late  # type: ignore[method-assign]
        assert (await rig.ended(await modify(rig, quantity="12"))).code == "MODIFY_REFUSED"
        assert (await rig.ended(known.intent.alert_id)).code == "FILLED"

    tell(tmp_path, story)


def test_a_cancel_goes_before_a_change(tmp_path: Path) -> None:
    """The order ends cancelled, and whoever asked for the change hears of it."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(HANG)
        change = await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        await rig.ended(await rig.accept(action="cancel", price=None))
        assert (await rig.ended(known.intent.alert_id)).code == "CANCELLED_UNFILLED"
        assert (await rig.ended(change)).code == "ENDED_FIRST"

    tell(tmp_path, story, call_timeout_s=1)


@pytest.mark.parametrize("is_named", [False, True])
def test_a_cancel_ends_a_change_that_still_waits(tmp_path: Path, is_named: bool) -> None:
    """Where the broker refuses to cancel just now, the change would place anew what was to go."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(IDLE)
        await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        named = {"order": known.cl_ord_id} if is_named else {}
        waiting = await modify(rig, price="806", **named)
        rig.broker.cancels.append(REFUSE)
        cancel = await rig.ended(await rig.accept(action="cancel", price=None, **named))
        assert (cancel.code, cancel.message[:12]) == ("CANCELS_SENT", "1 open order")
        ended = await rig.ended(waiting)
        assert (ended.disposition, ended.code) == ("done", "CANCELLED_UNFILLED")
        assert ended.message.startswith("Nothing was changed: cancelled by alert")

    tell(tmp_path, story)


def test_a_halt_that_cancels_takes_an_order_that_is_being_changed(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.extend([IDLE] * 50)
        change = await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        await rig.halt(cancel=True)
        assert (await rig.ended(known.intent.alert_id)).code == "CANCELLED_UNFILLED"
        assert (await rig.ended(change)).code == "ENDED_FIRST"

    tell(tmp_path, story)


def test_an_exit_withdraws_a_resting_exit_that_is_being_changed(tmp_path: Path) -> None:
    """P4: both together would sell the position twice."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = D(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        await resting(rig, "sell", price="900")
        rig.broker.modifies.extend([IDLE] * 50)
        change = await modify(rig, price="880")
        await until(lambda: rig.broker.modified, "the request")
        rig.broker.fill_px = D(801)
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
        assert (await rig.ended(change)).code == "ENDED_FIRST"
        assert rig.quantity() == 0

    tell(tmp_path, story)


def test_changes_of_one_order_come_one_after_the_other(tmp_path: Path) -> None:
    """The second waits for the broker's word on the first."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.modifies.append(IDLE)
        first = await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        second = await modify(rig, price="810")
        assert rig.alert(second).disposition is None
        rig.broker.change(rig.broker.modified[0])
        rig.bridge.reconciler.look_at("paper")
        assert (await rig.ended(first)).message == "10 units, price 805"
        assert (await rig.ended(second)).message == "10 units, price 810"
        assert (order(rig, known).intent.price, order(rig, known).replaces) == (D(810), 2)

    tell(tmp_path, story)


def test_a_change_holds_up_no_entry_and_no_exit(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await resting(rig)
        rig.broker.modifies.append(HANG)
        await modify(rig, price="805")
        await until(lambda: rig.broker.modified, "the request")
        rig.broker.fill_px = D(800)
        assert (await rig.ended(await rig.accept(action="buy", quantity="3"))).code == "FILLED"
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"

    tell(tmp_path, story, call_timeout_s=1)


# -- at the broker's limit ----------------------------------------------------------------------------------------------


def test_beyond_the_brokers_limit_the_order_is_cancelled_and_placed_anew(tmp_path: Path) -> None:
    """What is left goes under the new terms, as an order of the alert that changes."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        for price in ("801", "802"):
            assert (await rig.ended(await modify(rig, price=price))).code == "MODIFIED"
        await rig.broker.fill(known.tag, 4, 802)
        change = await modify(rig, price="803")
        assert (await rig.ended(known.intent.alert_id)).code == "PARTLY_FILLED"
        anew = await rig.order_in(change, "PLACED")
        assert (anew.intent.order_qty, anew.intent.price) == (D(6), D(803))
        assert order(rig, known).replace is None
        assert len(rig.broker.modified) == 2
        await rig.broker.fill(anew.tag, 6, 803)
        assert (await rig.ended(change)).code == "FILLED"
        assert rig.quantity() == 10

    tell(tmp_path, story, max_replaces=2)


def test_a_cancel_whose_answer_was_lost_and_is_then_refused_still_places_anew(tmp_path: Path) -> None:
    """Kite refuses to cancel what has ended: the first request may have ended it, and only the book knows."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.cancels.extend([LOST, REFUSE])
        alert_id = await modify(rig, price="805")
        rig.broker.end(known.tag, OrderStatus.CANCELLED)
        anew = await rig.order_in(alert_id, "PLACED")
        assert (anew.intent.order_qty, anew.intent.price) == (D(10), D(805))
        assert order(rig, known).status.value == "CANCELLED"

    tell(tmp_path, story, max_replaces=0)


def test_an_order_that_fills_before_its_cancel_is_not_placed_anew(tmp_path: Path) -> None:
    """P2: never both."""

    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.cancels.append(IDLE)
        change = await modify(rig, price="803")
        await until(lambda: rig.broker.cancelled, "the request")
        await rig.broker.fill(known.tag, 10, 800)
        assert (await rig.ended(change)).code == "ENDED_FIRST"
        assert len(rig.broker.sent) == 1
        assert rig.quantity() == 10

    tell(tmp_path, story, max_replaces=0)


def test_a_cancel_that_comes_meanwhile_is_the_end_of_it(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        known = await resting(rig)
        rig.broker.cancels.append(IDLE)
        change = await modify(rig, price="803")
        await until(lambda: rig.broker.cancelled, "the request")
        await rig.ended(await rig.accept(action="cancel", price=None))
        assert (await rig.ended(change)).code == "ENDED_FIRST"
        assert (await rig.ended(known.intent.alert_id)).code == "CANCELLED_UNFILLED"
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story, max_replaces=0)


def test_an_exit_that_may_not_be_placed_anew_leaves_the_position_and_says_so(tmp_path: Path) -> None:
    """A halt of everything between the cancel and the new order: an alarm, since nothing protects the position now."""

    async def story(rig: Rig) -> None:
        rig.broker.fill_px = D(800)
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        rig.broker.fill_px = None
        known = await resting(rig, "sell", price="900")
        rig.broker.cancels.append(IDLE)
        change = await modify(rig, price="880")
        await until(lambda: rig.broker.cancelled, "the request")
        await rig.halt(stop_all=True)
        assert rig.alarms() == []
        await rig.broker.tell(rig.broker.end(known.tag, order(rig, known).status.CANCELLED))
        assert (await rig.ended(change)).code == "HALTED"
        assert any("the position is still open" in told for told in rig.alarms())

    tell(tmp_path, story, max_replaces=0)


# -- crashes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [HANG, LOST, LOST_BUT_THERE, IDLE])
def test_a_crash_while_the_answer_is_awaited_ends_with_the_terms_known(tmp_path: Path, answer: str) -> None:
    """The next process asks again; the alert ends once."""

    async def before(rig: Rig) -> tuple[Order, str]:
        known = await resting(rig)
        rig.broker.modifies.extend([answer] if answer != LOST else [LOST] * 100)
        alert_id = await modify(rig, price="805", quantity="12")
        await until(lambda: rig.broker.modified, "the request")
        return known, alert_id

    async def after(rig: Rig, found: tuple[Order, str]) -> None:
        known, alert_id = found
        rig.broker.modifies.clear()
        assert (await rig.ended(alert_id)).code == "MODIFIED"
        assert (order(rig, known).intent.order_qty, order(rig, known).status.value) == (D(12), "PLACED")

    crash(tmp_path, before, after)


def test_a_crash_before_the_order_is_there_leaves_the_change_waiting(tmp_path: Path) -> None:
    """It came while the order's own answer was awaited."""

    async def before(rig: Rig) -> str:
        rig.broker.answers.append(HANG)
        alert_id = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
        known = await rig.order_in(alert_id, "PENDING")
        change = await modify(rig, price="805")
        rig.broker.take(known)
        assert rig.alert(change).disposition is None
        return change

    async def after(rig: Rig, change: str) -> None:
        assert (await rig.ended(change)).code == "MODIFIED"

    crash(tmp_path, before, after)


@pytest.mark.parametrize("point", ["cancel asked", "placed anew"])
def test_a_crash_while_an_order_is_placed_anew_makes_it_once(tmp_path: Path, point: str) -> None:
    """P2 at both points: before the old one has ended, and before the new one has filled."""

    async def before(rig: Rig) -> tuple[Order, str]:
        known = await resting(rig)
        if point == "cancel asked":
            rig.broker.cancels.append(IDLE)
        change = await modify(rig, price="805")
        await until(lambda: rig.broker.cancelled, "the cancel")
        if point == "placed anew":
            await rig.order_in(change, "PLACED")
        return known, change

    async def after(rig: Rig, found: tuple[Order, str]) -> None:
        known, change = found
        anew = await rig.order_in(change, "PLACED")
        assert rig.broker.rows[known.tag].status.value == "CANCELLED"
        await rig.broker.fill(anew.tag, 10, 805)
        assert (await rig.ended(change)).code == "FILLED"
        assert len(rig.broker.sent) == 2
        assert rig.quantity() == 10

    crash(tmp_path, before, after, max_replaces=0)
