"""Limits of entries: each on both sides of its boundary, with orders in flight, and with its input missing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.core.clock import market_day
from bridge.core.enums import OrdType, Product, Side
from bridge.core.hold import Gap, make_hold
from bridge.core.limits import CAREFUL, OFF, Limits
from bridge.core.market import NO_RULING, Ruling
from bridge.core.reasons import Reason
from bridge.risk.engine import check_risk
from tests.unit.risk.builders import (
    ACCOUNT,
    NOW,
    OTHER,
    STRATEGY,
    SYMBOL,
    D,
    World,
    approved,
    capped,
    denied,
    make_instrument,
    make_intent,
)

THIRD = "NSE:TCS"


def entry(qty=10, side=Side.BUY, **changes):
    return make_intent(qty, side, **changes)


def an_exit(qty=10, side=Side.SELL, **changes):
    return make_intent(qty, side, reduce_only=True, **changes)


def limits(**named: Any) -> Limits:
    """Limits by name; amounts as text."""
    values: dict[str, Any] = {name: D(value) if isinstance(value, str) else value for name, value in named.items()}
    return Limits(**values)


def of_strategy(world, intent, named, **changes):
    return check_risk(world.context(intent, strategy_limits=named, **changes))


def test_careful_limits_approve_an_ordinary_order():
    """The defaults let an ordinary order of a ten-lakh account through."""
    assert approved(World().check(entry(100), CAREFUL)).reference_px == 100


def test_careful_limits_for_both_scopes_approve_an_ordinary_order():
    """The same limits may hold for account and strategy."""
    approved(World().check(entry(100), CAREFUL, strategy_limits=CAREFUL))


BROKEN = {
    "allowed_symbols": (frozenset({OTHER}), Reason.SYMBOL_NOT_ALLOWED),
    "max_order_qty": (D(9), Reason.MAX_ORDER_QTY),
    "max_order_value": (D(999), Reason.MAX_ORDER_VALUE),
    "max_position_qty": (D(9), Reason.MAX_POSITION_QTY),
    "max_exposure": (D(999), Reason.MAX_EXPOSURE),
    "max_open_positions": (1, Reason.MAX_OPEN_POSITIONS),
    "max_orders_per_minute": (1, Reason.ORDER_RATE),
    "max_orders_per_minute_per_symbol": (1, Reason.SYMBOL_ORDER_RATE),
    "min_order_gap_s": (D(31), Reason.ORDER_GAP),
    "max_daily_loss": (D(500), Reason.MAX_DAILY_LOSS),
    "max_daily_loss_pct": (D("0.05"), Reason.MAX_DAILY_LOSS_PCT),
    "max_price_age_s": (D(4), Reason.PRICE_STALE),
}


def a_busy_world():
    world = World().mark(age_s=5).hold(10, symbol=OTHER).made(30)
    return world.day(realized_pnl=D(-500), by_strategy={STRATEGY: D(-500)})


@pytest.mark.parametrize("name", BROKEN)
def test_limit_holds_for_the_account_and_names_it(name):
    """Every limit can be set for an account, and the denial says whose it was, the limit and what was seen."""
    value, reason = BROKEN[name]
    found = denied(a_busy_world().check(entry(), limits(**{name: value})), reason)
    assert found.scope == "account paper"
    assert "(account paper)" in found.message
    assert found.limit
    assert found.observed


@pytest.mark.parametrize("name", BROKEN)
def test_limit_holds_for_the_strategy_and_names_it(name):
    """The same limit, set for the strategy."""
    value, reason = BROKEN[name]
    assert denied(of_strategy(a_busy_world(), entry(), limits(**{name: value})), reason).scope == "strategy demo"


@pytest.mark.parametrize("name", BROKEN)
def test_no_limit_keeps_a_trader_in_a_position(name):
    """An order that can only close is exempt from everything that limits adding."""
    value, _ = BROKEN[name]
    world = a_busy_world().hold(1000)
    approved(world.check(an_exit(1000), limits(**{name: value}), strategy_limits=limits(**{name: value})))


@pytest.mark.parametrize("name", BROKEN)
def test_limit_on_a_reversal_lets_its_closing_part_out(name):
    """A reversal that may not open still closes, and says why it was made smaller."""
    value, reason = BROKEN[name]
    world = a_busy_world().hold(-40)
    assert capped(world.check(entry(60), limits(**{name: value})), reason).intent.order_qty == 40


def test_account_is_asked_before_the_strategy():
    """Of two scopes that deny by the same rule, the account is named."""
    tight = limits(max_order_qty="5")
    assert denied(World().check(entry(), tight, strategy_limits=tight), Reason.MAX_ORDER_QTY).scope == "account paper"


# --- symbols, price age ---------------------------------------------------------------------------------------------


def test_symbol_on_the_list_passes():
    """An empty list allows all, another only what it names."""
    approved(World().check(entry(), limits(allowed_symbols=frozenset({SYMBOL, OTHER}))))


@pytest.mark.parametrize(("age_s", "passes"), [(900, True), (901, False)])
def test_market_entry_needs_a_price_no_older_than_allowed(age_s, passes):
    """Exactly as old as allowed still passes."""
    decision = World().mark(age_s=age_s).check(entry(), limits(max_price_age_s="900"))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.PRICE_STALE)
        assert (found.limit, found.observed) == ("900 s", "901 s")


def test_order_with_a_price_of_its_own_does_not_ask_for_a_young_mark():
    """A limit order is reckoned with its limit, however old the latest trade."""
    old = World().mark(age_s=9999)
    approved(old.check(entry(ord_type=OrdType.LIMIT, price=D(100)), limits(max_price_age_s="900")))


# --- order size -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("qty", "passes"), [(10, True), (11, False)])
def test_order_quantity_up_to_the_limit(qty, passes):
    """Exactly the limit passes."""
    decision = World().check(entry(qty), limits(max_order_qty="10"))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.MAX_ORDER_QTY)
        assert (found.limit, found.observed) == ("10", "11")


@pytest.mark.parametrize(("qty", "multiplier", "passes"), [(10, 1, True), (11, 1, False), (1, 10, True), (2, 10, False)])
def test_order_value_up_to_the_limit(qty, multiplier, passes):
    """Quantity x price x multiplier; exactly the limit passes."""
    instrument = make_instrument(multiplier=D(multiplier))
    decision = World().check(entry(qty), limits(max_order_value="1000"), instrument=instrument)
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.MAX_ORDER_VALUE)
        assert (found.limit, found.observed) == ("₹1,000.00", f"₹{qty * multiplier * 100:,}.00")


def test_sell_limit_far_below_the_market_is_worth_the_market():
    """A low limit on a sell does not make the order small: it would fill at the market."""
    cheap = entry(11, Side.SELL, ord_type=OrdType.LIMIT, price=D("0.05"))
    denied(World().check(cheap, limits(max_order_value="1000")), Reason.MAX_ORDER_VALUE)


# --- position -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("qty", "passes"), [(30, True), (31, False)])
def test_position_counts_what_is_held_and_the_open_orders_of_its_side(sign, qty, passes):
    """50 held, 20 of 25 still to fill on the same side, 100 the limit: 30 more pass; the other side never helps."""
    side = Side.BUY if sign > 0 else Side.SELL
    world = World().hold(50 * sign)
    world.order(entry(25, side), filled=5)
    world.order(entry(40, side.opposite))
    decision = world.check(entry(qty, side), limits(max_position_qty="100"))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.MAX_POSITION_QTY)
        assert (found.limit, found.observed) == ("100", "101")
        assert f"could become {101 * sign} units" in found.message


def test_reversal_counts_what_it_opens():
    """Short 50, buying 150 makes long 100, which is the limit; one more is capped at what closes."""
    world = World().hold(-50)
    approved(world.check(entry(150), limits(max_position_qty="100")))
    assert capped(world.check(entry(151), limits(max_position_qty="100")), Reason.MAX_POSITION_QTY).intent.order_qty == 50


def test_strategys_position_is_its_own_share_and_orders():
    """What other strategies hold and order in the same instrument does not use up this one's limit."""
    world = World().hold(90, shares={STRATEGY: D(40), "other": D(50)})
    world.order(entry(10))
    world.order(entry(10, strategy="other"))
    world.order(entry(10, product=Product.CNC))
    world.order(entry(10, Side.SELL))
    approved(of_strategy(world, entry(50), limits(max_position_qty="100")))
    denied(of_strategy(world, entry(51), limits(max_position_qty="100")), Reason.MAX_POSITION_QTY)


def test_strategys_short_position_counts_its_own_share():
    """The same on the short side, and from nothing."""
    approved(of_strategy(World(), entry(100, Side.SELL), limits(max_position_qty="100")))
    world = World().hold(-90, shares={STRATEGY: D(-40), "other": D(-50)})
    denied(of_strategy(world, entry(61, Side.SELL), limits(max_position_qty="100")), Reason.MAX_POSITION_QTY)


# --- exposure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("qty", "passes"), [(20, True), (21, False)])
def test_exposure_counts_all_positions_and_orders_under_way(qty, passes):
    """10 short of one at 300, 5 of 10 still to buy of another at 200, and this: 3000 + 1000 + 2000 is the limit."""
    world = World().mark(OTHER, 300).hold(-10, symbol=OTHER).mark(THIRD, 150)
    world.order(entry(10, symbol=THIRD, ord_type=OrdType.LIMIT, price=D(200)), filled=5)
    decision = world.check(entry(qty), limits(max_exposure="6000"))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.MAX_EXPOSURE).observed == "₹6,100.00"


def test_exposure_leaves_out_what_only_closes():
    """Exits under way add nothing; the position they close counts until they have filled."""
    world = World().hold(10)
    world.order(an_exit(10))
    approved(world.check(entry(10, symbol=OTHER), limits(max_exposure="2000")))
    denied(world.check(entry(11, symbol=OTHER), limits(max_exposure="2000")), Reason.MAX_EXPOSURE)


def test_exposure_of_a_reversal_is_what_it_may_add():
    """Short 10, buying 15 adds 5 to the 10 that are there until they are closed."""
    world = World().hold(-10)
    approved(world.check(entry(15), limits(max_exposure="1500")))
    capped(world.check(entry(16), limits(max_exposure="1500")), Reason.MAX_EXPOSURE)


def test_reversal_counts_its_dear_orders_as_those_that_open():
    """Of two orders against a position the cheaper counts as the one that closes: never too little."""
    world = World().hold(-10)
    world.order(entry(10, ord_type=OrdType.LIMIT, price=D(90)))
    cheap_closes = 10 * 100 + 10 * 100
    approved(world.check(entry(10), limits(max_exposure=str(cheap_closes))))
    capped_or_denied = world.check(entry(10), limits(max_exposure=str(cheap_closes - 1)))
    denied(capped_or_denied, Reason.MAX_EXPOSURE)


def test_exposure_counts_both_sides_of_resting_orders():
    """Orders on both sides of the market may fill one after the other: both count."""
    world = World()
    world.order(entry(10, Side.SELL, ord_type=OrdType.LIMIT, price=D(110)))
    approved(world.check(entry(10), limits(max_exposure="2100")))
    denied(world.check(entry(10), limits(max_exposure="2099")), Reason.MAX_EXPOSURE)


def test_exposure_counts_multipliers_of_positions_orders_and_the_order():
    """A position knows its multiplier, the order its instrument's; an order elsewhere takes it from the table."""
    world = World().hold(1, symbol=OTHER, multiplier=10).mark(THIRD)
    world.order(entry(1, symbol=THIRD))
    contract, elsewhere = make_instrument(multiplier=D(5)), {THIRD: D(20)}
    exact = limits(max_exposure="3500")
    approved(world.check(entry(1), exact, instrument=contract, multipliers=elsewhere))
    less = limits(max_exposure="3499")
    denied(world.check(entry(1), less, instrument=contract, multipliers=elsewhere), Reason.MAX_EXPOSURE)
    approved(world.check(entry(1), limits(max_exposure="1600"), instrument=contract))


def test_exposure_leaves_out_other_accounts():
    """Each account has its own exposure."""
    world = World().hold(1000, account="other").hold(10)
    world.order(entry(1000, account="other"))
    approved(world.check(entry(10), limits(max_exposure="2000")))


def test_exposure_counts_products_apart():
    """A delivery and an intraday position of one share are two positions."""
    world = World().hold(10, product=Product.CNC).hold(-10)
    world.order(entry(10, product=Product.CNC))
    approved(world.check(entry(5, Side.SELL), limits(max_exposure="3500")))
    denied(world.check(entry(6, Side.SELL), limits(max_exposure="3500")), Reason.MAX_EXPOSURE)


def test_strategys_exposure_is_its_own_shares_and_orders():
    """Positions count by the strategy's share; other strategies' orders do not."""
    world = World().hold(90, symbol=OTHER, shares={STRATEGY: D(40), "other": D(50)}).hold(5, shares={"other": D(5)})
    world.order(entry(10, strategy="other"))
    approved(of_strategy(world, entry(10), limits(max_exposure="5000")))
    denied(of_strategy(world, entry(11), limits(max_exposure="5000")), Reason.MAX_EXPOSURE)


@pytest.mark.parametrize("gone", [None, 0])
def test_exposure_denies_when_a_position_has_no_price(gone):
    """A position without a price is never counted as nothing; the denial names it."""
    world = World().hold(1, symbol=OTHER).mark(OTHER, gone)
    found = denied(world.check(entry(), limits(max_exposure="1000000")), Reason.NO_PRICE)
    assert (OTHER in found.message, found.scope) == (True, "account paper")


def test_exposure_denies_when_an_order_under_way_has_no_price():
    """A market order under way in an instrument without a price is never counted as nothing."""
    world = World().mark(OTHER, None)
    world.order(entry(symbol=OTHER))
    assert OTHER in denied(world.check(entry(), limits(max_exposure="1000000")), Reason.NO_PRICE).message


# --- open positions -------------------------------------------------------------------------------------------------


def test_open_positions_count_held_and_being_entered_once_each():
    """Held, being entered, both, and this one: an instrument counts once; exits and closed orders open nothing."""
    world = World().mark(THIRD).hold(10, symbol=OTHER).hold(0, symbol="NSE:FLAT")
    world.order(entry(symbol=OTHER))
    world.order(an_exit(5, symbol=OTHER))
    world.order(entry(symbol=THIRD))
    world.order(entry(symbol=THIRD))
    approved(world.check(entry(), limits(max_open_positions=3)))
    found = denied(world.check(entry(), limits(max_open_positions=2)), Reason.MAX_OPEN_POSITIONS)
    assert (found.limit, found.observed) == ("2", "3")


def test_adding_to_an_open_position_opens_no_other():
    """Enlarging what is held does not count twice."""
    approved(World().hold(10).check(entry(), limits(max_open_positions=1)))


# --- what the broker has no more --------------------------------------------------------------------------------------


def lacking(world, units, accepted_by=""):
    """The broker has so many of ten OTHER, and a comparison has told so."""
    gap = Gap(product="NRML", ours=D(10), theirs=D(units))
    world.ledger.holds.set((ACCOUNT, OTHER), make_hold(OTHER, (gap,), accepted_by))
    return world


@pytest.mark.parametrize(
    ("price", "named", "reason"),
    [
        (None, {"max_exposure": "1000"}, Reason.NO_PRICE), (None, {"max_daily_loss": "5000"}, Reason.NO_PRICE),
        (100, {"max_exposure": "1000"}, Reason.MAX_EXPOSURE), (None, {"max_open_positions": 1}, Reason.MAX_OPEN_POSITIONS),
    ],
)  # fmt: skip
def test_a_contract_that_expired_counts_until_somebody_accepts_that_it_is_gone(price, named, reason):
    """It has no price any more, so that every sum with it is unknown; a difference alone may be the broker's delay."""
    world = World().hold(10, symbol=OTHER, product=Product.NRML).mark(OTHER, price)
    for found in (world, lacking(world, 0)):
        denied(found.check(entry(), limits(**named)), reason)
    approved(lacking(world, 0, "anna").check(entry(), limits(**named)))


def test_what_is_accepted_as_gone_in_part_counts_for_the_rest():
    """Of ten units six were closed by hand, and somebody said so."""
    world = lacking(World().hold(10, symbol=OTHER, product=Product.NRML), 4, "anna")
    approved(world.check(entry(), limits(max_exposure="1400")))
    denied(world.check(entry(), limits(max_exposure="1399")), Reason.MAX_EXPOSURE)
    denied(world.check(entry(), limits(max_open_positions=1)), Reason.MAX_OPEN_POSITIONS)
    shared = lacking(World().hold(10, symbol=OTHER, product=Product.NRML, shares={STRATEGY: D(7), "other": D(3)}), 4, "anna")
    approved(of_strategy(shared, entry(), limits(max_exposure="1400")))
    denied(of_strategy(shared, entry(), limits(max_exposure="1399")), Reason.MAX_EXPOSURE)


@pytest.mark.parametrize(
    ("paid", "opening", "realized", "loss"),
    [(150, -500, 0, 0), (150, -500, -300, 300), (50, 500, 0, 0), (50, 500, -300, 300), (140, 0, 0, 400)],
)
def test_the_days_loss_is_the_same_when_what_is_gone_is_accepted(paid, opening, realized, loss):
    """Its paper result was carried into the day, or it is of the day, and no fill has booked another; the mark is 100."""
    for accepted_by in ("", "anna"):
        world = World().hold(10, symbol=OTHER, product=Product.NRML, avg=paid)
        lacking(world.day(opening_unrealized=D(opening), realized_pnl=D(realized)), 0, accepted_by)
        approved(world.check(entry(), limits(max_daily_loss=str(loss + 1))))
        if loss:
            denied(world.check(entry(), limits(max_daily_loss=str(loss))), Reason.MAX_DAILY_LOSS)


def test_of_strategies_on_opposite_sides_the_one_may_have_what_the_other_takes_back():
    """Fifteen less five, of which eight are gone: seven of the fifteen may be there, and all of the five."""
    shares = {STRATEGY: D(15), "other": D(-5)}
    world = lacking(World().hold(10, symbol=OTHER, product=Product.NRML, shares=shares), 2, "anna")
    approved(of_strategy(world, entry(), limits(max_exposure="1700")))
    denied(of_strategy(world, entry(), limits(max_exposure="1699")), Reason.MAX_EXPOSURE)


def test_what_the_broker_has_more_is_not_ours_to_count():
    """Somebody bought five by hand: the limits are over what the bridge trades."""
    world = lacking(World().hold(10, symbol=OTHER, product=Product.NRML), 15, "anna")
    approved(world.check(entry(), limits(max_exposure="2000")))
    denied(world.check(entry(), limits(max_exposure="1999")), Reason.MAX_EXPOSURE)


# --- orders per time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "passes"), [(3, True), (2, False)])
def test_orders_within_a_minute_up_to_the_limit(limit, passes):
    """Two in the last minute and this one; an older one is forgotten, those of other symbols count."""
    world = World().made(60).made("59.999999").made(1, symbol=OTHER)
    decision = world.check(entry(), limits(max_orders_per_minute=limit))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.ORDER_RATE).observed == "3"


@pytest.mark.parametrize(("limit", "passes"), [(2, True), (1, False)])
def test_orders_of_a_symbol_within_a_minute_up_to_the_limit(limit, passes):
    """One of this symbol in the last minute and this one; other symbols do not count."""
    world = World().made(60).made(59).made(1, symbol=OTHER)
    decision = world.check(entry(), limits(max_orders_per_minute_per_symbol=limit))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.SYMBOL_ORDER_RATE).observed == "2"


@pytest.mark.parametrize(("ago", "passes"), [("5", True), ("4.999999", False)])
def test_gap_to_the_order_before_is_at_least_the_limit(ago, passes):
    """Exactly the gap passes; orders of other symbols do not matter."""
    decision = World().made(ago).made(0, symbol=OTHER).check(entry(), limits(min_order_gap_s="5"))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.ORDER_GAP).observed == "4999 ms"


def test_first_order_has_no_gap_to_keep():
    """With no order before it there is nothing to wait for."""
    approved(World().check(entry(), limits(min_order_gap_s="5")))


def test_strategys_rates_count_its_own_orders_only():
    """Other strategies' orders do not use up this one's rates."""
    world = World().made(1, strategy="other").made(1, strategy="other")
    once = limits(max_orders_per_minute=1, max_orders_per_minute_per_symbol=1, min_order_gap_s="5")
    approved(of_strategy(world, entry(), once))
    denied(world.check(entry(), once), Reason.ORDER_RATE)


# --- the day's loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "passes"), [("2000.01", True), ("2000", False)])
def test_days_loss_is_realised_charged_and_on_paper_since_midnight(limit, passes):
    """-1500 realised, 100 charges, paper from -600 at midnight to -1000 now: 2000 lost; reaching the limit denies."""
    world = World().hold(100, symbol=OTHER, avg=110)
    world.day(realized_pnl=D(-1500), charges=D(100), opening_unrealized=D(-600))
    decision = world.check(entry(), limits(max_daily_loss=limit))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.MAX_DAILY_LOSS)
        assert (found.limit, found.observed, found.trips_halt) == ("₹2,000.00", "₹2,000.00", True)


@pytest.mark.parametrize(("limit", "passes"), [("2.01", True), ("2", False)])
def test_days_loss_in_percent_of_the_opening_equity(limit, passes):
    """20,000 of 1,000,000 are two percent; reaching the limit denies and asks for a halt."""
    decision = World().day(realized_pnl=D(-20_000)).check(entry(), limits(max_daily_loss_pct=limit))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.MAX_DAILY_LOSS_PCT)
        assert (found.limit, found.observed, found.trips_halt) == ("2 %", "2 %", True)


def test_profit_never_reaches_a_loss_limit():
    """A winning day passes."""
    world = World().day(realized_pnl=D(5000))
    approved(world.check(entry(), limits(max_daily_loss="1", max_daily_loss_pct="0.01")))


@pytest.mark.parametrize("named", [{"max_daily_loss": "1000"}, {"max_daily_loss_pct": "2"}])
@pytest.mark.parametrize("day", [None, 20261119])
def test_day_that_is_missing_or_another_denies_without_a_halt(named, day):
    """Without today's record the loss is not known; not knowing is no reason to halt until a person comes."""
    world = World()
    if day is None:
        world.ledger.days.set(ACCOUNT, None)
    else:
        world.day(day=day)
    assert not denied(world.check(entry(), limits(**named)), Reason.EQUITY_UNKNOWN).trips_halt


@pytest.mark.parametrize("named", [{"max_daily_loss": "1000"}, {"max_daily_loss_pct": "2"}])
def test_open_position_without_a_price_denies_without_a_halt(named):
    """The day's loss cannot be known when a position cannot be valued."""
    world = World().hold(1, symbol=OTHER).mark(OTHER, None)
    found = denied(world.check(entry(), limits(**named)), Reason.NO_PRICE)
    assert (OTHER in found.message, found.trips_halt) == (True, False)


def test_day_turns_at_midnight_in_india():
    """At 18:30 UTC yesterday's record is no longer today's."""
    late = NOW.replace(hour=18, minute=30)
    assert market_day(late) != market_day(NOW)
    decision = World().check(entry(signal_at=late), limits(max_daily_loss="1"), now=late)
    denied(decision, Reason.EQUITY_UNKNOWN)


@pytest.mark.parametrize("equity", [None, D(0), D(-5)])
def test_percentage_of_an_unknown_equity_denies(equity):
    """A percentage of nothing is not a limit; the absolute one still is."""
    world = World().day(opening_equity=equity)
    denied(world.check(entry(), limits(max_daily_loss_pct="2")), Reason.EQUITY_UNKNOWN)
    approved(world.check(entry(), limits(max_daily_loss="2")))


@pytest.mark.parametrize(("limit", "passes"), [("900.01", True), ("900", False)])
def test_strategys_loss_is_its_own_and_its_share_of_paper(limit, passes):
    """-500 of its own, and 40 % of a paper loss of 1000; what the account carried into the day is nobody's."""
    world = World().hold(100, symbol=OTHER, avg=110, shares={STRATEGY: D(40), "other": D(60)})
    world.day(realized_pnl=D(-9000), opening_unrealized=D(-700), by_strategy={STRATEGY: D(-500), "other": D(-8500)})
    decision = of_strategy(world, entry(), limits(max_daily_loss=limit))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.MAX_DAILY_LOSS).scope == "strategy demo"


def test_strategies_that_cancel_out_in_one_position_have_no_paper_loss():
    """A flat position has no value to share."""
    world = World().hold(0, symbol=OTHER, shares={STRATEGY: D(10), "other": D(-10)})
    approved(of_strategy(world, entry(), limits(max_daily_loss="1")))


# --- money ----------------------------------------------------------------------------------------------------------

COVERED = limits(require_buying_power=True)


@pytest.mark.parametrize(("available", "passes"), [(200, True), ("199.99", False)])
def test_buying_power_covers_the_order_by_its_leverage(available, passes):
    """1000 rupees at leverage 5 need 200."""
    decision = World().funds(available).check(entry(), COVERED, leverage=D(5))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.BUYING_POWER)
        assert (found.limit, found.observed) == ("₹199.99", "₹200.00")


def test_unknown_funds_deny():
    """When the broker has not said what there is, nothing is bought."""
    denied(World().funds(None).check(entry(), COVERED), Reason.FUNDS_UNKNOWN)


def test_buying_power_counts_entries_in_flight_and_not_exits():
    """Orders under way have bound money that the broker's word may not show yet; exits bind none."""
    world = World().hold(10, symbol=OTHER).funds(600)
    world.order(entry(20), filled=10)
    world.order(an_exit(10, symbol=OTHER))
    approved(world.check(entry(20), COVERED, leverage=D(5)))
    denied(world.check(entry(21), COVERED, leverage=D(5)), Reason.BUYING_POWER)


def test_buying_power_counts_orders_of_other_products_in_full():
    """Their leverage is not known here, so none is assumed."""
    world = World().funds(1200)
    world.order(entry(10, product=Product.CNC))
    approved(world.check(entry(10), COVERED, leverage=D(5)))
    denied(world.check(entry(11), COVERED, leverage=D(5)), Reason.BUYING_POWER)


def test_buying_power_of_a_reversal_is_for_what_it_adds():
    """Closing binds nothing."""
    world = World().hold(-10).funds(500)
    approved(world.check(entry(15), COVERED))
    assert capped(world.check(entry(16), COVERED), Reason.BUYING_POWER).intent.order_qty == 10


def test_buying_power_denies_when_an_order_under_way_has_no_price():
    """What that order binds is not known."""
    world = World().mark(OTHER, None)
    world.order(entry(symbol=OTHER))
    assert OTHER in denied(world.check(entry(), COVERED), Reason.NO_PRICE).message


def test_buying_power_does_not_ask_for_prices_of_what_is_held():
    """What is held is paid for."""
    approved(World().hold(1, symbol=OTHER).mark(OTHER, None).check(entry(), COVERED))


def test_strategys_buying_power_is_the_accounts_money():
    """Money has no strategy: orders of all bind it."""
    world = World().funds(1900)
    world.order(entry(10, strategy="other"))
    assert denied(of_strategy(world, entry(), COVERED), Reason.BUYING_POWER).scope == "strategy demo"
    approved(of_strategy(world.funds(2000), entry(), COVERED))


# --- all off --------------------------------------------------------------------------------------------------------


def test_with_all_limits_off_nothing_but_a_price_is_needed():
    """No funds, no day and no history are needed where no limit asks for them."""
    world = World().funds(None).hold(10**6, symbol=OTHER).mark(OTHER, None)
    world.ledger.days.set(ACCOUNT, None)
    approved(world.check(entry(10**9), OFF))


def test_age_of_a_mark_from_the_future_is_no_age():
    """Clocks differ by a little; a price seen a moment after now is fresh."""
    world = World()
    mark = world.ledger.marks.values[SYMBOL]
    world.ledger.marks.set(SYMBOL, replace(mark, at=NOW + timedelta(seconds=2)))
    approved(world.check(entry(), limits(max_price_age_s="1")))


# --- what the exchange has ruled ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_banned", "required", "reason"),
    [
        (True, False, Reason.FNO_BAN),
        (True, True, Reason.FNO_BAN),
        (False, True, None),
        (None, False, None),
        (None, True, Reason.BAN_UNKNOWN),
    ],
)
def test_a_banned_underlying_takes_no_entry(is_banned, required, reason):
    """A ban that is known always holds; one that is not denies where the limits ask for it."""
    found = World().check(entry(), limits(require_ban_list=required), ruling=Ruling(is_banned=is_banned))
    if reason is None:
        approved(found)
    else:
        denied(found, reason)


def test_exits_leave_under_a_ban():
    """The ban is there so that positions get smaller."""
    ruling = Ruling(is_banned=True)
    approved(World().hold(10).check(an_exit(), limits(require_ban_list=True), ruling=ruling))
    assert capped(World().hold(10).check(entry(15, Side.SELL), ruling=ruling), Reason.FNO_BAN).intent.order_qty == 10


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"ord_type": OrdType.LIMIT, "price": D("90")}, True),
        ({"ord_type": OrdType.LIMIT, "price": D("89.95")}, False),
        ({"ord_type": OrdType.LIMIT, "price": D("110")}, True),
        ({"ord_type": OrdType.LIMIT, "price": D("110.05")}, False),
        ({"ord_type": OrdType.SL, "price": D("105"), "trigger_price": D("111")}, False),
        ({"ord_type": OrdType.SL_M, "trigger_price": D("111")}, False),
        ({"ord_type": OrdType.MARKET, "price": D("500")}, True),
    ],
)
def test_prices_lie_in_the_band(changes, passes):
    """Both ends included; a market order has no price of its own, only the sender's."""
    found = World().check(entry(**changes), ruling=Ruling(low=D(90), high=D(110)))
    if passes:
        approved(found)
    else:
        assert "90 to 110" in denied(found, Reason.PRICE_BAND).message


@pytest.mark.parametrize(("required", "ruling"), [(True, NO_RULING), (True, Ruling(low=D(90))), (False, NO_RULING)])
def test_an_unknown_band_denies_where_the_limits_ask_for_it(required, ruling):
    """And an exit leaves all the same."""
    asked = limits(require_price_band=required)
    order = {"ord_type": OrdType.LIMIT, "price": D(100)}
    found = World().check(entry(**order), asked, ruling=ruling)
    if required:
        denied(found, Reason.BAND_UNKNOWN)
    else:
        approved(found)
    approved(World().hold(10).check(an_exit(**order), asked, ruling=Ruling(low=D(101), high=D(102))))
