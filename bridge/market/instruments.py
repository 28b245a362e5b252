"""Instruments: what can be traded, read from a broker's list and found again however an alert spells it."""

import csv
import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from itertools import zip_longest
from pathlib import Path

from bridge.core.enums import InstrumentKind
from bridge.core.errors import ConfigError, RefusedError
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, ZERO, parse_decimal, to_text
from bridge.core.reasons import RefusalCode

# Kite's instrument dump: https://kite.trade/docs/connect/v3/market-quotes/
COLUMNS = (
    *("instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike"),
    *("tick_size", "lot_size", "instrument_type", "segment", "exchange"),
)
_INDEX_TICK = Decimal("0.05")  # the dump gives indices neither tick nor lot; nothing is traded in them
# TradingView knows only the exchange; brokers list its derivatives under exchanges of their own.
_VENUES = {"NSE": ("NSE", "NFO", "CDS", "NCO"), "BSE": ("BSE", "BFO", "BCD")}
_CASH, _SHARE_DERIVATIVES = ("NSE", "BSE"), ("NFO", "BFO")
# TradingView's names of indices for Kite's.
_INDEX_NAMES = {
    "NIFTY": "NIFTY 50",
    "BANKNIFTY": "NIFTY BANK",
    "CNXFINANCE": "NIFTY FIN SERVICE",
    "NIFTY_MID_SELECT": "NIFTY MID SELECT",
    "FINNIFTY": "NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NIFTY MID SELECT",
    "NIFTYJR": "NIFTY NEXT 50",
    "INDIAVIX": "INDIA VIX",
}
# Rupees that one lot moves per point of price. On these exchanges the dump's lot is 1 and hides the contract's size,
# without which no limit in rupees can hold: a name that is not here cannot be traded.
_CURRENCIES = dict.fromkeys(("USDINR", "EURINR", "GBPINR", "JPYINR"), 1000)
_COMMODITIES = {
    **dict.fromkeys(("GOLDPETAL", "SILVERMIC"), 1),
    **dict.fromkeys(("GOLDM", "CRUDEOILM"), 10),
    **dict.fromkeys(("GOLD", "CRUDEOIL"), 100),
    "SILVERM": 5,
    "SILVER": 30,
    "NATGASMINI": 250,
    "NATURALGAS": 1250,
    "COPPER": 2500,
    **dict.fromkeys(("ZINC", "LEAD", "ALUMINIUM"), 5000),
}
_RUPEES_PER_POINT = {"MCX": _COMMODITIES, "NCO": {}, "CDS": _CURRENCIES, "BCD": _CURRENCIES}
_MONTH_LETTERS = "FGHJKMNQUVXZ"
_CONTINUOUS = re.compile(r"(?P<root>.+?)(?P<nth>[1-9])!")
_MONTHLY = re.compile(rf"(?P<root>.+?)(?P<letter>[{_MONTH_LETTERS}])(?P<year>20\d\d)")
_OPTION = re.compile(r"(?P<root>.+?)(?P<expiry>\d{6})(?P<kind>[CP])(?P<strike>\d{1,9}(?:\.\d{1,4})?)")
_FOLD = str.maketrans("&-.", "___")  # TradingView writes M_M, BAJAJ_AUTO and EMBASSY.RR
MAX_SPELLING = 64
_MAX_REMEMBERED = 4096  # spellings; beyond it they are worked out again
_NEAR = 3


class _CellError(Exception):
    """A cell that cannot be used: its column, and what is wrong with it."""


def load_catalog(path: Path, today: Callable[[], date]) -> "Catalog":
    """The catalog of a CSV file in the columns of Kite's dump; ConfigError names file, line, column and the mend."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            return Catalog(read_instruments(lines, str(path)), today)
    except OSError as error:
        raise ConfigError(f"instruments: {path} cannot be read ({error.strerror}); name another file") from None


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


def _check_heading(row: Sequence[str]) -> None:
    for wanted, cell in zip_longest(COLUMNS, (cell.strip() for cell in row)):
        if cell != wanted:
            raise _CellError(wanted or cell, f"the heading must be {','.join(COLUMNS)}")


def _mark_shares_with_futures(found: list[Instrument]) -> None:
    names = {i.name for i in found if i.kind is InstrumentKind.FUT and i.exchange in _SHARE_DERIVATIVES}
    for number, item in enumerate(found):
        if item.kind is InstrumentKind.EQ and item.tradingsymbol in names and item.exchange in _CASH:
            found[number] = replace(item, has_derivatives=True)


class _RowReader:
    """Turns rows into instruments; a dump repeats its names, dates and numbers endlessly, here each is kept once."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, Decimal] = {"": ZERO}
        self._dates: dict[str, date | None] = {"": None}
        self._symbols: set[str] = set()
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
            multiplier=_multiplier(exchange, name, size),
            expiry=self._expiry(expiry, what),
            strike=strike_at if what.is_option else None,
            token=self._token(token),
        )

    def _symbol(self, exchange: str, tradingsymbol: str) -> str:
        if not tradingsymbol or not tradingsymbol.isprintable() or tradingsymbol != tradingsymbol.strip():
            raise _CellError("tradingsymbol", f"{tradingsymbol!r} is not a symbol")
        symbol = f"{exchange}:{tradingsymbol}"
        if symbol in self._symbols:
            raise _CellError("tradingsymbol", f"{symbol} is listed twice; remove one of the rows")
        self._symbols.add(symbol)
        return symbol

    def _token(self, text: str) -> int:
        token = _parse_whole("instrument_token", text)
        if token in self._tokens:
            raise _CellError("instrument_token", f"{token} is given to two instruments; remove one of the rows")
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


def _multiplier(exchange: str, name: str, lot: Decimal) -> Decimal:
    per_lot = _RUPEES_PER_POINT.get(exchange, {}).get(name)
    return ONE if per_lot is None else per_lot / lot


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contract:
    """What a spelling says of a contract: the nth future, the future of a month, or one option."""

    root: str
    kind: InstrumentKind = InstrumentKind.FUT
    nth: int = 0
    month: tuple[int, int] | None = None
    expiry: date | None = None
    strike: Decimal | None = None

    def pick(self, listed: Iterable[Instrument], today: date) -> list[Instrument]:
        """The contracts meant, among those of one name."""
        same = [i for i in listed if i.kind is self.kind and i.expiry is not None]
        if self.nth:
            alive = sorted((i for i in same if i.expiry and i.expiry >= today), key=lambda i: i.expiry or today)
            return alive[self.nth - 1 : self.nth]
        if self.month:
            return [i for i in same if i.expiry and (i.expiry.year, i.expiry.month) == self.month]
        return [i for i in same if i.expiry == self.expiry and i.strike == self.strike]


def _parse_contract(name: str) -> _Contract | None:
    if found := _CONTINUOUS.fullmatch(name):
        return _Contract(root=found["root"], nth=int(found["nth"]))
    if found := _MONTHLY.fullmatch(name):
        return _Contract(root=found["root"], month=(int(found["year"]), _MONTH_LETTERS.index(found["letter"]) + 1))
    if found := _OPTION.fullmatch(name):
        try:
            expiry = date.fromisoformat(f"20{found['expiry']}")
        except ValueError:
            return None
        kind = InstrumentKind.CE if found["kind"] == "C" else InstrumentKind.PE
        return _Contract(root=found["root"], kind=kind, expiry=expiry, strike=Decimal(found["strike"]))
    return None


class Catalog:
    """Every instrument by symbol, and by the ways TradingView and traders spell it; immutable once built."""

    def __init__(self, instruments: Iterable[Instrument], today: Callable[[], date]) -> None:
        self._today = today
        self._by_symbol: dict[str, Instrument] = {}
        self._remembered: dict[str, Instrument] = {}
        self._odd: dict[str, list[Instrument]] = {}  # by folded symbol, where it has something to fold
        self._contracts: dict[str, list[Instrument]] = {}  # by exchange and folded name of the underlying
        self._names: dict[str, dict[str, str]] = {}  # by exchange: what may be misspelt, and how to spell it
        self._unsized: set[str] = set()
        for instrument in instruments:
            self._add(instrument)

    def _add(self, item: Instrument) -> None:
        if item.name not in _RUPEES_PER_POINT.get(item.exchange, (item.name,)):
            self._unsized.add(item.symbol)
            return
        self._by_symbol[item.symbol] = item
        folded = _fold(item.symbol)
        if "_" in folded or folded != item.symbol:
            self._odd.setdefault(folded, []).append(item)
        names = self._names.setdefault(item.exchange, {})
        if item.expiry is None:
            names[item.tradingsymbol] = item.symbol
        else:
            names[item.name] = f"{item.exchange}:{item.name}1!"
            self._contracts.setdefault(f"{item.exchange}:{_fold(item.name)}", []).append(item)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def get(self, symbol: str) -> Instrument | None:
        """The instrument of exactly this symbol (`NSE:SBIN`), or None."""
        return self._by_symbol.get(symbol)

    def resolve(self, text: str) -> Instrument:
        """The one instrument that `text` can mean; RefusedError names the field `symbol` and near matches.

        `NIFTY1!` is the future that expires next, on its last day still that one. An index resolves, though it
        cannot be traded: risk denies it by name.
        """
        found = self._by_symbol.get(text) or self._remembered.get(text)
        if found is not None:
            return found
        found = self._interpret(text)
        if not _CONTINUOUS.search(text):  # what is the front month today is not so tomorrow
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = found
        return found

    def _interpret(self, text: str) -> Instrument:
        if not text.strip() or len(text) > MAX_SPELLING or not (text.isascii() and text.isprintable()):
            raise _refused(f"{text[:MAX_SPELLING]!r} is not a symbol.", "Write it like NSE:SBIN or NSE:NIFTY1!.")
        prefix, colon, rest = text.strip().upper().partition(":")
        exchange, name = (prefix.strip(), rest.strip()) if colon else ("", prefix)
        if exchange.endswith(("_DL", "_DLY")):
            raise _refused(
                f"{exchange} is delayed data: the alert is minutes late.",
                "Delayed data must not trade; chart the real-time exchange and set the alert there.",
                RefusalCode.E_UNSUPPORTED,
            )
        venues = [v for v in _VENUES.get(exchange, (exchange,) if exchange else self._names) if v in self._names]
        for found in self._readings(name, venues):
            if len(found) == 1:
                return found[0]
            if found:
                names = " and ".join(i.symbol for i in found[:4])
                raise _refused(f"{name} can mean {names}.", "Write which; in TradingView: {{exchange}}:{{ticker}}.")
        raise self._unknown(exchange, name, venues)

    def _readings(self, name: str, venues: Sequence[str]) -> Iterator[list[Instrument]]:
        """What `name` can mean, the strictest reading first; more than one instrument in a reading is ambiguous."""
        yield [i for v in venues if (i := self._by_symbol.get(f"{v}:{name}"))]
        yield [i for v in venues for i in self._odd.get(f"{v}:{_fold(name)}", ())]
        if name in _INDEX_NAMES:
            yield [i for v in venues if (i := self._by_symbol.get(f"{v}:{_INDEX_NAMES[name]}"))]
        if contract := _parse_contract(name):
            yield [i for v in venues for i in contract.pick(self._listed(v, contract.root), self._today())]

    def _listed(self, venue: str, root: str) -> list[Instrument]:
        listed = self._contracts.get(f"{venue}:{_fold(root)}", [])
        if len({i.name for i in listed}) > 1:  # M&M and M-M would share a fold: then only the exact name will do
            return [i for i in listed if i.name == root]
        return listed

    def _unknown(self, exchange: str, name: str, venues: Sequence[str]) -> RefusedError:
        symbol = f"{exchange}:{name}" if exchange else name
        if any(f"{venue}:{name}" in self._unsized for venue in _RUPEES_PER_POINT):
            message = f"The size of one lot of {symbol} is not known, so no limit in rupees could hold."
            return _refused(message, "Trade it by hand.", RefusalCode.E_UNSUPPORTED)
        if not venues:
            message = f"{exchange} is not an exchange in the list of instruments."
            return _refused(message, f"The list has {', '.join(sorted(self._names))}.")
        message = f"{symbol} is not in the list of instruments."
        contract = _parse_contract(name)
        if contract is None:
            return _refused(message, _near_hint(name, ChainMap(*(self._names[venue] for venue in venues))))
        listed = [i for venue in venues for i in self._listed(venue, contract.root)]
        if listed:
            return _refused(message, _contract_hint(contract, listed, self._today()))
        tail = name.removeprefix(contract.root)
        roots = (root for venue in venues if venue not in _CASH for root in self._names[venue])
        return _refused(message, _near_hint(contract.root, {root: root + tail for root in roots}))


def _fold(text: str) -> str:
    return text.upper().translate(_FOLD)


def _near_hint(name: str, pool: Mapping[str, str]) -> str:
    """Names the at most three of `pool` that look like `name`, best first."""
    # A typing error keeps most letters: the cheap test spares difflib the other thousands of names.
    letters, least = set(name), 2 * len(set(name)) // 3
    likely = [n for n in pool if abs(len(n) - len(name)) <= 2 and len(letters.intersection(n)) >= least]
    near = [pool[match] for match in get_close_matches(name, likely, n=_NEAR)]
    return f"Near it: {', '.join(near)}." if near else "Nothing near it; write the exchange too, like NSE:SBIN."


def _contract_hint(contract: _Contract, listed: Sequence[Instrument], today: date) -> str:
    same = [i for i in listed if i.kind is contract.kind and i.expiry is not None and i.expiry >= today]
    strikes = sorted({i.strike for i in same if i.expiry == contract.expiry and i.strike is not None})
    if contract.strike is not None and strikes:
        near = sorted(strikes, key=lambda strike: abs(strike - (contract.strike or strike)))[:_NEAR]
        return f"The list has no such strike; near it: {', '.join(map(to_text, near))}."
    days = sorted({i.expiry for i in same if i.expiry})[:6]
    if not days:
        return "The list has no such contract that is still alive; has it been synced today?"
    return f"The contracts listed expire on {', '.join(f'{day:%Y-%m-%d}' for day in days)}."


def _refused(message: str, hint: str, code: RefusalCode = RefusalCode.E_SYMBOL) -> RefusedError:
    return RefusedError(code, message, field="symbol", hint=hint)
