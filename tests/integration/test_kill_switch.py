"""The kill switch: one command blocks entries and cancels those that rest, at once, and as long as it is in force."""

from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.core.enums import TradingMode
from bridge.core.order_states import OrderStatus
from bridge.core.scope import GLOBAL, Scope, account_scope, strategy_scope
from tests.integration.test_pipeline_flows import tell
from tests.integration.test_stop import restart
from tests.support.rigs import NO_CHARGES, Rig
from tests.support.scripted_broker import LOST_BUT_THERE, REFUSE
from tests.support.waiting import until

TWO = {
    "accounts": {"paper": NO_CHARGES, "second": NO_CHARGES},
    "strategies": {"demo": {"accounts": ["paper"]}, "far": {"accounts": ["second"]}},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.01)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.03)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.01))


async def limit(rig: Rig, action: str = "buy", **fields: Any) -> str:
    """A limit order that rests at the broker; its alert's id."""
    told = {"action": action, "quantity": "10", "order_type": "LIMIT", "price": "800", **fields}
    alert_id = await rig.accept(**told)
    await rig.order_in(alert_id, OrderStatus.PLACED)
    return alert_id


async def filled(rig: Rig) -> None:
    alert_id = await rig.accept(action="buy", quantity="10")
    await rig.broker.fill((await rig.order_in(alert_id, OrderStatus.PLACED)).tag, 10)
    await rig.ended(alert_id)


@pytest.mark.parametrize("stop_all", [False, True])
def test_it_cancels_entries_and_lets_exits_rest(tmp_path: Path, stop_all: bool) -> None:
    """What can only close is what protects the position."""

    async def story(rig: Rig) -> None:
        await filled(rig)
        stop = await limit(rig, "exit", price="850", quantity="4")
        entry = await limit(rig)
        await rig.halt(stop_all=stop_all, cancel=True)
        order = next(o for o in rig.ledger.orders.values.values() if o.intent.alert_id == entry)
        assert order.status is not OrderStatus.PLACED  # asked for in the very commit of the halt
        assert (await rig.ended(entry)).code == "CANCELLED_UNFILLED"
        asked = next(step for step in rig.steps(entry) if step.step == "order_cancel_asked")
        assert asked.message == "halted (global) by test"
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "HALTED"
        await rig.order_in(stop, OrderStatus.PLACED)
        assert [o.tag for o in rig.broker.cancelled] == [order.tag]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("scope", "cancelled"),
    [(GLOBAL, [True, True]), (account_scope("paper"), [True, False]), (strategy_scope("far"), [False, True])],
)
def test_it_cancels_in_its_scope_only(tmp_path: Path, scope: Scope, cancelled: list[bool]) -> None:
    """One account or one strategy; what the others have resting stays."""

    async def story(rig: Rig) -> None:
        alerts = [await limit(rig), await limit(rig, strategy="far")]
        await rig.halt(scope, cancel=True)
        for alert_id, is_cancelled in zip(alerts, cancelled, strict=True):
            if is_cancelled:
                await rig.ended(alert_id)
        await until(lambda: len(rig.broker.cancelled) + len(rig.broker_of("second").cancelled) == sum(cancelled), "cancels")
        assert [rig.alert(alert_id).disposition is not None for alert_id in alerts] == cancelled

    tell(tmp_path, story, **TWO)


def test_a_plain_halt_leaves_at_the_broker_what_rests_there(tmp_path: Path) -> None:
    """A pause is not an emergency; the wish can be added while it is in force."""

    async def story(rig: Rig) -> None:
        alert_id = await limit(rig)
        await rig.halt()
        await rig.order_in(alert_id, OrderStatus.PLACED)
        await rig.halt(cancel=True)
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"

    tell(tmp_path, story)


def test_an_entry_whose_answer_was_lost_is_cancelled_when_it_turns_up(tmp_path: Path) -> None:
    """Nobody can cancel an order of which nobody knows; the halt remembers."""

    async def story(rig: Rig) -> None:
        rig.broker.book_readable = False
        rig.broker.answers.append(LOST_BUT_THERE)
        alert_id = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
        await rig.order_in(alert_id, OrderStatus.IN_DOUBT)
        await rig.halt(cancel=True)
        rig.broker.book_readable = True
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"
        assert len(rig.broker.cancelled) == 1

    tell(tmp_path, story)


def test_a_refused_cancel_is_asked_for_again_but_not_in_a_storm(tmp_path: Path) -> None:
    """Every ten seconds, for as long as the order rests."""

    async def story(rig: Rig) -> None:
        alert_id = await limit(rig)
        rig.broker.cancels.extend([REFUSE, REFUSE])
        await rig.halt(cancel=True)
        await until(lambda: len(rig.broker.cancelled) == 2, "the second try")
        await rig.order_in(alert_id, OrderStatus.PLACED)
        for _ in range(5):
            await rig.bridge.withdrawals.tick()
        assert len(rig.broker.cancelled) == 2
        rig.clock.jump(seconds=11)
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"
        assert len(rig.broker.cancelled) == 3

    tell(tmp_path, story)


def test_it_holds_after_a_restart(tmp_path: Path) -> None:
    """The next process cancels what the former one did not know of, and goes on denying entries."""

    async def before(rig: Rig) -> str:
        rig.broker.book_readable = False
        rig.broker.answers.append(LOST_BUT_THERE)
        alert_id = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
        await rig.order_in(alert_id, OrderStatus.IN_DOUBT)
        await rig.halt(cancel=True)
        rig.broker.book_readable = True
        await rig.bridge.stop()
        return alert_id

    async def after(rig: Rig, alert_id: str) -> None:
        assert (await rig.ended(alert_id)).code == "CANCELLED_UNFILLED"
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "HALTED"
        state = rig.ledger.states.get(GLOBAL)
        assert (state.mode, state.cancels) == (TradingMode.REDUCING, True)
        await rig.resume()
        await limit(rig)
        await rig.bridge.withdrawals.tick()
        assert len(rig.broker.cancelled) == 1

    restart(tmp_path, before, after)


def test_a_daily_loss_cancels_what_would_add_to_it(tmp_path: Path) -> None:
    """An entry that rests would go on adding exposure after the day has ended for its account."""

    async def story(rig: Rig) -> None:
        resting = await limit(rig, price="500")
        await filled(rig)
        alert_id = await rig.accept(action="exit")
        await rig.broker.fill((await rig.order_in(alert_id, OrderStatus.PLACED)).tag, 10, "700")
        await rig.ended(alert_id)
        assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "MAX_DAILY_LOSS"
        assert (await rig.ended(resting)).code == "CANCELLED_UNFILLED"

    account = {**NO_CHARGES, "risk": {"profile": "none", "max_daily_loss": "1000"}}
    tell(tmp_path, story, accounts={"paper": account})
