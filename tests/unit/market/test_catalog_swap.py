"""Replacing the list while it is read: every answer is of one list, and spellings are worked out anew."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import InstrumentKind
from bridge.core.errors import RefusedError
from bridge.core.instrument import Instrument
from bridge.market.dump_rows import read_instruments
from bridge.market.instruments import Catalog
from bridge.market.listing import Listing, list_in_memory
from tests.support.dumps import DumpPlan, make_dump

TODAY = date(2026, 11, 20)
LINES = list(make_dump(DumpPlan(day=TODAY, shares=200, optioned=12)))
CATALOG = Catalog(list_in_memory(read_instruments(LINES, "made up")), lambda: TODAY)
LISTED = list(CATALOG)
_LETTERS = "FGHJKMNQUVXZ"
_SHOWN = {"NFO": "NSE", "BFO": "BSE", "CDS": "NSE", "MCX": "MCX", "NSE": "NSE", "BSE": "BSE"}


def spell(item: Instrument) -> str:
    """An instrument as TradingView writes it."""
    exchange, name = _SHOWN[item.exchange], item.name.replace("&", "_").replace("-", "_")
    if item.expiry is None:
        return f"{exchange}:{item.tradingsymbol.replace('&', '_').replace('-', '_')}"
    if item.kind is InstrumentKind.FUT:
        return f"{exchange}:{name}{_LETTERS[item.expiry.month - 1]}{item.expiry.year}"
    return f"{exchange}:{name}{item.expiry:%y%m%d}{'C' if item.kind is InstrumentKind.CE else 'P'}{item.strike}"


@given(item=st.sampled_from(LISTED))
@settings(max_examples=300)
def test_tradingviews_spelling_leads_back(item):
    """For any instrument: written as TradingView does, it resolves to itself, or is refused naming it among others."""
    twins = [other for other in LISTED if spell(other) == spell(item)]
    if len(twins) == 1:
        assert CATALOG.resolve(spell(item)) == item
        return
    with pytest.raises(RefusedError, match="can mean") as caught:
        CATALOG.resolve(spell(item))
    assert item.symbol in caught.value.message


@given(item=st.sampled_from([i for i in LISTED if i.expiry]), days=st.integers(1, 6))
def test_expiry_that_is_not_listed_is_refused_with_near_ones(item, days):
    """A contract of another day is never put in its place; at most three others are named."""
    day = item.expiry.replace(day=1 + (item.expiry.day + days) % 28)
    if item.kind is InstrumentKind.FUT or any(i.expiry == day for i in LISTED):
        return
    text = f"{_SHOWN[item.exchange]}:{item.name}{day:%y%m%d}C{item.strike}"
    with pytest.raises(RefusedError) as caught:
        CATALOG.resolve(text)

    assert "expire on" in str(caught.value.hint)
    near = str(caught.value.hint).partition("Near it: ")[2].rstrip(".").split(", ")
    assert 1 <= len(near) <= 3
    for spelling in near:
        assert CATALOG.resolve(f"{_SHOWN[item.exchange]}:{spelling}").strike == item.strike


def test_moved_expiry_is_not_guessed():
    """24 November is a holiday and the contract ends on the 23rd: the alert must say so."""
    moved = [line.replace("2026-11-24", "2026-11-23") for line in LINES]
    catalog = Catalog(list_in_memory(read_instruments(moved, "made up")), lambda: TODAY)
    with pytest.raises(RefusedError) as caught:
        catalog.resolve("NSE:NIFTY261124C26000")

    assert "Near it: NIFTY261123C26000, NIFTY261201C26000, NIFTY261208C26000." in str(caught.value.hint)
    assert catalog.resolve("NSE:NIFTY261123C26000").symbol == "NFO:NIFTY26NOV26000CE"


def listing_of(lot: int) -> Listing:
    """A share and a future, both of this lot: an answer with two lots has mixed two lists."""
    lines = [
        LINES[0],
        f'1,1,X,"X",0,,0,0.05,{lot},EQ,NSE,NSE',
        f'2,2,X26NOVFUT,"X",0,2026-11-24,0,0.05,{lot},FUT,NFO-FUT,NFO',
    ]
    return list_in_memory(read_instruments(lines, "made up"))


def test_lists_are_swapped_under_readers():
    """Readers in several threads see the old list or the new one, and after a swap the new one."""
    lists = [listing_of(1), listing_of(2)]
    catalog, over = Catalog(lists[0], lambda: TODAY), Event()

    def read() -> set[int]:
        lots = set()
        while not over.is_set():
            for text in ("NSE:X", "nse:x", "X1!", "NSE:XX2026"):
                lots.add(int(catalog.resolve(text).lot))
            found = catalog.get("NFO:X26NOVFUT")
            assert found is not None
            lots.add(int(found.lot))
        return lots

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for number in range(1, 400):
                    catalog.replace(listing_of(1 + number % 2))
                    assert catalog.resolve("X1!").lot == 1 + number % 2
                    assert catalog.resolve("nse:x").lot == 1 + number % 2
            finally:
                over.set()
            assert set().union(*(reader.result() for reader in readers)) <= {1, 2}
    finally:
        sys.setswitchinterval(interval)


def test_multipliers_follow_the_list():
    """Rupees per point are those of the list in use; what is not listed has none."""
    catalog = Catalog(listing_of(1), lambda: TODAY)
    multipliers = catalog.multipliers
    assert multipliers.get("MCX:CRUDEOIL26NOVFUT") is None

    catalog.replace(list_in_memory(read_instruments(LINES, "made up")))

    assert multipliers["MCX:CRUDEOIL26NOVFUT"] == 100
    assert multipliers["NSE:SBIN"] == 1
    assert "MCX:MENTHAOIL26NOVFUT" not in multipliers
    assert len(multipliers) == len(list(multipliers)) == len(LISTED)
