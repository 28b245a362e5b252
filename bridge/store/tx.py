"""Tx: one group of commands on their way to disk; changes memory at once and can take every change back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import orjson

from bridge.core.alert import Alert, Claimed, Ending, RefusedAlert
from bridge.core.clock import to_us
from bridge.core.enums import Disposition
from bridge.core.errors import InvariantError
from bridge.core.events import AlarmRaised, Event
from bridge.core.fill import Fill
from bridge.core.ids import FINGERPRINT_BYTES, make_alert_id, make_cl_ord_id
from bridge.core.ledger import Ledger, Shelf
from bridge.core.order import Order
from bridge.core.reasons import AuditAction
from bridge.store import tables
from bridge.store.audit import AuditChain, AuditFields, AuditTuple
from bridge.store.mapping import RowMap, decode_order, encode_alert, encode_fill
from bridge.store.sql import MAX_ROWS, columns_of, delete_sql, end_alerts_sql, flatten, insert_sql, upsert_sql

K = TypeVar("K")
V = TypeVar("V")
Row = tuple[Any, ...]
Mark = tuple[int, int, int, int, int]
_GONE = object()


class AuditStep(NamedTuple):
    """One record of the audit, as far as a decision may rest on it."""

    action: AuditAction
    account: str
    code: str
    message: str


class Tx:
    """A transaction in the making. Commands run in it one after the other, in the writer's thread.

    `claimed` is the earlier alert that holds the running command's claim, None when the claim is won.
    """

    def __init__(self, ledger: Ledger, chain: AuditChain, maps: Mapping[str, RowMap[Any, Any]], connection: Any, mark: str):
        self.ledger = ledger
        self.claimed: Claimed | None = None
        self.events: list[Event] = []
        self.touched: set[str] = set()
        self._chain = chain
        self._maps = maps
        self._connection = connection
        self._param = mark
        self._undo: list[tuple[Any, ...]] = []
        self._dirty: dict[str, dict[Any, tuple[Any, Any]]] = {}
        self._deleted: list[tuple[str, Row]] = []
        self._fills: list[Row] = []
        self._refused: list[Row] = []
        self._endings: dict[str, Row] = {}
        self._audit: list[AuditFields] = []
        self._audit_rows: list[AuditTuple] = []

    # -- changes ------------------------------------------------------------------------------------------------------

    def put(self, shelf: Shelf[K, V], key: K, value: V | None, *, keep: bool = True) -> None:
        """Set a value in memory and in its table. `keep=False` writes the row and lets memory forget it; None deletes."""
        old = shelf.values.get(key)
        self._undo.append((shelf, key, old))
        shelf.set(key, value if keep else None)
        if shelf.volatile:
            return
        if value is None:
            if old is not None:
                self._mark_deleted(shelf.name, key, old)
            return
        dirty = self._dirty.get(shelf.name)
        if dirty is None:
            dirty = self._dirty[shelf.name] = {}
        keyed_by = self._maps[shelf.name].keyed_by
        row_key = key if keyed_by is None else keyed_by(value)
        self._undo.append((dirty, row_key, dirty.get(row_key, _GONE)))
        dirty[row_key] = (key, value)

    def _mark_deleted(self, name: str, key: Any, old: Any) -> None:
        keyed_by = self._maps[name].keyed_by
        row_key = key if keyed_by is None else keyed_by(old)
        dirty = self._dirty.setdefault(name, {})
        if row_key in dirty:
            self._undo.append((dirty, row_key, dirty.pop(row_key)))
        self._deleted.append((name, row_key if isinstance(row_key, tuple) else (row_key,)))
        self._undo.append((self._deleted, None, None))

    def add_fill(self, fill: Fill) -> None:
        """Append an execution; the same (account, exec_id) twice fails the commit with DuplicateError."""
        self._fills.append(encode_fill(fill))

    def add_refused(self, refused: RefusedAlert) -> None:
        """Keep a delivery that was authentic and not accepted."""
        at = to_us(refused.received_at)
        self._refused.append((
            refused.alert_id, at, refused.source.value, refused.credential, refused.strategy, refused.symbol, "",
            refused.body, "", at, 0, Disposition.REFUSED.value, refused.code, refused.message, refused.field, at,
        ))  # fmt: skip

    def end_alert(self, alert_id: str, ending: Ending, at: datetime) -> Alert:
        """Give an open alert its one final disposition; a second one raises InvariantError."""
        alert = self.ledger.alerts.get(alert_id)
        if alert is None:
            raise InvariantError(f"alert {alert_id} is not open, so it cannot end again")
        self._undo.append((self.ledger.alerts, alert_id, alert))
        self.ledger.alerts.set(alert_id, None)
        self._endings[alert_id] = (alert_id, ending.disposition.value, ending.code, ending.message, to_us(at))
        return alert

    def audit(
        self,
        action: AuditAction,
        at: datetime,
        *,
        alert_id: str = "",
        cl_ord_id: str = "",
        account: str = "",
        code: str = "",
        message: str = "",
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Append a record to the audit chain."""
        told = orjson.dumps(data, default=str).decode() if data else ""
        if action is AuditAction.ALARM_RAISED or action is AuditAction.DRIFT_FOUND:
            self.emit(AlarmRaised(message=message))
            self.touch("alarm")
        self._audit.append((to_us(at), action._value_, alert_id, cl_ord_id, account, code, message, told))

    def count_order(self, order: Order, at: datetime) -> None:
        """Count an order in the rate windows; the parts of one count once."""
        intent = order.intent
        if intent.part > 1:
            return
        for window in self.ledger.count_order(intent.account, intent.strategy, intent.symbol, at):
            self._undo.append((window, None, None))

    def emit(self, event: Event) -> None:
        """Tell the rest of the bridge, once the commit is on disk."""
        self.events.append(event)

    def touch(self, what: str) -> None:
        """Something that pages show changes with this commit: alert, order, external, position, trade, state or alarm."""
        self.touched.add(what)

    # -- reads --------------------------------------------------------------------------------------------------------

    def find_order(self, *, tag: str) -> Order | None:
        """An order by its tag, from memory or else from the table."""
        found = self.ledger.orders.by_tag.get(tag)
        if found is not None:
            return self.ledger.orders.get(found)
        names = ", ".join(f'"{name}"' for name in columns_of(tables.OrderRow))
        sql = f"SELECT {names} FROM orders WHERE tag = {self._param}"  # noqa: S608
        row = self._connection.execute(sql, (tag,)).fetchone()
        return decode_order(row)[1] if row else None

    def find_orders(self, tags: Sequence[str]) -> dict[str, Order]:
        """The orders of several tags, by tag, as the table has them; what it has not is left out."""
        names = ", ".join(f'"{name}"' for name in columns_of(tables.OrderRow))
        found: dict[str, Order] = {}
        for start in range(0, len(tags), MAX_ROWS):
            part = tags[start : start + MAX_ROWS]
            sql = f"SELECT {names} FROM orders WHERE tag IN ({', '.join('?' for _ in part)})"  # noqa: S608
            found |= {order.tag: order for _key, order in map(decode_order, self.query(sql, *part))}
        return found

    def last_leg(self, alert_id: str, after: int, before: int) -> int:
        """The highest leg between these two of an alert that has an order, in the table or in memory; `after` for none."""
        sql = "SELECT MAX(leg) FROM orders WHERE cl_ord_id > ? AND cl_ord_id < ? AND leg > ? AND leg < ?"
        [(found,)] = self.query(sql, f"{alert_id}-", f"{alert_id}.", after, before)  # a full stop comes after a hyphen
        leg = after if found is None else int(found)
        while make_cl_ord_id(alert_id, leg + 1) in self.ledger.orders.values:  # made by this very group
            leg += 1
        return leg

    def was_acknowledged(self, account: str, since: datetime) -> bool:
        """Whether the table has an order of the account that the broker acknowledged and that was sent since then."""
        # Ids begin with the time of the alert; a day before covers every order that was long under way.
        first = make_alert_id(since - timedelta(days=1), bytes(FINGERPRINT_BYTES))
        sql = (
            "SELECT 1 FROM orders WHERE cl_ord_id >= ? AND account = ? AND broker_order_id IS NOT NULL AND sent_at >= ? LIMIT 1"
        )
        return bool(self.query(sql, first, account, to_us(since)))

    def steps_of(self, alert_id: str, *actions: AuditAction) -> list[AuditStep]:
        """What the audit tells of an alert under these actions, with what this group is about to add."""
        names = [action.value for action in actions]
        marks = ", ".join("?" for _ in names)
        sql = f"SELECT action, account, code, message FROM audit WHERE alert_id = ? AND action IN ({marks}) ORDER BY seq"  # noqa: S608
        rows = [tuple(row) for row in self.query(sql, alert_id, *names)]
        rows += [(row[1], row[4], row[5], row[6]) for row in self._audit if row[2] == alert_id and row[1] in names]
        return [AuditStep(AuditAction(action), account, code, message) for action, account, code, message in rows]

    def query(self, sql: str, *params: object) -> list[Any]:
        """Rows of a SELECT written with `?` marks, as the store stood before this group."""
        return list(self._connection.execute(sql.replace("?", self._param), params).fetchall())

    # -- taking back --------------------------------------------------------------------------------------------------

    def mark(self) -> Mark:
        """A point to come back to."""
        return (len(self._undo), len(self._fills), len(self._refused), len(self._audit), len(self.events))

    def back_to(self, mark: Mark) -> None:
        """Undo everything since `mark`, in memory and in what is to be written."""
        undo, fills, refused, audit, events = mark
        while len(self._undo) > undo:
            where, key, old = self._undo.pop()
            if isinstance(where, Shelf):
                where.set(key, old)
                if where is self.ledger.alerts and old is not None:
                    self._endings.pop(key, None)
            elif isinstance(where, dict):
                if old is _GONE:
                    where.pop(key, None)
                else:
                    where[key] = old
            elif where:
                where.pop()
        del self._fills[fills:], self._refused[refused:], self._audit[audit:], self.events[events:]

    def undo_all(self) -> None:
        """Undo the whole group."""
        self.back_to((0, 0, 0, 0, 0))

    # -- writing ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send every row to the database, inside its open transaction."""
        for name, row_key in self._deleted:
            self._connection.execute(delete_sql(self._maps[name].table, self._param), row_key)
        self._flush_alerts()
        for name, dirty in self._dirty.items():
            if name != "alerts" and dirty:
                rowmap = self._maps[name]
                rows = [rowmap.encode(key, value) for key, value in dirty.values()]
                self._send(upsert_sql, rowmap.table, rows)
        self._send(insert_sql, tables.FillRow, self._fills)
        self._audit_rows = self._chain.link(self._audit)
        self._send(insert_sql, tables.AuditRow, self._audit_rows)

    @property
    def has_written(self) -> bool:
        """True when there was anything to write."""
        return bool(self._audit_rows or self._deleted or self._fills or self._refused or any(self._dirty.values()))

    def committed(self) -> None:
        """What was flushed is on disk."""
        self._chain.advance(self._audit_rows)

    def _flush_alerts(self) -> None:
        rows = list({row[0]: row for row in self._refused}.values())  # the same delivery twice in one millisecond is one row
        endings = dict(self._endings)
        for key, alert in self._dirty.get("alerts", {}).values():
            row = encode_alert(alert)
            ending = endings.pop(key, None)
            rows.append(row if ending is None else (*row[:11], *ending[1:4], None, ending[4]))
        self._send(upsert_sql, tables.AlertRow, rows)
        left = list(endings.values())
        for start in range(0, len(left), MAX_ROWS):
            part = left[start : start + MAX_ROWS]
            self._connection.execute(end_alerts_sql(len(part), self._param), flatten(part))

    def _send(self, statement: Any, model: Any, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            self._connection.execute(statement(model, len(part), self._param), flatten(part))
