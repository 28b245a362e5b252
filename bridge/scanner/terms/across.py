"""Terms across symbols: where one stands among all that are counted, known, not stale and under the mask."""

from collections.abc import Callable

import numpy as np

from bridge.scanner.terms.bars import NO_PLACES, FloatArray
from bridge.scanner.terms.moment import Moment
from bridge.scanner.terms.term import Term

# From the values of those who count, and some values (the same array, or those of others), to one for each of the latter.
Across = Callable[[Term, FloatArray, FloatArray], FloatArray]


def _z(_term: Term, among: FloatArray, values: FloatArray) -> FloatArray:
    if among.min() == among.max():
        return np.zeros_like(values)  # not by the deviation, which need not be exactly 0 of equal values
    return np.asarray((values - among.mean()) / among.std())


def _rank(_term: Term, among: FloatArray, values: FloatArray) -> FloatArray:
    ordered = np.sort(among)
    return np.subtract(len(among) + 1, ordered.searchsorted(values, "right"), dtype=np.float64)


def _pct(_term: Term, among: FloatArray, values: FloatArray) -> FloatArray:
    ordered = np.sort(among)
    return np.asarray(100.0 * ordered.searchsorted(values, "right") / len(among))


def _top(term: Term, among: FloatArray, values: FloatArray) -> FloatArray:
    n = int(term.params[0])
    if n > len(among):
        return np.ones_like(values)
    least = np.partition(among, -n)[-n]
    if values is not among:
        return np.asarray(values >= least, dtype=np.float64)
    chosen = values > least
    equal = np.flatnonzero(values == least)
    chosen[equal[: n - int(chosen.sum())]] = True
    return np.asarray(chosen, dtype=np.float64)


ACROSS: dict[str, Across] = {"z": _z, "rank": _rank, "pct": _pct, "top": _top}


def stand(term: Term, x: FloatArray, mask: FloatArray | None, moment: Moment, out: FloatArray) -> None:
    """Write each symbol's standing; unknown for those who are unknown, but a known `no` under the mask is not in the top.

    Who is not counted moves nobody else, and is told where he would stand among those who are.
    """
    who, others = np.isfinite(x), NO_PLACES
    if moment.live is not None:
        who &= moment.live
    if mask is not None:
        who &= mask == 1
    if moment.counted is not None:
        others = (who & ~moment.counted).nonzero()[0]
        who &= moment.counted
    out.fill(np.nan)
    places = who.nonzero()[0]
    if len(places):
        compute, among = ACROSS[term.name], x.take(places)
        out[places] = compute(term, among, among)
        if len(others):
            out[others] = compute(term, among, x.take(others))
    if term.name == "top" and mask is not None:
        out[mask == 0] = 0.0
