"""What ships in config/scans can be used as it is."""

from pathlib import Path

import pytest

from bridge.scanner.definition import read_definition
from bridge.scanner.files import read_text, shipped
from bridge.scanner.terms import Engine

FILES = shipped(Path(__file__).parents[3] / "config" / "scans")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_shipped_definition_reads_and_compiles(name: str) -> None:
    definition = read_definition(read_text(FILES[name].read_text()))
    assert definition.name == name
    assert definition.note
    Engine(definition.terms(), 3)


def test_there_is_one_of_each_kind() -> None:
    assert {"ema-cross", "sma-cross", "rsi-reversion", "breakout"} <= set(FILES)
    assert {"nse-momentum", "msci-momentum", "clenow", "intraday-momentum"} <= set(FILES)
