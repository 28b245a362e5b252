"""A database with a long past: `python -m tests.bench.history FOLDER COUNT`.

The bridge itself works through a few hundred alerts; their rows are then written again and again under other times,
ids and hashes, oldest first, by direct inserts. So the rows are what the bridge writes, whatever its tables look like.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bridge.bootstrap import Bridge
from bridge.core.ids import fingerprint, make_alert_id, make_tag
from bridge.intake.verify import Delivery
from bridge.store.audit import AuditChain, AuditFields, AuditTuple
from bridge.vault import Vault
from tests.bench.bodies import Recipe, make_bodies
from tests.bench.setting import Place, make_place, make_token, tradable, wait_until_ended

# Half of the alerts become filled orders, in round trips; half find nothing to close.
ACTIONS = ("exit", "buy", "sell", "exit")
SYMBOLS = 25
SPACING_US = 3_000_000
DAY_US = 86_400_000_000
_TIME_CHARS, _TAG_TIME_CHARS = 10, 6
_TABLES = ("alerts", "claims", "orders", "fills", "trades", "paper_orders", "audit")
_TIMES = frozenset(
    {"received_at", "signal_at", "ended_at", "sent_at", "created_at", "updated_at", "transact_time", "opened_at",
     "closed_at", "placed_at", "at"}
)  # fmt: skip
Row = list[Any]


async def work_through(place: Place) -> None:
    """Let the bridge write the rows that are the pattern."""
    bridge = Bridge(place.settings())
    await bridge.start()
    token, symbols = make_token(place), tradable(place)[:SYMBOLS]
    for part in range(len(ACTIONS)):
        recipe = Recipe(token=token, actions=[ACTIONS[part]], symbols=symbols, first=part * SYMBOLS)
        bodies = list(make_bodies(recipe, SYMBOLS))
        answers = await asyncio.gather(*(bridge.pipeline.accept(_delivery(body)) for body in bodies))
        assert all(answer.http_status == 200 for answer in answers), answers[0]
        await asyncio.to_thread(wait_until_ended, place)
    await bridge.stop()


def _delivery(body: bytes) -> Delivery:
    return Delivery(body=body, headers={}, path_token=None, peer="127.0.0.1", received_at=datetime.now(UTC))


@dataclass(frozen=True)
class Pattern:
    """The rows of one table; the columns by position are what changes from one copy to the next."""

    name: str
    columns: list[str]
    rows: list[Row]

    def where(self, *names: str) -> list[int]:
        """Positions of the columns of these names that the table has."""
        return [self.columns.index(name) for name in names if name in self.columns]


def read_patterns(connection: sqlite3.Connection) -> dict[str, Pattern]:
    """The rows that the bridge wrote, by table, the audit without what is about no alert."""
    patterns = {}
    for name in _TABLES:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        where = "WHERE alert_id <> '' ORDER BY seq" if name == "audit" else "ORDER BY rowid"
        rows = [list(row) for row in connection.execute(f"SELECT * FROM {name} {where}")]
        patterns[name] = Pattern(name, columns, rows)
        connection.execute(f"DELETE FROM {name}")
    return patterns


class Copier:
    """Writes the pattern once per call, moved in time."""

    def __init__(self, patterns: dict[str, Pattern], chain: AuditChain):
        self._patterns = patterns
        self._chain = chain
        self._numbers = 0
        alerts = patterns["alerts"]
        self._old = {row[0]: row[alerts.columns.index("received_at")] for row in alerts.rows}
        self._earliest = min(self._old.values())
        self._inserts = {
            name: f"INSERT INTO {name} VALUES ({','.join('?' * len(pattern.columns))})" for name, pattern in patterns.items()
        }
        self._steps: dict[str, list[tuple[int, Callable[[Any], Any]]]] = {}

    def write(self, connection: sqlite3.Connection, start_us: int) -> None:
        """Insert one copy that begins at `start_us`."""
        shift = start_us - self._earliest
        block = int.from_bytes(fingerprint(str(start_us).encode()), "big")
        self._ids = self._new_ids(start_us)
        for name, pattern in self._patterns.items():
            if name != "audit":
                changes = self._changes(pattern, shift, block, start_us)
                connection.executemany(self._inserts[name], [self._copy(row, changes) for row in pattern.rows])
        connection.executemany(self._inserts["audit"], self._audit(shift))

    def _new_ids(self, start_us: int) -> dict[str, str]:
        """Alerts of the copy are spaced evenly; the part of an id that is no time stays."""
        ids = {}
        for number, old in enumerate(self._old):
            at = datetime.fromtimestamp((start_us + number * SPACING_US) / 1e6, UTC)
            ids[old] = make_alert_id(at, b"0" * 10)[:_TIME_CHARS] + old[_TIME_CHARS:]
        return ids

    def _changes(self, pattern: Pattern, shift: int, block: int, start_us: int) -> list[tuple[int, Callable[[Any], Any]]]:
        base = self._numbers = self._numbers + 1
        tag_time = make_tag("", datetime.fromtimestamp(start_us / 1e6, UTC))[:_TAG_TIME_CHARS]
        rules: list[tuple[tuple[str, ...], Callable[[Any], Any]]] = [
            (("alert_id",), lambda old: self._ids[old]),
            (("cl_ord_id", "trade_id"), self._prefixed),
            (("tag",), lambda old: tag_time + old[_TAG_TIME_CHARS:]),
            (("broker_order_id", "exec_id"), lambda old: old and f"{base:06d}{old[6:]}"),
            (("key",), lambda old: (int.from_bytes(old, "big") ^ block).to_bytes(16, "big")),
            (("bucket",), lambda _old: start_us // DAY_US),
            (tuple(_TIMES), lambda old: old and old + shift),
        ]
        return [(at, change) for names, change in rules for at in pattern.where(*names)]

    def _prefixed(self, old: str) -> str:
        return self._ids[old[:26]] + old[26:]

    @staticmethod
    def _copy(row: Row, changes: list[tuple[int, Callable[[Any], Any]]]) -> Row:
        copy = row.copy()
        for at, change in changes:
            copy[at] = change(copy[at])
        return copy

    def _audit(self, shift: int) -> list[AuditTuple]:
        ids, records = self._ids, list[AuditFields]()
        for row in self._patterns["audit"].rows:
            order = self._prefixed(row[4]) if row[4] else ""
            records.append((row[1] + shift, row[2], ids[row[3]], order, *row[5:9]))
        rows = self._chain.link(records)
        self._chain.advance(rows)
        return rows


def build(folder: Path, count: int) -> Place:
    """Fill a new folder with a past of `count` alerts that ended yesterday."""
    place = make_place(folder, writer="thread")
    asyncio.run(work_through(place))
    key = Vault(place.settings()).key("audit")
    with closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        patterns = read_patterns(connection)
        copier, size = Copier(patterns, AuditChain(key)), len(patterns["alerts"].rows)
        blocks = -(-count // size)
        first_us = time.time_ns() // 1000 - DAY_US - blocks * size * SPACING_US
        for block in range(blocks):
            copier.write(connection, first_us + block * size * SPACING_US)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
    with place.database.open("rb") as file:
        os.fsync(file.fileno())
    return place


def main() -> None:
    """Build what is named."""
    began = time.monotonic()
    place = build(Path(sys.argv[1]), int(sys.argv[2]))
    told = {"seconds": round(time.monotonic() - began, 1), "bytes": place.database.stat().st_size}
    print(json.dumps(cast("dict[str, Any]", told)), flush=True)


if __name__ == "__main__":
    main()
