"""EMA and RMA, all of one depth in one array: seeded by the mean of the first values, then one formula for every row."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from bridge.scanner.terms.bars import BoolArray, FloatArray
from bridge.scanner.terms.moment import Moment


class Recursion:
    """Rows of one formula. `x` is (rows, symbols), or one row that all share; `sure` says it stays known once it is.

    A value that is unknown, or a symbol without a bar, leaves the row's state as it is. `out` is the state itself where the
    input is sure; else a copy of it, unknown where the input is.
    """

    def __init__(self, moment: Moment, name: str, x: FloatArray, lengths: Sequence[int], *, sure: bool):
        rows = len(lengths)
        self._moment, self._x, self._sure = moment, x, sure
        self._state = moment.block(rows)
        self._counts, self._sums = moment.block(rows, 0.0), moment.block(rows, 0.0)
        self._scratch, self._following = np.empty_like(self._state), np.empty_like(self._state)
        self._n = np.array(lengths, dtype=np.float64).reshape(rows, 1)
        self._less, self._alpha = self._n - 1, 2 / (self._n + 1)
        self._advance = self._ema if name == "ema" else self._rma
        self._seeded = False  # every row of every symbol
        self.out = self._state if sure else moment.block(rows)

    def forget(self) -> None:
        """The state was put back from elsewhere: look again whether everything is seeded."""
        self._seeded = False

    def run(self) -> None:
        """One bar."""
        all_known = self._sure or not isnan(np.add.reduce(self._x, None))
        if self._seeded and all_known:
            if self._moment.present is None:
                self._advance(self._state)
            else:
                self._advance(self._following)
                np.copyto(self._state, self._following, where=self._moment.present)
            if not self._sure:
                np.copyto(self.out, self._state)
        else:
            self._step_some()

    def _ema(self, out: FloatArray) -> None:
        np.subtract(self._x, self._state, self._scratch)
        np.multiply(self._scratch, self._alpha, self._scratch)
        np.add(self._state, self._scratch, out)

    def _rma(self, out: FloatArray) -> None:
        np.multiply(self._state, self._less, self._scratch)
        np.add(self._scratch, self._x, self._scratch)
        np.divide(self._scratch, self._n, out)

    def _step_some(self) -> None:
        x = np.broadcast_to(self._x, self._state.shape)
        known = ~np.isnan(x)
        moves = known if self._moment.present is None else known & self._moment.present
        following = self._following
        self._advance(following)
        if self._seeded:
            np.copyto(self._state, following, where=moves)
        else:
            seeded = self._counts >= self._n
            np.copyto(self._state, following, where=moves & seeded)
            if not seeded.all():
                self._seed(x, moves & ~seeded)
            self._seeded = bool((self._counts >= self._n).all())
        if not self._sure:
            np.copyto(self.out, self._state)
            np.copyto(self.out, np.nan, where=~known)

    def _seed(self, x: FloatArray, moves: BoolArray) -> None:
        np.add(self._sums, x, self._sums, where=moves)
        np.add(self._counts, 1.0, self._counts, where=moves)
        done = moves & (self._counts == self._n)
        np.divide(self._sums, self._n, self._state, where=done)
