"""Bars out of a CSV file: read strictly, so that a wrong column is named and never stored."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.market.bars.series import BarsError, Series
from bridge.market.bars.store import Part
from bridge.market.bars.times import DAY_S, IST_S, OPENING_S, day_numbers, day_of_number
from bridge.market.symbols import check_symbol

NEEDED = ("time", "open", "high", "low", "close", "volume")
# Names that exports give the time; of TradingView's own `time` is seconds since 1970.
_TIME_NAMES = ("date", "datetime", "timestamp")
_LARGEST = 2.0**52
_Row = tuple[int, float, float, float, float, float]


def read_csv(path: Path, interval: Interval, *, now: datetime, symbol: str | None = None) -> list[Part]:
    """The closed bars of a file, by symbol in order of name; BarsError names file, line and column.

    The heading names the columns, in any order and case: `time`, `open`, `high`, `low`, `close`, `volume`, and `symbol`
    unless `symbol` says whose bars these are. A time without a zone is India's. Each day with a bar counts as known, but not
    today, which is not over.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return _Reader(path, interval, now, symbol).read(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BarsError(f"{path} cannot be read ({error})") from None


class _Reader:
    def __init__(self, path: Path, interval: Interval, now: datetime, symbol: str | None) -> None:
        self._path = path
        self._interval = interval
        self._now_s = int(now.timestamp())
        self._symbol = symbol
        self._times: dict[str, int] = {}

    def read(self, rows: Iterator[list[str]]) -> list[Part]:
        places = self._places(next(rows, []))
        found: dict[str, dict[int, _Row]] = {}
        for line, row in enumerate(rows, 2):
            if not row:
                continue
            if len(row) <= max(places.values()):
                raise self._fault(line, "", f"the line has {len(row)} columns, fewer than the heading")
            bar = self._read_bar(line, row, places)
            if bar[0] + self._interval.seconds > self._now_s:
                continue  # not over yet
            known = found.setdefault(self._read_symbol(line, row, places), {})
            if known.setdefault(bar[0], bar) != bar:
                raise self._fault(line, "time", f"{row[places['time']]!r} comes twice, with different prices")
        if not found:
            raise BarsError(f"{self._path}: there is no closed bar in the file")
        return [self._make_part(symbol, found[symbol]) for symbol in sorted(found)]

    def _places(self, heading: Sequence[str]) -> dict[str, int]:
        names = [name.strip().lower() for name in heading]
        if "time" not in names:
            names = ["time" if name in _TIME_NAMES else name for name in names]
        needed = NEEDED if self._symbol is not None else ("symbol", *NEEDED)
        for name in needed:
            if names.count(name) != 1:
                what = "is missing from" if name not in names else "is twice in"
                mend = "; or say whose bars these are with --symbol" if name == "symbol" else ""
                raise self._fault(1, name, f"the column {what} the heading, which needs {', '.join(needed)}{mend}")
        return {name: names.index(name) for name in needed}

    def _read_bar(self, line: int, row: Sequence[str], places: dict[str, int]) -> _Row:
        text = row[places["time"]]
        opened = self._times.get(text)
        if opened is None:
            opened = self._times[text] = self._read_time(line, text)
        numbers = []
        for name in NEEDED[1:]:
            try:
                number = float(row[places[name]])
            except ValueError:
                raise self._fault(line, name, f"{row[places[name]]!r} is not a number") from None
            if not abs(number) < _LARGEST:
                raise self._fault(line, name, f"{row[places[name]]!r} is not a number that can be kept")
            numbers.append(number)
        if numbers[4] < 0 or numbers[4] != int(numbers[4]):
            raise self._fault(line, "volume", f"{row[places['volume']]!r} is not a whole number of units")
        return (opened, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])

    def _read_time(self, line: int, text: str) -> int:
        try:
            told = datetime.fromtimestamp(int(text), UTC) if text.strip().isdigit() else datetime.fromisoformat(text.strip())
        except (ValueError, OverflowError, OSError):
            mend = "write it like 2026-11-20T09:15:00+05:30, or as seconds since 1970"
            raise self._fault(line, "time", f"{text!r} is not a time; {mend}") from None
        if told.tzinfo is None:
            told = told.replace(tzinfo=IST)
        opened, odd = divmod(told.timestamp(), 1)
        second = int(opened)
        if self._interval is Interval.DAY:
            return (second + IST_S) // DAY_S * DAY_S - IST_S
        if odd or (second + IST_S - OPENING_S) % DAY_S % self._interval.seconds:
            raise self._fault(line, "time", f"no {self._interval} bar opens at {text!r}: they count from 09:15 in India")
        return second

    def _read_symbol(self, line: int, row: Sequence[str], places: dict[str, int]) -> str:
        if self._symbol is not None:
            return self._symbol
        try:
            return check_symbol(row[places["symbol"]])
        except ValueError as error:
            raise self._fault(line, "symbol", str(error)) from None

    def _make_part(self, symbol: str, bars: dict[int, _Row]) -> Part:
        table = np.array([bars[opened] for opened in sorted(bars)], np.float64)
        times = np.array(sorted(bars), np.int64)
        today = int(day_numbers(self._now_s))
        numbers = {int(number) for number in np.unique(day_numbers(times)) if number < today}
        days: frozenset[date] = frozenset(day_of_number(number) for number in numbers)
        columns = {name: table[:, place].copy() for place, name in enumerate(NEEDED[1:], 1)}
        return Part(symbol=symbol, series=Series(times=times, **columns), days=days)

    def _fault(self, line: int, column: str, what: str) -> BarsError:
        return BarsError(f"{self._path}, line {line}{', ' if column else ''}{column}: {what}")
