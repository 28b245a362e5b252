"""Reports become fact once, in whatever order and however often they come; positions and trades follow from fills alone."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import Product, ReportKind, Side
from bridge.core.errors import IllegalTransitionError
from bridge.core.events import BookWanted
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import CLOSED, TABLE, OrderEventKind, OrderStatus
from bridge.core.position import PositionKey
from bridge.core.report import Report
from bridge.core.trade import TradeEventKind, TradeStatus
from bridge.execution.orders import adopt_broker_id, record, record_fill
from bridge.following import Following, after_close
from bridge.portfolio.book import note_exit
from bridge.store.tx import Tx
from tests.support.clocks import NOON, StillClock
from tests.support.pictures import picture_of
from tests.support.samples import make_fill, make_order, make_report
from tests.support.stores import Watched, fresh_sqlite, look

ALL = [(status, event) for status in OrderStatus for event in OrderEventKind]


@dataclass
class Account:
    """As much of an account's rules as following needs."""

    leverage: dict[str, Decimal]


class Bench:
    """A store and the code that applies reports; every example gets an order and a symbol of its own."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.store = Watched(url, StillClock(), mode="inline")
        self.store.open()
        self.store.writer.bind(self.runner.get_loop())
        self.settled: list[str] = []
        self.following = Following(self.settle, {"paper": Account({})}, lambda _symbol: None)
        self.numbers = itertools.count(1)

    def settle(self, _tx: Tx, cl_ord_id: str, _now: datetime) -> None:
        self.settled.append(cl_ord_id)

    def write(self, command: Any) -> Any:
        async def run() -> Any:
            return await self.store.write(command)

        return self.runner.run(run())

    def new_order(self, **values: Any) -> Order:
        number = next(self.numbers)
        order = make_order(number, **{"symbol": f"NSE:S{number}", "status": OrderStatus.PENDING, **values})
        self.write(lambda tx: tx.put(tx.ledger.orders, order.cl_ord_id, order))
        return order

    def apply(self, *reports: Report) -> None:
        self.write(lambda tx: self.following.apply_reports(tx, reports, NOON))

    def order(self, order: Order) -> Order:
        found = self.store.ledger.orders.get(order.cl_ord_id)
        assert found is not None
        return found

    def key(self, order: Order) -> PositionKey:
        return PositionKey(order.intent.account, order.intent.symbol, order.intent.product.value)

    def quantity(self, order: Order) -> Decimal:
        return self.store.ledger.position_qty(self.key(order))

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()


@contextmanager
def a_bench(folder: Path) -> Iterator[Bench]:
    bench = Bench(fresh_sqlite(folder))
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all tests of this file: each works on orders of its own."""
    with a_bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


# -- ends before fills -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED])
def test_an_end_that_has_overtaken_fills_closes_nothing_until_they_are_there(bench: Bench, kind: ReportKind) -> None:
    """Closed too soon, what may have been filled would count as used up, and an exit be sized by too large a position."""
    order = bench.new_order()
    bench.apply(make_report(order, ReportKind.PLACED))
    bench.store.seen.clear()
    end = make_report(order, kind, cum_qty=Decimal(4))
    bench.apply(end)
    assert bench.order(order).leaves_qty == order.intent.order_qty
    assert BookWanted(account="paper") in bench.store.seen
    bench.apply(make_report(order, ReportKind.FILL, exec_id=f"{order.tag}-1", last_qty=Decimal(3), last_px=Decimal(1)), end)
    assert not bench.order(order).status.is_closed
    bench.apply(make_report(order, ReportKind.FILL, exec_id=f"{order.tag}-2", last_qty=Decimal(1), last_px=Decimal(1)), end)
    assert bench.order(order).status.is_closed
    assert bench.order(order).cum_qty == 4


def test_an_end_that_does_not_say_what_was_filled_is_believed(bench: Bench) -> None:
    """Not every broker says."""
    order = bench.new_order()
    bench.apply(make_report(order, ReportKind.PLACED), make_report(order, ReportKind.CANCELLED))
    assert bench.order(order).status is OrderStatus.CANCELLED


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "event"), [pair for pair in ALL if pair[1] is not OrderEventKind.FILL])
def test_an_event_goes_by_the_table_or_changes_nothing(bench: Bench, status: OrderStatus, event: OrderEventKind) -> None:
    """Every status with every event: an edge of the table is taken; anything else raises and leaves no trace at all."""
    order = bench.new_order(status=status)
    before = picture_of(bench.store.ledger)
    rows = look(str(bench.store.backend.url), "SELECT COUNT(*) FROM audit")
    if event in TABLE[status]:
        bench.write(lambda tx: record(tx, order, event, NOON))
        assert bench.order(order).status in _reachable(status, event)
        return
    with pytest.raises(IllegalTransitionError):
        bench.write(lambda tx: record(tx, order, event, NOON))
    assert picture_of(bench.store.ledger) == before
    assert look(str(bench.store.backend.url), "SELECT COUNT(*) FROM audit") == rows


def _reachable(status: OrderStatus, event: OrderEventKind) -> set[OrderStatus]:
    found = TABLE[status][event]
    return {found} if isinstance(found, OrderStatus) else {OrderStatus.PLACED, OrderStatus.PARTIAL, status}


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_a_closed_order_is_left_by_nothing_but_quantities(status: OrderStatus) -> None:
    """Closed is closed: the table has no edge out, and a late fill keeps the status."""
    assert TABLE[status] == {OrderEventKind.FILL: status}


@pytest.mark.parametrize("status", [status for status in OrderStatus if OrderEventKind.FILL not in TABLE[status]])
def test_a_fill_of_an_order_that_never_left_is_illegal_and_changes_nothing(bench: Bench, status: OrderStatus) -> None:
    """Only what was sent can be filled; following first records that it was sent."""
    order = bench.new_order(status=status)
    before = picture_of(bench.store.ledger)
    with pytest.raises(IllegalTransitionError):
        bench.write(lambda tx: record_fill(tx, order, make_fill(order, f"X1{order.tag}", 1), NOON))
    assert picture_of(bench.store.ledger) == before


# -- single reports ---------------------------------------------------------------------------------------------------


def test_a_late_fill_keeps_the_status_and_moves_the_position_with_an_alarm(bench: Bench) -> None:
    """Cancelled stays cancelled; the units are held all the same, and a person is told."""
    order = bench.new_order()
    bench.apply(make_report(order, ReportKind.PLACED), make_report(order, ReportKind.CANCELLED))
    bench.apply(make_report(order, ReportKind.FILL, f"X1{order.tag}", 4, "100"))
    moved = bench.order(order)
    assert (moved.status, moved.cum_qty, bench.quantity(order)) == (OrderStatus.CANCELLED, Decimal(4), Decimal(4))
    actions = [row[0] for row in look(str(bench.store.backend.url), "SELECT action FROM audit ORDER BY seq")]
    assert actions[-2:] == ["order_late_fill", "alarm_raised"]


def test_more_filled_than_ordered_is_booked_as_it_happened_with_an_alarm(bench: Bench) -> None:
    """Fills are facts: the position is what was executed, not what was asked for."""
    order = bench.new_order()
    bench.apply(*(make_report(order, ReportKind.FILL, f"X{n}{order.tag}", 6, "100") for n in (1, 2)))
    moved = bench.order(order)
    assert (moved.status, moved.cum_qty, moved.leaves_qty, bench.quantity(order)) == (
        OrderStatus.FILLED,
        Decimal(12),
        Decimal(0),
        Decimal(12),
    )
    sql = "SELECT 1 FROM audit WHERE action = 'alarm_raised' AND cl_ord_id = :c"
    assert look(str(bench.store.backend.url), sql, c=order.cl_ord_id)


@pytest.mark.parametrize("kind", list(ReportKind))
@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.IN_DOUBT, OrderStatus.NEW])
def test_any_first_word_of_the_broker_is_taken(bench: Bench, status: OrderStatus, kind: ReportKind) -> None:
    """Whatever a stream tells first of an order whose answer is missing, applying it never raises; an end ends it."""
    order = bench.new_order(status=status)
    fill = kind is ReportKind.FILL
    bench.apply(make_report(order, kind, f"X1{order.tag}" if fill else "", 10 if fill else 0, 100 if fill else 0))
    found = bench.order(order).status
    ends = {
        ReportKind.FILL: OrderStatus.FILLED, ReportKind.CANCELLED: OrderStatus.CANCELLED,
        ReportKind.REJECTED: OrderStatus.REJECTED, ReportKind.EXPIRED: OrderStatus.EXPIRED,
        ReportKind.PLACED: OrderStatus.PLACED,
    }  # fmt: skip
    if kind in ends:
        assert found is ends[kind]
    else:
        assert found is not OrderStatus.NEW  # an answer to a request proves that the broker has the order


@pytest.mark.parametrize("kind", list(ReportKind))
@pytest.mark.parametrize("status", [status for status in OrderStatus if status.is_closed])
def test_nothing_but_a_fill_moves_a_closed_order(bench: Bench, status: OrderStatus, kind: ReportKind) -> None:
    """Late words of the broker neither raise nor reopen anything."""
    order = bench.new_order(status=status)
    fill = kind is ReportKind.FILL
    bench.apply(make_report(order, kind, f"X1{order.tag}" if fill else "", 10 if fill else 0, 100 if fill else 0))
    assert bench.order(order).status is status
    assert bench.order(order).cum_qty == (10 if fill else 0)


def test_reports_of_orders_that_are_not_ours_change_nothing(bench: Bench) -> None:
    """No tag, a tag nobody knows, and our tag in another account are all somebody else's."""
    order = bench.new_order()
    before = picture_of(bench.store.ledger)
    fill = make_report(order, ReportKind.FILL, f"X1{order.tag}", 5, 100)
    bench.apply(
        make_report(order, ReportKind.FILL, f"X1{order.tag}", 5, 100, tag=""),
        make_report(order, ReportKind.FILL, f"X1{order.tag}", 5, 100, tag="UNKNOWN"),
        make_report(order, ReportKind.FILL, f"X1{order.tag}", 5, 100, account="other"),
    )
    assert picture_of(bench.store.ledger) == before
    bench.apply(fill)
    assert bench.quantity(order) == 5


def test_a_fill_of_an_order_long_forgotten_is_found_by_its_tag(bench: Bench) -> None:
    """Closed orders leave memory; a late report finds them in the table."""
    order = bench.new_order()
    bench.apply(make_report(order, ReportKind.PLACED), make_report(order, ReportKind.CANCELLED))
    bench.store.ledger.forget_closed(keep=0)
    assert bench.store.ledger.orders.get(order.cl_ord_id) is None
    bench.apply(make_report(order, ReportKind.FILL, f"X1{order.tag}", 3, 100))
    assert (bench.order(order).cum_qty, bench.quantity(order)) == (Decimal(3), Decimal(3))


@pytest.mark.parametrize("status", [OrderStatus.PLACED, OrderStatus.CANCEL_PENDING, OrderStatus.CANCELLED])
@pytest.mark.parametrize("kind", [kind for kind in ReportKind if kind is not ReportKind.FILL])
def test_a_second_order_under_our_tag_neither_takes_over_nor_ends_the_one_we_follow(
    bench: Bench, kind: ReportKind, status: OrderStatus
) -> None:
    """The one whose id we know is followed; of the other the book is looked into soon, which raises the alarm."""
    order = bench.new_order(status=status, broker_order_id="FIRST")
    bench.store.seen.clear()
    bench.apply(make_report(order, kind, broker_order_id="SECOND"))
    assert bench.order(order) == order
    assert BookWanted(account="paper") in bench.store.seen


def test_fills_of_a_second_order_under_our_tag_are_booked(bench: Bench) -> None:
    """They moved the position too; the id that is followed stays."""
    order = bench.new_order(status=OrderStatus.PLACED, broker_order_id="FIRST")
    bench.apply(make_report(order, ReportKind.FILL, f"X1{order.tag}", 4, 100, broker_order_id="SECOND"))
    assert (bench.order(order).broker_order_id, bench.quantity(order)) == ("FIRST", Decimal(4))


def test_an_answer_with_another_id_does_not_take_over_the_order_that_is_followed(bench: Bench) -> None:
    """A report may have overtaken the answer to a command, and be of another order."""
    order = bench.new_order(status=OrderStatus.PLACED, broker_order_id="FIRST")
    bench.store.seen.clear()
    assert bench.write(lambda tx: adopt_broker_id(tx, order, "SECOND", NOON)) == order
    assert BookWanted(account="paper") in bench.store.seen


@pytest.mark.parametrize(("qty", "px"), [(0, 100), (-5, 100), (5, 0), (5, -3), ("NaN", 100), (5, "Infinity")])
def test_a_fill_that_cannot_be_moves_nothing_and_is_told_once(bench: Bench, qty: Any, px: Any) -> None:
    """A position moved by nonsense sizes the next exit; the book tells the same fill at every look."""
    order = bench.new_order(status=OrderStatus.PLACED, broker_order_id="FIRST")
    bad = make_report(order, ReportKind.FILL, f"X1{order.tag}", qty, px, broker_order_id="FIRST")
    bench.apply(bad)
    bench.apply(bad, make_report(order, ReportKind.FILL, f"X2{order.tag}", 1, 100, broker_order_id="FIRST"))
    assert (bench.order(order).cum_qty, bench.quantity(order)) == (Decimal(1), Decimal(1))
    sql = "SELECT message FROM audit WHERE action = 'alarm_raised' AND cl_ord_id = :c"
    ((message,),) = look(str(bench.store.backend.url), sql, c=order.cl_ord_id)
    assert "cannot be" in message


@pytest.mark.parametrize(("product", "is_open_again"), [(Product.CNC, True), (Product.MIS, False)])
def test_an_exit_that_failed_is_told_unless_another_of_the_same_product_works(
    bench: Bench, product: Product, *, is_open_again: bool
) -> None:
    """An exit of another product closes nothing of this position."""
    entry = bench.new_order()
    symbol = entry.intent.symbol
    bench.apply(make_report(entry, ReportKind.FILL, f"X1{entry.tag}", 10, 100))
    values: dict[str, Any] = {"symbol": symbol, "side": Side.SELL, "reduce_only": True}
    bench.new_order(status=OrderStatus.PLACED, product=product, **values)
    failed = bench.new_order(status=OrderStatus.REJECTED, **values)
    bench.write(lambda tx: note_exit(tx, bench.key(entry), TradeEventKind.EXIT_SENT))
    bench.write(lambda tx: after_close(tx, failed, NOON))
    trade = bench.store.ledger.trades.get(bench.key(entry))
    assert trade is not None
    assert (trade.status is TradeStatus.OPEN) is is_open_again


# -- any order of reports ---------------------------------------------------------------------------------------------

prices = st.decimals("0.05", "99999.95", places=2)
parts = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def stories(order: Order, sizes: list[int], px: Decimal, end: ReportKind | None) -> list[Report]:
    told = [make_report(order, ReportKind.PLACED)]
    told += [make_report(order, ReportKind.FILL, f"X{order.tag}{n}", size, px) for n, size in enumerate(sizes)]
    return told + ([make_report(order, end)] if end else [])


def result_of(bench: Bench, order: Order) -> dict[str, Any]:
    """What came of the reports, without the names that say which of them came first."""
    found = bench.order(order)
    position = bench.store.ledger.positions.get(bench.key(order))
    trade = bench.store.ledger.trades.get(bench.key(order))
    return {
        "order": (found.status, found.cum_qty, found.cum_value, len(found.exec_ids), bool(found.broker_order_id)),
        "position": position and (position.quantity, position.cost, position.realized_pnl, position.charges),
        "trade": trade and (trade.entry_qty, trade.entry_value, trade.exit_qty, trade.charges, trade.status),
    }


def test_any_order_and_any_repetition_of_reports_gives_the_same_books(tmp_path: Path) -> None:
    """Streams, postbacks and the book tell the same things in any order, more than once: the outcome does not depend on it."""
    with a_bench(tmp_path) as bench:

        @given(st.data())
        @settings(max_examples=60)
        def check(data: st.DataObject) -> None:
            sizes, px = data.draw(parts), data.draw(prices)
            # An order that was cancelled has something left; one that is filled needs no other end.
            end = data.draw(st.sampled_from([None, ReportKind.CANCELLED, ReportKind.EXPIRED]))
            qty = Decimal(sum(sizes) + (5 if end else data.draw(st.integers(0, 3))))
            side = data.draw(st.sampled_from(Side))
            first = bench.new_order(order_qty=qty, side=side)
            second = bench.new_order(order_qty=qty, side=side)
            bench.apply(*stories(first, sizes, px, end))
            mixed = stories(second, sizes, px, end)
            mixed += data.draw(st.lists(st.sampled_from(mixed), max_size=4))
            for batch in _batches(data, data.draw(st.permutations(mixed))):
                bench.apply(*batch)
            assert result_of(bench, first) == result_of(bench, second)

        check()


def _batches(data: st.DataObject, reports: list[Report]) -> Iterator[list[Report]]:
    """The reports in as many transactions as chance wants."""
    while reports:
        size = data.draw(st.integers(1, len(reports)))
        yield reports[:size]
        reports = reports[size:]


# -- books ------------------------------------------------------------------------------------------------------------

fills = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 50), prices, st.decimals(0, 100, places=2), st.sampled_from(["a", "b"])),
    min_size=1, max_size=12,
)  # fmt: skip


def test_position_trades_and_profit_follow_from_fills_exactly(tmp_path: Path) -> None:
    """Position = sum of fills; realised profit = cost - (paid - received), to the last digit; trades add up to it."""
    with a_bench(tmp_path) as bench:

        @given(fills)
        @settings(max_examples=60)
        def check(story: list[tuple[Side, int, Decimal, Decimal, str]]) -> None:
            symbol = f"NSE:P{next(bench.numbers)}"
            held = paid = charges = ZERO
            shares: dict[str, Decimal] = {}
            key = PositionKey("paper", symbol, "MIS")
            for side, qty, px, cost, strategy in story:
                order = bench.new_order(symbol=symbol, side=side, order_qty=Decimal(qty), strategy=strategy)
                bench.apply(make_report(order, ReportKind.FILL, f"X{order.tag}", qty, px, charges=cost))
                held += side.sign * qty
                paid += side.sign * qty * px
                charges += cost
                shares[strategy] = shares.get(strategy, ZERO) + side.sign * qty
                position = bench.store.ledger.positions.get(key)
                assert position is not None
                assert (position.quantity, position.charges) == (held, charges)
                assert position.realized_pnl == position.cost - paid
                if not held:
                    shares.clear()  # flat is flat for everybody, whoever closed whose part
                assert position.by_strategy == {name: share for name, share in shares.items() if share}
                assert sum(position.by_strategy.values(), ZERO) == held
                trade = bench.store.ledger.trades.get(key)
                assert (trade is None) == (held == 0)
                if trade is not None:
                    assert trade.entry_qty - trade.exit_qty == abs(held)
                    assert trade.side.sign == (1 if held > 0 else -1)
            position = bench.store.ledger.positions.get(key)
            assert position is not None
            _check_trades(bench, symbol, position.realized_pnl, charges)
            if held == 0:
                assert position.cost == 0
                assert position.realized_pnl == -paid

        check()


def _check_trades(bench: Bench, symbol: str, realized: Decimal, charges: Decimal) -> None:
    sql = "SELECT realized_pnl, charges, status, entry_qty, exit_qty FROM trades WHERE symbol = :s"
    rows = look(str(bench.store.backend.url), sql, s=symbol)
    assert sum((Decimal(row[0]) for row in rows), ZERO) == realized
    assert sum((Decimal(row[1]) for row in rows), ZERO) == charges
    for row in rows:
        assert (row[2] == TradeStatus.CLOSED) == (Decimal(row[3]) == Decimal(row[4]))


def test_a_round_trip_opens_grows_shrinks_and_closes_and_a_reversal_opens_the_next(bench: Bench) -> None:
    """One trade from flat to flat; a fill through zero closes one and opens the other at its own price."""
    symbol = "NSE:ROUND"
    key = PositionKey("paper", symbol, "MIS")

    def trade(side: Side, qty: int, px: int) -> None:
        order = bench.new_order(symbol=symbol, side=side, order_qty=Decimal(qty))
        bench.apply(make_report(order, ReportKind.FILL, f"X{order.tag}", qty, px, charges=Decimal(1)))

    trade(Side.BUY, 10, 100)
    trade(Side.BUY, 10, 110)
    first = bench.store.ledger.trades.get(key)
    assert first is not None
    assert (first.entry_qty, first.entry_px, first.status) == (Decimal(20), Decimal(105), TradeStatus.OPEN)
    trade(Side.SELL, 5, 120)
    trade(Side.SELL, 25, 130)
    second = bench.store.ledger.trades.get(key)
    assert second is not None
    assert (second.side, second.entry_qty, second.entry_px) == (Side.SELL, Decimal(10), Decimal(130))
    sql = "SELECT status, realized_pnl FROM trades WHERE symbol = :s ORDER BY status"
    rows = look(str(bench.store.backend.url), sql, s=symbol)
    assert rows == [("CLOSED", "450"), ("OPEN", "0")]
    trade(Side.BUY, 10, 120)
    assert bench.store.ledger.trades.get(key) is None
    position = bench.store.ledger.positions.get(key)
    assert position is not None
    assert (position.quantity, position.realized_pnl, position.charges) == (Decimal(0), Decimal(550), Decimal(5))
