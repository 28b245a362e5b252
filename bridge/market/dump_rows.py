"""Rows of an instrument dump: read strictly, each cell checked, into instruments."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from itertools import zip_longest

from bridge.core.enums import InstrumentKind
from bridge.core.errors import BridgeError, ConfigError
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, ZERO, parse_decimal, to_text
from bridge.market.contract_sizes import multiplier_of

# Kite's instrument dump: https://kite.trade/docs/connect/v3/market-quotes/
COLUMNS = (
    *("instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike"),
    *("tick_size", "lot_size", "instrument_type", "segment", "exchange"),
)
CASH, SHARE_DERIVATIVES = ("NSE", "BSE"), ("NFO", "BFO")
_INDEX_TICK = Decimal("0.05")  # the dump gives indices neither tick nor lot; nothing is traded in them


class ListError(BridgeError):
    """A list of instruments that is not taken; the one in use stays."""


class _CellError(Exception):
    """A cell that cannot be used: its column, and what is wrong with it."""


class _TwiceError(_CellError):
    """Two rows claim one key: nobody can say which is right, nor what else is wrong with the file."""


def read_instruments(lines: Iterable[str], file: str) -> list[Instrument]:
    """The instruments of a dump, heading first; ConfigError names `file`, line, column and the mend."""
    rows, reader = csv.reader(lines, strict=True), _RowReader()
    try:
        _check_heading(next(rows, []))
        found = [reader.read(row) for row in rows if row]
    except _CellError as error:
        column, problem = error.args
        raise ConfigError(f"{file}, line {max(1, rows.line_num)}, column {column}: {problem}") from None
    except csv.Error as error:
        raise ConfigError(f"{file}, line {rows.line_num}: is not CSV ({error})") from None
    if not found:
        raise ConfigError(f"{file}, line 2: has no instruments; export the broker's whole list")
    _mark_shares_with_futures(found)
    return found


@dataclass(slots=True)
class Reading:
    """A broker's whole list as it is read: how many rows were left out, and why the first of them was."""

    file: str
    rows: int = 0
    left_out: int = 0
    first: str = ""
    symbols: set[str] = field(default_factory=set)

    def read(self, lines: Iterable[str]) -> Iterator[Instrument]:
        """The usable instruments, one by one; a row that cannot be used is left out, so alerts for it are refused.

        ListError: the heading is another one, a key comes twice, or it is no CSV: then no row can be trusted.
        """
        rows, reader = csv.reader(lines, strict=True), _RowReader()
        self.symbols = reader.symbols
        try:
            _check_heading(next(rows, []))
            for row in rows:
                if not row:
                    continue
                self.rows += 1
                try:
                    yield reader.read(row)
                except _TwiceError:
                    raise
                except _CellError as error:
                    self._leave_out(rows.line_num, *error.args)
        except _CellError as error:
            column, problem = error.args
            raise ListError(f"{self.file}, line {max(1, rows.line_num)}, column {column}: {problem}") from None
        except csv.Error as error:
            raise ListError(f"{self.file}, line {rows.line_num}: is not CSV ({error})") from None

    def _leave_out(self, line: int, column: str, problem: str) -> None:
        self.left_out += 1
        self.first = self.first or f"line {line}, column {column}: {problem}"


def _check_heading(row: Sequence[str]) -> None:
    for wanted, cell in zip_longest(COLUMNS, (cell.strip() for cell in row)):
        if cell != wanted:
            raise _CellError(wanted or cell, f"the heading must be {','.join(COLUMNS)}")


def _mark_shares_with_futures(found: list[Instrument]) -> None:
    names = {i.name for i in found if i.kind is InstrumentKind.FUT and i.exchange in SHARE_DERIVATIVES}
    for number, item in enumerate(found):
        if item.kind is InstrumentKind.EQ and item.tradingsymbol in names and item.exchange in CASH:
            found[number] = replace(item, has_derivatives=True)


class _RowReader:
    """Turns rows into instruments; a dump repeats its names, dates and numbers endlessly, here each is kept once."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, Decimal] = {"": ZERO}
        self._dates: dict[str, date | None] = {"": None}
        self.symbols: set[str] = set()
        self._tokens: set[int] = set()

    def read(self, row: Sequence[str]) -> Instrument:
        """The instrument of one row; _CellError names the column."""
        if len(row) != len(COLUMNS):
            raise _CellError(COLUMNS[min(len(row), 11)], f"the row has {len(row)} cells, {len(COLUMNS)} are needed")
        token, exchange_token, tradingsymbol, name, last_price, expiry, strike, tick, lot, kind, segment, exchange = row
        _parse_whole("exchange_token", exchange_token)
        if last_price not in self._numbers:
            _parse_number("last_price", last_price)
        what = _parse_kind(kind, segment, exchange)
        strike_at = self._number("strike", strike)
        step, size = self._number("tick_size", tick), self._number("lot_size", lot)
        if what is InstrumentKind.INDEX:
            step, size = _INDEX_TICK, ONE
        _check_sizes(step, size, strike_at if what.is_option else ONE)
        if not name.isprintable():  # nor is a byte that is not UTF-8, read as a surrogate
            raise _CellError("name", f"{name[:32]!r} is not a text")
        return Instrument(
            symbol=self._symbol(exchange, tradingsymbol),
            exchange=self._texts.setdefault(exchange, exchange),
            tradingsymbol=tradingsymbol,
            name=self._texts.setdefault(name, name),
            kind=what,
            tick=step,
            lot=size,
            multiplier=multiplier_of(exchange, name, size),
            expiry=self._expiry(expiry, what),
            strike=strike_at if what.is_option else None,
            token=self._token(token),
        )

    def _symbol(self, exchange: str, tradingsymbol: str) -> str:
        if not tradingsymbol or not tradingsymbol.isprintable() or tradingsymbol != tradingsymbol.strip():
            raise _CellError("tradingsymbol", f"{tradingsymbol!r} is not a symbol")
        symbol = f"{exchange}:{tradingsymbol}"
        if symbol in self.symbols:
            raise _TwiceError("tradingsymbol", f"{symbol} is listed twice; remove one of the rows")
        self.symbols.add(symbol)
        return symbol

    def _token(self, text: str) -> int:
        token = _parse_whole("instrument_token", text)
        if token in self._tokens:
            raise _TwiceError("instrument_token", f"{token} is given to two instruments; remove one of the rows")
        self._tokens.add(token)
        return token

    def _number(self, column: str, text: str) -> Decimal:
        value = self._numbers.get(text)
        if value is None:
            value = self._numbers[text] = _parse_number(column, text)
        return value

    def _expiry(self, text: str, kind: InstrumentKind) -> date | None:
        if text not in self._dates:
            self._dates[text] = _parse_date(text)
        expiry = self._dates[text]
        if (expiry is None) is not (kind in (InstrumentKind.EQ, InstrumentKind.INDEX)):
            raise _CellError("expiry", f"{text!r} does not go with {kind}; only derivatives expire, and all of them do")
        return expiry


def _parse_whole(column: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _CellError(column, f"{text[:32]!r} is not a whole number")
    return int(text)


def _parse_number(column: str, text: str) -> Decimal:
    try:
        return parse_decimal(text)
    except ValueError as error:
        raise _CellError(column, f"{text[:32]!r} {error}") from None


def _check_sizes(tick: Decimal, lot: Decimal, strike: Decimal) -> None:
    for column, value in (("tick_size", tick), ("lot_size", lot), ("strike", strike)):
        if value <= ZERO:
            raise _CellError(column, f"{to_text(value)} must be above zero")
    if lot % ONE:
        raise _CellError("lot_size", f"{to_text(lot)} is not a whole number")


def _parse_date(text: str) -> date:
    try:
        if len(text) != 10:  # fromisoformat also takes 20261124 and 2026-W48-2
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise _CellError("expiry", f"{text[:32]!r} is not a date such as 2026-11-24") from None


def _parse_kind(kind: str, segment: str, exchange: str) -> InstrumentKind:
    if not (exchange.isascii() and exchange.isalpha() and exchange.isupper()):
        raise _CellError("exchange", f"{exchange!r} is not an exchange such as NSE")
    if segment == "INDICES":
        return InstrumentKind.INDEX
    if not segment.startswith(exchange):
        raise _CellError("segment", f"{segment!r} does not belong to {exchange}")
    if kind not in ("EQ", "FUT", "CE", "PE"):
        raise _CellError("instrument_type", f"{kind!r} is none of EQ, FUT, CE, PE")
    return InstrumentKind(kind)
