"""What every order must be: each rule on both sides of its boundary, and with its input missing."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Action, InstrumentKind, OrdType, Product, Side, TimeInForce, TradingMode, Variety
from bridge.core.errors import InvariantError
from bridge.core.hold import Gap, Hold, make_hold
from bridge.core.market import SessionState
from bridge.core.offer import EVERYTHING, PLAIN
from bridge.core.position import PositionKey
from bridge.core.reasons import Reason
from bridge.core.scope import GLOBAL, account_scope, strategy_scope
from bridge.core.signal import OrderIntent
from bridge.core.trade import Trade, TradeStatus
from bridge.risk.context import Case
from bridge.risk.engine import ENTRY_RULES, EXIT_RULES
from bridge.risk.rules import money
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
    make_signal,
)

FUTURE: dict[str, Any] = {"kind": InstrumentKind.FUT, "lot": D(10)}


def entry(qty=10, side=Side.BUY, **changes):
    return make_intent(qty, side, **changes)


def an_exit(qty=10, side=Side.SELL, **changes):
    return make_intent(qty, side, reduce_only=True, **changes)


def test_rules_stand_in_the_documented_order():
    """The first rule that is not kept names the reason, so their order is part of what a trader sees."""
    assert [rule.__name__ for rule in ENTRY_RULES] == [
        *("signal_fresh", "trading_state", "position_sure", "tradable", "offered", "session_open", "before_square_off"),
        *("symbol_allowed", "not_banned", "whole_lots", "prices_on_tick", "price_in_band"),
        *("short_allowed", "price_known", "price_young"),
        *("order_qty", "order_value", "position_qty", "exposure", "open_positions"),
        *("order_rate", "symbol_order_rate", "order_gap", "daily_loss", "daily_loss_pct"),
        *("buying_power", "token_notional"),
    ]
    of_exits = [rule for rule in EXIT_RULES if rule.__name__ != "only_closes"]
    assert of_exits == [rule for rule in ENTRY_RULES if rule in of_exits]
    assert len(of_exits) == 6


# --- square-off ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "seconds", "passes"),
    [
        (Product.MIS, 1, True),
        (Product.MIS, 0, False),
        (Product.MIS, -60, False),
        (Product.NRML, -60, True),
        (Product.CNC, 0, True),
    ],
)
def test_intraday_entries_end_when_square_off_begins(product, seconds, passes):
    """The broker takes no new ones either after its own time; what is carried overnight is not concerned."""
    end = NOW + timedelta(seconds=seconds)
    found = World().check(make_intent(product=product), intraday_end=end)
    if passes:
        approved(found)
    else:
        assert "NSE:SBIN are closed from 10:" in denied(found, Reason.AFTER_SQUARE_OFF).message


def test_intraday_exits_leave_after_square_off_has_begun():
    """They are what it is made of."""
    approved(World().hold(10).check(an_exit(), intraday_end=NOW))


def test_an_after_market_order_is_for_the_next_session():
    """Today's square-off is no business of it."""
    amo = make_intent(variety=Variety.AMO)
    approved(World().check(amo, intraday_end=NOW, offer=EVERYTHING))


def test_without_square_off_by_the_bridge_intraday_entries_pass():
    """The broker knows its own time."""
    approved(World().check(make_intent(), intraday_end=None))


# --- freshness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "fresh"), [(timedelta(seconds=60), True), (timedelta(seconds=60, microseconds=1), False)])
def test_entry_is_denied_when_its_signal_is_older_than_allowed(age, fresh):
    """Exactly as old as allowed still passes."""
    decision = World().check(entry(signal_at=NOW - age))
    if fresh:
        approved(decision)
    else:
        found = denied(decision, Reason.STALE)
        assert (found.limit, found.observed) == ("60 s", "61 s")


def test_exit_is_never_too_old():
    """An old exit still leaves: staying in a position is not safer."""
    approved(World().hold(10).check(an_exit(signal_at=NOW - timedelta(hours=1))))


# --- exits only close -----------------------------------------------------------------------------------------------


def test_exit_of_all_that_is_closable_passes():
    """What fits beside the open exits may go."""
    world = World().hold(10)
    world.order(an_exit(4))
    approved(world.check(an_exit(6)))


def test_exit_larger_than_closable_is_capped():
    """A claim to only reduce is checked again: the part beyond the position never leaves."""
    world = World().hold(10)
    world.order(an_exit(4))
    assert capped(world.check(an_exit(7)), Reason.EXIT_IN_FLIGHT).intent.order_qty == 6


def test_exit_with_nothing_closable_is_denied():
    """With the position gone or all of it being closed, an order marked as exit would open."""
    world = World()
    assert denied(world.check(an_exit()), Reason.FLAT).observed == "10"
    world.hold(10).order(an_exit())
    denied(world.check(an_exit(1)), Reason.EXIT_IN_FLIGHT)


def test_exit_in_the_positions_own_direction_is_denied():
    """A buy closes nothing of a long position."""
    denied(World().hold(10).check(an_exit(5, Side.BUY)), Reason.EXIT_IN_FLIGHT)


def test_exit_of_nothing_is_denied():
    """No order is for zero units."""
    denied(World().check(an_exit(0)), Reason.FLAT)
    denied(World().hold(10).check(an_exit(0)), Reason.LOT)


# --- trading state ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [GLOBAL, account_scope(ACCOUNT), strategy_scope(STRATEGY)])
def test_halt_of_any_scope_over_the_order_denies_entries(scope):
    """REDUCING at any of the three scopes lets exits out and no entry."""
    world = World().hold(10).state(scope, TradingMode.REDUCING)
    assert denied(world.check(entry()), Reason.HALTED).scope == str(scope)
    approved(world.check(an_exit()))


def test_full_halt_denies_exits_too():
    """HALTED lets nothing out."""
    denied(World().hold(10).state(GLOBAL, TradingMode.HALTED).check(an_exit()), Reason.HALTED)


def test_halt_of_another_scope_bears_on_nothing():
    """An account's halt stays with the account."""
    approved(World().state(account_scope("other"), TradingMode.HALTED).check(entry()))


# --- position hold --------------------------------------------------------------------------------------------------


def test_entry_is_denied_while_the_brokers_position_differs():
    """Drift holds entries of that instrument in that account; the hold's own words are in the reason."""
    world = World().hold(10)
    world.ledger.holds.set((ACCOUNT, SYMBOL), Hold(message="Broker 12, bridge 10."))
    assert "Broker 12, bridge 10." in denied(world.check(entry()), Reason.POSITION_UNSURE).message
    approved(world.check(an_exit()))
    approved(world.check(entry(symbol=OTHER)))


# --- tradable -------------------------------------------------------------------------------------------------------


def test_index_can_not_be_traded():
    """An index is quoted only; not even an exit can go."""
    index = make_instrument(kind=InstrumentKind.INDEX, lot=D(0), tick=D(0))
    denied(World().check(entry(), instrument=index), Reason.NOT_TRADABLE)
    denied(World().hold(10).check(an_exit(), instrument=index), Reason.NOT_TRADABLE)


@pytest.mark.parametrize(("expiry", "passes"), [(date(2026, 11, 20), True), (date(2026, 11, 19), False)])
def test_contract_trades_up_to_the_day_of_its_expiry(expiry, passes):
    """The last day is the day of expiry."""
    decision = World().check(entry(), instrument=make_instrument(expiry=expiry, **FUTURE))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.INSTRUMENT_EXPIRED).limit == "2026-11-19"


def test_contract_expires_at_midnight_in_india():
    """Days turn in India: 18:30 UTC is the next day there."""
    contract = make_instrument(expiry=date(2026, 11, 20), **FUTURE)
    late = NOW.replace(hour=18, minute=29)
    approved(World().check(entry(signal_at=late), instrument=contract, now=late))
    past = NOW.replace(hour=18, minute=30)
    denied(World().check(entry(signal_at=past), instrument=contract, now=past), Reason.INSTRUMENT_EXPIRED)


def test_exit_of_an_expired_contract_is_denied():
    """What has expired cannot be traded at all."""
    contract = make_instrument(expiry=date(2026, 11, 19), **FUTURE)
    denied(World().hold(10).check(an_exit(), instrument=contract), Reason.INSTRUMENT_EXPIRED)


def test_contract_of_unknown_expiry_denies_entries_and_lets_exits_out():
    """A missing expiry denies what adds; it does not lock a position in."""
    contract = make_instrument(kind=InstrumentKind.CE, lot=D(10))
    message = denied(World().check(entry(), instrument=contract), Reason.INSTRUMENT_EXPIRED).message
    assert "a day that is not known" in message
    approved(World().hold(10).check(an_exit(), instrument=contract))


# --- shares that the broker does not have -----------------------------------------------------------------------


@pytest.mark.parametrize(("missing", "left"), [(0, 10), (4, 6), (9, 1)])
@pytest.mark.parametrize("accepted_by", ["", "operator"])
def test_exit_of_delivered_shares_is_capped_at_what_the_broker_has(missing, left, accepted_by):
    """More would be rejected as a whole, and leave the trader in the position."""
    world = World().hold(10, product=Product.CNC)
    gaps = (Gap(product="CNC", ours=D(10), theirs=D(10 - missing)),)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, gaps, accepted_by))
    wish = world.size(make_signal(Action.EXIT, product=Product.CNC))
    assert isinstance(wish, OrderIntent)
    assert wish.order_qty == left
    approved(world.check(wish))
    if missing:
        assert capped(world.check(an_exit(left + 1, product=Product.CNC)), Reason.EXIT_IN_FLIGHT).intent.order_qty == left


def test_exit_of_shares_that_are_all_gone_is_denied_with_both_numbers():
    """There is nothing to sell, and a person has to look."""
    world = World().hold(10, product=Product.CNC)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="CNC", ours=D(10), theirs=D(0)),)))
    found = denied(world.size(make_signal(Action.EXIT, product=Product.CNC)), Reason.POSITION_UNSURE)
    assert found.message == f"{SYMBOL}: we hold 10 CNC, the broker says 0 CNC. There is nothing to sell."


def test_exit_of_a_product_that_can_be_short_is_not_held_back_by_a_difference():
    """The broker's word may be late there, and the exit must go."""
    world = World().hold(10)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(10), theirs=D(0)),)))
    approved(world.check(an_exit()))


@pytest.mark.parametrize("signal", [make_signal(Action.EXIT), make_signal(Action.TARGET, target=D(0))], ids=["exit", "target"])
@pytest.mark.parametrize(
    ("ours", "theirs", "explained", "left"),
    [(10, 7, -3, 7), (-10, -7, 3, 7), (10, 0, -4, 6), (10, 3, 0, 10), (10, 12, 2, 10), (-10, -12, -2, 10)],
)
def test_exit_is_capped_by_what_explains_the_difference(signal, ours, theirs, explained, left):
    """A difference alone may be delay; what the broker's book shows to have been closed elsewhere is none."""
    world = World().hold(ours)
    gap = Gap(product="MIS", ours=D(ours), theirs=D(theirs), explained=D(explained))
    world.ledger.holds.set(
        (ACCOUNT, SYMBOL), make_hold(SYMBOL, (gap, Gap(product="NRML", ours=D(9), theirs=D(0), explained=D(-9))))
    )
    wish = world.size(signal)
    assert isinstance(wish, OrderIntent)
    assert (wish.order_qty, wish.reduce_only) == (left, True)
    approved(world.check(wish))


@pytest.mark.parametrize(("ours", "theirs"), [(10, 0), (-10, 0), (10, -5)])
def test_exit_of_what_was_closed_elsewhere_is_denied(ours, theirs):
    """It would open the opposite position."""
    world = World().hold(ours)
    gap = Gap(product="MIS", ours=D(ours), theirs=D(theirs), explained=D(theirs - ours))
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (gap,)))
    denied(world.size(make_signal(Action.EXIT)), Reason.POSITION_UNSURE)


@pytest.mark.parametrize("signal", [make_signal(Action.EXIT), make_signal(Action.TARGET, target=D(0))], ids=["exit", "target"])
@pytest.mark.parametrize(("ours", "theirs", "left"), [(10, 7, 7), (-10, -7, 7), (10, 12, 10), (10, 1, 1)])
def test_exit_is_capped_at_what_the_broker_has_where_a_person_has_accepted_the_difference(signal, ours, theirs, left):
    """Who sold three of ten by hand and said so does not want three sold short by the strategy's exit."""
    world = World().hold(ours)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(ours), theirs=D(theirs)),), "anna"))
    wish = world.size(signal)
    assert isinstance(wish, OrderIntent)
    assert (wish.order_qty, wish.reduce_only) == (left, True)
    approved(world.check(wish))


@pytest.mark.parametrize("signal", [make_signal(Action.EXIT), make_signal(Action.TARGET, target=D(0))], ids=["exit", "target"])
@pytest.mark.parametrize(("ours", "theirs"), [(10, 0), (-10, 0), (10, -5)])
def test_exit_of_what_a_person_has_closed_by_hand_and_accepted_is_denied(signal, ours, theirs):
    """It would open the opposite position."""
    world = World().hold(ours)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(ours), theirs=D(theirs)),), "anna"))
    denied(world.size(signal), Reason.POSITION_UNSURE)


@pytest.mark.parametrize(
    ("product", "days", "theirs", "left"), [("MIS", 1, 0, 0), ("MIS", 1, 4, 4), ("MIS", 0, 0, 10), ("NRML", 1, 0, 10)]
)
def test_exit_takes_no_more_than_the_broker_has_of_an_intraday_position_of_an_earlier_day(product, days, theirs, left):
    """The broker has squared it off when the bridge could not, be it that nobody was logged in."""
    world = World().hold(10, product=Product(product))
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product=product, ours=D(10), theirs=D(theirs)),)))
    key, opened_at = PositionKey(ACCOUNT, SYMBOL, product), NOW - timedelta(days=days)
    trade = Trade(
        trade_id="T", key=key, strategy=STRATEGY, side=Side.BUY, status=TradeStatus.OPEN, opened_at=opened_at, multiplier=D(1)
    )
    world.ledger.trades.set(key, trade)
    wish = world.size(make_signal(Action.EXIT, product=Product(product)))
    if left:
        assert isinstance(wish, OrderIntent)
        assert wish.order_qty == left
    else:
        denied(wish, Reason.POSITION_UNSURE)


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(-20, 20), st.booleans())
def test_an_exit_never_opens_at_the_broker_what_a_person_has_told_of(ours, theirs, target, is_target):
    """Nor does a target between flat and what is held."""
    world = World().hold(ours)
    gaps = (Gap(product="MIS", ours=D(ours), theirs=D(theirs)),) if ours != theirs else ()
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, gaps, "anna") if gaps else None)
    wish = world.size(make_signal(Action.TARGET, target=D(target)) if is_target else make_signal(Action.EXIT))
    only_closes = not is_target or (target * ours >= 0 and abs(target) < abs(ours))
    if only_closes and isinstance(wish, OrderIntent):
        assert theirs * ours > 0
        assert wish.order_qty <= abs(theirs)
        assert wish.reduce_only


# --- what the broker takes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [entry, an_exit])
@pytest.mark.parametrize("variety", list(Variety))
@pytest.mark.parametrize("time_in_force", list(TimeInForce))
def test_order_passes_exactly_where_its_broker_takes_it(make, variety, time_in_force):
    """Entries and exits alike: what the broker has no words for cannot be sent."""
    intent = make(variety=variety, time_in_force=time_in_force)
    approved(World().hold(10).check(intent, offer=EVERYTHING))
    decision = World().hold(10).check(intent, offer=PLAIN)
    if variety in PLAIN.varieties and time_in_force in PLAIN.times_in_force:
        approved(decision)
        return
    found = denied(decision, Reason.NOT_OFFERED)
    assert found.observed in (variety, time_in_force)
    assert found.observed not in found.limit.split(", ")


# --- session --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [Reason.MARKET_CLOSED, Reason.CALENDAR_UNKNOWN])
def test_closed_session_denies_entries_and_exits_with_its_own_reason(reason):
    """The calendar says why, also when it does not know the day."""
    closed = SessionState(is_open=False, reason=reason, message="NSE opens at 09:15.")
    for intent in (entry(), an_exit()):
        assert denied(World().hold(10).check(intent, session=closed), reason).message == "NSE opens at 09:15."


@pytest.mark.parametrize(
    ("changes", "hinted"),
    [({}, True), ({"variety": Variety.ICEBERG}, False), ({"time_in_force": TimeInForce.IOC}, False)],
)
def test_closed_market_names_the_order_for_the_next_session_where_there_is_one(changes, hinted):
    """Only where the broker takes one, and the order could be it."""
    closed = SessionState(is_open=False, reason=Reason.MARKET_CLOSED, message="NSE opens at 09:15.")
    told = denied(World().check(entry(**changes), session=closed, offer=EVERYTHING), Reason.MARKET_CLOSED).message
    assert ('"variety": "amo"' in told) is hinted


def test_closed_session_without_a_reason_is_a_closed_market():
    """A session that says nothing but that it is closed still denies in a sentence."""
    found = denied(World().check(entry(), session=SessionState(is_open=False)), Reason.MARKET_CLOSED)
    assert found.message == Reason.MARKET_CLOSED.sentence


# --- lots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("qty", "passes"), [(20, True), (10, True), (15, False), ("0.5", False), (0, False), (-10, False)])
def test_entry_is_a_whole_positive_number_of_lots(qty, passes):
    """A multiple of the lot, above zero."""
    decision = World().check(entry(qty), instrument=make_instrument(lot=D(10)))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.LOT).limit == "10"


def test_unknown_lot_denies():
    """A lot of zero is how lists of instruments say that they know none."""
    denied(World().check(entry(), instrument=make_instrument(lot=D(0))), Reason.LOT)


def test_exit_of_an_odd_rest_passes_only_when_it_closes_all():
    """Odd units can be sold off whole; a part of them is a mistake in the alert."""
    world, lots_of_ten = World().hold(15), make_instrument(lot=D(10))
    approved(world.check(an_exit(15), instrument=lots_of_ten))
    approved(world.check(an_exit(10), instrument=lots_of_ten))
    denied(world.check(an_exit(14), instrument=lots_of_ten), Reason.LOT)


# --- ticks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"ord_type": OrdType.LIMIT, "price": D("100.05")}, True),
        ({"ord_type": OrdType.LIMIT, "price": D("100.07")}, False),
        ({"ord_type": OrdType.LIMIT, "price": D(0)}, False),
        ({"ord_type": OrdType.LIMIT, "price": D(-5)}, False),
        ({"ord_type": OrdType.SL, "price": D("100.05"), "trigger_price": D(100)}, True),
        ({"ord_type": OrdType.SL, "price": D("100.07"), "trigger_price": D(100)}, False),
        ({"ord_type": OrdType.SL, "price": D("100.05"), "trigger_price": D("99.99")}, False),
        ({"ord_type": OrdType.SL_M, "trigger_price": D("100.10")}, True),
        ({"ord_type": OrdType.SL_M, "trigger_price": D("100.11")}, False),
        ({"ord_type": OrdType.SL_M, "trigger_price": D("100.10"), "price": D("100.07")}, True),
        ({"ord_type": OrdType.MARKET, "price": D("100.07"), "trigger_price": D("0.01")}, True),
    ],
)
def test_prices_that_the_order_type_needs_are_whole_positive_ticks(changes, passes):
    """The limit price of LIMIT and SL and the trigger of SL and SL-M; a reference price is not sent and may be any."""
    decision = World().check(entry(**changes))
    if passes:
        approved(decision)
    else:
        assert denied(decision, Reason.TICK).limit == "0.05"


def test_exit_obeys_the_tick():
    """The exchange refuses an exit off the tick too."""
    denied(World().hold(10).check(an_exit(ord_type=OrdType.LIMIT, price=D("100.01"))), Reason.TICK)


def test_unknown_tick_denies_orders_with_a_price():
    """A tick of zero is how lists of instruments say that they know none."""
    limit = entry(ord_type=OrdType.LIMIT, price=D(100))
    denied(World().check(limit, instrument=make_instrument(tick=D(0))), Reason.TICK)
    approved(World().check(entry(), instrument=make_instrument(tick=D(0))))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"ord_type": OrdType.LIMIT}, "limit price"),
        ({"ord_type": OrdType.SL, "trigger_price": D(100)}, "limit price"),
        ({"ord_type": OrdType.SL, "price": D(100)}, "trigger price"),
        ({"ord_type": OrdType.SL_M}, "trigger price"),
    ],
)
def test_order_type_without_its_price_is_denied(changes, missing):
    """A price that the order type needs and that is not there denies, for exits as well."""
    assert missing in denied(World().check(entry(**changes)), Reason.NO_PRICE).message
    assert missing in denied(World().hold(10).check(an_exit(**changes)), Reason.NO_PRICE).message


# --- short ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", [Product.CNC, Product.MTF])
def test_product_without_shorts_denies_a_sell_beyond_the_position(product):
    """Delivery can be sold down to zero and no further: the rest of a larger sell stays here."""
    world = World().hold(10, product=product)
    approved(world.check(an_exit(10, product=product)))
    capped(world.check(entry(11, Side.SELL, product=product)), Reason.SHORT_NOT_ALLOWED)
    assert denied(World().check(entry(1, Side.SELL, product=product)), Reason.SHORT_NOT_ALLOWED).observed == "-1"


def test_product_without_shorts_counts_sells_in_flight():
    """Sells under way count as filled, buys under way as not: the worst case must not be short."""
    world = World().hold(10, product=Product.CNC)
    world.order(entry(10, product=Product.CNC))
    world.order(an_exit(10, product=Product.CNC))
    denied(world.check(entry(1, Side.SELL, product=Product.CNC)), Reason.SHORT_NOT_ALLOWED)


def test_buy_of_a_product_without_shorts_passes():
    """The rule is about sells."""
    approved(World().check(entry(10, product=Product.CNC)))


def test_sell_that_only_closes_passes_without_being_marked():
    """A delivery sell within the position is no short even when nobody marked it as an exit."""
    approved(World().hold(10, product=Product.CNC).check(entry(10, Side.SELL, product=Product.CNC)))


@pytest.mark.parametrize("product", [Product.MIS, Product.NRML])
def test_product_with_shorts_may_sell_from_flat(product):
    """Intraday and overnight derivatives may be short."""
    approved(World().check(entry(1, Side.SELL, product=product)))


# --- price ----------------------------------------------------------------------------------------------------------


def test_market_entry_without_a_price_is_denied_with_all_limits_off():
    """Missing data denies: nobody knows what the order is worth."""
    denied(World().mark(price=None).check(entry()), Reason.NO_PRICE)


def test_price_of_zero_counts_as_unknown():
    """A feed's zero is no price."""
    denied(World().mark(price=0).check(entry()), Reason.NO_PRICE)


def test_entry_with_a_price_of_its_own_needs_no_mark():
    """A limit order is reckoned with its limit."""
    decision = approved(World().mark(price=None).check(entry(ord_type=OrdType.LIMIT, price=D(90))))
    assert decision.reference_px == 90


def test_exit_needs_no_price():
    """A trader must get out also when no price is known here."""
    assert approved(World().hold(10).mark(price=None).check(an_exit())).reference_px is None


@pytest.mark.parametrize(
    ("side", "changes", "reference"),
    [
        (Side.BUY, {}, 100),
        (Side.SELL, {}, 100),
        (Side.BUY, {"ord_type": OrdType.LIMIT, "price": D(90)}, 90),
        (Side.BUY, {"ord_type": OrdType.LIMIT, "price": D(110)}, 110),
        (Side.SELL, {"ord_type": OrdType.LIMIT, "price": D(110)}, 110),
        (Side.SELL, {"ord_type": OrdType.LIMIT, "price": D(1)}, 100),
        (Side.BUY, {"ord_type": OrdType.SL, "price": D(112), "trigger_price": D(110)}, 112),
        (Side.SELL, {"ord_type": OrdType.SL, "price": D(88), "trigger_price": D(90)}, 90),
        (Side.BUY, {"ord_type": OrdType.SL_M, "trigger_price": D(110)}, 110),
        (Side.BUY, {"ord_type": OrdType.SL_M, "trigger_price": D(1)}, 100),
        (Side.SELL, {"ord_type": OrdType.SL_M, "trigger_price": D(90)}, 90),
    ],
)
def test_order_is_reckoned_with_the_dearest_price_it_may_trade_at(side, changes, reference):
    """Its own limit or trigger, and the market's price where it would trade at that at once."""
    assert approved(World().check(entry(10, side, **changes))).reference_px == reference


@pytest.mark.parametrize(
    ("side", "changes"),
    [(Side.SELL, {"ord_type": OrdType.LIMIT, "price": D(90)}), (Side.BUY, {"ord_type": OrdType.SL_M, "trigger_price": D(90)})],
)
def test_order_is_reckoned_with_its_own_price_when_the_market_is_unknown(side, changes):
    """What is known counts."""
    assert approved(World().mark(price=None).check(entry(10, side, **changes))).reference_px == 90


def test_valuing_an_order_without_a_price_is_a_fault():
    """Limits rely on the rule that a price is known; a value made of nothing would pass them all."""
    world = World().mark(price=None)
    with pytest.raises(InvariantError, match="price"):
        _ = Case(world.context(entry())).value


# --- token ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("qty", "passes"), [(50, True), (51, False)])
def test_order_is_worth_no_more_than_its_token_allows(qty, passes):
    """Exactly the token's rupees pass."""
    decision = World().check(entry(qty, max_notional=D(5000)))
    if passes:
        approved(decision)
    else:
        found = denied(decision, Reason.TOKEN_NOTIONAL)
        assert (found.scope, found.limit, found.observed) == ("token", "₹5,000.00", "₹5,100.00")


def test_tokens_limit_counts_the_multiplier():
    """One unit of a contract is worth price x multiplier."""
    contract = make_instrument(multiplier=D(100))
    approved(World().check(entry(1, max_notional=D(10_000)), instrument=contract))
    denied(World().check(entry(2, max_notional=D(10_000)), instrument=contract), Reason.TOKEN_NOTIONAL)


def test_exit_may_be_worth_more_than_its_token_allows():
    """The token's limit is for what it adds."""
    approved(World().hold(1000).check(an_exit(1000, max_notional=D(1))))


# --- sentences ------------------------------------------------------------------------------------------------------


def test_money_reads_as_rupees_with_separators():
    """Two decimals, thousands apart."""
    assert money(D("1234567.891")) == "₹1,234,567.89"


def test_amount_too_large_for_two_decimals_is_still_a_sentence():
    """Absurd numbers are an answer, never a crash."""
    huge = entry("999999999999999999", max_notional=D(1), ord_type=OrdType.LIMIT, price=D("99999999999999999"))
    assert "₹1.00E+35" in denied(World().check(huge), Reason.TOKEN_NOTIONAL).message
