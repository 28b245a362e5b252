"""The verdict on a look, as a function: from any book and any positions, in any order."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import OrdType, Product, ReportKind, Side
from bridge.core.hold import find_gaps, make_hold
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.report import BookRow, BrokerPosition
from bridge.execution.compare import (
    LAG,
    ODD_FOR_S,
    WORKING,
    Findings,
    Past,
    Read,
    Run,
    has_news,
    judge,
    pick_rows,
    sort_rows,
)
from tests.support.clocks import NOON
from tests.support.samples import make_order, make_report

SYMBOLS = ["NSE:A", "NSE:B", "NSE:C"]
LONG_AGO = NOON - LAG - timedelta(seconds=1)
OPEN = [status for status in OrderStatus if not status.is_closed]
quantities = st.dictionaries(
    st.tuples(st.sampled_from(SYMBOLS), st.sampled_from([Product.MIS, Product.CNC])), st.integers(-3, 3), max_size=4
)


def ledger_with(held: dict[tuple[str, Product], int], *orders: Order) -> Ledger:
    ledger = Ledger()
    for (symbol, product), quantity in held.items():
        key = PositionKey("paper", symbol, product.value)
        ledger.positions.set(key, Position(key=key, multiplier=Decimal(1), quantity=Decimal(quantity)))
    for order in orders:
        ledger.orders.set(order.cl_ord_id, order)
    return ledger


def acknowledged(number: int = 1, **values: Any) -> Order:
    given: dict[str, Any] = {
        "at": LONG_AGO, "status": OrderStatus.PLACED, "broker_order_id": f"B{number}", "sends": 1, "sent_at": LONG_AGO
    }  # fmt: skip
    return make_order(number, **{**given, **values})


def row_of(order: Order, broker_order_id: str | None = None, **values: Any) -> BookRow:
    row = BookRow(
        broker_order_id=broker_order_id or order.broker_order_id or "B?", tag=order.tag, symbol=order.intent.symbol,
        side=Side.BUY, product=Product.MIS, ord_type=OrdType.MARKET, order_qty=Decimal(10), cum_qty=Decimal(0),
        status=OrderStatus.PLACED, message="", updated_at=NOON,
    )  # fmt: skip
    return replace(row, **values)


def read_of(held: dict[tuple[str, Product], int], *rows: BookRow) -> Read:
    positions = tuple(
        BrokerPosition(symbol=symbol, product=product, quantity=Decimal(quantity))
        for (symbol, product), quantity in held.items()
    )
    return Read(account="paper", began=NOON, began_s=0, ended=NOON, rows=rows, positions=positions)


def look(ledger: Ledger, read: Read, past: Past | None = None, at: float = 0) -> Findings:
    own, external = sort_rows(read, lambda tag: ledger.orders.get(ledger.orders.by_tag.get(tag, "")))
    return judge(ledger, read, own, external, past or Past(), at)


# -- positions --------------------------------------------------------------------------------------------------------


@given(quantities, quantities)
def test_exactly_the_instruments_that_differ_are_held(ours: Any, theirs: Any) -> None:
    """In order of name, with the numbers of exactly the products that differ; nothing of ours is changed."""
    ledger = ledger_with(ours)
    before = dict(ledger.positions.values)
    found = look(ledger, read_of(theirs)).found
    wanted = {
        symbol for symbol, product in {*ours, *theirs} if ours.get((symbol, product), 0) != theirs.get((symbol, product), 0)
    }
    assert list(found) == sorted(wanted)
    for symbol, hold in found.items():
        for gap in hold.gaps:
            key = symbol, Product(gap.product)
            assert (gap.ours, gap.theirs) == (ours.get(key, 0), theirs.get(key, 0))
            assert gap.difference != 0
    assert ledger.positions.values == before


@given(quantities, quantities)
def test_a_second_look_at_the_same_finds_nothing_new(ours: Any, theirs: Any) -> None:
    """What was performed is no news: the timer stays silent."""
    ledger = ledger_with(ours)
    first = look(ledger, read_of(theirs))
    for symbol, hold in first.found.items():
        ledger.holds.set(("paper", symbol), hold)
    again = look(ledger, read_of(theirs), first.past)
    assert (again.is_news, again.moved) == (False, {})
    agreed = look(ledger, read_of(ours), again.past)
    assert list(agreed.cleared) == list(first.found)


@given(quantities, quantities, quantities)
def test_an_accepted_difference_stays_accepted_just_as_long_as_it_is_the_same(ours: Any, theirs: Any, traded: Any) -> None:
    """Whatever both trade alike changes the numbers and not the difference; anything else is held anew."""
    ledger = ledger_with(ours)
    for symbol, hold in look(ledger, read_of(theirs)).found.items():
        ledger.holds.set(("paper", symbol), replace(hold, accepted_by="anna"))

    def add(held: Any) -> Any:
        return {key: held.get(key, 0) + traded.get(key, 0) for key in {*held, *traded}}

    later = ledger_with(add(ours))
    later.holds = ledger.holds
    both = look(later, read_of(add(theirs)))
    assert (both.found, both.cleared) == ({}, ())
    assert all(hold.accepted_by == "anna" for hold in both.moved.values())
    one = look(later, read_of(theirs))
    for hold in one.found.values():
        assert hold.accepted_by == ""


# -- what explains a difference ---------------------------------------------------------------------------------------

SBIN, MIS = "NSE:SBIN", Product.MIS


class Looks:
    """One look after the other into a book in which others trade too; each is performed."""

    def __init__(self, ours: int) -> None:
        self.ledger = ledger_with({(SBIN, MIS): ours})
        self.rows: list[BookRow] = []
        self.traded = 0
        self.at, self.past = 0.0, Past()

    def trade(self, units: int, tag: str = "", product: Product = MIS) -> None:
        """An order of somebody else is in the book, filled."""
        side = Side.BUY if units > 0 else Side.SELL
        self.traded += 1
        row = row_of(make_order(90 + self.traded), f"X{self.traded}", tag=tag, symbol=SBIN, side=side, product=product)
        self.rows.append(replace(row, cum_qty=Decimal(abs(units)), status=OrderStatus.FILLED))

    def look(self, theirs: int, *, at: datetime = NOON, unread: str = "") -> int:
        """Have the broker say that it has so many; the explained part of the difference."""
        self.at += 60
        read = replace(read_of({(SBIN, MIS): theirs}, *self.rows), began=at, ended=at, unread=unread)
        found = look(self.ledger, read, self.past, self.at)
        self.past = found.past
        for symbol, hold in {**found.found, **found.moved}.items():
            self.ledger.holds.set(("paper", symbol), hold)
        for symbol in found.cleared:
            self.ledger.holds.set(("paper", symbol), None)
        self.ledger.elsewhere.set("paper", found.elsewhere)
        known = self.ledger.holds.get(("paper", SBIN))
        gap = known.gap(MIS) if known is not None else None
        return 0 if gap is None else int(gap.explained)

    def accept(self) -> None:
        hold = self.ledger.holds.get(("paper", SBIN))
        assert hold is not None
        self.ledger.holds.set(("paper", SBIN), replace(hold, accepted_by="anna"))

    def pending(self) -> int:
        return int(self.ledger.elsewhere.values["paper"].pending(SBIN, MIS))

    def restart(self) -> None:
        self.ledger.elsewhere.set("paper", None)
        self.past = Past()


def test_what_orders_placed_elsewhere_have_made_explains_a_difference() -> None:
    """In either order of appearance, and only as much as they made."""
    looks = Looks(10)
    looks.trade(-4)
    assert looks.look(0) == -4
    looks.trade(-6, product=Product.NRML)
    assert looks.look(0) == -4
    looks.trade(-6)
    assert looks.look(0) == -10
    looks.trade(+10)
    assert looks.look(10) == 0
    assert not looks.ledger.holds.values


def test_a_difference_without_an_order_is_not_explained() -> None:
    """It may be the broker's delay."""
    looks = Looks(10)
    assert [looks.look(theirs) for theirs in (0, 0, 4)] == [0, 0, 0]


def test_what_was_compared_and_agreed_explains_nothing_later() -> None:
    """Somebody sold what was his own: books agreed then, so a later difference is of something else."""
    looks = Looks(10)
    looks.look(20)
    looks.trade(-10)
    looks.look(10)
    assert not looks.ledger.holds.values
    assert looks.pending() == 0
    assert looks.look(0) == 0


def test_positions_that_trail_the_book_are_explained_when_they_come() -> None:
    """The order is told first, its position a look later, and that in two parts."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-5)
    looks.trade(-5)
    assert (looks.look(10), looks.pending()) == (0, -10)
    assert (looks.look(5), looks.pending()) == (-5, -5)
    assert (looks.look(0), looks.pending()) == (-10, 0)


def test_what_shows_in_nothing_for_two_looks_is_no_longer_waited_for() -> None:
    """It was of something else, as of shares that lie in the account from before."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-5)
    assert (looks.look(10), looks.pending()) == (0, -5)
    assert (looks.look(10), looks.pending()) == (0, 0)
    assert looks.look(5) == 0


def test_delay_and_a_trade_by_hand_together_are_told_apart() -> None:
    """Six of ten are late in the list, four were sold."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-4)
    assert looks.look(0) == -4
    assert looks.look(0) == -4
    assert looks.look(6) == -4


def test_at_night_the_book_of_the_day_before_explains_nothing_anew() -> None:
    """It is shown for some hours after midnight."""
    looks = Looks(10)
    looks.look(20)
    looks.trade(-10)
    looks.look(10)
    assert (looks.look(10, at=NOON + timedelta(hours=16)), looks.pending()) == (0, 0)
    assert looks.look(0, at=NOON + timedelta(hours=17)) == 0


def test_what_was_accepted_stays_known_when_the_numbers_move_on() -> None:
    """Five were accepted as gone, two more are sold by hand: seven are, and nobody has accepted the two."""
    looks = Looks(10)
    looks.look(5)
    looks.accept()
    looks.trade(-2)
    assert looks.look(3) == -7
    assert looks.ledger.holds.values["paper", SBIN].accepted_by == ""
    assert looks.look(6) == -4  # less differs than was known


def test_what_was_explained_stays_so_on_the_next_day_and_after_a_restart() -> None:
    """The book is of one day, and memory of one process; a difference that stays is the same."""
    looks = Looks(10)
    looks.trade(-10)
    assert looks.look(0) == -10
    looks.rows = []
    assert looks.look(0, at=NOON + timedelta(days=1)) == -10
    looks.restart()
    assert looks.look(0, at=NOON + timedelta(days=1)) == -10
    looks.trade(-3)
    looks.restart()
    assert looks.look(0, at=NOON + timedelta(days=1)) == -10
    assert looks.look(-3, at=NOON + timedelta(days=1)) == -10  # counted once, whatever a restart makes of it


def test_what_was_traded_while_the_bridge_was_down_is_found_at_its_start() -> None:
    """Nobody knows since when, so the day counts."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-10)
    looks.restart()
    assert looks.look(0) == -10


def test_a_second_order_under_our_own_tag_explains_nothing() -> None:
    """Its fills are in our books."""
    looks = Looks(10)
    order = make_order(1)
    looks.ledger.orders.set(order.cl_ord_id, order)
    looks.trade(-10, tag=order.tag)
    looks.trade(-10, tag=order.tag)
    assert looks.look(0) == 0


def test_a_book_that_lacks_what_it_had_takes_nothing_back() -> None:
    """What it does not show was there before; what it shows counts, also where positions cannot be read."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-4)
    looks.look(6)
    looks.rows = []
    assert [looks.look(6), looks.look(6)] == [-4, -4]
    looks.trade(-6)
    looks.look(6, unread="positions")
    assert looks.pending() == -6
    looks.rows = []
    assert looks.look(0) == -10


@pytest.mark.parametrize(
    ("sold", "before", "later", "after", "explained"),
    [(0, 10, 0, 10, 0), (4, 6, 0, 6, -4), (4, 6, 0, 2, -4), (4, 6, 6, 0, -10), (0, 0, 10, 0, -10), (0, 10, 10, 0, -10)],
)
def test_at_a_restart_the_day_and_what_was_known_are_not_added_up(
    sold: int, before: int, later: int, after: int, explained: int
) -> None:
    """Both may tell of the same orders; `later` is sold while nobody looks."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-sold)
    looks.look(before)
    looks.restart()
    looks.trade(-later)
    assert looks.look(after) == explained


def test_an_instrument_that_the_first_look_passes_by_is_first_compared_later() -> None:
    """Its send is unanswered; what was explained is not added up again then."""
    looks = Looks(10)
    looks.look(10)
    looks.trade(-4)
    assert looks.look(4) == -4
    looks.restart()
    order = acknowledged(5, symbol=SBIN, status=OrderStatus.PENDING)
    looks.ledger.orders.set(order.cl_ord_id, order)
    looks.look(4)
    looks.ledger.orders.set(order.cl_ord_id, None)
    assert [looks.look(4), looks.look(4)] == [-4, -4]


@given(quantities, quantities, st.sampled_from([OrderStatus.PENDING, OrderStatus.IN_DOUBT]))
def test_nothing_is_said_of_an_instrument_while_a_send_is_unanswered(ours: Any, theirs: Any, status: OrderStatus) -> None:
    """Neither held nor cleared, however often it is looked at."""
    ledger = ledger_with(ours, make_order(1, symbol="NSE:A", status=status, sent_at=LONG_AGO))
    ledger.holds.set(("paper", "NSE:A"), make_hold("NSE:A", find_gaps({"MIS": Decimal(1)}, {})))
    past = Past()
    for _ in range(3):
        found = look(ledger, read_of(theirs), past)
        past = found.past
        assert "NSE:A" not in {*found.found, *found.cleared, *found.moved}


def test_a_hold_without_numbers_is_told_anew_or_ends() -> None:
    """Those of an older bridge have only a sentence."""
    ledger = ledger_with({("NSE:A", Product.MIS): 1})
    for symbol in ("NSE:A", "NSE:B"):
        ledger.holds.set(("paper", symbol), replace(make_hold(symbol, ()), message="They differ."))
    found = look(ledger, read_of({}))
    assert (list(found.found), list(found.cleared)) == (["NSE:A"], ["NSE:B"])


def test_the_same_product_in_several_lines_is_one_position() -> None:
    """A broker may list day and carried quantities apart."""
    ledger = ledger_with({("NSE:A", Product.MIS): 5})
    parts = tuple(BrokerPosition(symbol="NSE:A", product=Product.MIS, quantity=Decimal(n)) for n in (2, 3))
    assert look(ledger, Read(account="paper", began=NOON, began_s=0, ended=NOON, rows=(), positions=parts)).found == {}


# -- the book ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(OPEN), min_size=1, max_size=4), st.data())
@settings(max_examples=200)
def test_nothing_is_concluded_from_a_book_that_lacks_an_acknowledged_order(statuses: list[OrderStatus], data: Any) -> None:
    """Whatever else is there or not: not whole, nothing ended, nothing held, and no alarm at the first look."""
    orders = [acknowledged(n, status=status, symbol=SYMBOLS[n % 3]) for n, status in enumerate(statuses, start=1)]
    shown = data.draw(st.lists(st.sampled_from(orders), unique=True))
    ledger = ledger_with({("NSE:A", Product.MIS): 1}, *orders)
    found = look(ledger, read_of({}, *(row_of(order) for order in shown)))
    lacks = any(order.status in WORKING and order not in shown for order in orders)
    is_empty = not shown  # every order has an id of the broker
    assert bool(found.problem) is (lacks or is_empty)
    assert (found.over, found.alarms) == ((), ())
    if found.problem:
        assert (found.found, found.cleared, found.is_unsure) == ({}, (), True)


@given(st.lists(st.sampled_from([True, False]), min_size=3, max_size=8), st.integers(1, 30))
def test_an_alarm_over_a_missing_order_needs_three_looks_and_half_a_minute(shown: list[bool], pause_s: int) -> None:
    """In a row: one whole book begins the count anew."""
    order, other = acknowledged(1), acknowledged(2)
    ledger, past = ledger_with({}, order, other), Past()
    run: list[int] = []
    for number, is_shown in enumerate(shown):
        at = number * pause_s
        rows = [row_of(order)] if is_shown else []
        found = look(ledger, read_of({}, row_of(other), *rows), past, at)
        past, run = found.past, [] if is_shown else [*run, at]
        is_due = len(run) >= 3 and at - run[0] >= ODD_FOR_S
        assert [alarm.cl_ord_id for alarm in found.alarms] == ([order.cl_ord_id] if is_due else [])


def test_orders_of_an_earlier_day_end_only_by_whole_books() -> None:
    """A book that lacks one of today's may lack the other for the same reason."""
    old = acknowledged(1, sent_at=NOON - timedelta(days=1))
    today = acknowledged(2)
    for rows, ended in (([], ()), ([row_of(today)], (old,))):
        past = Past()
        for number in range(3):
            past = look(ledger_with({}, old, today), read_of({}, *rows), past, 20 * number).past
        assert look(ledger_with({}, old, today), read_of({}, *rows), past, 60).over == ended


def test_rows_come_out_alike_whatever_order_they_came_in() -> None:
    """What is followed and what is shown does not hang on the broker's order of rows."""
    order = acknowledged(1, broker_order_id=None, status=OrderStatus.PENDING)
    rows = [row_of(order, f"B{n}", status=status) for n, status in enumerate((OrderStatus.CANCELLED, OrderStatus.PLACED))]
    for given_rows in (rows, rows[::-1]):
        own = pick_rows(order, given_rows)
        assert own.followed is rows[1]
        assert (own.others, own.ids) == ((rows[0],), ("B0", "B1"))


def test_only_the_row_with_the_known_id_is_followed() -> None:
    """Another under the same tag is another order, also while ours is not in the book."""
    order = acknowledged(1)
    own = pick_rows(order, [row_of(order, "OTHER", status=OrderStatus.CANCELLED)])
    assert own.followed is None
    assert own.ids == ("B1", "OTHER")
    assert not has_news(own)
    fill = make_report(order, ReportKind.FILL, "X9", 1, 800)
    assert has_news(pick_rows(order, [row_of(order, "OTHER", fills=(fill,))]))


def test_a_run_lasts_by_looks_and_by_time() -> None:
    """Both are needed."""
    assert not Run(0, 3).lasts(ODD_FOR_S - 1)
    assert not Run(0, 2).lasts(ODD_FOR_S)
    assert Run(0, 3).lasts(ODD_FOR_S)
