"""Moment: what every computation of one step may know, and the memory that a step changes."""

from datetime import date

import numpy as np

from bridge.scanner.terms.bars import NO_PLACES, BoolArray, FloatArray
from bridge.scanner.terms.ring import Ring

NEVER = 2**40  # age of a symbol that has had no bar


class Moment:
    """The bar being computed.

    `present` is None when every symbol has a bar, else `absent` names the others; `live` is None when none is stale, and
    `counted` when everybody counts in ranks.
    """

    def __init__(self, symbols: int):
        self.symbols = symbols
        self.fields = np.full((5, symbols), np.nan)
        self.ages = np.full(symbols, NEVER, dtype=np.int64)
        self.present: BoolArray | None = None
        self.absent = NO_PLACES
        self.live: BoolArray | None = None
        self.counted: BoolArray | None = None
        self.day: date | None = None
        self.rings: list[Ring] = []
        self.kept: list[FloatArray] = []

    def row(self, fill: float = np.nan) -> FloatArray:
        """A new row that is part of the state: saved, and put back after a peek."""
        return np.asarray(self.block(1, fill)[0])

    def block(self, rows: int, fill: float = np.nan) -> FloatArray:
        """New rows, one under the other in memory."""
        made = np.full((rows, self.symbols), fill)
        self.kept.append(made)
        return made
