"""What looks into a book make of orders' terms: nothing of one look, and of two only what they both say."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import OrdType, Product, ReportKind, Side, Variety
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import Replacement, Terms
from bridge.core.report import BookRow
from bridge.execution.changes import AGAIN_S, NEVER_S, Changes, judge_changes
from bridge.execution.compare import LAG, Read, pick_rows
from tests.support.clocks import NOON
from tests.support.samples import make_order

D = Decimal
WISHED = Terms(order_qty=D(12), price=D(101))


def working(**values: Any) -> Order:
    """A limit order of ten at 100 that has worked for long."""
    at = values.pop("at", NOON - LAG - timedelta(seconds=1))
    order = make_order(1, at=at, status=OrderStatus.PLACED, broker_order_id="B1")
    intent = replace(order.intent, order_qty=D(10), ord_type=OrdType.LIMIT, price=D(100), **values.pop("intent", {}))
    return replace(order, intent=intent, updated_at=at, **values)


def asked() -> Order:
    wished = Replacement(alert_id="A", terms=WISHED, signal_at=NOON)
    return working(status=OrderStatus.REPLACE_PENDING, replace=wished, replaces=1)


def row_of(order: Order, qty: int = 10, price: object = 100, status: OrderStatus = OrderStatus.PLACED) -> BookRow:
    return BookRow(
        broker_order_id="B1", tag=order.tag, symbol=order.intent.symbol, side=Side.BUY, product=Product.MIS,
        ord_type=OrdType.LIMIT, order_qty=D(qty), cum_qty=D(0), status=status, message="", updated_at=NOON,
        price=None if price is None else D(str(price)),
    )  # fmt: skip


def looks(order: Order, row: BookRow, *at: float) -> list[Changes]:
    """The same seen at each of these moments."""
    found: list[Changes] = []
    for at_s in at:
        read = Read(account="paper", began=NOON, began_s=0, ended=NOON, rows=(row,))
        found.append(judge_changes([pick_rows(order, [row])], read, found[-1].runs if found else {}, at_s))
    return found


@given(st.lists(st.floats(0, 90), min_size=1, max_size=8).map(sorted))
def test_a_change_that_does_not_come_is_asked_again_and_then_given_up(at: list[float]) -> None:
    """Never after a single look, and never before its time."""
    for number, (moment, found) in enumerate(zip(at, looks(asked(), row_of(asked()), *at), strict=True), start=1):
        waited = moment - at[0]
        refused = [report.kind for report in found.reports] == [ReportKind.REPLACE_REFUSED]
        assert refused == (number > 1 and waited >= NEVER_S)
        assert bool(found.again) == (number > 1 and AGAIN_S <= waited < NEVER_S)


def test_another_change_of_the_same_order_begins_anew() -> None:
    """What was seen of the first says nothing of the second."""
    order = asked()
    (first,) = looks(order, row_of(order), 0)
    read = Read(account="paper", began=NOON, began_s=0, ended=NOON, rows=(row_of(order),))
    second = judge_changes([pick_rows(replace(order, replaces=2), [row_of(order)])], read, first.runs, NEVER_S)
    assert not second.has_work


def test_other_terms_in_two_looks_are_the_orders() -> None:
    """Somebody changed it there."""
    first, second = looks(working(), row_of(working(), 25, 99), 0, 1)
    assert not first.has_work
    (report,) = second.reports
    assert (report.kind, report.terms) == (ReportKind.REPLACED, Terms(order_qty=D(25), price=D(99)))


@pytest.mark.parametrize(
    ("order", "row"),
    [
        (working(), row_of(working())),
        (working(), row_of(working(), price=None)),
        (working(), row_of(working(), 25, status=OrderStatus.CANCELLED)),
        (working(at=NOON), row_of(working(), 25)),
        (working(intent={"variety": Variety.ICEBERG}), row_of(working(), 5)),
        (working(status=OrderStatus.CANCEL_PENDING), row_of(working(), 25)),
    ],
    ids=["agrees", "tells no price", "has ended", "book may be behind", "legs", "being cancelled"],
)
def test_what_is_no_change_is_not_taken_for_one(order: Order, row: BookRow) -> None:
    assert not any(found.has_work for found in looks(order, row, 0, 30, 60))
