"""The shipped sample of instruments: well formed, and true to the exchange's rules for ticks, lots and expiries."""

import csv
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.core.enums import InstrumentKind
from bridge.core.money import is_multiple
from bridge.market.calendar import load_calendar
from bridge.market.instruments import load_catalog

SAMPLE = Path(__file__).resolve().parents[3] / "config" / "instruments.csv"
CATALOG = load_catalog(SAMPLE, lambda: date(2026, 11, 21))
ROWS = list(csv.DictReader(SAMPLE.read_text(encoding="utf-8").splitlines()))
PRICES = {f"{row['exchange']}:{row['tradingsymbol']}": Decimal(row["last_price"]) for row in ROWS}
# Reference E3: shares and their futures by price; E2: lots of the indices.
TICKS = ((250, "0.01"), (1_000, "0.05"), (5_000, "0.10"), (10_000, "0.50"), (20_000, "1.00"))
INDEX_LOTS = {"NIFTY": 65, "BANKNIFTY": 30}
INDEX_TICKS = {"NIFTY": Decimal("0.10"), "BANKNIFTY": Decimal("0.20")}


def tick_of(price: Decimal) -> Decimal:
    return next((Decimal(tick) for top, tick in TICKS if price < top), Decimal(5))


def test_sample_has_what_the_docs_use():
    """Fifty shares with their futures, the indices, and options of three expiries."""
    shares = [i for i in CATALOG if i.kind is InstrumentKind.EQ]

    assert len(shares) == 50
    assert all(share.has_derivatives for share in shares)
    for name in ("SBIN", "RELIANCE", "INFY", "TCS", "HDFCBANK", "ICICIBANK", "BAJAJ-AUTO", "M&M", "ITC"):
        assert CATALOG.get(f"NSE:{name}") is not None
    for name in ("NSE:NIFTY 50", "NSE:NIFTY BANK", "BSE:SENSEX"):
        assert CATALOG.resolve(name).kind is InstrumentKind.INDEX
    assert len({i.expiry for i in CATALOG if i.kind.is_option}) == 3


@pytest.mark.parametrize("item", [i for i in CATALOG if i.kind is not InstrumentKind.INDEX], ids=lambda i: i.symbol)
def test_ticks_and_lots_follow_the_exchange(item):
    """E3's bands for shares and their futures, 0.05 for options, E2's lots for indices; prices are whole ticks."""
    price = PRICES[item.symbol]
    if item.kind.is_option:
        assert item.tick == Decimal("0.05")
    else:
        assert item.tick == INDEX_TICKS.get(item.name, tick_of(price))
    if item.name in INDEX_LOTS:
        assert item.lot == INDEX_LOTS[item.name]
    assert (item.lot == 1) is (item.kind is InstrumentKind.EQ)
    assert is_multiple(price, item.tick)


def test_expiries_are_last_tuesdays_moved_before_holidays():
    """24 November is a holiday, 26 January always is one: both contracts end the day before."""
    calendar = load_calendar()
    futures = {i.expiry for i in CATALOG if i.kind is InstrumentKind.FUT}

    assert futures == {date(2026, 11, 23), date(2026, 12, 29), date(2027, 1, 25)}
    for year, month in ((2026, 11), (2026, 12)):
        last = date(year, month, 30 if month == 11 else 31)
        while last.weekday() != 1:
            last -= timedelta(days=1)
        while not calendar.is_trading_day(last):
            last -= timedelta(days=1)
        assert last in futures


def test_continuous_futures_of_the_sample():
    """Today's front and next month."""
    assert CATALOG.resolve("NSE:NIFTY1!").expiry == date(2026, 11, 23)
    assert CATALOG.resolve("NSE:BANKNIFTY2!").expiry == date(2026, 12, 29)


def test_options_are_found_by_tradingviews_name():
    """Monthly and weekly names differ at the broker, not at TradingView."""
    assert CATALOG.resolve("NIFTY261123C26000").symbol == "NFO:NIFTY26NOV26000CE"
    assert CATALOG.resolve("NIFTY261201P26200").symbol == "NFO:NIFTY26D0126200PE"
    assert CATALOG.resolve("NIFTY261229C25900").symbol == "NFO:NIFTY26DEC25900CE"
