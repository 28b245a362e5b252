"""PaperBroker: what the bridge sees of the venue, and what happens when the store or the sink fails."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.paper import delivery
from bridge.brokers.paper.adapter import PaperBroker
from bridge.brokers.paper.rows import PAPER_CODECS
from bridge.brokers.paper.shelves import PaperShelves
from bridge.brokers.paper.values import PaperPolicy
from bridge.core.enums import OrdType, OutcomeKind, Product, ReportKind, Side
from bridge.core.errors import StoreError
from bridge.core.ledger import Shelf
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import Outcome, Report
from bridge.store.paper_tables import paper_maps
from tests.unit.brokers.paper_kit import INFY, INSTRUMENTS, SYMBOL, MemoryStore, SetClock, kinds, make_order

BUY, SELL = Side.BUY, Side.SELL
LIMIT = OrdType.LIMIT


class Room:
    """A paper broker with its surroundings.

    `reports` is all that was told, by answers and through the sink; `calls` is what the sink was given, call by call.
    """

    def __init__(self, shelves: PaperShelves | None = None, **values: Any) -> None:
        self.clock = SetClock()
        self.store = MemoryStore()
        self.shelves = shelves or PaperShelves()
        self.prices = {SYMBOL: Decimal(1000)}
        self.calls: list[list[Report]] = []
        self.reports: list[Report] = []
        self.sink_faults = 0
        self.broker = self.make(**values)

    def make(self, account: str = "paper", **values: Any) -> PaperBroker:
        settings: dict[str, Any] = {"cash": Decimal(1_000_000), "policy": PaperPolicy(charges=False), **values}
        return PaperBroker(
            account,
            shelves=self.shelves,
            store=self.store,
            latest_price=self.prices.get,
            instrument=INSTRUMENTS.get,
            clock=self.clock,
            **settings,
        )

    async def sink(self, reports: list[Report]) -> None:
        if self.sink_faults:
            self.sink_faults -= 1
            raise RuntimeError("the bridge is busy falling over")
        self.calls.append(list(reports))
        self.reports.extend(reports)

    async def place(self, order: Order) -> Outcome:
        outcome = await self.broker.place(order)
        self.reports.extend(outcome.reports)
        return outcome

    async def settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    async def move_price(self, price: object) -> None:
        self.prices[SYMBOL] = Decimal(str(price))
        await self.broker.on_price(SYMBOL, self.prices[SYMBOL])


def run(story: Callable[[Room], Coroutine[Any, Any, None]], **values: Any) -> Room:
    room = Room(**values)

    async def tell() -> None:
        await room.broker.start(room.sink)
        await story(room)
        await room.settle()
        await room.broker.stop()

    asyncio.run(tell())
    return room


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch):
    """Waits between tries are for real life."""
    monkeypatch.setattr(delivery, "FIRST_RETRY_S", 0.0)
    monkeypatch.setattr(delivery, "LAST_RETRY_S", 0.0)


# --- commands and reports -------------------------------------------------------------------------------------------


def test_place_answers_with_what_the_order_came_to():
    """The outcome carries the broker's id and the fill; the sink is not needed for it."""

    async def story(room: Room) -> None:
        outcome = await room.place(make_order(1))
        assert outcome.kind is OutcomeKind.ACCEPTED
        assert outcome.broker_order_id == "261120000000001"
        (report,) = outcome.reports
        assert (report.kind, report.tag, report.last_qty) == (ReportKind.FILL, make_order(1).tag, Decimal(10))

    assert run(story).calls == []


def test_later_reports_of_one_turn_come_in_one_call():
    """What shares a commit shares a call of the sink: the bridge books it in one transaction."""

    async def story(room: Room) -> None:
        await cancel_many(room, 50)

    room = run(story)
    assert [len(call) for call in room.calls] == [50]
    assert [r.broker_order_id for r in room.calls[0]] == [f"261120{number:09d}" for number in range(1, 51)]


async def cancel_many(room: Room, count: int) -> None:
    orders = [make_order(number, qty=1, ord_type=LIMIT, price=900) for number in range(count)]
    await asyncio.gather(*(room.place(order) for order in orders))
    await asyncio.gather(*(room.broker.cancel(order) for order in orders))


def test_one_call_carries_a_bounded_number_of_reports(monkeypatch):
    """What has piled up goes in pieces, in order."""
    monkeypatch.setattr(delivery, "MAX_BATCH", 4)

    async def story(room: Room) -> None:
        await cancel_many(room, 10)

    assert [len(call) for call in run(story).calls] == [4, 4, 2]


def test_what_cannot_be_an_order_is_refused():
    """REFUSED proves that nothing was taken; no report follows, and the book is empty."""

    async def story(room: Room) -> None:
        outcome = await room.place(make_order(1, symbol="NSE:NONE"))
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.message == "NSE:NONE is not an instrument that is known here."
        assert await room.broker.book() == []

    assert run(story).reports == []


def test_what_the_money_does_not_cover_is_rejected_by_report():
    """Accepted into the book and rejected there, as a risk system does."""

    async def story(room: Room) -> None:
        outcome = await room.place(make_order(1, qty=2000))
        assert outcome.kind is OutcomeKind.ACCEPTED
        (row,) = await room.broker.book()
        assert row.status is OrderStatus.REJECTED
        assert "Insufficient funds" in row.message

    assert kinds(run(story).reports) == ["REJECTED"]


def test_reference_price_of_a_market_order_is_not_a_limit():
    """An alert's own price rides along in the intent and means nothing to the venue."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, price="900.01"))

    assert run(story).reports[0].last_px == 1000


def test_resting_order_meets_prices_as_they_come():
    """`on_price` fills it; prices that reach nothing cost no write."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        writes = room.store.writes
        await room.move_price(950)
        await room.broker.on_price(INFY.symbol, Decimal(1))
        await room.broker.on_price(SYMBOL, Decimal(0))
        assert room.store.writes == writes
        await room.move_price(900)

    room = run(story)
    assert kinds(room.reports) == ["PLACED", "FILL"]


def test_instrument_that_is_gone_leaves_its_orders_resting():
    """A list of instruments that lost a symbol is no reason to fail."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        del known[SYMBOL]
        await room.move_price(900)

    known = dict(INSTRUMENTS)
    assert kinds(run_with(known, story).reports) == ["PLACED"]


def run_with(known: dict[str, Any], story: Callable[[Room], Coroutine[Any, Any, None]]) -> Room:
    async def tell(room: Room) -> None:
        room.broker._instrument = known.get
        await story(room)

    return run(tell)


def test_cancel_is_asked_by_id_or_by_tag():
    """A lost answer leaves the bridge without the id; the tag is enough. Ended and unknown orders are refused."""

    async def story(room: Room) -> None:
        first, second = (make_order(number, ord_type=LIMIT, price=900) for number in (1, 2))
        ident = (await room.place(first)).broker_order_id
        await room.place(second)
        outcome = await room.broker.cancel(replace(first, broker_order_id=ident))
        assert (outcome.kind, outcome.broker_order_id) == (OutcomeKind.ACCEPTED, ident)
        assert (await room.broker.cancel(second)).kind is OutcomeKind.ACCEPTED
        again = await room.broker.cancel(second)
        assert again.kind is OutcomeKind.REFUSED
        assert again.message == "The order is CANCELLED already and cannot be cancelled."
        assert (await room.broker.cancel(make_order(3))).message == "There is no such order."

    assert kinds(run(story).reports) == ["PLACED", "PLACED", "CANCELLED", "CANCELLED"]


# --- reads ----------------------------------------------------------------------------------------------------------


def test_book_positions_and_funds_tell_what_happened():
    """The three reads of a reconciliation."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, qty=10))
        await room.place(make_order(2, SELL, 4))
        await room.place(make_order(3, ord_type=LIMIT, price=900))
        await room.place(make_order(4, symbol=INFY.symbol, ord_type=LIMIT, price=100))
        room.prices[SYMBOL] = Decimal(1010)
        rows = await room.broker.book()
        assert [(row.tag, int(row.cum_qty), row.status) for row in rows] == [
            (make_order(1).tag, 10, OrderStatus.FILLED),
            (make_order(2).tag, 4, OrderStatus.FILLED),
            (make_order(3).tag, 0, OrderStatus.PLACED),
            (make_order(4).tag, 0, OrderStatus.PLACED),
        ]
        await room.settle()
        assert [fill for row in rows for fill in row.fills] == [r for r in room.reports if r.exec_id]
        (position,) = await room.broker.positions()
        assert (position.symbol, position.product, position.quantity) == (SYMBOL, Product.MIS, Decimal(6))
        funds = await room.broker.funds()
        assert funds.equity == 1_000_060
        assert funds.available == 1_000_060 - 6_000 - 9_000 - 1_000
        assert funds.at == room.clock.now()

    run(story)


def test_reading_a_long_book_lets_others_work(monkeypatch):
    """The event loop is not held for thousands of rows."""
    monkeypatch.setattr("bridge.brokers.paper.adapter.ROWS_PER_TURN", 1)

    async def story(room: Room) -> None:
        for number in range(3):
            await room.place(make_order(number))
        assert len(await room.broker.book()) == 3

    run(story)


def test_accounts_share_shelves_and_nothing_else():
    """Money, positions, order numbers and books of two accounts are apart."""

    async def story(room: Room) -> None:
        other = room.make("second", cash=Decimal(500))
        await other.start(room.sink)
        await room.place(make_order(1))
        outcome = await other.place(make_order(2, account="second"))
        assert outcome.broker_order_id == "261120000000001"
        (row,) = await other.book()
        assert row.status is OrderStatus.REJECTED
        assert await other.positions() == []
        assert (await other.funds()).equity == 500
        assert len(await room.broker.book()) == 1
        await other.stop()

    run(story)


@pytest.mark.parametrize("read", ["book", "positions", "funds"])
def test_books_that_cannot_be_read_are_unknown_not_empty(read):
    """A failing store is an error of its own kind."""

    async def story(room: Room) -> None:
        room.store.faults = ["before"]
        with pytest.raises(BookUnreadableError, match="the disk is full"):
            await getattr(room.broker, read)()

    run(story)


# --- days -----------------------------------------------------------------------------------------------------------


def test_end_of_day_expires_what_rests():
    """Called at the session's end; a failing store is told, so that it is called again."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        room.store.faults = ["before"]
        with pytest.raises(StoreError, match="the disk is full"):
            await room.broker.end_day()
        await room.broker.end_day()
        await room.broker.end_day()

    assert kinds(run(story).reports) == ["PLACED", "EXPIRED"]


@pytest.mark.parametrize("through", ["place", "price", "start"])
def test_a_new_day_expires_and_forgets(through):
    """Whatever comes first on a new day: yesterday's resting orders expire, its closed ones leave memory."""

    async def story(room: Room) -> None:
        await room.place(make_order(1))
        await room.place(make_order(2, ord_type=LIMIT, price=900))
        room.clock.move(days=1)
        if through == "place":
            await room.place(make_order(3, ord_type=LIMIT, price=900))
        elif through == "price":
            await room.move_price(900)
        else:
            await room.broker.stop()
            await room.broker.start(room.sink)
        tags = [row.tag for row in await room.broker.book()]
        assert tags[0] == make_order(2).tag
        assert make_order(1).tag not in tags
        assert room.shelves.orders.with_tag("paper", make_order(1).tag) == []
        assert [p.quantity for p in await room.broker.positions()] == [10]

    room = run(story)
    assert kinds(room.calls[0]) == ["EXPIRED"]
    assert room.calls[0][0].tag == make_order(2).tag


def test_yesterdays_order_is_not_filled_by_todays_first_price():
    """It expires before the price is looked at."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        room.clock.move(days=1)
        await room.move_price(900)

    assert kinds(run(story).reports) == ["PLACED", "EXPIRED"]


# --- a failing store ------------------------------------------------------------------------------------------------


def test_order_that_was_not_written_was_not_sent():
    """The store said no before it ran: nothing happened, and it may be sent again."""

    async def story(room: Room) -> None:
        room.store.faults = ["before"]
        outcome = await room.place(make_order(1))
        assert (outcome.kind, outcome.message) == (OutcomeKind.NOT_SENT, "the disk is full")
        assert await room.broker.book() == []

    assert run(story).reports == []


def test_order_whose_commit_failed_was_not_sent():
    """Looked up in the books as they are on disk: it is not there."""

    async def story(room: Room) -> None:
        room.store.faults = ["undone"]
        outcome = await room.place(make_order(1))
        assert outcome.kind is OutcomeKind.NOT_SENT
        assert await room.broker.book() == []
        assert (await room.place(make_order(1))).broker_order_id == "261120000000001"

    assert kinds(run(story).reports) == ["FILL"]


def test_order_whose_commit_arrived_after_all_was_sent():
    """An error that came after the commit must not make the bridge send twice."""

    async def story(room: Room) -> None:
        room.store.faults = ["kept"]
        outcome = await room.place(make_order(1))
        assert (outcome.kind, outcome.broker_order_id) == (OutcomeKind.ACCEPTED, "261120000000001")

    assert kinds(run(story).reports) == ["FILL"]


def test_order_that_nobody_can_tell_about_is_unknown():
    """Neither written nor not written: only the book may say, later."""

    async def story(room: Room) -> None:
        room.store.faults = ["kept", "before"]
        outcome = await room.place(make_order(1))
        assert outcome.kind is OutcomeKind.UNKNOWN
        assert "not known" in outcome.message

    assert run(story).reports == []


def test_cancel_that_was_not_written_was_not_sent():
    """The order rests on."""

    async def story(room: Room) -> None:
        order = make_order(1, ord_type=LIMIT, price=900)
        await room.place(order)
        room.store.faults = ["undone"]
        assert (await room.broker.cancel(order)).kind is OutcomeKind.NOT_SENT
        assert (await room.broker.cancel(order)).kind is OutcomeKind.ACCEPTED

    assert kinds(run(story).reports) == ["PLACED", "CANCELLED"]


def test_price_whose_write_failed_is_met_again_by_the_next():
    """`on_price` raises nothing; the order fills later."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        room.store.faults = ["undone"]
        await room.move_price(899)
        await room.settle()
        assert kinds(room.reports) == ["PLACED"]
        await room.move_price(899)

    assert kinds(run(story).reports) == ["PLACED", "FILL"]


def test_part_that_was_not_written_is_not_told():
    """A partly filled order is found in the books either way; what was filled decides."""

    async def story(room: Room) -> None:
        await room.place(make_order(1, ord_type=LIMIT, price=900))
        await room.move_price(900)
        room.store.faults = ["undone"]
        await room.move_price(900)
        await room.settle()
        assert kinds(room.reports) == ["PLACED", "FILL"]
        assert [position.quantity for position in await room.broker.positions()] == [5]

    run(story, policy=PaperPolicy(charges=False, fill_ratio=Decimal("0.5")))


@pytest.mark.parametrize("fault", ["before", "undone"])
def test_failing_store_does_not_keep_the_broker_from_starting(fault):
    """The first order turns the account to today."""

    async def story(room: Room) -> None:
        await room.broker.stop()
        room.clock.move(days=1)
        room.store.faults = [fault]
        await room.broker.start(room.sink)
        assert room.broker.status().connected
        assert (await room.place(make_order(1))).broker_order_id == "261121000000001"

    run(story)


def test_reports_of_a_command_nobody_waits_for_are_told():
    """A cancelled `place` has an unknown outcome, but if the order is in the book its fill is reported."""

    async def story(room: Room) -> None:
        task = asyncio.ensure_future(room.broker.place(make_order(1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await room.settle()
        assert kinds(room.reports) == ["FILL"]

    run(story)


def test_stop_gives_up_finding_out():
    """What is not known at the stop is in the book, to be read after the next start."""

    async def story(room: Room) -> None:
        task = asyncio.ensure_future(room.broker.place(make_order(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        await room.broker.stop()
        await room.settle()
        assert len(await room.broker.book()) == 1

    assert run(story).reports == []


# --- a failing sink -------------------------------------------------------------------------------------------------


def test_reports_that_were_not_taken_are_told_again():
    """The same reports in the same order, until they are taken."""

    async def story(room: Room) -> None:
        room.sink_faults = 3
        await cancel_many(room, 2)
        await asyncio.sleep(0.05)

    room = run(story)
    assert [r.tag for call in room.calls for r in call] == [make_order(number).tag for number in range(2)]
    assert room.broker._delivery.failures == 3


def test_no_orders_are_taken_while_reports_pile_up(monkeypatch):
    """Bounded: the venue stops, nothing is lost, and it goes on once the bridge takes reports again."""
    monkeypatch.setattr(delivery, "MAX_WAITING", 2)
    monkeypatch.setattr(delivery, "FIRST_RETRY_S", 0.01)

    async def story(room: Room) -> None:
        room.sink_faults = 1
        await room.place(make_order(9, ord_type=LIMIT, price=800))
        await cancel_many(room, 2)
        await room.settle()
        assert not room.broker.status().connected
        outcome = await room.place(make_order(3))
        assert outcome.kind is OutcomeKind.NOT_SENT
        assert outcome.message == "2 reports have not been taken; no orders until they are."
        await room.move_price(800)
        await asyncio.sleep(0.05)
        assert room.broker.status().connected
        assert (await room.place(make_order(3))).kind is OutcomeKind.ACCEPTED

    room = run(story)
    assert kinds(room.reports) == ["PLACED"] * 3 + ["CANCELLED", "CANCELLED", "FILL"]


def test_nothing_is_told_after_stop_and_nothing_is_lost():
    """Reports that were waiting come after the next start."""

    async def story(room: Room) -> None:
        order = make_order(1, ord_type=LIMIT, price=900)
        await room.place(order)
        await room.broker.cancel(order)
        await room.broker.stop()
        await room.broker.end_day()
        await room.settle()
        assert room.calls == []
        assert room.broker.status().message == "The paper broker has not been started."
        await room.broker.start(room.sink)
        await room.settle()
        assert kinds(room.calls[0]) == ["CANCELLED"]

    run(story)


def test_starting_again_replaces_the_sink(monkeypatch):
    """One task delivers, never two, also while the first waits to try again."""
    monkeypatch.setattr(delivery, "FIRST_RETRY_S", 0.01)

    async def story(room: Room) -> None:
        other: list[Report] = []

        async def second(reports: list[Report]) -> None:
            other.extend(reports)

        room.sink_faults = 1
        await cancel_many(room, 1)
        await room.settle()
        await room.broker.start(second)
        await asyncio.sleep(0.05)
        assert kinds(other) == ["CANCELLED"]

    assert run(story).calls == []


# --- after a restart ------------------------------------------------------------------------------------------------


def reload(shelves: PaperShelves) -> PaperShelves:
    """What a restart reads: every value through its row and back."""
    fresh = PaperShelves()
    target: dict[str, Shelf[Any, Any]] = fresh.by_name()
    for name, shelf in shelves.by_name().items():
        codec = PAPER_CODECS[name]
        for key, value in shelf.values.items():
            row = codec.encode(key, value)
            assert len(row) == len(codec.columns)
            decoded = codec.decode(row)
            assert decoded == (key, value)
            target[name].set(*decoded)
    return fresh


def test_books_come_back_from_their_rows():
    """Orders of every shape, positions and money survive as they were, and go on."""

    async def story(room: Room) -> None:
        await room.place(make_order(1))
        await room.place(make_order(2, ord_type=LIMIT, price=900))
        await room.place(make_order(3, SELL, 5, ord_type=OrdType.SL, trigger_price=950, price=940))
        await room.place(make_order(4, qty=50_000))
        before = [await room.broker.book(), await room.broker.positions(), await room.broker.funds()]
        again = room.make()
        again._shelves = room.shelves = reload(room.shelves)
        assert [await again.book(), await again.positions(), await again.funds()] == before
        await again.start(room.sink)
        room.prices[SYMBOL] = Decimal(900)
        await again.on_price(SYMBOL, Decimal(900))
        assert (await again.place(make_order(5))).broker_order_id == "261120000000005"
        await room.settle()
        await again.stop()

    room = run(story, policy=PaperPolicy(fill_ratio=Decimal("0.5")))
    told = [r for r in room.reports if r.tag == make_order(2).tag]
    assert kinds(told) == ["PLACED", "FILL"]


def test_codecs_fit_the_tables():
    """Names and order of the columns; the store would refuse to start otherwise."""
    maps = paper_maps(PAPER_CODECS)
    assert set(maps) == set(PaperShelves().by_name())
    broken = {**PAPER_CODECS, "paper_orders": PAPER_CODECS["paper_accounts"]}
    with pytest.raises(Exception, match="paper_orders"):
        paper_maps(broken)


def test_an_order_taken_back_leaves_no_trace_in_the_indexes():
    """The store undoes by putting the old value back, None for a new order."""
    shelves = PaperShelves()

    async def story(room: Room) -> None:
        room.store.faults = ["undone"]
        order = make_order(1, ord_type=LIMIT, price=900)
        await room.place(order)
        assert shelves.orders.with_tag("paper", order.tag) == []
        assert shelves.orders.working("paper", SYMBOL) == {}
        await room.place(order)
        await room.place(order)
        assert len(shelves.orders.with_tag("paper", order.tag)) == 2
        shelves.orders.set(("paper", "261120000000002"), None)
        assert [o.broker_order_id for o in shelves.orders.with_tag("paper", order.tag)] == ["261120000000001"]
        shelves.orders.set(("paper", "nothing"), None)

    run(story, shelves=shelves)


def test_clock_that_is_asked_is_the_one_given():
    """Times in reports are the venue's, aware and from the clock."""

    async def story(room: Room) -> None:
        room.clock.move(seconds=1)
        await room.place(make_order(1))

    room = run(story)
    assert room.reports[0].transact_time == SetClock().now() + timedelta(seconds=1)
