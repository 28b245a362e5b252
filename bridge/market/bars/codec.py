"""How a stretch of bars is packed: whole numbers, each as its step from the one before, in the fewest bytes, then zlib."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from bridge.market.bars.series import COLUMNS, BarsError, Series

Whole = NDArray[np.int64]
_HEAD = struct.Struct("<BBIq6s")  # format, decimals of a price, bars, minute of the first, a letter for each column
FORMAT = 1
LEVEL = 1  # 6 saves a hundredth of the size and takes four times as long
# Paise for shares, a hundredth of one for currencies; what is finer has been computed, and is rounded.
DECIMALS, FINE_DECIMALS = 2, 4
_LARGEST = 2.0**52
_WIDTHS = {letter: np.dtype(f"<i{width}") for letter, width in (("b", 1), ("h", 2), ("i", 4), ("q", 8))}


def pack(series: Series) -> bytes:
    """The bytes of a series, the same for the same bars; BarsError for what no bar can hold."""
    if not len(series):
        return b""
    minutes, odd = np.divmod(series.times, 60)
    if odd.any() or (np.diff(minutes) <= 0).any():
        raise BarsError("bars must open at whole minutes, each later than the one before")
    decimals = _decimals(series)
    opens, highs, lows, closes = (np.rint(getattr(series, name) * 10**decimals).astype(np.int64) for name in COLUMNS[:4])
    columns = [
        np.diff(minutes, prepend=minutes[0]),
        opens - np.concatenate([[0], closes[:-1]]),
        closes - opens,
        highs - np.maximum(opens, closes),
        np.minimum(opens, closes) - lows,
        series.volume.astype(np.int64),
    ]
    letters = "".join(map(_letter, columns))
    body = b"".join(column.astype(_WIDTHS[letter]).tobytes() for column, letter in zip(columns, letters, strict=True))
    head = _HEAD.pack(FORMAT, decimals, len(series), int(minutes[0]), letters.encode())
    return zlib.compress(head + body, LEVEL)


def unpack(packed: bytes) -> Series:
    """What was packed; BarsError when it is damaged."""
    try:
        told = zlib.decompress(packed) if packed else _HEAD.pack(FORMAT, 0, 0, 0, b"bbbbbb")
        version, decimals, count, first, letters = _HEAD.unpack_from(told)
        if version != FORMAT:
            raise BarsError(f"the bars are of format {version}, not {FORMAT}")
        columns, at = [], _HEAD.size
        for letter in letters.decode():
            width = _WIDTHS[letter]
            columns.append(np.frombuffer(told, width, count, at))
            at += count * width.itemsize
    except (zlib.error, struct.error, ValueError, KeyError) as error:
        raise BarsError(f"the bars are damaged ({type(error).__name__})") from None
    return _restore(first, 10**decimals, *columns)


def _restore(
    first: int, scale: int, steps: Whole, gaps: Whole, moves: Whole, above: Whole, below: Whole, volume: Whole
) -> Series:
    """An opening is the sum of all steps so far. A whole number divided by the scale is the price, to the last bit."""
    closes = np.cumsum(np.add(gaps, moves, dtype=np.int64))
    opens = closes - moves
    highs, lows = np.maximum(opens, closes), np.minimum(opens, closes)
    highs += above
    lows -= below
    times = np.cumsum(steps, dtype=np.int64)
    times += first
    times *= 60
    return Series(
        times=times, open=opens / scale, high=highs / scale, low=lows / scale, close=closes / scale,
        volume=volume.astype(np.float64),
    )  # fmt: skip


def _decimals(series: Series) -> int:
    """How many the prices have; BarsError for one that is not a number, or out of all reach."""
    prices = np.concatenate([getattr(series, name) for name in COLUMNS[:4]])
    if not (np.abs(prices) * 10**FINE_DECIMALS < _LARGEST).all():  # false for NaN too
        raise BarsError("a price is not a number that can be kept")
    if not ((series.volume >= 0) & (series.volume < _LARGEST) & (series.volume == np.rint(series.volume))).all():
        raise BarsError("a volume is not a whole number of units")
    paise = prices * 10**DECIMALS
    return DECIMALS if (np.abs(paise - np.rint(paise)) < 10.0**-DECIMALS / 2).all() else FINE_DECIMALS


def _letter(column: Whole) -> str:
    most = max(int(column.max()), -int(column.min()))
    return next(letter for letter, width in _WIDTHS.items() if most <= np.iinfo(width).max)
