"""Listing: a list of instruments in SQLite, looked into row by row: a broker's whole list would fill 50 MB of memory."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any

from bridge.core.enums import InstrumentKind
from bridge.core.instrument import Instrument
from bridge.core.money import to_text
from bridge.market.contract_sizes import is_sized, multiplier_of
from bridge.market.dump_rows import CASH, SHARE_DERIVATIVES, ListError

FORMAT = "1"  # of the file; one of another format is not read, and the list is fetched anew
# A contract may be held a little beyond its last day: until the broker has settled it and the books agree.
KEEP_EXPIRED_DAYS = 35
_MAX_KNOWN = 4096  # instruments kept at hand; beyond it they are read again
_FOLD = str.maketrans("&-.", "___")  # TradingView writes M_M, BAJAJ_AUTO and EMBASSY.RR
_TABLES = """
CREATE TABLE instrument (
    symbol TEXT NOT NULL, exchange TEXT NOT NULL, tradingsymbol TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    tick TEXT NOT NULL, lot TEXT NOT NULL, expiry TEXT, strike TEXT, token INTEGER NOT NULL,
    has_derivatives INTEGER NOT NULL, folded TEXT, gone TEXT
);
CREATE TABLE name (
    exchange TEXT NOT NULL, name TEXT NOT NULL, symbol TEXT NOT NULL, root TEXT, PRIMARY KEY (exchange, name)
) WITHOUT ROWID;
CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_INDEXES = """
CREATE UNIQUE INDEX by_symbol ON instrument (symbol);
CREATE INDEX by_fold ON instrument (folded) WHERE folded IS NOT NULL;
CREATE INDEX by_contract ON instrument (exchange, name, kind, expiry, strike) WHERE expiry IS NOT NULL;
CREATE INDEX by_root ON name (exchange, root) WHERE root IS NOT NULL;
"""
_COLUMNS = "symbol, exchange, tradingsymbol, name, kind, tick, lot, expiry, strike, token, has_derivatives, folded, gone"
_INSERT = f"INSERT INTO instrument ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_SELECT = f"SELECT {_COLUMNS} FROM instrument"  # noqa: S608
_Row = tuple[Any, ...]


def fold(text: str) -> str:
    """Upper case, with the characters that TradingView replaces replaced."""
    return text.upper().translate(_FOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFacts:
    """Where a list comes from; `day` is the trading day it is for, None of a file that does not say."""

    source: str
    day: date | None = None
    fetched_on: date | None = None
    digest: str = ""


class Listing:
    """One list, which never changes; safe from any thread. Closed by whoever forgets it last: a reader may be in it still."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = Lock()
        self.known: dict[str, Instrument] = {}  # what was asked for before
        facts: dict[str, str] = dict(self._rows("SELECT key, value FROM fact"))
        if facts.get("format") != FORMAT:
            raise ListError(f"the list is of format {facts.get('format')}, not {FORMAT}")
        self.exchanges: tuple[str, ...] = tuple(facts["exchanges"].split())
        self.facts = ListFacts(
            source=facts["source"], day=_day(facts["day"]), fetched_on=_day(facts["fetched_on"]), digest=facts["digest"]
        )

    def _rows(self, statement: str, *values: object) -> list[_Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def _find(self, where: str, *values: object) -> list[Instrument]:
        """Instruments of known size; those that are listed today before those that are only remembered."""
        found = self._rows(f"{_SELECT} WHERE {where} ORDER BY rowid", *values)
        listed = [row for row in found if row[-1] is None]
        return [self._take(row) for row in listed or found if is_sized(row[1], row[3])]

    def _take(self, row: _Row) -> Instrument:
        known = self.known.get(row[0])
        if known is None:
            if len(self.known) >= _MAX_KNOWN:
                self.known.clear()
            known = self.known[row[0]] = _instrument(row)
        return known

    def get(self, symbol: str) -> Instrument | None:
        """The instrument of exactly this symbol."""
        known = self.known.get(symbol)
        if known is not None:
            return known
        found = self._find("symbol = ?", symbol)
        return found[0] if found else None

    def is_unsized(self, symbol: str) -> bool:
        """True for what is listed, but nobody knows how many rupees a point of it is."""
        return any(not is_sized(*row) for row in self._rows("SELECT exchange, name FROM instrument WHERE symbol = ?", symbol))

    def folded(self, exchange: str, name: str) -> list[Instrument]:
        """What could be written like this by TradingView."""
        return self._find("folded = ?", f"{exchange}:{fold(name)}")

    def underlyings(self, exchange: str, root: str) -> list[str]:
        """The names of contracts that `root` may spell; M&M and M-M fold alike, then only the exact name will do."""
        names = [row[0] for row in self._rows("SELECT name FROM name WHERE exchange = ? AND root = ?", exchange, fold(root))]
        return [name for name in names if name == root] if len(names) > 1 else names

    def nth_future(self, exchange: str, name: str, today: date, nth: int) -> list[Instrument]:
        """The `nth` future to expire, today's still counted; none, or one."""
        where = "exchange = ? AND name = ? AND kind = 'FUT' AND expiry >= ? AND gone IS NULL"
        alive = sorted(self._find(where, exchange, name, today.isoformat()), key=lambda item: item.expiry or today)
        return alive[nth - 1 : nth]

    def futures_of(self, exchange: str, name: str, year: int, month: int) -> list[Instrument]:
        """The futures that expire in a month."""
        first = f"{year:04}-{month:02}-"
        where = "exchange = ? AND name = ? AND kind = 'FUT' AND expiry BETWEEN ? AND ?"
        return self._find(where, exchange, name, first, first + "99")

    def options(self, exchange: str, name: str, kind: InstrumentKind, expiry: date, strike: Decimal) -> list[Instrument]:
        """The option of exactly this day and strike; none, or one."""
        where = "exchange = ? AND name = ? AND kind = ? AND expiry = ? AND strike = ?"
        return self._find(where, exchange, name, kind.value, expiry.isoformat(), to_text(strike))

    def expiries(self, exchange: str, name: str, kind: InstrumentKind, today: date) -> list[date]:
        """The days, from today on, on which contracts of a kind expire; earliest first."""
        where = "exchange = ? AND name = ? AND kind = ? AND expiry >= ? AND gone IS NULL"
        asked = (exchange, name, kind.value, today.isoformat())
        found = self._rows(f"SELECT DISTINCT expiry FROM instrument WHERE {where} ORDER BY expiry", *asked)  # noqa: S608
        return [date.fromisoformat(row[0]) for row in found]

    def strikes(self, exchange: str, name: str, kind: InstrumentKind, expiry: date) -> list[Decimal]:
        """The strikes of one day, lowest first."""
        where = "exchange = ? AND name = ? AND kind = ? AND expiry = ? AND strike IS NOT NULL AND gone IS NULL"
        asked = (exchange, name, kind.value, expiry.isoformat())
        return sorted(Decimal(row[0]) for row in self._rows(f"SELECT strike FROM instrument WHERE {where}", *asked))  # noqa: S608

    def names_like(self, exchange: str, name: str) -> Mapping[str, str]:
        """What may be misspelt as `name`, by length, and how to spell it: shares, indices, and underlyings of contracts."""
        statement = "SELECT name, symbol FROM name WHERE exchange = ? AND length(name) BETWEEN ? AND ?"
        return dict(self._rows(statement, exchange, len(name) - 2, len(name) + 2))

    def __len__(self) -> int:
        found = self._rows("SELECT exchange, name, count(*) FROM instrument WHERE gone IS NULL GROUP BY exchange, name")
        return sum(count for exchange, name, count in found if is_sized(exchange, name))

    def __iter__(self) -> Iterator[Instrument]:
        found = self._rows(f"{_SELECT} WHERE gone IS NULL ORDER BY rowid")
        return (_instrument(row) for row in found if is_sized(row[1], row[3]))

    def underlyings_of_futures(self) -> list[str]:
        """NSE's shares that have futures, by symbol; indices are none of them."""
        where = "exchange = 'NSE' AND kind = 'EQ' AND has_derivatives = 1 AND gone IS NULL"
        return [row[0] for row in self._rows(f"SELECT symbol FROM instrument WHERE {where} ORDER BY symbol")]  # noqa: S608

    def count_contracts(self, today: date) -> tuple[int, int]:
        """How many contracts are listed, and how many of them are alive."""
        statement = "SELECT count(*), sum(expiry >= ?) FROM instrument WHERE expiry IS NOT NULL AND gone IS NULL"
        count, alive = self._rows(statement, today.isoformat())[0]
        return count, alive or 0

    def all_rows(self) -> Iterator[_Row]:
        """Everything as it is stored, also what is only remembered; for the list that follows this one."""
        return iter(self._rows(f"{_SELECT} ORDER BY rowid"))


def open_listing(path: Path) -> Listing:
    """A list on disk; ListError when it is none. The file is never written again, so nothing is locked."""
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        return Listing(sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None))
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise ListError(f"{path} is not a list of instruments ({type(error).__name__})") from None


def list_in_memory(items: Iterable[Instrument], source: str = "memory") -> Listing:
    """A small list, as a file of settings names one."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    ListWriter(connection).write(items, ListFacts(source=source))
    return Listing(connection)


class ListWriter:
    """Writes one list into an empty database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._names: dict[tuple[str, str], tuple[str, str | None]] = {}
        self._exchanges: dict[str, None] = {}
        self._listed: set[str] = set()
        connection.execute("PRAGMA journal_mode=OFF")  # a file that is not finished is thrown away
        connection.execute("PRAGMA synchronous=OFF")  # and one that is, is synced by whoever renames it
        connection.executescript(_TABLES)

    def write(self, items: Iterable[Instrument], facts: ListFacts, former: Listing | None = None) -> None:
        """The list, its names, where it comes from, and what `former` had and it has not: that may be held still."""
        connection = self._connection
        connection.execute("BEGIN")
        connection.executemany(_INSERT, (self._row(item) for item in items))
        if former is not None:
            connection.executemany(_INSERT, self._vanished(former, facts.day or date.min))
        names = ((*key, *value) for key, value in self._names.items())
        connection.executemany("INSERT INTO name (exchange, name, symbol, root) VALUES (?, ?, ?, ?)", names)
        told = {
            "format": FORMAT, "exchanges": " ".join(self._exchanges), "source": facts.source, "digest": facts.digest,
            "day": facts.day or "", "fetched_on": facts.fetched_on or "",
        }  # fmt: skip
        connection.executemany("INSERT INTO fact (key, value) VALUES (?, ?)", ((k, str(v)) for k, v in told.items()))
        connection.execute("COMMIT")
        for statement in _INDEXES.split(";"):
            connection.execute(statement)
        # Their sessions differ from those of other shares.
        futures = f"SELECT DISTINCT name FROM instrument WHERE kind = 'FUT' AND exchange IN {SHARE_DERIVATIVES!r}"  # noqa: S608
        where = f"kind = 'EQ' AND exchange IN {CASH!r} AND tradingsymbol IN ({futures})"
        connection.execute(f"UPDATE instrument SET has_derivatives = 1 WHERE {where}")  # noqa: S608

    def _vanished(self, former: Listing, day: date) -> Iterator[_Row]:
        oldest = date.fromordinal(max(1, day.toordinal() - KEEP_EXPIRED_DAYS)).isoformat()
        for row in former.all_rows():
            symbol, exchange, name, expiry = row[0], row[1], row[3], row[7]
            if symbol in self._listed or (expiry is not None and expiry < oldest):
                continue
            if is_sized(exchange, name):
                self._exchanges.setdefault(exchange)
            if expiry is not None and is_sized(exchange, name):
                self._names.setdefault((exchange, name), (f"{exchange}:{name}1!", fold(name)))
            yield (*row[:9], 0, *row[10:12], row[12] or day.isoformat())  # its token may be another one's by now

    def _row(self, item: Instrument) -> _Row:
        self._listed.add(item.symbol)
        folded = fold(item.symbol)
        if is_sized(item.exchange, item.name):
            self._exchanges.setdefault(item.exchange)
            if item.expiry is None:
                self._names[item.exchange, item.tradingsymbol] = (item.symbol, None)
            else:
                self._names[item.exchange, item.name] = (f"{item.exchange}:{item.name}1!", fold(item.name))
        return (
            item.symbol, item.exchange, item.tradingsymbol, item.name, item.kind.value, to_text(item.tick), to_text(item.lot),
            item.expiry and item.expiry.isoformat(), None if item.strike is None else to_text(item.strike), item.token,
            int(item.has_derivatives), folded if "_" in folded or folded != item.symbol else None, None,
        )  # fmt: skip


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _instrument(row: _Row) -> Instrument:
    symbol, exchange, tradingsymbol, name, kind, tick, lot, expiry, strike, token, has_derivatives, _folded, _gone = row
    size = Decimal(lot)
    return Instrument(
        symbol=symbol,
        exchange=exchange,
        tradingsymbol=tradingsymbol,
        name=name,
        kind=InstrumentKind(kind),
        tick=Decimal(tick),
        lot=size,
        multiplier=multiplier_of(exchange, name, size),
        expiry=_day(expiry or ""),
        strike=None if strike is None else Decimal(strike),
        token=token,
        has_derivatives=bool(has_derivatives),
    )
