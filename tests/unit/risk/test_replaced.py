"""New terms of an order that works: judged as an entry of what is left, with the order itself not counted twice."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.decision import Approved
from bridge.core.enums import OrdType, Side
from bridge.core.limits import OFF
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.replacement import Replacement, Terms, with_terms
from bridge.risk.usage import open_book
from tests.unit.risk.builders import ACCOUNT, NOW, PRICE, SYMBOL, D, World, approved, denied, make_intent


def limit_order(qty: int, price: object = PRICE, **changes: Any):
    return make_intent(qty, ord_type=OrdType.LIMIT, price=D(str(price)), **changes)


def left(order: Order, qty: int, price: object = PRICE):
    """What would be left of an order under new terms."""
    terms = Terms(order_qty=D(qty), price=D(str(price)))
    return replace(with_terms(order.intent, terms), order_qty=D(qty) - order.cum_qty)


def test_the_order_itself_is_not_counted_twice() -> None:
    """At the limit already, the same quantity at another price is as much as before; one unit more is too much."""
    world = World()
    order = world.order(limit_order(10))
    for limits in (replace(OFF, max_position_qty=D(10)), replace(OFF, max_order_qty=D(10)), replace(OFF, max_open_positions=1)):
        approved(world.check(left(order, 10, "99.95"), limits, replaced=order))
    denied(world.check(left(order, 11), replace(OFF, max_position_qty=D(10)), replaced=order), Reason.MAX_POSITION_QTY)
    approved(world.check(left(order, 10), replace(OFF, max_exposure=D(1_000)), replaced=order))
    denied(world.check(left(order, 10, "100.05"), replace(OFF, max_exposure=D(1_000)), replaced=order), Reason.MAX_EXPOSURE)


def test_what_was_filled_before_belongs_to_the_order_still() -> None:
    """The largest order is meant of the whole order, not of what is left of it after each part."""
    world = World().hold(8)
    order = world.order(limit_order(10), filled=8, status=OrderStatus.PARTIAL)
    limits = replace(OFF, max_order_qty=D(12))
    approved(world.check(left(order, 12), limits, replaced=order))
    assert "for 13 units" in denied(world.check(left(order, 13), limits, replaced=order), Reason.MAX_ORDER_QTY).message
    denied(world.check(left(order, 13), replace(OFF, max_order_value=D(1_250)), replaced=order), Reason.MAX_ORDER_VALUE)


def test_a_change_is_no_new_order_in_the_count_of_a_minute() -> None:
    """Rates are of orders made; what an exchange allows of changes is far less than of orders."""
    world = World().made(1)
    order = world.order(limit_order(10))
    limits = replace(OFF, max_orders_per_minute=1, max_orders_per_minute_per_symbol=1, min_order_gap_s=D(5))
    approved(world.check(left(order, 9), limits, replaced=order))
    denied(world.check(limit_order(9), limits), Reason.ORDER_RATE)


def test_an_exit_may_grow_to_what_can_be_closed_and_no_further() -> None:
    """P4: of a position of 10, with 4 of them being closed by another order, this one may close 6."""
    world = World().hold(10)
    order = world.order(limit_order(3, side=Side.SELL, reduce_only=True))
    world.order(limit_order(4, side=Side.SELL, reduce_only=True))
    approved(world.check(left(order, 6), replaced=order))
    capped = world.check(left(order, 7), replaced=order)
    assert isinstance(capped, Approved)
    assert (capped.intent.order_qty, capped.intent.reduce_only) == (D(6), True)
    assert capped.capped_by is not None
    assert capped.capped_by.reason is Reason.EXIT_IN_FLIGHT


@given(st.integers(1, 40), st.integers(1, 40), st.integers(90, 110), st.integers(90, 110))
def test_while_nobody_knows_which_terms_it_has_the_dearer_and_larger_count(old: int, new: int, px: int, new_px: int) -> None:
    """P5: exposure of an order being changed is at least that of either terms."""

    def exposure(*orders: Order) -> D:
        world = World()
        for order in orders:
            world.ledger.orders.set(order.cl_ord_id, order)
        book = open_book(world.ledger, make_intent(1), multiplier=D(1), multipliers={}, strategy=None)
        return book.exposure

    order = World().order(limit_order(old, px))
    terms = Terms(order_qty=D(new), price=D(new_px))
    wished = Replacement(alert_id="B", terms=terms, signal_at=NOW)
    asked = replace(order, status=OrderStatus.REPLACE_PENDING, replace=wished)
    assert exposure(asked) >= max(exposure(order), exposure(replace(order, intent=with_terms(order.intent, terms))))


@given(st.integers(-20, 20), st.integers(1, 20), st.integers(0, 19), st.integers(1, 40))
def test_new_terms_are_judged_like_an_order_in_the_place_of_the_old_one(held: int, qty: int, filled: int, new: int) -> None:
    """With the order replaced, the answer is the one that the rest of it would get if the order were not there."""
    filled %= qty
    new = max(new, filled + 1)
    limits = replace(OFF, max_position_qty=D(15), max_exposure=D(2_000), require_buying_power=True)
    world, without = World().hold(held).funds(2_500), World().hold(held).funds(2_500)
    order = world.order(limit_order(qty), filled=filled)
    intent = left(order, new)
    there, gone = world.check(intent, limits, replaced=order), without.check(intent, limits)
    assert isinstance(there, Approved) == isinstance(gone, Approved)
    assert world.ledger.open_orders(ACCOUNT, SYMBOL) == [order]
