"""BarStore: every bar there is, in one SQLite file of packed stretches: a month of one symbol, or a year of its days."""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from bridge.core.bar import Interval
from bridge.market.bars.codec import pack, unpack
from bridge.market.bars.series import Bars, BarsError, Series, align, empty_series, merge_series
from bridge.market.bars.times import day_numbers, day_of_number, first_second

FORMAT = 1  # of the file
# Another process may be storing a whole import.
PATIENCE_S = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS stretch (
    interval TEXT NOT NULL, period INTEGER NOT NULL, symbol TEXT NOT NULL,
    days BLOB NOT NULL, bars INTEGER NOT NULL, first_s INTEGER, last_s INTEGER, body BLOB NOT NULL, checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON stretch (interval, symbol, period);
"""
_SELECT = "SELECT symbol, period, days, body, checksum FROM stretch WHERE interval = ? AND period BETWEEN ? AND ?"
_OF_SYMBOLS = f"{_SELECT} AND symbol IN (SELECT value FROM json_each(?)) ORDER BY symbol, period"  # noqa: S608 - constants
_HELD = "SELECT interval, symbol, period, days, bars, first_s, last_s FROM stretch ORDER BY interval, symbol, period"
_MARKS = "CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, text TEXT NOT NULL)"
_PUT = """
INSERT INTO stretch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (interval, symbol, period) DO UPDATE SET
    days = excluded.days, bars = excluded.bars, first_s = excluded.first_s, last_s = excluded.last_s, body = excluded.body,
    checksum = excluded.checksum
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bars to be stored; `days` are those of which nothing is missing now: one without a bar had no trade."""

    symbol: str
    series: Series
    days: Set[date] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What is stored of one symbol: how many bars, the days of the first and the last of them, and how many days are known."""

    symbol: str
    interval: Interval
    bars: int
    days: int
    first: date | None
    last: date | None


@dataclass(frozen=True, slots=True)
class _Stretch:
    symbol: str
    period: int
    days: int
    body: bytes

    def read(self) -> Series:
        try:
            return unpack(self.body)
        except BarsError as error:
            raise _damaged(self.symbol, self.period, str(error)) from None


class BarStore:
    """The bars of one file. Safe from any thread and beside other processes; each call sees one state of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def merge(self, interval: Interval, parts: Iterable[Part], *, marks: Mapping[str, str] | None = None) -> int:
        """Store the parts, all or none of them, and tell how many bars they have. What is there already changes nothing.

        Of two bars at one time the new one stays. BarsError for bars that nothing can hold, or a file that cannot be written.
        `marks` are texts by name that become true with these bars, and not without them.
        """
        count = 0
        with self._open() as connection, _transaction(connection):
            for part in parts:
                for period, series, days in _split(interval, part):
                    self._merge_one(connection, interval, part.symbol, period, series, days)
                count += len(part.series)
            if marks:
                connection.execute(_MARKS)
                connection.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?)", list(marks.items()))
        return count

    def mark(self, name: str) -> str | None:
        """The text that was last stored under this name."""
        with self._open() as connection:
            connection.execute(_MARKS)
            row = connection.execute("SELECT text FROM mark WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def covered(self, interval: Interval, symbol: str, begin: date, end: date) -> set[date]:
        """The days from `begin` to `end` of which nothing is missing."""
        found: set[date] = set()
        with self._open() as connection:
            for stretch in _find(connection, interval, [symbol], begin, end):
                found.update(_known_days(stretch.period, stretch.days))
        return {day for day in found if begin <= day <= end}

    def series(self, interval: Interval, symbol: str, begin: date, end: date) -> Series:
        """The bars of one symbol that opened on the days from `begin` to `end`, both in India; none is an empty series."""
        return self.read_each(interval, [symbol], begin, end)[0]

    def read(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> Bars:
        """The bars of all symbols on a common axis; one of which nothing is stored is all NaN.

        A year of one-minute bars of 200 symbols is 750 MB: `months` gives the same piece by piece.
        """
        return align(interval, symbols, self.read_each(interval, symbols, begin, end))

    def months(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> Iterator[Bars]:
        """`read`, month by month, or year by year for days; the next is read while the last is worked on."""
        spans = list(_spans(interval, begin, end))
        with ThreadPoolExecutor(1) as ahead:
            pending = [ahead.submit(self.read, interval, symbols, *span) for span in spans[:1]]
            for span in [*spans[1:], None]:
                bars = pending.pop().result()
                if span is not None:
                    pending.append(ahead.submit(self.read, interval, symbols, *span))
                if len(bars):
                    yield bars

    def read_each(self, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> list[Series]:
        """The series of each symbol, in the order given."""
        with self._open() as connection:
            stretches = list(_find(connection, interval, symbols, begin, end))
        own: dict[str, list[_Stretch]] = {}
        for stretch in stretches:
            own.setdefault(stretch.symbol, []).append(stretch)
        begin_s, end_s = first_second(begin), first_second(end + timedelta(days=1))

        def read_one(symbol: str) -> Series:
            return _join([stretch.read() for stretch in own.get(symbol, ())]).between(begin_s, end_s)

        with ThreadPoolExecutor(os.cpu_count()) as threads:  # zlib and numpy let go of the interpreter
            return list(threads.map(read_one, symbols))

    def holdings(self, interval: Interval | None = None) -> list[Holding]:
        """What is stored, by interval and symbol."""
        rows: dict[tuple[str, str], list[tuple[int, bytes, int, int | None, int | None]]] = {}
        with self._open() as connection:
            for told, symbol, *row in connection.execute(_HELD):
                if interval in (None, told):
                    rows.setdefault((told, symbol), []).append(tuple(row))
        return [_hold(Interval(told), symbol, found) for (told, symbol), found in rows.items()]

    def drop(self, interval: Interval, symbols: Sequence[str]) -> None:
        """Forget everything of these symbols."""
        with self._open() as connection, _transaction(connection):
            connection.executemany(
                "DELETE FROM stretch WHERE interval = ? AND symbol = ?", [(interval.value, symbol) for symbol in symbols]
            )

    # -- the file -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call. BarsError for whatever the file is or does."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)) as connection:
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    # What the last moments before a power failure stored may be fetched again: the file itself stays whole.
                    connection.executescript(f"PRAGMA journal_mode = WAL; {_TABLE} PRAGMA user_version = {FORMAT};")
                elif version != FORMAT:
                    raise BarsError(f"{self._path} is of format {version}, not {FORMAT}; move it away and fetch the bars anew")
                connection.execute("PRAGMA synchronous = NORMAL")
                yield connection
        except sqlite3.Error as error:
            raise BarsError(f"{self._path} cannot be worked with ({error})") from None

    def _merge_one(
        self, connection: sqlite3.Connection, interval: Interval, symbol: str, period: int, series: Series, days: int
    ) -> None:
        row = connection.execute(f"{_SELECT} AND symbol = ?", (interval.value, period, period, symbol)).fetchone()
        if row is not None:
            known = _check(interval, row)
            series, days = merge_series(known.read(), series), days | known.days
        try:
            body = pack(series)
        except BarsError as error:
            raise BarsError(f"{symbol}, {interval} bars of {period}: {error}") from None
        told = _days_bytes(days)
        first, last = (int(series.times[0]), int(series.times[-1])) if len(series) else (None, None)
        checksum = _checksum(interval, symbol, period, told, body)
        connection.execute(_PUT, (interval.value, period, symbol, told, len(series), first, last, body, checksum))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _find(
    connection: sqlite3.Connection, interval: Interval, symbols: Sequence[str], begin: date, end: date
) -> Iterator[_Stretch]:
    asked = (interval.value, _period(interval, begin), _period(interval, end), json.dumps(list(symbols)))
    return (_check(interval, row) for row in connection.execute(_OF_SYMBOLS, asked))


def _check(interval: Interval, row: tuple[str, int, bytes, bytes, int]) -> _Stretch:
    symbol, period, days, body, checksum = row
    if _checksum(interval, symbol, period, days, body) != checksum:
        raise _damaged(symbol, period, "the checksum does not fit")
    return _Stretch(symbol, period, int.from_bytes(days, "little"), body)


def _damaged(symbol: str, period: int, why: str) -> BarsError:
    return BarsError(f"the bars of {symbol} in {period} cannot be read: {why}; drop the symbol and fetch it anew")


def _checksum(interval: Interval, symbol: str, period: int, days: bytes, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(days, zlib.crc32(f"{interval.value} {symbol} {period}".encode())))


def _join(parts: list[Series]) -> Series:
    """Stretches of one symbol, which follow one another."""
    if len(parts) < 2:
        return parts[0] if parts else empty_series()
    names = Series.__dataclass_fields__
    return Series(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


# -- periods: a month of intraday bars, a year of days ----------------------------------------------------------------


def _period(interval: Interval, day: date) -> int:
    return day.year if interval is Interval.DAY else day.year * 100 + day.month


def _first_day(period: int) -> date:
    return date(period, 1, 1) if period < 10_000 else date(period // 100, period % 100, 1)


def _spans(interval: Interval, begin: date, end: date) -> Iterator[tuple[date, date]]:
    """`begin` to `end` in periods."""
    while begin <= end:
        first = _first_day(_period(interval, begin))
        after = first.replace(year=first.year + 1) if interval is Interval.DAY else (first + timedelta(days=31)).replace(day=1)
        yield begin, min(end, after - timedelta(days=1))
        begin = after


def _split(interval: Interval, part: Part) -> Iterator[tuple[int, Series, int]]:
    """The part by period: its bars there, and its known days there as bits."""
    bits: dict[int, int] = {}
    for day in part.days:
        period = _period(interval, day)
        bits[period] = bits.get(period, 0) | 1 << (day - _first_day(period)).days
    numbers = day_numbers(part.series.times)
    unit = "datetime64[Y]" if interval is Interval.DAY else "datetime64[M]"
    stretches = numbers.astype("datetime64[D]").astype(unit)
    edges = [0, *(np.flatnonzero(stretches[1:] != stretches[:-1]) + 1).tolist(), len(stretches)] if len(stretches) else []
    for first, after in pairwise(edges):
        period = _period(interval, day_of_number(int(numbers[first])))
        yield period, part.series.take(slice(first, after)), bits.pop(period, 0)
    for period, days in bits.items():
        yield period, empty_series(), days


def _days_bytes(days: int) -> bytes:
    return days.to_bytes((days.bit_length() + 7) // 8, "little")


def _known_days(period: int, days: int) -> Iterator[date]:
    first = _first_day(period)
    return (first + timedelta(days=place) for place in range(days.bit_length()) if days >> place & 1)


def _hold(interval: Interval, symbol: str, rows: list[tuple[int, bytes, int, int | None, int | None]]) -> Holding:
    firsts = [row[3] for row in rows if row[3] is not None]
    lasts = [row[4] for row in rows if row[4] is not None]
    return Holding(
        symbol=symbol, interval=interval, bars=sum(row[2] for row in rows),
        days=sum(int.from_bytes(row[1], "little").bit_count() for row in rows),
        first=day_of_number(int(day_numbers(min(firsts)))) if firsts else None,
        last=day_of_number(int(day_numbers(max(lasts)))) if lasts else None,
    )  # fmt: skip
