"""Factors from a file of the user's: found by name, part of the version, and their faults told as theirs."""

from pathlib import Path

import numpy as np
import pytest

from bridge.scanner.definition import DefinitionError, read_definition
from bridge.scanner.own_factors import load_factors
from bridge.scanner.programs import make_groups
from bridge.scanner.terms import Bar, TermError

SOURCE = {
    "name": "x",
    "strategy": "demo",
    "universe": ["NSE:A", "NSE:B"],
    "interval": "5m",
    "long": {"enter": "mid(high, low) > 10"},
}
FILE = """
def register(factors):
    factors.add("mid", lookback=1, compute=lambda highs, lows: (highs[-1] + lows[-1]) / 2)
"""


def test_a_definition_names_a_factor_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    factors = load_factors(file)
    definition = read_definition(SOURCE, factors)
    (group,) = make_groups([definition], lambda each: each.symbols)
    high, low = np.array([12.0, 9.0]), np.array([10.0, 8.0])
    group.engine.step(Bar.of(open=low, high=high, low=low, close=high, volume=high))
    assert definition.long is not None
    assert definition.long.enter is not None
    assert group.engine.read().passes(definition.long.enter).tolist() == [True, False]


def test_the_file_is_part_of_the_version_of_who_uses_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    one = load_factors(file)
    file.write_text(FILE.replace("/ 2", "/ 3"))
    two = load_factors(file)
    assert read_definition(SOURCE, one).version != read_definition(SOURCE, two).version
    plain = {**SOURCE, "long": {"enter": "close > 10"}}
    assert read_definition(plain, one).version == read_definition(plain, two).version


@pytest.mark.parametrize("text", ["def register(factors):\n    1 / 0\n", "x = (", "pass"])
def test_a_bad_file_is_told_as_such(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(DefinitionError, match="factors: "):
        load_factors(file)


def test_a_missing_file_and_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="factors: "):
        load_factors(tmp_path / "nowhere.py")
    with pytest.raises(DefinitionError, match="mid"):
        read_definition(SOURCE)
    with pytest.raises(TermError):
        load_factors(None).add("not a word", lookback=1, compute=lambda x: x)
