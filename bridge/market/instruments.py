"""Instruments: what can be traded, and found again however an alert spells it."""

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from bridge.core.enums import InstrumentKind
from bridge.core.errors import ConfigError, RefusedError
from bridge.core.instrument import Instrument
from bridge.core.money import to_text
from bridge.core.reasons import RefusalCode
from bridge.market.contract_sizes import SIZED_EXCHANGES
from bridge.market.dump_rows import CASH, read_instruments
from bridge.market.freeze import NO_FREEZES, FreezeQuantities
from bridge.market.listing import Listing, list_in_memory

# TradingView knows only the exchange; brokers list its derivatives under exchanges of their own.
_VENUES = {"NSE": ("NSE", "NFO", "CDS", "NCO"), "BSE": ("BSE", "BFO", "BCD")}
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
_MONTH_LETTERS = "FGHJKMNQUVXZ"
_CONTINUOUS = re.compile(r"(?P<root>.+?)(?P<nth>[1-9])!")
_MONTHLY = re.compile(rf"(?P<root>.+?)(?P<letter>[{_MONTH_LETTERS}])(?P<year>20\d\d)")
_OPTION = re.compile(r"(?P<root>.+?)(?P<expiry>\d{6})(?P<kind>[CP])(?P<strike>\d{1,9}(?:\.\d{1,4})?)")
MAX_SPELLING = 64
MAX_REMEMBERED = 4096  # spellings; beyond it they are worked out again
_NEAR = 3


def load_catalog(path: Path, today: Callable[[], date]) -> "Catalog":
    """The catalog of a CSV file in the columns of Kite's dump; ConfigError names file, line, column and the mend."""
    return Catalog(read_list(path), today)


def read_list(path: Path) -> Listing:
    """The list of a CSV file, in memory; ConfigError as `load_catalog`."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            return list_in_memory(read_instruments(lines, str(path)), str(path))
    except OSError as error:
        raise ConfigError(f"instruments: {path} cannot be read ({error.strerror}); name another file") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contract:
    """What a spelling says of a contract: the nth future, the future of a month, or one option."""

    root: str
    kind: InstrumentKind = InstrumentKind.FUT
    nth: int = 0
    month: tuple[int, int] | None = None
    expiry: date | None = None
    strike: Decimal | None = None

    def pick(self, listing: Listing, venue: str, name: str, today: date) -> list[Instrument]:
        """The contracts meant, among those of one name at one exchange."""
        if self.nth:
            return listing.nth_future(venue, name, today, self.nth)
        if self.month:
            return listing.futures_of(venue, name, *self.month)
        if self.expiry is None or self.strike is None:
            return []
        return listing.options(venue, name, self.kind, self.expiry, self.strike)


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


class _Shelf:
    """A list, and the spellings that were worked out with it: those of front months for one day, the others for good."""

    def __init__(self, listing: Listing, today: date) -> None:
        self.listing = listing
        self.known = listing.known
        self.fixed: dict[str, Instrument] = {}
        self._moving: tuple[date, dict[str, Instrument]] = (today, {})

    def moving(self, today: date) -> dict[str, Instrument]:
        """What continuous futures were found to mean today."""
        day, spellings = self._moving
        if today != day:
            spellings = {}
            self._moving = (today, spellings)
        return spellings


class Catalog:
    """Every instrument by symbol, and by the ways TradingView and traders spell it.

    The list can be replaced at any moment, from any thread: a question is answered from the old list or the new one, never
    from both.
    """

    def __init__(self, listing: Listing, today: Callable[[], date], freezes: FreezeQuantities = NO_FREEZES) -> None:
        self._today = today
        self._freezes = freezes
        self._shelf = _Shelf(listing, today())

    @property
    def listing(self) -> Listing:
        """The list in use."""
        return self._shelf.listing

    def replace(self, listing: Listing) -> None:
        """Use another list from now on."""
        self._shelf = _Shelf(listing, self._today())

    def __len__(self) -> int:
        return len(self._shelf.listing)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._shelf.listing)

    def get(self, symbol: str) -> Instrument | None:
        """The instrument of exactly this symbol (`NSE:SBIN`), or None."""
        shelf = self._shelf
        return shelf.known.get(symbol) or shelf.listing.get(symbol)

    @property
    def multipliers(self) -> "Multipliers":
        """Rupees per point of what is listed, whichever list that is."""
        return Multipliers(self)

    def use_freezes(self, freezes: FreezeQuantities) -> None:
        """Answer `freeze_qty` by these from now on."""
        self._freezes = freezes

    def freeze_qty(self, symbol: str) -> Decimal | None:
        """The most units that the exchange takes in one order; None when nobody can say, which is not `any number`."""
        item = self.get(symbol)
        return None if item is None else self._freezes.of(item, self._today())

    def resolve(self, text: str) -> Instrument:
        """The one instrument that `text` can mean; RefusedError names the field `symbol` and near matches.

        `NIFTY1!` is the future that expires next, on its last day still that one. An index resolves, though it
        cannot be traded: risk denies it by name.
        """
        shelf = self._shelf
        found = shelf.known.get(text) or shelf.fixed.get(text)
        if found is None:
            today = self._today()
            moving = shelf.moving(today)
            found = moving.get(text)
            if found is None:
                found = _Look(shelf.listing, today).interpret(text)
                spellings = moving if _CONTINUOUS.search(text) else shelf.fixed
                if len(spellings) >= MAX_REMEMBERED:
                    spellings.clear()
                spellings[text] = found
        return found


class Multipliers(Mapping[str, Decimal]):
    """Rupees per point and unit by symbol, looked up when asked for: a whole list has tens of thousands."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getitem__(self, symbol: str) -> Decimal:
        item = self._catalog.get(symbol)
        if item is None:
            raise KeyError(symbol)
        return item.multiplier

    def __iter__(self) -> Iterator[str]:
        return (item.symbol for item in self._catalog)

    def __len__(self) -> int:
        return len(self._catalog)


class _Look:
    """One spelling looked up in one list."""

    def __init__(self, listing: Listing, today: date) -> None:
        self._listing = listing
        self._today = today

    def interpret(self, text: str) -> Instrument:
        """The instrument, or RefusedError with the mend."""
        if exact := self._listing.get(text):
            return exact
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
        known = self._listing.exchanges
        venues = [v for v in _VENUES.get(exchange, (exchange,) if exchange else known) if v in known]
        for found in self._readings(name, venues):
            if len(found) == 1:
                return found[0]
            if found:
                names = " and ".join(i.symbol for i in found[:4])
                raise _refused(f"{name} can mean {names}.", "Write which; in TradingView: {{exchange}}:{{ticker}}.")
        raise self._unknown(exchange, name, venues)

    def _readings(self, name: str, venues: Sequence[str]) -> Iterator[list[Instrument]]:
        """What `name` can mean, the strictest reading first; more than one instrument in a reading is ambiguous."""
        listing = self._listing
        yield [i for v in venues if (i := listing.get(f"{v}:{name}"))]
        yield [i for v in venues for i in listing.folded(v, name)]
        if name in _INDEX_NAMES:
            yield [i for v in venues if (i := listing.get(f"{v}:{_INDEX_NAMES[name]}"))]
        if contract := _parse_contract(name):
            yield [
                item
                for venue in venues
                for underlying in listing.underlyings(venue, contract.root)
                for item in contract.pick(listing, venue, underlying, self._today)
            ]

    def _unknown(self, exchange: str, name: str, venues: Sequence[str]) -> RefusedError:
        listing, symbol = self._listing, f"{exchange}:{name}" if exchange else name
        if any(listing.is_unsized(f"{venue}:{name}") for venue in SIZED_EXCHANGES):
            message = f"The size of one lot of {symbol} is not known, so no limit in rupees could hold."
            return _refused(message, "Trade it by hand.", RefusalCode.E_UNSUPPORTED)
        if not venues:
            message = f"{exchange} is not an exchange in the list of instruments."
            return _refused(message, f"The list has {', '.join(sorted(listing.exchanges))}.")
        message = f"{symbol} is not in the list of instruments."
        contract = _parse_contract(name)
        if contract is None:
            return _refused(message, _near_hint(name, ChainMap(*(dict(listing.names_like(v, name)) for v in venues))))
        listed = [(venue, found) for venue in venues for found in listing.underlyings(venue, contract.root)]
        if listed:
            return _refused(message, self._contract_hint(contract, listed))
        tail = name.removeprefix(contract.root)
        roots = (root for venue in venues if venue not in CASH for root in listing.names_like(venue, contract.root))
        return _refused(message, _near_hint(contract.root, {root: root + tail for root in roots}))

    def _contract_hint(self, contract: _Contract, listed: Sequence[tuple[str, str]]) -> str:
        listing, kind, wanted = self._listing, contract.kind, contract.strike
        if contract.expiry is not None and wanted is not None and contract.expiry >= self._today:
            strikes = {s for venue, name in listed for s in listing.strikes(venue, name, kind, contract.expiry)}
            if strikes:
                near = sorted(strikes, key=lambda strike: (abs(strike - wanted), strike))[:_NEAR]
                return f"The list has no such strike; near it: {', '.join(map(to_text, near))}."
        days = sorted({day for venue, name in listed for day in listing.expiries(venue, name, kind, self._today)})[:6]
        if not days:
            return "The list has no such contract that is still alive; has it been synced today?"
        told = ", ".join(f"{day:%Y-%m-%d}" for day in days)
        spelt = [spelling for _far, spelling in sorted(set(self._spell_near(contract, listed)))[:_NEAR]]
        return f"The contracts listed expire on {told}.{_near_words(spelt)}"

    def _spell_near(self, contract: _Contract, listed: Sequence[tuple[str, str]]) -> Iterator[tuple[int, str]]:
        """Contracts of other days, spelt as TradingView does, each with how far it is from what was meant."""
        listing, strike, month = self._listing, contract.strike, contract.month
        for venue, name in listed:
            for place, day in enumerate(listing.expiries(venue, name, contract.kind, self._today), 1):
                if contract.nth:
                    yield abs(place - contract.nth), f"{name}{place}!"
                elif month:
                    far = abs((day.year - month[0]) * 12 + day.month - month[1])
                    yield far, f"{name}{_MONTH_LETTERS[day.month - 1]}{day.year}"
                elif contract.expiry and strike and listing.options(venue, name, contract.kind, day, strike):
                    letter = "C" if contract.kind is InstrumentKind.CE else "P"
                    yield abs((day - contract.expiry).days), f"{name}{day:%y%m%d}{letter}{to_text(strike)}"


def _near_words(near: Sequence[str]) -> str:
    return f" Near it: {', '.join(near)}." if near else ""


def _near_hint(name: str, pool: Mapping[str, str]) -> str:
    """Names the at most three of `pool` that look like `name`, best first."""
    # A typing error keeps most letters: the cheap test spares difflib the other thousands of names.
    letters, least = set(name), 2 * len(set(name)) // 3
    likely = [n for n in pool if abs(len(n) - len(name)) <= 2 and len(letters.intersection(n)) >= least]
    near = [pool[match] for match in get_close_matches(name, likely, n=_NEAR)]
    return f"Near it: {', '.join(near)}." if near else "Nothing near it; write the exchange too, like NSE:SBIN."


def _refused(message: str, hint: str, code: RefusalCode = RefusalCode.E_SYMBOL) -> RefusedError:
    return RefusedError(code, message, field="symbol", hint=hint)
