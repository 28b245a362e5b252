"""Slicing: an approved order above the exchange's freeze quantity becomes several, each of which the exchange takes.

The limits have judged the whole; the parts are one order to them. Freeze quantities: `bridge/market/freeze.py`.
"""

from dataclasses import replace
from decimal import Decimal

from bridge.core.decision import Approved, Denied
from bridge.core.enums import Variety
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, ZERO, leg_size, to_text
from bridge.core.reasons import Reason

# At eight orders a second a minute's worth; an entry would be too old to leave before the last one has.
MAX_PARTS = 400


def slice_order(approved: Approved, instrument: Instrument, most: Decimal | None) -> list[Approved] | Denied:
    """The orders that an approved one is sent as: full ones of at most `most` units in whole lots, and what is left.

    It stays one where `most` is not known, or not smaller than the order, or than each leg of an iceberg.
    """
    intent = approved.intent
    quantity = intent.order_qty
    if most is not None and quantity > most and intent.protect is not None and not intent.reduce_only:
        message = (
            f"A protection rests as one order, of which the exchange takes at most {to_text(most)} units of {intent.symbol}; "
            f"{to_text(quantity)} could not be protected."
        )
        return Denied(reason=Reason.FREEZE_QTY, message=message, limit=to_text(most), observed=to_text(quantity))
    lot = max(instrument.lot, ONE)
    largest = leg_size(quantity, intent.iceberg_legs, lot) if intent.variety is Variety.ICEBERG else quantity
    if most is None or largest <= most:
        return [approved]
    full = most - most % lot
    count = int(quantity // full) + bool(quantity % full) if full > ZERO else MAX_PARTS + 1
    if count > MAX_PARTS:
        return Denied(
            reason=Reason.FREEZE_QTY,
            message=(
                f"The exchange takes at most {to_text(most)} units of {intent.symbol} in one order, and {to_text(quantity)} "
                f"would need more than {MAX_PARTS} orders."
            ),
            limit=to_text(most),
            observed=to_text(quantity),
        )
    parts = []
    for part in range(1, count + 1):
        size = min(full, quantity - full * (part - 1))
        sliced = replace(intent, order_qty=size, part=part, parts=count)
        parts.append(replace(approved, intent=sliced, capped_by=approved.capped_by if part == 1 else None))
    return parts
