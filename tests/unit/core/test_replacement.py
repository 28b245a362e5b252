"""A change of an order that works: what it may fill meanwhile, when it closes, and what is left of the change then."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.decision import Approved
from bridge.core.enums import OrdType, Product, Side, TimeInForce
from bridge.core.fill import Fill
from bridge.core.order import Order, apply_event, apply_fill, create_order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.replacement import Replacement, Terms, terms_of, with_terms
from bridge.core.signal import OrderIntent

NOW = datetime(2026, 11, 20, 4, 15, tzinfo=UTC)
S, E, D = OrderStatus, OrderEventKind, Decimal


def working(order_qty: int = 10, **changes: object) -> Order:
    """A limit order that works at the broker."""
    intent = OrderIntent(
        alert_id="01M7Y30VFDHCFSB4QJ57EQTXP5", leg=1, account="paper", strategy="demo", symbol="NSE:SBIN",
        product=Product.MIS, side=Side.BUY, order_qty=D(order_qty), ord_type=OrdType.LIMIT, time_in_force=TimeInForce.DAY,
        price=D(100), trigger_price=None, reduce_only=False, signal_at=NOW, received_at=NOW,
    )  # fmt: skip
    return replace(create_order(Approved(intent=intent, reference_px=None), NOW), **{"status": S.PLACED, **changes})  # type: ignore[arg-type]


def wish(order_qty: int, price: object = None, *, renews: bool = False) -> Replacement:
    terms = Terms(order_qty=D(order_qty), price=None if price is None else D(str(price)))
    return Replacement(alert_id="B", terms=terms, signal_at=NOW, renews=renews)


def fill(order: Order, qty: int) -> Order:
    return apply_fill(
        order,
        Fill(
            account="paper", exec_id=f"X{len(order.exec_ids)}", cl_ord_id=order.cl_ord_id, broker_order_id="b1",
            strategy="demo", symbol="NSE:SBIN", product=Product.MIS, side=Side.BUY, last_qty=D(qty), last_px=D(100),
            charges=D(0), transact_time=NOW,
        ),
        NOW,
    )  # fmt: skip


def asked(order: Order, wished: Replacement) -> Order:
    event = E.CANCEL_ASKED if wished.renews else E.REPLACE_ASKED
    return apply_event(order, event, NOW, replace=wished)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30), st.sampled_from([E.REPLACED, E.REPLACE_REFUSED]))
def test_while_a_change_is_asked_the_larger_quantity_counts(old: int, new: int, filled: int, answer: OrderEventKind) -> None:
    """Nobody knows which terms the broker has: what is left is the larger, and only the answer settles it (P5)."""
    order = asked(working(old), wish(new))
    assert (order.status, order.leaves_qty) == (S.REPLACE_PENDING, D(max(old, new)))
    filled %= max(old, new)
    order = fill(order, filled) if filled else order
    assert (order.status, order.leaves_qty) == (S.REPLACE_PENDING, D(max(old, new) - filled))
    after = apply_event(order, answer, NOW)
    quantity = new if answer is E.REPLACED else old
    assert after.intent.order_qty == quantity
    assert after.replace is None
    expected = S.FILLED if order.cum_qty >= quantity else S.PARTIAL if order.cum_qty else S.PLACED
    assert after.status is expected


def test_all_that_may_be_filled_closes_it_and_ends_the_change() -> None:
    """Filled to the larger of both, it is closed whatever the broker answers; nothing is asked of it any more."""
    order = fill(asked(working(10), wish(4)), 10)
    assert (order.status, order.replace, order.replaces) == (S.FILLED, None, 1)


@pytest.mark.parametrize("end", [E.CANCELLED, E.REJECTED, E.EXPIRED])
def test_the_end_of_the_order_is_the_end_of_the_change(end: OrderEventKind) -> None:
    """An order that ended elsewhere is not changed any more."""
    order = apply_event(asked(working(), wish(20)), end, NOW)
    assert order.status.is_closed
    assert (order.replace, order.leaves_qty) == (None, D(0))


def test_a_cancel_goes_before_a_change_and_what_was_asked_still_counts() -> None:
    """The broker may have carried the change out before the cancel: until the end, the larger quantity counts."""
    order = apply_event(asked(working(10), wish(20)), E.CANCEL_ASKED, NOW)
    assert (order.status, order.leaves_qty) == (S.CANCEL_PENDING, D(20))
    assert apply_event(order, E.CANCEL_REFUSED, NOW).status is S.REPLACE_PENDING
    changed = apply_event(order, E.REPLACED, NOW)
    assert (changed.status, changed.intent.order_qty, changed.replace) == (S.CANCEL_PENDING, D(20), None)
    assert apply_event(changed, E.CANCEL_REFUSED, NOW).status is S.PLACED


def test_a_renewal_keeps_the_terms_that_the_broker_has_and_waits_for_the_cancel() -> None:
    """What is cancelled to be placed anew is still the old order; only its being cancelled leaves the wish standing."""
    order = asked(working(10), wish(20, renews=True))
    assert (order.status, order.leaves_qty, order.replaces) == (S.CANCEL_PENDING, D(10), 1)
    assert fill(order, 10).replace is None
    assert apply_event(order, E.EXPIRED, NOW).replace is None
    assert apply_event(order, E.CANCELLED, NOW).replace == order.replace
    refused = apply_event(order, E.CANCEL_REFUSED, NOW)
    assert (refused.status, refused.replace) == (S.PLACED, None)


def test_terms_are_compared_as_far_as_the_type_has_them_and_both_tell() -> None:
    """A market order's price is what the sender saw, and a broker may not tell every price."""
    ours = Terms(order_qty=D(10), price=D(100), trigger_price=D(99))
    assert ours.agree(Terms(order_qty=D(10), price=D(101), trigger_price=D(98)), OrdType.MARKET)
    assert ours.agree(Terms(order_qty=D(10), price=D(101), trigger_price=D(99)), OrdType.SL_M)
    assert not ours.agree(Terms(order_qty=D(10), price=D(101), trigger_price=D(99)), OrdType.SL)
    assert ours.agree(Terms(order_qty=D(10)), OrdType.SL)
    assert not ours.agree(Terms(order_qty=D(9)), OrdType.MARKET)


def test_terms_of_an_order_are_those_of_its_type_and_unsaid_prices_stay() -> None:
    """Changing the quantity alone leaves the price alone."""
    intent = working().intent
    assert terms_of(intent) == Terms(order_qty=D(10), price=D(100))
    assert terms_of(replace(intent, ord_type=OrdType.MARKET)) == Terms(order_qty=D(10))
    assert with_terms(intent, Terms(order_qty=D(7))).price == D(100)
    assert with_terms(intent, Terms(order_qty=D(7), price=D(101))).price == D(101)
