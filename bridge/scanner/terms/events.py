"""Terms that remember the bar before: crossings, and how many bars a symbol has had."""

from collections.abc import Callable

import numpy as np

from bridge.scanner.terms.bars import FloatArray
from bridge.scanner.terms.moment import Moment
from bridge.scanner.terms.own import OwnFactor


def make_cross(moment: Moment, a: FloatArray, b: FloatArray, out: FloatArray) -> Callable[[], None]:
    """1 at the bar where `a` is above `b` and was not when both were last known; never for a symbol without a bar."""
    below = moment.row(0.0)  # 1 where a <= b when both were last known

    def run() -> None:
        np.subtract(a, b, out)
        np.heaviside(out, 0.0, out)
        moves = ~np.isnan(out)
        if moment.present is not None:
            np.copyto(out, 0.0, where=~moment.present)
            moves &= moment.present
        not_above = 1.0 - out
        np.multiply(out, below, out)
        np.copyto(below, not_above, where=moves)

    return run


def make_bars_seen(moment: Moment, out: FloatArray) -> Callable[[], None]:
    """The count; `out` is the state."""
    out.fill(0.0)

    def run() -> None:
        np.add(out, 1.0, out, where=True if moment.present is None else moment.present)

    return run


def make_own(
    factor: OwnFactor, windows: list[Callable[[], FloatArray]], out: FloatArray, faults: dict[str, str]
) -> Callable[[], None]:
    """A user's function on its windows; unknown where any value of them is, and for everybody when it fails."""

    def run() -> None:
        seen = [window() for window in windows]
        faults.pop(factor.name, None)
        try:
            found = np.asarray(factor.compute(*(_for_reading(window) for window in seen)), dtype=np.float64)
            if found.shape != out.shape:
                raise ValueError(f"one number for each symbol is wanted, {out.shape}, not {found.shape}")
            np.copyto(out, found)
        except Exception as error:
            faults[factor.name] = f"{type(error).__name__}: {error}"
            out.fill(np.nan)
        for window in seen:
            np.copyto(out, np.nan, where=np.isnan(np.add.reduce(window, 0)))

    return run


def _for_reading(window: FloatArray) -> FloatArray:
    view = window.view()
    view.flags.writeable = False
    return view
