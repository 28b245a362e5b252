"""Every term there is, as a function that makes it; formulas and first bars are TradingView's, told in docs/scanner.md.

`x` is any term that is a number, `n` a count of bars. Bars are the symbol's own: where it has none, nothing advances.
"""

import math
from collections.abc import Callable

from bridge.scanner.terms.term import Operand, Term, TermError, constant, length, numeric, verdict

TRADING_DAYS = 252  # of a year

# `open` hides the builtin, as TradingView's name for it does; nothing here opens files.
open, high, low, close, volume = (Term("field", (), (name,)) for name in ("open", "high", "low", "close", "volume"))  # noqa: A001


def _over(name: str, x: Operand, n: int, *, least: int = 1) -> Term:
    return Term(name, (numeric(x),), (length(n, least=least),))


# --- of one series ----------------------------------------------------------------------------------------------------


def lag(x: Operand, n: int) -> Term:
    """`x` as it was `n` bars before."""
    return numeric(x) if n == 0 else _over("lag", x, n)


def change(x: Operand, n: int = 1) -> Term:
    """x - lag(x, n)."""
    return _over("change", x, n)


def roc(x: Operand, n: int) -> Term:
    """Rate of change in percent: 100 * (x - lag(x, n)) / lag(x, n)."""
    return _over("roc", x, n)


def sma(x: Operand, n: int) -> Term:
    """Mean of the last `n` values, summed anew each bar, the oldest first."""
    return _over("sma", x, n)


def ema(x: Operand, n: int) -> Term:
    """Exponential mean: seeded by the mean of the first `n`, then e + 2/(n+1) * (x - e)."""
    return _over("ema", x, n)


def rma(x: Operand, n: int) -> Term:
    """Wilder's mean: seeded by the mean of the first `n`, then (r*(n-1) + x) / n."""
    return _over("rma", x, n)


def stdev(x: Operand, n: int) -> Term:
    """Standard deviation of the last `n` values, of the population, in two passes."""
    return _over("stdev", x, n)


def highest(x: Operand, n: int) -> Term:
    """Largest of the last `n` values, this one among them."""
    return _over("highest", x, n)


def lowest(x: Operand, n: int) -> Term:
    """Smallest of the last `n` values, this one among them."""
    return _over("lowest", x, n)


def linreg(x: Operand, n: int) -> Term:
    """The least-squares line through the last `n` values, at its last point."""
    return _over("linreg", x, n, least=2)


def slope_r2(x: Operand, n: int = 90, days: int = 250) -> Term:
    """Clenow's adjusted slope: (exp(slope)**days - 1) * R2 of the line through ln(x) of the last `n` bars."""
    return Term("slope_r2", (numeric(x),), (length(n, least=3), length(days)))


def rsi(x: Operand, n: int = 14) -> Term:
    """Wilder's relative strength: 100 * U / (U + D), RMAs of gains and losses; 100 where there was neither."""
    return _over("rsi", x, n)


def macd(x: Operand = close, fast: int = 12, slow: int = 26) -> Term:
    """ema(x, fast) - ema(x, slow)."""
    return Term("macd", (numeric(x),), (length(fast), length(slow)))


def macd_signal(x: Operand = close, fast: int = 12, slow: int = 26, n: int = 9) -> Term:
    """EMA of the MACD line."""
    return ema(macd(x, fast, slow), n)


def macd_histogram(x: Operand = close, fast: int = 12, slow: int = 26, n: int = 9) -> Term:
    """The MACD line above its signal."""
    return macd(x, fast, slow) - macd_signal(x, fast, slow, n)


# --- of a bar's range -------------------------------------------------------------------------------------------------


def true_range() -> Term:
    """max(high, last close) - min(low, last close); high - low on the first bar."""
    return Term("true_range")


def atr(n: int = 14) -> Term:
    """RMA of the true range, the first bar's high - low among the seed."""
    return Term("atr", (), (length(n),))


def natr(n: int = 14) -> Term:
    """Volatility as a share of the price: atr(n) / close."""
    return atr(n) / close


def plus_di(n: int = 14) -> Term:
    """100 * RMA of the moves up / RMA of the true range, both from the second bar on."""
    return Term("plus_di", (), (length(n),))


def minus_di(n: int = 14) -> Term:
    """100 * RMA of the moves down / RMA of the true range, both from the second bar on."""
    return Term("minus_di", (), (length(n),))


def adx(n: int = 14, smoothing: int | None = None) -> Term:
    """100 * RMA of |+DI - -DI| / (+DI + -DI, or 1 where that is 0)."""
    return Term("adx", (), (length(n), length(n if smoothing is None else smoothing)))


def donchian_high(n: int = 20) -> Term:
    """Highest high of the `n` bars before this one."""
    return Term("donchian_high", (), (length(n),))


def donchian_low(n: int = 20) -> Term:
    """Lowest low of the `n` bars before this one."""
    return Term("donchian_low", (), (length(n),))


def turnover(n: int = 20) -> Term:
    """Mean of close * volume over the last `n` bars."""
    return sma(close * volume, n)


def bars_seen() -> Term:
    """How many bars the symbol has had, this one included."""
    return Term("bars_seen")


# --- of calendar months and weeks -------------------------------------------------------------------------------------


def month_end(x: Operand, k: int) -> Term:
    """`x` at the symbol's last bar of the k-th month before this one; k = 0: now; unknown if it had no bar that month."""
    return Term("month_end", (numeric(x),), (length(k, least=0),))


def week_end(x: Operand, k: int) -> Term:
    """The same for weeks from Monday to Sunday."""
    return Term("week_end", (numeric(x),), (length(k, least=0),))


def weekly_volatility(x: Operand = close, weeks: int = 156) -> Term:
    """Standard deviation of the simple returns of the last whole weeks, times the root of 52; no bar all week: no return."""
    return _over("weekly_volatility", x, weeks, least=2)


def volatility(x: Operand = close, n: int = 252) -> Term:
    """Standard deviation of the last `n` daily log returns, times the root of 252."""
    return stdev(change(log(x)), n) * math.sqrt(TRADING_DAYS)


def momentum_12_1(now: int = 0) -> Term:
    """month_end(close, now + 1) / month_end(close, now + 12) - 1: a year's return without the latest month."""
    return month_end(close, now + 1) / month_end(close, now + 12) - 1


# --- element by element -----------------------------------------------------------------------------------------------


def log(x: Operand) -> Term:
    """Natural logarithm; unknown where x is not above 0."""
    return Term("log", (numeric(x),))


def absolute(x: Operand) -> Term:
    """|x|."""
    return Term("abs", (numeric(x),))


def larger(a: Operand, b: Operand) -> Term:
    """The larger of two."""
    return Term("larger", (numeric(a), numeric(b)))


def smaller(a: Operand, b: Operand) -> Term:
    """The smaller of two."""
    return Term("smaller", (numeric(a), numeric(b)))


def choose(when: Term, yes: Operand, no: Operand) -> Term:
    """`yes` where the verdict is yes, `no` where it is no, unknown where it is unknown."""
    return Term("choose", (verdict(when), numeric(yes), numeric(no)))


def winsor(x: Operand, limit: float = 3) -> Term:
    """x, held between -limit and limit."""
    if constant(limit) <= 0:
        raise TermError(f"a limit above 0 is wanted here, not {limit}")
    return Term("winsor", (numeric(x),), (constant(limit),))


def equal(a: Operand, b: Operand) -> Term:
    """Are two numbers the same?"""
    return (numeric(a) >= b) & (numeric(a) <= b)


def cross_over(a: Operand, b: Operand) -> Term:
    """Is a > b now, and was it a <= b when both were last known?"""
    return Term("cross_over", (numeric(a), numeric(b)))


def cross_under(a: Operand, b: Operand) -> Term:
    """Is a < b now, and was it a >= b when both were last known?"""
    return Term("cross_under", (numeric(a), numeric(b)))


# --- across symbols ---------------------------------------------------------------------------------------------------


def _across(name: str, x: Operand, mask: Term | None, *params: int) -> Term:
    return Term(name, (numeric(x), *(() if mask is None else (verdict(mask),))), params)


def z(x: Operand, mask: Term | None = None) -> Term:
    """(x - mean) / standard deviation of the population; 0 where all are the same."""
    return _across("z", x, mask)


def rank(x: Operand, mask: Term | None = None) -> Term:
    """1 for the largest; equals share the better rank."""
    return _across("rank", x, mask)


def pct(x: Operand, mask: Term | None = None) -> Term:
    """The percentage of symbols whose value is the same or smaller."""
    return _across("pct", x, mask)


def top(x: Operand, n: int, mask: Term | None = None) -> Term:
    """Is it among the `n` largest? Equals go by the order of their names, so that there are never more than `n`."""
    return _across("top", x, mask, length(n))


# --- named scores -----------------------------------------------------------------------------------------------------


def score(w: Operand) -> Term:
    """1 + w where w >= 0, else 1 / (1 - w): above 0, and in the order of w."""
    return choose(numeric(w) >= 0, 1 + numeric(w), 1 / (1 - numeric(w)))


def nse_momentum(now: int = 1, mask: Term | None = None) -> Term:
    """The score of NIFTY200 Momentum 30. `now`: months back to the review's M-1, 0 on the last day of that month."""
    return Term("nse_momentum", () if mask is None else (verdict(mask),), (length(now, least=0),))


def msci_momentum(now: int = 1, risk_free: float = 0, mask: Term | None = None) -> Term:
    """The score of MSCI's momentum indexes; `risk_free` is a share, such as 0.065, taken off both returns."""
    return Term("msci_momentum", () if mask is None else (verdict(mask),), (length(now, least=0), constant(risk_free)))


def clenow(n: int = 90) -> Term:
    """Clenow's adjusted slope of the close."""
    return slope_r2(close, n)


FIELD_TERMS: dict[str, Term] = {str(each.params[0]): each for each in (open, high, low, close, volume)}
FUNCTIONS: dict[str, Callable[..., Term]] = {
    each.__name__: each
    for each in (
        *(lag, change, roc, sma, ema, rma, stdev, highest, lowest, linreg, slope_r2, rsi, macd, macd_signal, macd_histogram),
        *(true_range, atr, natr, plus_di, minus_di, adx, donchian_high, donchian_low, turnover, bars_seen),
        *(month_end, week_end, weekly_volatility, volatility, momentum_12_1),
        *(log, absolute, larger, smaller, choose, winsor, equal, cross_over, cross_under),
        *(z, rank, pct, top, score, nse_momentum, msci_momentum, clenow),
    )
}

# The first bar on which a term is known, counted from 0, where its inputs are known from the first on. For the docs.
FIRST_BARS: dict[str, str] = {
    **dict.fromkeys(
        ("sma", "ema", "rma", "stdev", "highest", "lowest", "linreg", "slope_r2", "atr", "natr", "turnover"), "n-1"
    ),
    **dict.fromkeys(("lag", "change", "roc", "rsi", "plus_di", "minus_di", "donchian_high", "donchian_low", "volatility"), "n"),
    "adx": "n + smoothing - 1",
    "clenow": "n-1",
    "macd": "slow - 1",
    "macd_signal": "slow + n - 2",
    "macd_histogram": "slow + n - 2",
    "cross_over": "0 (no on the first bar)",
    "cross_under": "0 (no on the first bar)",
    "month_end": "the k-th month after",
    "week_end": "the k-th week after",
    "weekly_volatility": "the week after `weeks` + 1",
    "momentum_12_1": "the month `now` + 12",
    "nse_momentum": "the month `now` + 12, a year of returns",
    "msci_momentum": "the 158th week",
}
