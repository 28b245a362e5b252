"""How a shelf of the ledger becomes rows of a table and back; rows are plain tuples in the order of the columns."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlmodel import SQLModel

from bridge.core.alert import Alert
from bridge.core.clock import from_us, to_us
from bridge.core.day import Day
from bridge.core.definition import DefinitionRecord, DefinitionVersion, Deployment
from bridge.core.enums import OrdType, Product, Side, Source, TimeInForce, TradingMode, Variety
from bridge.core.errors import InvariantError
from bridge.core.fill import Fill
from bridge.core.hold import Gap, Hold
from bridge.core.login import BrokerSession
from bridge.core.market import Mark
from bridge.core.money import ZERO, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.protection import (
    Protection,
    ProtectionStatus,
    legs_from_text,
    legs_to_text,
    protect_from_text,
    protect_to_text,
)
from bridge.core.replacement import Replacement, Terms
from bridge.core.scope import Scope, TradingState
from bridge.core.signal import OrderIntent
from bridge.core.signal_codec import signal_from_json, signal_to_json
from bridge.core.token import TokenRecord
from bridge.core.trade import Trade, TradeStatus
from bridge.store import tables

K = TypeVar("K")
V = TypeVar("V")
Row = Sequence[Any]


@dataclass(frozen=True)
class RowMap(Generic[K, V]):
    """`encode` gives the values in the order of the table's columns; `load_where` is what is read at start.

    The condition may use :today (YYYYMMDD) and :today_us (midnight IST in microseconds). `keyed_by` names the row where the
    shelf's own key does not: a shelf of open trades by position has many rows per key over time.
    """

    table: type[SQLModel]
    encode: Callable[[K, V], tuple[Any, ...]]
    decode: Callable[[Row], tuple[K, V]]
    load_where: str = ""
    keyed_by: Callable[[V], Any] | None = None


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else to_text(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _maybe_us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _shares_out(shares: Any) -> str:
    return json.dumps({name: to_text(value) for name, value in shares.items()}) if shares else "{}"


def _shares_in(text: str) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in json.loads(text).items()}


def encode_alert(alert: Alert) -> tuple[Any, ...]:
    """The row of an alert that has not ended."""
    signal = alert.signal
    return (
        alert.alert_id, to_us(alert.received_at), alert.source._value_, alert.credential, signal.strategy, signal.symbol,
        signal.action._value_, alert.body, signal_to_json(signal), to_us(signal.signal_at), alert.attempts,
        None, "", "", None, None,
    )  # fmt: skip


def decode_alert(row: Row) -> tuple[str, Alert]:
    """An accepted alert from its row."""
    return row[0], Alert(
        alert_id=row[0],
        received_at=from_us(row[1]),
        source=Source(row[2]),
        credential=row[3],
        body=row[7],
        signal=signal_from_json(row[8]),
        attempts=row[10],
    )


def _replace_out(replace: Replacement | None) -> str | None:
    if replace is None:
        return None
    terms = replace.terms
    return json.dumps([
        replace.alert_id, to_text(terms.order_qty), _maybe(terms.price), _maybe(terms.trigger_price),
        to_us(replace.signal_at), replace.renews,
    ])  # fmt: skip


def _replace_in(text: str | None) -> Replacement | None:
    if text is None:
        return None
    alert_id, order_qty, price, trigger_price, signal_at, renews = json.loads(text)
    terms = Terms(order_qty=Decimal(order_qty), price=_decimal(price), trigger_price=_decimal(trigger_price))
    return Replacement(alert_id=alert_id, terms=terms, signal_at=from_us(signal_at), renews=renews)


def _encode_order(_key: str, order: Order) -> tuple[Any, ...]:
    intent = order.intent
    return (
        order.cl_ord_id, order.tag, intent.alert_id, intent.leg, intent.account, intent.strategy, intent.symbol,
        intent.product._value_, intent.side._value_, intent.ord_type._value_, intent.time_in_force._value_,
        to_text(intent.order_qty), _maybe(intent.price), _maybe(intent.trigger_price), int(intent.reduce_only),
        to_us(intent.signal_at), to_us(intent.received_at), _maybe(intent.max_notional),
        order.status._value_, int(not order.status.is_closed or order.replace is not None),
        to_text(order.cum_qty), to_text(order.cum_value), to_text(order.avg_px), order.broker_order_id,
        ",".join(order.exec_ids), order.sends, _maybe_us(order.sent_at), order.code, order.message,
        to_us(order.created_at), to_us(order.updated_at), intent.part, intent.parts,
        intent.variety._value_, intent.iceberg_legs, intent.validity_minutes,
        protect_to_text(intent.protect), legs_to_text(intent.legs),
        _replace_out(order.replace), order.replaces, _maybe_us(order.terms_at),
    )  # fmt: skip


def decode_order(row: Row) -> tuple[str, Order]:
    """The order of a row of `orders`."""
    intent = OrderIntent(
        alert_id=row[2], leg=row[3], account=row[4], strategy=row[5], symbol=row[6], product=Product(row[7]),
        side=Side(row[8]), ord_type=OrdType(row[9]), time_in_force=TimeInForce(row[10]), order_qty=Decimal(row[11]),
        price=_decimal(row[12]), trigger_price=_decimal(row[13]), reduce_only=bool(row[14]),
        signal_at=from_us(row[15]), received_at=from_us(row[16]), max_notional=_decimal(row[17]),
        part=row[31], parts=row[32], variety=Variety(row[33]), iceberg_legs=row[34], validity_minutes=row[35],
        protect=protect_from_text(row[36]), legs=legs_from_text(row[37]),
    )  # fmt: skip
    return row[0], Order(
        cl_ord_id=row[0], tag=row[1], intent=intent, status=OrderStatus(row[18]), cum_qty=Decimal(row[20]),
        cum_value=Decimal(row[21]), broker_order_id=row[23], exec_ids=tuple(row[24].split(",")) if row[24] else (),
        sends=row[25], sent_at=None if row[26] is None else from_us(row[26]), code=row[27], message=row[28],
        created_at=from_us(row[29]), updated_at=from_us(row[30]), replace=_replace_in(row[38]), replaces=row[39],
        terms_at=None if row[40] is None else from_us(row[40]),
    )  # fmt: skip


def _encode_protection(_key: object, one: Protection) -> tuple[Any, ...]:
    return (
        one.protection_id, *one.key, one.strategy, one.side._value_, protect_to_text(one.protect), to_text(one.entry_px),
        one.alert_id, one.leg, one.status._value_, one.order_id, one.orders, one.message, to_us(one.created_at),
        to_us(one.updated_at),
    )  # fmt: skip


def _decode_protection(row: Row) -> tuple[tuple[PositionKey, str], Protection]:
    key, protect = PositionKey(row[1], row[2], row[3]), protect_from_text(row[6])
    if protect is None:
        raise InvariantError("a stored protection wants nothing")
    return (key, row[4]), Protection(
        protection_id=row[0], key=key, strategy=row[4], side=Side(row[5]), protect=protect, entry_px=Decimal(row[7]),
        alert_id=row[8], leg=row[9], status=ProtectionStatus(row[10]), order_id=row[11], orders=row[12], message=row[13],
        created_at=from_us(row[14]), updated_at=from_us(row[15]),
    )  # fmt: skip


def encode_fill(fill: Fill) -> tuple[Any, ...]:
    """The row of a fill."""
    return (
        fill.account, fill.exec_id, fill.cl_ord_id, fill.broker_order_id, fill.strategy, fill.symbol, fill.product._value_,
        fill.side._value_, to_text(fill.last_qty), to_text(fill.last_px), to_text(fill.charges), to_text(fill.realized_pnl),
        to_us(fill.transact_time),
    )  # fmt: skip


def _encode_position(key: PositionKey, position: Position) -> tuple[Any, ...]:
    return (
        *key, to_text(position.multiplier), to_text(position.quantity), to_text(position.cost),
        to_text(position.realized_pnl), to_text(position.charges), _shares_out(position.by_strategy),
    )  # fmt: skip


def decode_position(row: Row) -> tuple[PositionKey, Position]:
    """The position of a row of `positions`."""
    key = PositionKey(row[0], row[1], row[2])
    return key, Position(
        key=key, multiplier=Decimal(row[3]), quantity=Decimal(row[4]), cost=Decimal(row[5]), realized_pnl=Decimal(row[6]),
        charges=Decimal(row[7]), by_strategy=_shares_in(row[8]),
    )  # fmt: skip


def _encode_trade(_key: PositionKey, trade: Trade) -> tuple[Any, ...]:
    return (
        trade.trade_id, *trade.key, trade.strategy, trade.side._value_, trade.status._value_, to_text(trade.multiplier),
        to_text(trade.entry_qty), to_text(trade.entry_value), to_text(trade.exit_qty), to_text(trade.exit_value),
        to_text(trade.realized_pnl), to_text(trade.charges), to_us(trade.opened_at),
        _maybe_us(trade.closed_at),
    )  # fmt: skip


def decode_trade(row: Row) -> tuple[PositionKey, Trade]:
    """The trade of a row of `trades`."""
    key = PositionKey(row[1], row[2], row[3])
    return key, Trade(
        trade_id=row[0], key=key, strategy=row[4], side=Side(row[5]), status=TradeStatus(row[6]),
        multiplier=Decimal(row[7]), entry_qty=Decimal(row[8]), entry_value=Decimal(row[9]), exit_qty=Decimal(row[10]),
        exit_value=Decimal(row[11]), realized_pnl=Decimal(row[12]), charges=Decimal(row[13]), opened_at=from_us(row[14]),
        closed_at=None if row[15] is None else from_us(row[15]),
    )  # fmt: skip


def _encode_state(scope: Scope, state: TradingState) -> tuple[Any, ...]:
    return (scope.kind, scope.name, state.mode._value_, to_us(state.since), state.by, state.message, int(state.cancels))


def _decode_state(row: Row) -> tuple[Scope, TradingState]:
    scope = Scope(row[0], row[1])
    return scope, TradingState(
        scope=scope, mode=TradingMode(row[2]), since=from_us(row[3]), by=row[4], message=row[5], cancels=bool(row[6])
    )


def _encode_day(_account: str, day: Day) -> tuple[Any, ...]:
    return (
        day.account, day.day, _maybe(day.opening_equity), to_text(day.opening_unrealized), to_text(day.realized_pnl),
        to_text(day.charges), _shares_out(day.by_strategy),
    )  # fmt: skip


def _decode_day(row: Row) -> tuple[str, Day]:
    return row[0], Day(
        account=row[0], day=row[1], opening_equity=_decimal(row[2]), opening_unrealized=Decimal(row[3]),
        realized_pnl=Decimal(row[4]), charges=Decimal(row[5]), by_strategy=_shares_in(row[6]),
    )  # fmt: skip


def _encode_mark(symbol: str, mark: Mark) -> tuple[Any, ...]:
    return (symbol, to_text(mark.price), to_us(mark.at), mark.source)


def _decode_mark(row: Row) -> tuple[str, Mark]:
    return row[0], Mark(symbol=row[0], price=Decimal(row[1]), at=from_us(row[2]), source=row[3])


def _encode_token(token_id: str, token: TokenRecord) -> tuple[Any, ...]:
    return (token_id, token.claims, to_us(token.created_at), _maybe_us(token.expires_at), _maybe_us(token.revoked_at))


def _decode_token(row: Row) -> tuple[str, TokenRecord]:
    return row[0], TokenRecord(
        token_id=row[0], claims=row[1], created_at=from_us(row[2]),
        expires_at=None if row[3] is None else from_us(row[3]), revoked_at=None if row[4] is None else from_us(row[4]),
    )  # fmt: skip


def _encode_hold(key: tuple[str, str], hold: Hold) -> tuple[Any, ...]:
    gaps = json.dumps([(gap.product, *map(to_text, (gap.ours, gap.theirs, gap.explained))) for gap in hold.gaps])
    return (*key, hold.message, gaps, hold.accepted_by)


def decode_hold(row: Row) -> tuple[tuple[str, str], Hold]:
    """The hold of a row of `holds`."""
    gaps = []
    for product, *numbers in json.loads(row[3]):
        ours, theirs, *explained = map(Decimal, numbers)  # the last is of later bridges
        gaps.append(Gap(product=product, ours=ours, theirs=theirs, explained=explained[0] if explained else ZERO))
    return (row[0], row[1]), Hold(message=row[2], gaps=tuple(gaps), accepted_by=row[4])


def _encode_broker_session(account: str, session: BrokerSession) -> tuple[Any, ...]:
    return (account, session.sealed, session.user_id, to_us(session.logged_in_at), to_us(session.expires_at))


def decode_broker_session(row: Row) -> tuple[str, BrokerSession]:
    """The login of a row of `broker_sessions`."""
    return row[0], BrokerSession(
        account=row[0], sealed=row[1], user_id=row[2], logged_in_at=from_us(row[3]), expires_at=from_us(row[4])
    )


def _encode_definition(name: str, record: DefinitionRecord) -> tuple[Any, ...]:
    return (
        name, record.version, record.strategy, int(record.enabled), record.deployment._value_, record.approved_version,
        record.approved_by, _maybe_us(record.approved_at), to_us(record.updated_at),
    )  # fmt: skip


def _decode_definition(row: Row) -> tuple[str, DefinitionRecord]:
    return row[0], DefinitionRecord(
        name=row[0], version=row[1], strategy=row[2], enabled=bool(row[3]), deployment=Deployment(row[4]),
        approved_version=row[5], approved_by=row[6], approved_at=None if row[7] is None else from_us(row[7]),
        updated_at=from_us(row[8]),
    )  # fmt: skip


def _encode_version(key: tuple[str, str], kept: DefinitionVersion) -> tuple[Any, ...]:
    return (*key, kept.body, to_us(kept.saved_at), kept.by)


def _decode_version(row: Row) -> tuple[tuple[str, str], DefinitionVersion]:
    kept = DefinitionVersion(name=row[0], version=row[1], body=row[2], saved_at=from_us(row[3]), by=row[4])
    return (kept.name, kept.version), kept


LEDGER_MAPS: dict[str, RowMap[Any, Any]] = {
    "alerts": RowMap(tables.AlertRow, lambda _key, alert: encode_alert(alert), decode_alert, "disposition IS NULL"),
    "orders": RowMap(
        tables.OrderRow,
        _encode_order,
        decode_order,
        "is_open = 1 OR alert_id IN (SELECT alert_id FROM alerts WHERE disposition IS NULL)"
        " OR (legs IS NOT NULL AND updated_at >= :today_us)",
    ),
    "protections": RowMap(
        tables.ProtectionRow, _encode_protection, _decode_protection, "status <> 'DONE'", lambda one: one.protection_id
    ),
    "positions": RowMap(tables.PositionRow, _encode_position, decode_position),
    "trades": RowMap(tables.TradeRow, _encode_trade, decode_trade, "closed_at IS NULL", lambda trade: trade.trade_id),
    "states": RowMap(tables.StateRow, _encode_state, _decode_state),
    "days": RowMap(tables.DayRow, _encode_day, _decode_day, "day = :today", lambda day: (day.account, day.day)),
    "tokens": RowMap(tables.TokenRow, _encode_token, _decode_token),
    "marks": RowMap(tables.MarkRow, _encode_mark, _decode_mark),
    "holds": RowMap(tables.HoldRow, _encode_hold, decode_hold),
    "broker_sessions": RowMap(tables.BrokerSessionRow, _encode_broker_session, decode_broker_session),
    "definitions": RowMap(tables.DefinitionRow, _encode_definition, _decode_definition),
    "definition_versions": RowMap(tables.DefinitionVersionRow, _encode_version, _decode_version),
    "told_to": RowMap(tables.ToldRow, lambda channel, seq: (channel, seq), lambda row: (row[0], row[1])),
}
