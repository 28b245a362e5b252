"""Definition: a scan or a strategy as data. What it is, is its text; its version is the hash of that, and nothing is run of it.

```yaml
name: ema-cross              # its own name
strategy: demo               # the strategy of the settings whose accounts, product and limits its signals have
universe: [NSE:SBIN, ...]    # symbols, or the name of a universe
interval: 5m                 # of the bars: 1m 3m 5m 10m 15m 30m 60m 1d
cadence: bar                 # when it is asked: bar, 15m, daily@15:10, pre-open, monthly
filters: {trend: close > sma(close, 100)}   # a symbol is in when every one of them says yes
score: nse_momentum()        # ranks those that are in; with top: 30 the best may be entered, keep: 45 leaves below
long: {enter: cross_over(ema(close, 9), ema(close, 21)), leave: cross_under(ema(close, 9), ema(close, 21))}
short: {enter: ..., leave: ...}
columns: {sentiment: {at_least: 0, days: 7}}   # dated numbers from outside that may keep it from an entry
exits: {stop: {percent: 1}, target: {atr: 3}, trail: {percent: 2}}
size: {quantity: 10}         # or {rupees: 50000}, or {risk: 1000}: rupees between entry and stop
```
"""

import hashlib
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import reduce
from typing import Any

from bridge.core.bar import Interval
from bridge.core.errors import ConfigError
from bridge.scanner.terms import Factors, Term, TermError, library, parse, parse_verdict

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
SYMBOL = re.compile(r"[A-Z]{2,6}:\S{1,40}")
MAX_SYMBOLS = 5_000
MAX_FILTERS = 20
_DAILY = re.compile(r"daily@(\d\d):(\d\d)")
_MINUTES = re.compile(r"(\d{1,3})m")
_KEYS = frozenset({
    "name", "strategy", "universe", "interval", "cadence", "filters", "score", "top", "keep", "long", "short", "exits", "size",
    "note", "columns",
})  # fmt: skip
_SIZES = ("quantity", "rupees", "risk")


class DefinitionError(ConfigError):
    """A definition that cannot be used; the message names the key and the mend."""


class CadenceKind(StrEnum):
    """When a definition is asked; always of closed bars."""

    BAR = "bar"
    MINUTES = "minutes"
    DAILY = "daily"
    PRE_OPEN = "pre-open"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """`minutes` of MINUTES counts from the opening; `at` of DAILY is a time in India."""

    kind: CadenceKind = CadenceKind.BAR
    minutes: int = 0
    at: time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far from a price: `percent` of it, or `atr` times the average true range of `bars` bars."""

    percent: Decimal | None = None
    atr: Decimal | None = None
    bars: int = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """Exits that the price decides: below the entry, above it, and below the best price since. Mirrored when short."""

    stop: Distance | None = None
    target: Distance | None = None
    trail: Distance | None = None

    @property
    def distances(self) -> tuple[Distance, ...]:
        """Those that there are."""
        return tuple(each for each in (self.stop, self.target, self.trail) if each is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much an entry is: units, rupees' worth, or as many units as lose `risk` rupees at the stop; else the settings say."""

    quantity: Decimal | None = None
    rupees: Decimal | None = None
    risk: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """Which values of a dated column let an entry be made; one older than `days` counts as none, and none is no obstacle."""

    name: str
    at_least: Decimal | None = None
    at_most: Decimal | None = None
    days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRules:
    """When to enter one side and when to leave it. No `enter`: whoever is ranked is entered; no `leave`: the ranking alone."""

    enter: Term | None = None
    leave: Term | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as read. `source` is what it was read from, `version` twelve hex digits of its hash.

    `passing` is every filter at once, None when there are none; `rank` that of each symbol that is in, 1 for the best, None
    where there is no score. Both are asked for at every bar.
    """

    name: str
    strategy: str
    universe: str
    symbols: tuple[str, ...]
    interval: Interval
    cadence: Cadence
    filters: tuple[tuple[str, Term], ...]
    score: Term | None
    top: int
    keep: int
    long: SideRules | None
    short: SideRules | None
    exits: Exits
    size: Size
    columns: tuple[ColumnRule, ...]
    note: str
    source: Mapping[str, Any] = field(hash=False)
    version: str = ""
    factors: Factors | None = field(default=None, compare=False, repr=False)
    passing: Term | None = field(init=False, compare=False, repr=False)
    rank: Term | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        passing = reduce(operator.and_, (term for _name, term in self.filters)) if self.filters else None
        masks = () if passing is None else (passing,)
        object.__setattr__(self, "passing", passing)
        object.__setattr__(self, "rank", None if self.score is None else library.rank(self.score, *masks))

    @property
    def is_ranked(self) -> bool:
        """True for a scan: it enters the best of its universe."""
        return self.score is not None

    def terms(self) -> tuple[Term, ...]:
        """All that an engine has to compute for it: the rules, and what their comparisons compare, to be explained."""
        wanted: list[Term] = [library.close, library.high, library.low]
        rules = [term for _name, term in self.filters]
        rules += [term for side in (self.long, self.short) if side for term in (side.enter, side.leave) if term is not None]
        for rule in rules:
            wanted += [rule, *compared(rule)]
        if self.passing is not None:
            wanted.append(self.passing)
        if self.score is not None and self.rank is not None:
            wanted += [self.score, self.rank]
        wanted += [library.atr(each.bars) for each in self.exits.distances if each.atr is not None]
        return tuple(dict.fromkeys(wanted))


def compared(rule: Term) -> list[Term]:
    """The numbers that a rule's comparisons compare, constants left out."""
    if rule.name in ("and", "or", "not"):
        return [term for each in rule.inputs for term in compared(each)]
    return [each for each in rule.inputs if not each.is_verdict and each.name != "const"]


def canonical(source: Mapping[str, Any]) -> str:
    """The text whose hash is the version: JSON with sorted keys, so that layout and comments do not count."""
    return json.dumps(source, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)


def version_of(source: Mapping[str, Any], digest: str = "") -> str:
    """Twelve hex digits of the SHA-256 of the canonical text, and of the file of own factors where one is used."""
    return hashlib.sha256((canonical(source) + digest).encode()).hexdigest()[:12]


def uses_own(term: Term) -> bool:
    """Whether a factor of the user's own is anywhere in a term."""
    return term.name == "own" or any(uses_own(each) for each in term.inputs)


def read_definition(source: Any, factors: Factors | None = None) -> Definition:
    """A definition from a mapping, as YAML or JSON gives it; DefinitionError names the key and the mend."""
    if not isinstance(source, Mapping):
        raise DefinitionError("a definition is a mapping: name, strategy, universe, interval, rules, size")
    if unknown := sorted(str(key) for key in source if key not in _KEYS):
        raise DefinitionError(f"{unknown[0]}: no such key; known are {', '.join(sorted(_KEYS))}")
    definition = _Reader(source, factors).read()
    if factors is not None and factors.digest and any(uses_own(term) for term in definition.terms()):
        return replace(definition, version=version_of(source, factors.digest))
    return definition


class _Reader:
    """Reads one definition, key by key."""

    def __init__(self, source: Mapping[str, Any], factors: Factors | None):
        self._source = source
        self._factors = factors

    def read(self) -> Definition:
        universe, symbols = self._universe()
        score = self._term("score", self._source.get("score"), parse)
        top, keep = self._ranks(score)
        long, short = self._side("long"), self._side("short")
        if long is None and short is None:
            if score is None:
                raise DefinitionError("long: missing; say when to enter, or rank by a score and give top")
            long = SideRules()
        exits = Exits(**{name: self._distance(name) for name in self._part("exits", ("stop", "target", "trail"))})
        size = self._size()
        if size.risk is not None and exits.stop is None:
            raise DefinitionError("size.risk: needs exits.stop, the distance that the risk is counted over")
        return Definition(
            name=self._name("name"),
            strategy=self._name("strategy"),
            universe=universe,
            symbols=symbols,
            interval=self._interval(),
            cadence=self._cadence(),
            filters=self._filters(),
            score=score,
            top=top,
            keep=keep,
            long=self._complete("long", long, score),
            short=self._complete("short", short, score),
            exits=exits,
            size=size,
            columns=tuple(self._column(name, rule) for name, rule in self._columns()),
            note=str(self._source.get("note", "")),
            source=dict(self._source),
            version=version_of(self._source),
            factors=self._factors,
        )

    def _name(self, key: str) -> str:
        value = self._source.get(key)
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise DefinitionError(f"{key}: a name of small letters, digits and dashes is wanted, not {value!r}")
        return value

    def _universe(self) -> tuple[str, tuple[str, ...]]:
        value = self._source.get("universe")
        if isinstance(value, str) and NAME.fullmatch(value):
            return value, ()
        if not isinstance(value, list | tuple) or not value or len(value) > MAX_SYMBOLS:
            raise DefinitionError("universe: the name of one, or a list of symbols such as [NSE:SBIN, NSE:TCS]")
        for symbol in value:
            if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
                raise DefinitionError(f"universe: {symbol!r} is no symbol; write it like NSE:SBIN")
        if len(set(value)) < len(value):
            raise DefinitionError("universe: a symbol is named twice")
        return "", tuple(value)

    def _interval(self) -> Interval:
        value = self._source.get("interval", "1d")
        try:
            return Interval(value)
        except ValueError:
            raise DefinitionError(f"interval: {value!r} is none of {', '.join(Interval)}") from None

    def _cadence(self) -> Cadence:
        value = self._source.get("cadence", "bar")
        text = value if isinstance(value, str) else ""
        if text in (CadenceKind.BAR, CadenceKind.PRE_OPEN, CadenceKind.MONTHLY):
            return Cadence(kind=CadenceKind(text))
        if (found := _MINUTES.fullmatch(text)) and 1 <= int(found[1]) <= 375:
            return Cadence(kind=CadenceKind.MINUTES, minutes=int(found[1]))
        if (found := _DAILY.fullmatch(text)) and int(found[1]) < 24 and int(found[2]) < 60:
            return Cadence(kind=CadenceKind.DAILY, at=time(int(found[1]), int(found[2])))
        raise DefinitionError(f"cadence: {value!r} is none of bar, 15m (1m to 375m), daily@15:10, pre-open, monthly")

    def _filters(self) -> tuple[tuple[str, Term], ...]:
        value = self._source.get("filters", {})
        if not isinstance(value, Mapping) or len(value) > MAX_FILTERS:
            raise DefinitionError(
                f"filters: at most {MAX_FILTERS} are wanted, each with a name: {{trend: close > sma(close, 50)}}"
            )
        found = []
        for name, text in value.items():
            term = self._term(f"filters.{name}", text, parse_verdict)
            if term is None:
                raise DefinitionError(f"filters.{name}: an expression that says yes or no is wanted")
            found.append((str(name), term))
        return tuple(found)

    def _ranks(self, score: Term | None) -> tuple[int, int]:
        top = self._count("top") if score is not None or "top" in self._source else 0
        keep = self._count("keep", top) if top else 0
        if top and score is None:
            raise DefinitionError("top: needs a score to rank by")
        if keep < top:
            raise DefinitionError(f"keep: {keep} is better than top: {top}; what was just entered would leave at once")
        if "keep" in self._source and not top:
            raise DefinitionError("keep: needs a score and top")
        return top, keep

    def _count(self, key: str, default: int | None = None) -> int:
        value = self._source.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SYMBOLS:
            raise DefinitionError(f"{key}: a whole number from 1 to {MAX_SYMBOLS} is wanted, not {value!r}")
        return value

    def _side(self, key: str) -> SideRules | None:
        if key not in self._source:
            return None
        rules = self._part(key, ("enter", "leave"))
        return SideRules(**{name: self._term(f"{key}.{name}", text, parse_verdict) for name, text in rules.items()})

    def _complete(self, key: str, side: SideRules | None, score: Term | None) -> SideRules | None:
        if side is not None and side.enter is None and score is None:
            raise DefinitionError(f"{key}.enter: missing; say when to enter")
        return side

    def _part(self, key: str, names: tuple[str, ...]) -> dict[str, Any]:
        value = self._source.get(key, {})
        if not isinstance(value, Mapping) or not set(value) <= set(names):
            raise DefinitionError(f"{key}: a mapping of {', '.join(names)} is wanted")
        return dict(value)

    def _term(self, key: str, text: Any, read: Callable[[str, Factors | None], Term]) -> Term | None:
        if text is None:
            return None
        if not isinstance(text, str):
            raise DefinitionError(f"{key}: an expression is wanted, such as close > sma(close, 50), not {text!r}")
        try:
            return read(text, self._factors)
        except TermError as error:
            raise DefinitionError(f"{key}: {error}") from None

    def _distance(self, name: str) -> Distance:
        value = self._source["exits"][name]
        if not isinstance(value, Mapping) or set(value) - {"bars"} not in ({"percent"}, {"atr"}):
            raise DefinitionError(f"exits.{name}: {{percent: 2}} or {{atr: 3}} is wanted, not {value!r}")
        kind = "percent" if "percent" in value else "atr"
        number = self._number(f"exits.{name}.{kind}", value[kind])
        if kind == "percent" and number >= 100:
            raise DefinitionError(f"exits.{name}.percent: {number} is not below 100")
        bars = value.get("bars", 14)
        if isinstance(bars, bool) or not isinstance(bars, int) or not 1 <= bars <= 500:
            raise DefinitionError(f"exits.{name}.bars: a whole number from 1 to 500 is wanted, not {bars!r}")
        return Distance(percent=number, bars=bars) if kind == "percent" else Distance(atr=number, bars=bars)

    def _columns(self) -> list[tuple[str, Any]]:
        value = self._source.get("columns", {})
        if not isinstance(value, Mapping) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in value):
            raise DefinitionError("columns: a mapping is wanted, such as {sentiment: {at_least: 0, days: 7}}")
        return list(value.items())

    def _column(self, name: str, rule: Any) -> ColumnRule:
        key = f"columns.{name}"
        if not isinstance(rule, Mapping) or not set(rule) <= {"at_least", "at_most", "days"} or not set(rule) - {"days"}:
            raise DefinitionError(f"{key}: at_least, at_most or both are wanted, and days if you like")
        bounds = {
            each: self._number(f"{key}.{each}", rule[each], above=None) for each in ("at_least", "at_most") if each in rule
        }
        days = rule.get("days", 7)
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 3_660:
            raise DefinitionError(f"{key}.days: a whole number from 0 to 3660 is wanted, not {days!r}")
        return ColumnRule(name=name, days=days, **bounds)

    def _size(self) -> Size:
        value = self._source.get("size", {})
        if not isinstance(value, Mapping) or not set(value) <= set(_SIZES) or len(value) > 1:
            raise DefinitionError("size: one of {quantity: 10}, {rupees: 50000}, {risk: 1000} is wanted")
        return Size(**{name: self._number(f"size.{name}", number) for name, number in value.items()})

    def _number(self, key: str, value: Any, above: int | None = 0) -> Decimal:
        try:
            number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("nan")
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or (above is not None and number <= above):
            raise DefinitionError(f"{key}: a number{'' if above is None else ' above zero'} is wanted, not {value!r}")
        return number
