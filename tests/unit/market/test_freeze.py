"""Freeze quantities: read strictly, and unknown as soon as the file is out of date."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.core.errors import ConfigError
from bridge.market.dump_rows import read_instruments
from bridge.market.freeze import SHIPPED, load_freezes
from bridge.market.instruments import Catalog
from bridge.market.listing import list_in_memory
from tests.support.dumps import DumpPlan, make_dump

DAY = date(2026, 8, 14)
LISTING = list_in_memory(read_instruments(make_dump(DumpPlan(day=DAY)), "made up"))


def catalog_on(day: date) -> Catalog:
    return Catalog(LISTING, lambda: day, load_freezes())


@pytest.mark.parametrize(
    ("symbol", "units"),
    [
        ("NFO:NIFTY26AUGFUT", 1800),
        ("NFO:NIFTY26AUG26000CE", 1800),
        ("NFO:BANKNIFTY26AUGFUT", 600),
        ("NFO:SBIN26AUGFUT", None),
        ("BFO:SENSEX26AUGFUT", None),
        ("NSE:SBIN", None),
        ("NSE:NONE", None),
    ],
)
def test_freeze_quantity_by_underlying(symbol, units):
    """Contracts of the indices that the circular names; of anything else nobody can say."""
    assert catalog_on(DAY).freeze_qty(symbol) == (None if units is None else Decimal(units))


@pytest.mark.parametrize(("day", "known"), [("07-31", False), ("08-01", True), ("08-31", True), ("09-01", False)])
def test_freeze_quantity_out_of_date_is_unknown(day, known):
    """They change from month to month: the last one known is a guess."""
    found = catalog_on(date.fromisoformat(f"2026-{day}")).freeze_qty("NFO:NIFTY26AUGFUT")

    assert (found is not None) is known


def test_catalog_without_a_file_knows_none():
    """Unknown, not unlimited."""
    assert Catalog(LISTING, lambda: DAY).freeze_qty("NFO:NIFTY26AUGFUT") is None


def test_own_file_replaces_the_shipped_one(tmp_path):
    """A newer circular is written into a file that the setting names."""
    told = json.loads(SHIPPED.read_text()) | {"good_to": "2026-12-31", "quantities": {"NIFTY": 2000}}
    path = write(tmp_path, told)
    catalog = Catalog(LISTING, lambda: date(2026, 11, 23), load_freezes(path))

    assert catalog.freeze_qty("NFO:NIFTY26AUGFUT") == 2000
    assert catalog.freeze_qty("NFO:BANKNIFTY26AUGFUT") is None


def write(folder: Path, told: object) -> Path:
    path = folder / "freeze.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"good_to": "2026-07-01"},
        {"good_from": "soon"},
        {"as_of": 3},
        {"exchange": ""},
        {"quantities": []},
        {"quantities": {"NIFTY": 0}},
        {"quantities": {"NIFTY": 1.5}},
        {"quantities": {"NIFTY": True}},
        {"more": 1},
    ],
)
def test_wrong_file_names_the_setting(tmp_path, change):
    """A file that is wrong in one place is not used for the others."""
    with pytest.raises(ConfigError, match="freeze_quantities: "):
        load_freezes(write(tmp_path, json.loads(SHIPPED.read_text()) | change))


@pytest.mark.parametrize("text", ["", "[]", "{}", "nan", "[" * 100_000, "x" * ((1 << 20) + 1)])
def test_file_that_is_none_names_the_setting(tmp_path, text):
    """Whatever the file holds."""
    with pytest.raises(ConfigError, match="freeze_quantities: "):
        load_freezes(write(tmp_path, text))


def test_missing_file_names_the_setting(tmp_path):
    """With the system's words."""
    with pytest.raises(ConfigError, match=r"freeze_quantities: .*No such file"):
        load_freezes(tmp_path / "none.json")
