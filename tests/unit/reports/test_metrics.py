"""Metrics: each equals its formula written out as a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.reports.metrics import curve_metrics, daily_returns, drawdowns, expected_best_sharpe, trade_metrics

curves = st.lists(st.floats(min_value=1e3, max_value=1e7), min_size=2, max_size=40)
profits = st.lists(st.floats(min_value=-1e5, max_value=1e5).map(lambda x: round(x, 2)), max_size=40)


def loop_returns(equity, opening):
    found, before = [], opening
    for value in equity:
        found.append(value / before - 1)
        before = value
    return found


@given(curves)
def test_ratios_equal_their_formulas(equity):
    """Volatility, Sharpe and Sortino by loops: 252 days, n - 1, downside over all days."""
    returns = loop_returns(equity, 1e5)
    mean = sum(returns) / len(returns)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
    downside = math.sqrt(sum(min(r, 0) ** 2 for r in returns) / len(returns))
    found = curve_metrics(equity, 1e5)
    assert found.volatility == pytest.approx(deviation * math.sqrt(252), rel=1e-9, abs=1e-12)
    if deviation > 1e-9:
        assert found.sharpe == pytest.approx(mean / deviation * math.sqrt(252), rel=1e-6)
    if downside > 1e-9:
        assert found.sortino == pytest.approx(mean / downside * math.sqrt(252), rel=1e-6, abs=1e-9)
    assert (found.best_day, found.worst_day) == (max(returns), min(returns))


@given(curves)
def test_drawdown_equals_its_formula(equity):
    """The deepest fall from a top, that of the opening included, and the longest run below one."""
    top, deepest, run, longest = 1e5, 0.0, 0, 0
    for value in equity:
        top = max(top, value)
        deepest = min(deepest, value / top - 1)
        run = run + 1 if value < top else 0
        longest = max(longest, run)
    found = curve_metrics(equity, 1e5)
    assert found.max_drawdown == pytest.approx(deepest, abs=1e-12)
    assert found.drawdown_days == longest
    assert drawdowns(equity, 1e5).min() == found.max_drawdown


@given(curves)
def test_growth_and_calmar_equal_their_formulas(equity):
    """Compounded over 252 days, and over the deepest drawdown."""
    found = curve_metrics(equity, 1e5)
    assert found.cagr == pytest.approx((equity[-1] / 1e5) ** (252 / len(equity)) - 1, rel=1e-9)
    assert found.total_return == pytest.approx(equity[-1] / 1e5 - 1)
    assert found.cagr is not None
    if found.max_drawdown:
        assert found.calmar == found.cagr / -found.max_drawdown
    else:
        assert found.calmar is None


def test_a_year_without_a_move_has_no_ratios():
    """Nothing is divided by zero: what is not defined is None."""
    found = curve_metrics([100.0] * 5, 100.0)
    assert (found.sharpe, found.sortino, found.calmar, found.max_drawdown) == (None, None, None, 0)
    alone = curve_metrics([90.0], 100.0)
    assert (alone.volatility, alone.sharpe, alone.sortino) == (None, None, None)
    assert curve_metrics([0.0], 100.0).cagr is None
    assert daily_returns([110.0], 100.0).tolist() == [pytest.approx(0.1)]


@given(profits)
def test_trades_equal_their_formulas(found):
    """Counts and sums by loops; a trade that came to nothing is neither won nor lost."""
    won, lost = 0.0, 0.0
    wins = losses = 0
    for profit in found:
        if profit > 0:
            won, wins = won + profit, wins + 1
        elif profit < 0:
            lost, losses = lost + profit, losses + 1
    told = trade_metrics(found)
    assert (told.count, told.wins) == (len(found), wins)
    assert told.win_rate == (wins / len(found) if found else None)
    assert told.profit_factor == (pytest.approx(won / -lost) if losses else None)
    assert told.average == (pytest.approx(sum(found) / len(found)) if found else None)
    assert told.average_win == (pytest.approx(won / wins) if wins else None)
    assert told.average_loss == (pytest.approx(lost / losses) if losses else None)


def test_the_best_of_many_without_skill_looks_good():
    """The expected best of n draws is what drawing them often comes to, within its noise."""
    chance = np.random.default_rng(1)
    for tried in (5, 50):
        drawn = chance.normal(0, 1, (20_000, tried)).max(axis=1).mean()
        assert expected_best_sharpe(tried, 252) == pytest.approx(drawn, rel=0.05)
    year, quarter = expected_best_sharpe(50, 252), expected_best_sharpe(50, 63)
    assert year is not None
    assert quarter == pytest.approx(2 * year)
    assert expected_best_sharpe(1, 252) is None
