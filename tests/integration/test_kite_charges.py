"""After the close Kite's word on the day's charges is held against our table of rates."""

from pathlib import Path

import pytest

from bridge.core.reasons import AuditAction
from bridge.core.views import StepView
from tests.support.kite_bridge import ACCOUNT, Traded, hurry, tell
from tests.support.waiting import until

AFTER_THE_CLOSE_H = 6  # 16:30 in India


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def trade(it: Traded) -> None:
    """A round trip in each of two products, and an order that never filled."""
    for product in ("MIS", "CNC"):
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="100", product=product))).code == "FILLED"
        assert (await it.rig.ended(await it.rig.accept(action="exit", product=product))).code == "FILLED"
    await it.rig.accept(action="buy", quantity="5", order_type="LIMIT", price="700")


async def checked(it: Traded) -> StepView:
    def look() -> StepView | None:
        found = it.rig.bridge.store.reads.recent([AuditAction.CHARGES_CHECKED])
        return found[0] if found else None

    step = await until(look, "the charges to be compared")
    assert step is not None
    return step


def charge_alarms(it: Traded) -> list[str]:
    return [alarm for alarm in it.rig.alarms() if "charges" in alarm]


def test_the_days_charges_agree_with_the_table(tmp_path: Path) -> None:
    """Two tables typed apart from each other, the vendor's shape between; told once a day, also over a restart."""

    async def story(it: Traded) -> None:
        await trade(it)
        assert it.rig.bridge.charge_check.due() == []  # the market is open
        it.rig.clock.jump(hours=AFTER_THE_CLOSE_H)
        step = await checked(it)
        assert step.account == ACCOUNT
        assert step.message.startswith("4 orders: ₹")
        assert charge_alarms(it) == []
        await it.rig.bridge.charge_check.check(ACCOUNT)
        assert len(it.rig.bridge.store.reads.recent([AuditAction.CHARGES_CHECKED])) == 1

    tell(tmp_path, story)


def test_a_rate_that_has_changed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alarm names the order with both numbers; our books stay as they are."""
    from bridge.sandbox.kite import charges

    dearer = charges._TABLE["intraday"]._replace(stamp=charges._TABLE["intraday"].stamp * 5)
    monkeypatch.setitem(charges._TABLE, "intraday", dearer)

    async def story(it: Traded) -> None:
        await trade(it)
        it.rig.clock.jump(hours=AFTER_THE_CLOSE_H)
        await checked(it)
        (alarm,) = charge_alarms(it)
        assert "charges of 1 of 4 orders differ from the table of rates: buy 100 NSE:SBIN MIS" in alarm

    tell(tmp_path, story)


def test_a_word_that_cannot_be_had_is_asked_for_again(tmp_path: Path) -> None:
    """Nothing is concluded from an answer that is none."""

    async def story(it: Traded) -> None:
        await trade(it)
        it.desk.faults("reads", _502_before=1_000)
        it.rig.clock.jump(hours=AFTER_THE_CLOSE_H)
        await until(lambda: [where for where, _error in it.rig.bridge.faults if where == "charges"], "a look that failed")
        it.desk.faults("reads", _502_before=0)
        assert it.rig.bridge.store.reads.recent([AuditAction.CHARGES_CHECKED]) == []
        it.rig.clock.jump(seconds=601)
        await checked(it)

    tell(tmp_path, story)
