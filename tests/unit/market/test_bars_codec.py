"""How bars are packed: nothing is lost, damage is found, and what no bar can hold is refused."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.market.bars.codec import pack, unpack
from bridge.market.bars.series import COLUMNS, BarsError, Series, empty_series


def make(times, prices, volumes):
    opens, highs, lows, closes = (np.array(column, np.float64) for column in prices)
    volume = np.array(volumes, np.float64)
    return Series(times=np.array(times, np.int64) * 60, open=opens, high=highs, low=lows, close=closes, volume=volume)


@st.composite
def some_series(draw):
    """Any bars of a month: prices with two or with four decimals, and nothing in order about high and low."""
    times = sorted(draw(st.sets(st.integers(29_000_000, 29_044_640), min_size=1, max_size=60)))
    scale = draw(st.sampled_from([100, 10_000]))
    whole = st.lists(st.integers(-(10**9), 10**9), min_size=len(times), max_size=len(times))
    prices = [[number / scale for number in draw(whole)] for _ in range(4)]
    return make(times, prices, draw(st.lists(st.integers(0, 2**40), min_size=len(times), max_size=len(times))))


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("times", *COLUMNS))


@given(some_series())
def test_what_is_packed_comes_back_to_the_last_bit(series):
    """A price is the double nearest to its decimals, before and after."""
    assert same(unpack(pack(series)), series)


@given(some_series(), st.data())
def test_damage_is_found(series, data):
    """A byte that has changed, or an end that is missing, is never read as bars."""
    packed = bytearray(pack(series))
    place = data.draw(st.integers(0, len(packed) - 1))
    cut = data.draw(st.booleans())
    if cut:
        packed = packed[:place] or bytearray(b"\0")
    else:
        packed[place] ^= data.draw(st.integers(1, 255))
    try:
        read = unpack(bytes(packed))
    except BarsError:
        return
    assert same(read, series)  # a bit of zlib's header that means nothing


def test_no_bars_are_no_bytes():
    """An empty stretch says only which days are known."""
    assert pack(empty_series()) == b""
    assert len(unpack(b"")) == 0


GOOD = ([5, 6], [[1, 2]] * 4, [3, 4])


@pytest.mark.parametrize(
    ("times", "prices", "volumes", "words"),
    [
        ([6, 5], GOOD[1], GOOD[2], "each later"),
        ([5, 5], GOOD[1], GOOD[2], "each later"),
        ([5, 5.5], GOOD[1], GOOD[2], "whole minutes"),
        (GOOD[0], [[1, np.nan]] * 4, GOOD[2], "not a number"),
        (GOOD[0], [[1, np.inf]] * 4, GOOD[2], "not a number"),
        (GOOD[0], [[1, 1e12]] * 4, GOOD[2], "not a number"),
        (GOOD[0], GOOD[1], [1, 0.5], "whole number of units"),
        (GOOD[0], GOOD[1], [1, -1], "whole number of units"),
        (GOOD[0], GOOD[1], [1, np.nan], "whole number of units"),
    ],
)
def test_what_no_bar_can_hold_is_refused(times, prices, volumes, words):
    """Wrong order, numbers that are none, and parts of a unit."""
    series = make([5, 6], prices, volumes)
    wrong = np.array([time * 60 for time in times], np.int64)
    with pytest.raises(BarsError, match=words):
        pack(Series(times=wrong, **{name: getattr(series, name) for name in COLUMNS}))


def test_computed_prices_are_rounded_to_the_hundredth_of_a_paisa():
    """Prices that somebody adjusted for a split have as many decimals as a double; four are kept."""
    series = make([5, 6], [[100 / 3, 1.25]] * 4, [1, 1])
    assert unpack(pack(series)).close.tolist() == [33.3333, 1.25]


def test_another_format_is_not_guessed_at():
    """Bars of a version to come are named as such."""
    series = make(*GOOD)
    told = bytearray(zlib.decompress(pack(series)))
    told[0] = 9
    with pytest.raises(BarsError, match="format 9"):
        unpack(zlib.compress(bytes(told)))
