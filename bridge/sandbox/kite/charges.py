"""What orders cost, item by item as the vendor answers it; rates of 2026, rounded to the paisa."""

from decimal import Decimal
from typing import Any, NamedTuple

from bridge.core.money import PAISA, ZERO
from bridge.sandbox.kite.market import Listed
from bridge.sandbox.kite.values import number

CRORE = Decimal(10_000_000)
SEBI_PER_CRORE = Decimal(10)
GST = Decimal("0.18")
MOST_BROKERAGE = Decimal(20)
_PERCENT = Decimal("0.01")


class Rates(NamedTuple):
    """Percent of turnover; `flat` is brokerage in rupees whatever the turnover."""

    brokerage: Decimal
    tax_buy: Decimal
    tax_sell: Decimal
    exchange: Decimal
    stamp: Decimal
    flat: Decimal = ZERO


def _rates(*numbers: str) -> Rates:
    return Rates(*map(Decimal, numbers))


_TABLE = {
    "delivery": _rates("0", "0.1", "0.1", "0.00307", "0.015"),
    "intraday": _rates("0.03", "0", "0.025", "0.00307", "0.003"),
    "future": _rates("0.03", "0", "0.05", "0.00183", "0.002"),
    "option": _rates("0", "0", "0.15", "0.03553", "0.003", "20"),
}


def rates_of(item: Listed, product: str) -> Rates:
    """The row of the table that an order falls in."""
    if item.is_option:
        return _TABLE["option"]
    if not item.is_share:
        return _TABLE["future"]
    return _TABLE["intraday" if product == "MIS" else "delivery"]


def charges_of(item: Listed, product: str, side: str, turnover: Decimal) -> dict[str, Any]:
    """The vendor's `charges` of one order that trades for so many rupees."""
    rates = rates_of(item, product)

    def share(percent: Decimal) -> Decimal:
        return (turnover * percent * _PERCENT).quantize(PAISA)

    tax = share(rates.tax_buy if side == "BUY" else rates.tax_sell)
    exchange, sebi = share(rates.exchange), (turnover / CRORE * SEBI_PER_CRORE).quantize(PAISA)
    brokerage = min(share(rates.brokerage), MOST_BROKERAGE) + (rates.flat if turnover else ZERO)
    stamp = share(rates.stamp) if side == "BUY" else ZERO
    gst = ((brokerage + exchange + sebi) * GST).quantize(PAISA)
    return {
        "transaction_tax": number(tax),
        "transaction_tax_type": "stt" if item.exchange not in ("MCX", "NCO") else "ctt",
        "exchange_turnover_charge": number(exchange),
        "sebi_turnover_charge": number(sebi),
        "brokerage": number(brokerage),
        "stamp_duty": number(stamp),
        "gst": {"igst": number(gst), "cgst": 0, "sgst": 0, "total": number(gst)},
        "total": number(tax + exchange + sebi + brokerage + stamp + gst),
    }
