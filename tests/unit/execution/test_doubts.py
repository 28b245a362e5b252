"""Settling an order that is proved to be absent: only the very send that was looked for, and only if nothing moved since."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.core.enums import Product
from bridge.core.hold import find_gaps, make_hold
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import BrokerPosition
from bridge.execution.compare import Read
from bridge.execution.doubts import BookSteps, settle_absent
from bridge.store.store import Store
from tests.support.clocks import NOON
from tests.support.plays import play
from tests.support.samples import SBIN, make_order
from tests.support.stores import fresh_sqlite, look, opened

DAY = timedelta(days=1)


def settled(folder: Any, order: Order, doubted: Order, read: Read, prepare: Callable[[Store], None] | None = None) -> Any:
    """The order after the attempt, and what the pipeline was told to give up."""
    found: list[Any] = []
    url = fresh_sqlite(folder)
    steps = BookSteps(apply_reports=lambda _tx, _reports, _now: None, give_up=lambda *args: found.append(args[2]))

    async def story() -> None:
        async with opened(url) as store:

            def command(tx: Any) -> None:
                tx.put(tx.ledger.orders, order.cl_ord_id, order)
                if prepare is not None:
                    prepare(store)
                settle_absent(tx, doubted, read, steps, NOON)
                found.append(tx.ledger.orders.get(order.cl_ord_id).status)

            await store.write(command)

    play(story)
    return found


def in_doubt(**values: Any) -> Order:
    given = {"status": OrderStatus.IN_DOUBT, "sends": 1, "sent_at": NOON - timedelta(seconds=20)}
    return make_order(1, **{**given, **values})


def read_of(held: int = 0) -> Read:
    position = BrokerPosition(symbol=SBIN, product=Product.MIS, quantity=Decimal(held))
    return Read(account="paper", began=NOON - timedelta(seconds=1), began_s=-1, ended=NOON, rows=(), positions=(position,))


def test_a_look_for_an_earlier_send_never_settles_a_later_one(tmp_path):
    """The order went out again while the proof was on its way to the store: it proves nothing of the new send."""
    first = in_doubt()
    assert settled(tmp_path / "a", in_doubt(sends=2), first, read_of()) == [OrderStatus.IN_DOUBT]
    assert settled(tmp_path / "b", first, first, read_of()) == [OrderStatus.NEW]


@pytest.mark.parametrize("status", [OrderStatus.PLACED, OrderStatus.FILLED, OrderStatus.NEW, OrderStatus.PENDING])
def test_an_order_that_is_in_doubt_no_more_is_left_alone(tmp_path, status):
    """A report was faster."""
    assert settled(tmp_path, in_doubt(status=status), in_doubt(), read_of()) == [status]


@pytest.mark.parametrize("accepted_by", ["", "anna"])
def test_only_an_accepted_difference_counts_as_agreement(tmp_path, accepted_by):
    """One that is known and not accepted may be this very order's doing; it is not told a second time."""
    old = in_doubt(sent_at=NOON - DAY)
    hold = make_hold(SBIN, find_gaps({}, {"MIS": Decimal(5)}), accepted_by)

    def differ(store: Store) -> None:
        store.ledger.holds.set(("paper", SBIN), hold)

    found = settled(tmp_path, old, old, read_of(5), differ)
    if accepted_by:
        assert found == [OrderStatus.NEW]
    else:
        assert "the broker says 5 MIS" in found[0]
    assert [row[0] for row in look(f"sqlite:///{tmp_path / 'bridge.db'}", "SELECT action FROM audit")] == [
        "order_not_sent" if accepted_by else "alarm_raised"
    ]


def test_what_was_accepted_stays_explained_when_another_difference_is_found(tmp_path):
    """Five were known to be more there; of the seven it is two of which nobody knows."""
    old = in_doubt(sent_at=NOON - DAY)
    hold = make_hold(SBIN, find_gaps({}, {"MIS": Decimal(5)}), "anna")
    settled(tmp_path, old, old, read_of(7), lambda store: store.ledger.holds.set(("paper", SBIN), hold))
    assert look(f"sqlite:///{tmp_path / 'bridge.db'}", "SELECT gaps, accepted_by FROM holds") == [
        ('[["MIS", "0", "7", "5"]]', "")
    ]


def test_positions_that_a_fill_has_overtaken_settle_nothing(tmp_path):
    """Booked since they were read: the next read will have it."""
    old = in_doubt(sent_at=NOON - DAY)

    def fill(store: Store) -> None:
        store.ledger.filled_s["paper", SBIN] = 0

    assert settled(tmp_path / "a", old, old, read_of(5), fill) == [OrderStatus.IN_DOUBT]
    assert settled(tmp_path / "b", old, old, read_of(0)) == [OrderStatus.NEW]
    message, _status = settled(tmp_path / "c", old, old, read_of(5))
    assert "the broker says 5 MIS" in message
