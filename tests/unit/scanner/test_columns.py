"""Dated columns: never from the future, never too old, and a file that cannot be read lets nothing through."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from bridge.scanner.columns import Columns, read_column
from bridge.scanner.definition import Definition, DefinitionError, read_definition

NAMES = ("NSE:A", "NSE:B", "NSE:C")
TEXT = "day,symbol,value\n2026-11-10,NSE:A,-1\n2026-11-18,NSE:A,0.5\n2026-11-20,NSE:A,-0.5\n2026-11-18,NSE:B,-0.1\n"


def made(**rule: Any) -> Definition:
    source = {"name": "x", "strategy": "demo", "universe": list(NAMES), "long": {"enter": "close > 1"}}
    return read_definition({**source, "columns": {"sentiment": rule}})


@pytest.fixture
def columns(tmp_path: Path) -> Columns:
    (tmp_path / "sentiment.csv").write_text(TEXT)
    return Columns(tmp_path)


def test_a_value_counts_from_its_day_on(columns: Columns) -> None:
    """On the 19th that of the 20th is not known."""
    rule = made(at_least=0)
    assert columns.held_back(rule, NAMES, date(2026, 11, 19)) == {"NSE:B": "sentiment -0.1 of 2026-11-18 is below 0"}
    assert set(columns.held_back(rule, NAMES, date(2026, 11, 20))) == {"NSE:A", "NSE:B"}
    assert columns.held_back(made(at_most=0), NAMES, date(2026, 11, 19)) == {"NSE:A": "sentiment 0.5 of 2026-11-18 is above 0"}


def test_who_has_no_young_value_is_not_held_back(columns: Columns) -> None:
    assert columns.held_back(made(at_least=0), NAMES, date(2026, 11, 9)) == {}
    assert set(columns.held_back(made(at_least=0, days=1), NAMES, date(2026, 11, 19))) == {"NSE:B"}
    assert columns.held_back(made(at_least=0, days=0), NAMES, date(2026, 11, 19)) == {}


def test_a_column_that_cannot_be_read_holds_all_back(columns: Columns, tmp_path: Path) -> None:
    (tmp_path / "sentiment.csv").write_text("day,symbol\n")
    found = columns.held_back(made(at_least=0), NAMES, date(2026, 11, 19))
    assert set(found) == set(NAMES)
    assert "line 1" in found["NSE:A"]
    (tmp_path / "sentiment.csv").unlink()
    assert "cannot be read" in columns.held_back(made(at_least=0), NAMES, date(2026, 11, 19))["NSE:B"]


def test_a_file_that_changed_is_read_anew(columns: Columns, tmp_path: Path) -> None:
    assert columns.held_back(made(at_least=0), NAMES, date(2026, 11, 19))
    (tmp_path / "sentiment.csv").write_text("day,symbol,value\n2026-11-18,NSE:B,3\n")
    assert columns.held_back(made(at_least=0), NAMES, date(2026, 11, 19)) == {}


@pytest.mark.parametrize("row", ["2026-13-01,NSE:A,1", "2026-11-20,NSE:A", "2026-11-20,NSE:A,x", "2026-11-20,NSE:A,NaN"])
def test_a_bad_line_is_named(tmp_path: Path, row: str) -> None:
    file = tmp_path / "sentiment.csv"
    file.write_text(f"day,symbol,value\n{row}\n")
    with pytest.raises(DefinitionError, match="line 2"):
        read_column(file)


@pytest.mark.parametrize("rule", [{}, {"days": 3}, {"at_least": "x"}, {"at_least": 1, "days": -1}, {"least": 1}, 5])
def test_a_rule_that_says_nothing_is_refused(rule: Any) -> None:
    source = {"name": "x", "strategy": "demo", "universe": list(NAMES), "long": {"enter": "close > 1"}}
    with pytest.raises(DefinitionError, match=r"columns\.sentiment"):
        read_definition({**source, "columns": {"sentiment": rule}})
