"""How orders, reports and books look between the venue and whoever trades at it: JSON, money and quantities as text."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bridge.core.enums import OrdType, Product, ReportKind, Side
from bridge.core.money import parse_decimal, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.protection import legs_to_text
from bridge.core.reasons import Reason
from bridge.core.replacement import Terms
from bridge.core.report import BookRow, BrokerPosition, Funds, Report

# Errors of what cannot be read; a reader names no others.
UNREADABLE = (ArithmeticError, KeyError, TypeError, ValueError)


def write_order(order: Order, last_price: Decimal | None) -> dict[str, Any]:
    """What the venue needs of an order; the bridge's own names and reasons stay here."""
    intent = order.intent
    return {
        "tag": order.tag,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "product": intent.product.value,
        "order_qty": to_text(intent.order_qty),
        "ord_type": intent.ord_type.value,
        "time_in_force": intent.time_in_force.value,
        "price": write_optional(intent.price if intent.ord_type.needs_price else None),
        "trigger_price": write_optional(intent.trigger_price),
        "last_price": write_optional(last_price),
        "legs": legs_to_text(intent.legs),
    }


def write_terms(terms: Terms) -> dict[str, Any]:
    """How much at what price."""
    return {
        "order_qty": to_text(terms.order_qty),
        "price": write_optional(terms.price),
        "trigger_price": write_optional(terms.trigger_price),
    }


def read_terms(told: Any) -> Terms:
    """The terms of `write_terms`; one of UNREADABLE when they are none."""
    return Terms(
        order_qty=read_number(told["order_qty"]),
        price=read_optional(told, "price"),
        trigger_price=read_optional(told, "trigger_price"),
    )


def write_report(report: Report) -> dict[str, Any]:
    """One report; whose it is, the address says."""
    return {
        "kind": report.kind.value,
        "tag": report.tag,
        "order_id": report.broker_order_id,
        "at": report.transact_time.isoformat(),
        "exec_id": report.exec_id,
        "last_qty": to_text(report.last_qty),
        "last_px": to_text(report.last_px),
        "charges": to_text(report.charges),
        "message": report.message,
        "cum_qty": write_optional(report.cum_qty),
        "terms": None if report.terms is None else write_terms(report.terms),
        "reason": report.reason,
    }


def read_report(account: str, told: Any) -> Report:
    """The report of `write_report`; one of UNREADABLE when it is none."""
    return Report(
        account=account,
        kind=ReportKind(told["kind"]),
        tag=read_text(told["tag"]),
        broker_order_id=read_text(told["order_id"]),
        transact_time=read_time(told["at"]),
        exec_id=read_text(told["exec_id"]),
        last_qty=read_number(told["last_qty"]),
        last_px=read_number(told["last_px"]),
        charges=read_number(told["charges"]),
        message=read_text(told["message"]),
        cum_qty=read_optional(told, "cum_qty"),
        terms=None if told.get("terms") is None else read_terms(told["terms"]),
        reason=None if told.get("reason") is None else Reason(told["reason"]),
    )


def write_row(row: BookRow) -> dict[str, Any]:
    """One order of the book."""
    return {
        "order_id": row.broker_order_id,
        "tag": row.tag,
        "symbol": row.symbol,
        "side": row.side.value,
        "product": row.product.value,
        "ord_type": row.ord_type.value,
        "order_qty": to_text(row.order_qty),
        "cum_qty": to_text(row.cum_qty),
        "status": row.status.value,
        "message": row.message,
        "updated_at": row.updated_at.isoformat(),
        "fills": [write_report(fill) for fill in row.fills],
        "price": write_optional(row.price),
        "trigger_price": write_optional(row.trigger_price),
        "reason": row.reason,
    }


def read_row(account: str, told: Any) -> BookRow:
    """The row of `write_row`."""
    return BookRow(
        broker_order_id=read_text(told["order_id"]),
        tag=read_text(told["tag"]),
        symbol=read_text(told["symbol"]),
        side=Side(told["side"]),
        product=Product(told["product"]),
        ord_type=OrdType(told["ord_type"]),
        order_qty=read_number(told["order_qty"]),
        cum_qty=read_number(told["cum_qty"]),
        status=OrderStatus(told["status"]),
        message=read_text(told["message"]),
        updated_at=read_time(told["updated_at"]),
        fills=tuple(read_report(account, fill) for fill in told["fills"]),
        price=read_optional(told, "price"),
        trigger_price=read_optional(told, "trigger_price"),
        reason=None if told.get("reason") is None else Reason(told["reason"]),
    )


def write_position(position: BrokerPosition) -> dict[str, Any]:
    """One net position."""
    return {"symbol": position.symbol, "product": position.product.value, "quantity": to_text(position.quantity)}


def read_position(told: Any) -> BrokerPosition:
    """The position of `write_position`."""
    return BrokerPosition(
        symbol=read_text(told["symbol"]), product=Product(told["product"]), quantity=read_number(told["quantity"])
    )


def write_funds(funds: Funds) -> dict[str, Any]:
    """Money now."""
    return {
        "equity": to_text(funds.equity),
        "available": to_text(funds.available),
        "cash": write_optional(funds.cash),
        "at": funds.at.isoformat(),
    }


def read_funds(account: str, told: Any, at: datetime) -> Funds:
    """The money of `write_funds`, as known `at` our own time: whether a fill has overtaken it is judged by our clock."""
    return Funds(
        account=account,
        equity=read_number(told["equity"]),
        available=read_number(told["available"]),
        at=at,
        cash=read_optional(told, "cash"),
    )


def write_optional(value: Decimal | None) -> str | None:
    """A number that may be missing."""
    return None if value is None else to_text(value)


def read_optional(told: Mapping[str, Any], name: str) -> Decimal | None:
    """A number that may be missing or null."""
    value = told.get(name)
    return None if value is None else read_number(value)


def read_number(value: Any) -> Decimal:
    """A decimal written as text; ValueError for anything else, JSON's own numbers too, since those are floats."""
    if not isinstance(value, str):
        raise ValueError("is not a number written as text")
    return parse_decimal(value)


def read_text(value: Any) -> str:
    """Text; TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError("is not text")
    return value


def read_time(value: Any) -> datetime:
    """An aware time in ISO 8601."""
    at = datetime.fromisoformat(read_text(value))
    if at.tzinfo is None:
        raise ValueError("is a time without a zone")
    return at
