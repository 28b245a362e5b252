"""The order book of the Kite sandbox: the documented ways of orders, matching, and what is refused or rejected."""

from decimal import Decimal

import pytest

from bridge.core.errors import IllegalTransitionError
from bridge.sandbox.kite.forms import UNPROTECTED, read_order
from bridge.sandbox.kite.values import ENDED, WAYS, ApiError, Status, check_way, order_row
from tests.support.clocks import StillClock
from tests.support.kite import make_box, make_form, place, statuses
from tests.support.samples import SBIN

D = Decimal
PLACED = ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING"]


def test_a_limit_order_takes_the_documented_way_to_open():
    """PUT ORDER REQ RECEIVED, VALIDATION PENDING, OPEN PENDING, OPEN."""
    box = make_box()
    assert statuses(box, place(box)) == [*PLACED, "OPEN"]


def test_steps_take_their_time():
    """With `step_ms` each state lasts so long by the clock, and a placement is answered in the first."""
    clock = StillClock()
    box = make_box(clock, step_ms=500)
    order = place(box)
    seen = [order.status]
    for _ in range(3):
        clock.move(milliseconds=500)
        box.book.run_due()
        seen.append(box.book.current(order.order_id).status)
    assert seen == [Status.PUT, Status.VALIDATING, Status.OPENING, Status.OPEN]


def test_no_state_is_left_for_one_the_table_does_not_name():
    """What has ended stays so."""
    for status in ENDED:
        assert not WAYS[status]
        with pytest.raises(IllegalTransitionError):
            check_way(status, Status.OPEN)


def test_a_marketable_limit_fills_at_the_better_price():
    """On arrival the market's price counts, not the limit."""
    box = make_box()
    order = place(box, price="820")
    assert (order.status, order.average_price, order.filled_quantity) == (Status.COMPLETE, D("812.5"), 10)


def test_a_resting_limit_fills_at_its_price_when_the_market_comes():
    """Not before, and not better."""
    box = make_box()
    order = place(box)
    box.set_price(SBIN, D("800.05"))
    assert box.book.current(order.order_id).status is Status.OPEN
    box.set_price(SBIN, D(795))
    order = box.book.current(order.order_id)
    assert (order.status, order.average_price) == (Status.COMPLETE, D(800))
    assert [trade.quantity for trade in box.book.trades] == [10]


def test_fills_come_in_parts():
    """With `fill_max` each price fills so much of each order, and updates say UPDATE until the last."""
    box = make_box(fill_max=4)
    order = place(box, price="820")
    for price in ("813", "814"):
        box.set_price(SBIN, D(price))
    assert [trade.quantity for trade in box.book.trades] == [4, 4, 2]
    assert [update["status"] for update in box.stream.sent] == ["UPDATE", "UPDATE", "COMPLETE"]
    assert box.book.current(order.order_id).average_price == D(817)  # 812.50 on arrival, then its limit


# --- market orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", [None, "0"])
@pytest.mark.parametrize(("order_type", "trigger"), [("MARKET", None), ("SL-M", "820")])
def test_an_unprotected_market_order_is_refused(order_type, trigger, protection):
    """Since 1 April 2026; nothing appears in the book."""
    box = make_box()
    with pytest.raises(ApiError) as refused:
        place(box, order_type=order_type, price=None, trigger_price=trigger, market_protection=protection)
    assert (refused.value.status, refused.value.message) == (400, UNPROTECTED)
    assert not box.book.orders


@pytest.mark.parametrize("protection", ["-2", "100.5", "x"])
def test_a_protection_that_is_none_is_refused(protection):
    """Only -1, or above 0 up to 100."""
    with pytest.raises(ApiError):
        place(make_box(), order_type="MARKET", price=None, market_protection=protection)


@pytest.mark.parametrize(("protection", "tag", "limit"), [("2", "mktp:2", "828.75"), ("-1", "mktp:0.5", "816.55")])
def test_a_protected_market_order_shows_as_the_limit_order_it_is(protection, tag, limit):
    """LIMIT at the protected price, with the vendor's own tags beside ours."""
    box = make_box()
    row = order_row(place(box, order_type="MARKET", price=None, market_protection=protection, tag="mine"))
    assert (row["order_type"], row["price"], row["status"]) == ("LIMIT", float(limit), "COMPLETE")
    assert row["tags"] == ["mine", "mktp", tag]
    assert row["average_price"] == 812.5


def test_the_rest_of_a_protected_order_stays_open_beyond_its_protection():
    """It is a limit order, after all."""
    box = make_box(fill_max=4)
    order = place(box, order_type="MARKET", price=None, market_protection="1")
    box.set_price(SBIN, D(900))
    order = box.book.current(order.order_id)
    assert (order.status, order.filled_quantity) == (Status.OPEN, 4)


def test_a_market_order_can_be_shown_as_such():
    """The other reading of the documentation."""
    row = order_row(place(make_box(protected_as="MARKET"), order_type="MARKET", price=None, market_protection="1"))
    assert (row["order_type"], row["price"]) == ("MARKET", 0)


# --- triggers, validity, varieties -------------------------------------------------------------------------------------


def test_a_stop_order_waits_for_its_trigger():
    """TRIGGER PENDING, then OPEN, then its limit."""
    box = make_box()
    order = place(box, order_type="SL", price="821", trigger_price="820")
    assert order.status is Status.TRIGGER
    box.set_price(SBIN, D(819))
    assert box.book.current(order.order_id).status is Status.TRIGGER
    box.set_price(SBIN, D(820))
    assert statuses(box, order)[3:] == ["TRIGGER PENDING", "OPEN", "COMPLETE"]
    assert box.book.trades[-1].price == D(820)


def test_a_stop_market_order_for_sale_triggers_below():
    """SL-M, protected from the price that triggered it."""
    box = make_box()
    order = place(
        box, order_type="SL-M", price=None, trigger_price="805", transaction_type="SELL", market_protection="-1"
    )  # fmt: skip
    box.set_price(SBIN, D(804))
    order = box.book.current(order.order_id)
    assert (order.status, order.average_price, order.order_type) == (Status.COMPLETE, D(804), "SL-M")


def test_a_trigger_already_passed_is_rejected():
    """As the vendor does: accepted by 200, and REJECTED in the book."""
    order = place(make_box(), order_type="SL", price="811", trigger_price="810")
    assert order.status is Status.REJECTED
    assert "should be higher" in str(order.status_message)


def test_ioc_cancels_what_does_not_trade_at_once():
    """And what did trade, stays."""
    box = make_box(fill_max=4)
    order = place(box, price="820", validity="IOC")
    row = order_row(order)
    assert (row["status"], row["filled_quantity"], row["pending_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 4, 6, 6)


def test_ttl_ends_after_its_minutes():
    """By the clock."""
    clock = StillClock()
    box = make_box(clock)
    order = place(box, validity="TTL", validity_ttl="2")
    clock.move(minutes=1, seconds=59)
    box.book.run_due()
    assert box.book.current(order.order_id).status is Status.OPEN
    clock.move(seconds=1)
    box.book.run_due()
    assert box.book.current(order.order_id).status is Status.CANCELLED


def test_an_after_market_order_waits_for_the_market():
    """AMO REQ RECEIVED until it opens; no price meets it, and no update tells of it."""
    box = make_box()
    order = place(box, "amo", price="820")
    box.set_price(SBIN, D(700))
    assert statuses(box, order) == ["PUT ORDER REQ RECEIVED", "AMO REQ RECEIVED"]
    assert not box.stream.sent
    box.book.open_market()
    assert box.book.current(order.order_id).status is Status.COMPLETE


def test_an_after_market_order_is_changed_and_cancelled_before_it_opens():
    """It stays what it is, and is at no exchange."""
    box = make_box()
    order = place(box, "amo", price="820")
    box.book.modify(order.order_id, {"price": "815"})
    order = box.book.current(order.order_id)
    assert (order.status, order.price, order.exchange_order_id) == (Status.AMO, D(815), None)
    box.book.cancel(order.order_id)
    assert box.book.current(order.order_id).status is Status.CANCELLED


def test_an_iceberg_sends_its_legs_one_after_the_other():
    """Each is an order of its own with the tag, and the next goes out when the one before has traded."""
    box = make_box()
    place(box, "iceberg", quantity=25, iceberg_legs=3, iceberg_quantity=10, tag="ice")
    assert len(box.book.orders) == 1
    box.set_price(SBIN, D(799))
    orders = box.book.rows()
    assert [order.quantity for order in orders] == [10, 10, 5]
    assert [order.meta["iceberg"]["remaining_quantity"] for order in orders] == [15, 5, 0]
    assert {order.tag for order in orders} == {"ice"}
    assert {order.status for order in orders} == {Status.COMPLETE}


@pytest.mark.parametrize(("legs", "each"), [(1, 25), (51, 1), (3, 5), (2, 30)])
def test_icebergs_that_do_not_add_up_are_refused(legs, each):
    """Two to fifty legs, and as many as the quantity needs."""
    with pytest.raises(ApiError):
        place(make_box(), "iceberg", quantity=25, iceberg_legs=legs, iceberg_quantity=each)


def test_yesterdays_orders_are_gone():
    """Day orders end with the day, and the book lists today's."""
    clock = StillClock()
    box = make_box(clock)
    order = place(box)
    clock.move(days=1)
    box.book.run_due()
    assert box.book.current(order.order_id).status is Status.CANCELLED
    assert box.book.rows() == []


# --- what is refused at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"exchange": "XX"}, {"exchange": None}, {"tradingsymbol": "NOPE"}, {"tradingsymbol": "NIFTY 50"}, {"quantity": 0},
        {"quantity": "-1"}, {"quantity": "1.5"}, {"quantity": None}, {"price": None}, {"price": "x"}, {"price": "-1"},
        {"order_type": "SL", "trigger_price": None}, {"order_type": "STOP"}, {"transaction_type": "HOLD"}, {"product": "NRML"},
        {"product": None}, {"validity": "GTC"}, {"validity": "TTL"}, {"validity": "TTL", "validity_ttl": "0"},
        {"validity": "IOC", "order_type": "SL", "trigger_price": "799"}, {"tag": "a" * 21}, {"tag": "not alnum"},
        {"disclosed_quantity": "11"}, {"quantity": "1" * 10},
    ],
)  # fmt: skip
def test_what_cannot_be_an_order_is_refused_with_no_row(fields):
    """400 InputException, and the book stays empty."""
    box = make_box()
    with pytest.raises(ApiError) as refused:
        place(box, **fields)
    assert (refused.value.status, refused.value.envelope["error_type"]) == (400, "InputException")
    assert not box.book.orders


def test_varieties_that_are_not_there_are_refused():
    """Cover orders are not rebuilt here, and an auction needs its number."""
    box = make_box()
    for variety in ("co", "bo", "auction"):
        with pytest.raises(ApiError):
            place(box, variety)
    assert place(box, "auction", auction_number="22", price="900").status is Status.OPEN


def test_odd_lots_are_refused():
    """The quantity of a derivative comes in lots."""
    box = make_box()
    future = next(item for item in box.market.listed.values() if item.kind == "FUT" and item.name == "NIFTY")
    form = make_form(exchange="NFO", tradingsymbol=future.tradingsymbol, product="NRML", quantity=future.lot + 1, price="26000")
    with pytest.raises(ApiError, match="multiple"):
        read_order(form, "regular", box.market)


# --- what is accepted, and rejected in the book --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"price": "800.03"}, "Tick size"),
        ({"quantity": 100_000}, "Insufficient funds"),
        ({"product": "CNC", "transaction_type": "SELL"}, "Insufficient holding"),
    ],
)
def test_what_the_back_office_refuses_is_a_rejected_row(fields, told):
    """The placement itself was answered with an id."""
    box = make_box()
    order = place(box, **fields)
    row = order_row(order)
    assert (row["status"], row["pending_quantity"], row["exchange_order_id"]) == ("REJECTED", 0, None)
    assert told in row["status_message"]
    assert [update["status"] for update in box.stream.sent] == ["REJECTED"]


def test_an_order_above_the_freeze_quantity_is_rejected():
    """Unless it asks to be sliced."""
    order = place(make_box(freeze={SBIN: 9}))
    assert order.status is Status.REJECTED
    assert "freeze" in str(order.status_message)


def test_a_sliced_order_becomes_several_that_name_their_parent():
    """Each within the freeze quantity, with the vendor's tags."""
    box = make_box(freeze={SBIN: 4})
    parent, children = box.book.place_slices(read_order(make_form(tag="mine"), "regular", box.market), 4)
    rows = {order.order_id: order for order in box.book.rows()}
    assert [rows[child["order_id"]].quantity for child in children] == [4, 4, 2]
    assert {order.tags for order in rows.values()} == {("mine", "autoslice", f"autoslice:{parent}")}
    assert parent not in rows


def test_more_than_ten_slices_are_refused():
    """With no row."""
    box = make_box()
    with pytest.raises(ApiError, match="10 slices"):
        box.book.place_slices(read_order(make_form(quantity=11), "regular", box.market), 1)
    assert not box.book.orders


def test_the_same_request_twice_makes_two_orders():
    """There is no idempotency, tag or not."""
    box = make_box()
    assert place(box, tag="one").order_id != place(box, tag="one").order_id


# --- change and cancel --------------------------------------------------------------------------------------------------


def test_a_modification_takes_the_documented_way():
    """MODIFY VALIDATION PENDING, MODIFY PENDING, MODIFIED, OPEN; and an update tells of it."""
    box = make_box()
    order = place(box)
    box.book.modify(order.order_id, {"price": "801", "quantity": "12"})
    after = box.book.current(order.order_id)
    assert statuses(box, order)[4:] == ["MODIFY VALIDATION PENDING", "MODIFY PENDING", "MODIFIED", "OPEN"]
    assert (after.price, after.quantity, after.modified) == (D(801), 12, True)
    assert [update["status"] for update in box.stream.sent] == ["UPDATE"]


def test_a_modified_order_meets_the_market_at_once():
    """A better price trades."""
    box = make_box()
    order = place(box)
    box.book.modify(order.order_id, {"price": "813"})
    assert box.book.current(order.order_id).average_price == D("812.5")


def test_a_limit_made_a_market_order_needs_protection():
    """And trades with it; a market order that is changed again does not."""
    box = make_box(fill_max=4)
    order = place(box)
    with pytest.raises(ApiError, match="market protection"):
        box.book.modify(order.order_id, {"order_type": "MARKET"})
    box.book.modify(order.order_id, {"order_type": "MARKET", "market_protection": "-1"})
    box.book.modify(order.order_id, {"quantity": "14"})
    assert box.book.current(order.order_id).filled_quantity == 8


def test_the_twenty_sixth_modification_is_refused():
    """Then cancel and place again."""
    box = make_box()
    order = place(box)
    for number in range(25):
        box.book.modify(order.order_id, {"price": str(700 + number)})
    with pytest.raises(ApiError, match="modifications exceeded"):
        box.book.modify(order.order_id, {"price": "750"})


def test_what_has_ended_is_being_processed():
    """So the vendor says, of modifying and of cancelling."""
    box = make_box()
    order = place(box, price="820")
    for change in (lambda: box.book.cancel(order.order_id), lambda: box.book.modify(order.order_id, {"price": "1"})):
        with pytest.raises(ApiError, match="being processed"):
            change()


def test_an_order_can_trade_while_its_cancel_is_on_the_way():
    """The cancel was answered with success, and the order is COMPLETE."""
    clock = StillClock()
    box = make_box(clock)
    order = place(box)
    box.turn(step_ms=500)
    box.book.cancel(order.order_id)
    assert box.book.current(order.order_id).status is Status.CANCELLING
    box.set_price(SBIN, D(799))
    clock.move(seconds=1)
    box.book.run_due()
    assert box.book.current(order.order_id).status is Status.COMPLETE


def test_a_modification_below_what_has_traded_meanwhile_ends_the_order():
    """It never has more filled than its quantity."""
    clock = StillClock()
    box = make_box(clock, fill_max=6)
    order = place(box)
    box.turn(step_ms=500)
    box.book.modify(order.order_id, {"quantity": "5"})
    box.set_price(SBIN, D(799))
    for _ in range(3):
        clock.move(seconds=1)
        box.book.run_due()
    after = box.book.current(order.order_id)
    assert (after.status, after.quantity, after.filled_quantity) == (Status.COMPLETE, 6, 6)


# --- fates ----------------------------------------------------------------------------------------------------------------


def test_a_stuck_order_stays_in_its_first_state_until_released():
    """However long, and it cannot be cancelled there."""
    clock = StillClock()
    box = make_box(clock)
    box.faults.set({"book": {"stuck": 1}})
    order = place(box, price="820")
    clock.move(minutes=2)
    box.set_price(SBIN, D(700))
    assert statuses(box, order) == ["PUT ORDER REQ RECEIVED"]
    with pytest.raises(ApiError):
        box.book.cancel(order.order_id)
    assert box.book.release() == 1
    assert box.book.current(order.order_id).status is Status.COMPLETE


def test_a_partial_fill_is_followed_by_a_cancel():
    """By the exchange, unasked."""
    box = make_box()
    box.faults.set({"book": {"partial_cancel": 1}})
    row = order_row(place(box, price="820"))
    assert (row["status"], row["filled_quantity"], row["cancelled_quantity"]) == ("CANCELLED", 5, 5)
    assert [update["status"] for update in box.stream.sent] == ["UPDATE", "CANCELLED"]


def test_the_book_lags():
    """An order appears, and each of its states, so much later than it was."""
    clock = StillClock()
    box = make_box(clock, book_lag_ms=2_000)
    place(box, price="820")
    assert box.book.rows() == []
    assert box.book.trade_rows() == []
    clock.move(seconds=2)
    assert [order.status for order in box.book.rows()] == [Status.COMPLETE]
    assert len(box.book.trade_rows()) == 1


def test_updates_are_lost_doubled_and_disordered():
    """One fault each; the book is not touched by any."""
    box = make_box()
    box.faults.set({"updates": {"lose": 1}})
    place(box, price="820")
    assert not box.stream.sent
    box.faults.set({"updates": {"duplicate": 1}})
    place(box, price="820")
    assert len(box.stream.sent) == 2
    box.stream.sent.clear()
    box.faults.set({"updates": {"reorder": 1}})
    first, second = place(box, price="820"), place(box, price="820")
    assert [update["order_id"] for update in box.stream.sent] == [second.order_id, first.order_id]
