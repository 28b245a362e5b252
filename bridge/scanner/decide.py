"""Deciding: what a definition wants at the close of a bar, from an engine's reading and what is held; nothing is remembered.

Everything that a decision needs beside the bars is in the books: which symbols the strategy holds, at what price it entered and
since when. So a restart decides what it would have decided, and a replay decides as live.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import numpy as np

from bridge.core.bar import Interval, day_of_bar
from bridge.core.enums import Action
from bridge.scanner.definition import Definition, Distance, Exits, SideRules, compared
from bridge.scanner.terms import BoolArray, FloatArray, Reading, Term, library

LONG, SHORT = 1, -1
_PAISE = Decimal("0.0001")


class Verdict(StrEnum):
    """What becomes of one symbol at one bar."""

    ENTER = "enter"
    LEAVE = "leave"
    HOLD = "hold"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What the strategy holds of a symbol: signed units, mean price of entry, and the extremes of the closed bars since.

    `is_leaving`: its exit is under way, so it is neither left again nor counted as held.
    """

    quantity: Decimal
    entry_px: float
    high: float | None = None
    low: float | None = None
    is_leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A signal to raise: buy, sell or exit; `quantity` None means the strategy's own, or all. `price` is the bar's close."""

    symbol: str
    action: Action
    quantity: Decimal | None
    price: Decimal
    why: str
    score: float | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One filter or rule of one symbol: `passed` None is unknown. `values` are the numbers that it compared."""

    name: str
    rule: str
    passed: bool | None
    values: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One symbol, explained."""

    symbol: str
    verdict: Verdict
    why: str
    close: float
    age: int
    held: Decimal
    score: float | None
    rank: int | None
    checks: tuple[Check, ...]


class Evaluation:
    """A definition at one bar. `wishes` are in the order in which they are to be raised: exits, then entries, best first."""

    def __init__(
        self,
        definition: Definition,
        reading: Reading,
        symbols: Sequence[str],
        holdings: Mapping[str, Holding],
        *,
        at: datetime,
        lots: Mapping[str, Decimal],
        untrusted: Mapping[str, str] | None = None,
        held_back: Mapping[str, str] | None = None,
    ):
        self.definition = definition
        self.at = at
        self.symbols = tuple(symbols)
        self.provisional = reading.provisional
        self._reading = reading
        self._holdings = holdings
        self._lots = lots
        # Symbols whose bars are doubted, and those that no entry may be made in for another reason: each with the reason.
        self._untrusted = untrusted or {}
        self._held_back = held_back or {}
        self._close = reading.value(library.close)
        passing = definition.passing
        self._passing = np.ones(len(self.symbols), bool) if passing is None else reading.passes(passing)
        self._score, self._rank = self._ranks()
        self._verdicts: dict[int, tuple[Verdict, str, int]] = {}
        self.wishes: tuple[Wish, ...] = self._decide()

    @property
    def day(self) -> date | None:
        """The day of a daily bar, else None."""
        return day_of_bar(self.at) if self.definition.interval is Interval.DAY else None

    # --- deciding -----------------------------------------------------------------------------------------------------

    def _ranks(self) -> tuple[FloatArray | None, FloatArray | None]:
        definition = self.definition
        if definition.score is None or definition.rank is None:
            return None, None
        return self._reading.value(definition.score), self._reading.value(definition.rank)

    def _decide(self) -> tuple[Wish, ...]:
        exits, keeps = self._leaving()
        entries = self._entering(keeps)
        return (*exits, *entries)

    def _leaving(self) -> tuple[list[Wish], dict[int, int]]:
        """Exits of what is held, and by side how many holdings stay."""
        wishes, keeps = [], {LONG: 0, SHORT: 0}
        for place, symbol in enumerate(self.symbols) if self._holdings else ():
            holding = self._holdings.get(symbol)
            if holding is None or not holding.quantity:
                continue
            side = LONG if holding.quantity > 0 else SHORT
            if holding.is_leaving:
                self._verdicts[place] = (Verdict.LEAVE, "its exit is under way", side)
                continue
            why = self._why_leave(place, holding, side)
            if why:
                self._verdicts[place] = (Verdict.LEAVE, why, side)
                wishes.append(self._wish(place, Action.EXIT, abs(holding.quantity), why))
            else:
                self._verdicts[place] = (Verdict.HOLD, self._why_hold(place), side)
                keeps[side] += 1
        return wishes, keeps

    def _why_leave(self, place: int, holding: Holding, side: int) -> str:
        """Why a holding is to be closed; empty when it is kept. What is not known closes nothing."""
        if self._reading.ages[place] or self.symbols[place] in self._untrusted:
            return ""
        by_price = price_exit(
            self.definition.exits,
            holding,
            side,
            high=self._value(library.high, place),
            low=self._value(library.low, place),
            atr=lambda bars: self._value(library.atr(bars), place),
        )
        if by_price:
            return by_price
        rules = self._side(side)
        if rules is None:
            return f"the definition has no {_name(side)} side"
        if rules.leave is not None and self._is(rules.leave, place):
            return f"{rules.leave}"
        opposite = self._side(-side)
        if opposite is not None and opposite.enter is not None and self._is(opposite.enter, place) and self._passing[place]:
            return f"{opposite.enter}: the other side is entered"
        if not self.definition.is_ranked:
            return ""
        passing = self.definition.passing
        if passing is not None and self._value(passing, place) == 0:
            return f"it passes no more: {', '.join(self._failed(place))}"
        rank = self._rank_of(place)
        if rank is not None and rank > self.definition.keep:
            return f"rank {rank}, below {self.definition.keep}"
        return ""

    def _entering(self, keeps: Mapping[int, int]) -> list[Wish]:
        wishes = []
        for side in (LONG, SHORT):
            rules = self._side(side)
            if rules is None:
                continue
            places = self._may_enter(rules).nonzero()[0]
            ordered = self._best_first(places)
            free = self.definition.top - keeps[side] if self.definition.is_ranked else len(self.symbols)
            for place in ordered:
                if not self._is_open_to(int(place), side):
                    continue
                if free <= 0:
                    self._verdicts[int(place)] = (Verdict.OUT, f"{self.definition.top} are held already", side)
                    continue
                wish = self._entry(int(place), side, rules)
                if wish is not None:
                    wishes.append(wish)
                    free -= 1
        return wishes

    def _may_enter(self, rules: SideRules) -> BoolArray:
        found = self._passing & (self._reading.ages == 0)
        if rules.enter is not None:
            found &= self._reading.passes(rules.enter)
        if rules.leave is not None:
            found &= ~self._reading.passes(rules.leave)
        if self._rank is not None:
            found &= self._rank <= self.definition.top
        return np.asarray(found)

    def _best_first(self, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[int]:
        if self._rank is None:
            return [int(place) for place in places]
        rank = self._rank
        return sorted((int(place) for place in places), key=lambda place: (float(rank[place]), place))

    def _is_open_to(self, place: int, side: int) -> bool:
        """Whether an entry may be made: not where the same side is held, or the bars are doubted."""
        symbol = self.symbols[place]
        known = self._verdicts.get(place)
        if known is not None and (known[0] is Verdict.HOLD or known[2] == side):
            return False
        why = self._untrusted.get(symbol) or self._held_back.get(symbol)
        if why:
            self._verdicts[place] = (Verdict.OUT, why, side)
            return False
        return True

    def _entry(self, place: int, side: int, rules: SideRules) -> Wish | None:
        why = f"{rules.enter}" if rules.enter is not None else f"rank {self._rank_of(place)} of {self.definition.top}"
        quantity, obstacle = self._quantity(place, side)
        if obstacle:
            self._verdicts.setdefault(place, (Verdict.OUT, obstacle, side))
            return None
        known = self._verdicts.get(place)
        if known is None:  # else it leaves the other side first, and that is what its line tells
            self._verdicts[place] = (Verdict.ENTER, why, side)
        return self._wish(place, Action.BUY if side == LONG else Action.SELL, quantity, why)

    def _quantity(self, place: int, side: int) -> tuple[Decimal | None, str]:
        """Units of an entry in whole lots, or why there are none. None: what the settings say."""
        size, close = self.definition.size, self._close[place]
        if size.quantity is not None:
            return size.quantity, ""
        if size.rupees is None and size.risk is None:
            return None, ""
        stop = self.definition.exits.stop
        per_unit = float(close)
        if size.risk is not None and stop is not None:
            per_unit = distance_of(stop, float(close), self._value(library.atr(stop.bars), place) if stop.atr else 0.0)
        if not np.isfinite(per_unit) or per_unit <= 0:
            return None, "the distance to the stop is not known yet"
        lot = self._lots.get(self.symbols[place], Decimal(1))
        wanted = (size.rupees or size.risk or Decimal(0)) / Decimal(repr(per_unit))
        units = (wanted / lot).to_integral_value(ROUND_DOWN) * lot
        return (units, "") if units > 0 else (None, "the size comes to less than one lot")

    def _wish(self, place: int, action: Action, quantity: Decimal | None, why: str) -> Wish:
        score = None if self._score is None else _known(self._score[place])
        price = Decimal(repr(float(self._close[place]))).quantize(_PAISE).normalize()
        return Wish(
            symbol=self.symbols[place], action=action, quantity=quantity, price=price, why=why, score=score,
            rank=self._rank_of(place),
        )  # fmt: skip

    # --- explaining ---------------------------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """Every symbol explained, in their order."""
        return [self.line(place) for place in self.order()]

    def order(self) -> list[int]:
        """Every symbol's place: the best first where there is a rank, else in the order of the universe."""
        places = list(range(len(self.symbols)))
        if self._rank is not None:
            ranks = [self._rank_of(place) for place in places]
            places.sort(key=lambda place: (ranks[place] is None, ranks[place] or 0))
        return places

    def verdict(self, place: int) -> Verdict:
        """What becomes of one symbol, without the reasons."""
        known = self._verdicts.get(place)
        return known[0] if known else Verdict.OUT

    def line(self, place: int) -> Line:
        """One symbol: each rule with what it compared, its rank, and why it is in or out."""
        symbol = self.symbols[place]
        verdict, why, _side_of = self._verdicts.get(place) or (Verdict.OUT, self._why_out(place), LONG)
        holding = self._holdings.get(symbol)
        return Line(
            symbol=symbol,
            verdict=verdict,
            why=why,
            close=float(self._close[place]),
            age=int(self._reading.ages[place]),
            held=holding.quantity if holding else Decimal(0),
            score=None if self._score is None else _known(self._score[place]),
            rank=self._rank_of(place),
            checks=tuple(self._check(name, term, place) for name, term in self._rules()),
        )

    def _rules(self) -> list[tuple[str, Term]]:
        definition = self.definition
        rules = list(definition.filters)
        for name, side in (("long", definition.long), ("short", definition.short)):
            if side is not None:
                rules += [(f"{name} enter", side.enter)] if side.enter is not None else []
                rules += [(f"{name} leave", side.leave)] if side.leave is not None else []
        return rules

    def _check(self, name: str, term: Term, place: int) -> Check:
        value = self._value(term, place)
        values = tuple((str(each), self._value(each, place)) for each in compared(term))
        return Check(name=name, rule=str(term), passed=None if np.isnan(value) else bool(value == 1), values=values)

    def _why_out(self, place: int) -> str:
        symbol, age = self.symbols[place], int(self._reading.ages[place])
        if symbol in self._untrusted:
            return self._untrusted[symbol]
        if age:
            return f"no bar now; the last one was {age} bars ago" if age < 1 << 30 else "no bar yet"
        unknown = [name for name, term in self._rules() if np.isnan(self._value(term, place))]
        if unknown:
            return f"not known yet, for want of bars: {', '.join(unknown)}"
        if failed := self._failed(place):
            return f"does not pass: {', '.join(failed)}"
        if self.definition.is_ranked:
            rank = self._rank_of(place)
            if rank is None:
                return "no score yet, for want of bars"
            if rank > self.definition.top:
                return f"rank {rank}; the first {self.definition.top} are entered"
        return "no rule says to enter"

    def _why_hold(self, place: int) -> str:
        if self.symbols[place] in self._untrusted:
            return f"held; {self._untrusted[self.symbols[place]]}"
        if self._reading.ages[place]:
            return "held; no bar now"
        rank, why = self._rank_of(place), self._held_back.get(self.symbols[place])
        return "held" + (f", rank {rank}" if rank is not None else "") + (f"; {why}" if why else "")

    def _failed(self, place: int) -> list[str]:
        return [name for name, term in self.definition.filters if self._value(term, place) == 0]

    # --- values -------------------------------------------------------------------------------------------------------

    def _side(self, side: int) -> SideRules | None:
        return self.definition.long if side == LONG else self.definition.short

    def _value(self, term: Term, place: int) -> float:
        return float(self._reading.value(term)[place])

    def _is(self, term: Term, place: int) -> bool:
        return self._value(term, place) == 1

    def _rank_of(self, place: int) -> int | None:
        if self._rank is None or np.isnan(self._rank[place]):
            return None
        return int(self._rank[place])


def _name(side: int) -> str:
    return "long" if side == LONG else "short"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def distance_of(distance: Distance, price: float, atr: float) -> float:
    """Rupees of a distance from `price`."""
    if distance.percent is not None:
        return price * float(distance.percent) / 100
    return float(distance.atr or 0) * atr


def price_exit(exits: Exits, holding: Holding, side: int, *, high: float, low: float, atr: Callable[[int], float]) -> str:
    """Why the price closes a holding, judged by a bar's range; empty when it does not. A stop goes before a target.

    Of a bar that touches both nobody knows which came first: the worse is taken. The trail counts from the best price
    before this bar.
    """

    def gap(distance: Distance, price: float) -> float:
        return side * distance_of(distance, price, atr(distance.bars) if distance.atr is not None else 0.0)

    worst, best = (low, high) if side == LONG else (high, low)
    if exits.stop is not None:
        level = holding.entry_px - gap(exits.stop, holding.entry_px)
        if side * (worst - level) <= 0:
            return f"stop at {level:.2f}"
    extreme = holding.high if side == LONG else holding.low
    if exits.trail is not None and extreme is not None:
        level = extreme - gap(exits.trail, extreme)
        if side * (worst - level) <= 0:
            return f"trailing stop at {level:.2f}"
    if exits.target is not None:
        level = holding.entry_px + gap(exits.target, holding.entry_px)
        if side * (best - level) >= 0:
            return f"target at {level:.2f}"
    return ""
