"""Alerts of one strategy, swapped, with slow fills and restarts, on a stepped clock: as if all had come in order."""

import asyncio
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from bridge.core.enums import Action, MarketPosition, Product, Side, Source
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.signal import Signal
from tests.support.clocks import NOON, RunningClock
from tests.support.rigs import ScriptedBridge, abandoned, make_settings
from tests.support.samples import SBIN
from tests.support.scripted_broker import ScriptedBroker

D = Decimal
STEP = timedelta(milliseconds=100)
LONGEST = timedelta(seconds=60)


class SteppedClock(RunningClock):
    """Stands until it is set forward."""

    def now(self) -> datetime:
        return NOON + self.ahead

    def monotonic(self) -> float:
        return self.ahead.total_seconds()


# -- what strategies do -----------------------------------------------------------------------------------------------


def side_of(quantity: int) -> MarketPosition:
    return MarketPosition.FLAT if not quantity else MarketPosition.LONG if quantity > 0 else MarketPosition.SHORT


@dataclass(frozen=True)
class Move:
    """A strategy goes from one position to the next, and says so in one of the ways alerts have.

    `fired_s` is the alert's own time in whole seconds, `fires` the moment itself, `fills` how long its orders take.
    """

    before: int
    after: int
    how: str
    fired_s: int
    fires: timedelta
    fills: timedelta
    restart: bool

    def signal(self) -> Signal:
        moved = self.after - self.before
        wish: dict[str, Any] = {"action": Action.TARGET, "target": D(self.after)}
        if self.how == "exit" and not self.after:
            wish = {"action": Action.EXIT}
        elif self.how == "trade":
            wish = {"action": Action.BUY if moved > 0 else Action.SELL, "quantity": D(abs(moved))}
            if moved * self.after <= 0:  # as intake reads it
                wish = wish | {"action": Action.EXIT, "side": Side.BUY if moved > 0 else Side.SELL}
        return Signal(
            strategy="demo", symbol=SBIN, accounts=("paper",), product=Product.MIS, price=D(800), is_timed=True,
            signal_at=NOON + timedelta(seconds=self.fired_s), prev=side_of(self.before), state=side_of(self.after), **wish,
        )  # fmt: skip


@dataclass(frozen=True)
class TradingDay:
    """`moves` as the strategy made them, and `arrivals`: which of them arrives when the first, second, … was fired."""

    moves: list[Move]
    arrivals: list[int]


@st.composite
def days(draw: st.DrawFn, *, restarts: bool = False) -> TradingDay:
    """A few moves, of which neighbours of one second may come swapped.

    Two moves that begin and end on one side cannot be told apart by anything in them, so such a one keeps its place.
    """
    moves: list[Move] = []
    held, at = 0, timedelta()
    for _ in range(draw(st.integers(1, 5))):
        after = draw(st.sampled_from([quantity for quantity in range(-6, 7) if quantity != held]))
        at += draw(st.sampled_from([timedelta(milliseconds=ms) for ms in (0, 100, 300, 1000, 2500)]))
        moves.append(
            Move(
                before=held,
                after=after,
                how=draw(st.sampled_from(["target", "exit", "trade"])),
                fired_s=at // timedelta(seconds=1),
                fires=at,
                restart=restarts and draw(st.booleans()),
                fills=draw(st.sampled_from([timedelta(milliseconds=ms) for ms in (100, 700, 1500, 3000)])),
            )
        )
        held = after
    arrivals, place = list(range(len(moves))), 0
    while place < len(moves) - 1:
        one, two = moves[place], moves[place + 1]
        may_swap = one.fired_s == two.fired_s and side_of(one.before) is not side_of(one.after)
        if may_swap and draw(st.booleans()):
            arrivals[place : place + 2] = [place + 1, place]
            place += 1
        place += 1
    return TradingDay(moves, arrivals)


# -- the bridge they meet ---------------------------------------------------------------------------------------------


class Meeting:
    """One bridge on a stepped clock, with a broker that fills each order after its alert's own delay."""

    def __init__(self, folder: Path, day: TradingDay, broker: ScriptedBroker, clock: SteppedClock):
        self.folder = folder
        self.broker = broker
        self.clock = clock
        self.todo = [(one.fires, day.moves[which]) for one, which in zip(day.moves, day.arrivals, strict=True)]
        self.last = self.todo[-1][0] + LONGEST
        self.ticked = timedelta()
        self.delays: dict[str, timedelta] = {}
        self.sent_at: dict[str, datetime] = {}
        self.ends: list[str] = []

    async def run(self) -> None:
        made = make_settings(self.folder, database={"url": f"sqlite:///{self.folder / 'bridge.db'}", "writer": "inline"})
        while True:
            bridge = ScriptedBridge(made, self.clock, {"paper": self.broker})
            async with abandoned(bridge, self.clock):
                if not await self.live(bridge):
                    return

    async def live(self, bridge: ScriptedBridge) -> bool:
        """Until all is done; True when the bridge crashes before that."""
        while self.clock.ahead <= self.last:
            while self.todo and self.clock.ahead >= self.todo[0][0]:
                move = self.todo.pop(0)[1]
                self.clock.jump(milliseconds=1)
                alert_id = await bridge.pipeline.accept_own(move.signal(), Source.SIGNED, f"test {len(self.todo)}")
                self.delays[alert_id] = move.fills
                await self.settle(bridge)
                if move.restart:
                    return True
            await self.fill(bridge)
            if self.clock.ahead - self.ticked >= timedelta(seconds=1):
                self.ticked = self.clock.ahead
                await bridge.worker.tick()
                await self.settle(bridge)
            self.check(bridge)
            if not self.todo and not bridge.store.ledger.alerts.values:
                break
            self.clock.jump(milliseconds=100)
        self.ends = [view.disposition or "open" for view in bridge.store.reads.alerts(100)]
        self.faults = bridge.faults
        return False

    async def settle(self, bridge: ScriptedBridge) -> None:
        """Let every order that may leave arrive at the broker."""
        busy: list[Order] = []
        for _ in range(200):
            await asyncio.sleep(0)
            busy = [o for o in bridge.store.ledger.orders.values.values() if o.status in (OrderStatus.NEW, OrderStatus.PENDING)]
            if not busy:
                return
        raise AssertionError(f"orders do not leave: {busy}")

    async def fill(self, bridge: ScriptedBridge) -> None:
        """Fill what has been at the broker for long enough."""
        for order in list(self.broker.sent):
            since = self.sent_at.setdefault(order.tag, self.clock.now())
            row = self.broker.rows[order.tag]
            if not row.status.is_closed and self.clock.now() - since >= self.delays[order.intent.alert_id]:
                self.check_fill(order)
                await self.broker.fill(order.tag, order.intent.order_qty, 800)
                await self.settle(bridge)

    def check_fill(self, order: Order) -> None:
        """No exit crosses zero; and nothing does where the broker takes no order through zero."""
        held = self.broker.held.get((SBIN, "MIS"), D(0))
        moved = order.intent.side.sign * order.intent.order_qty
        after = held + moved
        if order.intent.reduce_only:
            assert held * moved < 0, f"an exit opens: {held} {moved}"
            assert after * held >= 0, f"an exit goes through zero: {held} {moved}"
        if not self.broker.capabilities.reverses_in_one:
            assert after * held >= 0, f"an order goes through zero: {held} {moved}"

    def check(self, bridge: ScriptedBridge) -> None:
        ledger = bridge.store.ledger
        legs = [(order.intent.alert_id, order.intent.leg) for order in self.broker.sent]
        assert len(legs) == len(set(legs)), "an order left twice"
        assert set(ledger.waiting.values) <= set(ledger.alerts.values)


def meet(day: TradingDay, *, in_one: bool) -> Meeting:
    """The day, played to its end."""
    clock = SteppedClock()
    products = frozenset({Product.MIS, Product.NRML}) if in_one else frozenset()
    broker = ScriptedBroker("paper", clock, reverses_in_one=products)
    with tempfile.TemporaryDirectory() as folder:
        meeting = Meeting(Path(folder), day, broker, clock)
        asyncio.run(meeting.run())
    return meeting


def check_day(day: TradingDay, *, in_one: bool) -> None:
    meeting = meet(day, in_one=in_one)
    assert meeting.faults == []
    assert len(meeting.ends) == len(day.moves)
    assert set(meeting.ends) <= {"done", "noop"}, meeting.ends
    assert meeting.broker.held.get((SBIN, "MIS"), D(0)) == day.moves[-1].after


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ticks when the test says so."""
    monkeypatch.setattr("bridge.worker.TICK_S", 3600)


EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@EXAMPLES
@given(days(), st.booleans())
def test_alerts_that_came_swapped_end_as_if_they_had_come_in_order(day: TradingDay, in_one: bool) -> None:
    """Whatever is swapped and however slow the fills: the position is the strategy's last, and every alert ends."""
    event(f"{len(day.moves)} moves, {'swapped' if day.arrivals != sorted(day.arrivals) else 'in order'}")
    check_day(day, in_one=in_one)


@settings(EXAMPLES, max_examples=30)
@given(days(restarts=True), st.booleans())
def test_a_restart_between_any_two_alerts_changes_nothing(day: TradingDay, in_one: bool) -> None:
    """What waited is worked out again from the books."""
    check_day(day, in_one=in_one)
