"""Turns: chains of one strategy, exits before entries, what is overtaken, and that no two alerts wait for each other."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from bridge.core.alert import Alert
from bridge.core.decision import Denied
from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, Source, TimeInForce
from bridge.core.ids import make_cl_ord_id
from bridge.core.ledger import newest_key
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import Reason
from bridge.risk.turns import CHAIN_WAIT, EXIT_WAIT, check_turn, exit_before, in_turn, standing
from bridge.risk.wishes import Wait
from tests.unit.risk.builders import ACCOUNT, NOW, OTHER, STRATEGY, SYMBOL, D, World, denied, make_intent, make_signal

LONG, FLAT, SHORT = MarketPosition.LONG, MarketPosition.FLAT, MarketPosition.SHORT
KEY = PositionKey(ACCOUNT, SYMBOL, Product.MIS)
RESTING: dict[str, Any] = {"ord_type": OrdType.LIMIT, "price": D(100)}


def make_alert(alert_id: str, action: Action, *, after_ms: int = 0, **signal: Any) -> Alert:
    at = NOW + timedelta(milliseconds=after_ms)
    defaults: dict[str, Any] = {"target": D(0)} if action is Action.TARGET else {}
    return Alert(
        alert_id=alert_id, received_at=at, source=Source.TRADINGVIEW, credential="T", body="{}",
        signal=make_signal(action, **{"signal_at": NOW, **defaults, **signal}),
    )  # fmt: skip


def waits(world: World, *alerts: Alert) -> World:
    for alert in alerts:
        world.ledger.waiting.set(alert.alert_id, alert)
    return world


def remembers(world: World, alert: Alert) -> World:
    world.ledger.newest.set(newest_key(alert.signal), alert)
    return world


def turn(world: World, alert: Alert, after: timedelta = timedelta()) -> Wait | Denied | None:
    return check_turn(world.ledger, alert, alert.received_at + after)


# -- where a strategy stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "stands"), [(5, LONG), (0, FLAT), (-5, SHORT)])
def test_strategy_stands_by_its_share_of_the_position(held, stands):
    """Another strategy's part of the same position is not its own."""
    world = World().hold(held + 3, shares={STRATEGY: D(held), "other": D(3)})
    assert standing(world.ledger, KEY, STRATEGY) is stands


def test_strategy_without_a_position_is_flat():
    """Nothing known of the key is flat."""
    assert standing(World().ledger, KEY, STRATEGY) is FLAT


@pytest.mark.parametrize(
    ("intent", "stands"),
    [
        (make_intent(5, Side.SELL, reduce_only=True), FLAT),
        (make_intent(8, Side.SELL), SHORT),
        (make_intent(5, Side.SELL, ord_type=OrdType.LIMIT, price=D(100), time_in_force=TimeInForce.IOC), FLAT),
        (make_intent(5, Side.SELL, **RESTING), LONG),
        (make_intent(5, Side.SELL, strategy="other"), LONG),
        (make_intent(5, Side.SELL, product=Product.CNC), LONG),
        (make_intent(5, Side.SELL, symbol=OTHER), LONG),
    ],
)
def test_its_orders_that_end_soon_count_as_filled(intent, stands):
    """Market orders of its own in that position; what rests may never fill."""
    world = World().hold(5)
    world.order(intent)
    assert standing(world.ledger, KEY, STRATEGY) is stands


# -- the chain --------------------------------------------------------------------------------------------------------


def test_alert_without_prev_never_waits_for_a_chain():
    """It says nothing of what was before."""
    assert turn(World(), make_alert("A", Action.EXIT)) is None


@pytest.mark.parametrize("action", [Action.BUY, Action.SELL, Action.EXIT, Action.TARGET])
@pytest.mark.parametrize(("held", "prev"), [(5, LONG), (0, FLAT), (-5, SHORT)])
def test_alert_that_follows_on_goes_at_once(action, held, prev):
    """`prev` is where the strategy stands."""
    assert turn(World().hold(held), make_alert("A", action, prev=prev)) is None


@pytest.mark.parametrize("action", [Action.BUY, Action.SELL, Action.EXIT, Action.TARGET])
@pytest.mark.parametrize(("held", "prev"), [(5, FLAT), (5, SHORT), (0, LONG), (-5, LONG)])
def test_alert_that_does_not_follow_on_waits_two_seconds(action, held, prev):
    """Then it is carried out as it is."""
    world, alert = World().hold(held), make_alert("A", action, prev=prev)
    assert isinstance(turn(world, alert), Wait)
    assert isinstance(turn(world, alert, CHAIN_WAIT - timedelta(microseconds=1)), Wait)
    assert turn(world, alert, CHAIN_WAIT) is None


def test_alert_follows_on_only_when_it_does_in_all_its_accounts():
    """Else two alerts of two accounts could each wait for the other."""
    world = World().hold(5).hold(0, account="second", shares={})
    assert isinstance(turn(world, make_alert("A", Action.EXIT, prev=LONG, accounts=(ACCOUNT, "second"))), Wait)
    assert turn(world.hold(5, account="second"), make_alert("A", Action.EXIT, prev=LONG, accounts=(ACCOUNT, "second"))) is None


def test_alert_goes_behind_the_one_received_before_it():
    """Two that follow on go as received; the id decides between equal times."""
    first, second = make_alert("A", Action.EXIT, prev=LONG), make_alert("B", Action.TARGET, prev=LONG)
    world = waits(World().hold(5), first, second)
    assert turn(world, first) is None
    assert isinstance(turn(world, second), Wait)
    assert "A" in str(turn(world, second))


def test_alert_that_does_not_follow_on_lets_those_pass_that_do():
    """The exit came before its entry: the entry goes, and the exit waits for it, beyond the two seconds."""
    leaving, entry = make_alert("A", Action.EXIT, prev=LONG), make_alert("B", Action.BUY, after_ms=100, prev=FLAT)
    world = waits(World(), leaving, entry)
    assert turn(world, entry) is None
    assert isinstance(turn(world, leaving, CHAIN_WAIT), Wait)
    assert turn(world, leaving, EXIT_WAIT) is None


def test_exit_without_prev_goes_behind_an_entry_of_its_strategy_that_waits():
    """Else it would find nothing to close, and the entry would open after it."""
    world = waits(World(), make_alert("A", Action.BUY))
    assert isinstance(turn(world, make_alert("B", Action.EXIT, after_ms=1)), Wait)


@pytest.mark.parametrize(
    "other",
    [
        make_alert("A", Action.BUY, strategy="other"),
        make_alert("A", Action.BUY, product=Product.CNC),
        make_alert("A", Action.BUY, symbol=OTHER),
        make_alert("A", Action.BUY, accounts=("second",)),
        make_alert("A", Action.CANCEL),
    ],
)
def test_alert_of_another_position_or_strategy_is_nobodys_predecessor(other):
    """Chains are of one strategy in one position; a cancel moves none."""
    assert turn(waits(World(), other), make_alert("B", Action.EXIT, after_ms=1)) is None


def test_alert_whose_reversal_is_half_done_goes_before_all_others():
    """Between its halves the strategy seems flat, which must not let one pass that follows on from flat."""
    begun = make_alert("B", Action.TARGET, after_ms=1, prev=LONG, target=D(-5))
    entry = make_alert("A", Action.BUY, prev=FLAT)
    world = waits(World(), begun, entry)
    assert turn(world, entry) is None
    order = world.order(make_intent(5, Side.SELL, alert_id="B"), status=OrderStatus.FILLED)
    world.ledger.orders.set(make_cl_ord_id("B", 1), order)
    assert isinstance(turn(world, entry), Wait)


# -- exits before entries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [Action.EXIT, Action.TARGET])
def test_entry_is_behind_an_exit_or_target_received_before_it(action):
    """Of any strategy in the same position."""
    world = waits(World(), make_alert("A", action, strategy="other"))
    assert "A" in exit_before(world.ledger, make_alert("B", Action.BUY, after_ms=1), ACCOUNT)


@pytest.mark.parametrize(
    "other",
    [
        make_alert("C", Action.EXIT, after_ms=2, strategy="other"),
        make_alert("A", Action.BUY, strategy="other"),
        make_alert("A", Action.CANCEL),
        make_alert("A", Action.EXIT, product=Product.CNC),
        make_alert("A", Action.EXIT, accounts=("second",)),
        make_alert("A", Action.EXIT, symbol=OTHER),
        make_alert("A", Action.EXIT, prev=LONG),
    ],
)
def test_entry_is_not_behind_what_is_later_or_elsewhere_or_may_wait_for_it(other):
    """An exit that does not follow on may be waiting for this very entry."""
    assert not exit_before(waits(World(), other).ledger, make_alert("B", Action.BUY, after_ms=1), ACCOUNT)


def test_those_that_go_flat_are_taken_up_first_and_then_as_received():
    """One fixed order, whatever the order in which they began to wait."""
    alerts = [
        make_alert("E", Action.BUY),
        make_alert("A", Action.TARGET, after_ms=5, target=D(5)),
        make_alert("C", Action.TARGET, after_ms=7, target=D(0)),
        make_alert("D", Action.EXIT, after_ms=6),
        make_alert("B", Action.BUY),
    ]
    assert [alert.alert_id for alert in in_turn(alerts)] == ["D", "C", "B", "E", "A"]


# -- overtaken --------------------------------------------------------------------------------------------------------


def timed(alert_id: str, action: Action, at: datetime, **signal: Any) -> Alert:
    return make_alert(alert_id, action, is_timed=True, signal_at=at, **signal)


@pytest.mark.parametrize("newer", [Action.EXIT, Action.TARGET])
@pytest.mark.parametrize("older", [Action.BUY, Action.SELL, Action.TARGET])
def test_older_entry_or_target_is_overtaken_by_a_newer_exit_or_target(newer, older):
    """A re-sent alert does not undo what the strategy did after it; the denial names the newer one."""
    world = remembers(World(), timed("N", newer, NOW))
    denial = denied(turn(world, timed("A", older, NOW - timedelta(seconds=1))), Reason.OVERTAKEN)
    assert "N" in denial.message


def test_exit_is_never_overtaken():
    """Closing too much is a nuisance, not closing a danger."""
    world = remembers(World(), timed("N", Action.TARGET, NOW))
    assert turn(world, timed("A", Action.EXIT, NOW - timedelta(seconds=9))) is None


@pytest.mark.parametrize(
    ("at", "overtaken"),
    [
        (NOW, False),
        (NOW + timedelta(seconds=1), False),
        (NOW - timedelta(seconds=1), True),
        (NOW - timedelta(microseconds=1), True),
        (NOW + timedelta(milliseconds=100), False),
    ],
)
def test_only_what_is_strictly_earlier_is_overtaken(at, overtaken):
    """Times of one second say nothing: a whole second may be any moment of it."""
    found = turn(remembers(World(), timed("N", Action.EXIT, NOW + timedelta(milliseconds=900))), timed("A", Action.BUY, at))
    assert isinstance(found, Denied) is overtaken


@pytest.mark.parametrize(
    "older",
    [
        make_alert("A", Action.BUY, signal_at=NOW - timedelta(seconds=9)),
        timed("A", Action.BUY, NOW - timedelta(seconds=9), strategy="other"),
        timed("A", Action.BUY, NOW - timedelta(seconds=9), symbol=OTHER),
        timed("A", Action.BUY, NOW - timedelta(seconds=9), product=Product.CNC),
        timed("A", Action.BUY, NOW - timedelta(seconds=9), accounts=(ACCOUNT, "second")),
    ],
)
def test_entry_is_overtaken_only_by_its_own_time_and_in_its_own_position(older):
    """A time of receipt is not compared, and an exit elsewhere says nothing of this position."""
    assert turn(remembers(World(), timed("N", Action.EXIT, NOW)), older) is None


def test_alert_of_the_same_second_that_the_newest_exit_followed_on_from_is_late():
    """From long to long and then to flat, swapped: after its wait the first one does not follow on, and would open."""
    newest = timed("N", Action.EXIT, NOW, prev=LONG, state=FLAT)
    world, late = remembers(World(), newest), timed("A", Action.BUY, NOW, prev=LONG, state=LONG)
    assert isinstance(turn(world, late), Wait)
    denied(turn(world, late, CHAIN_WAIT), Reason.OVERTAKEN)


@pytest.mark.parametrize(
    ("newest", "alert"),
    [
        (timed("N", Action.EXIT, NOW, prev=LONG, state=FLAT), timed("A", Action.BUY, NOW, prev=SHORT, state=SHORT)),
        (timed("N", Action.EXIT, NOW, prev=LONG), timed("A", Action.BUY, NOW, prev=LONG, state=LONG)),
        (timed("N", Action.EXIT, NOW, state=FLAT), timed("A", Action.BUY, NOW, prev=LONG, state=LONG)),
        (timed("N", Action.EXIT, NOW, prev=LONG, state=FLAT), timed("A", Action.BUY, NOW, prev=LONG)),
        (timed("N", Action.TARGET, NOW, prev=LONG, state=LONG), timed("A", Action.BUY, NOW, prev=LONG, state=LONG)),
        (timed("N", Action.EXIT, NOW, prev=LONG, state=FLAT), timed("A", Action.EXIT, NOW, prev=LONG, state=LONG)),
        (
            timed("N", Action.EXIT, NOW - timedelta(seconds=1), prev=LONG, state=FLAT),
            timed("A", Action.BUY, NOW, prev=LONG, state=LONG),
        ),
    ],
)
def test_after_its_wait_an_alert_that_no_chain_calls_late_is_carried_out(newest, alert):
    """Both must say where they began and ended, in the same second, and the newer must have followed on from this one."""
    assert turn(remembers(World(), newest), alert, CHAIN_WAIT) is None


# -- no two wait for each other ---------------------------------------------------------------------------------------

positions = st.sampled_from([None, LONG, FLAT, SHORT])


@st.composite
def crowds(draw: st.DrawFn) -> tuple[World, list[Alert]]:
    """Any positions of two strategies in two accounts, no open orders, and any alerts that wait; some are half done."""
    world, alerts = World(), []
    for account in (ACCOUNT, "second"):
        mine, other = draw(st.integers(-2, 2)), draw(st.integers(-2, 2))
        world.hold(mine + other, account=account, shares={STRATEGY: D(mine), "other": D(other)})
    for number in range(draw(st.integers(1, 7))):
        alert = make_alert(
            f"A{number}", draw(st.sampled_from([Action.BUY, Action.SELL, Action.EXIT, Action.TARGET])),
            after_ms=draw(st.integers(0, 3)), strategy=draw(st.sampled_from([STRATEGY, "other"])), prev=draw(positions),
            state=draw(positions), accounts=draw(st.sampled_from([(ACCOUNT,), ("second",), (ACCOUNT, "second")])),
        )  # fmt: skip
        alerts.append(alert)
        if draw(st.integers(0, 5)) == 0:
            order = world.order(make_intent(1, Side.SELL, alert_id=alert.alert_id), status=OrderStatus.FILLED)
            world.ledger.orders.set(make_cl_ord_id(alert.alert_id, 1), order)
    return waits(world, *alerts), alerts


def may_go(world: World, alert: Alert, now: datetime) -> bool:
    """Half-done ones wait for orders alone; the others for their turn and, if they enter, for exits before them."""
    if world.ledger.orders_of(alert):
        return True
    world.ledger.waiting.set(alert.alert_id, None)  # as while it is being carried on
    found = check_turn(world.ledger, alert, now)
    is_entry = alert.signal.action in (Action.BUY, Action.SELL)
    behind = is_entry and any(exit_before(world.ledger, alert, account) for account in alert.signal.accounts)
    world.ledger.waiting.set(alert.alert_id, alert)
    return not isinstance(found, Wait) and not behind


@given(crowds())
def test_whoever_waits_when_no_order_is_open_one_of_them_may_go(crowd):
    """No ring of alerts, each waiting for the next: long before the last bound somebody goes, and so all do in the end."""
    world, alerts = crowd
    now = NOW + CHAIN_WAIT + timedelta(milliseconds=3)
    assert now < NOW + EXIT_WAIT
    going = [alert for alert in alerts if may_go(world, alert, now)]
    event(f"{len(going)} of {len(alerts)} go")
    assert going
