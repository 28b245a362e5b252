"""Decisions at the close of a bar: entries, exits, ranks with hysteresis, and a reason for every symbol."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import Action
from bridge.scanner.decide import Evaluation, Holding, Verdict
from bridge.scanner.definition import read_definition
from bridge.scanner.terms import Bar, Engine

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
NAMES = ("NSE:A", "NSE:B", "NSE:C", "NSE:D")


def bar(closes: Any, *, high: float = 0.0, low: float = 0.0) -> Bar:
    close = np.array(closes, float)
    return Bar.of(open=close, high=close + high, low=close - low, close=close, volume=np.where(np.isnan(close), np.nan, 100.0))


def look(
    changes: Mapping[str, Any], bars: list[Bar], holdings: Mapping[str, Holding] | None = None, **named: Any
) -> Evaluation:
    """The evaluation of a definition after these bars."""
    source = {"name": "x", "strategy": "demo", "universe": list(NAMES), "interval": "5m", **changes}
    definition = read_definition(source)
    engine = Engine(definition.terms(), len(NAMES))
    for each in bars:
        engine.step(each)
    return Evaluation(definition, engine.read(), NAMES, holdings or {}, at=AT, lots={}, **named)


def held(quantity: int = 10, entry: float = 100.0, **extremes: Any) -> Holding:
    return Holding(quantity=Decimal(quantity), entry_px=entry, **extremes)


def wishes(found: Evaluation) -> list[tuple[str, str]]:
    return [(wish.symbol[4:], wish.action.value) for wish in found.wishes]


RISING = {"long": {"enter": "close > close[1]", "leave": "close < close[1]"}}


def test_a_rule_enters_and_leaves() -> None:
    """Each symbol for itself; one that is held is not entered again."""
    found = look(RISING, [bar([10, 10, 10, 10]), bar([11, 11, 9, 10])], {"NSE:B": held(), "NSE:C": held()})
    assert wishes(found) == [("C", "exit"), ("A", "buy")]
    lines = {line.symbol: line for line in found.lines()}
    assert lines["NSE:B"].verdict is Verdict.HOLD
    assert lines["NSE:D"].verdict is Verdict.OUT
    assert lines["NSE:A"].checks[0].values == (("close", 11.0), ("lag(close, 1)", 10.0))


def test_what_is_missing_is_a_reason() -> None:
    """No bar, and not enough of them: neither enters and neither closes what is held."""
    found = look(
        {"long": {"enter": "close > sma(close, 3)", "leave": "close < 5"}}, [bar([1, np.nan, 1, 1])], {"NSE:B": held()}
    )
    assert wishes(found) == []
    lines = {line.symbol: line.why for line in found.lines()}
    assert lines["NSE:A"].startswith("not known yet")
    assert lines["NSE:B"] == "held; no bar now"


def test_several_filters_have_to_pass_all() -> None:
    """Each is computed, and all of them together."""
    filters = {"dear": "close > 5", "rising": "close > close[1]"}
    found = look({**RISING, "filters": filters}, [bar([10, 10, 4, 10]), bar([11, 9, 5, np.nan])])
    assert wishes(found) == [("A", "buy")]
    assert {line.symbol[4:]: line.why for line in found.lines()}["C"] == "does not pass: dear"


SCAN = {"score": "roc(close, 1)", "top": 2, "keep": 3, "filters": {"dear": "close > 5"}}


def test_a_scan_enters_the_best_and_keeps_them_longer() -> None:
    """Hysteresis: rank 3 stays when held and is not entered when not."""
    bars = [bar([10, 10, 10, 10]), bar([14, 13, 12, 11])]
    assert wishes(look(SCAN, bars)) == [("A", "buy"), ("B", "buy")]
    kept = look(SCAN, bars, {"NSE:C": held()})
    assert wishes(kept) == [("A", "buy")]
    assert {line.symbol: line.why for line in kept.lines()}["NSE:B"] == "2 are held already"
    left = look(SCAN, bars, {"NSE:D": held()})
    assert wishes(left) == [("D", "exit"), ("A", "buy"), ("B", "buy")]


def test_what_is_being_closed_is_neither_closed_again_nor_counted_as_held() -> None:
    """Its place is free for the next; whether its rule still says so or not, there is one exit."""
    bars = [bar([10, 10, 10, 10]), bar([14, 13, 12, 11])]
    leaving = held(is_leaving=True)
    found = look(SCAN, bars, {"NSE:A": leaving, "NSE:D": leaving})
    assert wishes(found) == [("B", "buy")]
    lines = {line.symbol: (line.verdict, line.why) for line in found.lines()}
    assert lines["NSE:D"] == lines["NSE:A"] == (Verdict.LEAVE, "its exit is under way")


def test_who_passes_no_more_leaves_a_scan() -> None:
    found = look(SCAN, [bar([10, 10, 10, 10]), bar([4, 13, 12, 11])], {"NSE:A": held()})
    assert wishes(found)[0] == ("A", "exit")
    assert found.wishes[0].why == "it passes no more: dear"


def test_stops_targets_and_trails() -> None:
    """By the bar's range; of a bar that touches both, the stop counts."""
    exits = {**RISING, "exits": {"stop": {"percent": 5}, "target": {"percent": 10}, "trail": {"percent": 3}}}
    flat = [bar([100] * 4), bar([100] * 4, high=20, low=20)]
    assert [wish.why for wish in look(exits, flat, {"NSE:A": held()}).wishes if wish.action is Action.EXIT] == ["stop at 95.00"]
    up = [bar([100] * 4), bar([100] * 4, high=12)]
    assert look(exits, up, {"NSE:A": held()}).wishes[0].why == "target at 110.00"
    trailed = look(exits, [bar([100] * 4), bar([100] * 4, low=2)], {"NSE:A": held(high=104.0)})
    assert trailed.wishes[0].why == "trailing stop at 100.88"
    short = {"short": {"enter": "close < 1"}, "exits": {"stop": {"percent": 5}}}
    assert look(short, up, {"NSE:A": held(-10)}).wishes[0].why == "stop at 105.00"


def test_the_other_side_is_left_before_it_is_entered() -> None:
    both = {"long": {"enter": "close > close[1]"}, "short": {"enter": "close < close[1]"}}
    found = look(both, [bar([10] * 4), bar([9] * 4)], {"NSE:A": held()})
    assert wishes(found) == [("A", "exit"), ("A", "sell"), ("B", "sell"), ("C", "sell"), ("D", "sell")]


def test_sizes() -> None:
    bars = [bar([10] * 4), bar([1_000] * 4)]
    assert look({**RISING, "size": {"rupees": 5_500}}, bars).wishes[0].quantity == 5
    risk = {**RISING, "size": {"risk": 100}, "exits": {"stop": {"percent": 2}}}
    assert look(risk, bars).wishes[0].quantity == 5
    assert look(RISING, bars).wishes[0].quantity is None
    small = look({**RISING, "size": {"rupees": 500}}, bars)
    assert small.wishes == ()
    assert small.lines()[0].why == "the size comes to less than one lot"


def test_doubted_bars_neither_enter_nor_leave() -> None:
    found = look(RISING, [bar([10] * 4), bar([11, 9, 11, 11])], {"NSE:B": held()}, untrusted={"NSE:A": "twin", "NSE:B": "twin"})
    assert wishes(found) == [("C", "buy"), ("D", "buy")]
    assert found.lines()[0].why == "twin"


@settings(max_examples=60)
@given(
    closes=st.lists(st.lists(st.floats(1, 200), min_size=4, max_size=4), min_size=2, max_size=6),
    holds=st.lists(st.integers(-3, 3), min_size=4, max_size=4),
)
def test_every_symbol_has_one_verdict_and_no_side_is_doubled(closes: list[list[float]], holds: list[int]) -> None:
    """Exits only of what is held, entries only of what is not held on that side, at most `top` held in the end."""
    holdings = {name: held(units) for name, units in zip(NAMES, holds, strict=True) if units > 0}
    found = look(SCAN, [bar(row) for row in closes], holdings)
    exits = {wish.symbol for wish in found.wishes if wish.action is Action.EXIT}
    entries = [wish.symbol for wish in found.wishes if wish.action is Action.BUY]
    assert exits <= set(holdings)
    assert not set(entries) & set(holdings)
    assert len(entries) == len(set(entries))
    assert len(set(holdings) - exits) + len(entries) <= max(2, len(set(holdings) - exits))
    assert [line.symbol for line in found.lines()] != []
    assert all(line.why for line in found.lines())
