"""The data doctor: which series a scan may trust, and why it may not. What nobody can say is told, never mended silently."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from bridge.core.bar import Interval
from bridge.market.bars.findings import Complaint, Finding, Verdict
from bridge.market.bars.series import Prices, Series
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import combine
from bridge.market.bars.times import DAY_S, IST_S, day_numbers, day_of_number, number_of_day
from bridge.market.calendar import Calendar

# Overnight moves beyond this are no ordinary ones: most shares may not move by more than 20 % a day.
JUMP = 0.205
# What is left of a price after a bonus or a split, for 1 before: bonuses 1:1, 1:2, 2:1, 1:3, 3:1, splits into 2, 5, 10, 20.
_SPLITS = {1 / 2: "1:2", 2 / 3: "2:3", 1 / 3: "1:3", 3 / 4: "3:4", 1 / 4: "1:4", 1 / 5: "1:5", 1 / 10: "1:10", 1 / 20: "1:20"}
_SPLIT_NEAR = 0.04  # the market moves in that night too
_SWAP_NEAR = 0.06
# Stretches of so many days with the same closes are the same prices: by chance it does not happen.
TWIN_DAYS = 10
_TWIN_VALUES = 5
FROZEN_DAYS = 5
STALE_DAYS = 3
# Of the sessions between a symbol's first and last.
HOLES_PART = 0.02
_SHORT_SESSION = 0.5
_VOLUME_CHANGE = 50.0
_VOLUME_DAYS = 20
_DISAGREE = 0.03
# Pre-open, closing session and settlement around 09:15 to 15:30.
_EARLIEST_S, _LATEST_S = 32_400, 57_600
_ODD_PART = 0.02
_AT_ONCE = 16  # series in memory
Found = dict[str, list[Finding]]
IsSession = Callable[[int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Days:
    """A series by the day: its bars of days, how many bars each is made of, and the numbers of the days."""

    bars: Series
    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Doctor:
    """Examines what a file of bars holds. `calendar` tells holidays in the years that it knows."""

    def __init__(self, store: BarStore, calendar: Calendar) -> None:
        self._store = store
        self._calendar = calendar

    def examine(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> dict[str, Verdict]:
        """A verdict on each symbol, from its bars of the days `begin` to `end`; BarsError when they cannot be read.

        Some faults show only beside other symbols: the more are examined at once, the more is found.
        """
        found, days = examine_series(interval, self._read(interval, symbols, begin, end), self._is_session)
        self._compare(found, interval, days, begin, end)
        sessions = _sessions(days)
        last = max((int(one.numbers[-1]) for one in days.values()), default=0)
        for symbol, one in days.items():
            known = self._store.covered(interval, symbol, begin, end)
            found[symbol] += self._find_stale(one, last, known)
            found[symbol] += self._find_holes(one, known, sessions)
        return {symbol: Verdict(symbol=symbol, findings=tuple(found[symbol])) for symbol in symbols}

    def _read(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> Iterator[tuple[str, Series]]:
        """A few at a time: a year of minutes of a large universe would not fit into a small server's memory."""
        for first in range(0, len(symbols), _AT_ONCE):
            some = symbols[first : first + _AT_ONCE]
            yield from zip(some, self._store.read_each(interval, some, begin, end), strict=True)

    def _is_session(self, number: int) -> bool:
        day = day_of_number(number)
        return self._calendar.is_trading_day(day) if self._calendar.knows(day) else True

    def _compare(self, found: Found, interval: Interval, days: Mapping[str, _Days], begin: date, end: date) -> None:
        """The closes of days against those that minutes make, or the other way round: one of them may be another symbol's."""
        other = Interval.MINUTE if interval is Interval.DAY else Interval.DAY
        for symbol, beside in self._read(other, list(days), begin, end):
            if len(beside):
                found[symbol] += _find_disagreement(interval, other, days[symbol], _by_day(beside))

    def _find_stale(self, days: _Days, last: int, known: set[date]) -> Iterator[Finding]:
        """A series that ends before the others do."""
        ended = day_of_number(int(days.numbers[-1]))
        gap = range(number_of_day(ended) + 1, last + 1)
        missing = [number for number in gap if self._is_session(number) and _is_weekday(number)]
        if len(missing) >= STALE_DAYS:
            told = "no trade since" if all(day_of_number(number) in known for number in missing) else "nothing fetched since"
            yield Finding(Complaint.STALE, f"ends on {ended}, {len(missing)} sessions before others: {told}")

    def _find_holes(self, days: _Days, known: set[date], sessions: set[int]) -> Iterator[Finding]:
        """Sessions without a bar that most others have, and that nobody says were without a trade."""
        own = set(days.numbers.tolist())
        inside = {number for number in sessions if min(own) < number < max(own)}
        holes = sorted(number for number in inside - own if day_of_number(number) not in known)
        if len(holes) > HOLES_PART * len(inside):
            yield Finding(Complaint.HOLES, f"{len(holes)} of {len(inside)} sessions are missing, the first {_day(holes[0])}")
        elif holes:
            yield Finding(Complaint.HOLE, f"{len(holes)} sessions are missing, the first {_day(holes[0])}")


def examine_series(
    interval: Interval, series: Iterable[tuple[str, Series]], is_session: IsSession
) -> tuple[Found, dict[str, _Days]]:
    """What the bars alone tell, of each symbol by itself and of all beside one another; and those with bars by the day."""
    found: Found = {}
    days: dict[str, _Days] = {}
    for symbol, one in series:
        found[symbol] = []
        if not len(one):
            found[symbol].append(Finding(Complaint.NO_BARS, f"there is no {interval} bar of it"))
            continue
        days[symbol] = _by_day(one)
        found[symbol] += _find_bad_prices(one)
        found[symbol] += _find_odd_times(interval, one, is_session)
        found[symbol] += _find_jumps(days[symbol])
        found[symbol] += _find_frozen(days[symbol])
        found[symbol] += _find_volume(days[symbol])
        found[symbol] += _find_short_sessions(interval, days[symbol])
    _find_twins(found, days)
    _find_swaps(found, days)
    return found, days


def _by_day(series: Series) -> _Days:
    bars = combine(Interval.DAY, series)
    numbers = day_numbers(bars.times)
    counts = np.diff(np.append(np.searchsorted(series.times, bars.times), len(series)))
    return _Days(bars=bars, counts=counts, numbers=numbers)


def _sessions(days: Mapping[str, _Days]) -> set[int]:
    """Days on which at least half of the symbols have a bar, of those that begin by then and have not ended."""
    owns = [one.numbers for one in days.values()]
    if not owns:
        return set()
    numbers, counts = np.unique(np.concatenate(owns), return_counts=True)
    alive = np.zeros(len(numbers), np.int64)
    for own in owns:
        alive += (numbers >= own[0]) & (numbers <= own[-1])
    return set(numbers[2 * counts >= alive].tolist())


# -- one symbol ---------------------------------------------------------------------------------------------------------


def _find_bad_prices(series: Series) -> Iterator[Finding]:
    lowest = np.minimum(np.minimum(series.open, series.close), np.minimum(series.low, series.high))
    if (bad := np.flatnonzero(lowest <= 0)).size:
        yield Finding(Complaint.BAD_PRICE, f"{bad.size} bars have a price of zero or less, the first {_when(series, bad[0])}")
    inside = (series.high >= np.maximum(series.open, series.close)) & (series.low <= np.minimum(series.open, series.close))
    if (bad := np.flatnonzero(~inside)).size:
        told = f"in {bad.size} bars open or close lie outside low and high, the first {_when(series, bad[0])}"
        yield Finding(Complaint.BAD_RANGE, told)


def _find_odd_times(interval: Interval, series: Series, is_session: IsSession) -> Iterator[Finding]:
    """Times in another zone, and bars of days on which nothing trades."""
    if interval is not Interval.DAY:
        second = (series.times + IST_S) % DAY_S
        odd = np.flatnonzero((second < _EARLIEST_S) | (second >= _LATEST_S))
        if odd.size > _ODD_PART * len(series):
            told = f"{odd.size} bars lie outside 09:00 to 16:00 in India, the first {_when(series, odd[0])}: another time zone?"
            yield Finding(Complaint.ODD_HOURS, told)
    closed = [number for number in np.unique(day_numbers(series.times)).tolist() if not is_session(number)]
    if closed:
        yield Finding(Complaint.HOLIDAY, f"{len(closed)} days with bars are holidays, the first {_day(closed[0])}")


def _find_jumps(days: _Days) -> Iterator[Finding]:
    """Overnight moves that no session allows: where they are like a split it is one that nobody adjusted for."""
    before, opens = days.bars.close[:-1], days.bars.open[1:]
    for place in _jumps(before, opens):
        ratio, day = opens[place] / before[place], _day(int(days.numbers[place + 1]))
        near = [word for part, word in _SPLITS.items() if abs(ratio / part - 1) < _SPLIT_NEAR]
        back = [word for part, word in _SPLITS.items() if abs(ratio * part - 1) < _SPLIT_NEAR]
        if near or back:
            word = near[0] if near else ":".join(reversed(back[0].split(":")))
            told = f"opens on {day} at {ratio:.3f} of the close before, like a split or bonus of {word} not adjusted for"
            yield Finding(Complaint.SPLIT, f"{told}; fetch it --again")
        else:
            yield Finding(Complaint.JUMP, f"opens on {day} {ratio - 1:+.0%} from the close before")


def _jumps(before: Prices, after: Prices) -> list[int]:
    good = (before > 0) & (after > 0)
    ratio = np.where(good, after, 1.0) / np.where(good, before, 1.0)
    return np.flatnonzero((ratio < 1 - JUMP) | (ratio > 1 / (1 - JUMP))).tolist()


def _find_frozen(days: _Days) -> Iterator[Finding]:
    """Days that repeat one price, as somebody fills what he does not have."""
    bars = days.bars
    still = (bars.high == bars.low) & (bars.close == np.append(np.nan, bars.close[:-1]))
    place = int(np.argmax(np.append(~still[::-1], True)))
    if place >= FROZEN_DAYS:
        told = f"has had one price, {bars.close[-1]:g}, in each of the last {place} sessions"
        yield Finding(Complaint.FROZEN, told)


def _find_volume(days: _Days) -> Iterator[Finding]:
    volume = days.bars.volume
    moved = days.bars.high > days.bars.low
    if (silent := int(((volume == 0) & moved).sum())) and volume.any():
        yield Finding(Complaint.VOLUME, f"{silent} days moved without volume")
    if len(volume) < 3 * _VOLUME_DAYS:
        return
    late, early = float(np.median(volume[-_VOLUME_DAYS:])), float(np.median(volume[:-_VOLUME_DAYS]))
    if late and early and not 1 / _VOLUME_CHANGE < late / early < _VOLUME_CHANGE:
        yield Finding(Complaint.VOLUME, f"the volume of the last {_VOLUME_DAYS} days is {late / early:.2g} times that before")


def _find_short_sessions(interval: Interval, days: _Days) -> Iterator[Finding]:
    if interval is Interval.DAY or len(days.counts) < 3:
        return
    short = np.flatnonzero(days.counts[:-1] < _SHORT_SESSION * np.median(days.counts))
    if short.size:
        told = f"{short.size} sessions have less than half of the usual bars, the first {_day(int(days.numbers[short[0]]))}"
        yield Finding(Complaint.SHORT_SESSION, told)


def _find_disagreement(interval: Interval, other: Interval, own: _Days, beside: _Days) -> Iterator[Finding]:
    _, mine, theirs = np.intersect1d(own.numbers, beside.numbers, return_indices=True)
    close, second = own.bars.close[mine], beside.bars.close[theirs]
    far = np.flatnonzero(np.abs(close - second) > _DISAGREE * np.abs(second))
    if far.size > len(mine) * _ODD_PART:
        day = _day(int(own.numbers[mine[far[0]]]))
        told = f"{interval} and {other} bars close apart on {far.size} of {len(mine)} days, the first {day}"
        yield Finding(Complaint.DISAGREES, f"{told}: one of them may be another symbol's, or not adjusted for a split")


# -- symbols beside one another -------------------------------------------------------------------------------------------


def _find_twins(found: Found, days: Mapping[str, _Days]) -> None:
    """Two symbols with the same closes over a stretch of days: one of the files is another's."""
    seen: dict[bytes, list[tuple[str, int]]] = {}
    for symbol, one in days.items():
        blocks = one.numbers // (2 * TWIN_DAYS)  # by the calendar, so that stretches of two symbols lie alike
        for block in np.unique(blocks):
            which = blocks == block
            closes = one.bars.close[which]
            if len(np.unique(closes)) >= _TWIN_VALUES and which.sum() >= TWIN_DAYS:
                key = one.numbers[which].tobytes() + closes.tobytes()
                seen.setdefault(key, []).append((symbol, int(one.numbers[which][0])))
    told: set[tuple[str, str]] = set()
    for twins in seen.values():
        for symbol, number in twins:
            for other, _ in twins:
                if other != symbol and (symbol, other) not in told:
                    told.add((symbol, other))
                    found[symbol].append(
                        Finding(Complaint.TWIN, f"has the prices of {other}, from {_day(number)} at the latest")
                    )


def _find_swaps(found: Found, days: Mapping[str, _Days]) -> None:
    """Two symbols of which each goes on at the other's price from one day on."""
    jumped: dict[int, list[tuple[str, float, float]]] = {}
    for symbol, one in days.items():
        for place in _jumps(one.bars.close[:-1], one.bars.open[1:]):
            where = jumped.setdefault(int(one.numbers[place + 1]), [])
            where.append((symbol, float(one.bars.close[place]), float(one.bars.open[place + 1])))
    for number, which in jumped.items():
        for symbol, before, after in which:
            for other, other_before, other_after in which:
                if symbol != other and _is_near(after, other_before) and _is_near(other_after, before):
                    found[symbol].append(Finding(Complaint.SWAPPED, f"goes on at the price of {other} from {_day(number)} on"))


def _is_near(price: float, other: float) -> bool:
    return abs(price - other) < _SWAP_NEAR * other


# -- words ------------------------------------------------------------------------------------------------------------


def _day(number: int) -> str:
    return day_of_number(number).isoformat()


def _is_weekday(number: int) -> bool:
    return day_of_number(number).weekday() < 5


def _when(series: Series, place: np.int64) -> str:
    second = int(series.times[place])
    minute = (second + IST_S) % DAY_S // 60
    return f"{_day(int(day_numbers(second)))} {timedelta(minutes=minute)}"[:-3]
