"""Terms of one bar: each value from the inputs' values of the same bar, symbol by symbol."""

from collections.abc import Callable
from functools import partial

import numpy as np

from bridge.scanner.terms.bars import FloatArray
from bridge.scanner.terms.term import Term

Run = Callable[[], object]  # computes one bar; what it returns is of no interest
Maker = Callable[[Term, FloatArray, list[FloatArray]], Run]

# TradingView compares the two moves of a bar with this tolerance: equal moves must not differ by their last bits.
MOVE_TOLERANCE = 1e-10
# As arrays: a plain number is made into one at every call, which takes as long again as the rest.
_ZERO, _ONE, _HUNDRED, _TOLERANCE, _UNKNOWN = (np.array(number) for number in (0.0, 1.0, 100.0, MOVE_TOLERANCE, np.nan))


def _two(function: Callable[..., object]) -> Maker:
    def make(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
        left, right = inputs
        return partial(function, left, right, out=out)

    return make


def _one(function: Callable[..., object]) -> Maker:
    def make(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
        (x,) = inputs
        return partial(function, x, out=out)

    return make


def _compare(*, at_zero: float, turned: bool) -> Maker:
    """1 where left is above right, 0 where below, `at_zero` where equal: the sign of the difference, NaN if unknown."""

    def make(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
        left, right = inputs[::-1] if turned else inputs
        equal = np.array(at_zero)

        def run() -> None:
            np.subtract(left, right, out)
            np.heaviside(out, equal, out)

        return run

    return make


def _not(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    (x,) = inputs
    return partial(np.subtract, _ONE, x, out=out)


def _choose(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    when, yes, no = inputs

    def run() -> None:
        np.copyto(out, no)
        np.copyto(out, yes, where=when == _ONE)
        np.copyto(out, _UNKNOWN, where=np.isnan(when))

    return run


def _log(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    (x,) = inputs

    def run() -> None:
        np.log(x, out)
        np.copyto(out, _UNKNOWN, where=~(x > _ZERO))

    return run


def _winsor(term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    (x,), limit = inputs, float(term.params[0])

    def run() -> None:
        np.minimum(x, limit, out=out)
        np.maximum(out, -limit, out=out)

    return run


# --- parts of RSI, true range and DMI ---------------------------------------------------------------------------------


def _gain(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    (moved,) = inputs
    return partial(np.maximum, moved, np.zeros_like(out), out=out)  # with a plain 0 it takes three times as long


def _share(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    """100 * (u / (u + d)); 100 where neither is above 0."""
    ups, downs = inputs
    none = np.empty(len(out), dtype=np.bool_)

    def run() -> None:
        np.add(ups, downs, out)
        np.equal(out, _ZERO, none)
        np.divide(ups, out, out)
        np.multiply(out, _HUNDRED, out)
        np.copyto(out, _HUNDRED, where=none)

    return run


def _range(*, first: bool) -> Maker:
    """max(high, before) - min(low, before), which is max(H-L, |H-C1|, |L-C1|) to the last bit."""
    larger, smaller = (np.fmax, np.fmin) if first else (np.maximum, np.minimum)

    def make(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
        high, low, before = inputs
        least = np.empty_like(out)

        def run() -> None:
            larger(high, before, out=out)
            smaller(low, before, out=least)
            np.subtract(out, least, out)

        return run

    return make


def _move(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    """`ours` where it is above `theirs` and above 0, else 0."""
    ours, theirs = inputs
    ahead, counts = np.empty_like(out), np.empty(len(out), dtype=np.bool_)

    def run() -> None:
        np.subtract(ours, theirs, ahead)
        np.minimum(ahead, ours, out=ahead)
        np.greater(ahead, _TOLERANCE, counts)
        np.multiply(ours, counts, out)

    return run


def _per_range(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    move, span = inputs

    def run() -> None:
        np.multiply(move, _HUNDRED, out)
        np.divide(out, span, out)

    return run


def _dx(_term: Term, out: FloatArray, inputs: list[FloatArray]) -> Run:
    plus, minus = inputs
    both, none = np.empty_like(out), np.empty(len(out), dtype=np.bool_)

    def run() -> None:
        np.add(plus, minus, both)
        np.equal(both, _ZERO, none)
        np.copyto(both, _ONE, where=none)
        np.subtract(plus, minus, out)
        np.abs(out, out)
        np.divide(out, both, out)

    return run


ELEMENTWISE: dict[str, Maker] = {
    "add": _two(np.add),
    "sub": _two(np.subtract),
    "mul": _two(np.multiply),
    "div": _two(np.divide),
    "larger": _two(np.maximum),
    "smaller": _two(np.minimum),
    "and": _two(np.minimum),
    "or": _two(np.maximum),
    "neg": _one(np.negative),
    "abs": _one(np.abs),
    "not": _not,
    "gt": _compare(at_zero=0.0, turned=False),
    "ge": _compare(at_zero=1.0, turned=False),
    "lt": _compare(at_zero=0.0, turned=True),
    "le": _compare(at_zero=1.0, turned=True),
    "choose": _choose,
    "log": _log,
    "winsor": _winsor,
    "gain": _gain,
    "loss": _two(np.subtract),  # gain - change, which is max(-change, 0) to the last bit
    "share": _share,
    "range": _range(first=True),
    "range_na": _range(first=False),
    "move": _move,
    "per_range": _per_range,
    "dx": _dx,
}
# A term that may turn unknown after it was known, even where its inputs stay known.
UNSURE = frozenset({"div", "log", "per_range", "dx"})
