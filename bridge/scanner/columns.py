"""Dated columns: numbers from outside, such as a sentiment, that may keep a definition from an entry and never cause one.

A column is a file of `data_dir/columns` with the heading `day,symbol,value`. A value counts from its day on, so that has to be
one on which it was known before the market opened. Who has no value, or none that is young enough, is not held back.
"""

import csv
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from bridge.scanner.definition import ColumnRule, Definition, DefinitionError

HEADING = ("day", "symbol", "value")
MAX_ROWS = 2_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """The values of each symbol, by day."""

    days: Mapping[str, Sequence[date]]
    values: Mapping[str, Sequence[Decimal]]

    def at(self, symbol: str, day: date) -> tuple[date, Decimal] | None:
        """The latest value that is not after `day`, with its own day."""
        days = self.days.get(symbol, ())
        place = bisect_right(days, day)
        return (days[place - 1], self.values[symbol][place - 1]) if place else None


def read_column(path: Path) -> Column:
    """A column from its file; DefinitionError names file, line and what is wrong."""
    found: dict[str, dict[date, Decimal]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            if tuple(next(rows, ())) != HEADING:
                raise DefinitionError(f"{path}: line 1: the heading has to be {','.join(HEADING)}")
            for number, row in enumerate(rows, start=2):
                if number > MAX_ROWS:
                    raise DefinitionError(f"{path}: more than {MAX_ROWS} lines")
                day, symbol, value = _read_row(path, number, row)
                found.setdefault(symbol, {})[day] = value
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DefinitionError(f"{path} cannot be read: {error}") from None
    ordered = {symbol: sorted(of.items()) for symbol, of in found.items()}
    return Column(
        {symbol: [day for day, _ in pairs] for symbol, pairs in ordered.items()},
        {symbol: [value for _, value in pairs] for symbol, pairs in ordered.items()},
    )


def _read_row(path: Path, number: int, row: Sequence[str]) -> tuple[date, str, Decimal]:
    try:
        day, symbol, value = row
        read = date.fromisoformat(day), symbol, Decimal(value)
    except (ValueError, InvalidOperation):
        raise DefinitionError(f"{path}: line {number}: {','.join(row)[:80]!r} is not like 2026-11-20,NSE:SBIN,0.4") from None
    if not read[2].is_finite():
        raise DefinitionError(f"{path}: line {number}: value: {value} is not a finite number")
    return read


class Columns:
    """The columns of a folder, read anew when their files change."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Column]] = {}

    def held_back(self, definition: Definition, symbols: Sequence[str], day: date) -> dict[str, str]:
        """Symbols that a column of the definition keeps from an entry on that day, each with the reason.

        A column that cannot be read holds all of them back: what a person asked for cannot be kept.
        """
        found: dict[str, str] = {}
        for rule in definition.columns:
            try:
                column = self._column(rule.name)
            except DefinitionError as error:
                return dict.fromkeys(symbols, str(error))
            for symbol in symbols:
                if symbol not in found and (why := _why_not(rule, column.at(symbol, day), day)):
                    found[symbol] = why
        return found

    def _column(self, name: str) -> Column:
        path = self._folder / f"{name}.csv"
        try:
            state = path.stat()
        except OSError as error:
            raise DefinitionError(f"the column {name} cannot be read: {error.strerror} ({path})") from None
        stamp = (state.st_mtime_ns, state.st_size)
        known = self._read.get(name)
        if known is None or known[0] != stamp:
            known = self._read[name] = (stamp, read_column(path))
        return known[1]


def _why_not(rule: ColumnRule, found: tuple[date, Decimal] | None, day: date) -> str:
    if found is None or day - found[0] > timedelta(days=rule.days):
        return ""
    of, value = found
    if rule.at_least is not None and value < rule.at_least:
        return f"{rule.name} {value} of {of} is below {rule.at_least}"
    if rule.at_most is not None and value > rule.at_most:
        return f"{rule.name} {value} of {of} is above {rule.at_most}"
    return ""
