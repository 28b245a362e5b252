"""Random walks through the Kite sandbox: whatever is asked in whatever order, its books agree with one another."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.values import ENDED, ApiError, Status
from tests.support.clocks import StillClock
from tests.support.kite import kite_instruments, make_box, place
from tests.support.samples import SBIN

PRICES = st.sampled_from(["795", "800", "805", "812.5", "820", "825"])
PLACEMENTS = st.fixed_dictionaries(
    {
        "order_type": st.sampled_from(["LIMIT", "MARKET", "SL", "SL-M"]),
        "transaction_type": st.sampled_from(["BUY", "SELL"]),
        "quantity": st.integers(1, 12),
        "product": st.sampled_from(["MIS", "CNC"]),
        "price": PRICES,
        "trigger_price": PRICES,
        "validity": st.sampled_from(["DAY", "IOC", "TTL"]),
        "validity_ttl": st.just("1"),
        "market_protection": st.sampled_from(["0", "-1", "1"]),
        "iceberg_legs": st.just("2"),
        "iceberg_quantity": st.integers(1, 6),
    }
)
DELIVERED = {
    "order_type": "LIMIT",
    "transaction_type": "BUY",
    "quantity": 1,
    "product": "CNC",
    "price": "812.5",
    "validity": "DAY",
}
CHANGES = st.dictionaries(st.sampled_from(["price", "trigger_price"]), PRICES) | st.fixed_dictionaries(
    {"quantity": st.integers(1, 12).map(str), "order_type": st.sampled_from(["LIMIT", "MARKET", "SL"]), "price": PRICES}
)
STEPS = st.one_of(
    st.tuples(st.just("place"), st.tuples(st.sampled_from(["regular", "regular", "amo", "iceberg"]), PLACEMENTS)),
    st.tuples(st.just("modify"), st.tuples(st.integers(0, 9), CHANGES)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("price"), PRICES),
    st.tuples(st.just("wait"), st.sampled_from([100, 300, 61_000, 50_000_000])),
    st.tuples(st.just("fault"), st.sampled_from(["stuck", "reject", "partial_cancel"])),
    st.tuples(st.just("turn"), st.sampled_from([{"step_ms": 0}, {"step_ms": 200}, {"fill_max": 3}, {"fill_max": 0}])),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("open"), st.none()),
)


def take(box: KiteSandbox, clock: StillClock, step: str, what: Any) -> None:
    """One step; what the API refuses is refused."""
    ids = list(box.book.orders)
    try:
        if step == "place":
            place(box, what[0], **what[1])
        elif step == "modify" and ids:
            box.book.modify(ids[what[0] % len(ids)], what[1])
        elif step == "cancel" and ids:
            box.book.cancel(ids[what % len(ids)])
        elif step == "price":
            box.set_price(SBIN, Decimal(what))
        elif step == "wait":
            clock.move(milliseconds=what)
            box.book.run_due()
        elif step == "fault":
            box.faults.set({"book": {what: 1}})
        elif step == "turn":
            box.turn(**what)
        elif step == "release":
            box.book.release()
        elif step == "open":
            box.book.open_market()
    except ApiError:
        pass


def check_books(box: KiteSandbox) -> None:
    """What holds at any moment."""
    filled: Counter[str] = Counter()
    for trade in box.book.trades:
        filled[trade.order_id] += trade.quantity
    for order_id, history in box.book.orders.items():
        last = history[-1]
        assert last.filled_quantity == filled[order_id] <= last.quantity
        assert (last.status is Status.COMPLETE) == (last.filled_quantity == last.quantity)
        assert [state.status for state in history[:-1] if state.status in ENDED] == []
        assert [state.filled_quantity for state in history] == sorted(state.filled_quantity for state in history)
        assert last.status not in ENDED or not last.todo
    for position in box.account.position_rows()["net"]:
        assert position["quantity"] == position["buy_quantity"] - position["sell_quantity"]
        assert abs(position["realised"] + position["unrealised"] - position["pnl"]) < 1e-6
        assert position["product"] == "MIS" or position["quantity"] >= 0
    held = sum(row["quantity"] for row in box.account.position_rows()["net"] + box.account.holding_rows())
    held += sum(row["t1_quantity"] for row in box.account.holding_rows())  # bought the day before, and not in `quantity` yet
    assert held == sum(trade.signed for trade in box.book.trades)


@given(st.lists(STEPS, max_size=30))
@example([("place", ("regular", DELIVERED)), ("wait", 50_000_000)])
def test_the_books_agree_whatever_happens(steps):
    """Fills are those of the trades, what has ended stays ended, no step is one the table does not name, and all that
    counts is there again after a restart."""
    with TemporaryDirectory() as folder:
        file, clock = Path(folder) / "kite.jsonl", StillClock()
        with Journal(file) as journal:
            box = make_box(clock, journal)
            for step, what in steps:
                take(box, clock, step, what)
                check_books(box)
        with Journal(file) as journal:
            again = KiteSandbox(kite_instruments(), clock=clock, journal=journal)
            assert again.book.orders == box.book.orders
            assert again.book.trades == box.book.trades
            check_books(again)
