"""Charges to the paisa; the expected figures were worked out by hand from reference tables of 2024 and 2026."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.charges import EXCHANGES, OTHER_EXCHANGE, RATES_FILE, charges_for, load_rates, segment_of
from bridge.core.enums import InstrumentKind, Product, Side
from bridge.core.instrument import Instrument

BUY, SELL = Side.BUY, Side.SELL
CNC, MIS, MTF, NRML = Product.CNC, Product.MIS, Product.MTF, Product.NRML
EQ, FUT, CE = InstrumentKind.EQ, InstrumentKind.FUT, InstrumentKind.CE
NOW = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
CHANGE = datetime(2026, 3, 31, 18, 30, tzinfo=UTC)  # midnight in India before 1 April 2026
BEFORE = CHANGE - timedelta(seconds=1)


def instrument(exchange: str, kind: InstrumentKind, multiplier: str = "1") -> Instrument:
    return Instrument(
        symbol=f"{exchange}:X",
        exchange=exchange,
        tradingsymbol="X",
        name="X",
        kind=kind,
        tick=Decimal("0.05"),
        lot=Decimal(1),
        multiplier=Decimal(multiplier),
    )


def charge(exchange, kind, product, side, qty, px, at=NOW, **earlier) -> Decimal:
    return charges_for(instrument(exchange, kind), product, side, Decimal(qty), Decimal(px), at=at, **earlier)


BY_HAND = [
    # value 50,000: STT 50 + fee 1.535 + SEBI 0.05 + stamp 7.50 + GST 0.2853
    ("NSE", EQ, CNC, BUY, 100, 500, NOW, "59.37"),
    # no stamp, but 15.34 for the depository
    ("NSE", EQ, CNC, SELL, 100, 500, NOW, "67.21"),
    # brokerage 20 of 150 + STT 50 + 1.535 + 0.05 + 7.50 + GST 3.8853
    ("NSE", EQ, MTF, BUY, 100, 500, NOW, "82.97"),
    # brokerage 15 + 1.535 + 0.05 + stamp 1.50 + GST 2.9853
    ("NSE", EQ, MIS, BUY, 100, 500, NOW, "21.07"),
    # value 500,000: brokerage capped at 20 + STT 125 + 15.35 + 0.50 + GST 6.453
    ("NSE", EQ, MIS, SELL, 1000, 500, NOW, "167.30"),
    # value 1,000: brokerage 0.30 + STT 0.25 + 0.0375 + 0.001 + GST 0.06093
    ("BSE", EQ, MIS, SELL, 10, 100, NOW, "0.65"),
    # value 1,800,000: 20 + STT 900 + 32.94 + 1.80 + GST 9.8532; before April 2026 STT 360 and fee 31.14
    ("NFO", FUT, NRML, SELL, 75, 24000, NOW, "964.59"),
    ("NFO", FUT, NRML, SELL, 75, 24000, BEFORE, "422.47"),
    # premium 15,000: 20 + STT 22.50 + 5.3295 + 0.015 + GST 4.56201; before STT 15 and fee 5.2545
    ("NFO", CE, NRML, SELL, 75, 200, NOW, "52.41"),
    ("NFO", CE, MIS, SELL, 75, 200, BEFORE, "44.82"),
    # no STT on buying, stamp 0.45
    ("NFO", CE, NRML, BUY, 75, 200, NOW, "30.36"),
    # value 1,600,000 at an exchange without a fee: 20 + 1.60 + stamp 32 + GST 3.888
    ("BFO", FUT, MIS, BUY, 20, 80000, NOW, "57.49"),
]


@pytest.mark.parametrize(("exchange", "kind", "product", "side", "qty", "px", "at", "expected"), BY_HAND)
def test_charges_are_those_worked_out_by_hand(exchange, kind, product, side, qty, px, at, expected):
    """Each segment, side and exchange, before and after the rates changed."""
    assert charge(exchange, kind, product, side, qty, px, at) == Decimal(expected)


def test_new_rates_hold_from_midnight_in_india():
    """1 April 2026 begins at 18:30 UTC of the day before."""
    assert charge("NFO", FUT, NRML, SELL, 75, 24000, CHANGE) == Decimal("964.59")
    assert charge("NFO", FUT, NRML, SELL, 75, 24000, BEFORE) == Decimal("422.47")


def test_time_before_the_table_pays_its_earliest_rates():
    """A replay of older history is charged, if roughly, and never free."""
    long_ago = datetime(2015, 1, 1, tzinfo=UTC)
    assert charge("NFO", FUT, NRML, SELL, 75, 24000, long_ago) == Decimal("422.47")


def test_the_multiplier_counts_into_the_turnover():
    """Rupees per point and unit make the value that charges are taken of."""
    ten = charges_for(instrument("NFO", FUT, "10"), NRML, SELL, Decimal(75), Decimal(2400), at=NOW)
    assert ten == Decimal("964.59")


def test_unknown_exchange_pays_the_dearest_fee():
    """What the table does not know is not made cheap: MCX pays NSE's fee, the higher of the two."""
    assert charge("MCX", FUT, NRML, SELL, 75, 24000) == Decimal("964.59")
    assert charge("MCX", CE, NRML, SELL, 75, 200) == Decimal("52.41")


def test_unknown_segment_pays_as_margin_funded_shares():
    """Shares carried as NRML exist nowhere; they pay the dearest of the shares' segments."""
    assert charge("NSE", EQ, NRML, BUY, 100, 500) == Decimal("82.97")
    assert segment_of(InstrumentKind.INDEX, MIS) == "mtf"


def test_brokerage_counts_once_per_order():
    """Two fills of one options order pay the flat 20 rupees once."""
    first = charge("NFO", CE, NRML, BUY, 25, 200)
    second = charge("NFO", CE, NRML, BUY, 50, 200, traded=Decimal(5000), charged=first)
    assert first + second == charge("NFO", CE, NRML, BUY, 75, 200) == Decimal("30.36")
    assert first > Decimal(20) > second


def test_charges_already_taken_are_never_given_back():
    """Even when an order was charged more than it would be now."""
    assert charge("NSE", EQ, MIS, BUY, 1, 100, charged=Decimal(50)) == 0


kinds = st.sampled_from([("NSE", EQ), ("BSE", EQ), ("NFO", FUT), ("BFO", CE), ("NFO", CE), ("MCX", FUT)])
quantities = st.lists(st.integers(1, 5000), min_size=1, max_size=8)
prices = st.decimals("0.05", "50000", places=2)


@given(kinds, st.sampled_from(Product), st.sampled_from(Side), quantities, prices)
def test_splitting_an_order_into_fills_changes_nothing(kind, product, side, parts, px):
    """The charges of all fills of an order add up to those of one fill, to the paisa."""
    traded = charged = Decimal(0)
    exchange, segment = kind
    for qty in parts:
        charged += charge(exchange, segment, product, side, qty, px, traded=traded, charged=charged)
        traded += qty * px
    assert charged == charge(exchange, segment, product, side, sum(parts), px)


@given(kinds, st.sampled_from(Product), st.sampled_from(Side), st.integers(1, 5000), prices)
def test_charges_are_whole_paise_and_never_negative(kind, product, side, qty, px):
    """Every order costs something or nothing, in whole paise."""
    exchange, segment = kind
    charges = charge(exchange, segment, product, side, qty, px)
    assert charges >= 0
    assert charges == charges.quantize(Decimal("0.01"))


def test_every_rate_has_a_source_and_a_day():
    """The table is data that a person can check: each row says from when and who says so."""
    rows = json.loads(RATES_FILE.read_text(encoding="utf-8"))["rates"]
    for row in rows:
        assert row["source"]
        assert date.fromisoformat(row["from"]) <= NOW.date()
        assert row.get("side") in (None, "BUY", "SELL")
        assert row.get("exchange") in (None, *EXCHANGES.values())
        assert "percent" in row or "flat" in row
        if row["charge"] == "brokerage" and Decimal(row.get("percent", 0)):
            assert Decimal(row["cap"]) > 0
    keys = [(row["charge"], row["segment"], row.get("exchange"), row.get("side"), row["from"]) for row in rows]
    assert len(keys) == len(set(keys))


def test_every_kind_of_order_has_rates_newest_first():
    """No order can come that is not charged."""
    rates = load_rates()
    assert len(rates) == len(InstrumentKind) * len(Product) * len(Side) * (len(EXCHANGES) + 1)
    assert (FUT, NRML, SELL, OTHER_EXCHANGE) in rates
    for dated in rates.values():
        assert [rate.since for rate in dated] == sorted((rate.since for rate in dated), reverse=True)
