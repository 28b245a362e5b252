"""Reading the audit for somebody else: record by record with its alert, order and fill, a thousand at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, exists, or_, select, tuple_

from bridge.core.audit_entry import AuditEntry
from bridge.core.clock import from_us, to_us
from bridge.core.reasons import AuditAction
from bridge.store import tables
from bridge.store.sql import table_of

PAGE_ROWS = 1_000
_AUDIT = table_of(tables.AuditRow)
_ALERTS = table_of(tables.AlertRow)
_ORDERS = table_of(tables.OrderRow)
_FILLS = table_of(tables.FillRow)
_ALERT_COLUMNS = ("source", "credential", "body")
_ORDER_COLUMNS = (
    *("side", "product", "ord_type", "time_in_force", "order_qty", "price", "trigger_price", "tag", "broker_order_id"),
)
_ARRIVALS = (AuditAction.ALERT_ACCEPTED.value, AuditAction.ALERT_REFUSED.value)
_OF_FILLS = (AuditAction.ORDER_FILL.value, AuditAction.ORDER_LATE_FILL.value)


def read_entries(engine: Engine, first: datetime, end: datetime, account: str | None = None) -> Iterator[AuditEntry]:
    """Every record from `first` on and before `end`, in the order of the chain; no more than a page is held at once.

    With `account`, what concerns another account alone is left out: its records, and those of alerts that went only there.
    """
    wanted = and_(_AUDIT.c.at >= to_us(first), _AUDIT.c.at < to_us(end))
    if account is not None:
        wanted = and_(wanted, _concerns(account))
    after = 0
    while rows := _read_page(engine, wanted, after):
        fills = _read_fills(engine, rows)
        for row in rows:
            yield _entry(row, fills)
        after = rows[-1].seq


def _concerns(account: str) -> ColumnElement[bool]:
    other = _AUDIT.alias()
    of_alert = select(other.c.seq).where(other.c.alert_id == _AUDIT.c.alert_id)
    nobody_named = ~exists(of_alert.where(other.c.account != ""))
    return or_(
        _AUDIT.c.account == account,
        and_(
            _AUDIT.c.account == "",
            or_(_AUDIT.c.alert_id == "", nobody_named, exists(of_alert.where(other.c.account == account))),
        ),
    )


def _read_page(engine: Engine, wanted: ColumnElement[bool], after: int) -> Sequence[Any]:
    """The audit's own columns first: an alert and an order have some of the same names."""
    symbols = (_ALERTS.c.symbol.label("alert_symbol"), _ORDERS.c.symbol.label("order_symbol"))
    strategies = (_ALERTS.c.strategy.label("alert_strategy"), _ORDERS.c.strategy.label("order_strategy"))
    more = [*(_ALERTS.c[name] for name in _ALERT_COLUMNS), *(_ORDERS.c[name] for name in _ORDER_COLUMNS)]
    joined = _AUDIT.join(_ALERTS, _ALERTS.c.alert_id == _AUDIT.c.alert_id, isouter=True).join(
        _ORDERS, _ORDERS.c.cl_ord_id == _AUDIT.c.cl_ord_id, isouter=True
    )
    query = select(*_AUDIT.c, *symbols, *strategies, *more).select_from(joined)
    with engine.connect() as connection:
        return connection.execute(query.where(wanted, _AUDIT.c.seq > after).order_by(_AUDIT.c.seq).limit(PAGE_ROWS)).all()


def _read_fills(engine: Engine, rows: Sequence[Any]) -> Mapping[tuple[str, str], Any]:
    """The executions that records of fills tell of, by account and the broker's id of the execution."""
    keys = {(row.account, _exec_id(row)) for row in rows if row.action in _OF_FILLS}
    if not keys:
        return {}
    query = select(_FILLS).where(tuple_(_FILLS.c.account, _FILLS.c.exec_id).in_(sorted(keys)))
    with engine.connect() as connection:
        return {(fill.account, fill.exec_id): fill for fill in connection.execute(query)}


def _exec_id(row: Any) -> str:
    return str(json.loads(row.data).get("exec_id", "")) if row.data else ""


def _entry(row: Any, fills: Mapping[tuple[str, str], Any]) -> AuditEntry:
    facts: dict[str, Any] = {
        "symbol": row.order_symbol or row.alert_symbol or "",
        "strategy": row.order_strategy or row.alert_strategy or "",
        **{name: getattr(row, name) or "" for name in _ORDER_COLUMNS},
    }
    if row.action in _ARRIVALS:
        facts |= {name: getattr(row, name) or "" for name in _ALERT_COLUMNS}
    fill = fills.get((row.account, _exec_id(row))) if row.action in _OF_FILLS else None
    if fill is not None:
        facts |= {name: getattr(fill, name) for name in ("exec_id", "last_qty", "last_px", "charges")}
        facts["transact_time"] = from_us(fill.transact_time)
    return AuditEntry(
        seq=row.seq, at=from_us(row.at), action=row.action, meaning=AuditAction(row.action).sentence, account=row.account,
        alert_id=row.alert_id, cl_ord_id=row.cl_ord_id, code=row.code, message=row.message, data=row.data,
        hash=bytes(row.hash).hex(), **facts,
    )  # fmt: skip
