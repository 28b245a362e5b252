"""The order's state table, edge by edge, and what an illegal event must not do."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.decision import Approved
from bridge.core.enums import OrdType, Product, Side, TimeInForce
from bridge.core.errors import IllegalTransitionError
from bridge.core.fill import Fill
from bridge.core.order import Order, apply_event, apply_fill, create_order
from bridge.core.order_states import CLOSED, TABLE, OrderEventKind, OrderStatus, next_status
from bridge.core.signal import OrderIntent

NOW = datetime(2026, 11, 20, 4, 15, tzinfo=UTC)
S, E = OrderStatus, OrderEventKind

# Written out by hand from the design, not from the table under test.
EDGES = {
    S.NEW: {S.PENDING, S.CANCELLED, S.EXPIRED},
    S.PENDING: {S.PLACED, S.PARTIAL, S.FILLED, S.REJECTED, S.NEW, S.IN_DOUBT},
    S.IN_DOUBT: {S.PLACED, S.PARTIAL, S.FILLED, S.CANCELLED, S.REJECTED, S.NEW, S.EXPIRED},
    S.PLACED: {S.PLACED, S.PARTIAL, S.FILLED, S.CANCEL_PENDING, S.REPLACE_PENDING, S.CANCELLED, S.REJECTED, S.EXPIRED},
    S.PARTIAL: {S.PLACED, S.PARTIAL, S.FILLED, S.CANCEL_PENDING, S.REPLACE_PENDING, S.CANCELLED, S.REJECTED, S.EXPIRED},
    S.CANCEL_PENDING: {
        *(S.CANCEL_PENDING, S.REPLACE_PENDING, S.FILLED, S.PLACED, S.PARTIAL, S.CANCELLED, S.REJECTED, S.EXPIRED),
    },
    S.REPLACE_PENDING: {
        *(S.REPLACE_PENDING, S.CANCEL_PENDING, S.FILLED, S.PLACED, S.PARTIAL, S.CANCELLED, S.REJECTED, S.EXPIRED),
    },
    S.FILLED: {S.FILLED},
    S.CANCELLED: {S.CANCELLED},
    S.REJECTED: {S.REJECTED},
    S.EXPIRED: {S.EXPIRED},
}


def make_order(status: OrderStatus = S.NEW, cum_qty: int = 0) -> Order:
    intent = OrderIntent(
        alert_id="01M7Y30VFDHCFSB4QJ57EQTXP5",
        leg=1,
        account="paper",
        strategy="demo",
        symbol="NSE:SBIN",
        product=Product.MIS,
        side=Side.BUY,
        order_qty=Decimal(10),
        ord_type=OrdType.MARKET,
        time_in_force=TimeInForce.DAY,
        price=None,
        trigger_price=None,
        reduce_only=False,
        signal_at=NOW,
        received_at=NOW,
    )
    order = create_order(Approved(intent=intent, reference_px=None), NOW)
    return replace(order, status=status, cum_qty=Decimal(cum_qty), cum_value=Decimal(cum_qty) * 100)


def make_fill(exec_id: str, qty: int, px: str = "100") -> Fill:
    return Fill(
        account="paper",
        exec_id=exec_id,
        cl_ord_id="x",
        broker_order_id="b1",
        strategy="demo",
        symbol="NSE:SBIN",
        product=Product.MIS,
        side=Side.BUY,
        last_qty=Decimal(qty),
        last_px=Decimal(px),
        charges=Decimal(0),
        transact_time=NOW,
    )


def test_every_status_has_a_row_and_closed_ones_lead_nowhere_else() -> None:
    """The table is complete, and a closed order can only take a late fill."""
    assert set(TABLE) == set(OrderStatus)
    for status in CLOSED:
        assert set(TABLE[status]) == {E.FILL}
        assert status.is_closed
    assert {status for status in OrderStatus if status.is_closed} == CLOSED


@pytest.mark.parametrize("status", OrderStatus)
def test_the_table_leads_only_where_the_design_says(status: OrderStatus) -> None:
    """From each status, the reachable ones over all events and quantities are exactly the design's."""
    reached = set()
    for event in TABLE[status]:
        for cum_qty in (0, 4, 10):
            if (event is E.FILL) == (cum_qty > 0) or event is not E.FILL:
                quantities = {"cum_qty": Decimal(cum_qty), "order_qty": Decimal(10)}
                reached |= {next_status(status, event, is_replacing=flag, **quantities) for flag in (False, True)}
    assert reached <= EDGES[status]
    assert EDGES[status] - reached <= {status}


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("event", OrderEventKind)
def test_an_event_the_table_lacks_raises_and_changes_nothing(status: OrderStatus, event: OrderEventKind) -> None:
    """An illegal event is an error of ours, and the order stays as it was."""
    order = make_order(status)
    if event in TABLE[status]:
        assert apply_event(order, event, NOW).status in EDGES[status] | {status}
        return
    before = repr(order)
    with pytest.raises(IllegalTransitionError, match=f"{event} cannot happen to an order that is {status}"):
        apply_event(order, event, NOW)
    assert repr(order) == before


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_a_late_fill_moves_the_quantity_and_never_the_status(status: OrderStatus) -> None:
    """A fill after the end keeps the status: the position moves, the history is not rewritten."""
    order = apply_fill(make_order(status), make_fill("late", 3), NOW)
    assert (order.status, order.cum_qty, order.leaves_qty) == (status, Decimal(3), Decimal(0))


def test_a_fill_while_a_cancel_is_asked_keeps_asking_until_all_is_filled() -> None:
    """CANCEL_PENDING with a partial fill is still CANCEL_PENDING; with the last one it is FILLED."""
    order = apply_fill(make_order(S.CANCEL_PENDING), make_fill("a", 4), NOW)
    assert order.status is S.CANCEL_PENDING
    assert apply_fill(order, make_fill("b", 6), NOW).status is S.FILLED


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 5), st.integers(90, 110)), max_size=12))
def test_repeated_executions_count_once_and_the_average_is_exact(reports: list[tuple[str, int, int]]) -> None:
    """cum_qty and cum_value are those of the distinct executions, whatever is repeated."""
    order, seen = make_order(S.PLACED), dict[str, tuple[int, int]]()
    for exec_id, qty, px in reports:
        again = exec_id in seen
        moved = apply_fill(order, make_fill(exec_id, qty, str(px)), NOW)
        assert (moved is order) == again
        order = moved
        seen.setdefault(exec_id, (qty, px))
    assert order.cum_qty == sum(qty for qty, _ in seen.values())
    assert order.cum_value == sum(qty * px for qty, px in seen.values())
    assert order.status is (S.PLACED if not seen else S.FILLED if order.cum_qty >= 10 else S.PARTIAL)


def test_sending_is_counted_and_timed() -> None:
    """Every departure is counted, and the latest is remembered."""
    order = apply_event(make_order(), E.SENDING, NOW)
    again = apply_event(apply_event(order, E.NOT_SENT, NOW), E.SENDING, datetime(2026, 11, 20, 4, 16, tzinfo=UTC))
    assert (order.sends, order.sent_at, again.sends, again.sent_at) == (1, NOW, 2, datetime(2026, 11, 20, 4, 16, tzinfo=UTC))
