"""Reading the working set and the end of the audit chain, at start and after a lost connection."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.core.clock import IST, market_day, to_us
from bridge.core.enums import Action
from bridge.core.ids import make_alert_id
from bridge.core.ledger import ORDER_WINDOW, Ledger, newest_key
from bridge.store.audit import AuditChain
from bridge.store.mapping import RowMap
from bridge.store.sql import columns_of, table_of


def load_shelves(connection: Any, shelves: Mapping[str, Any], maps: Mapping[str, RowMap[Any, Any]], now: datetime) -> None:
    """Fill every shelf that has a table with what its map says is open."""
    midnight = now.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
    for name, rowmap in maps.items():
        shelf = shelves[name]
        where = rowmap.load_where.replace(":today_us", str(to_us(midnight))).replace(":today", str(market_day(now)))
        names = ", ".join(f'"{column}"' for column in columns_of(rowmap.table))
        sql = f'SELECT {names} FROM "{table_of(rowmap.table).name}"' + (f" WHERE {where}" if where else "")  # noqa: S608
        shelf.fill(dict(rowmap.decode(row) for row in connection.execute(sql).fetchall()))


def load_order_times(connection: Any, ledger: Ledger, now: datetime, mark: str) -> None:
    """Fill the rate windows with the orders of the last minute."""
    since = to_us(now - ORDER_WINDOW)
    # The primary key is time-ordered, so the latest orders are at its end; no index on created_at is needed.
    sql = (
        "SELECT created_at, account, strategy, symbol FROM "  # noqa: S608
        f"(SELECT part, created_at, account, strategy, symbol FROM orders ORDER BY cl_ord_id DESC LIMIT 5000) AS latest "
        f"WHERE created_at > {mark} AND part = 1 ORDER BY created_at"
    )
    ledger.forget_order_times()
    for created_at, account, strategy, symbol in connection.execute(sql, (since,)).fetchall():
        ledger.restore_order_time(account, strategy, symbol, created_at)


def load_newest(connection: Any, ledger: Ledger, rowmap: RowMap[Any, Any], since: datetime, mark: str) -> None:
    """Fill `newest`, `closings` and `cancels` with what was received after `since` and processed."""
    names = ", ".join(f'"{column}"' for column in columns_of(rowmap.table))
    sql = (
        f"SELECT {names} FROM alerts WHERE alert_id >= {mark} AND action IN ('exit', 'target', 'cancel') "  # noqa: S608
        "AND (disposition IS NULL OR disposition <> 'refused') AND code NOT IN ('INTERNAL', 'OVERTAKEN') ORDER BY alert_id"
    )
    for shelf in (ledger.newest, ledger.closings, ledger.cancels):
        shelf.values = {}
    first = make_alert_id(since, bytes(10))
    for alert_id, alert in map(rowmap.decode, connection.execute(sql, (first,)).fetchall()):
        is_processed = alert_id not in ledger.alerts.values or ledger.orders_of(alert)
        if not is_processed:
            continue
        if ledger.is_newest(alert):
            ledger.newest.set(newest_key(alert.signal), alert)
        for position in ledger.closings_of(alert):
            ledger.closings.set(position, alert)
        if alert.signal.action is Action.CANCEL and not alert.signal.order:
            for account in alert.signal.accounts:
                ledger.cancels.set((account, alert.signal.strategy, alert.signal.symbol), alert)


def load_chain(connection: Any, key: bytes) -> AuditChain:
    """The chain, at its end."""
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return AuditChain(key, row[0], bytes(row[1])) if row else AuditChain(key)
