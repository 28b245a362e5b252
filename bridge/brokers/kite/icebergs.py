"""Icebergs: Kite shows each leg as an order of its own under one tag; to the bridge they are one order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from bridge.brokers.kite.mapping import UNREADABLE, read_number
from bridge.core.money import ONE, ZERO, leg_size
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow


class Leg(NamedTuple):
    """One leg: its number, the whole order's quantity, what is left for legs to come, and its own row."""

    number: Decimal
    total: Decimal
    remaining: Decimal
    row: BookRow


def cut_legs(quantity: Decimal, legs: int, lot: Decimal) -> tuple[int, Decimal]:
    """How many legs of how many units an order makes: at most `legs`, in whole lots, the last one maybe smaller.

    One leg is no iceberg: so small an order goes as a regular one.
    """
    size = leg_size(quantity, legs, lot)
    return int((quantity / size).to_integral_value(ROUND_CEILING)), size


def read_leg(told: Any, row: BookRow) -> Leg | None:
    """The leg that a row of the book tells of; None for one that is no leg of ours."""
    meta = told.get("meta")
    leg = meta.get("iceberg") if isinstance(meta, Mapping) else None
    if not row.tag or not isinstance(leg, Mapping):
        return None
    try:
        return Leg(read_number(leg, "leg"), read_number(leg, "total_quantity"), read_number(leg, "remaining_quantity"), row)
    except UNREADABLE:  # it stays a row of its own, and a person sees it
        return None


def merge_legs(rows: Sequence[BookRow], legs: Sequence[Leg]) -> tuple[list[BookRow], dict[str, str]]:
    """The rows with the legs of each tag as one, under the first leg's id; and by that id the newest leg's.

    Two first legs under one tag are two orders where one was meant: they stay apart, and are told as such.
    """
    by_tag: defaultdict[str, list[Leg]] = defaultdict(list)
    for leg in legs:
        by_tag[leg.row.tag].append(leg)
    merged, newest, taken = list[BookRow](), dict[str, str](), set[str]()
    for of_tag in by_tag.values():
        ordered = sorted(of_tag, key=lambda leg: (leg.number, leg.row.broker_order_id))
        if [leg.number for leg in ordered].count(ONE) != 1:
            continue
        merged.append(_merge(ordered))
        newest[merged[-1].broker_order_id] = ordered[-1].row.broker_order_id
        taken.update(leg.row.broker_order_id for leg in ordered)
    return [*(row for row in rows if row.broker_order_id not in taken), *merged], newest


def _merge(legs: Sequence[Leg]) -> BookRow:
    first, last = legs[0].row, legs[-1]
    cum_qty = sum((leg.row.cum_qty for leg in legs), ZERO)
    fills = tuple(replace(fill, broker_order_id=first.broker_order_id) for leg in legs for fill in leg.row.fills)
    return replace(
        first,
        order_qty=last.total,
        cum_qty=cum_qty,
        status=_status(last, cum_qty),
        message=last.row.message,
        updated_at=max(leg.row.updated_at for leg in legs),
        fills=fills,
    )


def _status(last: Leg, cum_qty: Decimal) -> OrderStatus:
    status = last.row.status
    if status is OrderStatus.FILLED and not last.remaining:
        return OrderStatus.FILLED
    if status.is_closed and status is not OrderStatus.FILLED:
        return OrderStatus.CANCELLED if cum_qty else status
    return OrderStatus.PARTIAL if cum_qty else OrderStatus.PLACED
