"""Definitions: what is understood, what is refused with the key named, and that the version is the content."""

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.core.errors import ConfigError
from bridge.scanner.definition import CadenceKind, Definition, DefinitionError, read_definition

CROSS: dict[str, Any] = {
    "name": "ema-cross",
    "strategy": "demo",
    "universe": ["NSE:SBIN", "NSE:TCS"],
    "interval": "5m",
    "long": {"enter": "cross_over(ema(close, 9), ema(close, 21))", "leave": "cross_under(ema(close, 9), ema(close, 21))"},
    "exits": {"stop": {"percent": 1}, "target": {"atr": 3, "bars": 20}},
    "size": {"quantity": "10"},
}
SCAN: dict[str, Any] = {
    "name": "momentum",
    "strategy": "demo",
    "universe": "nifty200",
    "interval": "1d",
    "cadence": "monthly",
    "filters": {"trend": "close > sma(close, 100)"},
    "score": "roc(close, 126)",
    "top": 30,
    "keep": 45,
    "size": {"rupees": 50_000},
}


def test_a_strategy_is_read() -> None:
    found = read_definition(CROSS)
    assert found.interval is Interval.MINUTES_5
    assert found.symbols == ("NSE:SBIN", "NSE:TCS")
    assert found.exits.stop is not None
    assert found.exits.stop.percent == 1
    assert found.exits.target is not None
    assert (found.exits.target.atr, found.exits.target.bars) == (Decimal(3), 20)
    assert found.size.quantity == Decimal(10)
    assert not found.is_ranked


def test_a_scan_is_read() -> None:
    found = read_definition(SCAN)
    assert (found.universe, found.symbols, found.top, found.keep) == ("nifty200", (), 30, 45)
    assert found.cadence.kind is CadenceKind.MONTHLY
    assert found.is_ranked
    assert found.long is not None
    assert found.long.enter is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Ema"}, "name:"),
        ({"strategy": None}, "strategy:"),
        ({"universe": []}, "universe:"),
        ({"universe": ["SBIN"]}, "'SBIN' is no symbol"),
        ({"universe": ["NSE:SBIN", "NSE:SBIN"]}, "named twice"),
        ({"interval": "2h"}, "interval:"),
        ({"cadence": "daily@25:00"}, "cadence:"),
        ({"cadence": "hourly"}, "cadence:"),
        ({"filters": {"a": "close"}}, "filters.a:"),
        ({"filters": {"a": "close >"}}, "filters.a: column"),
        ({"filters": {"a": "__import__('os')"}}, "filters.a:"),
        ({"score": "roc(close, 10)"}, "top:"),
        ({"top": 3}, "top: needs a score"),
        ({"keep": 3}, "keep: needs a score"),
        ({"score": "roc(close, 5)", "top": 5, "keep": 3}, "keep: 3 is better"),
        ({"long": {"leave": "close > 1"}}, "long.enter: missing"),
        ({"long": {"entre": "close > 1"}}, "long: a mapping"),
        ({"long": {"enter": "close"}}, "long.enter:"),
        ({"exits": {"stop": 1}}, "exits.stop:"),
        ({"exits": {"stop": {"percent": 0}}}, "exits.stop.percent:"),
        ({"exits": {"stop": {"percent": 100}}}, "exits.stop.percent:"),
        ({"exits": {"stop": {"atr": 2, "bars": 0}}}, "exits.stop.bars:"),
        ({"size": {"quantity": 1, "rupees": 2}}, "size:"),
        ({"size": {"quantity": "NaN"}}, "size.quantity:"),
        ({"size": {"risk": 100}, "exits": {}}, "size.risk:"),
        ({"colour": "red"}, "colour: no such key"),
    ],
)
def test_what_cannot_be_used_names_the_key(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DefinitionError, match=told.replace("(", r"\(")):
        read_definition({**CROSS, **changes})


def test_without_any_rule_there_is_nothing_to_do() -> None:
    with pytest.raises(DefinitionError, match="long: missing"):
        read_definition({name: value for name, value in CROSS.items() if name != "long"})


def test_the_version_is_the_content() -> None:
    """The order of keys does not count; a number more does."""
    same = read_definition(dict(reversed(list(CROSS.items()))))
    other = read_definition({**CROSS, "size": {"quantity": "11"}})
    assert same.version == read_definition(CROSS).version
    assert len(same.version) == 12
    assert other.version != same.version


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from(sorted(SCAN | CROSS)), value=ANYTHING)
def test_whatever_is_written_is_read_or_refused(key: str, value: Any) -> None:
    """No other error, and nothing runs: the text of a definition comes from a page."""
    with contextlib.suppress(ConfigError):
        assert isinstance(read_definition({**CROSS, key: value}), Definition)
