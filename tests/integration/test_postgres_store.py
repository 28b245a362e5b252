"""What only PostgreSQL can do: lose its sessions, hold a second bridge off, and refuse what SQLite takes."""

import asyncio
from contextlib import closing
from typing import Any

import pytest

from bridge.core.errors import InvariantError, StoreError
from bridge.core.events import Reloaded
from bridge.core.reasons import AuditAction
from bridge.store.audit import verify_chain
from bridge.store.backend import Backend
from bridge.store.store import Store
from bridge.store.tx import Tx
from tests.support.clocks import NOON, StandingDay, StillClock
from tests.support.pictures import picture_of
from tests.support.plays import play
from tests.support.postgres import PostgresBox
from tests.support.samples import make_alert, make_claim
from tests.support.stores import KEY, look, opened, together
from tests.support.waiting import until_async

pytestmark = pytest.mark.postgres


def put_alert(tx: Tx, number: int) -> None:
    alert = make_alert(number)
    tx.put(tx.ledger.alerts, alert.alert_id, alert)
    tx.audit(AuditAction.ALERT_ACCEPTED, NOON, alert_id=alert.alert_id)


async def attempt(store: Store, number: int) -> bool:
    """True when the alert was written."""
    try:
        await store.write(lambda tx: put_alert(tx, number))
    except StoreError:
        return False
    return True


def test_a_second_bridge_on_the_database_is_refused_until_the_first_is_gone(postgres_url: str) -> None:
    """One writer per database, also when the two run on different machines."""

    async def story() -> None:
        async with opened(postgres_url):
            second = Store(postgres_url, KEY, StillClock())
            with pytest.raises(StoreError, match="another bridge"):
                await asyncio.to_thread(second.open)
            second.backend.engine.dispose()
        async with opened(postgres_url) as store:
            assert store.ledger.alerts.values == {}

    play(story)


def test_a_server_that_the_network_swallows_is_given_up_within_seconds(postgres_url: str) -> None:
    """The writer and the pages alike: a silent peer is asked after, and unanswered bytes do not wait for ever."""
    backend = Backend(postgres_url)
    with closing(backend.raw()) as raw, backend.engine.connect() as read:
        ours: list[Any] = [raw, read.connection.driver_connection]
        for connection in ours:
            patience = connection.info.get_parameters()
            silent_s = int(patience["keepalives_idle"]) + int(patience["keepalives_interval"]) * int(
                patience["keepalives_count"]
            )
            assert silent_s <= 15
            assert int(patience["tcp_user_timeout"]) <= 15_000
    backend.engine.dispose()


def test_a_cut_session_costs_a_refusal_and_is_taken_up_again(postgres_box: PostgresBox, postgres_url: str) -> None:
    """The server ends our session: the next group is refused, nothing is lost or doubled, and work goes on."""

    async def story() -> None:
        async with opened(postgres_url, StandingDay()) as store:
            assert await attempt(store, 1)
            before = picture_of(store.ledger)
            postgres_box.end_sessions(postgres_url)
            assert not await attempt(store, 2)
            assert picture_of(store.ledger) == before
            await until_async(lambda: attempt(store, 2), "the store to come back")
            assert any(isinstance(event, Reloaded) for event in store.seen)
            assert set(store.ledger.alerts.values) == {make_alert(1).alert_id, make_alert(2).alert_id}
            assert verify_chain(KEY, store.reads.audit_rows()) == (2, None)

    play(story)


def test_sessions_cut_in_the_middle_of_load_lose_nothing_acknowledged(postgres_box: PostgresBox, postgres_url: str) -> None:
    """Whatever was told as written is there; whatever was refused can be sent again; the chain stays whole."""

    async def story() -> None:
        async with opened(postgres_url, StandingDay()) as store:
            written: set[str] = set()

            async def load(start: int) -> None:
                for number in range(start, start + 60):
                    alert_id = make_alert(number).alert_id
                    claim = make_claim(alert_id, alert_id)

                    def command(tx: Tx, n: int = number) -> None:
                        if tx.claimed is None:
                            put_alert(tx, n)

                    async def once(command: Any = command, claim: Any = claim) -> bool:
                        try:
                            await store.write(command, claim)
                        except StoreError:
                            return False
                        return True

                    await until_async(once)
                    written.add(alert_id)

            loads = [asyncio.create_task(load(start)) for start in range(0, 400, 100)]
            for _ in range(4):
                await until_async(lambda: _grown(written))
                await asyncio.to_thread(postgres_box.end_sessions, postgres_url)
            await asyncio.gather(*loads)
            stored = {row[0] for row in look(postgres_url, "SELECT alert_id FROM alerts")}
            assert written == stored == set(store.ledger.alerts.values)
            assert verify_chain(KEY, store.reads.audit_rows()) == (len(stored), None)

    seen = [0]

    async def _grown(written: set[str]) -> bool:
        if len(written) < min(seen[0] + 20, 240):
            return False
        seen[0] = len(written)
        return True

    play(story)


@pytest.mark.parametrize("bad", ["a\0b", "half \ud800 pair"])
def test_a_text_that_the_database_refuses_costs_only_its_own_command(postgres_url: str, bad: str) -> None:
    """SQLite takes NUL, PostgreSQL does not: one such text must not refuse its neighbours again and again."""

    async def story() -> None:
        async with opened(postgres_url) as store:
            told = await together(
                store,
                lambda tx: put_alert(tx, 1),
                lambda tx: tx.audit(AuditAction.ALARM_RAISED, NOON, message=bad),
                lambda tx: put_alert(tx, 2),
            )
            assert isinstance(told[1], (StoreError, InvariantError, UnicodeError)), told
            if isinstance(told[0], StoreError):  # the group may be refused once, not for ever
                await store.write(lambda tx: put_alert(tx, 1))
                await store.write(lambda tx: put_alert(tx, 2))
            assert len(look(postgres_url, "SELECT 1 FROM alerts")) == 2
            count, fault = verify_chain(KEY, store.reads.audit_rows())
            assert (count, fault) == (2, None)

    play(story)
