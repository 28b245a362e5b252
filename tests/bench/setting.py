"""Where a bridge under test lives: its data folder, its settings, its token, and what its database holds afterwards."""

import csv
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from bridge.core.claims import Claims
from bridge.intake.tokens import KEY_ID, mint_token, token_keys
from bridge.settings import Settings, load_settings, resource_dir
from bridge.store.audit import AuditChain, verify_chain
from bridge.vault import Vault

CASH = 10**12
DRAIN_WITHIN_S = 60.0
# Every limit of the careful profile stays in force and is reckoned; none is reached.
WIDE_LIMITS: dict[str, Any] = {
    "profile": "careful",
    "max_order_qty": 10**9,
    "max_order_value": CASH,
    "max_position_qty": 10**9,
    "max_exposure": CASH,
    "max_open_positions": 1000,
    "max_orders_per_minute": None,  # the largest limit that can be held is below what this load sends
    "max_orders_per_minute_per_symbol": None,
}
_AUDIT = "SELECT seq, at, action, alert_id, cl_ord_id, account, code, message, data, hash FROM audit"


class WrongError(Exception):
    """The database does not hold what it should after a run: the numbers of that run mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One bridge's folder; `config` is its settings file."""

    folder: Path
    config: Path

    @property
    def database(self) -> Path:
        return self.folder / "bridge.db"

    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this bridge: nothing of the caller's own settings."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        return {**mine, "BRIDGE_CONFIG": str(self.config)}

    def settings(self) -> Settings:
        """The settings as that process reads them."""
        with _environment(self.environment()):
            return load_settings()


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def make_place(folder: Path, *, writer: str, careful: bool = False, port: int = 8000) -> Place:
    """A data folder with the settings of the bench; what is in it stays."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "bridge.yaml"
    tree = {
        "data_dir": str(folder),
        "server": {"port": port},
        "database": {"url": f"sqlite:///{folder / 'bridge.db'}", "writer": writer},
        "webhook": {"rate_per_minute": 1_000_000},
        "risk": WIDE_LIMITS if careful else {"profile": "none"},
        "accounts": {"paper": {"broker": "paper", "cash": CASH, "slippage_bps": 1, "session": "always"}},
        "strategies": {"bench": {"accounts": ["paper"], "product": "MIS"}},
        "instruments": str(resource_dir("config") / "instruments.csv"),
    }
    config.write_text(yaml.safe_dump(tree))
    return Place(folder=folder, config=config)


def make_token(place: Place) -> str:
    """A capability token as `bridge alert new` mints one, bounded by strategy, segment and quantity."""
    claims = Claims(
        key_id=KEY_ID,
        token_id="BENCH00001",
        strategy="bench",
        symbols=frozenset({"NSE:*"}),
        max_quantity=Decimal(100),
    )
    return mint_token(claims, token_keys(Vault(place.settings()))[KEY_ID])


def tradable(place: Place) -> list[list[str]]:
    """The shares of the list of instruments, each with a price."""
    with place.settings().instruments.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["instrument_type"], row["segment"]) == ("EQ", "NSE")]
    return [[f"NSE:{row['tradingsymbol']}", row["last_price"]] for row in rows]


# -- what the database says -------------------------------------------------------------------------------------------


def read(place: Place) -> "closing[sqlite3.Connection]":
    """The database for reading, beside whoever writes it."""
    return closing(sqlite3.connect(f"file:{place.database}?mode=ro", uri=True, isolation_level=None))


def wait_until_ended(place: Place) -> float:
    """Wait until no alert is open; the monotonic time at which that was seen."""
    until = time.monotonic() + DRAIN_WITHIN_S
    with read(place) as connection:
        while connection.execute("SELECT 1 FROM alerts WHERE disposition IS NULL LIMIT 1").fetchone():
            if time.monotonic() > until:
                raise WrongError(f"alerts are still open after {DRAIN_WITHIN_S:.0f} s")
            time.sleep(0.002)
    return time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point in the history of a database: what comes after it is one run's doing."""

    seq: int
    head: bytes
    at: int


def mark_of(place: Place) -> Mark:
    """The database as it is now."""
    with read(place) as connection:
        row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return Mark(seq=row[0] if row else 0, head=row[1] if row else bytes(32), at=time.time_ns() // 1000)


def check(place: Place, since: Mark, *, noops: int, fills: int) -> dict[str, int]:
    """Hold what the database holds since a mark against what was sent; WrongError names the first difference."""
    found = count_rows(place, since)
    wanted = {
        "alerts": noops + fills,
        "claims": noops + fills,
        "noop": noops,
        "done": fills,
        "orders_filled": fills,
        "orders_other": 0,
        "fills": fills,
        "filled_qty": fills,
        "paper_filled": fills,
    }
    for name, number in wanted.items():
        if found[name] != number:
            raise WrongError(f"{name} should be {number} and is {found[name]}: {found}")
    if found["position_qty"] != found["all_filled_qty"]:
        raise WrongError(f"the positions are not the sum of the fills: {found}")
    return {**found, "audit": check_chain(place, since)}


def count_rows(place: Place, since: Mark) -> dict[str, int]:
    """How many rows of each kind came since a mark."""
    queries = {
        "alerts": "SELECT count(*) FROM alerts WHERE received_at >= ?",
        "claims": "SELECT count(*) FROM claims WHERE received_at >= ?",
        "noop": "SELECT count(*) FROM alerts WHERE disposition = 'noop' AND received_at >= ?",
        "done": "SELECT count(*) FROM alerts WHERE disposition = 'done' AND received_at >= ?",
        "orders_filled": "SELECT count(*) FROM orders WHERE status = 'FILLED' AND created_at >= ?",
        "orders_other": "SELECT count(*) FROM orders WHERE status <> 'FILLED' AND created_at >= ?",
        "fills": "SELECT count(*) FROM fills WHERE transact_time >= ?",
        "filled_qty": "SELECT coalesce(sum(CAST(last_qty AS INTEGER)), 0) FROM fills WHERE transact_time >= ?",
        "paper_filled": "SELECT count(*) FROM paper_orders WHERE status = 'FILLED' AND placed_at >= ?",
    }
    signed = "sum(CASE side WHEN 'BUY' THEN 1 ELSE -1 END * CAST(last_qty AS INTEGER))"
    with read(place) as connection:
        found = {name: int(connection.execute(sql, (since.at,)).fetchone()[0]) for name, sql in queries.items()}
        found["position_qty"] = int(
            connection.execute("SELECT coalesce(sum(CAST(quantity AS INTEGER)), 0) FROM positions").fetchone()[0]
        )
        found["all_filled_qty"] = int(connection.execute(f"SELECT coalesce({signed}, 0) FROM fills").fetchone()[0])
    return found


def check_chain(place: Place, since: Mark) -> int:
    """Verify the audit chain, after a mark as the bridge itself would have gone on from there; the number of records."""
    key = Vault(place.settings()).key("audit")
    with read(place) as connection:
        if not since.seq:
            count, fault = verify_chain(key, connection.execute(f"{_AUDIT} ORDER BY seq"))
            if fault:
                raise WrongError(fault)
            return count
        chain, count = AuditChain(key, since.seq, since.head), 0
        for row in connection.execute(f"{_AUDIT} WHERE seq > ? ORDER BY seq", (since.seq,)):
            following = chain.link([row[1:9]])
            if following != [row]:
                raise WrongError(f"audit record {row[0]} does not follow from the one before it")
            chain.advance(following)
            count += 1
    return count


def times_to_end(place: Place, since: Mark, skipped: int) -> list[float]:
    """Seconds from receipt to the final disposition of every alert since a mark, but for the first few."""
    sql = "SELECT ended_at - received_at FROM alerts WHERE received_at >= ? AND disposition = 'done' ORDER BY alert_id"
    with read(place) as connection:
        return [row[0] / 1e6 for row in connection.execute(sql, (since.at,))][skipped:]
