"""The risk engine at work in the pipeline: halts that rules set, orders made smaller, days that turn."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.clock import market_day
from bridge.core.enums import OutcomeKind, TradingMode
from bridge.core.market import Mark
from bridge.core.report import Outcome
from bridge.core.scope import account_scope, strategy_scope
from bridge.execution.throttle import Throttle
from bridge.store.tx import Tx
from tests.integration.test_pipeline_flows import tell, tell_on_paper
from tests.support.rigs import NO_CHARGES, Rig
from tests.support.samples import SBIN
from tests.support.scripted_broker import SLOW
from tests.support.waiting import until


def with_risk(**limits: Any) -> dict[str, Any]:
    return {"accounts": {"paper": {**NO_CHARGES, "risk": {"profile": "none", **limits}}}}


def test_a_reversal_over_a_limit_is_capped_at_what_closes(tmp_path: Path) -> None:
    """Sell 20 from long 10 where 12 is the most: the closing ten leave, the opening ten do not."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        alert_id = await rig.accept(target="-10")
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert "intent_capped" in rig.step_names(alert_id)
        assert [order.order_qty for order in rig.orders(alert_id)] == [10]
        assert rig.quantity() == 0

    tell_on_paper(tmp_path, story, **with_risk(max_order_qty="12"))


def put_mark(tx: Tx, mark: Mark) -> None:
    tx.put(tx.ledger.marks, mark.symbol, mark)


def test_an_alerts_own_price_is_no_way_past_a_limit_where_a_feed_tells_the_price(tmp_path: Path) -> None:
    """One from another chart would make a large order a small one. Of an older price the alert knows more."""

    async def story(rig: Rig) -> None:
        for source, age_s, code in (("feed", 2, "MAX_ORDER_VALUE"), ("feed", 61, "FILLED"), ("alert", 2, "FILLED")):
            mark = Mark(symbol=SBIN, price=Decimal(800), at=rig.clock.now() - timedelta(seconds=age_s), source=source)
            await rig.bridge.store.write(partial(put_mark, mark=mark))
            told = await rig.ended(await rig.accept(action="buy", quantity="300", price="10", note=f"{source} {age_s}"))
            assert told.code == code, (source, age_s)

    tell_on_paper(tmp_path, story, **with_risk(max_order_value="200000"))


def test_while_halted_a_reversal_only_closes(tmp_path: Path) -> None:
    """REDUCING lets the exit in a reversal out: a trader who halted is not kept in the position."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(action="buy", quantity="10"))
        await rig.halt()
        await rig.ended(await rig.accept(action="sell", quantity="25"))
        assert rig.quantity() == 0

    tell_on_paper(tmp_path, story)


def test_the_days_loss_halts_the_account_until_a_person_resumes_it(tmp_path: Path) -> None:
    """The limit denies the entry and sets the account REDUCING; a resume alone does not forget the loss."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(action="buy", quantity="10", price="800"))
        await rig.ended(await rig.accept(action="exit", price="700"))
        denied = await rig.ended(await rig.accept(action="buy", quantity="1", price="700"))
        assert (denied.disposition, denied.code) == ("denied", "MAX_DAILY_LOSS")
        assert rig.ledger.states.get(account_scope("paper")).mode is TradingMode.REDUCING
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="701"))).code == "HALTED"
        await rig.resume(account_scope("paper"))
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="702"))).code == "MAX_DAILY_LOSS"

    tell_on_paper(tmp_path, story, **with_risk(max_daily_loss="1000"))


def test_a_strategys_own_loss_halts_only_that_strategy(tmp_path: Path) -> None:
    """The other strategy of the same account trades on."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(action="buy", quantity="10", price="800"))
        await rig.ended(await rig.accept(action="exit", price="700"))
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="700"))).code == "MAX_DAILY_LOSS"
        assert rig.ledger.states.get(strategy_scope("demo")).mode is TradingMode.REDUCING
        assert rig.ledger.states.get(account_scope("paper")).mode is TradingMode.ACTIVE
        other = await rig.accept(action="buy", quantity="1", price="700", strategy="calm")
        assert (await rig.ended(other)).code == "FILLED"

    strategies = {
        "demo": {"accounts": ["paper"], "product": "MIS", "risk": {"max_daily_loss": "1000"}},
        "calm": {"accounts": ["paper"], "product": "MIS"},
    }
    tell_on_paper(tmp_path, story, strategies=strategies)


@pytest.mark.parametrize(("late", "left", "code"), [(4, 6, "FILLED"), (10, 0, "FLAT")])
def test_an_exit_that_waited_closes_only_what_is_still_there(tmp_path: Path, late: int, left: int, code: str) -> None:
    """The position shrank by a late fill while the exit was held up: it is made smaller, or withdrawn when nothing is left."""

    async def story(rig: Rig) -> None:
        entry = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PLACED")
        await rig.broker.fill(entry.tag, 10, 800)
        ended = await rig.accept(action="exit", quantity=str(late), order_type="LIMIT", price="900")
        resting = await rig.order_in(ended, "PLACED")
        await rig.broker.tell(rig.broker.end(resting.tag, resting.status.CANCELLED))
        await rig.ended(ended)
        rig.broker.connected = False
        alert_id = await rig.accept(action="exit")
        await rig.order_in(alert_id, "NEW")
        await rig.broker.fill(resting.tag, late, 900)
        rig.broker.connected = True
        if left:
            order = await rig.order_in(alert_id, "PLACED")
            assert order.intent.order_qty == Decimal(left)
            await rig.broker.fill(order.tag, left, 800)
        assert (await rig.ended(alert_id)).code == code
        assert rig.quantity() == 0
        assert any("after the order had ended" in alarm for alarm in rig.alarms())

    tell(tmp_path, story)


def test_a_new_day_counts_only_its_own_profit_and_loss(tmp_path: Path) -> None:
    """Yesterday's loss, booked or on paper, is not today's: the limit starts anew at midnight in India."""

    async def story(rig: Rig) -> None:
        await rig.ended(await rig.accept(action="buy", quantity="10", price="800"))
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="650"))).code == "MAX_DAILY_LOSS"
        await rig.resume(account_scope("paper"))
        rig.clock.jump(hours=24)
        await until(lambda: rig.ledger.days.get("paper").day == market_day(rig.clock.now()), "the new day")
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="649"))).code == "FILLED"
        account = next(view for view in rig.bridge.accounts() if view.name == "paper")
        assert account.day_pnl == Decimal(-10)

    tell_on_paper(tmp_path, story, **with_risk(max_daily_loss="1000"))


# -- faults of our own, each contained where it happens ---------------------------------------------------------------


def test_a_waiting_alert_that_failed_is_not_taken_up_again(tmp_path: Path) -> None:
    """Three faults end it; an order that closes later must not bring it back to life."""

    async def story(rig: Rig) -> None:
        entry = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PLACED")
        leaving = await rig.accept(action="exit")
        known = rig.bridge.pipeline._instrument

        def broken(_symbol: str) -> Any:
            raise RuntimeError("a bug")

        rig.bridge.pipeline._instrument = broken
        for _ in range(4):
            rig.clock.jump(seconds=2)
            await rig.bridge.worker.tick()
        assert (await rig.ended(leaving)).code == "INTERNAL"
        rig.bridge.pipeline._instrument = known
        await rig.broker.fill(entry.tag, 10, 800)
        await rig.bridge.worker.tick()
        assert rig.orders(leaving) == []
        assert len(rig.broker.sent) == 1

    tell(tmp_path, story)


def test_a_fault_at_the_last_gate_does_not_strand_the_order(tmp_path: Path) -> None:
    """The lane forgets an order whose grant failed, and the worker's sweep brings it back."""

    async def story(rig: Rig) -> None:
        rig.broker.connected = False
        alert_id = await rig.accept(action="buy", quantity="10")
        await rig.order_in(alert_id, "NEW")
        lane, faults = rig.bridge.lanes["paper"], iter([RuntimeError("a bug")])
        grant = lane._grant

        def fails_once(*given: Any, **named: Any) -> Any:
            for fault in faults:
                raise fault
            return grant(*given, **named)

        lane._grant = fails_once  # type: ignore[method-assign]
        rig.broker.connected = True
        order = await rig.order_in(alert_id, "PLACED")
        assert len(rig.broker.sent) == 1
        await rig.broker.fill(order.tag, 10, 800)
        assert (await rig.ended(alert_id)).code == "FILLED"

    tell(tmp_path, story)


def test_a_resume_does_not_open_what_was_halted_while_it_was_written(tmp_path: Path) -> None:
    """Two people at once: the halt that comes while a resume is on its way stays in force."""

    async def story(rig: Rig) -> None:
        await rig.halt()
        resuming = asyncio.ensure_future(rig.resume())
        await asyncio.sleep(0)
        await rig.halt()
        await resuming
        assert (await rig.ended(await rig.accept(action="buy", quantity="10"))).code == "HALTED"
        assert rig.bridge.gate._modes

    tell(tmp_path, story)


def test_a_clock_that_was_set_back_does_not_hold_a_lane_up() -> None:
    """The throttle begins anew instead of waiting for the old time to come again."""
    throttle, noon = Throttle(1), datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
    assert throttle.take(noon) == 0
    assert 0 < throttle.take(noon) <= 1
    assert throttle.take(noon - timedelta(hours=1)) == 0


def test_an_answer_that_comes_late_does_not_end_a_later_send(tmp_path: Path) -> None:
    """What an earlier send came to says nothing of an order that is on its way a second time."""

    async def story(rig: Rig) -> None:
        rig.broker.answers.append(SLOW)
        order = await rig.order_in(await rig.accept(action="buy", quantity="10"), "PENDING")
        earlier = replace(order, sends=order.sends - 1)
        not_sent = Outcome(kind=OutcomeKind.NOT_SENT, message="refused connection")
        await rig.bridge.store.write(lambda tx: rig.bridge.pipeline.apply_outcome(tx, earlier, not_sent, rig.clock.now()))
        assert rig.ledger.orders.get(order.cl_ord_id).status == "PENDING"
        await rig.bridge.store.write(lambda tx: rig.bridge.pipeline.apply_outcome(tx, order, not_sent, rig.clock.now()))
        assert rig.ledger.orders.get(order.cl_ord_id).status == "NEW"
        rig.broker.released.set()

    tell(tmp_path, story)
