"""A recorded paper day replayed: the same decisions, and another limit shows what it would have changed."""

import asyncio

import pytest

from bridge.market.instruments import read_list
from bridge.replay.alerts import read_recorded, replay_alerts
from bridge.replay.run import ReplayError
from tests.support.clocks import RunningClock
from tests.support.rigs import NO_CHARGES, WatchedBridge, make_settings, running
from tests.support.samples import SBIN

INFY = "NSE:INFY"
# Alerts of a day: seconds since the one before, and what they say.
DAY = (
    (0, {"action": "buy", "quantity": "9000", "price": "812"}),
    (20, {"action": "buy", "quantity": "10", "price": "812.5"}),
    (5, {"action": "buy", "quantity": "10", "price": "813", "symbol": INFY}),
    (0.2, {"action": "sell", "quantity": "25", "price": "812", "symbol": SBIN}),
    (40, {"action": "buy", "quantity": "15", "price": "812"}),
    (3, {"action": "buy", "quantity": "5", "order_type": "LIMIT", "price": "700"}),
    (30, {"action": "cancel"}),
    (1, {"target": "7", "price": "815", "symbol": INFY}),
    (90, {"action": "exit", "price": "811"}),
    (0.1, {"action": "exit", "price": "811"}),
    (60, {"action": "exit", "symbol": INFY, "price": "816"}),
    (2, {"action": "buy", "quantity": "3", "symbol": INFY, "price": None}),
)  # fmt: skip
LIMITS = {"profile": "none", "max_order_qty": 1000}


def settings_of(folder, **risk):
    account = {**NO_CHARGES, "slippage_bps": "5"}
    return make_settings(folder, accounts={"paper": account}, risk=LIMITS | risk)


@pytest.fixture(scope="module")
def recorded_day(tmp_path_factory):
    """What a paper bridge wrote down of the day; its clock is set forward between the alerts."""
    folder = tmp_path_factory.mktemp("day")
    settings = settings_of(folder)

    async def live():
        clock = RunningClock()
        bridge = WatchedBridge(settings, clock)
        async with running(bridge, clock) as rig:
            for wait_s, fields in DAY:
                clock.jump(seconds=wait_s)
                alert_id = await rig.accept(**fields)
                if fields.get("order_type") != "LIMIT":
                    await rig.ended(alert_id)
            assert bridge.faults == []

    asyncio.run(live())
    return settings


def again(settings, rules):
    recorded, reads = read_recorded(settings.database.url, settings)
    return replay_alerts(rules, recorded, reads, read_list(settings.instruments))


def test_a_recorded_paper_day_gives_the_same_decisions(recorded_day):
    """Every alert ends as it did, with the same units filled; among them denials, a cancel and reversals."""
    outcome = again(recorded_day, recorded_day)
    assert outcome.faults == ()
    assert [(one.now, one.filled_now) for one in outcome.comparisons] == [
        (one.then, one.filled_then) for one in outcome.comparisons
    ]
    assert all(one.agrees for one in outcome.comparisons)
    kinds = {one.then for one in outcome.comparisons}
    assert {"done FILLED", "done CANCELLED_UNFILLED", "denied MAX_ORDER_QTY", "noop FLAT"} <= kinds
    assert again(recorded_day, recorded_day).journal == outcome.journal


def test_another_limit_shows_what_it_would_have_changed(recorded_day, tmp_path):
    """The replay is by the rules it is given: what these deny is told as a difference."""
    tighter = settings_of(tmp_path, max_order_qty=20)
    changed = [one for one in again(recorded_day, tighter).comparisons if not one.agrees]
    assert (changed[0].symbol, changed[0].action) == (SBIN, "sell")
    assert (changed[0].filled_then, changed[0].filled_now) == ({"paper": -25}, {"paper": -10})


def test_a_store_without_alerts_is_named(tmp_path):
    """There is nothing to replay, and the message says so."""
    settings = make_settings(tmp_path)

    async def start_and_stop():
        clock = RunningClock()
        async with running(WatchedBridge(settings, clock), clock):
            pass

    asyncio.run(start_and_stop())
    with pytest.raises(ReplayError, match="no accepted alert"):
        read_recorded(settings.database.url, settings)
