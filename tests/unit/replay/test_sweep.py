"""Sweeps: the grid is what was asked for, the choice looks at no later day, and the processes change nothing."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from bridge.core.bar import Interval
from bridge.core.errors import ConfigError
from bridge.market.bars.synthetic import weekdays
from bridge.replay.run import Plan
from bridge.replay.sweep import Variant, judge, read_axis, run_sweep, variants_of
from bridge.scanner.definition import Distance, read_definition
from tests.support.replays import minute_times, play, store_of, walk
from tests.support.rigs import NO_CHARGES, make_settings

A = "NSE:SBIN"
DAYS = weekdays(date(2026, 6, 1), date(2026, 6, 5))
SOURCE = {
    "name": "cross", "strategy": "s0", "universe": [A], "interval": "15m", "size": {"quantity": 5},
    "long": {"enter": "cross_over(close, sma(close, 3))", "leave": "cross_under(close, sma(close, 3))"},
    "exits": {"stop": {"percent": 2}},
}  # fmt: skip


def test_a_grid_has_every_combination_and_puts_values_where_they_belong():
    """Keys and numbers of rules, alone or together, each combination once."""
    axes = [read_axis("exits.stop.percent=1,2.5"), read_axis("long.enter#1+long.leave#1=3,5,8")]
    found = list(variants_of(SOURCE, axes))
    assert len(found) == len({definition.version for _values, definition in found}) == 6
    values, definition = found[-1]
    assert values == {"exits.stop.percent": "2.5", "long.enter#1+long.leave#1": "8"}
    assert definition.exits.stop == Distance(percent=Decimal("2.5"))
    assert definition.source["long"]["enter"] == "cross_over(close, sma(close, 8))"
    assert definition.source["long"]["leave"] == "cross_under(close, sma(close, 8))"
    assert "sma(close, 3)" in str(SOURCE)


@pytest.mark.parametrize("text", ["exits.target.percent=1", "long.enter#2=5", "long.enter#x=5", "name", "exits.stop=", "a=1"])
def test_a_place_that_is_none_is_named(text):
    """Nothing is tried that was not meant."""
    with pytest.raises(ConfigError, match="--sweep"):
        list(variants_of(SOURCE, [read_axis(text)]))


def test_too_many_variants_are_refused():
    """Each one more makes chance look better."""
    axes = [read_axis("size.quantity=" + ",".join(map(str, range(1, 40)))), read_axis("long.enter#1=" + "3,4,5" * 9)]
    with pytest.raises(ConfigError, match="at most 500"):
        list(variants_of(SOURCE, axes))


def variant(name, moves):
    equity, value = [], 100.0
    for move in moves:
        value *= 1 + move
        equity.append(value)
    definition = read_definition({**SOURCE, "note": name})
    days = tuple(weekdays(date(2026, 1, 1), date(2026, 12, 31)))[: len(moves)]
    return Variant(values={"n": name}, definition=definition, equity=tuple(equity), days=days, trades=1)


def test_the_choice_is_made_by_the_first_days_alone():
    """What did best later is not chosen for it, and the walk forward trades what was best before each part."""
    early = variant("early", [0.01, 0.002] * 35 + [-0.01, 0.001] * 15)
    late = variant("late", [-0.001, 0.001] * 35 + [0.02, 0.01] * 15)
    judged = judge([late, early], 100.0)
    assert judged["chosen"] == 1
    assert [row["is_chosen"] for row in judged["rows"]] == [False, True]
    assert judged["rows"][1]["outside"]["sharpe"] < 0 < judged["rows"][0]["outside"]["sharpe"]
    assert [fold["values"]["n"] for fold in judged["folds"]] == ["early"] * 4
    assert judged["folds"][-1]["outside"] < 0
    other_future = replace(late, equity=late.equity[:70] + tuple(10 * value for value in late.equity[70:]))
    assert judge([other_future, early], 100.0)["chosen"] == 1


def test_a_variant_in_a_process_of_its_own_is_the_replay_itself(tmp_path):
    """The same equity, day by day, as replayed here."""
    store = store_of(tmp_path, Interval.MINUTES_15, {A: walk(1, minute_times(DAYS))})
    here = play(tmp_path, store, SOURCE, days=DAYS)
    account = {**NO_CHARGES, "square_off": False}
    strategies = {"s0": {"accounts": ["paper"], "product": "MIS"}}
    settings = make_settings(tmp_path / "s", accounts={"paper": account}, strategies=strategies)
    plan = Plan(
        definitions=(read_definition(SOURCE),), symbols={"cross": (A,)}, begin=DAYS[0], end=DAYS[-1],
        cash=Decimal(100_000_000), slippage_bps=Decimal(0), no_limits=True, charges=False,
    )  # fmt: skip
    grid = list(variants_of(SOURCE, [read_axis("long.enter#1=3")]))
    (found,) = run_sweep(settings, plan, tmp_path / "bars.db", grid)
    assert found.equity == tuple(point.equity for point in here.days)
    assert found.trades == len(here.trades) > 3
