"""The paper venue's matching engine: numbers worked out by hand, then what must hold after any story at all."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.brokers.paper.margin import available, equity, unrealized_pnl
from bridge.brokers.paper.values import PaperOrder, PaperPolicy
from bridge.brokers.paper.venue import MAX_PARTS, match_price, start_day, would_move
from bridge.core.enums import OrdType, Product, ReportKind, Side, TimeInForce
from bridge.core.fill import Fill
from bridge.core.money import is_multiple, to_text
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey, apply_fill_to_position
from tests.unit.brokers.paper_kit import CALL, COPPER, FUTURE, INDEX, INFY, INSTRUMENTS, SBIN, SYMBOL, Books, kinds

BUY, SELL = Side.BUY, Side.SELL
MIS, CNC, MTF, NRML = Product.MIS, Product.CNC, Product.MTF, Product.NRML
LIMIT, SL, SL_M = OrdType.LIMIT, OrdType.SL, OrdType.SL_M
IOC = TimeInForce.IOC


def books(
    *, price: object = None, slippage: object = 0, ratio: object = 1, leverage=None, charges=False, cash: object = 1_000_000
) -> Books:
    policy = PaperPolicy(
        slippage_bps=Decimal(str(slippage)),
        fill_ratio=Decimal(str(ratio)),
        leverage={product: Decimal(value) for product, value in (leverage or {}).items()},
        charges=charges,
    )
    made = Books(policy, cash)
    if price is not None:
        made.price(price)
    return made


def the_order(made: Books) -> PaperOrder:
    (order,) = made.orders.values()
    return order


def last(made: Books) -> PaperOrder:
    return list(made.orders.values())[-1]


def fills(made: Books) -> list[tuple[str, str]]:
    return [(to_text(r.last_qty), f"{r.last_px:.2f}") for r in made.reports if r.kind is ReportKind.FILL]


# --- market orders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "price", "slippage", "expected"),
    [
        (BUY, "812.50", 1, "812.60"),  # 812.58125 up to the tick
        (SELL, "812.50", 1, "812.40"),  # 812.41875 down to the tick
        (BUY, "812.50", 0, "812.50"),
        (BUY, "812.52", 0, "812.55"),  # a price off the tick is rounded against the trader too
        (SELL, "812.52", 0, "812.50"),
        (BUY, "0.05", 10, "0.10"),
        (SELL, "0.05", 10, "0.05"),  # never below one tick
    ],
)
def test_market_order_fills_at_the_slipped_price_on_the_tick(side, price, slippage, expected):
    """Latest price plus slippage, rounded in the unfavourable direction."""
    made = books(price=price, slippage=slippage)
    made.place(side, 10)
    assert fills(made) == [("10", expected)]
    assert the_order(made).status is OrderStatus.FILLED
    assert kinds(made.reports) == ["FILL"]


def test_market_order_without_a_price_is_rejected():
    """No invented price: the order is in the book, rejected, with a sentence."""
    made = books()
    changes = made.place()
    assert not changes.refusal
    assert the_order(made).status is OrderStatus.REJECTED
    assert kinds(made.reports) == ["REJECTED"]
    assert made.reports[0].message == "No price is known for NSE:SBIN, so a market order cannot be filled."


@pytest.mark.parametrize(
    ("qty", "ratio", "expected"),
    [
        (100, "0.5", [50, 25, 12, 6, 3, 2, 1, 1]),
        (3, "0.1", [1, 1, 1]),
        (10, "1", [10]),
    ],
)
def test_market_order_fills_wholly_in_several_executions(qty, ratio, expected):
    """A fill ratio splits it, but it always ends."""
    made = books(price=100, ratio=ratio)
    made.place(BUY, qty)
    assert [int(qty) for qty, _px in fills(made)] == expected
    assert the_order(made).status is OrderStatus.FILLED
    assert len({report.exec_id for report in made.reports}) == len(expected)


def test_market_order_has_a_bounded_number_of_executions():
    """However small the ratio, the last execution takes the rest."""
    made = books(price=100, ratio="0.01")
    made.place(BUY, 1000)
    assert len(fills(made)) == MAX_PARTS
    assert the_order(made).cum_qty == 1000


def test_executions_are_whole_lots():
    """A part is rounded down to lots, and at least one."""
    made = books(ratio="0.4", leverage={MIS: 100})
    made.price(24000, FUTURE.symbol)
    made.place(BUY, 225, symbol=FUTURE.symbol)
    assert [qty for qty, _px in fills(made)] == ["75", "75", "75"]


# --- limit orders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "limit", "expected"),
    [
        (BUY, "820", "812.60"),  # better than the limit: the slipped price
        (BUY, "812.55", "812.55"),  # slippage never goes beyond the limit
        (BUY, "812.50", "812.50"),
        (SELL, "800", "812.40"),
        (SELL, "812.45", "812.45"),
    ],
)
def test_limit_order_that_can_trade_takes_the_price(side, limit, expected):
    """At the price or at the limit, whichever is better for the trader."""
    made = books(price="812.50", slippage=1)
    made.place(side, 10, ord_type=LIMIT, price=limit)
    assert fills(made) == [("10", expected)]


@pytest.mark.parametrize(
    ("side", "limit", "away", "there"), [(BUY, 800, "800.05", 790), (SELL, 820, "819.95", 835), (BUY, 800, 801, 800)]
)
def test_resting_limit_order_fills_at_its_limit(side, limit, away, there):
    """Not before the price comes, and not better than its limit: it would have been met on the way."""
    made = books(price="812.50", slippage=1)
    made.place(side, 10, ord_type=LIMIT, price=limit)
    made.price(away)
    assert the_order(made).status is OrderStatus.PLACED
    made.price(there)
    assert fills(made) == [("10", f"{limit:.2f}")]
    assert kinds(made.reports) == ["PLACED", "FILL"]


def test_limit_order_rests_while_no_price_is_known():
    """It needs no price to be an order."""
    made = books()
    made.place(BUY, 10, ord_type=LIMIT, price=800)
    assert kinds(made.reports) == ["PLACED"]


def test_each_price_fills_its_part_of_what_is_left():
    """Half of ten, half of five rounded down, and so on, at least one."""
    made = books(price=101, ratio="0.5")
    made.place(BUY, 10, ord_type=LIMIT, price=100)
    for _ in range(6):
        made.price(100)
    assert [qty for qty, _px in fills(made)] == ["5", "2", "1", "1", "1"]
    assert the_order(made).status is OrderStatus.FILLED


def test_rest_of_an_order_that_took_keeps_taking():
    """A limit far away is protection, not a price to be paid for the second half."""
    made = books(price=100, ratio="0.5")
    made.place(BUY, 4, ord_type=LIMIT, price=110)
    made.price(105)
    made.price(112)
    made.price(110)
    assert fills(made) == [("2", "100.00"), ("1", "105.00"), ("1", "110.00")]


def test_limit_orders_meet_a_price_in_the_order_of_their_arrival():
    """First come, first served, however the books hold them."""
    made = books(price=101)
    made.place(BUY, 1, ord_type=LIMIT, price=100, tag="first")
    made.place(BUY, 2, ord_type=LIMIT, price=100, tag="second")
    made.orders = dict(reversed(made.orders.items()))
    made.price(99)
    assert [r.tag for r in made.reports if r.kind is ReportKind.FILL] == ["first", "second"]
    assert made.held() == 3


def test_price_that_meets_nothing_changes_nothing():
    """Other symbols, and prices on the wrong side."""
    made = books(price=101)
    made.place(BUY, 1, ord_type=LIMIT, price=100)
    changes = made.price("100.05")
    assert not changes.orders
    assert not changes.reports
    assert not made.price(50, INFY.symbol).orders


# --- immediate or cancel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "ratio", "reports", "cum"),
    [
        (99, 1, ["PLACED", "CANCELLED"], 0),
        (100, "0.5", ["FILL", "CANCELLED"], 5),
        (100, 1, ["FILL"], 10),
    ],
)
def test_ioc_order_ends_on_arrival(limit, ratio, reports, cum):
    """What cannot be filled at once is cancelled, and blocks nothing afterwards."""
    made = books(price=100, ratio=ratio)
    made.place(BUY, 10, ord_type=LIMIT, price=limit, time_in_force=IOC)
    order = the_order(made)
    assert kinds(made.reports) == reports
    assert order.status.is_closed
    assert order.cum_qty == cum
    assert made.account.order_margin == 0


# --- stop orders ----------------------------------------------------------------------------------------------------


def test_stop_market_order_fills_at_the_price_that_triggers_it():
    """A gap through the trigger costs what it costs."""
    made = books(price=812, slippage=1)
    made.place(SELL, 10, ord_type=SL_M, trigger_price=800)
    made.price("800.05")
    assert fills(made) == []
    made.price(790)
    assert fills(made) == [("10", "789.90")]
    assert the_order(made).is_triggered


def test_stop_limit_order_becomes_a_limit_order():
    """Triggered within its limit it takes the price; beyond the limit it rests there."""
    made = books(price=812, slippage=1)
    made.place(BUY, 10, ord_type=SL, trigger_price=820, price=822)
    made.price("819.95")
    assert not the_order(made).is_triggered
    made.price(820)
    assert fills(made) == [("10", "820.10")]


def test_stop_limit_order_that_is_jumped_over_rests_at_its_limit():
    """A gap beyond the limit leaves it unfilled until the price comes back."""
    made = books(price=812, slippage=1)
    made.place(BUY, 10, ord_type=SL, trigger_price=820, price=822)
    made.price(825)
    order = the_order(made)
    assert order.is_triggered
    assert order.status is OrderStatus.PLACED
    made.price(821)
    assert fills(made) == [("10", "822.00")]


def test_stop_whose_trigger_is_the_price_triggers_at_once():
    """At the trigger is triggered."""
    made = books(price=820)
    made.place(BUY, 10, ord_type=SL_M, trigger_price=820)
    assert fills(made) == [("10", "820.00")]


@pytest.mark.parametrize(
    ("side", "trigger", "message"),
    [
        (BUY, 810, "Trigger price 810 of a stop BUY order cannot be below the last price 812."),
        (SELL, 815, "Trigger price 815 of a stop SELL order cannot be above the last price 812."),
    ],
)
def test_stop_on_the_wrong_side_is_rejected(side, trigger, message):
    """As an exchange does, so that a strategy that lives on it is found out on paper."""
    made = books(price=812)
    made.place(side, 10, ord_type=SL_M, trigger_price=trigger)
    assert the_order(made).status is OrderStatus.REJECTED
    assert the_order(made).message == message


def test_stop_without_a_known_price_waits():
    """It triggers with the first price that reaches it."""
    made = books()
    made.place(SELL, 10, ord_type=SL_M, trigger_price=800)
    made.price(799)
    assert fills(made) == [("10", "799.00")]


# --- what is not taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"symbol": "NSE:NONE"}, "NSE:NONE is not an instrument that is known here."),
        ({"symbol": INDEX.symbol}, "NSE:NIFTY 50 is an index and cannot be traded."),
        ({"product": NRML}, "Product NRML is not offered for NSE:SBIN."),
        ({"symbol": FUTURE.symbol, "product": CNC, "qty": 75}, f"Product CNC is not offered for {FUTURE.symbol}."),
        ({"qty": 0}, "Quantity 0 is not a positive multiple of the lot of 1."),
        ({"qty": -5}, "Quantity -5 is not a positive multiple of the lot of 1."),
        ({"symbol": FUTURE.symbol, "qty": 80}, "Quantity 80 is not a positive multiple of the lot of 75."),
        ({"ord_type": LIMIT}, "An order of type LIMIT needs a price."),
        ({"ord_type": SL, "price": 100}, "An order of type SL needs a trigger price."),
        ({"ord_type": SL_M}, "An order of type SL-M needs a trigger price."),
        ({"ord_type": LIMIT, "price": "100.03"}, "Price 100.03 is not a positive multiple of the tick of 0.05."),
        ({"ord_type": LIMIT, "price": 0}, "Price 0 is not a positive multiple of the tick of 0.05."),
        ({"ord_type": SL_M, "trigger_price": "0.01"}, "Price 0.01 is not a positive multiple of the tick of 0.05."),
        ({"ord_type": SL_M, "trigger_price": 900, "time_in_force": IOC}, "An order of type SL-M cannot be IOC."),
        (
            {"ord_type": SL, "trigger_price": 900, "price": 899},
            "Trigger price 900 is beyond the limit price 899: the order could not fill.",
        ),
    ],
)
def test_what_is_no_order_is_refused_with_a_sentence(values, message):
    """Refused at the door: no row in the book, no number used, nothing changed."""
    made = books(price=812)
    before = made.account
    changes = made.place(BUY, values.pop("qty", 10), **values)
    assert changes.refusal == message
    assert changes.account == before
    assert not changes.orders
    assert not changes.reports


def test_expired_instrument_is_refused():
    """On the day of expiry it still trades, on the next it does not."""
    made = books(leverage={NRML: 10})
    made.prices[FUTURE.symbol] = Decimal(24000)
    made.now += timedelta(days=4)
    made.next_day()
    made.now -= timedelta(days=1)
    assert not made.place(BUY, 75, symbol=FUTURE.symbol, product=NRML).refusal
    made.now += timedelta(days=1)
    assert made.place(BUY, 75, symbol=FUTURE.symbol, product=NRML).refusal == f"{FUTURE.symbol} expired on 2026-11-24."


# --- money and margin -----------------------------------------------------------------------------------------------


def test_order_that_costs_more_than_there_is_is_rejected():
    """Value over leverage against what is available, with both in the sentence."""
    made = books(price=1000, leverage={MIS: 5}, cash=10_000)
    made.place(BUY, 51)
    assert the_order(made).status is OrderStatus.REJECTED
    message = "Insufficient funds. Required margin is 10,200.00 but available margin is 10,000.00."
    assert the_order(made).message == made.reports[-1].message == message
    made.place(BUY, 50)
    assert last(made).status is OrderStatus.FILLED
    assert available(made.desk()) == 0


def test_margin_of_a_working_order_is_blocked_until_it_ends():
    """Blocked at the limit, freed by a cancel."""
    made = books(price=1000, cash=10_000)
    made.place(BUY, 10, ord_type=LIMIT, price=900)
    assert available(made.desk()) == 1000
    made.place(BUY, 2, ord_type=LIMIT, price=900)
    assert last(made).status is OrderStatus.REJECTED
    made.cancel(the_id(made, 0))
    assert available(made.desk()) == 10_000


def the_id(made: Books, index: int) -> str:
    return list(made.orders)[index]


def test_a_fill_moves_margin_from_the_order_to_the_position():
    """Half filled: half blocked by each."""
    made = books(price=1000, ratio="0.5", cash=10_000)
    made.place(BUY, 10, ord_type=LIMIT, price=900)
    made.price(900)
    assert made.account.position_margin == made.account.order_margin == 4500


@pytest.mark.parametrize(
    ("values", "blocked"),
    [
        ({"ord_type": LIMIT, "price": 900}, 9000),
        ({"ord_type": SL, "trigger_price": 1100, "price": 1200}, 12000),
        ({"ord_type": SL_M, "trigger_price": 1100}, 11000),
    ],
)
def test_margin_is_counted_at_the_worst_price_the_order_names(values, blocked):
    """The limit where there is one, else the trigger."""
    made = books(price=1000)
    made.place(BUY, 10, **values)
    assert made.account.order_margin == blocked


def test_closing_needs_no_margin():
    """An exit is never held up by money."""
    made = books(price=1000, cash=10_000)
    made.place(BUY, 10)
    assert available(made.desk()) == 0
    made.price(500)
    made.place(SELL, 10)
    assert last(made).status is OrderStatus.FILLED
    assert made.account.position_margin == 0
    assert made.account.realized_pnl == -5000


def test_what_is_spoken_for_cannot_be_closed_twice():
    """A second exit beyond the position would open the other side, and pays for it."""
    made = books(price=1000, cash=10_000)
    made.place(BUY, 10)
    made.place(SELL, 10, ord_type=LIMIT, price=1100)
    assert made.account.order_margin == 0
    made.place(SELL, 1, ord_type=LIMIT, price=1100)
    assert last(made).status is OrderStatus.REJECTED


def test_turning_a_position_round_is_helped_by_the_margin_it_frees():
    """Long ten to short ten costs nothing more; to short eleven costs one."""
    made = books(price=1000, cash=10_000)
    made.place(BUY, 10)
    made.place(SELL, 21)
    assert last(made).message == "Insufficient funds. Required margin is 1,000.00 but available margin is 0.00."
    made.place(SELL, 20)
    assert made.held() == -10
    assert made.account.position_margin == 10_000
    assert made.account.order_margin == 0


@pytest.mark.parametrize(("price", "expected"), [(1100, 11_000), (900, 9_000)])
def test_unrealised_profit_counts_into_what_is_available(price, expected):
    """Equity is cash plus unrealised profit; both ways."""
    made = books(price=1000, leverage={MIS: 5}, cash=10_000)
    made.place(BUY, 10)
    made.price(price)
    assert equity(made.desk()) == expected
    assert available(made.desk()) == expected - 2000
    assert made.account.cash == 10_000


def test_position_without_a_price_counts_as_neither_profit_nor_loss():
    """After a restart without prices nothing is made up."""
    made = books(price=1000)
    made.place(BUY, 10)
    made.prices.clear()
    assert unrealized_pnl(made.desk()) == 0


@pytest.mark.parametrize("product", [CNC, MTF])
def test_shares_that_are_not_held_cannot_be_sold(product):
    """Delivery cannot go short, not even by several working orders together."""
    made = books(price=1000)
    made.place(SELL, 5, product=product)
    assert last(made).message == "Insufficient holdings: 0 of NSE:SBIN can be sold, 5 asked."
    made.place(BUY, 10, product=product)
    made.place(SELL, 6, product=product, ord_type=LIMIT, price=1100)
    made.place(SELL, 5, product=product)
    assert last(made).message == "Insufficient holdings: 4 of NSE:SBIN can be sold, 5 asked."
    made.place(SELL, 4, product=product)
    made.price(1100)
    assert made.held(product=product) == 0


def test_products_are_positions_of_their_own():
    """Intraday and delivery of the same share do not net."""
    made = books(price=1000)
    made.place(BUY, 10, product=CNC)
    made.place(SELL, 10, product=MIS)
    assert made.held(product=CNC) == -made.held(product=MIS) == 10


@pytest.mark.parametrize(
    ("side", "margin"),
    [
        (BUY, 200 * 75),  # the premium in full, whatever the leverage
        (SELL, 24000 * 75 // 5),  # the value at the strike, as a future would
    ],
)
def test_options_block_premium_or_strike(side, margin):
    """A premium says nothing of a writer's risk."""
    made = books(leverage={NRML: 5})
    made.price(200, CALL.symbol)
    made.place(side, 75, symbol=CALL.symbol, product=NRML)
    assert last(made).status is OrderStatus.FILLED
    assert made.account.position_margin == margin


def test_option_without_a_strike_blocks_its_premium():
    """Data that lacks the strike is no reason to fail."""
    made = books(price=200, leverage={MIS: 5})
    odd = replace(CALL, strike=None)
    made.place(SELL, 75, ord_type=LIMIT, price=210)
    order = replace(the_order(made), symbol=odd.symbol, unit_margin=Decimal(0))
    desk = replace(made.desk(), working={order.broker_order_id: order})
    changes = match_price(desk, odd, Decimal(210), made.policy, made.now)
    (position,) = changes.positions.values()
    assert position is not None
    assert position.margin == 210 * 75 // 5


def test_the_multiplier_counts_into_profit_and_margin():
    """One lot of copper: 2,500 rupees per point."""
    made = books(leverage={NRML: 10})
    made.price(800, COPPER.symbol)
    made.place(BUY, 1, symbol=COPPER.symbol, product=NRML)
    assert made.account.position_margin == 200_000
    made.price(810, COPPER.symbol)
    assert equity(made.desk()) == 1_025_000
    made.place(SELL, 1, symbol=COPPER.symbol, product=NRML)
    assert made.account.realized_pnl == 25_000


def test_charges_leave_cash_with_each_fill():
    """Buy and sell 100 at 500 intraday: 21.07 and 16.57 + 12.50 STT - 1.50 stamp = 32.07."""
    made = books(price=500, charges=True)
    made.place(BUY, 100)
    assert made.account.cash == Decimal("999978.93")
    made.place(SELL, 100)
    assert made.reports[-1].charges == Decimal("32.07")
    assert equity(made.desk()) == made.account.cash == Decimal("1000000") - Decimal("53.14")


def test_brokerage_counts_once_however_many_executions():
    """Split into eight executions an order costs what it costs in one."""
    split = books(price=500, ratio="0.5", charges=True)
    whole = books(price=500, charges=True)
    for made in (split, whole):
        made.place(SELL, 1000)
    assert len(split.reports) > len(whole.reports)
    assert split.account.charges == whole.account.charges == Decimal("167.30")


def test_profit_is_taken_in_proportion():
    """10 at 100 and 10 at 110; 5 sold at 120 take 75 of profit; through zero the rest opens at its own price."""
    made = books(price=100)
    made.place(BUY, 10)
    made.price(110)
    made.place(BUY, 10)
    made.price(120)
    made.place(SELL, 5)
    assert made.account.realized_pnl == 75
    made.place(SELL, 25)
    assert made.account.realized_pnl == 300
    assert made.held() == -10
    made.price(115)
    assert unrealized_pnl(made.desk()) == 50


def test_profit_is_taken_fill_by_fill():
    """Averages are rounded at each fill, and so in the same places as in the bridge's books: to the last digit."""
    made = books(price=100, ratio="0.5")
    made.place(BUY, 1)
    made.price(101)
    made.place(BUY, 5)
    made.price(100)
    made.place(SELL, 2)
    assert len(last(made).fills) == 2
    assert made.account.realized_pnl == realized_by_core(made) == Decimal("-1.66666666")


# --- the book -------------------------------------------------------------------------------------------------------


def test_cancel_ends_a_working_order():
    """With a report, and for good."""
    made = books(price=1000)
    made.place(BUY, 10, ord_type=LIMIT, price=900)
    assert not made.cancel(the_id(made, 0)).refusal
    assert the_order(made).status is OrderStatus.CANCELLED
    assert kinds(made.reports) == ["PLACED", "CANCELLED"]
    made.price(900)
    assert fills(made) == []


def test_cancel_of_what_has_ended_or_never_was_is_refused():
    """Nothing changes."""
    made = books(price=1000)
    made.place(BUY, 10)
    changes = made.cancel(the_id(made, 0))
    assert changes.refusal == "The order is FILLED already and cannot be cancelled."
    assert made.cancel("261120000000099").refusal == "There is no such order."
    assert kinds(made.reports) == ["FILL"]


def test_end_of_day_expires_everything_that_works():
    """Filled quantities stay; blocked margin is free."""
    made = books(price=1000, ratio="0.5")
    made.place(BUY, 10, ord_type=LIMIT, price=900)
    made.place(BUY, 10, ord_type=SL_M, trigger_price=1100)
    made.place(BUY, 10)
    made.price(900)
    made.end_day()
    assert [order.status for order in made.orders.values()] == ["EXPIRED", "EXPIRED", "FILLED"]
    assert next(iter(made.orders.values())).cum_qty == 5
    assert kinds(made.reports)[-2:] == ["EXPIRED", "EXPIRED"]
    assert made.account.order_margin == 0


def test_a_new_day_expires_what_an_earlier_day_left():
    """Even when nobody called the end of the day."""
    made = books(price=1000)
    made.place(BUY, 1, ord_type=LIMIT, price=900)
    made.next_day()
    made.place(BUY, 1, ord_type=LIMIT, price=900)
    made.now += timedelta(hours=1)
    made.apply(start_day(made.desk(), made.now))
    assert [order.status for order in made.orders.values()] == ["EXPIRED", "PLACED"]


def test_order_ids_look_like_a_brokers_and_never_repeat():
    """YYMMDD in India, then a number that runs on over the days; refusals use none."""
    made = books(price=1000)
    made.place()
    made.place(qty=0)
    made.place()
    made.next_day()
    made.place()
    assert list(made.orders) == ["261120000000001", "261120000000002", "261121000000003"]
    assert made.reports[0].exec_id == "261120000000001-1"


def test_the_same_tag_again_is_another_order():
    """Indian brokers know no idempotency key, so neither does paper: the bridge has to see to it."""
    made = books(price=1000)
    made.place(tag="SAME")
    made.place(tag="SAME")
    assert made.held() == 20
    assert [order.tag for order in made.orders.values()] == ["SAME", "SAME"]


# --- any story at all -----------------------------------------------------------------------------------------------

SYMBOLS = (SBIN.symbol, FUTURE.symbol, CALL.symbol)
levels = st.integers(35, 45).map(lambda step: Decimal(step) * 25)  # few enough for prices and limits to meet


@st.composite
def placements(draw):
    symbol = draw(st.sampled_from(SYMBOLS))
    lot = int(INSTRUMENTS[symbol].lot)
    return "place", {
        "side": draw(st.sampled_from([BUY, SELL])),
        "qty": draw(st.integers(1, 9)) * lot,
        "symbol": symbol,
        "product": draw(st.sampled_from([MIS, MIS, CNC] if symbol == SYMBOL else [MIS, NRML])),
        "ord_type": draw(st.sampled_from([OrdType.MARKET, LIMIT, LIMIT, SL, SL_M])),
        "time_in_force": draw(st.sampled_from([TimeInForce.DAY, TimeInForce.DAY, IOC])),
        "price": draw(levels),
        "trigger_price": draw(levels),
        "tag": draw(st.sampled_from(["A", "B", "C"])),
    }


off_tick = st.decimals("0.01", "1200", places=2)
new_prices = st.tuples(st.just("price"), st.tuples(st.one_of(levels, levels, off_tick), st.sampled_from(SYMBOLS)))
rare = st.one_of(
    st.tuples(st.just("cancel"), st.integers(0, 30)), st.tuples(st.sampled_from(["end_day", "next_day"]), st.none())
)
steps = st.lists(
    st.one_of(placements(), placements(), placements(), new_prices, new_prices, new_prices, rare),
    min_size=15,
    max_size=40,
)
policies = st.builds(
    PaperPolicy,
    slippage_bps=st.sampled_from([Decimal(0), Decimal(1), Decimal(500)]),
    fill_ratio=st.sampled_from([Decimal(1), Decimal("0.5"), Decimal("0.07")]),
    leverage=st.sampled_from([{}, {MIS: Decimal(5), NRML: Decimal(7), MTF: Decimal(3)}]),
    charges=st.booleans(),
)


def take_step(made: Books, step: str, values) -> None:
    if step == "place":
        made.place(**values)
    elif step == "price":
        made.price(*values)
    elif step == "cancel":
        ids = list(made.orders)
        made.cancel(ids[values % len(ids)] if ids else "none")
    else:
        getattr(made, step)()


@settings(max_examples=150, deadline=None)
@given(policies, st.sampled_from([10_000, 10_000_000]), steps)
def test_the_books_hold_whatever_happens(policy, cash, story):
    """Cash, quantities, margins and closed orders, after each step of any story."""
    made = Books(policy, cash)
    made.prices = dict.fromkeys(SYMBOLS[: len(story) % 4], Decimal(1000))
    for step, values in story:
        closed = {ident: order for ident, order in made.orders.items() if order.status.is_closed}
        take_step(made, step, values)
        assert {ident: made.orders[ident] for ident in closed} == closed
        check_orders(made)
        check_money(made)
    check_reports(made)


def check_orders(made: Books) -> None:
    for order in made.orders.values():
        assert order.leaves_qty >= 0
        assert order.cum_qty == sum(fill.last_qty for fill in order.fills) <= order.order_qty
        assert order.cum_value == sum(fill.last_qty * fill.last_px for fill in order.fills)
        assert (order.status is OrderStatus.FILLED) == (order.cum_qty == order.order_qty)
        assert order.status is not OrderStatus.REJECTED or not order.fills
        tick, lot = INSTRUMENTS[order.symbol].tick, INSTRUMENTS[order.symbol].lot
        for fill in order.fills:
            assert fill.last_px > 0
            assert is_multiple(fill.last_px, tick)
            assert is_multiple(fill.last_qty, lot)
            if order.price is not None:
                assert fill.last_px <= order.price if order.side is BUY else fill.last_px >= order.price


def check_money(made: Books) -> None:
    """Equity is what was paid in, plus what fills brought, plus what is held at its price, less charges; exactly."""
    worth = made.account.opening_cash
    held: dict[PositionKey, Decimal] = {}
    for order in made.orders.values():
        key = PositionKey("paper", order.symbol, order.product)
        multiplier = INSTRUMENTS[order.symbol].multiplier
        for fill in order.fills:
            worth -= order.side.sign * fill.last_qty * fill.last_px * multiplier + fill.charges
            held[key] = held.get(key, Decimal(0)) + order.side.sign * fill.last_qty
    for key, quantity in held.items():
        assert made.held(key.symbol, Product(key.product)) == quantity
        assert quantity >= 0 or Product(key.product).may_short
        if quantity:
            worth += quantity * made.prices[key.symbol] * INSTRUMENTS[key.symbol].multiplier
    desk = made.desk()
    assert equity(desk) == worth
    assert available(desk) <= equity(desk)
    assert made.account.position_margin == sum(position.margin for position in made.positions.values())
    assert made.account.order_margin == sum(order.margin for order in desk.working.values())
    assert made.account.charges == sum(order.charges for order in made.orders.values())


def check_reports(made: Books) -> None:
    """Every execution is told once, every order that ended is told ended, and core's own books come to the same."""
    told = [report for report in made.reports if report.kind is ReportKind.FILL]
    assert sorted(told, key=lambda r: r.exec_id) == sorted(
        (fill for order in made.orders.values() for fill in order.fills), key=lambda r: r.exec_id
    )
    assert len({report.exec_id for report in told}) == len(told)
    ended = {r.broker_order_id: r.kind.value for r in made.reports if r.kind.value in ("CANCELLED", "EXPIRED", "REJECTED")}
    statuses = {
        ident: order.status.value
        for ident, order in made.orders.items()
        if order.status.is_closed and order.status is not OrderStatus.FILLED
    }
    assert ended == statuses
    assert made.account.realized_pnl == realized_by_core(made)


def realized_by_core(made: Books) -> Decimal:
    positions: dict[PositionKey, Position] = {}
    total = Decimal(0)
    for report in made.reports:
        if report.kind is not ReportKind.FILL:
            continue
        order = made.orders[report.broker_order_id]
        key = PositionKey("paper", order.symbol, order.product)
        fill = Fill(
            account="paper", exec_id=report.exec_id, cl_ord_id="", broker_order_id=order.broker_order_id, strategy="",
            symbol=order.symbol, product=order.product, side=order.side, last_qty=report.last_qty, last_px=report.last_px,
            charges=report.charges, transact_time=report.transact_time,
        )  # fmt: skip
        start = Position(key=key, multiplier=INSTRUMENTS[order.symbol].multiplier)
        positions[key], realized = apply_fill_to_position(positions.get(key, start), fill)
        total += realized
    return total


@given(levels, levels, levels, st.sampled_from(Side), st.sampled_from([LIMIT, SL, SL_M]))
def test_would_move_tells_exactly_when_a_price_changes_an_order(first, second, level, side, ord_type):
    """The quick look that spares a write never misses a match."""
    made = books(price=first)
    made.place(side, 1, ord_type=ord_type, price=level, trigger_price=level)
    order = last(made)
    if not order.status.is_closed:
        expected = would_move(order, second)
        assert bool(made.price(second).orders) == expected
