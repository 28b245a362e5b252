"""From a term as one writes it to those that are computed: RSI, ATR, DMI and their like are made of simpler ones."""

from collections.abc import Callable

from bridge.scanner.terms.library import (
    change,
    close,
    ema,
    high,
    log,
    low,
    month_end,
    rma,
    score,
    volatility,
    weekly_volatility,
    winsor,
    z,
)
from bridge.scanner.terms.term import Term


def _made(name: str, *inputs: Term) -> Term:
    return Term(name, inputs)


def _range(name: str) -> Term:
    """`range` is high - low on the first bar, `range_na` is unknown there."""
    return _made(name, high, low, Term("lag", (close,), (1,)))


def _rsi(term: Term) -> Term:
    (x,), (n,) = term.inputs, term.params
    moved = change(x)
    gain = _made("gain", moved)
    return _made("share", rma(gain, int(n)), rma(_made("loss", gain, moved), int(n)))


def _di(term: Term) -> Term:
    n = int(term.params[0])
    ups, downs = change(high), _made("neg", change(low))
    move = _made("move", ups, downs) if term.name == "plus_di" else _made("move", downs, ups)
    return _made("per_range", rma(move, n), rma(_range("range_na"), n))


def _adx(term: Term) -> Term:
    n, smoothing = (int(each) for each in term.params)
    plus, minus = (_di(Term(name, (), (n,))) for name in ("plus_di", "minus_di"))
    return rma(_made("dx", plus, minus), smoothing) * 100


def _macd(term: Term) -> Term:
    (x,), (fast, slow) = term.inputs, term.params
    return ema(x, int(fast)) - ema(x, int(slow))


def _nse_momentum(term: Term) -> Term:
    now, mask = int(term.params[0]), _mask_of(term)
    sigma = month_end(volatility(close, 252), now)
    p1, p7, p13 = (month_end(close, now + back) for back in (0, 6, 12))
    return score(0.5 * z((p1 / p13 - 1) / sigma, mask) + 0.5 * z((p1 / p7 - 1) / sigma, mask))


def _msci_momentum(term: Term) -> Term:
    now, risk_free, mask = int(term.params[0]), float(term.params[1]), _mask_of(term)
    p1, p7, p13 = (month_end(close, now + back) for back in (0, 6, 12))
    sigma = weekly_volatility(close, 156)
    six, twelve = (p1 / p7 - 1 - risk_free) / sigma, (p1 / p13 - 1 - risk_free) / sigma
    return score(winsor(z((z(six, mask) + z(twelve, mask)) / 2, mask), 3))


def _mask_of(term: Term) -> Term | None:
    return term.inputs[0] if term.inputs else None


EXPANSIONS: dict[str, Callable[[Term], Term]] = {
    "rsi": _rsi,
    "macd": _macd,
    "true_range": lambda _: _range("range"),
    "atr": lambda term: rma(_range("range"), int(term.params[0])),
    "plus_di": _di,
    "minus_di": _di,
    "adx": _adx,
    "slope_r2": lambda term: Term("fit", (log(term.inputs[0]),), term.params),
    "nse_momentum": _nse_momentum,
    "msci_momentum": _msci_momentum,
    "highest": lambda term: Term("maximum", term.inputs, (*term.params, 0)),
    "lowest": lambda term: Term("minimum", term.inputs, (*term.params, 0)),
    "donchian_high": lambda term: Term("maximum", (high,), (*term.params, 1)),
    "donchian_low": lambda term: Term("minimum", (low,), (*term.params, 1)),
}


def expand(term: Term, done: dict[Term, Term]) -> Term:
    """`term` in computed terms only; `done` remembers what was expanded before."""
    if term not in done:
        if term.name in EXPANSIONS:
            done[term] = expand(EXPANSIONS[term.name](term), done)
        elif term.name in ("ema", "rma") and term.params == (1,):
            done[term] = expand(term.inputs[0], done)  # of one value the mean is the value, to the last bit
        else:
            done[term] = Term(term.name, tuple(expand(each, done) for each in term.inputs), term.params)
    return done[term]
