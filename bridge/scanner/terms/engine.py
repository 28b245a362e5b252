"""Engine: computes a set of terms for all symbols, one closed bar after the other; history and live by the same step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from bridge.scanner.terms.bars import FIELDS, Bar, Bars, BoolArray, FloatArray, IntArray
from bridge.scanner.terms.moment import Moment
from bridge.scanner.terms.own import Factors
from bridge.scanner.terms.plan import Plan
from bridge.scanner.terms.term import Term, TermError


@dataclass(frozen=True, slots=True)
class Reading:
    """The values of an engine's terms after one bar; `provisional` when that bar is not closed yet.

    A symbol without a recent bar is unknown (NaN) in every term; `ages` tells how many bars ago its last one was.
    """

    terms: tuple[Term, ...]
    values: FloatArray
    ages: IntArray
    day: date | None
    provisional: bool
    places: Mapping[Term, int] = field(repr=False)  # of each term in `terms`

    def value(self, term: Term) -> FloatArray:
        """One number for each symbol, NaN where unknown; a verdict is 1, 0 or NaN."""
        try:
            return np.asarray(self.values[self.places[term]])
        except KeyError:
            raise TermError(f"the engine was not asked for `{term}`") from None

    def passes(self, verdict: Term) -> BoolArray:
        """Where a verdict is yes; unknown is not."""
        return np.asarray(self.value(verdict) == 1)


class Engine:
    """Computes `terms` for `symbols` symbols. Equal terms, and equal parts of different ones, share one state.

    A symbol without a bar in a step stands still. After more than `stale_after` such steps all that is asked of it is
    unknown, and it counts in no rank; until then its last values stand.
    """

    def __init__(self, terms: Iterable[Term], symbols: int, *, factors: Factors | None = None, stale_after: int = 0):
        self.terms = tuple(dict.fromkeys(terms))
        self._places = {term: place for place, term in enumerate(self.terms)}
        self.symbols, self._stale_after = symbols, stale_after
        # Never one column alone: numpy sums a single column in another order, and the last bits would differ.
        self._moment = Moment(max(symbols, 2))
        self._pads = symbols < 2
        self._plan = Plan(self.terms, self._moment, factors or Factors())
        self._homes = [self._plan.home(term) for term in self.terms]
        self._last_day: date | None = None
        self._fresh = False  # everyone's last bar was in the latest step
        self._mark_live()

    @property
    def faults(self) -> Mapping[str, str]:
        """Own factors that failed at the latest step or peek, and what they said."""
        return self._plan.faults

    def warm(self, bars: Bars) -> None:
        """Step through a history."""
        for bar in bars:
            self.step(bar)

    def count(self, who: BoolArray | None) -> None:
        """Have only these symbols count in ranks from now on, or all; the others are told where they would stand among them."""
        self._moment.counted = None
        if who is not None and not who.all():
            self._moment.counted = np.resize(who, self._moment.symbols)
            self._moment.counted[self.symbols :] = False

    def step(self, bar: Bar) -> None:
        """One closed bar of all symbols. Raises TermError for a day before the latest, or one that is missing."""
        self._compute(bar)
        self._last_day = bar.day or self._last_day

    def peek(self, bar: Bar) -> Reading:
        """What the values would be if the forming bar closed like this; nothing is changed."""
        moment = self._moment
        saved, ages, fields = [each.copy() for each in moment.kept], moment.ages.copy(), moment.fields.copy()
        present, absent, day, heads = moment.present, moment.absent, moment.day, [ring.head for ring in moment.rings]
        try:
            self._compute(bar)
            return self._read(provisional=True)
        finally:
            for ring, head in zip(moment.rings, heads, strict=True):
                if ring.head != head:
                    ring.take_back()
            self._put_back(saved, ages, fields)
            moment.present, moment.absent, moment.day = present, absent, day

    def read(self) -> Reading:
        """The values after the latest step."""
        return self._read(provisional=False)

    # --- one step -----------------------------------------------------------------------------------------------------

    def _compute(self, bar: Bar) -> None:
        fields = self._fields_of(bar)
        if bar.day is not None and self._last_day is not None and bar.day < self._last_day:
            raise TermError(f"a bar of {bar.day} after one of {self._last_day}")
        if bar.day is None and self._plan.needs_day:
            raise TermError("terms of months and weeks need bars that tell their day")
        self._moment.day = bar.day
        with np.errstate(all="ignore"):
            self._admit(fields)
            for run in self._plan.steps:
                run()

    def _fields_of(self, bar: Bar) -> FloatArray:
        if bar.fields.shape != (len(FIELDS), self.symbols):
            raise ValueError(f"a bar of shape {(len(FIELDS), self.symbols)} is wanted, not {bar.fields.shape}")
        return np.repeat(bar.fields, 2, axis=1) if self._pads else bar.fields

    def _admit(self, fields: FloatArray) -> None:
        """Who has a bar, who is stale, and the bar itself where there is one."""
        moment = self._moment
        finite = np.isfinite(np.add.reduce(fields, 0))  # as a sum is, if no part of it is infinite or unknown
        moment.absent = (~finite).nonzero()[0]
        if not len(moment.absent):
            np.copyto(moment.fields, fields)
            moment.present = None
            if self._fresh:
                return  # as after the step before, which is the usual thing
            moment.ages.fill(0)
        else:
            older = moment.ages.take(moment.absent) + 1
            moment.present = np.asarray(finite)
            np.copyto(moment.fields, fields, where=finite)
            moment.ages.fill(0)
            moment.ages[moment.absent] = older
            if not (self._stale_after or self._pads):
                self._fresh, moment.live = False, moment.present
                return
        self._mark_live()

    def _mark_live(self) -> None:
        self._fresh = not self._moment.ages.any()
        live = self._moment.ages <= self._stale_after
        live[self.symbols :] = False
        self._moment.live = None if live.all() else live

    def _read(self, *, provisional: bool) -> Reading:
        values = np.array(self._homes).reshape(len(self._homes), self._moment.symbols)
        if self._moment.live is not None:
            np.copyto(values, np.nan, where=~self._moment.live)
        values, ages = values[:, : self.symbols], self._moment.ages[: self.symbols].copy()
        return Reading(self.terms, values, ages, self._moment.day, provisional, self._places)

    def _put_back(self, saved: Sequence[FloatArray], ages: IntArray, fields: FloatArray) -> None:
        moment = self._moment
        for mine, theirs in zip(moment.kept, saved, strict=True):
            np.copyto(mine, theirs)
        np.copyto(moment.ages, ages)
        np.copyto(moment.fields, fields)
        for recursion in self._plan.recursions:
            recursion.forget()
        self._mark_live()
