"""Alerts from bytes to position in one process: paper and scripted brokers, everything else as it is in service."""

from pathlib import Path

from tests.support.clocks import RunningClock
from tests.support.rigs import WatchedBridge, make_settings, play, running


def test_a_buy_is_filled_and_its_resend_is_a_duplicate(tmp_path: Path):
    """One alert, one order; the same bytes again are told the first one's id."""

    async def story() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(make_settings(tmp_path), clock), clock) as rig:
            delivery = await rig.delivery(action="buy", quantity="10")
            first = await rig.bridge.pipeline.accept(delivery)
            again = await rig.bridge.pipeline.accept(delivery)
            assert (first.status, again.status, again.alert_id) == ("accepted", "duplicate", first.alert_id)
            view = await rig.ended(first.alert_id)
            assert (view.disposition, view.code) == ("done", "FILLED")
            assert [order.status for order in rig.orders()] == ["FILLED"]
            assert rig.quantity() == 10
            rig.check_books()

    play(story)
