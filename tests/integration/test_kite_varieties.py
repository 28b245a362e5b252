"""Orders at Kite that are not plain: for the next session, in legs, for so many minutes."""

from decimal import Decimal
from pathlib import Path

import pytest

from bridge.sandbox.kite.values import Order
from tests.support.kite_bridge import Traded, hurry, tell
from tests.support.waiting import until

EVENING_H, NEXT_MORNING_H = 6, 65  # from Friday 10:30 to Friday 16:30, and from there to Monday 09:30


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


# -- for the next session -----------------------------------------------------------------------------------------------


def test_after_market_order_waits_over_the_weekend_and_fills_on_monday(tmp_path: Path) -> None:
    """It is placed on Friday evening, is no riddle on Saturday, and trades when the market opens."""

    async def story(it: Traded) -> None:
        it.rig.clock.jump(hours=EVENING_H)
        alert = await it.rig.accept(action="buy", quantity="10", variety="amo")
        await it.rig.order_in(alert, "PLACED")
        assert (it.placed().variety, it.placed().status) == ("amo", "AMO REQ RECEIVED")
        it.rig.clock.jump(hours=NEXT_MORNING_H)
        it.token.give(it.desk.log_in())
        await it.rig.bridge.reconciler.compare_twice("zerodha")
        assert it.open_orders() == ["PLACED"]
        it.desk.server.do(lambda box: box.book.open_market())
        assert (await it.rig.ended(alert)).code == "FILLED"
        assert [alarm for alarm in it.rig.alarms() if "not logged in" not in alarm] == []

    tell(tmp_path, story)


def test_after_market_order_is_cancelled_under_its_own_variety(tmp_path: Path) -> None:
    """Kite finds an order by variety and id."""

    async def story(it: Traded) -> None:
        it.rig.clock.jump(hours=EVENING_H)
        alert = await it.rig.accept(action="buy", quantity="10", variety="amo")
        await it.rig.order_in(alert, "PLACED")
        await it.rig.ended(await it.rig.accept(action="cancel"))
        await it.rig.order_in(alert, "CANCELLED")
        assert it.placed().status == "CANCELLED"

    tell(tmp_path, story)


def test_the_market_decides_which_variety_may_go(tmp_path: Path) -> None:
    """In trading hours no after-market order, after them nothing else; the answer names the other."""

    async def story(it: Traded) -> None:
        early = await it.rig.ended(await it.rig.accept(action="buy", quantity="1", variety="amo"))
        assert (early.disposition, early.code) == ("denied", "MARKET_OPEN")
        it.rig.clock.jump(hours=EVENING_H)
        late = await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        assert (late.disposition, late.code) == ("denied", "MARKET_CLOSED")
        assert '"variety": "amo"' in late.message
        assert it.at_kite() == []

    tell(tmp_path, story)


# -- in legs ------------------------------------------------------------------------------------------------------------


def fill_whole(it: Traded, leg: Order) -> None:
    it.desk.server.do(lambda box: box.book.fill(leg.order_id, leg.quantity, Decimal(800)))


def filled(it: Traded) -> int:
    return sum(leg.filled_quantity for leg in it.at_kite())


def test_iceberg_fills_leg_by_leg_as_one_order(tmp_path: Path) -> None:
    """Three legs at Kite, one order here; nobody takes them for an order placed three times."""

    async def story(it: Traded) -> None:
        terms = {"order_type": "LIMIT", "price": "800", "variety": "iceberg", "iceberg_legs": "3"}
        alert = await it.rig.accept(action="buy", quantity="10", **terms)
        await it.rig.order_in(alert, "PLACED")
        for _leg in (1, 2):
            leg = it.at_kite()[-1]
            assert (leg.variety, leg.quantity) == ("iceberg", 4)
            fill_whole(it, leg)
            await until(lambda: it.rig.orders(alert)[0].cum_qty == filled(it), "the leg's fill")
            await it.rig.bridge.reconciler.compare_twice("zerodha")
            assert it.open_orders() == ["PARTIAL"]
        fill_whole(it, it.at_kite()[-1])
        assert (await it.rig.ended(alert)).code == "FILLED"
        assert len(it.at_kite()) == 3
        assert [alarm for alarm in it.rig.alarms() if "not logged in" not in alarm] == []
        assert it.rig.orders(alert)[0].terms == "iceberg in 3 legs"

    tell(tmp_path, story)


def test_iceberg_is_cancelled_by_its_newest_leg(tmp_path: Path) -> None:
    """The first leg is long filled; what is cancelled is the one that works, and no other follows."""

    async def story(it: Traded) -> None:
        terms = {"order_type": "LIMIT", "price": "800", "variety": "iceberg", "iceberg_legs": "3"}
        alert = await it.rig.accept(action="buy", quantity="9", **terms)
        await it.rig.order_in(alert, "PLACED")
        it.fill(3, "800")
        await it.rig.order_in(alert, "PARTIAL")
        await it.rig.ended(await it.rig.accept(action="cancel"))
        order = await it.rig.order_in(alert, "CANCELLED")
        assert order.cum_qty == 3
        assert [str(leg.status) for leg in it.at_kite()] == ["COMPLETE", "CANCELLED"]

    tell(tmp_path, story)


# -- for minutes --------------------------------------------------------------------------------------------------------


def test_order_of_minutes_ends_when_they_are_over(tmp_path: Path) -> None:
    """Kite cancels it; here it ends as cancelled, with what was filled until then."""

    async def story(it: Traded) -> None:
        terms = {"order_type": "LIMIT", "price": "800", "time_in_force": "TTL", "validity_minutes": "5"}
        alert = await it.rig.accept(action="buy", quantity="10", **terms)
        await it.rig.order_in(alert, "PLACED")
        assert (it.placed().validity, it.placed().validity_ttl) == ("TTL", 5)
        it.fill(4, "800")
        await it.rig.order_in(alert, "PARTIAL")
        it.rig.clock.jump(minutes=5, seconds=1)
        order = await it.rig.order_in(alert, "CANCELLED")
        assert order.cum_qty == 4

    tell(tmp_path, story)
