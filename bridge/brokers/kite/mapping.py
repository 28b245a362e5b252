"""Kite's words and ours: orders on their way out; rows of the order book, trades, positions and margins on their way in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TypeVar

from bridge.core.clock import IST
from bridge.core.enums import OrdType, Product, ReportKind, Side, TimeInForce, Variety
from bridge.core.ids import TAG_LENGTH
from bridge.core.money import AVERAGE_PLACES, PAISA, ZERO, parse_decimal, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow, BrokerPosition, Funds, Holding, Report

T = TypeVar("T")

# Errors of rows that cannot be read; a reader names no others.
UNREADABLE = (LookupError, AttributeError, TypeError, ValueError, ArithmeticError)

VARIETIES = {Variety.REGULAR: "regular", Variety.AMO: "amo", Variety.ICEBERG: "iceberg"}
SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
PRODUCTS = {Product.MIS: "MIS", Product.CNC: "CNC", Product.NRML: "NRML", Product.MTF: "MTF"}
ORD_TYPES = {OrdType.MARKET: "MARKET", OrdType.LIMIT: "LIMIT", OrdType.SL: "SL", OrdType.SL_M: "SL-M"}
VALIDITIES = {TimeInForce.DAY: "DAY", TimeInForce.IOC: "IOC", TimeInForce.TTL: "TTL"}
# Since April 2026 these are refused without a protection.
PROTECTED = frozenset({OrdType.MARKET, OrdType.SL_M})

_SIDES = {theirs: ours for ours, theirs in SIDES.items()}
_PRODUCTS = {theirs: ours for ours, theirs in PRODUCTS.items()}
_ORD_TYPES = {theirs: ours for ours, theirs in ORD_TYPES.items()}
# The vendor calls the list incomplete: what is not in it has not ended.
STATUSES = {
    "COMPLETE": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
    "OPEN": OrderStatus.PLACED,
    "TRIGGER PENDING": OrderStatus.PLACED,
    "AMO REQ RECEIVED": OrderStatus.PLACED,
    "PUT ORDER REQ RECEIVED": OrderStatus.PLACED,
    "VALIDATION PENDING": OrderStatus.PLACED,
    "OPEN PENDING": OrderStatus.PLACED,
    "MODIFY VALIDATION PENDING": OrderStatus.PLACED,
    "MODIFY PENDING": OrderStatus.PLACED,
    "MODIFIED": OrderStatus.PLACED,
    "NOT MODIFIED": OrderStatus.PLACED,
    "CANCEL PENDING": OrderStatus.PLACED,
    "UPDATE": OrderStatus.PLACED,
}
_OURS = re.compile(rf"[0-9A-Za-z]{{{TAG_LENGTH}}}")


class ForeignError(ValueError):
    """A word that the bridge does not use: another product, another type of order. An order of ours has none such."""


# -- out ----------------------------------------------------------------------------------------------------------------


def write_order(order: Order, protection: Decimal, legs: tuple[int, Decimal] = (1, ZERO)) -> dict[str, Any]:
    """What `place_order` wants; ValueError for an order that Kite has no words for.

    `legs` are how many and of how many units, for an iceberg; one of a single leg is a regular order.
    """
    intent = order.intent
    exchange, _, tradingsymbol = intent.symbol.partition(":")
    if intent.order_qty != intent.order_qty.to_integral_value():
        raise ValueError(f"Kite takes whole units only, not {to_text(intent.order_qty)}.")
    is_protected = intent.ord_type in PROTECTED
    is_iceberg = intent.variety is Variety.ICEBERG and legs[0] > 1
    is_short_lived = intent.time_in_force is TimeInForce.TTL
    return {
        "variety": VARIETIES[Variety.REGULAR if intent.variety is Variety.ICEBERG and not is_iceberg else intent.variety],
        "exchange": exchange,
        "tradingsymbol": tradingsymbol,
        "transaction_type": SIDES[intent.side],
        "quantity": int(intent.order_qty),
        "product": PRODUCTS[intent.product],
        "order_type": ORD_TYPES[intent.ord_type],
        "price": _text_or_none(intent.price) if intent.ord_type.needs_price else None,
        "trigger_price": _text_or_none(intent.trigger_price) if intent.ord_type.needs_trigger else None,
        "validity": VALIDITIES[intent.time_in_force],
        "validity_ttl": intent.validity_minutes if is_short_lived else None,
        "iceberg_legs": legs[0] if is_iceberg else None,
        "iceberg_quantity": int(legs[1]) if is_iceberg else None,
        "market_protection": to_text(protection) if is_protected else None,
        "tag": order.tag,
    }


def write_change(order: Order, protection: Decimal) -> dict[str, Any]:
    """What `modify_order` wants beside variety and id: all that can be changed, so that asking twice asks for the same."""
    if order.replace is None:
        raise ValueError("No change is asked of the order.")
    kind, terms = order.intent.ord_type, order.replace.terms
    if terms.order_qty != terms.order_qty.to_integral_value():
        raise ValueError(f"Kite takes whole units only, not {to_text(terms.order_qty)}.")
    return {
        "quantity": int(terms.order_qty),
        "order_type": ORD_TYPES[kind],
        "price": _text_or_none(terms.price) if kind.needs_price else None,
        "trigger_price": _text_or_none(terms.trigger_price) if kind.needs_trigger else None,
        "market_protection": to_text(protection) if kind in PROTECTED else None,
    }


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else to_text(value)


# -- in: the book -------------------------------------------------------------------------------------------------------


def read_row(account: str, row: Any, trades: Sequence[Any]) -> BookRow:
    """One order with its executions. ForeignError for one that cannot be ours, another of UNREADABLE for what is no row."""
    tag, ident = read_tag(row), read_text(row, "order_id")
    fills = tuple(read_trade(account, tag, ident, trade) for trade in trades)
    filled = read_number(row, "filled_quantity")
    # The trades are read after the orders, so they may know more.
    cum_qty = max(filled, sum((fill.last_qty for fill in fills), ZERO))
    status = STATUSES.get(read_text(row, "status"), OrderStatus.PLACED)
    return BookRow(
        broker_order_id=ident,
        tag=tag,
        symbol=read_symbol(row),
        side=read_word(_SIDES, row, "transaction_type"),
        product=read_word(_PRODUCTS, row, "product"),
        ord_type=read_word(_ORD_TYPES, row, "order_type"),
        order_qty=read_number(row, "quantity"),
        cum_qty=cum_qty,
        status=OrderStatus.PARTIAL if status is OrderStatus.PLACED and cum_qty else status,
        message=_read_message(row),
        updated_at=_read_updated_at(row),
        fills=fills,
        price=_read_price(row, "price"),
        trigger_price=_read_price(row, "trigger_price"),
        cum_qty_then=filled,
    )


def _read_price(row: Any, name: str) -> Decimal | None:
    """A price that an order has; zero or null is how Kite says that it has none."""
    return (read_number(row, name) or None) if row.get(name) is not None else None


def read_trade(account: str, tag: str, order_id: str, trade: Any) -> Report:
    """One execution as a report of the order it belongs to. Kite tells no charges with it.

    A `trade_id` is the exchange's number: it comes again on other days and exchanges, and is the same for both sides of a trade
    with oneself. Kite's order ids never come again, so together they name an execution of the account.
    """
    return Report(
        account=account,
        kind=ReportKind.FILL,
        tag=tag,
        broker_order_id=order_id,
        transact_time=read_time(trade, "fill_timestamp"),
        exec_id=f"{order_id}-{read_text(trade, 'trade_id')}",
        last_qty=_above_zero(trade, "quantity"),
        last_px=_above_zero(trade, "average_price"),
    )


def read_tag(row: dict[str, Any]) -> str:
    """The tag under which the order was placed: `tags` may hold it as well, among some of the vendor's own."""
    tag, more = row.get("tag"), row.get("tags")
    tags: list[Any] = more if isinstance(more, list) else []
    for one in (tag, *tags):
        if isinstance(one, str) and _OURS.fullmatch(one):
            return one
    return tag if isinstance(tag, str) else ""


def is_maybe_ours(row: Any) -> bool:
    """True when the row's tag has the form of ours."""
    return bool(_OURS.fullmatch(read_tag(row)))


def read_placed_at(row: Any) -> datetime:
    """When the order was placed."""
    return read_time(row, "order_timestamp")


def _read_updated_at(row: Any) -> datetime:
    names = ("exchange_update_timestamp", "exchange_timestamp", "order_timestamp")
    return read_time(row, next((name for name in names if row.get(name)), "order_timestamp"))


def _read_message(row: Any) -> str:
    message = row.get("status_message") or row.get("status_message_raw") or ""
    return message if isinstance(message, str) else ""


# -- in: positions and money --------------------------------------------------------------------------------------------


def read_positions(told: Any) -> tuple[list[BrokerPosition], list[str]]:
    """Net positions that are not flat, and the words that the bridge does not use: those positions are left out."""
    positions, foreign = [], []
    for row in told["net"]:
        quantity = read_number(row, "quantity")
        if not quantity:
            continue
        try:
            product = read_word(_PRODUCTS, row, "product")
        except ForeignError as error:
            foreign.append(f"a position in {read_symbol(row)}: {error}")
            continue
        positions.append(BrokerPosition(symbol=read_symbol(row), product=product, quantity=quantity))
    return positions, foreign


def read_holdings(told: Any) -> list[Holding]:
    """Shares from days before, under CNC and, in an object of its own, under MTF.

    `quantity` tells only what has been delivered, and whether it shrinks by what is sold the vendor does not say:
    `opening_quantity` is what was carried over the night, delivered or not.
    """
    holdings = []
    for row in told:
        mtf = row.get("mtf")
        holdings.append(_read_holding(row, Product.CNC, row))
        if isinstance(mtf, Mapping):
            holdings.append(_read_holding(row, Product.MTF, mtf))
    return [holding for holding in holdings if holding.quantity]


def _read_holding(row: Any, product: Product, part: Any) -> Holding:
    def number(name: str) -> Decimal:
        return read_number(part, name) if part.get(name) is not None else ZERO

    quantity = number("opening_quantity") if part.get("opening_quantity") is not None else number("quantity")
    if "opening_quantity" not in part:
        quantity += number("t1_quantity") + number("used_quantity")
    return Holding(
        symbol=read_symbol(row),
        product=product,
        quantity=quantity,
        t1_quantity=number("t1_quantity"),
        used_quantity=number("used_quantity"),
        authorised_quantity=number("authorised_quantity"),
        avg_px=number("average_price"),
    )


def join_holdings(positions: Sequence[BrokerPosition], holdings: Sequence[Holding]) -> list[BrokerPosition]:
    """The positions with the holdings beside them; one that has no position of the day comes with a flat one."""
    found = {(position.symbol, position.product): position for position in positions}
    for holding in holdings:
        key = holding.symbol, holding.product
        flat = BrokerPosition(symbol=holding.symbol, product=holding.product, quantity=ZERO)
        found[key] = replace(found.get(key, flat), holding=holding)
    return list(found.values())


def read_funds(account: str, told: Any, at: datetime) -> Funds:
    """The equity segment: `net` is what can be spent, and with what is blocked for orders and positions it is the whole."""
    equity = told["equity"]
    net, blocked = read_number(equity, "net"), read_number(equity["utilised"], "debits")
    cash = read_number(equity["available"], "cash")
    return Funds(account=account, equity=_paise(net + blocked), available=_paise(net), cash=_paise(cash), at=at)


def _paise(value: Decimal) -> Decimal:
    return value.quantize(PAISA, ROUND_HALF_EVEN)


# -- in: what rows are made of ------------------------------------------------------------------------------------------


def read_symbol(row: Any) -> str:
    """`NSE:SBIN`, as alerts name it."""
    return f"{read_text(row, 'exchange')}:{read_text(row, 'tradingsymbol')}"


def read_word(words: Mapping[str, T], row: Any, name: str) -> T:
    """Our word for theirs; ForeignError when there is none."""
    told = read_text(row, name)
    if told not in words:
        raise ForeignError(f"{name} is {told[:40]!r}, which the bridge does not use")
    return words[told]


def read_text(row: Any, name: str) -> str:
    """A text that is not empty."""
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    if not value:
        raise ValueError(f"{name} is empty")
    return value


def read_number(row: Any, name: str) -> Decimal:
    """A number, to eight places: prices come as sums of floats. A float itself is taken for the shortest text that means it."""
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise TypeError(f"{name} is not a number")
    number = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
    if not number.is_finite():
        raise ValueError(f"{name} is not a finite number")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -abs(AVERAGE_PLACES.adjusted()):
        number = number.quantize(AVERAGE_PLACES, ROUND_HALF_EVEN)
    return parse_decimal(str(number))


def _above_zero(row: Any, name: str) -> Decimal:
    number = read_number(row, name)
    if number <= 0:
        raise ValueError(f"{name} is not above zero")
    return number


def read_time(row: Any, name: str) -> datetime:
    """A time of India that says no zone, such as `2026-11-20 10:30:00`, as aware UTC."""
    at = datetime.fromisoformat(read_text(row, name))
    return (at.replace(tzinfo=IST) if at.tzinfo is None else at).astimezone(UTC)
