"""When definitions are asked, and that those of the same bars share an engine."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.scanner.decide import Holding
from bridge.scanner.definition import Definition, read_definition
from bridge.scanner.programs import OUTSIDE, Group, GroupKey, Outside, due_on, is_due, make_groups, once_key
from bridge.scanner.terms import Bar, library

OPEN = datetime(2026, 11, 20, 9, 15, tzinfo=IST)


def made(cadence: str = "bar", interval: str = "5m", **changes: Any) -> Definition:
    source = {
        "name": "x", "strategy": "demo", "universe": ["NSE:A"], "interval": interval, "cadence": cadence,
        "long": {"enter": "close > 1"}, **changes,
    }  # fmt: skip
    return read_definition(source)


def due_times(definition: Definition, days: int = 1, minutes: int = 5) -> list[str]:
    """Closes of the bars of some sessions at which the definition is asked."""
    found, before = [], OPEN - timedelta(days=1) + timedelta(minutes=375)
    for day in range(days):
        opens = OPEN + timedelta(days=day)
        for number in range(1, 376 // minutes + 1):
            closed = opens + timedelta(minutes=minutes * number)
            if is_due(definition, closed, before, opens):
                found.append(f"{closed.astimezone(IST):%d %H:%M}")
            before = closed
    return found


def test_cadences_of_short_bars() -> None:
    assert len(due_times(made("bar"))) == 75
    assert due_times(made("15m"))[:3] == ["20 09:30", "20 09:45", "20 10:00"]
    assert due_times(made("7m"), minutes=5)[:3] == ["20 09:25", "20 09:30", "20 09:40"]
    assert due_times(made("daily@15:10"), days=2) == ["20 15:10", "21 15:10"]
    assert due_times(made("daily@15:07"), days=2) == ["20 15:10", "21 15:10"]
    assert due_times(made("daily@09:00")) == ["20 09:20"]
    assert due_times(made("pre-open"), days=2) == ["20 09:20", "21 09:20"]
    assert due_times(made("monthly"), days=20)[:1] == ["01 09:20"]


def test_daily_bars_are_asked_on_the_next_trading_day() -> None:
    assert due_on(made("bar", "1d"), OPEN, date(2026, 11, 19)) == OPEN
    assert due_on(made("daily@15:10", "1d"), OPEN, date(2026, 11, 19)) == OPEN.replace(hour=15, minute=10)
    assert due_on(made("monthly", "1d"), OPEN, date(2026, 11, 19)) is None
    assert due_on(made("monthly", "1d"), OPEN.replace(month=12, day=1), date(2026, 11, 30)) is not None


def test_equal_bars_share_an_engine() -> None:
    one, two, other = made(), made("15m", name="y"), made(interval="1m")
    groups = make_groups([one, two, other], lambda definition: definition.symbols)
    assert [len(group.definitions) for group in groups] == [2, 1]
    assert groups[0].key.interval is Interval.MINUTES_5


def test_bars_come_in_order_and_decide_once() -> None:
    definition = made()
    group = make_groups([definition], lambda each: each.symbols)[0]
    two = np.array([2.0])
    bar = Bar.of(open=two, high=two, low=two, close=two, volume=two)
    at = OPEN.astimezone(UTC)
    group.step(bar, at)
    found = group.evaluate(definition, {}, lots={})
    assert [wish.symbol for wish in found.wishes] == ["NSE:A"]
    with pytest.raises(ValueError, match="after one that closed"):
        group.step(bar, at)
    key = once_key(definition, at, "NSE:A", "buy")
    assert key == once_key(definition, at, "NSE:A", "buy") != once_key(definition, at + timedelta(minutes=5), "NSE:A", "buy")


def closes_of(*closes: float) -> Bar:
    prices = np.array(closes)
    return Bar.of(open=prices, high=prices, low=prices, close=prices, volume=np.ones(len(prices)))


NAMES = ("NSE:A", "NSE:B", "NSE:C", "NSE:D")
BEST: dict[str, Any] = {"score": "close", "top": 1, "keep": 2, "long": {}, "universe": list(NAMES)}


def best(outside: Outside = (), untrusted: Mapping[str, str] | None = None) -> tuple[Definition, Group]:
    source = {"name": "x", "strategy": "demo", "interval": "5m", **BEST}
    definition = read_definition(source)
    return definition, Group(GroupKey(definition.interval, NAMES, outside), [definition], untrusted or {})


def held(*symbols: str) -> dict[str, Holding]:
    return {symbol: Holding(quantity=Decimal(1), entry_px=1.0) for symbol in symbols}


def test_who_is_outside_the_universe_is_left_by_the_rank_he_would_have_and_never_entered() -> None:
    """Ranks are among members: the best of them is the first, whoever is better outside."""
    definition, group = best(((date(2026, 11, 20), frozenset({"NSE:A", "NSE:B"})), (date(2026, 11, 23), frozenset())))
    group.step(closes_of(9, 1, 5, 4), OPEN)
    found = group.evaluate(definition, held("NSE:A", "NSE:B"), lots={})
    assert [(wish.symbol, wish.action.value, wish.rank) for wish in found.wishes] == [("NSE:B", "exit", 3)]
    assert found.line(0).why == f"held, rank 1; {OUTSIDE}"
    assert [wish.symbol for wish in group.evaluate(definition, {}, lots={}).wishes] == ["NSE:C"]
    assert group.evaluate(definition, {}, lots={}).line(0).why == OUTSIDE
    group.begin_day(date(2026, 11, 22))
    assert group.outside == {"NSE:A", "NSE:B"}
    group.begin_day(date(2026, 11, 24))
    group.step(closes_of(9, 1, 5, 4), OPEN + timedelta(days=4))
    assert [wish.symbol for wish in group.evaluate(definition, {}, lots={}).wishes] == ["NSE:A"]


def test_bars_that_are_doubted_count_in_no_rank() -> None:
    definition, group = best(untrusted={"NSE:A": "split"})
    group.step(closes_of(9, 6, 5, 4), OPEN)
    found = group.evaluate(definition, held("NSE:D"), lots={})
    assert [(wish.symbol, wish.action.value, wish.rank) for wish in found.wishes] == [("NSE:D", "exit", 3), ("NSE:B", "buy", 1)]
    assert found.line(0).why == "split"


def test_a_bar_that_passes_by_changes_no_answer_and_is_remembered() -> None:
    """Who is asked afterwards says what was said before; the next bar knows of it."""
    definition, group = best()
    group.step(closes_of(9, 6, 5, 4), OPEN)
    before = group.evaluate(definition, {}, lots={}).wishes
    group.pass_by(closes_of(np.nan, np.nan, np.nan, 20))
    assert group.evaluate(definition, {}, lots={}).wishes == before
    assert group.closed_at == OPEN
    assert group.engine.read().value(library.close)[3] == 20
