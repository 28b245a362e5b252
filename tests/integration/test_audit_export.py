"""The audit as it is handed out: by days and accounts, from both databases, with memory that does not grow with it."""

import asyncio
import tracemalloc
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bridge.core.audit_entry import AuditEntry
from bridge.core.reasons import AuditAction
from bridge.store import export
from bridge.store.backend import Backend
from bridge.store.migrate import upgrade
from bridge.store.reads import Reads
from bridge.store.tx import Tx
from tests.support.clocks import NOON
from tests.support.stores import fresh_sqlite, opened

FIRST, END = NOON - timedelta(days=1), NOON + timedelta(days=1)
ALERT, OTHER, REFUSED = "0A", "0B", "0C"


def tell(url: str, *records: tuple[datetime, dict[str, Any]]) -> None:
    """Put records into the audit, as the bridge does."""

    def write(tx: Tx) -> None:
        for at, fields in records:
            tx.audit(AuditAction.ALARM_RAISED, at, **fields)

    async def story() -> None:
        async with opened(url) as store:
            await store.write(write)

    asyncio.run(story())


def entries_of(url: str, **wanted: str) -> list[AuditEntry]:
    backend = Backend(url)
    try:
        return list(Reads(backend.engine).entries(FIRST, END, **wanted))
    finally:
        backend.engine.dispose()


@pytest.fixture
def url(database_url: str) -> str:
    backend = Backend(database_url)
    upgrade(backend)
    backend.engine.dispose()
    return database_url


def test_the_days_are_whole_and_pages_meet_without_a_seam(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first moment on, before the last, in the order of the chain, whatever a page holds."""
    monkeypatch.setattr(export, "PAGE_ROWS", 3)
    second = timedelta(microseconds=1)
    inside = [(FIRST, {"message": "first"})] + [(NOON, {"message": str(n)}) for n in range(7)]
    inside.append((END - second, {"message": "last"}))
    tell(url, (FIRST - second, {}), *inside, (END, {}))
    found = entries_of(url)
    assert [entry.message for entry in found] == [fields["message"] for _at, fields in inside]
    assert [entry.seq for entry in found] == list(range(2, 2 + len(inside)))
    assert {len(entry.hash) for entry in found} == {64}
    assert (found[0].at, found[0].meaning) == (FIRST, AuditAction.ALARM_RAISED.sentence)


def test_an_account_gets_what_concerns_it_or_everybody(url: str) -> None:
    """Not what is told of another account, nor the alerts that went to others alone."""
    tell(
        url,
        (NOON, {"alert_id": ALERT, "message": "went to both"}),
        (NOON, {"alert_id": ALERT, "account": "mine", "message": "mine"}),
        (NOON, {"alert_id": ALERT, "account": "theirs", "message": "theirs"}),
        (NOON, {"alert_id": OTHER, "message": "went to theirs"}),
        (NOON, {"alert_id": OTHER, "account": "theirs", "message": "theirs"}),
        (NOON, {"alert_id": REFUSED, "message": "refused"}),
        (NOON, {"message": "everybody"}),
    )
    assert [entry.message for entry in entries_of(url, account="mine")] == ["went to both", "mine", "refused", "everybody"]
    assert len(entries_of(url)) == 7


def test_memory_does_not_grow_with_the_audit(tmp_path: Path) -> None:
    """A page is held at once, not the years."""
    url = fresh_sqlite(tmp_path)
    backend = Backend(url)
    at, text = int(NOON.timestamp() * 1e6), "x" * 200
    raw = backend.raw()
    raw.execute("BEGIN")
    rows = ((n, at, "alarm_raised", "", "", "", "", text, "", b"h") for n in range(1, 8_001))
    raw.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    raw.execute("COMMIT")
    raw.close()
    entries = Reads(backend.engine).entries(FIRST, END)
    assert len(list(islice(entries, 1_500))) == 1_500  # what is loaded once is loaded
    tracemalloc.start()
    try:
        assert sum(1 for _entry in entries) == 6_500
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        backend.engine.dispose()
    assert peak < 4_000_000
