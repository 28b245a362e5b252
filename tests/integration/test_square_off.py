"""Intraday positions are closed by us before the broker does it: once, also over crashes, and never what could open."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.clock import IST
from bridge.core.enums import OrdType, Product, Side
from bridge.core.order_states import OrderStatus
from bridge.settings import Settings
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, ROOT, Rig, ScriptedBridge, abandoned, make_settings, running
from tests.support.samples import SBIN
from tests.support.scripted_broker import LOST_BUT_THERE, REFUSE, ScriptedBroker
from tests.support.waiting import until

FRIDAY, BUDGET_SUNDAY = "2026-11-20", "2026-02-01"
MARKET = {**NO_CHARGES, "session": "market"}
Story = Callable[[Rig], Awaitable[Any]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.02)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


def set_clock(clock: RunningClock, told: str) -> None:
    """Let it run on from this moment in India."""
    clock.ahead += datetime.fromisoformat(told).replace(tzinfo=IST) - clock.now()


def settings_in(folder: Path, *, account: dict[str, Any] | None = None, **values: Any) -> Settings:
    return make_settings(folder, accounts={"paper": {**MARKET, **(account or {})}}, **values)


def tell(folder: Path, story: Story, *, start: str = f"{FRIDAY} 14:00", **values: Any) -> None:
    """A story that begins on a trading day, long before the session's end."""

    async def whole() -> None:
        clock = RunningClock()
        set_clock(clock, start)
        async with running(ScriptedBridge(settings_in(folder, **values), clock), clock) as rig:
            await story(rig)
            rig.check_books()

    play(whole)


def tell_twice(folder: Path, before: Story, after: Story) -> None:
    """`before` is cut off as by kill -9; `after` is told by the next bridge on the same files and the same broker."""

    async def whole() -> None:
        clock, settings = RunningClock(), settings_in(folder)
        set_clock(clock, f"{FRIDAY} 14:00")
        broker = ScriptedBroker("paper", clock)
        async with abandoned(ScriptedBridge(settings, clock, {"paper": broker}), clock) as rig:
            await before(rig)
        async with running(ScriptedBridge(settings, clock, {"paper": broker}), clock) as rig:
            await after(rig)
            rig.check_books()

    play(whole)


def end_of(rig: Rig) -> datetime:
    instrument = rig.bridge.catalog.get(SBIN)
    assert instrument is not None
    found = rig.bridge.intraday_ends["paper"](instrument, rig.clock.now())
    assert found is not None
    return found


def jump_to(rig: Rig, moment: datetime) -> None:
    assert moment >= rig.clock.now()
    rig.clock.ahead += moment - rig.clock.now()


async def buy(rig: Rig, quantity: int = 10, **fields: Any) -> str:
    alert_id = await rig.accept(action="buy", quantity=str(quantity), **fields)
    await rig.broker.fill((await rig.order_in(alert_id, OrderStatus.PLACED)).tag, quantity)
    await rig.ended(alert_id)
    return alert_id


async def rest(rig: Rig, action: str, **fields: Any) -> str:
    alert_id = await rig.accept(**{"action": action, "quantity": "4", "order_type": "LIMIT", "price": "800", **fields})
    await rig.order_in(alert_id, OrderStatus.PLACED)
    return alert_id


def exits(rig: Rig) -> list[Any]:
    """Orders that the square-off made, as they left for the broker."""
    raised = {view.alert_id for view in rig.bridge.store.reads.alerts(100, None) if view.source == "square_off"}
    return [order for order in rig.broker.sent if order.intent.alert_id in raised]


async def fill_exit(rig: Rig, number: int = 1) -> None:
    """Wait for the exit and fill it; the position is flat then."""
    await until(lambda: len(exits(rig)) == number, f"exit {number}")
    order = exits(rig)[-1]
    await rig.order_in(order.intent.alert_id, OrderStatus.PLACED)
    await rig.broker.fill(order.tag, order.intent.order_qty)
    await until(lambda: rig.quantity() == 0, "the end of the position")


async def pass_some_ticks(rig: Rig) -> None:
    await asyncio.sleep(0.1)


def test_an_exit_that_the_market_has_left_behind_is_replaced_by_the_next_try(tmp_path: Path) -> None:
    """What the protection of a market order kept from filling rests, and closes nothing by itself."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        left = await rig.order_in(await rig.accept(action="exit"), OrderStatus.PLACED)
        await rig.broker.fill(left.tag, 4)
        jump_to(rig, end_of(rig) + timedelta(seconds=1))
        await until(lambda: exits(rig), "the exit")
        assert exits(rig)[0].intent.order_qty == 6
        assert (await rig.ended(left.intent.alert_id)).code == "PARTLY_FILLED"
        await fill_exit(rig)

    tell(tmp_path, story)


def test_at_its_moment_mis_orders_go_and_mis_positions_are_closed(tmp_path: Path) -> None:
    """Resting entries and exits are withdrawn first; what is not MIS stays; new MIS entries are denied with the time."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        await buy(rig, 3, product="NRML")
        resting = [await rest(rig, "buy"), await rest(rig, "exit", price="900")]
        kept = await rest(rig, "buy", product="NRML")
        jump_to(rig, end_of(rig) - timedelta(seconds=3))
        await pass_some_ticks(rig)
        assert (exits(rig), rig.broker.cancelled) == ([], [])
        jump_to(rig, end_of(rig))
        await fill_exit_of_mis(rig)
        assert [(await rig.ended(alert_id)).code for alert_id in resting] == ["CANCELLED_UNFILLED"] * 2
        await rig.order_in(kept, OrderStatus.PLACED)
        denied = await rig.ended(await rig.accept(action="buy", quantity="1"))
        assert (denied.code, end_of(rig).astimezone(IST).strftime("%H:%M IST") in denied.message) == ("AFTER_SQUARE_OFF", True)
        assert (await rig.ended(await rig.accept(action="sell", quantity="1"))).code == "AFTER_SQUARE_OFF"
        await buy(rig, 1, product="NRML")
        await pass_some_ticks(rig)
        assert len(exits(rig)) == 1

    async def fill_exit_of_mis(rig: Rig) -> None:
        await until(lambda: exits(rig), "the exit")
        (order,) = exits(rig)
        told = (order.intent.order_qty, order.intent.ord_type, order.intent.product, order.intent.reduce_only)
        assert told == (10, OrdType.MARKET, Product.MIS, True)
        await rig.order_in(order.intent.alert_id, OrderStatus.PLACED)
        await rig.broker.fill(order.tag, 10)
        view = await rig.ended(order.intent.alert_id)
        assert (view.source, view.code, view.credential) == ("square_off", "FILLED", "square-off")
        assert "square_off" in rig.step_names(order.intent.alert_id)
        assert rig.quantity() == 3

    tell(tmp_path, story)


@pytest.mark.parametrize("start", [f"{FRIDAY} 14:00", f"{BUDGET_SUNDAY} 14:00"])
def test_on_a_special_sunday_as_on_any_day(tmp_path: Path, start: str) -> None:
    """The calendar says when trading ends."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        jump_to(rig, end_of(rig))
        await fill_exit(rig)
        assert rig.alarms() == []

    tell(tmp_path, story, start=start)


def test_a_named_time_holds(tmp_path: Path) -> None:
    """Per account and segment, in minutes or as a time of day."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        assert end_of(rig).astimezone(IST).strftime("%H:%M") == "14:30"
        jump_to(rig, end_of(rig))
        await fill_exit(rig)

    tell(tmp_path, story, account={"square_off": {"equity": "14:30"}})


@pytest.mark.parametrize("account", [{"square_off": False}, {"square_off": {"equity": None}}, {"session": "always"}])
def test_switched_off_it_is_the_brokers_business(tmp_path: Path, account: dict[str, Any]) -> None:
    """Nothing is closed, withdrawn or denied by us."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        resting = await rest(rig, "buy")
        rig.clock.jump(minutes=74)  # 15:14, in continuous trading still
        await pass_some_ticks(rig)
        await buy(rig, 1)
        await rig.order_in(resting, OrderStatus.PLACED)
        assert exits(rig) == []

    tell(tmp_path, story, account=account)


@pytest.mark.parametrize("how", ["unsent", "placed", "lost"])
def test_a_kill_in_the_middle_makes_no_second_exit(tmp_path: Path, how: str) -> None:
    """Whether the exit had left or not: the next bridge carries on with the one that is there."""

    async def before(rig: Rig) -> None:
        await buy(rig)
        if how == "unsent":
            rig.bridge.lanes["paper"].hold()
        elif how == "lost":
            rig.broker.answers.append(LOST_BUT_THERE)
        jump_to(rig, end_of(rig))
        await until(lambda: rig.bridge.square_off._done, "the exit to be raised")
        if how != "unsent":
            await until(lambda: exits(rig), "the exit to leave")

    async def after(rig: Rig) -> None:
        await fill_exit(rig)
        await pass_some_ticks(rig)
        assert len(exits(rig)) == 1
        assert rig.quantity() == 0

    tell_twice(tmp_path, before, after)


def test_the_same_try_is_made_once_whoever_comes_to_it(tmp_path: Path) -> None:
    """Killed between the exit and its own memory of it: the claim is on disk."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.answers.append(REFUSE)
        jump_to(rig, end_of(rig))
        await until(lambda: exits(rig), "the exit")
        await rig.ended(exits(rig)[0].intent.alert_id)
        rig.bridge.square_off._done.clear()
        await pass_some_ticks(rig)
        assert len(exits(rig)) == 1

    tell(tmp_path, story)


def test_a_bridge_that_was_down_at_the_moment_does_it_when_it_comes_up(tmp_path: Path) -> None:
    """As long as the market takes market orders; and a person is told that it was late."""

    async def before(rig: Rig) -> None:
        await buy(rig)
        jump_to(rig, end_of(rig) - timedelta(seconds=5))

    async def after(rig: Rig) -> None:
        rig.clock.jump(minutes=10)
        await fill_exit(rig)
        await until(lambda: any("9 min after its square-off was due" in alarm for alarm in rig.alarms()), "the alarm")

    tell_twice(tmp_path, before, after)


def test_after_the_close_nothing_is_sent(tmp_path: Path) -> None:
    """It would only be denied; the broker has closed it, which the comparison of books shows."""

    async def before(rig: Rig) -> None:
        await buy(rig)
        jump_to(rig, end_of(rig) - timedelta(seconds=5))

    async def after(rig: Rig) -> None:
        set_clock(rig.clock, f"{FRIDAY} 15:45")
        await pass_some_ticks(rig)
        assert exits(rig) == []

    tell_twice(tmp_path, before, after)


def test_between_trading_and_the_auction_it_waits_for_the_auction(tmp_path: Path) -> None:
    """A share with futures: no order is taken from 15:15 to 15:20, market orders are from then on."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        jump_to(rig, end_of(rig) - timedelta(seconds=5))
        rig.broker.connected = False  # nothing is done meanwhile, as if it had been down
        set_clock(rig.clock, f"{FRIDAY} 15:17")
        rig.broker.connected = True
        await pass_some_ticks(rig)
        assert exits(rig) == []
        set_clock(rig.clock, f"{FRIDAY} 15:20:01")
        await fill_exit(rig)

    tell(tmp_path, story, instruments=ROOT / "config" / "instruments.csv")


def test_a_position_that_differs_is_left_to_a_person(tmp_path: Path) -> None:
    """The broker may have closed it already, and then our exit would open: an alarm instead, once for each try."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(4)
        await rig.bridge.desk.reconcile(by="test")
        jump_to(rig, end_of(rig))
        await until(lambda: any("not squared off" in alarm and "differ" in alarm for alarm in rig.alarms()), "the alarm")
        await pass_some_ticks(rig)
        assert exits(rig) == []
        assert len([alarm for alarm in rig.alarms() if "not squared off" in alarm]) == 1

    tell(tmp_path, story)


def test_what_a_person_has_accepted_as_closed_is_left_out(tmp_path: Path) -> None:
    """Six of ten were sold by hand, and somebody said so: the other four are closed, and nothing is opened."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.held[SBIN, "MIS"] = Decimal(4)
        await rig.bridge.desk.reconcile(by="test")
        await rig.bridge.desk.accept_drift(SBIN, None, by="anna")
        jump_to(rig, end_of(rig))
        await until(lambda: exits(rig), "the exit")
        assert [order.intent.order_qty for order in exits(rig)] == [4]
        assert not [alarm for alarm in rig.alarms() if "not squared off" in alarm]

    tell(tmp_path, story)


def test_what_was_closed_elsewhere_is_not_closed_again(tmp_path: Path) -> None:
    """The broker's book shows who sold: there is nothing left to square off, and nobody is alarmed over it."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.trade_by_hand(SBIN, Product.MIS, Side.SELL, Decimal(10))
        await rig.bridge.desk.reconcile(by="test")
        rig.clock.jump(seconds=31)  # an empty list of positions is believed when it stays
        await rig.bridge.desk.reconcile(by="test")
        assert rig.ledger.holds.values
        jump_to(rig, end_of(rig))
        await pass_some_ticks(rig)
        assert exits(rig) == []
        assert not [alarm for alarm in rig.alarms() if "squared off" in alarm or "square-off" in alarm]

    tell(tmp_path, story)


def test_while_the_broker_is_away_it_is_told_and_tried_again(tmp_path: Path) -> None:
    """An exit that waits for a login could leave after the broker has closed the position itself."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.connected = False
        jump_to(rig, end_of(rig))
        await until(lambda: any("signed out" in alarm for alarm in rig.alarms()), "the alarm")
        rig.broker.connected = True
        await pass_some_ticks(rig)
        assert exits(rig) == []
        rig.clock.jump(seconds=61)
        await fill_exit(rig)

    tell(tmp_path, story)


def test_an_exit_that_the_broker_rejects_is_tried_again_ever_more_rarely(tmp_path: Path) -> None:
    """After 1, 3 and 7 minutes; each later try raises an alarm of its own."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.answers.extend([REFUSE] * 3)
        jump_to(rig, end_of(rig))
        for number, wait_s in enumerate((0, 61, 120), start=1):
            rig.clock.jump(seconds=wait_s)
            await until(lambda: len(exits(rig)) == number, "the next try")  # noqa: B023 - awaited within its turn
            await rig.ended(exits(rig)[-1].intent.alert_id)
            await pass_some_ticks(rig)
            assert len(exits(rig)) == number
        await until(lambda: len([alarm for alarm in rig.alarms() if "square-off was due" in alarm]) == 2, "the alarms")
        rig.clock.jump(seconds=240)
        await fill_exit(rig, 4)

    tell(tmp_path, story)


def test_a_halt_of_everything_holds_for_it_too(tmp_path: Path) -> None:
    """A person has said that nothing leaves; the alert says so, and when the halt is over the next try goes."""

    async def story(rig: Rig) -> None:
        await buy(rig)
        await rig.halt(stop_all=True)
        jump_to(rig, end_of(rig))
        await until(lambda: [v for v in rig.bridge.store.reads.alerts(9, None) if v.source == "square_off"], "the alert")
        (view,) = [v for v in rig.bridge.store.reads.alerts(9, None) if v.source == "square_off"]
        assert (await rig.ended(view.alert_id)).code == "HALTED"
        await rig.resume()
        rig.clock.jump(seconds=61)
        await fill_exit(rig)

    tell(tmp_path, story)


def test_a_resting_exit_that_another_strategy_placed_since_does_not_keep_the_position_open(tmp_path: Path) -> None:
    """The first exit was rejected, and a limit order that comes then would leave nothing for the next one to close."""
    strategies = {name: {"accounts": ["paper"], "product": "MIS"} for name in ("demo", "other")}

    async def story(rig: Rig) -> None:
        await buy(rig)
        rig.broker.answers.append(REFUSE)
        jump_to(rig, end_of(rig))
        await until(lambda: len(exits(rig)) == 1, "the exit that is refused")
        await rig.ended(exits(rig)[0].intent.alert_id)
        late = await rig.accept(strategy="other", action="exit", order_type="LIMIT", price="850")
        await rig.ended(late)
        assert rig.quantity() == 10
        rig.clock.jump(seconds=61)
        await fill_exit(rig, 2)

    tell(tmp_path, story, strategies=strategies)
