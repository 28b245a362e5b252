"""The whole way of an alert on PostgreSQL: the same promises, also when the server cuts its sessions."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.errors import StoreError
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.postgres import PostgresBox
from tests.support.rigs import Rig, WatchedBridge, make_settings, running
from tests.support.stores import look
from tests.support.waiting import until, until_async

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.02)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.05)


def test_a_session_of_alerts_ends_as_it_does_on_sqlite(tmp_path: Path, postgres_url: str) -> None:
    """Buy, re-send, conflict, reversal, exit, noop, refusal, cancel, halt; then a restart on the same database."""

    async def story() -> None:
        clock = RunningClock()
        settings = make_settings(tmp_path, database={"url": postgres_url})
        async with running(WatchedBridge(settings, clock), clock) as rig:
            buy = await rig.delivery(action="buy", quantity="10", id="one")
            first = await rig.bridge.pipeline.accept(buy)
            assert (await rig.ended(first.alert_id)).code == "FILLED"
            assert (await rig.bridge.pipeline.accept(buy)).alert_id == first.alert_id
            assert (await rig.send(action="sell", quantity="10", id="one")).code == "E_CONFLICT"
            assert (await rig.ended(await rig.accept(target="-5"))).code == "FILLED"
            assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
            assert (await rig.ended(await rig.accept(action="exit", note="2"))).code == "FLAT"
            assert (await rig.send(action="hodl")).code == "E_FIELD"
            resting = await rig.accept(action="buy", quantity="1", order_type="LIMIT", price="700")
            await rig.order_in(resting, "PLACED")
            assert (await rig.ended(await rig.accept(action="cancel"))).code == "CANCELS_SENT"
            assert (await rig.ended(resting)).code == "CANCELLED_UNFILLED"
            await rig.halt()
            assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "HALTED"
            rig.check_books()
            assert rig.bridge.faults == []
        async with running(WatchedBridge(settings, clock), clock) as rig:
            assert (await rig.bridge.pipeline.accept(buy)).status == "duplicate"
            assert (await rig.ended(await rig.accept(action="buy", quantity="1"))).code == "HALTED"
            assert rig.quantity() == 0
            rig.check_books()

    play(story)


def test_sessions_cut_under_load_lose_and_double_nothing(tmp_path: Path, postgres_box: PostgresBox, postgres_url: str) -> None:
    """Every alert is sent until it is acknowledged, as TradingView would; each ends, with one paper order per tag."""

    async def story() -> None:
        clock = RunningClock()
        settings = make_settings(tmp_path, database={"url": postgres_url})
        async with running(WatchedBridge(settings, clock), clock) as rig:
            acknowledged: list[str] = []

            async def insist(number: int) -> None:
                kinds: tuple[dict[str, Any], ...] = ({"action": "buy", "quantity": "2"}, {"target": "-3"}, {"action": "exit"})
                delivery = await rig.delivery(n=number, **kinds[number % 3])

                async def once() -> str:
                    answer = await rig.bridge.pipeline.accept(delivery)
                    assert answer.http_status in (200, 503), answer.body
                    return answer.alert_id

                acknowledged.append(await until_async(once))

            async def sender(start: int) -> None:
                for number in range(start, start + 40):
                    await insist(number)

            await rig.token()
            senders = [asyncio.create_task(sender(start)) for start in (0, 100, 200)]
            for cut in range(1, 4):
                await until(partial(has_grown, acknowledged, cut * 25), "load")
                await asyncio.to_thread(postgres_box.end_sessions, postgres_url)
            await asyncio.gather(*senders)
            rig.clock.jump(seconds=11)

            async def all_ended() -> bool:
                rows = look(postgres_url, "SELECT COUNT(*) FROM alerts WHERE disposition IS NULL")
                return rows == [(0,)]

            await until_async(all_ended, "the end of every alert", 40)
            assert len(acknowledged) == 120
            stored = {row[0] for row in look(postgres_url, "SELECT alert_id FROM alerts")}
            assert set(acknowledged) == stored
            twice = look(postgres_url, "SELECT tag FROM paper_orders GROUP BY tag HAVING COUNT(*) > 1")
            assert twice == []
            await _check_agreement(rig)

    play(story)


def has_grown(found: list[str], size: int) -> bool:
    return len(found) >= size


async def _check_agreement(rig: Rig) -> None:
    async def told() -> Any:
        try:
            return await rig.bridge.desk.reconcile(by="test")
        except StoreError:
            return {"agree": False}

    async def agree() -> bool:
        return bool((await told())["agree"])

    await until_async(agree, "the books to agree")
    rig.check_books()
