"""Alerts that arrive out of order: chains, exits before entries, what is overtaken, reversals in two orders; with crashes."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.enums import Product, Side
from bridge.core.order import Order
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import NO_CHARGES, Rig, ScriptedBridge, abandoned, copy_of, make_settings, running
from tests.support.scripted_broker import ScriptedBroker
from tests.support.waiting import until

D = Decimal
Story = Callable[[Rig], Awaitable[Any]]
TWO = {"accounts": {"paper": NO_CHARGES, "second": NO_CHARGES}, "strategies": {"demo": {"accounts": ["paper", "second"]}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)


def brokers(clock: RunningClock, *, in_one: bool) -> dict[str, ScriptedBroker]:
    products = frozenset({Product.MIS, Product.NRML}) if in_one else frozenset()
    return {name: ScriptedBroker(name, clock, reverses_in_one=products) for name in ("paper", "second")}


def tell(folder: Path, story: Story, *, in_one: bool = True, **settings: Any) -> None:
    """A story with scripted brokers behind the real bridge."""

    async def whole() -> None:
        clock = RunningClock()
        made = ScriptedBridge(make_settings(folder, **settings), clock, brokers(clock, in_one=in_one))
        async with running(made, clock) as rig:
            await story(rig)
            rig.check_books()
            assert rig.bridge.faults == []

    play(whole)


def crash(
    folder: Path, before: Story, after: Callable[[Rig, Any], Awaitable[None]], *, in_one: bool = True, **settings: Any
) -> None:
    """`before` on one bridge, a crash, `after` on a second one with a copy of the files and the same brokers."""

    async def whole() -> None:
        clock = RunningClock()
        books = brokers(clock, in_one=in_one)
        first = ScriptedBridge(make_settings(folder / "first", **settings), clock, books)
        async with abandoned(first, clock) as rig:
            found = await before(rig)
            copied = copy_of(first.settings, folder / "second")
        async with running(ScriptedBridge(copied, clock, books), clock) as rig:
            await after(rig, found)
            rig.check_books()

    play(whole)


async def hold(rig: Rig, quantity: int) -> None:
    """Bring the strategy to a position, in every account."""
    for name in rig.bridge.brokers:
        rig.broker_of(name).fill_px = D(800)
    await rig.ended(await rig.accept(target=str(quantity), time=None))
    for name in rig.bridge.brokers:
        rig.broker_of(name).fill_px = None


async def fill(rig: Rig, order: Order) -> None:
    await rig.broker_of(order.intent.account).fill(order.tag, order.intent.order_qty, 800)


async def leg(rig: Rig, alert_id: str, number: int, *statuses: str) -> Order:
    """An order of an alert by its number, once it stands so."""

    def look() -> Order | None:
        order: Order | None = rig.ledger.orders.get(f"{alert_id}-{number}")
        return order if order is not None and order.status in statuses else None

    order = await until(look, f"order {number} of {alert_id} in {statuses}")
    assert order is not None
    return order


# -- chains: both orders of arrival -----------------------------------------------------------------------------------

LONG_TO_SHORT = {
    "targets": ({"target": "0", "prev": "long", "state": "flat"}, {"target": "-5", "prev": "flat", "state": "short"}),
    "exit, sell": (
        {"action": "exit", "prev": "long", "state": "flat"},
        {"action": "sell", "quantity": "5", "prev": "flat", "state": "short"},
    ),
    "sell, sell": (
        {"action": "sell", "quantity": "5", "prev": "long", "state": "flat"},
        {"action": "sell", "quantity": "5", "prev": "flat", "state": "short"},
    ),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "swapped"])
@pytest.mark.parametrize("pair", LONG_TO_SHORT.values(), ids=LONG_TO_SHORT)
def test_a_close_and_an_opposite_open_end_short_whichever_comes_first(tmp_path: Path, pair: Any, swapped: bool) -> None:
    """The one that opens is sized by what the one that closes came to."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        sent = len(rig.broker.sent)
        second = rig.clock.now().replace(microsecond=0).isoformat()
        alerts = [await rig.accept(**one, time=second) for one in (reversed(pair) if swapped else pair)]
        closing_id, opening_id = reversed(alerts) if swapped else alerts
        closing = await rig.order_in(closing_id, "PLACED")
        assert (closing.intent.side, closing.intent.order_qty, closing.intent.reduce_only) == (Side.SELL, D(5), True)
        assert rig.orders(opening_id) == []
        await fill(rig, closing)
        opening = await rig.order_in(opening_id, "PLACED")
        assert (opening.intent.side, opening.intent.order_qty, opening.intent.reduce_only) == (Side.SELL, D(5), False)
        await fill(rig, opening)
        assert [(await rig.ended(alert_id)).code for alert_id in alerts] == ["FILLED", "FILLED"]
        assert rig.quantity() == -5
        assert len(rig.broker.sent) == sent + 2

    tell(tmp_path, story)


@pytest.mark.parametrize("held", [0, -3])
def test_a_sell_that_ends_flat_opens_nothing_once_its_position_is_gone(tmp_path: Path, held: int) -> None:
    """A stop at the broker, or a hand, was faster: the sell is told that there is nothing to close."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        await hold(rig, held)
        sent = len(rig.broker.sent)
        for state in ("flat", "long"):
            view = await rig.ended(await rig.accept(action="sell", quantity="5", state=state))
            assert (view.disposition, view.code) == ("noop", "FLAT")
            assert view.message == "There is no long NSE:SBIN MIS position to close."
        assert (len(rig.broker.sent), rig.quantity()) == (sent, held)

    tell(tmp_path, story)


def test_a_sell_that_ends_flat_closes_no_more_than_is_held(tmp_path: Path) -> None:
    """Half of the position was closed by hand."""

    async def story(rig: Rig) -> None:
        await hold(rig, 2)
        order = await rig.order_in(await rig.accept(action="sell", quantity="5", state="flat"), "PLACED")
        assert (order.intent.side, order.intent.order_qty, order.intent.reduce_only) == (Side.SELL, D(2), True)
        await fill(rig, order)
        assert rig.quantity() == 0

    tell(tmp_path, story)


@pytest.mark.parametrize("leaving", [{"action": "exit"}, {"target": "0"}], ids=["exit", "target"])
def test_an_exit_that_comes_before_its_entry_waits_for_it_and_closes_it(tmp_path: Path, leaving: dict[str, str]) -> None:
    """Flat, long and flat again within a second: taken as it came, the entry would stay open for good."""

    async def story(rig: Rig) -> None:
        exit_id = await rig.accept(**leaving, prev="long", state="flat")
        assert rig.alert(exit_id).disposition is None
        entry = await rig.order_in(await rig.accept(action="buy", quantity="5", prev="flat", state="long"), "PLACED")
        rig.clock.jump(seconds=5)  # a slow fill: the exit waits beyond the chain's two seconds, for the order
        await rig.bridge.worker.tick()
        assert rig.orders(exit_id) == []
        await fill(rig, entry)
        await fill(rig, await rig.order_in(exit_id, "PLACED"))
        assert (await rig.ended(exit_id)).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story)


@pytest.mark.parametrize("in_one", [True, False], ids=["in one order", "in two"])
def test_a_reversal_that_comes_before_its_entry_waits_for_it(tmp_path: Path, in_one: bool) -> None:
    """In order: flat, long 5, short 5."""

    async def story(rig: Rig) -> None:
        turning = await rig.accept(action="sell", quantity="10", prev="long", state="short")
        entering = await rig.accept(action="buy", quantity="5", prev="flat", state="long")
        await fill(rig, await rig.order_in(entering, "PLACED"))
        await fill(rig, await leg(rig, turning, 1, "PLACED"))
        if not in_one:
            await fill(rig, await leg(rig, turning, 2, "PLACED"))
        assert (await rig.ended(turning)).code == "FILLED"
        assert rig.quantity() == -5

    tell(tmp_path, story, in_one=in_one)


def test_an_alert_whose_predecessor_never_comes_is_carried_out_as_it_is(tmp_path: Path) -> None:
    """After two seconds and a tick."""

    async def story(rig: Rig) -> None:
        target = await rig.accept(target="-5", prev="long", state="short")
        rig.clock.jump(seconds=1.5)
        await rig.bridge.worker.tick()
        assert rig.orders(target) == []
        rig.clock.jump(seconds=1)
        await fill(rig, await rig.order_in(target, "PLACED"))
        assert rig.quantity() == -5

    tell(tmp_path, story)


def test_a_chain_that_waits_is_worked_out_again_after_a_crash(tmp_path: Path) -> None:
    """An exit without its entry, and behind an exit under way an entry: both wait on, from their receipt."""

    async def before(rig: Rig) -> tuple[str, str, str]:
        await hold(rig, 5)
        closing = await rig.accept(action="exit", prev="long", state="flat")
        await rig.order_in(closing, "PLACED")
        last = await rig.accept(action="exit", prev="short", state="flat")
        middle = await rig.accept(action="sell", quantity="3", prev="flat", state="short")
        assert set(rig.ledger.waiting.values) == {last, middle}
        return closing, middle, last

    async def after(rig: Rig, ids: tuple[str, str, str]) -> None:
        closing, middle, last = ids
        assert set(rig.ledger.waiting.values) >= {last, middle}
        rig.clock.jump(seconds=4)
        await rig.bridge.worker.tick()
        assert rig.orders(middle) + rig.orders(last) == []
        await fill(rig, await rig.order_in(closing, "PLACED"))
        await fill(rig, await rig.order_in(middle, "PLACED"))
        await fill(rig, await rig.order_in(last, "PLACED"))
        assert [(await rig.ended(alert_id)).code for alert_id in ids] == ["FILLED"] * 3
        assert rig.quantity() == 0
        assert rig.ledger.waiting.values == {}

    crash(tmp_path, before, after)


def test_a_fault_with_one_waiting_alert_does_not_stop_the_others(tmp_path: Path) -> None:
    """The entry's end carries on all who waited; one of them fails, and is tried again by the clock alone."""

    async def story(rig: Rig) -> None:
        entry = await rig.order_in(await rig.accept(action="buy", quantity="5"), "PLACED")
        bad = await rig.accept(action="exit", product="CNC", note="x", prev="long")
        good = await rig.accept(action="exit")
        pipeline: Any = rig.bridge.pipeline
        size = pipeline._size

        def breaks(tx: Any, alert: Any, *rest: Any) -> Any:
            if alert.alert_id == bad:
                raise RuntimeError("a bug")
            return size(tx, alert, *rest)

        pipeline._size = breaks
        rig.clock.jump(seconds=3)  # the chain's wait is over for the bad one
        await fill(rig, entry)
        await fill(rig, await rig.order_in(good, "PLACED"))
        assert (await rig.ended(good)).code == "FILLED"
        assert (await rig.ended(bad)).code == "INTERNAL"
        assert rig.quantity() == 0
        rig.bridge.faults.clear()

    tell(tmp_path, story)


# -- exits before entries ---------------------------------------------------------------------------------------------


def test_an_entry_behind_an_exit_that_does_not_end_is_denied(tmp_path: Path) -> None:
    """Twenty seconds after its receipt; the sentence names the order, and the exit itself goes on."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        leaving = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        entry = await rig.accept(action="buy", quantity="2")
        rig.clock.jump(seconds=19)
        await rig.bridge.worker.tick()
        assert rig.alert(entry).disposition is None
        rig.clock.jump(seconds=2)
        view = await rig.ended(entry)
        assert (view.disposition, view.code) == ("denied", "EXIT_UNFINISHED")
        assert leaving.cl_ord_id in view.message
        await fill(rig, leaving)
        assert rig.quantity() == 0

    tell(tmp_path, story)


def test_an_entry_behind_an_exit_that_is_rejected_goes_on(tmp_path: Path) -> None:
    """The exit has ended; what the entry then means is sized anew, here as one that reduces."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        leaving = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        entry = await rig.accept(action="sell", quantity="2")
        assert rig.orders(entry) == []
        await rig.broker.tell(rig.broker.end(leaving.tag, leaving.status.REJECTED, "no"))
        assert (await rig.order_in(entry, "PLACED")).intent.reduce_only

    tell(tmp_path, story)


def test_an_exit_behind_an_entry_that_waits_closes_what_that_opens(tmp_path: Path) -> None:
    """Exit, entry and exit again in a row, without `prev`: the last word is flat."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        first = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        entry = await rig.accept(action="sell", quantity="3")
        last = await rig.accept(action="exit", note="2")
        await fill(rig, first)
        await fill(rig, await rig.order_in(entry, "PLACED"))
        await fill(rig, await rig.order_in(last, "PLACED"))
        assert (await rig.ended(last)).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story)


# -- overtaken --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [{"action": "buy", "quantity": "5"}, {"target": "5"}], ids=["buy", "target"])
@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a crash"])
def test_an_older_alert_that_comes_late_does_not_undo_a_newer_exit(
    tmp_path: Path, older: dict[str, str], restart: bool
) -> None:
    """Answered 503 and sent again five seconds later; meanwhile the strategy had left. The denial names the exit."""

    async def before(rig: Rig) -> tuple[str, str]:
        fired = (rig.clock.now() - timedelta(seconds=5)).isoformat()
        leaving = await rig.accept(action="exit")
        assert (await rig.ended(leaving)).code == "FLAT"
        return leaving, fired

    async def after(rig: Rig, found: tuple[str, str]) -> None:
        leaving, fired = found
        view = await rig.ended(await rig.accept(**older, time=fired))
        assert (view.disposition, view.code) == ("denied", "OVERTAKEN")
        assert leaving in view.message
        assert (await rig.ended(await rig.accept(action="exit", time=fired))).code == "FLAT"
        rig.broker.fill_px = D(800)
        assert (await rig.ended(await rig.accept(**older))).code == "FILLED"

    async def story(rig: Rig) -> None:
        await after(rig, await before(rig))

    if restart:
        crash(tmp_path, before, after)
    else:
        tell(tmp_path, story)


def test_an_exit_without_a_time_of_its_own_overtakes_nothing(tmp_path: Path) -> None:
    """Its time of receipt says nothing of when it fired."""

    async def story(rig: Rig) -> None:
        fired = (rig.clock.now() - timedelta(seconds=5)).isoformat()
        await rig.ended(await rig.accept(action="exit", time=None))
        rig.broker.fill_px = D(800)
        assert (await rig.ended(await rig.accept(action="buy", quantity="5", time=fired))).code == "FILLED"

    tell(tmp_path, story)


def test_an_alert_that_failed_or_was_overtaken_is_not_remembered_over_a_restart(tmp_path: Path) -> None:
    """Only what was processed is the strategy's newest word."""

    async def before(rig: Rig) -> str:
        fired = (rig.clock.now() - timedelta(seconds=5)).isoformat()
        leaving = await rig.accept(action="exit")
        await rig.ended(leaving)
        await rig.ended(await rig.accept(target="7", time=fired))
        rig.bridge.pipeline._instrument = lambda _symbol: None
        failed = await rig.accept(action="exit", note="fails")
        rig.clock.jump(seconds=2)
        assert (await rig.ended(failed)).code == "INTERNAL"
        assert [alert.alert_id for alert in rig.ledger.newest.values.values()] == [leaving]
        return leaving

    async def after(rig: Rig, leaving: str) -> None:
        assert [alert.alert_id for alert in rig.ledger.newest.values.values()] == [leaving]

    crash(tmp_path, before, after)


# -- reversals in two orders ------------------------------------------------------------------------------------------

TURNS = [{"action": "sell", "quantity": "8"}, {"target": "-3"}, {"action": "sell"}]
DEFAULT = {"strategies": {"demo": {"accounts": ["paper"], "product": "MIS", "quantity": "8"}}}


@pytest.mark.parametrize("turning", TURNS, ids=["sell", "target", "sell the default"])
@pytest.mark.parametrize("restart", ["never", "before the close fills", "after it filled unheard"])
def test_a_reversal_closes_first_and_opens_when_that_has_filled(tmp_path: Path, turning: dict[str, str], restart: str) -> None:
    """Two orders with the numbers 1 and 2, never a third; a crash in between changes nothing."""

    async def before(rig: Rig) -> str:
        await hold(rig, 5)
        alert_id = await rig.accept(**turning)
        closing = await leg(rig, alert_id, 1, "PLACED")
        assert (closing.intent.order_qty, closing.intent.reduce_only) == (D(5), True)
        assert "intent_split" in rig.step_names(alert_id)
        if restart == "after it filled unheard":
            rig.broker.execute(closing.tag, D(5), D(800))
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        if restart != "after it filled unheard":
            assert len(rig.orders(alert_id)) == 1
            await fill(rig, await leg(rig, alert_id, 1, "PLACED"))
        opening = await leg(rig, alert_id, 2, "PLACED")
        assert (opening.intent.side, opening.intent.order_qty, opening.intent.reduce_only) == (Side.SELL, D(3), False)
        await fill(rig, opening)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert rig.quantity() == -3
        assert len(rig.orders(alert_id)) == 2
        assert rig.ledger.waiting.values == {}

    async def story(rig: Rig) -> None:
        await after(rig, await before(rig))

    if restart == "never":
        tell(tmp_path, story, in_one=False, **DEFAULT)
    else:
        crash(tmp_path, before, after, in_one=False, **DEFAULT)


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a crash"])
def test_a_reversal_whose_close_is_rejected_opens_nothing(tmp_path: Path, restart: bool) -> None:
    """The alert ends telling both: the rejection, and that the other half was not sent."""

    async def before(rig: Rig) -> str:
        await hold(rig, 5)
        alert_id = await rig.accept(target="-3")
        await leg(rig, alert_id, 1, "PLACED")
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        closing = await leg(rig, alert_id, 1, "PLACED")
        await rig.broker.tell(rig.broker.end(closing.tag, closing.status.REJECTED, "not today"))
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("failed", "BROKER_REJECTED")
        assert "not today" in view.message
        assert "opening half" in view.message
        assert len(rig.orders(alert_id)) == 1

    async def story(rig: Rig) -> None:
        await after(rig, await before(rig))

    if restart:
        crash(tmp_path, before, after, in_one=False)
    else:
        tell(tmp_path, story, in_one=False)


def test_a_reversal_whose_close_takes_too_long_opens_nothing_when_it_fills_after_all(tmp_path: Path) -> None:
    """After twenty seconds the half that opens is denied; the alert ends when the close has, telling both."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        alert_id = await rig.accept(target="-3")
        closing = await leg(rig, alert_id, 1, "PLACED")
        rig.clock.jump(seconds=21)
        await until(lambda: "intent_denied" in rig.step_names(alert_id), "the denial")
        assert rig.alert(alert_id).disposition is None
        await fill(rig, closing)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("denied", "EXIT_UNFINISHED")
        assert "5 filled" in view.message
        assert rig.quantity() == 0
        assert len(rig.orders(alert_id)) == 1

    tell(tmp_path, story, in_one=False)


def test_a_reversal_that_risk_denies_closes_all_the_same(tmp_path: Path) -> None:
    """Halted to exits only: the half that closes leaves, the other is denied with the halt's reason."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        await rig.halt()
        alert_id = await rig.accept(target="-3")
        await fill(rig, await leg(rig, alert_id, 1, "PLACED"))
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("denied", "HALTED")
        assert "filled" in view.message
        assert rig.quantity() == 0

    tell(tmp_path, story, in_one=False)


def test_a_reversal_whose_close_is_withdrawn_by_a_halt_ends_with_both(tmp_path: Path) -> None:
    """Halted altogether while the order waited in its lane."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        rig.broker.connected = False
        alert_id = await rig.accept(target="-3")
        await leg(rig, alert_id, 1, "NEW")
        await rig.halt(stop_all=True)
        rig.broker.connected = True
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("denied", "HALTED")
        assert "opening half" in view.message
        assert rig.quantity() == 5

    tell(tmp_path, story, in_one=False)


def test_what_follows_a_reversal_goes_behind_both_of_its_halves(tmp_path: Path) -> None:
    """Between the halves the position is flat: an exit that took that for the end would leave the other half open."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        turning = await rig.accept(target="-3")
        closing = await leg(rig, turning, 1, "PLACED")
        leaving = await rig.accept(action="exit")
        assert rig.alert(leaving).disposition is None
        await fill(rig, closing)
        await fill(rig, await leg(rig, turning, 2, "PLACED"))
        await fill(rig, await leg(rig, leaving, 1, "PLACED"))
        assert (await rig.ended(leaving)).code == "FILLED"
        assert rig.quantity() == 0

    tell(tmp_path, story, in_one=False)


def test_a_reversal_in_two_accounts_goes_on_in_each_by_itself(tmp_path: Path) -> None:
    """Legs 1 and 2 close, 3 and 4 open; one account's fate is not the other's, and the alert tells of both."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        alert_id = await rig.accept(target="-3")
        first, second = await leg(rig, alert_id, 1, "PLACED"), await leg(rig, alert_id, 2, "PLACED")
        await fill(rig, first)
        opening = await leg(rig, alert_id, 3, "PLACED")
        assert opening.intent.account == "paper"
        broker = rig.broker_of("second")
        await broker.tell(broker.end(second.tag, second.status.REJECTED, "no"))
        await fill(rig, opening)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("failed", "BROKER_REJECTED")
        assert (rig.quantity(), rig.quantity(account="second")) == (-3, 5)
        assert len(rig.orders(alert_id)) == 3

    tell(tmp_path, story, in_one=False, **TWO)


def test_a_fault_with_the_second_half_ends_the_alert_without_it(tmp_path: Path) -> None:
    """Three attempts; what was sent stays sent, and the sentence does not say that nothing was."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        alert_id = await rig.accept(target="-3")
        closing = await leg(rig, alert_id, 1, "PLACED")
        rig.bridge.pipeline._instrument = lambda _symbol: None
        await fill(rig, closing)
        rig.clock.jump(seconds=2)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("failed", "INTERNAL")
        assert "opening half" in view.message
        assert rig.quantity() == 0
        rig.bridge.faults.clear()

    tell(tmp_path, story, in_one=False)


# -- cancels ----------------------------------------------------------------------------------------------------------


def test_a_cancel_withdraws_entries_that_still_wait_for_their_turn(tmp_path: Path) -> None:
    """Received before it, they would have had open orders by now; what comes after it is not meant."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        leaving = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        entry = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700")
        rig.broker.cancels.append("refuse")  # the exit itself is too far gone
        view = await rig.ended(await rig.accept(action="cancel"))
        assert (view.code, view.message[:2]) == ("CANCELS_SENT", "2 ")
        view = await rig.ended(entry)
        assert (view.disposition, view.code) == ("done", "CANCELLED_UNFILLED")
        later = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700", note="2")
        await fill(rig, leaving)
        await rig.order_in(later, "PLACED")
        assert rig.orders(entry) == []

    tell(tmp_path, story)


def test_a_cancel_withdraws_the_half_of_a_reversal_that_was_to_open(tmp_path: Path) -> None:
    """What closes is cancelled at the broker, or fills; nothing opens any more, and the alert tells of both."""

    async def story(rig: Rig) -> None:
        await hold(rig, 5)
        alert_id = await rig.accept(target="-3")
        closing = await leg(rig, alert_id, 1, "PLACED")
        rig.broker.cancels.append("refuse")
        await rig.ended(await rig.accept(action="cancel"))
        await fill(rig, closing)
        view = await rig.ended(alert_id)
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert "cancelled by alert" in view.message
        assert rig.quantity() == 0
        assert len(rig.orders(alert_id)) == 1

    tell(tmp_path, story, in_one=False)


# -- market orders that rest --------------------------------------------------------------------------------------------


def test_what_a_market_entry_did_not_fill_is_withdrawn_before_the_exit(tmp_path: Path) -> None:
    """Kite keeps it open as a limit order: it would open anew what the exit has closed."""

    async def story(rig: Rig) -> None:
        alert_id = await rig.accept(action="buy", quantity="100")
        entry = await rig.order_in(alert_id, "PLACED")
        await rig.broker.fill(entry.tag, 40)
        rig.clock.jump(seconds=11)
        rig.broker.fill_px = D(790)
        exit_id = await rig.accept(action="exit")
        assert (await rig.ended(exit_id)).code == "FILLED"
        assert (await rig.ended(alert_id)).code == "PARTLY_FILLED"
        assert [str(order.order_qty) for order in rig.orders(exit_id)] == ["40"]
        assert rig.quantity() == 0

    tell(tmp_path, story)


@pytest.mark.parametrize("wish", [{"action": "exit"}, {"target": "0"}], ids=["exit", "target"])
def test_an_exit_that_the_market_has_left_behind_is_withdrawn_for_the_next_one(tmp_path: Path, wish: dict[str, str]) -> None:
    """Its rest lies above the market as a limit order, and counted as closing all there is."""

    async def story(rig: Rig) -> None:
        await hold(rig, 10)
        first = await rig.order_in(await rig.accept(action="exit"), "PLACED")
        await rig.broker.fill(first.tag, 4)
        assert (await rig.ended(await rig.accept(action="exit", note="at once"))).code == "EXIT_IN_FLIGHT"
        rig.clock.jump(seconds=29)
        await rig.bridge.worker.tick()
        assert rig.alarms() == []
        rig.clock.jump(seconds=1)
        told = await until(rig.alarms, "the alarm")
        await rig.bridge.worker.tick()
        assert (
            told
            == rig.alarms()
            == [
                f"Exit {first.cl_ord_id} rests at the broker with 6 NSE:SBIN to close. Send the exit again, or see to it there."
            ]
        )
        rig.broker.fill_px = D(780)
        second = await rig.accept(**wish, note="later")
        assert (await rig.ended(second)).code == "FILLED"
        assert [str(order.order_qty) for order in rig.orders(second)] == ["6"]
        assert rig.quantity() == 0

    tell(tmp_path, story)
