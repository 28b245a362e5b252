"""Shares under CNC at Kite over several days: positions become holdings, and an exit sells what was bought."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.kite_bridge import ACCOUNT, Traded, hurry, tell
from tests.support.samples import SBIN
from tests.support.waiting import until

OVER_THE_WEEKEND_H = 72


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


async def buy(it: Traded, quantity: str = "10") -> None:
    assert (await it.rig.ended(await it.rig.accept(action="buy", quantity=quantity, product="CNC"))).code == "FILLED"


async def next_day(it: Traded, hours: int = OVER_THE_WEEKEND_H) -> None:
    """The same time some days later; the session has to be begun anew."""
    it.rig.clock.jump(hours=hours)
    it.token.give(it.desk.log_in())
    await until(lambda: it.broker.status().connected, "the account is connected")


async def look(it: Traded) -> Any:
    return await it.rig.bridge.reconciler.compare_twice(ACCOUNT)


def sell_by_hand(it: Traded, quantity: int) -> None:
    it.desk.buy(transaction_type="SELL", quantity=quantity, product="CNC", order_type="LIMIT", price="800")


def test_shares_bought_days_ago_are_sold_by_an_exit(tmp_path: Path) -> None:
    """From a position to T1 to a holding, and gone: books agree on each day, and no alarm is raised."""

    async def story(it: Traded) -> None:
        await buy(it)
        assert (await look(it)).drift == ()
        await next_day(it)
        assert (await look(it)).drift == ()
        (held,) = it.rig.bridge.holdings()
        assert [held.symbol, int(held.quantity), int(held.t1_quantity)] == [SBIN, 10, 10]
        await next_day(it, 48)
        assert (await look(it)).drift == ()
        assert it.rig.bridge.holdings()[0].t1_quantity == 0
        assert (await it.rig.ended(await it.rig.accept(action="exit", quantity="4", product="CNC"))).code == "FILLED"
        assert (await look(it)).drift == ()
        assert (await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))).code == "FILLED"
        compared = await look(it)
        assert (compared.drift, compared.message) == ((), "Orders and positions agree.")
        assert [alarm for alarm in it.rig.alarms() if "not logged in" not in alarm] == []

    tell(tmp_path, story)


def test_exit_sells_no_more_than_is_there(tmp_path: Path) -> None:
    """A person sold four by hand: that is told as a difference, and the exit is one of six, which Kite takes."""

    async def story(it: Traded) -> None:
        await buy(it)
        await next_day(it)
        sell_by_hand(it, 4)
        compared = await look(it)
        assert compared.drift[0][1].message == f"{SBIN}: we hold 10 CNC, the broker says 6 CNC."
        ended = await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))
        assert ended.code == "FILLED"
        assert [(order.quantity, str(order.status)) for order in it.at_kite()][-1] == (6, "COMPLETE")
        again = await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))
        assert (again.disposition, again.code) == ("denied", "POSITION_UNSURE")
        assert again.message.endswith("There is nothing to sell.")
        it.own_shares[SBIN] = -4  # ours by the books, and gone

    tell(tmp_path, story)


def test_shares_of_the_persons_own_are_shown_and_never_sold(tmp_path: Path) -> None:
    """They are no difference; an exit is a no-op and a sell is denied, both before they reach Kite."""

    async def story(it: Traded) -> None:
        it.own_shares[SBIN] = 100
        it.desk.server.do(lambda box: box.account.set_holding(SBIN, 100, Decimal(700)))
        assert (await look(it)).drift == ()
        assert [(held.symbol, int(held.quantity)) for held in it.rig.bridge.holdings()] == [(SBIN, 100)]
        flat = await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))
        assert (flat.disposition, flat.code) == ("noop", "FLAT")
        sold = await it.rig.ended(await it.rig.accept(action="sell", quantity="10", product="CNC"))
        assert (sold.disposition, sold.code) == ("denied", "SHORT_NOT_ALLOWED")
        assert "was not bought by the bridge" in sold.message
        assert it.at_kite() == []
        await buy(it)
        await next_day(it)
        assert (await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))).code == "FILLED"
        assert it.at_kite()[-1].quantity == 10

    tell(tmp_path, story)


def test_positions_are_unknown_while_holdings_cannot_be_read(tmp_path: Path) -> None:
    """An answer that fails is not an empty account."""

    async def story(it: Traded) -> None:
        await buy(it)
        await next_day(it)
        it.desk.faults("reads", json_list=1_000)
        compared = await it.rig.bridge.reconciler.compare(ACCOUNT)
        assert (compared.readable, compared.drift) == (False, ())
        it.desk.faults("reads", json_list=0)

    tell(tmp_path, story)
