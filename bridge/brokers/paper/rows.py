"""The paper venue's values as plain rows and back; the tables themselves are the store's, which knows no broker."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from bridge.brokers.paper.shelves import OrderKey
from bridge.brokers.paper.values import PaperAccount, PaperOrder, PaperPosition
from bridge.core.clock import from_us, to_us
from bridge.core.enums import OrdType, Product, ReportKind, Side, TimeInForce
from bridge.core.money import to_text
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.protection import legs_from_text, legs_to_text
from bridge.core.report import Report

K = TypeVar("K")
V = TypeVar("V")
Row = Sequence[Any]
_dump = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Generic[K, V]):
    """How one shelf's values become rows: `columns` names what `encode` gives, in that order."""

    columns: tuple[str, ...]
    encode: Callable[[K, V], tuple[Any, ...]]
    decode: Callable[[Row], tuple[K, V]]


def _encode_order(_key: OrderKey, order: PaperOrder) -> tuple[Any, ...]:
    return (
        order.account, order.broker_order_id, order.tag, order.symbol, order.product.value, order.side.value,
        to_text(order.order_qty), order.ord_type.value, order.time_in_force.value,
        None if order.price is None else to_text(order.price),
        None if order.trigger_price is None else to_text(order.trigger_price),
        to_us(order.placed_at), to_us(order.updated_at), order.status.value, int(not order.status.is_closed),
        int(order.is_triggered), int(order.is_taking), to_text(order.opening_qty), to_text(order.unit_margin),
        to_text(order.cum_qty), to_text(order.cum_value), to_text(order.charges), order.message,
        _fills_out(order.fills), legs_to_text(order.legs),
    )  # fmt: skip


def _fills_out(fills: tuple[Report, ...]) -> str:
    return _dump([
        (fill.exec_id, to_us(fill.transact_time), to_text(fill.last_qty), to_text(fill.last_px), to_text(fill.charges))
        for fill in fills
    ]) if fills else "[]"  # fmt: skip


def _decode_order(row: Row) -> tuple[OrderKey, PaperOrder]:
    account, ident, tag = row[:3]
    return (account, ident), PaperOrder(
        account=account, broker_order_id=ident, tag=tag, symbol=row[3], product=Product(row[4]), side=Side(row[5]),
        order_qty=Decimal(row[6]), ord_type=OrdType(row[7]), time_in_force=TimeInForce(row[8]),
        price=None if row[9] is None else Decimal(row[9]), trigger_price=None if row[10] is None else Decimal(row[10]),
        placed_at=from_us(row[11]), updated_at=from_us(row[12]), status=OrderStatus(row[13]),
        is_triggered=bool(row[15]), is_taking=bool(row[16]), opening_qty=Decimal(row[17]), unit_margin=Decimal(row[18]),
        cum_qty=Decimal(row[19]), cum_value=Decimal(row[20]), charges=Decimal(row[21]), message=row[22],
        fills=tuple(
            Report(
                account=account, kind=ReportKind.FILL, tag=tag, broker_order_id=ident, exec_id=exec_id,
                transact_time=from_us(at), last_qty=Decimal(qty), last_px=Decimal(px), charges=Decimal(charges),
            )
            for exec_id, at, qty, px, charges in json.loads(row[23])
        ),
        legs=legs_from_text(row[24]),
    )  # fmt: skip


def _encode_position(_key: PositionKey, position: PaperPosition) -> tuple[Any, ...]:
    return (
        position.account, position.symbol, position.product.value, to_text(position.multiplier),
        to_text(position.quantity), to_text(position.cost), to_text(position.margin),
    )  # fmt: skip


def _decode_position(row: Row) -> tuple[PositionKey, PaperPosition]:
    return PositionKey(row[0], row[1], row[2]), PaperPosition(
        account=row[0], symbol=row[1], product=Product(row[2]), multiplier=Decimal(row[3]), quantity=Decimal(row[4]),
        cost=Decimal(row[5]), margin=Decimal(row[6]),
    )  # fmt: skip


def _encode_account(_key: str, account: PaperAccount) -> tuple[Any, ...]:
    return (
        account.account, to_text(account.opening_cash), to_text(account.realized_pnl), to_text(account.charges),
        to_text(account.position_margin), to_text(account.order_margin), account.last_number, account.day,
    )  # fmt: skip


def _decode_account(row: Row) -> tuple[str, PaperAccount]:
    return row[0], PaperAccount(
        account=row[0], opening_cash=Decimal(row[1]), realized_pnl=Decimal(row[2]), charges=Decimal(row[3]),
        position_margin=Decimal(row[4]), order_margin=Decimal(row[5]), last_number=row[6], day=row[7],
    )  # fmt: skip


ORDERS: Codec[OrderKey, PaperOrder] = Codec(
    columns=(
        "account", "broker_order_id", "tag", "symbol", "product", "side", "order_qty", "ord_type", "time_in_force",
        "price", "trigger_price", "placed_at", "updated_at", "status", "is_open", "is_triggered", "is_taking",
        "opening_qty", "unit_margin", "cum_qty", "cum_value", "charges", "message", "fills", "legs",
    ),
    encode=_encode_order,
    decode=_decode_order,
)  # fmt: skip
POSITIONS: Codec[PositionKey, PaperPosition] = Codec(
    columns=("account", "symbol", "product", "multiplier", "quantity", "cost", "margin"),
    encode=_encode_position,
    decode=_decode_position,
)
ACCOUNTS: Codec[str, PaperAccount] = Codec(
    columns=(
        "account", "opening_cash", "realized_pnl", "charges", "position_margin", "order_margin", "last_number", "day",
    ),
    encode=_encode_account,
    decode=_decode_account,
)  # fmt: skip
PAPER_CODECS: dict[str, Codec[Any, Any]] = {
    "paper_orders": ORDERS,
    "paper_positions": POSITIONS,
    "paper_accounts": ACCOUNTS,
}
