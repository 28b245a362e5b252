"""Live bars: ticks of a feed become the forming bar of each symbol, and the closed bars of all symbols at one moment."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from bridge.core.bar import Interval
from bridge.core.clock import Clock, from_us, to_us
from bridge.core.market import Tick
from bridge.market.bars.series import COLUMNS, Prices, Series
from bridge.market.bars.store import Part
from bridge.market.bars.times import DAY_S, IST_S, OPENING_S

# How long after its end a bar waits for ticks that were on their way: prices come four times a second, stamped to the second.
GRACE = timedelta(seconds=2)
# Between two looks at the clock: what a scan waits at most beyond the grace.
LOOK_S = 0.1
_NAN = float("nan")
_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedBars:
    """One closed bar of every symbol: `fields` is (5, symbols), open, high, low, close, volume; NaN where nothing traded.

    `is_whole` is False for a bar of which some ticks were not heard: no scan may order by it.
    """

    interval: Interval
    opened_at: datetime
    symbols: tuple[str, ...]
    fields: Prices
    is_whole: bool


class _Forming:
    """One bar under way, in plain lists: storing a number in an array takes three times as long."""

    def __init__(self, opened_us: int, began_us: int, count: int) -> None:
        self.opened_us = opened_us
        self.began_us = began_us  # the time of the tick that came first
        self.open = [_NAN] * count
        self.high = [_NAN] * count
        self.low = [_NAN] * count
        self.close = [_NAN] * count
        self.at = [0] * count  # of the newest tick of each
        self.first_traded: list[int | None] = [None] * count  # units of the day, as the first tick of each says
        self.traded: list[int | None] = [None] * count  # and as the newest does


class LiveBars:
    """The bar of one interval that is forming, for many symbols; all calls in one thread.

    A tick belongs to the bar of its own time, not of its arrival. A bar is closed by the clock, `GRACE` after its end, and
    never changes afterwards: a tick that comes later still is counted in `late` and left out. An interval in which no tick
    came at all has no bars: then the feed is away, or the market closed. `is_open` says whether a moment lies in the
    exchange's session. Every tick since `heard_since` is heard.
    """

    def __init__(
        self,
        interval: Interval,
        tokens: Mapping[int, str],
        *,
        heard_since: datetime,
        is_open: Callable[[datetime], bool],
        on_bars: Callable[[ClosedBars], None],
    ) -> None:
        self.interval = interval
        self.symbols = tuple(tokens.values())
        self.late = 0
        self._places = {token: place for place, token in enumerate(tokens)}
        self._is_open = is_open
        self._on_bars = on_bars
        self._length_us = interval.seconds * _US
        self._forming: dict[int, _Forming] = {}
        self._closed_us = 0  # bars that opened before this are over
        self._heard_us = to_us(heard_since)
        self._traded: list[int | None] = [None] * len(tokens)  # units of the day at the close before, by symbol
        self._traded_day = -1

    def take(self, ticks: Sequence[Tick]) -> None:
        """Put each tick into the bar of its time; of other instruments it takes no notice."""
        for tick in ticks:
            place = self._places.get(tick.token)
            if place is None:
                continue
            at_us = to_us(tick.at)
            opened_us = self._opening(at_us)
            if opened_us < self._closed_us:
                self.late += 1
                continue
            forming = self._forming.get(opened_us)
            if forming is None:
                if not self._is_open(tick.at):
                    continue
                forming = self._forming[opened_us] = _Forming(opened_us, at_us, len(self.symbols))
            _add(forming, place, at_us, float(tick.price), tick.volume)

    def note_break(self, heard_since: datetime) -> None:
        """The feed was away until `heard_since`: bars that opened before are not whole."""
        self._heard_us = to_us(heard_since)

    def close_due(self, now: datetime) -> datetime | None:
        """Close and hand on the bars that are over by now, oldest first; when the next one will be, if one is forming."""
        due_us = to_us(now - GRACE) - self._length_us
        for opened_us in sorted(self._forming):
            if opened_us > due_us:
                break
            self._close(self._forming.pop(opened_us))
        if not self._forming:
            return None
        return from_us(min(self._forming) + self._length_us) + GRACE

    def _close(self, forming: _Forming) -> None:
        self._closed_us = forming.opened_us + self._length_us
        volumes = self._volumes(forming)
        fields = np.array([forming.open, forming.high, forming.low, forming.close, volumes], np.float64)
        fields[4, np.isnan(fields[3])] = _NAN
        self._on_bars(
            ClosedBars(
                interval=self.interval,
                opened_at=from_us(forming.opened_us),
                symbols=self.symbols,
                fields=fields,
                is_whole=self._heard_us <= forming.opened_us or self._was_closed(forming),
            )
        )

    def _was_closed(self, forming: _Forming) -> bool:
        """True when the bar had begun, but not its session, when ticks began to be heard: a day begins at midnight."""
        return self._heard_us <= forming.began_us and not self._is_open(from_us(self._heard_us))

    def _volumes(self, forming: _Forming) -> list[float]:
        """Units traded within the bar: what the day had at its end, less what it had at the end of the bar before."""
        day = (forming.opened_us // _US + IST_S) // DAY_S
        if day != self._traded_day:
            self._traded_day = day
            # Whoever heard the session begin has missed nothing; else counting begins with the first tick of each.
            self._traded = [None if self._is_open(from_us(self._heard_us)) else 0] * len(self.symbols)
        volumes = []
        for place, (first, last) in enumerate(zip(forming.first_traded, forming.traded, strict=True)):
            before = self._traded[place] if self._traded[place] is not None else first
            volumes.append(0.0 if last is None or before is None else float(max(last - before, 0)))
            if last is not None:
                self._traded[place] = last
        return volumes

    def _opening(self, at_us: int) -> int:
        offset_us = (IST_S if self.interval is Interval.DAY else IST_S - OPENING_S) * _US
        return at_us - (at_us + offset_us) % self._length_us


def _add(forming: _Forming, place: int, at_us: int, price: float, traded: int | None) -> None:
    if forming.open[place] != forming.open[place]:  # NaN: the first of the bar
        forming.open[place] = forming.high[place] = forming.low[place] = forming.close[place] = price
        forming.at[place] = at_us
        forming.first_traded[place] = forming.traded[place] = traded
        return
    if price > forming.high[place]:
        forming.high[place] = price
    elif price < forming.low[place]:
        forming.low[place] = price
    if at_us >= forming.at[place]:  # of two, the newer one is the close, whichever came first
        forming.at[place] = at_us
        forming.close[place] = price
        if traded is not None:
            forming.traded[place] = traded


def parts_of(closed: ClosedBars) -> list[Part]:
    """The bars as they are stored: of each symbol that traded."""
    times = np.array([int(closed.opened_at.timestamp())], np.int64)
    return [
        Part(symbol=symbol, series=Series(times=times, **dict(zip(COLUMNS, closed.fields[:, place, None], strict=True))))
        for place, symbol in enumerate(closed.symbols)
        if not np.isnan(closed.fields[3, place])
    ]


async def keep_closing(live: LiveBars, clock: Clock) -> None:
    """Close bars as they end, until cancelled; what `on_bars` raises ends it."""
    while True:
        live.close_due(clock.now())
        await asyncio.sleep(LOOK_S)
