"""What a protection needs next, how much may rest, and what goes before an order of ours leaves."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.alert import Alert
from bridge.core.clock import market_day
from bridge.core.decision import Denied
from bridge.core.enums import Action, OrdType, Product, Side, Source, TradingMode
from bridge.core.errors import InvariantError
from bridge.core.hold import Elsewhere, Gap, make_hold
from bridge.core.market import Mark
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.protection import Leg, Legs, Level, Protect, Protection, ProtectionStatus
from bridge.core.reasons import Reason
from bridge.core.scope import GLOBAL, TradingState
from bridge.core.signal import OrderIntent, Signal
from bridge.core.values import evolve
from bridge.risk.engine import approve_protection
from bridge.risk.protective import Step, coverable, is_closing, make_way, may_close, next_step, passed_now
from bridge.risk.usage import closable
from bridge.risk.wishes import Wait
from tests.unit.risk.builders import ACCOUNT, NOW, OTHER, STRATEGY, SYMBOL, D, World, make_intent, make_signal

KEY = PositionKey(ACCOUNT, SYMBOL, Product.MIS)
LEGS = Legs(stop=Leg(trigger_px=D(95), limit_px=D(94)))
LATER = NOW + timedelta(seconds=10)
S = ProtectionStatus


def protection(**values: Any) -> Protection:
    fields: dict[str, Any] = {
        "protection_id": "A-1", "key": KEY, "strategy": STRATEGY, "side": Side.BUY, "entry_px": D(100), "alert_id": "A",
        "protect": Protect(stop_loss=Level(price=D(95))), "leg": 1, "status": S.WANTED, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return Protection(**{**fields, **values})


class Guarded(World):
    """Ten units held, and what rests for them."""

    def __init__(self, qty: int = 10) -> None:
        super().__init__()
        self.hold(qty)

    def rest(self, qty: int = 10, *, side: Side = Side.SELL, status: OrderStatus = OrderStatus.PLACED, **values: Any) -> Order:
        intent = make_intent(qty, side, ord_type=OrdType.GTT, legs=LEGS, reduce_only=True, trigger_price=D(95), **values)
        return self.order(intent, status=status)

    def step(self, one: Protection | None = None) -> Step:
        return next_step(self.ledger, one or protection(), LATER)

    def halt(self, mode: TradingMode) -> None:
        self.ledger.states.set(GLOBAL, TradingState(scope=GLOBAL, mode=mode, since=NOW, by="test", message=""))

    def wait(self, signal: Signal) -> None:
        alert = Alert(
            alert_id="W", received_at=NOW, source=Source.TRADINGVIEW, credential="", body="", signal=signal, attempts=0
        )
        self.ledger.waiting.set("W", alert)


def resting(order: Order, **values: Any) -> Protection:
    return protection(status=S.RESTING, order_id=order.cl_ord_id, orders=1, **values)


# -- the next step ------------------------------------------------------------------------------------------------------


def test_what_is_held_and_wanted_is_ordered() -> None:
    """For the strategy's share."""
    assert Guarded().step() is Step.ORDER
    assert coverable(Guarded().ledger, protection()) == 10


@pytest.mark.parametrize(("status", "step"), [(S.WANTED, Step.FINISH), (S.FAILED, Step.FINISH), (S.RESTING, Step.LOST)])
@pytest.mark.parametrize("qty", [0, -10])
def test_without_a_position_it_is_over(status: ProtectionStatus, step: Step, qty: int) -> None:
    """Also when it has gone to the other side. One whose order nobody knows is for a person."""
    assert Guarded(qty).step(protection(status=status, order_id="gone")) is step


def test_another_strategys_units_are_not_covered() -> None:
    """By share; never more than is there in all."""
    world = World().hold(20, shares={STRATEGY: D(5), "other": D(15)})
    assert coverable(world.ledger, protection()) == 5
    world.hold(3, shares={STRATEGY: D(5), "other": D(-2)})
    assert coverable(world.ledger, protection()) == 3
    world.hold(3, shares={STRATEGY: D(-2), "other": D(5)})
    assert next_step(world.ledger, protection(), LATER) is Step.FINISH
    assert next_step(World().ledger, protection(), LATER) is Step.FINISH


def test_what_failed_is_not_tried_again() -> None:
    """As long as the position is there it stays a failure."""
    assert Guarded().step(protection(status=S.FAILED)) is Step.NOTHING


def test_a_resting_order_that_fits_is_left_alone() -> None:
    """And one of which nobody knows whether the broker has it, or that is being cancelled, in any case."""
    world = Guarded()
    assert world.step(resting(world.rest())) is Step.NOTHING
    for status in (OrderStatus.PENDING, OrderStatus.IN_DOUBT, OrderStatus.CANCEL_PENDING):
        world = Guarded(4)
        assert world.step(resting(world.rest(status=status))) is Step.NOTHING


def test_too_much_goes_at_once() -> None:
    """Whatever else is going on: it could open."""
    world = Guarded(4)
    one = resting(world.rest())
    world.wait(make_signal(Action.EXIT))
    assert world.step(one) is Step.WITHDRAW


def test_too_little_or_other_levels_are_replaced_in_quiet() -> None:
    """Not while somebody waits, and not once it has triggered and fills."""
    world = Guarded(15)
    one = resting(world.rest())
    assert world.step(one) is Step.WITHDRAW
    world.wait(make_signal(Action.EXIT))
    assert world.step(one) is Step.NOTHING
    world = Guarded()
    assert world.step(resting(world.rest(), alert_id="B")) is Step.WITHDRAW
    world = Guarded()
    order = world.order(make_intent(10, Side.SELL, ord_type=OrdType.GTT, legs=LEGS, reduce_only=True), filled=5)
    world.hold(5)
    assert world.step(resting(order, alert_id="B")) is Step.NOTHING


@pytest.mark.parametrize(
    ("signal", "step"),
    [
        (make_signal(Action.EXIT), Step.NOTHING),
        (make_signal(Action.SELL), Step.NOTHING),
        (make_signal(Action.CANCEL), Step.ORDER),
        (make_signal(Action.EXIT, product=Product.CNC), Step.ORDER),
        (make_signal(Action.EXIT, accounts=("else",)), Step.ORDER),
        (make_signal(Action.EXIT, symbol=OTHER), Step.ORDER),
    ],
)
def test_nothing_new_rests_while_an_alert_waits_for_the_position(signal: Signal, step: Step) -> None:
    """Or it would be withdrawn again at once, for ever."""
    world = Guarded()
    world.wait(signal)
    assert world.step() is step


def test_an_entry_under_way_is_waited_for() -> None:
    """One at market until it is over or rests all the same, a resting one until it has been quiet for five seconds."""
    world = Guarded()
    order = world.order(make_intent(5))
    world.ledger.orders.set(order.cl_ord_id, evolve(order, updated_at=LATER - timedelta(seconds=9)))
    assert world.step() is Step.NOTHING
    world.ledger.orders.set(order.cl_ord_id, evolve(order, updated_at=LATER - timedelta(seconds=10)))
    assert world.step() is Step.ORDER
    world = Guarded()
    order = world.order(make_intent(5, ord_type=OrdType.LIMIT, price=D(99)))
    assert world.step() is Step.ORDER
    world.ledger.orders.set(order.cl_ord_id, evolve(order, updated_at=LATER))
    assert world.step() is Step.NOTHING


def test_a_halt_that_lets_nothing_out_lets_no_protection_out() -> None:
    """One that lets exits out does."""
    world = Guarded()
    world.halt(TradingMode.HALTED)
    assert world.step() is Step.NOTHING
    world.halt(TradingMode.REDUCING)
    assert world.step() is Step.ORDER


@pytest.mark.parametrize(
    ("price", "age_s", "passed"),
    [(95, 0, True), (94, 5, True), (96, 0, False), (94, -1, False), (0, 5, False)],
)
def test_a_watched_level_is_passed_by_a_price_of_since_then(price: int, age_s: int, passed: bool) -> None:
    """An older one may be of before the entry, and zero is how a feed says that it has none."""
    world, one = Guarded(), protection(status=S.WATCHED)
    assert world.step(one) is Step.NOTHING
    at = NOW + timedelta(seconds=age_s)
    world.ledger.marks.set(SYMBOL, Mark(symbol=SYMBOL, price=D(price), at=at, source="test"))
    assert world.step(one) is (Step.CLOSE if passed else Step.NOTHING)
    assert passed_now(world.ledger, one) == (f"The stop of 95 is passed: the price is {price}" if passed else "")


@pytest.mark.parametrize("status", [S.WATCHED, S.CLOSING])
def test_what_is_watched_or_closed_is_over_with_its_position(status: ProtectionStatus) -> None:
    """And nothing rests for it before."""
    assert Guarded(0).step(protection(status=status)) is Step.FINISH
    assert Guarded().step(protection(status=status)) is Step.NOTHING


def test_a_passed_level_is_closed_while_nothing_else_closes_the_position() -> None:
    """Neither an order at market nor an exit that waits, of this position; not under a halt, nor without anything to close."""
    one = protection(status=S.CLOSING)
    assert may_close(Guarded().ledger, one, NOW)
    assert not may_close(Guarded().ledger, protection(), NOW)
    assert not may_close(Guarded(0).ledger, one, NOW)
    world = Guarded()
    world.halt(TradingMode.HALTED)
    assert not may_close(world.ledger, one, NOW)
    world.halt(TradingMode.REDUCING)
    assert may_close(world.ledger, one, NOW)
    world.order(make_intent(4, Side.SELL, reduce_only=True))
    assert not may_close(world.ledger, one, NOW)


@pytest.mark.parametrize(
    ("signal", "waits"),
    [
        (make_signal(Action.EXIT), True), (make_signal(Action.SELL), False),
        (make_signal(Action.EXIT, product=Product.CNC), False), (make_signal(Action.EXIT, accounts=("else",)), False),
    ],
)  # fmt: skip
def test_an_exit_that_waits_for_its_turn_closes_the_position(signal: Signal, waits: bool) -> None:
    """Of this account and product."""
    world = Guarded()
    world.wait(signal)
    assert is_closing(world.ledger, KEY, NOW) is waits


def elsewhere(units: int, product: Product = Product.MIS, symbol: str = SYMBOL) -> Elsewhere:
    """Signed units that orders which are not ours have traded and that no comparison of positions has shown."""
    before, key = D(3), (symbol, product)
    return Elsewhere(day=market_day(NOW), traded={key: before + units}, settled={key: before})


# -- how much -----------------------------------------------------------------------------------------------------------


def test_other_exits_count_as_used() -> None:
    """The protection and they can never close more than there is."""
    world = Guarded()
    world.order(make_intent(7, Side.SELL, ord_type=OrdType.LIMIT, price=D(110), reduce_only=True))
    assert coverable(world.ledger, protection()) == 3
    world.order(make_intent(9, Side.SELL, ord_type=OrdType.LIMIT, price=D(110)))
    assert coverable(world.ledger, protection()) == 0
    assert world.step() is Step.NOTHING


def test_what_the_broker_no_longer_holds_is_not_covered() -> None:
    """By a difference that was found, and by what was traded elsewhere before one is."""
    world = Guarded()
    for other in (elsewhere(-4, symbol=OTHER), elsewhere(-4, Product.NRML)):
        world.ledger.elsewhere.set(ACCOUNT, other)
        assert coverable(world.ledger, protection()) == 10
    world.ledger.elsewhere.set(ACCOUNT, elsewhere(-4))
    assert coverable(world.ledger, protection()) == 6
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(10), theirs=D(7)),)))
    assert coverable(world.ledger, protection()) == 3
    world.ledger.elsewhere.set(ACCOUNT, elsewhere(0))
    assert coverable(world.ledger, protection()) == 7
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(10), theirs=D(-3)),)))
    assert coverable(world.ledger, protection()) == 0


@pytest.mark.parametrize(("ours", "covered"), [(15, 12), (10, 7), (5, 2), (3, 0), (2, 0)])
def test_what_the_broker_has_less_stays_less_while_both_sides_trade_on(ours: int, covered: int) -> None:
    """The numbers of a difference are of the look that found it; three fewer stay three fewer."""
    world = World().hold(ours)
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(10), theirs=D(7)),)))
    assert coverable(world.ledger, protection()) == covered


def test_two_strategies_never_cover_more_than_the_broker_holds() -> None:
    """Of ten units that they share a person has sold six: what one has resting, the other has not."""
    world = World().hold(10, shares={STRATEGY: D(5), "other": D(5)})
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="MIS", ours=D(10), theirs=D(4)),)))
    mine, others = protection(), protection(strategy="other")
    assert (coverable(world.ledger, mine), coverable(world.ledger, others)) == (D(4), D(4))
    world.order(make_intent(3, Side.SELL, ord_type=OrdType.GTT, legs=LEGS, reduce_only=True, trigger_price=D(95)))
    assert coverable(world.ledger, others) == 1


def test_of_delivered_shares_those_that_are_gone_are_not_covered() -> None:
    """A sale by hand alone does not say so: it may be of others, which the bridge never bought."""
    world, one = World().hold(10, product=Product.CNC), protection(key=PositionKey(ACCOUNT, SYMBOL, Product.CNC))
    world.ledger.elsewhere.set(ACCOUNT, elsewhere(-4, Product.CNC))
    assert coverable(world.ledger, one) == 10
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (Gap(product="CNC", ours=D(10), theirs=D(6)),)))
    assert coverable(world.ledger, one) == 6


def test_what_rests_for_delivered_shares_is_left_while_they_may_be_late_in_the_list() -> None:
    """Between a position of today and a holding of tomorrow; what a person has accepted as gone is withdrawn."""
    world = Guarded()
    world.hold(10, product=Product.CNC)
    order = world.rest(product=Product.CNC)
    one = resting(order, key=PositionKey(ACCOUNT, SYMBOL, Product.CNC))
    gap = Gap(product="CNC", ours=D(10), theirs=D(0))
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (gap,)))
    assert (coverable(world.ledger, one), coverable(world.ledger, evolve(one, order_id=None))) == (D(10), D(0))
    world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (gap,), "anna"))
    assert (coverable(world.ledger, one), world.step(one)) == (D(0), Step.WITHDRAW)


@settings(max_examples=500)
@given(
    held=st.integers(-20, 20), share=st.integers(-20, 20), side=st.sampled_from(Side),
    others=st.lists(st.tuples(st.integers(1, 20), st.sampled_from(Side)), max_size=3),
    product=st.sampled_from([Product.MIS, Product.CNC]), then=st.integers(-20, 20), more=st.integers(-12, 12),
    accepted=st.booleans(), by_hand=st.integers(-12, 12), known=st.integers(-12, 12),
)  # fmt: skip
def test_what_rests_never_opens(
    *, held: int, share: int, side: Side, others: list[tuple[int, Side]], product: Product, then: int, more: int,
    accepted: bool, by_hand: int, known: int,
) -> None:  # fmt: skip
    """With every other open order of its side filled and none of the other, the position keeps its side; here and there."""
    world = World().hold(held, shares={STRATEGY: D(share), "other": D(held - share)}, product=product)
    for qty, other in others:
        world.order(make_intent(qty, other, ord_type=OrdType.LIMIT, price=D(110), product=product))
    if more:
        gap = Gap(
            product=product, ours=D(then), theirs=D(then + more), explained=D(min(max(known, min(0, more)), max(0, more)))
        )
        world.ledger.holds.set((ACCOUNT, SYMBOL), make_hold(SYMBOL, (gap,), "anna" if accepted else ""))
    if by_hand:
        world.ledger.elsewhere.set(ACCOUNT, elsewhere(by_hand, product))
    one = protection(side=side, key=PositionKey(ACCOUNT, SYMBOL, product))
    quantity = coverable(world.ledger, one)
    assert quantity <= closable(world.ledger, one.key, side.opposite)  # else it is not approved
    there = held + more + (by_hand if product.may_short else 0)
    assert not quantity or there * side.sign >= quantity
    closing = sum(qty for qty, other in others if other is not side)
    assert 0 <= quantity <= max(0, share * side.sign)
    assert not quantity or held * side.sign - closing - quantity >= 0


def test_only_what_closes_is_approved() -> None:
    """Anything else is a fault of ours."""
    world = Guarded()
    fine = make_intent(10, Side.SELL, reduce_only=True, legs=LEGS)
    assert approve_protection(world.ledger, fine).intent is fine
    for wrong in (
        evolve(fine, order_qty=D(11)), evolve(fine, reduce_only=False), evolve(fine, legs=None), evolve(fine, side=Side.BUY)
    ):  # fmt: skip
        with pytest.raises(InvariantError):
            approve_protection(world.ledger, wrong)


# -- making way ---------------------------------------------------------------------------------------------------------

CLOSING = [
    make_signal(Action.EXIT), make_signal(Action.EXIT, quantity=D(3)), make_signal(Action.SELL, quantity=D(3)),
    make_signal(Action.SELL, quantity=D(15)), make_signal(Action.TARGET, target=D(0)), make_signal(Action.TARGET, target=D(-5)),
    make_signal(Action.EXIT, ord_type=OrdType.LIMIT, price=D(110)),
]  # fmt: skip


@pytest.mark.parametrize("signal", CLOSING)
def test_a_protection_goes_before_what_closes(signal: Signal) -> None:
    """Of any strategy, whatever the type of the order; one that cannot be asked for now is waited for."""
    world = Guarded()
    order = world.rest(strategy="other")
    found = world.size(signal, no_wait=False)
    assert isinstance(found, Wait)
    assert found.cancel == (order.cl_ord_id,)
    world = Guarded()
    world.rest(status=OrderStatus.CANCEL_PENDING)
    found = world.size(signal, no_wait=False)
    assert isinstance(found, Wait)
    assert found.cancel == ()


@pytest.mark.parametrize("signal", CLOSING)
def test_after_the_wait_nothing_is_sent_that_could_open(signal: Signal) -> None:
    """Denied, with the protection's name: it stays, and so does the position."""
    world = Guarded()
    order = world.rest()
    found = world.size(signal, no_wait=True)
    assert isinstance(found, Denied)
    assert found.reason is Reason.EXIT_UNFINISHED
    assert order.cl_ord_id in found.message


def test_after_the_wait_an_exit_closes_what_the_protection_leaves() -> None:
    """Of ten units four rest: six can go."""
    world = Guarded()
    world.rest(4)
    found = world.size(make_signal(Action.EXIT), no_wait=True)
    assert isinstance(found, OrderIntent)
    assert found.order_qty == 6
    assert found.reduce_only


@pytest.mark.parametrize(
    "signal",
    [
        make_signal(Action.BUY, quantity=D(5)), make_signal(Action.TARGET, target=D(15)),
        make_signal(Action.TARGET, target=D(10)), make_signal(Action.EXIT, product=Product.CNC),
    ],
)  # fmt: skip
def test_what_does_not_close_leaves_it_alone(signal: Signal) -> None:
    """More of the same side, nothing at all, or another position."""
    world = Guarded()
    world.rest()
    assert make_way(world.ledger, PositionKey(ACCOUNT, SYMBOL, signal.product), signal, no_wait=False) is None


def test_a_halt_that_stops_exits_leaves_it_at_the_broker() -> None:
    """Withdrawing it for an exit that cannot leave would leave the position open."""
    world = Guarded()
    world.rest()
    world.halt(TradingMode.HALTED)
    found = world.size(make_signal(Action.EXIT), no_wait=False)
    assert isinstance(found, Denied)
    assert found.reason is Reason.HALTED
