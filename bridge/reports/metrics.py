"""Metrics of an equity curve and of round trips; every convention is named here and told in each report.

A year has 252 days. Returns are those of days: equity at a day's end over that of the day before, the first over the opening
money. Standard deviations are of a sample (n - 1). Downside deviation is over all days, those that rose counting as zero. The
rate without risk is zero. A figure that is not defined, such as a deviation of one day, is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAYS = 252
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveMetrics:
    """Parts of one, not percent; `max_drawdown` is zero or below, and `drawdown_days` the longest time below an earlier top."""

    days: int
    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    drawdown_days: int
    best_day: float
    worst_day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeMetrics:
    """Of closed round trips, in rupees after all costs. `profit_factor` is None without a loss or a trade."""

    count: int
    wins: int
    win_rate: float | None
    profit_factor: float | None
    average: float | None
    average_win: float | None
    average_loss: float | None
    best: float | None
    worst: float | None
    total: float


def daily_returns(equity: Sequence[float], opening: float) -> Floats:
    """The return of each day."""
    curve = np.concatenate([[opening], np.asarray(equity, np.float64)])
    with np.errstate(all="ignore"):
        return np.asarray(curve[1:] / curve[:-1] - 1)


def drawdowns(equity: Sequence[float], opening: float) -> Floats:
    """How far each day's end lies below the highest one before it or the opening, as a part of that: zero or below."""
    curve = np.concatenate([[opening], np.asarray(equity, np.float64)])
    return np.asarray((curve / np.maximum.accumulate(curve) - 1)[1:])


def sharpe_ratio(returns: Floats) -> float | None:
    """Mean over sample deviation, for a year."""
    spread = _spread(returns)
    return None if not spread else float(returns.mean() / spread * np.sqrt(DAYS))


def sortino_ratio(returns: Floats) -> float | None:
    """Mean over downside deviation, for a year."""
    if len(returns) < 2:
        return None
    down = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    return None if not down else float(returns.mean() / down * np.sqrt(DAYS))


def growth_rate(equity: Sequence[float], opening: float) -> float | None:
    """Growth for a year, compounded; None where all is lost."""
    if not len(equity) or opening <= 0 or equity[-1] <= 0:
        return None
    return float((equity[-1] / opening) ** (DAYS / len(equity)) - 1)


def curve_metrics(equity: Sequence[float], opening: float) -> CurveMetrics:
    """All of them; `equity` is that at the end of each day, at least one."""
    returns, under = daily_returns(equity, opening), drawdowns(equity, opening)
    spread, cagr, deepest = _spread(returns), growth_rate(equity, opening), float(under.min())
    return CurveMetrics(
        days=len(equity),
        total_return=float(equity[-1] / opening - 1),
        cagr=cagr,
        volatility=None if spread is None else float(spread * np.sqrt(DAYS)),
        sharpe=sharpe_ratio(returns),
        sortino=sortino_ratio(returns),
        calmar=None if cagr is None or not deepest else cagr / -deepest,
        max_drawdown=deepest,
        drawdown_days=_longest(under < 0),
        best_day=float(returns.max()),
        worst_day=float(returns.min()),
    )


def trade_metrics(profits: Sequence[float]) -> TradeMetrics:
    """Of round trips by their profit after costs; one that came to nothing is no win."""
    wins, losses = [p for p in profits if p > 0], [p for p in profits if p < 0]
    return TradeMetrics(
        count=len(profits),
        wins=len(wins),
        win_rate=len(wins) / len(profits) if profits else None,
        profit_factor=sum(wins) / -sum(losses) if losses else None,
        average=sum(profits) / len(profits) if profits else None,
        average_win=sum(wins) / len(wins) if wins else None,
        average_loss=sum(losses) / len(losses) if losses else None,
        best=max(profits, default=None),
        worst=min(profits, default=None),
        total=float(sum(profits)),
    )


def expected_best_sharpe(tried: int, days: int) -> float | None:
    """The Sharpe that the best of so many strategies without any skill may be expected to show over so many days.

    The expected maximum of independent normal draws, whose deviation is that of a Sharpe ratio of zero: one over the root of
    the years (Bailey and López de Prado, The Deflated Sharpe Ratio, 2014, without the correction for skew). Variants of one
    idea are not independent, so this is the most that chance explains.
    """
    if tried < 2 or days < 2:
        return None
    from statistics import NormalDist

    euler, normal = 0.5772156649015329, NormalDist()
    expected = (1 - euler) * normal.inv_cdf(1 - 1 / tried) + euler * normal.inv_cdf(1 - 1 / (tried * np.e))
    return float(expected * np.sqrt(DAYS / days))


def _spread(returns: Floats) -> float | None:
    return float(returns.std(ddof=1)) if len(returns) > 1 else None


def _longest(below: NDArray[np.bool_]) -> int:
    longest = run = 0
    for is_below in below.tolist():
        run = run + 1 if is_below else 0
        longest = max(longest, run)
    return longest
