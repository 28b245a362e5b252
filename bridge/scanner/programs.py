"""Programs: definitions at work over one set of bars, stepped bar by bar; the same for live bars and for recorded ones.

Definitions of the same symbols and interval share one engine, and in it every equal term. A definition is asked about a bar
when that has closed, never before; one of daily bars on the next trading day, when something can be done.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.scanner.decide import Evaluation, Holding
from bridge.scanner.definition import CadenceKind, Definition
from bridge.scanner.terms import Bar, Bars, Engine, Reading, Term

# So much of a symbol's history is stepped through before its terms are believed: three years of days, as MSCI's score asks for,
# and of shorter bars what an ADX needs to forget how it was seeded.
WARM_DAYS, WARM_BARS = 800, 600
# Who of a group's symbols does not belong to the universe, from each day on, the oldest first.
Outside = tuple[tuple[date, frozenset[str]], ...]
OUTSIDE = "it does not belong to the universe any more"
_NOBODY: frozenset[str] = frozenset()
_NONE: Mapping[str, str] = MappingProxyType({})
# A session of bars counts from its opening; no exchange has a shorter one than this that anybody scans.
_SESSION_MINUTES = 375
# Of seven days five trade, and holidays come in rows.
_SPARE_DAYS = 10


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What definitions share an engine by. Symbols are in order of name, which decides between equals wherever they do."""

    interval: Interval
    symbols: tuple[str, ...]
    outside: Outside = ()


class Group:
    """One engine for all definitions of the same bars. `closed_at` is when the latest bar closed that it has seen.

    Symbols outside the universe, and those whose bars are not trusted, are stepped like all others and neither entered nor
    counted in any rank. What is held outside is left by the definition's own rules, by the rank that it would have.
    """

    def __init__(self, key: GroupKey, definitions: Sequence[Definition], untrusted: Mapping[str, str] = _NONE):
        self.key = key
        self.untrusted = untrusted
        self.definitions = tuple(definitions)
        factors = next((each.factors for each in definitions if each.factors is not None), None)
        self.engine = Engine(all_terms(definitions), len(key.symbols), factors=factors)
        self.closed_at: datetime | None = None
        self._reading: Reading | None = None
        self.outside = key.outside[0][1] if key.outside else _NOBODY
        self._count()

    def begin_day(self, day: date) -> None:
        """Have the members of this day from now on; before the first day that is named they are those of that one."""
        outside = next((names for first, names in reversed(self.key.outside) if first <= day), self.outside)
        if outside != self.outside:
            self.outside = outside
            self._count()

    def _count(self) -> None:
        if self.outside or self.untrusted:
            left_out = self.outside | self.untrusted.keys()
            self.engine.count(np.array([symbol not in left_out for symbol in self.key.symbols]))
        else:
            self.engine.count(None)

    def warm(self, bars: Bars, closed_at: datetime | None) -> None:
        """Step through a history whose last bar closed at `closed_at`."""
        self.engine.warm(bars)
        self._reading = None
        self.closed_at = closed_at or self.closed_at

    def step(self, bar: Bar, closed_at: datetime) -> Reading:
        """One closed bar of all symbols; ValueError for one that does not come after the latest."""
        if self.closed_at is not None and closed_at <= self.closed_at:
            raise ValueError(f"a bar that closed at {closed_at} after one that closed at {self.closed_at}")
        self.engine.step(bar)
        self.closed_at = closed_at
        self._reading = self.engine.read()
        return self._reading

    def pass_by(self, bar: Bar) -> None:
        """A bar that only symbols had which have not belonged yet: their terms go on, and what was read last stands."""
        self._reading = self._reading or self.engine.read()
        self.engine.step(bar)

    def evaluate(
        self,
        definition: Definition,
        holdings: Mapping[str, Holding],
        *,
        lots: Mapping[str, Decimal],
        held_back: Mapping[str, str] = _NONE,
    ) -> Evaluation:
        """What the definition wants after the latest bar. `held_back` says why no entry may be made in some symbols."""
        assert self.closed_at is not None
        return Evaluation(
            definition, self._reading or self.engine.read(), self.key.symbols, holdings, at=self.closed_at, lots=lots,
            untrusted=self.untrusted, held_back={**held_back, **dict.fromkeys(self.outside, OUTSIDE)},
        )  # fmt: skip


def all_terms(definitions: Iterable[Definition]) -> list[Term]:
    """What an engine computes for them, each term once."""
    return list(dict.fromkeys(term for definition in definitions for term in definition.terms()))


def make_groups(
    definitions: Iterable[Definition],
    symbols_of: Callable[[Definition], Sequence[str]],
    outside_of: Callable[[Definition], Outside] = lambda _definition: (),
    untrusted: Mapping[Interval, Mapping[str, str]] = MappingProxyType({}),
) -> list[Group]:
    """The groups of definitions. `symbols_of` tells who is ever in a definition's universe, `outside_of` who is not when."""
    found: dict[GroupKey, list[Definition]] = {}
    for definition in definitions:
        key = GroupKey(definition.interval, tuple(sorted(symbols_of(definition))), outside_of(definition))
        found.setdefault(key, []).append(definition)
    return [Group(key, members, untrusted.get(key.interval, _NONE)) for key, members in found.items()]


def warm_rows(interval: Interval) -> int:
    """How many bars of history an engine is given at least."""
    return WARM_DAYS if interval is Interval.DAY else WARM_BARS


def warm_begin(interval: Interval, today: date) -> date:
    """A day since when there are so many bars before `today`, holidays and all."""
    rows = warm_rows(interval)
    sessions = rows if interval is Interval.DAY else -(-rows * interval.seconds // (60 * _SESSION_MINUTES)) + 1
    return today - timedelta(days=sessions * 8 // 5 + _SPARE_DAYS)


def warm_place(interval: Interval, numbers: NDArray[np.int64], today: int) -> int:
    """The first of some rows to step through, whose days have these numbers, in order; `today` is such a number.

    Whole days before today, as few as have so many bars. So an engine begins at the same bar whenever it is loaded on a day,
    and in a replay of it: a mean that never quite forgets is the same to the last bit.
    """
    before, rows = int(np.searchsorted(numbers, today)), warm_rows(interval)
    return int(np.searchsorted(numbers, numbers[before - rows])) if before > rows else 0


# -- when ---------------------------------------------------------------------------------------------------------------


def is_due(definition: Definition, closed_at: datetime, before: datetime | None, opens_at: datetime) -> bool:
    """Whether a definition of bars shorter than a day is asked at the close of a bar.

    `before` is when the bar before it closed, None for the first that is known; `opens_at` when this day's session opened.
    """
    cadence = definition.cadence
    is_first_today = before is None or before <= opens_at
    if cadence.kind is CadenceKind.BAR:
        return True
    if cadence.kind is CadenceKind.MINUTES:
        every = timedelta(minutes=cadence.minutes)
        since, earlier = closed_at - opens_at, (before or opens_at) - opens_at
        return since // every > max(earlier, timedelta()) // every
    if cadence.kind is CadenceKind.DAILY:
        assert cadence.at is not None
        due = datetime.combine(closed_at.astimezone(IST).date(), cadence.at, IST)
        return closed_at >= due and (is_first_today or before is None or before < due)
    if cadence.kind is CadenceKind.MONTHLY:
        return is_first_today and _is_new_month(closed_at, before)
    return is_first_today


def due_on(definition: Definition, opens_at: datetime, last_day: date | None) -> datetime | None:
    """When on this trading day a definition of daily bars is asked, or None; `last_day` is that of its latest bar."""
    cadence, day = definition.cadence, opens_at.astimezone(IST).date()
    if (
        cadence.kind is CadenceKind.MONTHLY
        and last_day is not None
        and (last_day.year, last_day.month) == (day.year, day.month)
    ):
        return None
    if cadence.kind is CadenceKind.DAILY:
        assert cadence.at is not None
        return max(opens_at, datetime.combine(day, cadence.at, IST))
    return opens_at


def _is_new_month(closed_at: datetime, before: datetime | None) -> bool:
    now, then = closed_at.astimezone(IST), before.astimezone(IST) if before is not None else None
    return then is None or (now.year, now.month) != (then.year, then.month)


def once_key(definition: Definition, bar_closed_at: datetime, symbol: str, action: str) -> str:
    """What makes a signal the only one: version, bar, symbol and action, so that a restart raises none twice."""
    return f"{definition.name} {definition.version} {bar_closed_at.isoformat()} {symbol} {action}"
