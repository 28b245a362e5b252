"""Terms across symbols: where one stands among all that are known, not stale and under the mask."""

from collections.abc import Callable

import numpy as np

from bridge.scanner.terms.bars import BoolArray, FloatArray
from bridge.scanner.terms.term import Term

Across = Callable[[Term, FloatArray], FloatArray]  # from the values of those who count to one for each of them


def _z(_term: Term, values: FloatArray) -> FloatArray:
    if values.min() == values.max():
        return np.zeros_like(values)  # not by the deviation, which need not be exactly 0 of equal values
    return np.asarray((values - values.mean()) / values.std())


def _rank(_term: Term, values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    return np.asarray(len(values) - np.searchsorted(ordered, values, side="right") + 1, dtype=np.float64)


def _pct(_term: Term, values: FloatArray) -> FloatArray:
    ordered = np.sort(values)
    return np.asarray(100.0 * np.searchsorted(ordered, values, side="right") / len(values))


def _top(term: Term, values: FloatArray) -> FloatArray:
    n = int(term.params[0])
    if n >= len(values):
        return np.ones_like(values)
    least = np.partition(values, -n)[-n]
    chosen = values > least
    equal = np.flatnonzero(values == least)
    chosen[equal[: n - int(chosen.sum())]] = True
    return np.asarray(chosen, dtype=np.float64)


ACROSS: dict[str, Across] = {"z": _z, "rank": _rank, "pct": _pct, "top": _top}


def stand(term: Term, x: FloatArray, mask: FloatArray | None, live: BoolArray | None, out: FloatArray) -> None:
    """Write each symbol's standing; unknown for those who do not count, but a known `no` under the mask is not in the top."""
    who = np.isfinite(x)
    if live is not None:
        who &= live
    if mask is not None:
        who &= mask == 1
    out.fill(np.nan)
    if who.any():
        out[who] = ACROSS[term.name](term, x[who])
    if term.name == "top" and mask is not None:
        out[mask == 0] = 0.0
