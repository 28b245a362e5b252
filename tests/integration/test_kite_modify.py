"""Orders changed at Kite: the documented way of a change, answers that are lost, and the twenty-fifth."""

from decimal import Decimal
from pathlib import Path

import pytest

from bridge.brokers.kite.limits import MAX_REPLACES
from bridge.core.order import Order as OurOrder
from tests.support.kite_bridge import Traded, hurry, tell
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr("bridge.execution.reconcile.LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr("bridge.execution.changes.AGAIN_S", 0.1)


async def resting(it: Traded, **fields: str) -> OurOrder:
    """An order that works at Kite."""
    fields = {"order_type": "LIMIT", "price": "800", "quantity": "10", "action": "buy", **fields}
    return await it.rig.order_in(await it.rig.accept(**fields), "PLACED")


async def modify(it: Traded, **fields: str | None) -> str:
    return await it.rig.accept(action="modify", **{"price": None, **fields})


def test_an_order_is_changed_filled_in_part_and_changed_again(tmp_path: Path) -> None:
    """A success of the request is not yet the change: the row of the book is."""

    async def story(it: Traded) -> None:
        known = await resting(it)
        assert (await it.rig.ended(await modify(it, price="801", quantity="12"))).code == "MODIFIED"
        row = it.placed()
        assert (row.price, row.quantity, row.modifications, row.tag) == (Decimal(801), 12, 1, known.tag)
        it.fill(4, "801")
        await it.rig.order_in(known.intent.alert_id, "PARTIAL")
        assert (await it.rig.ended(await modify(it, quantity="3"))).code == "NOT_MODIFIABLE"
        assert (await it.rig.ended(await modify(it, price="802"))).code == "MODIFIED"
        it.fill(8, "802")
        assert "12 filled" in (await it.rig.ended(known.intent.alert_id)).message

    tell(tmp_path, story)


def test_a_stop_is_trailed(tmp_path: Path) -> None:
    """SL-M needs its protection with each change too."""

    async def story(it: Traded) -> None:
        it.desk.price("812.5")
        known = await resting(it, order_type="SL-M", trigger_price="790", price=None, action="sell")  # type: ignore[arg-type]
        for trigger in ("795", "800"):
            assert (await it.rig.ended(await modify(it, trigger_price=trigger))).code == "MODIFIED"
        assert it.placed().trigger_price == Decimal(800)
        it.desk.price("799")
        assert (await it.rig.ended(known.intent.alert_id)).code == "FILLED"

    tell(tmp_path, story)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "_400_timed_out_after", "_502_before", "_429"])
def test_an_answer_that_is_lost_leaves_no_doubt(tmp_path: Path, fault: str) -> None:
    """It is asked again; the book shows what Kite has."""

    async def story(it: Traded) -> None:
        known = await resting(it)
        it.desk.faults("orders", **{fault: 1})
        assert (await it.rig.ended(await modify(it, price="803"))).code == "MODIFIED"
        assert it.placed().price == Decimal(803)
        assert it.rig.ledger.orders.get(known.cl_ord_id).intent.price == Decimal(803)

    tell(tmp_path, story)


def test_after_twenty_five_changes_the_order_is_placed_anew(tmp_path: Path) -> None:
    """Kite would refuse the next one; what was filled is not ordered again."""

    async def story(it: Traded) -> None:
        known = await resting(it, price="780")
        for number in range(1, MAX_REPLACES + 1):
            assert (await it.rig.ended(await modify(it, price=f"{780 + number}"))).code == "MODIFIED"
        assert it.placed().modifications == MAX_REPLACES
        it.fill(4, "805")
        await it.rig.order_in(known.intent.alert_id, "PARTIAL")
        change = await modify(it, price="806")
        anew = await it.rig.order_in(change, "PLACED")
        assert (anew.intent.order_qty, anew.intent.price) == (Decimal(6), Decimal(806))
        assert (await it.rig.ended(known.intent.alert_id)).code == "PARTLY_FILLED"
        statuses = sorted((str(row.status), row.quantity, row.filled_quantity) for row in it.at_kite())
        assert statuses == [("CANCELLED", 10, 4), ("OPEN", 6, 0)]

    tell(tmp_path, story)


def test_a_change_in_kites_own_app_is_followed(tmp_path: Path) -> None:
    async def story(it: Traded) -> None:
        known = await resting(it)
        ident = it.placed().order_id
        it.desk.server.do(lambda box: box.book.modify(ident, {"price": "790", "quantity": "15"}))
        await until(lambda: it.placed().quantity == 15, "the change")
        it.rig.clock.jump(seconds=6)
        for _ in range(2):
            await it.rig.bridge.reconciler.compare("zerodha")
        now = it.rig.ledger.orders.get(known.cl_ord_id)
        assert (now.intent.order_qty, now.intent.price) == (Decimal(15), Decimal(790))
        assert (await it.rig.ended(await it.rig.accept(action="cancel"))).code == "CANCELS_SENT"
        await it.rig.order_in(known.intent.alert_id, "CANCELLED")

    tell(tmp_path, story)
