"""Made-up bars that behave like a market: for tests, the demo and rehearsals. The same seed gives the same bytes anywhere.

Only whole random numbers, the four operations, square roots and roundings are used, which every machine computes alike:
logarithms, exponentials and sums of many floats differ in the last bit from one processor to the next.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from bridge.core.bar import Interval
from bridge.market.bars.series import Prices, Series, Times
from bridge.market.bars.store import Part
from bridge.market.bars.times import DAY_S, IST_S, OPENING_S, first_second

Floats = NDArray[np.float64]
MINUTES = 375  # 09:15 to 15:30
MARKET = "market"
# Tick by price in paise, from 15 April 2025: below the first bound the first step.
_TICK_BOUNDS = np.array([25_000, 100_000, 500_000, 1_000_000, 2_000_000], np.float64)
_TICKS = np.array([1, 5, 10, 50, 100, 500], np.float64)
# How far calm, usual and wild days go. Of the days that follow one, the first part is calmer by one kind, and what is beyond
# the second is wilder.
_KINDS = (0.6, 1.0, 2.2)
_FOLLOWS = ((0.0, 0.92), (0.04, 0.97), (0.16, 1.0))
_DAILY = 0.008  # standard deviation of the market's return in a usual session
_GAP = 0.005  # of its opening against the close before
_LEAST_PAISE = 500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be made: one-minute bars of `symbols` on each of `days`, in sessions from 09:15 to 15:30 in India.

    The bars of a symbol depend on the seed, its name and the days, and on no other symbol that is made.
    """

    seed: int
    symbols: tuple[str, ...]
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traits:
    """What a symbol is like; `own` is the part of its moves that is not the market's, `trade` how many minutes have a trade."""

    start: float
    beta: float
    own: float
    volume: float
    trade: float


def weekdays(begin: date, end: date) -> tuple[date, ...]:
    """Mondays to Fridays from `begin` to `end`: trading days of a year without holidays."""
    span = (begin + timedelta(days=number) for number in range((end - begin).days + 1))
    return tuple(day for day in span if day.weekday() < 5)


def make_parts(plan: Plan) -> Iterator[Part]:
    """The bars of each symbol, with every day known."""
    kinds, market, gaps = _market(plan)
    for symbol in plan.symbols:
        yield Part(symbol=symbol, series=_make(plan, symbol, kinds, market, gaps), days=frozenset(plan.days))


def combine(interval: Interval, series: Series) -> Series:
    """One-minute bars as those of a longer interval."""
    midnights = (series.times + IST_S) // DAY_S * DAY_S - IST_S
    if interval is Interval.DAY:
        opened = midnights
    else:
        since = series.times - midnights - OPENING_S
        opened = series.times - since % interval.seconds
    firsts = np.flatnonzero(np.append(True, opened[1:] != opened[:-1])) if len(opened) else np.empty(0, np.int64)
    if not len(firsts):
        return series
    lasts = np.append(firsts[1:], len(opened)) - 1
    return Series(
        times=opened[firsts], open=series.open[firsts], high=np.maximum.reduceat(series.high, firsts),
        low=np.minimum.reduceat(series.low, firsts), close=series.close[lasts],
        volume=np.add.reduceat(series.volume, firsts),
    )  # fmt: skip


def round_to_tick(paise: Floats) -> Floats:
    """Prices of the exchange: whole steps, which are wider where prices are higher."""
    tick = _TICKS[np.searchsorted(_TICK_BOUNDS, paise, side="right")]
    rounded: Floats = np.rint(paise / tick) * tick
    return rounded


class _Chance:
    """A stream of chance for one purpose: raw numbers of PCG64, whose sequence is fixed for good."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._raw = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))

    def whole(self, count: int) -> NDArray[np.uint16]:
        """Four numbers below 65,536 in each of `count` rows."""
        raw = np.asarray(self._raw.random_raw(count), np.uint64).astype("<u8")
        return raw.view("<u2").reshape(count, 4).astype(np.uint16)

    def even(self, count: int) -> Floats:
        """Numbers from 0 to 1, all alike; `count` rows of four."""
        return self.whole(count) / 65_536.0

    def bell(self, count: int) -> Floats:
        """Numbers around 0 with a standard deviation of 1, near enough to the normal ones: the sum of four even ones."""
        four = self.whole(count).astype(np.int64)
        return (four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3] - 131_070) / 37_837.0


def _market(plan: Plan) -> tuple[Floats, Floats, Floats]:
    """What all symbols share: how wild each day is, the market's move in each minute (day by minute), and at each opening."""
    chance = _Chance(plan.seed, MARKET)
    days = len(plan.days)
    kinds, kind = np.empty(days), 1
    for number, draw in enumerate(chance.even(days)[:, 0]):
        kinds[number] = _KINDS[kind]
        calmer, wilder = _FOLLOWS[kind]
        kind += int(draw >= wilder) - int(draw < calmer)
    moves = chance.bell(days * MINUTES).reshape(days, MINUTES)
    moves *= _busy(0.6) * (_DAILY / np.sqrt(float(MINUTES))) * kinds[:, None]
    return kinds, moves, chance.bell(days) * _GAP * kinds


def _busy(edge: float) -> Floats:
    """How a session's minutes differ: much at the opening, least at noon, more again at the close; about 1 on average."""
    place = (np.arange(MINUTES) - MINUTES * 0.55) / (MINUTES * 0.55)
    shape: Floats = edge + (1 - edge) * 2.6 * place * place
    return shape


def _traits(chance: _Chance) -> _Traits:
    draws = chance.even(2).ravel()
    is_thin = draws[5] < 0.06
    size = draws[4] * draws[4]
    return _Traits(
        start=6_000.0 + 380_000.0 * draws[0] * draws[0] * draws[0],
        beta=0.5 + 1.0 * draws[1],
        own=0.008 + 0.014 * draws[2],
        volume=400.0 if is_thin else 1_500.0 + 60_000.0 * size,
        trade=0.55 + 0.3 * draws[6] if is_thin else 1.0,
    )


def _make(plan: Plan, symbol: str, kinds: Floats, market: Floats, gaps: Floats) -> Series:
    chance = _Chance(plan.seed, symbol)
    traits, days = _traits(chance), len(plan.days)
    noise = chance.bell(days * MINUTES).reshape(days, MINUTES)
    noise *= _busy(0.6) * (traits.own / np.sqrt(float(MINUTES))) * np.sqrt(kinds)[:, None]
    moves = traits.beta * market + noise + _drift(chance, days)[:, None] / MINUTES
    # What happens overnight is in the first minute's move: the bar opens there.
    overnight = traits.beta * gaps + chance.bell(days) * 0.005 + _news(chance, days)
    ends = np.cumprod((1.0 + np.column_stack([overnight, moves])).ravel()).reshape(days, MINUTES + 1) * traits.start
    ends = round_to_tick(np.maximum(ends, _LEAST_PAISE))
    opens, closes = ends[:, :-1].copy(), ends[:, 1:]
    reach = np.abs(chance.bell(days * MINUTES * 2)).reshape(2, days, MINUTES) * (0.5 * traits.own / np.sqrt(float(MINUTES)))
    highs = round_to_tick(np.maximum(opens, closes) * (1.0 + reach[0] * kinds[:, None]))
    lows = round_to_tick(np.minimum(opens, closes) * (1.0 - reach[1] * kinds[:, None]))
    chances = chance.even(days * MINUTES).reshape(days, MINUTES, 4)
    volumes = _volumes(traits, kinds, moves, chances)
    traded = (chances[:, :, 3] < traits.trade).ravel()
    return _series(_times(plan.days), opens, highs, lows, closes, volumes, traded)


def _drift(chance: _Chance, days: int) -> Floats:
    """Some weeks a symbol rises, some it falls: what momentum lives on. In a day's return."""
    quarters = chance.bell(days // 63 + 1) * 0.0022
    daily: Floats = np.repeat(quarters, 63)[:days]
    return daily


def _news(chance: _Chance, days: int) -> Floats:
    """Once in a hundred nights a symbol opens far away."""
    draws = chance.even(days)
    return np.where(draws[:, 0] < 0.01, (draws[:, 1] - 0.5) * 0.16, 0.0)


def _volumes(traits: _Traits, kinds: Floats, moves: Floats, chances: Floats) -> Floats:
    """Units in each minute: more at the edges of a session, on wild days, in minutes that move, and by chance."""
    by_move = 1.0 + np.abs(moves) * (20.0 * np.sqrt(float(MINUTES)))
    by_chance = 0.25 + 3.0 * chances[:, :, 0] * chances[:, :, 1] / np.maximum(chances[:, :, 2], 0.25)
    units = traits.volume * _busy(0.35) * np.sqrt(kinds)[:, None] * by_move * by_chance
    whole: Floats = np.maximum(np.floor(units), 1.0)
    return whole


def _times(days: Sequence[date]) -> Times:
    opened = np.array([first_second(day) + OPENING_S for day in days], np.int64)
    return (opened[:, None] + 60 * np.arange(MINUTES, dtype=np.int64)).ravel()


def _series(
    times: Times, opens: Prices, highs: Prices, lows: Prices, closes: Prices, volumes: Prices, traded: NDArray[np.bool_]
) -> Series:
    columns = (opens / 100, highs / 100, lows / 100, closes / 100, volumes)
    open_, high, low, close, volume = (column.ravel()[traded] for column in columns)
    return Series(times=times[traded], open=open_, high=high, low=low, close=close, volume=volume)
