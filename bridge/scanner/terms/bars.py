"""Bars of many symbols at once: five arrays of one closed bar, or of a history of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Places = NDArray[np.intp]  # of symbols
NO_PLACES: Places = np.empty(0, dtype=np.intp)

FIELDS = ("open", "high", "low", "close", "volume")


def _stack(open: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike, volume: ArrayLike) -> FloatArray:  # noqa: A002
    arrays = [np.asarray(each, dtype=np.float64) for each in (open, high, low, close, volume)]
    return np.ascontiguousarray(np.stack(arrays, axis=-2))


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar of every symbol: `fields` is (5, symbols) in the order of FIELDS.

    A bar is whole or not there: a symbol with a NaN or infinity in any field has no bar, and nothing of it advances. An
    index has volume 0. `day` is the trading day in the market's zone; only terms of months and weeks ask for it.
    """

    fields: FloatArray
    day: date | None = None

    @classmethod
    def of(
        cls,
        *,
        open: ArrayLike,  # noqa: A002
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        day: date | None = None,
    ) -> "Bar":
        """A bar from five arrays of shape (symbols,)."""
        return cls(_stack(open, high, low, close, volume), day)


@dataclass(frozen=True, slots=True)
class Bars:
    """A history, oldest first: `fields` is (rows, 5, symbols); `days` has one day per row, or is empty."""

    fields: FloatArray
    days: Sequence[date] = ()

    def __post_init__(self) -> None:
        if self.fields.ndim != 3 or self.fields.shape[1] != len(FIELDS):
            raise ValueError(f"a history has the shape (rows, {len(FIELDS)}, symbols), not {self.fields.shape}")
        if self.days and len(self.days) != len(self.fields):
            raise ValueError(f"{len(self.fields)} rows, but {len(self.days)} days")

    @classmethod
    def of(
        cls,
        *,
        open: ArrayLike,  # noqa: A002
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        days: Sequence[date] = (),
    ) -> "Bars":
        """A history from five arrays of shape (rows, symbols)."""
        return cls(_stack(open, high, low, close, volume), days)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, row: int) -> Bar:
        return Bar(self.fields[row], self.days[row] if self.days else None)

    def __iter__(self) -> Iterator[Bar]:
        return (self[row] for row in range(len(self)))

    def part(self, start: int | None = None, stop: int | None = None) -> "Bars":
        """The rows from `start` to before `stop`, as slices count."""
        return Bars(self.fields[start:stop], self.days[start:stop])
