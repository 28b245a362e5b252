"""Reads for pages, API and commands; each in a short transaction of its own, never in the writer's way."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Select, select, text

from bridge.core.alert import Alert
from bridge.core.audit_entry import AuditEntry
from bridge.core.clock import from_us, to_us
from bridge.core.enums import Product, Side
from bridge.core.fill import Fill
from bridge.core.hold import Hold
from bridge.core.login import BrokerSession
from bridge.core.money import average
from bridge.core.news import News
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.views import (
    AlertView,
    FillView,
    OrderView,
    PositionView,
    StateView,
    StepView,
    TokenView,
    TradeView,
)
from bridge.store import tables
from bridge.store.audit import AuditTuple
from bridge.store.export import read_entries
from bridge.store.mapping import decode_alert, decode_broker_session, decode_hold, decode_order, decode_position, decode_trade
from bridge.store.sql import table_of

MAX_LIMIT = 1_000
_ALERTS = table_of(tables.AlertRow)
_ORDERS = table_of(tables.OrderRow)
_FILLS = table_of(tables.FillRow)
_POSITIONS = table_of(tables.PositionRow)
_TRADES = table_of(tables.TradeRow)
_AUDIT = table_of(tables.AuditRow)
_MARKS = table_of(tables.MarkRow)
_STATES = table_of(tables.StateRow)
_TOKENS = table_of(tables.TokenRow)
_HOLDS = table_of(tables.HoldRow)
_BROKER_SESSIONS = table_of(tables.BrokerSessionRow)


class Reads:
    """Lists are newest first; `before` is the id of the last row seen."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def ping(self) -> None:
        """Raise what the database raises when it cannot answer."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def alerts(self, limit: int = 100, before: str | None = None, strategy: str | None = None) -> list[AlertView]:
        """The latest alerts, refused ones among them."""
        query = select(_ALERTS).order_by(_ALERTS.c.alert_id.desc()).limit(min(limit, MAX_LIMIT))
        if before:
            query = query.where(_ALERTS.c.alert_id < before)
        if strategy:
            query = query.where(_ALERTS.c.strategy == strategy)
        return [_alert(row) for row in self._rows(query)]

    def alert(self, alert_id: str) -> AlertView | None:
        """One alert, or None."""
        rows = self._rows(select(_ALERTS).where(_ALERTS.c.alert_id == alert_id))
        return _alert(rows[0]) if rows else None

    def steps(self, alert_id: str) -> list[StepView]:
        """The whole way of one alert, oldest first."""
        return [_step(row) for row in self._rows(select(_AUDIT).where(_AUDIT.c.alert_id == alert_id).order_by(_AUDIT.c.seq))]

    def recent(self, actions: Sequence[AuditAction], limit: int = 20, since: datetime | None = None) -> list[StepView]:
        """The latest audit records of some kinds, among the last ten thousand records."""
        newest = select(_AUDIT.c.seq).order_by(_AUDIT.c.seq.desc()).limit(1).scalar_subquery()
        query = select(_AUDIT).where(_AUDIT.c.seq > newest - 10_000, _AUDIT.c.action.in_([a.value for a in actions]))
        if since is not None:
            query = query.where(_AUDIT.c.at >= to_us(since))
        return [_step(row) for row in self._rows(query.order_by(_AUDIT.c.seq.desc()).limit(min(limit, MAX_LIMIT)))]

    def newest_record(self) -> int:
        """The number of the latest audit record; 0 when there is none."""
        rows = self._rows(select(_AUDIT.c.seq).order_by(_AUDIT.c.seq.desc()).limit(1))
        return int(rows[0].seq) if rows else 0

    def news(self, after: int, actions: Sequence[AuditAction], limit: int) -> list[News]:
        """Records of some kinds after one, oldest first, with the instruments of their orders."""
        query = (
            select(_AUDIT, _ORDERS.c.symbol, _ORDERS.c.side)
            .join(_ORDERS, _ORDERS.c.cl_ord_id == _AUDIT.c.cl_ord_id, isouter=True)
            .where(_AUDIT.c.seq > after, _AUDIT.c.action.in_([action.value for action in actions]))
        )
        return [_news(row) for row in self._rows(query.order_by(_AUDIT.c.seq).limit(limit))]

    def orders(
        self, limit: int = 100, before: str | None = None, alert_id: str | None = None, *, open_only: bool = False
    ) -> list[OrderView]:
        """The latest orders, of one alert or only the open ones if asked."""
        query = select(_ORDERS).order_by(_ORDERS.c.cl_ord_id.desc()).limit(min(limit, MAX_LIMIT))
        if before:
            query = query.where(_ORDERS.c.cl_ord_id < before)
        if alert_id:
            query = query.where(_ORDERS.c.cl_ord_id.between(f"{alert_id}-", f"{alert_id}-~"))
        if open_only:
            query = query.where(_ORDERS.c.is_open == 1)
        return [_order(row) for row in self._rows(query)]

    def orders_of(self, alert_ids: Sequence[str]) -> dict[str, list[OrderView]]:
        """The orders of several alerts, by alert."""
        found: dict[str, list[OrderView]] = {alert_id: [] for alert_id in alert_ids}
        if found:
            between = _ORDERS.c.cl_ord_id.between(f"{min(found)}-", f"{max(found)}-~")
            for row in self._rows(select(_ORDERS).where(between).order_by(_ORDERS.c.cl_ord_id)):
                if row.alert_id in found:
                    found[row.alert_id].append(_order(row))
        return found

    def positions(self, *, with_flat: bool = False) -> list[PositionView]:
        """Every position that is not flat (or every one that ever was), by account and symbol."""
        marks = {row.symbol: Decimal(row.price) for row in self._rows(select(_MARKS))}
        query = select(_POSITIONS).order_by(_POSITIONS.c.account, _POSITIONS.c.symbol)
        if not with_flat:
            query = query.where(_POSITIONS.c.quantity != "0")
        return [_position(row, marks) for row in self._rows(query)]

    def trades(self, limit: int = 100, before: str | None = None) -> list[TradeView]:
        """The latest round trips, open ones among them."""
        query = select(_TRADES).order_by(_TRADES.c.trade_id.desc()).limit(min(limit, MAX_LIMIT))
        if before:
            query = query.where(_TRADES.c.trade_id < before)
        return [_trade(row) for row in self._rows(query)]

    def fills_since(self, at: datetime, limit: int = 20_000) -> list[FillView]:
        """Profit and charges of executions from `at` on, oldest first."""
        columns = (_FILLS.c.account, _FILLS.c.transact_time, _FILLS.c.realized_pnl, _FILLS.c.charges)
        query = select(*columns).where(_FILLS.c.transact_time >= to_us(at)).order_by(_FILLS.c.transact_time).limit(limit)
        return [
            FillView(account=row[0], at=from_us(row[1]), realized_pnl=Decimal(row[2]), charges=Decimal(row[3]))
            for row in self._rows(query)
        ]

    def all_trades(self) -> list[TradeView]:
        """Every round trip, as they were begun."""
        return [_trade(row) for row in self._rows(select(_TRADES).order_by(_TRADES.c.opened_at, _TRADES.c.trade_id))]

    def all_alerts(self) -> list[AlertView]:
        """Every alert, as they came in."""
        return [_alert(row) for row in self._rows(select(_ALERTS).order_by(_ALERTS.c.alert_id))]

    def alerts_as_they_came(self) -> list[Alert]:
        """Every accepted alert with its signal, as they came in."""
        query = select(_ALERTS).where(_ALERTS.c.signal != "").order_by(_ALERTS.c.received_at, _ALERTS.c.alert_id)
        return [decode_alert(tuple(row))[1] for row in self._rows(query)]

    def all_fills(self) -> list[Fill]:
        """Every execution, in order of time."""
        query = select(_FILLS).order_by(_FILLS.c.transact_time, _FILLS.c.account, _FILLS.c.exec_id)
        return [_fill(row) for row in self._rows(query)]

    def states(self) -> list[StateView]:
        """Every trading state that was ever set."""
        return [
            StateView(kind=r.kind, name=r.name, mode=r.mode, since=from_us(r.since), by=r.by, message=r.message)
            for r in self._rows(select(_STATES))
        ]

    def holds(self) -> list[tuple[str, str, Hold]]:
        """(account, symbol, hold) of every instrument whose position is not agreed with the broker."""
        found = (decode_hold(tuple(row)) for row in self._rows(select(_HOLDS).order_by(_HOLDS.c.account, _HOLDS.c.symbol)))
        return [(account, symbol, hold) for (account, symbol), hold in found]

    def tokens(self) -> list[TokenView]:
        """Every token that was minted, newest first."""
        return [
            TokenView(
                token_id=row.token_id,
                claims=row.claims,
                created_at=from_us(row.created_at),
                expires_at=_maybe_at(row.expires_at),
                revoked_at=_maybe_at(row.revoked_at),
            )
            for row in self._rows(select(_TOKENS).order_by(_TOKENS.c.created_at.desc()))
        ]

    def broker_sessions(self) -> dict[str, BrokerSession]:
        """The latest login of every account that ever had one."""
        return dict(decode_broker_session(tuple(row)) for row in self._rows(select(_BROKER_SESSIONS)))

    def audit_rows(self) -> Iterator[AuditTuple]:
        """The whole audit chain, oldest first, a few thousand rows at a time."""
        after = 0
        while rows := self._rows(select(_AUDIT).where(_AUDIT.c.seq > after).order_by(_AUDIT.c.seq).limit(5_000)):
            for row in rows:
                yield tuple(row)
            after = rows[-1].seq

    def entries(self, first: datetime, end: datetime, account: str | None = None) -> Iterator[AuditEntry]:
        """The records from `first` on and before `end` with what they tell of; see `read_entries`."""
        return read_entries(self._engine, first, end, account)

    def unaudited(self) -> list[str]:
        """Alerts and fills that no audit record tells of: what a cut-off end of the chain would leave behind."""
        missing = (
            "SELECT a.alert_id FROM alerts a WHERE NOT EXISTS (SELECT 1 FROM audit x WHERE x.alert_id = a.alert_id) LIMIT 20",
            "SELECT a.alert_id FROM alerts a WHERE a.ended_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit x"
            " WHERE x.alert_id = a.alert_id AND x.action IN ('alert_ended', 'alert_refused')) LIMIT 20",
            "SELECT f.cl_ord_id FROM fills f WHERE NOT EXISTS (SELECT 1 FROM audit x JOIN orders o ON o.alert_id = x.alert_id"
            " WHERE o.cl_ord_id = f.cl_ord_id AND x.cl_ord_id = f.cl_ord_id"
            " AND x.action IN ('order_fill', 'order_late_fill')) LIMIT 20",
        )
        with self._engine.connect() as connection:
            return [str(row[0]) for sql in missing for row in connection.execute(text(sql))]


def _maybe_at(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _alert(row: Any) -> AlertView:
    return AlertView(
        alert_id=row.alert_id, received_at=from_us(row.received_at), source=row.source, credential=row.credential,
        strategy=row.strategy, symbol=row.symbol, action=row.action, body=row.body, signal_at=from_us(row.signal_at),
        disposition=row.disposition, code=row.code, message=row.message, field=row.field, ended_at=_maybe_at(row.ended_at),
    )  # fmt: skip


def _step(row: Any) -> StepView:
    return StepView(
        seq=row.seq, at=from_us(row.at), step=row.action, code=row.code,
        message=row.message or AuditAction(row.action).sentence, cl_ord_id=row.cl_ord_id, account=row.account,
    )  # fmt: skip


def _order(row: Any) -> OrderView:
    _key, order = decode_order(tuple(row))
    intent = order.intent
    return OrderView(
        cl_ord_id=order.cl_ord_id, tag=order.tag, alert_id=intent.alert_id, account=intent.account, strategy=intent.strategy,
        symbol=intent.symbol, product=intent.product.value, side=intent.side.value, ord_type=intent.ord_type.value,
        order_qty=intent.order_qty, cum_qty=order.cum_qty, avg_px=order.avg_px, price=intent.price,
        trigger_price=intent.trigger_price, reduce_only=intent.reduce_only, status=OrderStatus(order.status),
        legs=str(intent.legs or ""),
        broker_order_id=order.broker_order_id, message=order.message, received_at=intent.received_at,
        created_at=order.created_at, sent_at=order.sent_at, updated_at=order.updated_at,
        part=intent.part, parts=intent.parts, terms=intent.terms,
    )  # fmt: skip


def _fill(row: Any) -> Fill:
    return Fill(
        account=row.account, exec_id=row.exec_id, cl_ord_id=row.cl_ord_id, broker_order_id=row.broker_order_id,
        strategy=row.strategy, symbol=row.symbol, product=Product(row.product), side=Side(row.side),
        last_qty=Decimal(row.last_qty), last_px=Decimal(row.last_px), charges=Decimal(row.charges),
        transact_time=from_us(row.transact_time), realized_pnl=Decimal(row.realized_pnl),
    )  # fmt: skip


def _news(row: Any) -> News:
    return News(
        seq=row.seq, at=from_us(row.at), action=AuditAction(row.action), account=row.account, code=row.code,
        message=row.message, symbol=row.symbol or "", side=row.side or "",
    )  # fmt: skip


def _position(row: Any, marks: dict[str, Decimal]) -> PositionView:
    key, position = decode_position(tuple(row))
    mark = marks.get(key.symbol)
    return PositionView(
        account=key.account, symbol=key.symbol, product=key.product, quantity=position.quantity, avg_px=position.avg_px,
        realized_pnl=position.realized_pnl, charges=position.charges, mark_px=mark,
        unrealized_pnl=None if mark is None else position.unrealized_pnl(mark),
    )  # fmt: skip


def _trade(row: Any) -> TradeView:
    key, trade = decode_trade(tuple(row))
    return TradeView(
        trade_id=trade.trade_id, account=key.account, symbol=key.symbol, product=key.product, strategy=trade.strategy,
        side=trade.side.value, status=trade.status.value, entry_qty=trade.entry_qty,
        entry_px=average(trade.entry_value, trade.entry_qty), exit_qty=trade.exit_qty,
        exit_px=average(trade.exit_value, trade.exit_qty), pnl=trade.pnl, charges=trade.charges, opened_at=trade.opened_at,
        closed_at=trade.closed_at,
    )  # fmt: skip
