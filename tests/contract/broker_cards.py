"""What every broker adapter must do, as numbered cards; paper and live adapters pass the same ones.

To put an adapter through them, write a Rig for it and hand a way to make one to `deal`, as test_paper_contract.py does. A
live adapter's rig runs against a fake of its broker's server. A card talks to the adapter through the port alone; the rig
makes orders, moves the market and waits. Numbers are never given anew: a card that goes leaves a gap.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from bridge.brokers.base import Broker
from bridge.core.enums import OrdType, OutcomeKind, Product, ReportKind, Side, TimeInForce
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.replacement import Replacement, Terms
from bridge.core.report import BookRow, Outcome, Report

BUY, SELL = Side.BUY, Side.SELL
LIMIT = OrdType.LIMIT
# A fake answers within a few turns of the loop, a server on loopback within some pauses.
QUICK_TURNS, PLENTY_OF_TURNS = 20, 1_000
PAUSE_S = 0.002


class Rig(Protocol):
    """One adapter in its surroundings, fresh for each card.

    The market starts at 1000 with enough money for any card; `symbol` has a tick of 0.05 and a lot of one. `reports` is
    what the adapter's sink has been given.
    """

    account: str
    symbol: str
    reports: list[Report]

    @property
    def broker(self) -> Broker:
        """The adapter, through its port."""
        ...

    async def open(self) -> None:
        """Start the adapter with a sink that fills `reports`."""
        ...

    async def close(self) -> None:
        """Stop the adapter and all that was made for it."""
        ...

    def order(
        self,
        side: Side,
        qty: int,
        *,
        ord_type: OrdType = OrdType.MARKET,
        price: str | None = None,
        trigger_price: str | None = None,
        time_in_force: TimeInForce = TimeInForce.DAY,
        product: Product = Product.MIS,
        symbol: str | None = None,
    ) -> Order:
        """A new order of the bridge with a tag of its own."""
        ...

    def protection(self, side: Side, qty: int, **triggers: str) -> Order:
        """A new protective order: `stop`, `target` or both, by their triggers; limits are ten rupees worse."""
        ...

    async def move_price(self, price: str) -> None:
        """Let the market trade at this price."""
        ...


Card = Callable[[Rig], Awaitable[None]]
CARDS: list[Card] = []


def card(number: int) -> Callable[[Card], Card]:
    """Register a card under its number."""

    def register(play: Card) -> Card:
        assert play.__name__.startswith(f"card_{number:02d}_"), "the name says the number"
        assert all(not known.__name__.startswith(f"card_{number:02d}_") for known in CARDS), "a number is used once"
        CARDS.append(play)
        return play

    return register


def deal(play: Card, make_rig: Callable[[], Rig]) -> None:
    """Play one card against a fresh rig."""

    async def played() -> None:
        rig = make_rig()
        await rig.open()
        try:
            await play(rig)
        finally:
            await rig.close()

    asyncio.run(played())


# --- what cards are made of -----------------------------------------------------------------------------------------


class Told:
    """All that was told of orders: with the answers, and through the sink."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.with_answers: list[Report] = []

    async def place(self, order: Order) -> Outcome:
        """Place and keep what the answer tells."""
        outcome = await self.rig.broker.place(order)
        self.with_answers.extend(outcome.reports)
        return outcome

    def of(self, order: Order, *kinds: ReportKind) -> list[Report]:
        """Distinct reports of an order; repeats are allowed to an adapter and mean nothing."""
        every = [*self.with_answers, *self.rig.reports]
        mine = [report for report in every if report.tag == order.tag and (not kinds or report.kind in kinds)]
        return list(dict.fromkeys(mine))

    async def until(self, order: Order, *kinds: ReportKind) -> list[Report]:
        """Wait until something of these kinds has been told, and give all of it."""
        return await self._wait(order, kinds, bool)

    async def filled(self, order: Order) -> list[Report]:
        """Wait until the whole order has been told filled, and give its executions."""
        wanted = order.intent.order_qty
        return await self._wait(order, (ReportKind.FILL,), lambda found: sum(fill.last_qty for fill in found) >= wanted)

    async def terms(self, order: Order, terms: Terms) -> None:
        """Wait until these terms of the order have been told."""
        kinds = (ReportKind.PLACED, ReportKind.REPLACED)
        await self._wait(order, kinds, lambda found: any(report.terms == terms for report in found))

    async def _wait(self, order: Order, kinds: tuple[ReportKind, ...], enough: Callable[[list[Report]], bool]) -> list[Report]:
        for turn in range(PLENTY_OF_TURNS):
            found = self.of(order, *kinds)
            if enough(found):
                return found
            await asyncio.sleep(0 if turn < QUICK_TURNS else PAUSE_S)
        raise AssertionError(f"of {order.tag} only {[report.kind.value for report in self.of(order)]} was told")


async def rows_of(rig: Rig, order: Order) -> list[BookRow]:
    """The book's rows under an order's tag."""
    return [row for row in await rig.broker.book() if row.tag == order.tag]


async def held(rig: Rig) -> Decimal:
    """Net quantity of the rig's symbol."""
    return sum((p.quantity for p in await rig.broker.positions() if p.symbol == rig.symbol), Decimal(0))


# --- the cards ------------------------------------------------------------------------------------------------------


@card(1)
async def card_01_a_market_order_is_accepted_and_filled(rig: Rig) -> None:
    """ACCEPTED carries the broker's id; fills carry our tag, that id, and add up to the order."""
    told, order = Told(rig), rig.order(BUY, 10)
    outcome = await told.place(order)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.broker_order_id
    fills = await told.filled(order)
    assert sum(fill.last_qty for fill in fills) == 10
    for fill in fills:
        assert (fill.account, fill.broker_order_id) == (rig.account, outcome.broker_order_id)
        assert fill.exec_id
        assert fill.last_qty > 0
        assert fill.last_px > 0
        assert fill.charges >= 0
        assert fill.transact_time.tzinfo is not None


@card(2)
async def card_02_executions_have_ids_of_their_own(rig: Rig) -> None:
    """(account, exec_id) is unique over all orders: the bridge counts each once by it."""
    told, orders = Told(rig), [rig.order(BUY, 10), rig.order(SELL, 10), rig.order(BUY, 5)]
    for order in orders:
        await told.place(order)
    fills = [fill for order in orders for fill in await told.filled(order)]
    assert len({fill.exec_id for fill in fills}) == len(fills)


@card(3)
async def card_03_a_limit_order_away_from_the_price_rests(rig: Rig) -> None:
    """It is told PLACED, stands in the book as working, and holds nothing."""
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    outcome = await told.place(order)
    assert outcome.kind is OutcomeKind.ACCEPTED
    await told.until(order, ReportKind.PLACED)
    (row,) = await rows_of(rig, order)
    assert row.status is OrderStatus.PLACED
    assert (row.symbol, row.side, row.order_qty, row.cum_qty) == (rig.symbol, BUY, Decimal(10), Decimal(0))
    assert await held(rig) == 0


@card(4)
async def card_04_a_resting_order_fills_when_its_price_comes(rig: Rig) -> None:
    """At the limit or better, and not before."""
    told, order = Told(rig), rig.order(SELL, 10, ord_type=LIMIT, price="1100")
    await told.place(order)
    await rig.move_price("1050")
    await told.until(order, ReportKind.PLACED)
    assert told.of(order, ReportKind.FILL) == []
    await rig.move_price("1100")
    fills = await told.filled(order)
    assert all(fill.last_px >= 1100 for fill in fills)
    assert await held(rig) == -10


@card(5)
async def card_05_a_cancel_ends_a_resting_order(rig: Rig) -> None:
    """ACCEPTED means asked; the end comes as a report, and the price no longer fills it."""
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    outcome = await told.place(order)
    assert (await rig.broker.cancel(with_id(order, outcome))).kind is OutcomeKind.ACCEPTED
    await told.until(order, ReportKind.CANCELLED)
    await rig.move_price("900")
    (row,) = await rows_of(rig, order)
    assert row.status is OrderStatus.CANCELLED
    assert told.of(order, ReportKind.FILL) == []


def with_id(order: Order, outcome: Outcome) -> Order:
    """The order as the bridge knows it after the answer."""
    return replace(order, broker_order_id=outcome.broker_order_id)


@card(6)
async def card_06_a_cancel_of_what_has_ended_is_refused(rig: Rig) -> None:
    """REFUSED with a sentence; the fill stays."""
    told, order = Told(rig), rig.order(BUY, 10)
    outcome = await told.place(order)
    await told.filled(order)
    answer = await rig.broker.cancel(with_id(order, outcome))
    assert answer.kind is OutcomeKind.REFUSED
    assert answer.message
    assert await held(rig) == 10


@card(7)
async def card_07_a_cancel_of_what_never_was_is_refused(rig: Rig) -> None:
    """An order the broker does not know cannot be cancelled."""
    assert (await rig.broker.cancel(rig.order(BUY, 10))).kind is OutcomeKind.REFUSED


@card(8)
async def card_08_what_is_no_order_is_refused(rig: Rig) -> None:
    """An unknown symbol is REFUSED with a sentence, and nothing of it is in the book."""
    order = rig.order(BUY, 10, symbol="NSE:NO-SUCH-THING")
    outcome = await rig.broker.place(order)
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.message
    assert await rows_of(rig, order) == []


@card(9)
async def card_09_what_the_money_does_not_cover_comes_to_nothing(rig: Rig) -> None:
    """Refused, or accepted and rejected by report: either way with a sentence and without a fill."""
    told, order = Told(rig), rig.order(BUY, 100_000_000)
    outcome = await told.place(order)
    if outcome.kind is OutcomeKind.ACCEPTED:
        (report,) = await told.until(order, ReportKind.REJECTED)
        assert report.message
        (row,) = await rows_of(rig, order)
        assert row.status is OrderStatus.REJECTED
    else:
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.message
    assert told.of(order, ReportKind.FILL) == []
    assert await held(rig) == 0


@card(10)
async def card_10_the_book_is_found_by_tag_and_carries_the_fills(rig: Rig) -> None:
    """What a lost answer is looked up by: the row has the id, the quantities and the executions as they were told."""
    told, order = Told(rig), rig.order(BUY, 10)
    outcome = await told.place(order)
    fills = await told.filled(order)
    (row,) = await rows_of(rig, order)
    assert (row.broker_order_id, row.status) == (outcome.broker_order_id, OrderStatus.FILLED)
    assert row.cum_qty == row.order_qty == 10
    assert {fill.exec_id for fill in row.fills} == {fill.exec_id for fill in fills}
    assert sum(fill.last_qty for fill in row.fills) == 10
    assert all(fill.kind is ReportKind.FILL and fill.tag == order.tag for fill in row.fills)


@card(11)
async def card_11_positions_are_net_and_leave_out_what_is_flat(rig: Rig) -> None:
    """Signed units per symbol and product."""
    told = Told(rig)
    assert await rig.broker.positions() == []
    for side, qty, after in ((BUY, 10, 10), (SELL, 15, -5), (BUY, 5, 0)):
        order = rig.order(side, qty)
        await told.place(order)
        await told.filled(order)
        assert await held(rig) == after
    assert await rig.broker.positions() == []


@card(12)
async def card_12_funds_say_what_is_there_and_what_can_be_spent(rig: Rig) -> None:
    """A resting order takes from what can be spent, not from what is there."""
    before = await rig.broker.funds()
    assert before.account == rig.account
    assert before.at.tzinfo is not None
    assert 0 < before.available <= before.equity
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    await told.place(order)
    after = await rig.broker.funds()
    assert after.equity == before.equity
    assert after.available < before.available


@card(13)
async def card_13_a_stop_order_waits_for_its_trigger(rig: Rig) -> None:
    """It is working until the trigger is met, and fills after that."""
    told, order = Told(rig), rig.order(SELL, 10, ord_type=OrdType.SL, trigger_price="950", price="940")
    await told.place(order)
    await rig.move_price("960")
    (row,) = await rows_of(rig, order)
    assert row.status is OrderStatus.PLACED
    await rig.move_price("950")
    fills = await told.filled(order)
    assert all(fill.last_px >= 940 for fill in fills)


@card(14)
async def card_14_an_ioc_order_never_rests(rig: Rig) -> None:
    """What does not fill at once is cancelled."""
    told = Told(rig)
    order = rig.order(BUY, 10, ord_type=LIMIT, price="900", time_in_force=TimeInForce.IOC)
    await told.place(order)
    await told.until(order, ReportKind.CANCELLED)
    (row,) = await rows_of(rig, order)
    assert row.status is OrderStatus.CANCELLED


@card(15)
async def card_15_orders_arrive_in_the_order_they_are_placed(rig: Rig) -> None:
    """Up to `max_in_flight` may be on their way at once; the broker sees them in the order of the calls."""
    told = Told(rig)
    orders = [rig.order(BUY, 1) for _ in range(min(5, rig.broker.capabilities.max_in_flight))]
    outcomes = await asyncio.gather(*(told.place(order) for order in orders))
    assert all(outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes)
    for order in orders:
        await told.filled(order)
    book = {row.broker_order_id: row.tag for row in await rig.broker.book()}
    assert [book[str(outcome.broker_order_id)] for outcome in outcomes] == [order.tag for order in orders]


@card(16)
async def card_16_status_tells_whether_the_session_is_open(rig: Rig) -> None:
    """Connected between start and stop, with a sentence when it is not."""
    assert rig.broker.status().connected
    await rig.broker.stop()
    assert not rig.broker.status().connected
    assert rig.broker.status().message


@card(17)
async def card_17_nothing_is_told_after_stop(rig: Rig) -> None:
    """The sink is not called any more."""
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    await told.place(order)
    await told.until(order, ReportKind.PLACED)
    await rig.broker.stop()
    before = len(rig.reports)
    await rig.move_price("900")
    await asyncio.sleep(0.01)
    assert len(rig.reports) == before


@card(18)
async def card_18_a_protection_waits_for_one_of_its_prices(rig: Rig) -> None:
    """It works, fills nothing between its triggers, and closes at its limit or better when one of them trades."""
    told, entry = Told(rig), rig.order(BUY, 10)
    await told.place(entry)
    await told.filled(entry)
    order = rig.protection(SELL, 10, stop="950", target="1050")
    outcome = await told.place(order)
    assert outcome.kind is OutcomeKind.ACCEPTED
    assert outcome.broker_order_id
    await rig.move_price("960")
    await rig.move_price("1040")
    (row,) = await rows_of(rig, order)
    assert (row.status, row.cum_qty, row.broker_order_id) == (OrderStatus.PLACED, Decimal(0), outcome.broker_order_id)
    await rig.move_price("949")
    fills = await told.filled(order)
    assert all(940 <= fill.last_px <= 950 for fill in fills)
    assert await held(rig) == 0


@card(19)
async def card_19_when_one_leg_triggers_the_other_is_gone(rig: Rig) -> None:
    """The whole protection is one order, with one row in the book; nothing of it is left to open a position."""
    told, entry = Told(rig), rig.order(BUY, 10)
    await told.place(entry)
    await told.filled(entry)
    order = rig.protection(SELL, 10, stop="950", target="1050")
    await told.place(order)
    await rig.move_price("1051")
    await told.filled(order)
    await rig.move_price("940")
    await rig.move_price("1060")
    (row,) = await rows_of(rig, order)
    assert (row.status, row.cum_qty) == (OrderStatus.FILLED, Decimal(10))
    assert await held(rig) == 0
    assert [one.tag for one in await rig.broker.book()] == [entry.tag, order.tag]


@card(20)
async def card_20_a_protection_can_be_withdrawn(rig: Rig) -> None:
    """Its end is told; its prices mean nothing any more; a second cancel is refused."""
    told, order = Told(rig), rig.protection(BUY, 10, stop="1050")
    await told.place(order)
    assert (await rig.broker.cancel(order)).kind is OutcomeKind.ACCEPTED
    await told.until(order, ReportKind.CANCELLED)
    await rig.move_price("1060")
    assert not told.of(order, ReportKind.FILL)
    assert (await rig.broker.cancel(order)).kind is OutcomeKind.REFUSED


@card(21)
async def card_21_a_protection_that_has_triggered_and_works_can_be_cancelled(rig: Rig) -> None:
    """The market went through its limit: what works now is an ordinary order, and a cancel ends that."""
    told, order = Told(rig), rig.protection(SELL, 10, stop="950")
    await told.place(order)
    await rig.move_price("930")
    (row,) = await rows_of(rig, order)
    assert (row.status, row.cum_qty) == (OrderStatus.PLACED, Decimal(0))
    assert (await rig.broker.cancel(order)).kind is OutcomeKind.ACCEPTED
    await told.until(order, ReportKind.CANCELLED)
    await rig.move_price("960")
    assert not told.of(order, ReportKind.FILL)


@card(22)
async def card_22_a_trigger_that_is_met_already_comes_to_nothing(rig: Rig) -> None:
    """Refused at once or rejected in the book, for this reason: it would wait for its price from the other side."""
    told, order = Told(rig), rig.protection(SELL, 10, stop="1000")
    outcome = await told.place(order)
    if outcome.kind is OutcomeKind.ACCEPTED:
        assert {report.reason for report in await told.until(order, ReportKind.REJECTED)} == {Reason.TRIGGER_MET}
        rows = [row for row in await rig.broker.book() if row.tag == order.tag]
        assert [row.reason for row in rows] == [Reason.TRIGGER_MET]
    else:
        assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, Reason.TRIGGER_MET)
    assert "1000" in outcome.message or "1000" in "".join(report.message for report in told.of(order))


@card(23)
async def card_23_a_change_gives_a_resting_order_other_terms(rig: Rig) -> None:
    """ACCEPTED means asked; the new terms come as a report or with the row, and the order fills by them and not by the old."""
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    outcome = await told.place(order)
    changed = asking(order, outcome, 8, price="950")
    for _ in range(2):  # asking for the same again does no harm
        assert (await rig.broker.modify(changed)).kind is OutcomeKind.ACCEPTED
        await row_with(rig, order, Decimal(8))
    (row,) = await rows_of(rig, order)
    assert (row.broker_order_id, row.status, row.price) == (outcome.broker_order_id, OrderStatus.PLACED, Decimal(950))
    await told.terms(order, Terms(order_qty=Decimal(8), price=Decimal(950)))
    await rig.move_price("950")
    fills = await told.filled(replace(order, intent=replace(order.intent, order_qty=Decimal(8))))
    assert sum(fill.last_qty for fill in fills) == await held(rig) == 8


def asking(order: Order, outcome: Outcome, qty: int, **prices: str) -> Order:
    """The order as the bridge knows it when it asks for other terms."""
    terms = Terms(order_qty=Decimal(qty), **{name: Decimal(value) for name, value in prices.items()})
    wished = Replacement(alert_id="01M7Y30VFDHCFSB4QJ57EQTXP6", terms=terms, signal_at=order.created_at)
    return replace(with_id(order, outcome), status=OrderStatus.REPLACE_PENDING, replace=wished)


async def row_with(rig: Rig, order: Order, qty: Decimal) -> None:
    """Wait until the book tells that quantity of the order."""
    for _ in range(PLENTY_OF_TURNS):
        (row,) = await rows_of(rig, order)
        if row.order_qty == qty:
            return
        await asyncio.sleep(PAUSE_S)
    raise AssertionError(f"the book never told {qty} of {order.tag}")


@card(24)
async def card_24_a_change_that_can_trade_does_at_once(rig: Rig) -> None:
    """A limit that has come to the market, and a stop whose price is met, fill without waiting for the next price."""
    told, order = Told(rig), rig.order(BUY, 10, ord_type=LIMIT, price="900")
    outcome = await told.place(order)
    assert (await rig.broker.modify(asking(order, outcome, 10, price="1000"))).kind is OutcomeKind.ACCEPTED
    await rig.move_price("1000")
    fills = await told.filled(order)
    assert all(fill.last_px <= 1000 for fill in fills)


@card(25)
async def card_25_a_stop_is_moved(rig: Rig) -> None:
    """Its new trigger and limit count, the old ones do not."""
    told, order = Told(rig), rig.order(SELL, 10, ord_type=OrdType.SL, trigger_price="950", price="940")
    outcome = await told.place(order)
    assert (await rig.broker.modify(asking(order, outcome, 10, price="960", trigger_price="970"))).kind is OutcomeKind.ACCEPTED
    for _ in range(PLENTY_OF_TURNS):
        (row,) = await rows_of(rig, order)
        if row.trigger_price == Decimal(970):
            break
        await asyncio.sleep(PAUSE_S)
    await rig.move_price("970")
    fills = await told.filled(order)
    assert all(fill.last_px >= 960 for fill in fills)


@card(26)
async def card_26_a_change_of_what_has_ended_or_never_was_is_refused(rig: Rig) -> None:
    """REFUSED with a sentence, and nothing else happens."""
    told, order = Told(rig), rig.order(BUY, 10)
    outcome = await told.place(order)
    await told.filled(order)
    for answer in (
        await rig.broker.modify(asking(order, outcome, 20)),
        await rig.broker.modify(asking(rig.order(BUY, 10), Outcome(kind=OutcomeKind.UNKNOWN), 20)),
    ):
        assert answer.kind is OutcomeKind.REFUSED
        assert answer.message
    assert await held(rig) == 10
