"""Protective orders at Kite: good-till-triggered orders, which have no tag, and the ordinary orders that they place.

Towards the bridge such a trigger and its order are one order under one tag: the trigger gives the id, and once it has fired
the order that it placed gives state and fills.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.brokers.kite.mapping import PRODUCTS, SIDES, read_number, read_symbol, read_text, read_time
from bridge.core.clock import market_day
from bridge.core.enums import OrdType, Side
from bridge.core.money import ZERO, to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.protection import Legs
from bridge.core.report import BookRow

ID_PREFIX = "gtt:"
# Kite's clock and ours may differ by so much; a trigger from before that is not the order's.
SKEW = timedelta(seconds=30)
_TYPES = {1: "single", 2: "two-leg"}
# What became of a trigger that places no order any more; those not named here wait, or have fired.
_ENDED = {
    "deleted": OrderStatus.CANCELLED,
    "cancelled": OrderStatus.CANCELLED,
    "disabled": OrderStatus.CANCELLED,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
}
ACTIVE, TRIGGERED = "active", "triggered"


# -- out ----------------------------------------------------------------------------------------------------------------


class MetError(ValueError):
    """A trigger that the price has reached already."""


def write_gtt(order: Order, last_price: Decimal | None) -> dict[str, Any]:
    """What `place_gtt` wants; ValueError for a protection that Kite would not take, MetError for one that it would refuse or
    understand the wrong way round.
    """
    intent, legs = order.intent, order.intent.legs
    exchange, _, tradingsymbol = intent.symbol.partition(":")
    if legs is None:
        raise ValueError("There is nothing to wait for.")
    if intent.order_qty != intent.order_qty.to_integral_value():
        raise ValueError(f"Kite takes whole units only, not {to_text(intent.order_qty)}.")
    if last_price is None:
        raise ValueError(f"No price is known for {intent.symbol}, which Kite wants with a trigger.")
    check_not_met(legs, intent.side, last_price)
    leg_words = {
        "transaction_type": SIDES[intent.side], "quantity": int(intent.order_qty), "order_type": "LIMIT",
        "product": PRODUCTS[intent.product],
    }  # fmt: skip
    return {
        "trigger_type": _TYPES[len(legs.by_price)],
        "tradingsymbol": tradingsymbol,
        "exchange": exchange,
        "trigger_values": [float(leg.trigger_px) for leg in legs.by_price],
        "last_price": float(last_price),
        "orders": [{**leg_words, "price": float(leg.limit_px)} for leg in legs.by_price],
    }


def check_not_met(legs: Legs, side: Side, last: Decimal) -> None:
    """Kite takes a trigger below the last price for a fall and one above it for a rise, whatever it was meant for: MetError."""
    for name, leg, waits_for_rise in (("stop", legs.stop, side is Side.BUY), ("target", legs.target, side is Side.SELL)):
        if leg is not None and (last >= leg.trigger_px if waits_for_rise else last <= leg.trigger_px):
            raise MetError(f"The {name} of {to_text(leg.trigger_px)} is met already: the last price is {to_text(last)}.")


def trigger_id(broker_order_id: str | None) -> str:
    """Kite's number of a trigger; empty when there is none."""
    return (broker_order_id or "").removeprefix(ID_PREFIX)


def read_trigger_id(told: Any) -> str:
    """The id under which a trigger is known here, of the answer to its placing."""
    number = told["data"]["trigger_id"]
    if isinstance(number, bool) or not isinstance(number, int | str) or not str(number).isdigit():
        raise ValueError("is not the id of a trigger")
    return f"{ID_PREFIX}{number}"


# -- in -----------------------------------------------------------------------------------------------------------------


def merge_triggers(
    rows: Sequence[BookRow], told: Sequence[Any], ours: Sequence[Order], now: datetime
) -> tuple[list[BookRow], list[str]]:
    """The book with one row for each protective order of ours in place of the orders that triggers placed, and odd words."""
    if not ours:
        return list(rows), []
    book, merged, odd = {row.broker_order_id: row for row in rows}, [], []
    for order, trigger in find_ours(told, ours):
        child = read_child(trigger)
        placed = book.pop(child, None)
        status = read_text(trigger, "status")
        if status not in _ENDED and status not in (ACTIVE, TRIGGERED):
            odd.append(
                f"Kite has a trigger status that is not known here, {status[:40]!r}; such a protection counts as resting"
            )
        merged.append(_merge(order, trigger, child, placed, now))
    return [*book.values(), *merged], odd


def find_ours(told: Sequence[Any], ours: Sequence[Order]) -> list[tuple[Order, Any]]:
    """Each order of ours with its trigger: by id where that is known, else by content, since a trigger has no tag.

    Two triggers of the same content for one order are a double order, and both are given. An order that has ended comes last:
    one that never left and was withdrawn has the content of the one that was made in its place.
    """
    by_id = {f"{ID_PREFIX}{trigger['id']}": trigger for trigger in told}
    known = {order.broker_order_id for order in ours}
    found = [(order, by_id[order.broker_order_id]) for order in ours if order.broker_order_id in by_id]
    free = [trigger for ident, trigger in by_id.items() if ident not in known]
    unknown = [order for order in ours if order.broker_order_id is None and order.sends]
    for order in sorted(unknown, key=lambda order: order.status.is_closed):
        same = [trigger for trigger in free if is_same(order, trigger)]
        found += [(order, trigger) for trigger in same]
        free = [trigger for trigger in free if trigger not in same]
    return found


def is_same(order: Order, trigger: Any) -> bool:
    """Whether a trigger has an order's content, and is not older."""
    intent, legs = order.intent, order.intent.legs
    if legs is None:
        return False
    condition, orders = trigger["condition"], trigger["orders"]
    values = [_price(value) for value in condition["trigger_values"]]
    if read_symbol(condition) != intent.symbol or values != [leg.trigger_px for leg in legs.by_price]:
        return False
    wanted = (SIDES[intent.side], PRODUCTS[intent.product], intent.order_qty)
    is_alike = all((one["transaction_type"], one["product"], read_number(one, "quantity")) == wanted for one in orders)
    return is_alike and read_time(trigger, "created_at") >= order.created_at - SKEW


def _price(value: Any) -> Decimal:
    return read_number({"price": value}, "price")


def read_child(trigger: Any) -> str:
    """The id of the order that a trigger has placed; empty when it has placed none."""
    return next((str(told["order_id"]) for told in _results(trigger) if told.get("order_id")), "")


def _results(trigger: Any) -> list[Mapping[str, Any]]:
    """What became of the legs that have fired."""
    results = (one.get("result") for one in trigger["orders"])
    told = (result.get("order_result") for result in results if isinstance(result, Mapping))
    return [one for one in told if isinstance(one, Mapping)]


def _merge(order: Order, trigger: Any, child: str, placed: BookRow | None, now: datetime) -> BookRow:
    """A trigger, and the order it placed, as the one order that the bridge knows."""
    intent, status = order.intent, read_text(trigger, "status")
    row = BookRow(
        broker_order_id=f"{ID_PREFIX}{trigger['id']}",
        tag=order.tag,
        symbol=intent.symbol,
        side=intent.side,
        product=intent.product,
        ord_type=OrdType.GTT,
        order_qty=intent.order_qty,
        cum_qty=ZERO,
        status=_ENDED.get(status, OrderStatus.PLACED),
        message=f"Kite says that the trigger is {status}." if status in _ENDED else "",
        updated_at=read_time(trigger, "updated_at"),
    )
    if status != TRIGGERED:
        return row
    if placed is not None:
        fills = tuple(replace(fill, tag=order.tag) for fill in placed.fills)
        return replace(
            row, cum_qty=placed.cum_qty, status=placed.status, message=placed.message or f"Triggered: order {child}.",
            updated_at=placed.updated_at, fills=fills,
        )  # fmt: skip
    reasons = [str(told.get("rejection_reason") or "no reason given") for told in _results(trigger)]
    if not child and reasons:
        return replace(row, status=OrderStatus.REJECTED, message=f"Triggered, and its order was rejected: {reasons[0]}")
    if market_day(row.updated_at) < market_day(now):
        message = f"It triggered on an earlier day; what became of its order {child} is not in the book of today."
        return replace(row, status=OrderStatus.EXPIRED, message=message)
    return row  # the book is behind, or Kite is placing the order now
