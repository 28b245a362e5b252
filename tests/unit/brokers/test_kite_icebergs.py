"""Icebergs at Kite: how an order is cut into legs, and how the legs' rows become one order again."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.kite.icebergs import Leg, cut_legs, merge_legs, read_leg
from bridge.brokers.kite.mapping import read_row, write_order
from bridge.core.enums import OrdType, Side, Variety
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow
from bridge.sandbox.kite.values import order_row
from tests.support.kite import make_box, place
from tests.unit.brokers.paper_kit import make_order

D = Decimal
COMPLETE, OPEN = OrderStatus.FILLED, OrderStatus.PLACED


def make_rows(*legs: tuple[int, int, OrderStatus], tag: str = "T" * 15, first_id: int = 1) -> list[BookRow]:
    """Rows by leg: quantity, filled, status."""
    order = make_order(1, Side.BUY, 1, ord_type=OrdType.LIMIT, price="800")
    row = read_row("zerodha", order_row(place(make_box(), **_words(order))), [])
    return [
        replace(row, broker_order_id=str(first_id + n), tag=tag, order_qty=D(qty), cum_qty=D(filled), status=status)
        for n, (qty, filled, status) in enumerate(legs)
    ]


def _words(order: Any) -> dict[str, Any]:
    return {name: value for name, value in write_order(order, D(-1)).items() if name != "variety"}


def as_legs(rows: list[BookRow], total: int) -> list[Leg]:
    gone, legs = 0, []
    for number, row in enumerate(rows, start=1):
        gone += int(row.order_qty)
        legs.append(Leg(D(number), D(total), D(total - gone), row))
    return legs


# -- cutting ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5_000), st.integers(2, 50), st.sampled_from([1, 30, 65]))
def test_legs_make_the_whole_order_in_whole_lots(lots: int, wanted: int, lot: int) -> None:
    """At most as many legs as wanted, each of whole lots, and all of them together the order."""
    quantity = D(lots * lot)
    legs, size = cut_legs(quantity, wanted, D(lot))
    assert 1 <= legs <= wanted
    assert size % lot == 0
    assert size * (legs - 1) < quantity <= size * legs


@given(st.integers(1, 300), st.integers(2, 50))
def test_the_sandbox_takes_every_cut(quantity: int, wanted: int) -> None:
    """What is sent is what the vendor asks for: so many legs, of so many units."""
    order = make_order(1, Side.BUY, quantity, ord_type=OrdType.LIMIT, price="800", variety=Variety.ICEBERG, iceberg_legs=wanted)
    legs = cut_legs(order.intent.order_qty, wanted, D(1))
    sent = write_order(order, D(-1), legs)
    variety = sent.pop("variety")
    assert variety == ("iceberg" if legs[0] > 1 else "regular")
    placed = place(make_box(), variety, **sent)
    assert placed.quantity == int(legs[1])
    leg = read_leg(order_row(placed), read_row("zerodha", order_row(placed), []))
    assert (leg is not None) is (legs[0] > 1)


# -- merging ------------------------------------------------------------------------------------------------------------


def test_legs_are_one_order_under_the_first_ones_id() -> None:
    """Quantities add up, and the newest leg is the one to cancel."""
    rows = make_rows((4, 4, COMPLETE), (4, 1, OPEN))
    ((merged,), newest) = merge_legs(rows, as_legs(rows, 10))
    assert (merged.broker_order_id, merged.order_qty, merged.cum_qty) == ("1", D(10), D(5))
    assert merged.status is OrderStatus.PARTIAL
    assert newest == {"1": "2"}


def test_order_is_not_filled_between_two_legs() -> None:
    """One leg is through and the next is not there yet."""
    rows = make_rows((4, 4, COMPLETE))
    assert merge_legs(rows, as_legs(rows, 10))[0][0].status is OrderStatus.PARTIAL


def test_order_has_ended_with_its_last_leg() -> None:
    """Filled when nothing remains, cancelled when a leg was cancelled or rejected."""
    whole = make_rows((4, 4, COMPLETE), (6, 6, COMPLETE))
    assert merge_legs(whole, as_legs(whole, 10))[0][0].status is OrderStatus.FILLED
    for end in (OrderStatus.CANCELLED, OrderStatus.REJECTED):
        cut = make_rows((4, 4, COMPLETE), (4, 0, end))
        assert merge_legs(cut, as_legs(cut, 10))[0][0].status is OrderStatus.CANCELLED
        first = make_rows((4, 0, end))
        assert merge_legs(first, as_legs(first, 10))[0][0].status is end


def test_two_first_legs_stay_apart() -> None:
    """A double order must be seen as one, not hidden in a sum."""
    rows = [*make_rows((4, 4, COMPLETE)), *make_rows((4, 0, OPEN), first_id=7)]
    merged, newest = merge_legs(rows, [*as_legs(rows[:1], 10), *as_legs(rows[1:], 10)])
    assert sorted(row.broker_order_id for row in merged) == ["1", "7"]
    assert newest == {}


@given(st.permutations(range(4)))
def test_the_order_of_rows_does_not_matter(places: list[int]) -> None:
    """The vendor promises none."""
    rows = make_rows((3, 3, COMPLETE), (3, 3, COMPLETE), (3, 2, OPEN))
    other = make_rows((5, 0, OPEN), tag="", first_id=20)
    legs = as_legs(rows, 10)
    mixed = [[*rows, *other][place] for place in places]
    merged, _newest = merge_legs(mixed, [legs[place] for place in places if place < 3])
    assert {(row.broker_order_id, row.order_qty, row.cum_qty) for row in merged} == {("1", D(10), D(8)), ("20", D(5), D(0))}


def test_leg_that_cannot_be_read_stays_a_row() -> None:
    """Nothing is guessed of what the vendor writes otherwise than documented."""
    (row,) = make_rows((4, 0, OPEN))
    for meta in (None, {}, "x", {"iceberg": "x"}, {"iceberg": {"leg": 1}}, {"iceberg": {"leg": "x", "total_quantity": 1}}):
        assert read_leg({"meta": meta}, row) is None
