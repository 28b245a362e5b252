"""The risk engine at work in the pipeline: halts that rules set, orders made smaller, days that turn."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.enums import TradingMode
from bridge.core.scope import account_scope, strategy_scope
from tests.integration.test_pipeline_flows import tell, tell_on_paper
from tests.support.rigs import NO_CHARGES, Rig


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
        await rig.bridge.worker.tick()
        assert (await rig.ended(await rig.accept(action="buy", quantity="1", price="649"))).code == "FILLED"
        account = next(view for view in rig.bridge.accounts() if view.name == "paper")
        assert account.day_pnl == Decimal(-10)

    tell_on_paper(tmp_path, story, **with_risk(max_daily_loss="1000"))
