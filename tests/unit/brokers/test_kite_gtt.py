"""Triggers at Kite as the bridge's orders: what is sent, whose a trigger is, and what became of it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.brokers.kite.gtt import find_ours, merge_triggers, read_trigger_id, trigger_id, write_gtt
from bridge.brokers.kite.mapping import UNREADABLE
from bridge.core.enums import OrdType, Product, Side
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow
from bridge.core.values import evolve
from tests.unit.brokers.paper_kit import NOW, make_order, make_protection

D = Decimal
S = OrderStatus
LEG = {"exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "SELL", "quantity": 10, "order_type": "LIMIT",
       "product": "MIS", "result": None}  # fmt: skip


def trigger(number: int = 7, values: tuple[float, ...] = (950.0, 1050.0), **more: Any) -> dict[str, Any]:
    """A trigger as Kite tells it; ten SBIN are to be sold."""
    legs = [{**LEG, "price": value - 10} for value in values]
    return {
        "id": number, "status": "active", "created_at": "2026-11-20 10:30:00", "updated_at": "2026-11-20 10:30:00",
        "condition": {"exchange": "NSE", "tradingsymbol": "SBIN", "trigger_values": list(values), "last_price": 1000.0},
        "orders": legs, **more,
    }  # fmt: skip


def fired(order_id: str, **more: Any) -> list[dict[str, Any]]:
    """The legs of a trigger of which the lower one has fired."""
    result = {"order_result": {"status": "success", "order_id": order_id, "rejection_reason": "", **more}, "timestamp": ""}
    return [{**LEG, "price": 940, "result": result}, {**LEG, "price": 1040}]


def both(number: int = 1, **values: Any) -> Order:
    return make_protection(number, stop="950", target="1050", **values)


def row(ident: str, status: OrderStatus = S.FILLED, cum_qty: int = 10) -> BookRow:
    """An ordinary order of Kite's book, without a tag."""
    return BookRow(
        broker_order_id=ident, tag="", symbol="NSE:SBIN", side=Side.SELL, product=Product.MIS, ord_type=OrdType.LIMIT,
        order_qty=D(10), cum_qty=D(cum_qty), status=status, message="", updated_at=NOW,
    )  # fmt: skip


def only(told: list[Any], order: Order, *rows: BookRow, days: int = 0) -> BookRow:
    """The one row that is left of a trigger and the book."""
    (found,), odd = merge_triggers(rows, told, [order], NOW + timedelta(days=days))
    assert odd == []
    return found


# -- out ----------------------------------------------------------------------------------------------------------------


def test_two_legs_go_in_the_order_of_their_prices() -> None:
    """For a short position the stop is the upper one."""
    words = write_gtt(make_protection(1, Side.BUY, 5, stop="1050", target="950"), D("1000.5"))
    assert (words["trigger_type"], words["trigger_values"], words["last_price"]) == ("two-leg", [950.0, 1050.0], 1000.5)
    assert [(one["transaction_type"], one["quantity"], one["price"]) for one in words["orders"]] == [
        ("BUY", 5, 960.0), ("BUY", 5, 1060.0),
    ]  # fmt: skip


def test_one_leg_is_a_single_trigger() -> None:
    """With its one price."""
    words = write_gtt(make_protection(1, target="1050"), D(1000))
    assert (words["trigger_type"], words["trigger_values"], len(words["orders"])) == ("single", [1050.0], 1)


@pytest.mark.parametrize(
    ("order", "last", "why"),
    [
        (both(), D(950), "The stop of 950 is met already: the last price is 950"),
        (both(), D(1051), "The target of 1050 is met already"),
        (make_protection(1, Side.BUY, stop="1050", target="950"), D(1050), "The stop of 1050 is met already"),
        (make_protection(1, Side.BUY, stop="1050", target="950"), D(949), "The target of 950 is met already"),
        (both(), None, "No price is known"),
        (make_protection(1, qty="1.5", stop="950"), D(1000), "whole units only"),
        (make_order(1), D(1000), "nothing to wait for"),
    ],
)
def test_what_kite_would_understand_otherwise_is_not_sent(order: Order, last: Decimal | None, why: str) -> None:
    """A trigger below the last price waits for a fall, whatever it was meant for."""
    with pytest.raises(ValueError, match=why):
        write_gtt(order, last)


def test_an_id_is_marked_as_a_triggers() -> None:
    """Orders and triggers are counted apart at Kite."""
    assert read_trigger_id({"data": {"trigger_id": 123}}) == read_trigger_id({"data": {"trigger_id": "123"}}) == "gtt:123"
    assert (trigger_id("gtt:123"), trigger_id(None)) == ("123", "")
    wrong: Any
    for wrong in ({"data": {}}, {"data": {"trigger_id": None}}, {"data": {"trigger_id": True}}, {"data": None}, {}):
        with pytest.raises(UNREADABLE):
            read_trigger_id(wrong)


# -- whose it is --------------------------------------------------------------------------------------------------------


def test_a_known_id_is_enough() -> None:
    """The order may have been changed by hand since."""
    order = evolve(both(), broker_order_id="gtt:7")
    assert find_ours([trigger(values=(1.0, 2.0))], [order]) == [(order, trigger(values=(1.0, 2.0)))]


@pytest.mark.parametrize(
    "other",
    [
        trigger(values=(950.0,)), trigger(values=(951.0, 1050.0)), trigger(created_at="2026-11-20 10:29:00"),
        trigger(orders=[{**LEG, "quantity": 9}] * 2), trigger(orders=[{**LEG, "product": "CNC"}] * 2),
        trigger(orders=[{**LEG, "transaction_type": "BUY"}] * 2),
        trigger(condition={**trigger()["condition"], "tradingsymbol": "INFY"}),
    ],
)  # fmt: skip
def test_without_an_id_the_whole_content_has_to_fit(other: dict[str, Any]) -> None:
    """Symbol, side, product, quantity, triggers, and not from before."""
    order = both()
    assert find_ours([trigger()], [order]) == [(order, trigger())]
    assert find_ours([other], [order]) == []


def test_a_trigger_belongs_to_one_order() -> None:
    """One that is known by its id is not another's; of two unsent orders the first takes it; what never left has none."""
    known, unknown, unsent = evolve(both(1), broker_order_id="gtt:7"), both(2), evolve(both(3), sends=0)
    assert find_ours([trigger(7)], [unknown, known]) == [(known, trigger(7))]
    assert find_ours([trigger(7)], [unsent, unknown]) == [(unknown, trigger(7))]
    assert find_ours([trigger(7)], [make_order(4), unknown, both(5)]) == [(unknown, trigger(7))]


@pytest.mark.parametrize("ended", [S.CANCELLED, S.REJECTED])
def test_a_trigger_is_rather_that_of_an_order_in_doubt_than_of_one_that_has_ended(ended: OrderStatus) -> None:
    """One that never left, and was withdrawn, has the content of the one that was made in its place."""
    withdrawn, doubted = evolve(both(1), sends=1, status=ended), evolve(both(2), sends=1, status=S.IN_DOUBT)
    for ours in ([withdrawn, doubted], [doubted, withdrawn]):
        assert find_ours([trigger(7)], ours) == [(doubted, trigger(7))]
    assert find_ours([trigger(7)], [withdrawn]) == [(withdrawn, trigger(7))]


def test_two_triggers_of_one_order_are_both_shown() -> None:
    """A double order is for a person to see."""
    rows, _odd = merge_triggers([], [trigger(7), trigger(8)], [both()], NOW)
    assert [(one.tag, one.broker_order_id) for one in rows] == [(both().tag, "gtt:7"), (both().tag, "gtt:8")]


# -- what became of it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [("active", S.PLACED), ("deleted", S.CANCELLED), ("cancelled", S.CANCELLED), ("disabled", S.CANCELLED),
     ("expired", S.EXPIRED), ("rejected", S.REJECTED)],
)  # fmt: skip
def test_the_state_of_a_trigger_is_that_of_the_order(status: str, expected: OrderStatus) -> None:
    """With Kite's own word where it has ended."""
    found = only([trigger(status=status)], both())
    assert (found.status, found.cum_qty, found.ord_type) == (expected, ZERO, OrdType.GTT)
    assert (status in found.message) is (expected is not S.PLACED)


def test_an_unknown_state_counts_as_resting_and_is_told() -> None:
    """What is not known has not ended."""
    (found,), odd = merge_triggers([], [trigger(status="paused")], [both()], NOW)
    assert found.status is S.PLACED
    assert "paused" in odd[0]


def test_the_order_of_a_trigger_gives_state_and_fills() -> None:
    """It is not shown beside it; other orders stay."""
    placed, other = row("11", S.PARTIAL, 4), row("12")
    rows, _odd = merge_triggers([placed, other], [trigger(status="triggered", orders=fired("11"))], [both()], NOW)
    assert rows[0] is other
    assert (rows[1].broker_order_id, rows[1].tag, rows[1].status, rows[1].cum_qty) == ("gtt:7", both().tag, S.PARTIAL, D(4))
    assert rows[1].message == "Triggered: order 11."


def test_an_order_that_was_refused_ends_the_protection() -> None:
    """With the broker's reason."""
    legs = fired("", status="failed", rejection_reason="Insufficient holdings")
    found = only([trigger(status="triggered", orders=legs)], both())
    assert (found.status, "Insufficient holdings" in found.message) == (S.REJECTED, True)


def test_a_triggered_order_that_is_not_in_the_book_yet_works() -> None:
    """The book may be behind; but one of an earlier day is in no book any more."""
    for legs in (fired("11"), [LEG, LEG]):
        assert only([trigger(status="triggered", orders=legs)], both()).status is S.PLACED
    late = only([trigger(status="triggered", orders=fired("11"))], both(), days=1)
    assert (late.status, "order 11" in late.message) == (S.EXPIRED, True)


def test_without_protections_the_book_is_as_it_was() -> None:
    """Other people's triggers are not ours to show."""
    rows = [row("11")]
    assert merge_triggers(rows, [trigger()], [], NOW) == (rows, [])
    assert merge_triggers(rows, [trigger()], [replace(both(), sends=0)], NOW)[0] == rows


@pytest.mark.parametrize("told", [None, {}, {"id": 1}, {**trigger(), "orders": None}, {**trigger(), "condition": []}])
def test_what_is_no_trigger_is_unreadable(told: Any) -> None:
    """Never passed over: it might be ours."""
    with pytest.raises(UNREADABLE):
        merge_triggers([], [told], [both()], NOW)
