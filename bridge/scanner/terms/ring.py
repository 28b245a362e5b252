"""Ring: the last rows of one series, each written twice, so that every window lies in memory in one piece, oldest first."""

import numpy as np

from bridge.scanner.terms.bars import NO_PLACES, BoolArray, FloatArray, Places


class Ring:
    """`depth` rows of `symbols` values, NaN at first. One row more is kept, so that the newest can be taken back.

    A symbol that does not advance has its column moved along with the head: it keeps its own last rows.
    """

    def __init__(self, depth: int, symbols: int):
        self._capacity = depth + 1
        self._twice = np.full((2, self._capacity, symbols), np.nan)
        self._flat = self._twice.reshape(2 * self._capacity, symbols)
        self._slots = [self._twice[:, slot] for slot in range(self._capacity)]
        self._held = NO_PLACES  # columns that stood still in the latest push
        self.head = 0

    def windows(self, rows: int, skip: int = 0) -> list[FloatArray]:
        """For each head, the `rows` rows that end `skip` rows before the newest; views that stay valid."""
        last = [head + self._capacity - skip for head in range(self._capacity)]
        return [self._flat[end - rows + 1 : end + 1] for end in last]

    def rows(self, back: int) -> list[FloatArray]:
        """For each head, the row `back` rows before the newest."""
        return [self._flat[head + self._capacity - back] for head in range(self._capacity)]

    def push(self, row: FloatArray, moves: BoolArray | None, held: Places) -> None:
        """Append `row` for the symbols that move, None: for all; `held` are those that do not."""
        self.head = (self.head + 1) % self._capacity
        self._held = held
        self._turn(1)
        np.copyto(self._slots[self.head], row, where=True if moves is None else moves)

    def take_back(self) -> None:
        """Undo the latest push, once."""
        self.head = (self.head - 1) % self._capacity
        self._turn(-1)

    def _turn(self, by: int) -> None:
        if len(self._held):  # symbol by symbol would read every line of memory once for each
            kept = self._twice[0].take(self._held, axis=1)
            self._twice[:, :, self._held] = np.concatenate((kept[-by:], kept[:-by]))
