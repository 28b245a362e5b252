"""What a fill costs besides its price: brokerage, taxes and fees by the dated table data/charges-zerodha.json.

Figures are to the paisa per order. Not modelled, and said so in the table: rounding of taxes per contract note,
exercise, interest and pledging.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from itertools import product as every
from pathlib import Path
from typing import Any, NamedTuple

from bridge.core.clock import IST
from bridge.core.dated import RatesFacts
from bridge.core.enums import InstrumentKind, Product, Side
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, PAISA, ZERO

RATES_FILE = Path(__file__).parent / "data" / "charges-zerodha.json"
HUNDRED = Decimal(100)
# Derivatives trade on exchanges of their own name, at the rates of the exchange behind them.
EXCHANGES = {"NSE": "NSE", "NFO": "NSE", "BSE": "BSE", "BFO": "BSE"}
# An exchange that is not in the table pays the dearest transaction fee that is.
OTHER_EXCHANGE = ""
# What is not in the table pays as margin-funded shares do, the dearest of the shares: profit is not flattered.
DEAREST_SEGMENT = "mtf"


class Rate(NamedTuple):
    """All charges of one kind of order from `since` on, with GST worked in; parts of one, and rupees per order.

    `brokerage` is None where the broker takes `brokerage_cap` whatever the value.
    """

    since: datetime
    per_value: Decimal
    per_order: Decimal
    brokerage: Decimal | None
    brokerage_cap: Decimal

    def of(self, turnover: Decimal, *, with_depository: bool = True) -> Decimal:
        """The charges of an order that has traded for `turnover` rupees; what the depository takes is no part of some notes."""
        cap = self.brokerage_cap
        brokerage = cap if self.brokerage is None else turnover * self.brokerage
        total = turnover * self.per_value + (brokerage if brokerage < cap else cap)
        if with_depository:
            total += self.per_order
        return total.quantize(PAISA, ROUND_HALF_UP)


Key = tuple[str, str, str, str]  # kind, product, side, exchange
Table = Mapping[Key, tuple[Rate, ...]]  # the newest rate first


def charges_for(
    instrument: Instrument,
    product: Product,
    side: Side,
    qty: Decimal,
    px: Decimal,
    *,
    at: datetime,
    traded: Decimal = ZERO,
    charged: Decimal = ZERO,
) -> Decimal:
    """Rupees that a fill of `qty` at `px` adds to what its order is charged; never negative.

    `traded` is the turnover (price x quantity x multiplier) and `charged` the charges of the order's fills before it,
    since brokerage counts per order: however an order is split into fills, the sum is that of one fill.
    """
    added = _rate_at(instrument, product, side, at).of(traded + qty * px * instrument.multiplier) - charged
    return added if added > ZERO else ZERO


def noted_charges(
    instrument: Instrument, product: Product, side: Side, qty: Decimal, px: Decimal, at: datetime
) -> Decimal | None:
    """Rupees that a contract note names for an order of `qty` at `px`: all but the depository's.

    None for an instrument whose exchange or kind is not in the table.
    """
    if instrument.exchange not in EXCHANGES:
        return None
    turnover = qty * px * instrument.multiplier
    return _rate_at(instrument, product, side, at).of(turnover, with_depository=False)


def _rate_at(instrument: Instrument, product: Product, side: Side, at: datetime) -> Rate:
    table = load_rates()
    key = (instrument.kind, product, side, instrument.exchange)
    rates = table.get(key) or table[(*key[:3], OTHER_EXCHANGE)]
    for rate in rates:
        if at >= rate.since:
            break
    return rate


@cache
def load_rates() -> Table:
    """The table as shipped, read once and worked out for every kind of order."""
    rows = json.loads(RATES_FILE.read_text(encoding="utf-8"))["rates"]
    keys = every(InstrumentKind, Product, Side, (*EXCHANGES, OTHER_EXCHANGE))
    return {key: _rates_of(rows, *key) for key in keys}


@cache
def rates_facts() -> RatesFacts:
    """From which days the table has rates, and when it was last held against what is published."""
    told = json.loads(RATES_FILE.read_text(encoding="utf-8"))
    days = {date.fromisoformat(row["from"]) for row in told["rates"]}
    return RatesFacts(days=tuple(sorted(days)), as_of=date.fromisoformat(told["as_of"]))


def segment_of(kind: InstrumentKind, product: Product) -> str:
    """The segment of the table that an order falls in."""
    if kind.is_option:
        return "options"
    if kind is InstrumentKind.FUT:
        return "futures"
    shares = {Product.CNC: "delivery", Product.MIS: "intraday", Product.MTF: "mtf"}
    return shares.get(product, DEAREST_SEGMENT) if kind is InstrumentKind.EQ else DEAREST_SEGMENT


def _rates_of(
    rows: Iterable[dict[str, Any]], kind: InstrumentKind, product: Product, side: Side, exchange: str
) -> tuple[Rate, ...]:
    segment = segment_of(kind, product)
    mine = [row for row in rows if row["segment"] == segment and row.get("side", side) == side]
    if exchange != OTHER_EXCHANGE:
        mine = [row for row in mine if row.get("exchange", EXCHANGES[exchange]) == EXCHANGES[exchange]]
    days = sorted({row["from"] for row in mine}, reverse=True)
    return tuple(_rate_on(day, mine) for day in days)


def _rate_on(day: str, rows: Iterable[dict[str, Any]]) -> Rate:
    """The rate in force on `day`: of each charge the newest row, and of several exchanges the dearest."""
    newest: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: str(row["from"])):
        if row["from"] <= day:
            newest[row["charge"]][row.get("exchange", OTHER_EXCHANGE)] = row

    def percent(charge: str) -> Decimal:
        return max((Decimal(row.get("percent", 0)) for row in newest[charge].values()), default=ZERO) / HUNDRED

    with_gst = ONE + percent("gst")
    brokerage = next(iter(newest["brokerage"].values()))
    flat, cap = brokerage.get("flat"), brokerage.get("cap")
    return Rate(
        since=datetime.fromisoformat(day).replace(tzinfo=IST).astimezone(UTC),
        per_value=percent("stt") + percent("stamp") + (percent("transaction") + percent("sebi")) * with_gst,
        per_order=sum((Decimal(row["flat"]) for row in newest["depository"].values()), ZERO),
        brokerage=None if flat else percent("brokerage") * with_gst,
        brokerage_cap=Decimal(flat or cap or 0) * with_gst,
    )
