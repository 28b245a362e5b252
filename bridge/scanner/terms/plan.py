"""Plan: from terms to a list of small functions that compute them all, in order, each writing where the next one reads.

Terms of one depth that share a formula (EMA, RMA) are stacked in one array; what they read is computed straight into it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby

import numpy as np

from bridge.scanner.terms.across import ACROSS, stand
from bridge.scanner.terms.bars import FIELDS, FloatArray
from bridge.scanner.terms.elementwise import ELEMENTWISE, UNSURE, Run
from bridge.scanner.terms.events import make_bars_seen, make_cross, make_own
from bridge.scanner.terms.expand import expand
from bridge.scanner.terms.moment import Moment
from bridge.scanner.terms.own import Factors, OwnFactor
from bridge.scanner.terms.periods import Periods, PeriodVolatility
from bridge.scanner.terms.recursions import Recursion
from bridge.scanner.terms.ring import Ring
from bridge.scanner.terms.term import Term, TermError
from bridge.scanner.terms.windows import WINDOWS, Reduce, reach

_RECURSIONS = ("ema", "rma")
_BACK = ("lag", "change", "roc")
_PERIODS = {"month_end": "month", "week_end": "week", "weekly_volatility": "week"}
# Terms with a value at any bar from their first value on, if what they are made of has one.
_SURE = frozenset({*ELEMENTWISE, *WINDOWS, *_RECURSIONS, "lag", "change"} - UNSURE)
RingKey = tuple[Term, bool]  # of what, and whether it keeps known values only


class Plan:
    """What is computed at each step, once compiled: `steps` in order, and where each term's value lies afterwards."""

    def __init__(self, terms: Iterable[Term], moment: Moment, factors: Factors):
        self._moment, self._factors = moment, factors
        self._expanded: dict[Term, Term] = {}
        self._order: list[Term] = []
        self._depths: dict[Term, int] = {}
        self._sure: dict[Term, bool] = {}
        self._homes: dict[Term, FloatArray] = {}
        self._rings: dict[RingKey, Ring] = {}
        self._periods: dict[tuple[Term, str], Periods] = {}
        self._depth_of_periods: dict[tuple[Term, str], int] = {}
        self._blocks: dict[tuple[Term, ...], FloatArray | None] = {}
        self.recursions: list[Recursion] = []
        self.steps: list[Run] = []
        self.faults: dict[str, str] = {}
        for term in terms:
            self._place(expand(term, self._expanded))
        self._make_rings()
        self._make_periods()
        self._make_steps()
        self.needs_day = bool(self._depth_of_periods)

    def home(self, term: Term) -> FloatArray:
        """The row that holds a term's value after each step."""
        return self._homes[self._expanded[term]]

    # --- the order ----------------------------------------------------------------------------------------------------

    def _place(self, term: Term) -> None:
        if term in self._depths:
            return
        for each in term.inputs:
            self._place(each)
        deepest = max((self._depths[each] for each in term.inputs), default=0)
        self._depths[term] = deepest + (term.name in _RECURSIONS)
        self._sure[term] = self._is_sure(term)
        self._order.append(term)

    def _is_sure(self, term: Term) -> bool:
        return term.name in ("field", "const", "bars_seen") or (
            term.name in _SURE and all(self._sure[each] for each in term.inputs)
        )

    # --- what keeps rows ----------------------------------------------------------------------------------------------

    def _windows_of(self, term: Term) -> list[tuple[RingKey, int]]:
        """The rings that a term reads, and how many rows of each."""
        if term.name in _BACK:
            return [((term.inputs[0], False), int(term.params[0]) + 1)]
        if term.name in WINDOWS:
            rows, skip = reach(term)
            return [((term.inputs[0], not self._sure[term.inputs[0]]), rows + skip)]
        if term.name == "own":
            return [((each, False), self._factor(term).lookback) for each in term.inputs]
        return []

    def _factor(self, term: Term) -> OwnFactor:
        factor = self._factors.get(str(term.params[0]))
        if factor is None:
            raise TermError(
                f"no factor is registered as {term.params[0]!r}; known: {', '.join(self._factors.names()) or 'none'}"
            )
        return factor

    def _make_rings(self) -> None:
        depths: dict[RingKey, int] = {}
        for term in self._order:
            for key, rows in self._windows_of(term):
                depths[key] = max(rows, depths.get(key, 0))
        self._rings = {key: Ring(rows, self._moment.symbols) for key, rows in depths.items()}
        self._moment.rings = list(self._rings.values())

    def _make_periods(self) -> None:
        for term in self._order:
            if term.name in _PERIODS:
                key = (term.inputs[0], _PERIODS[term.name])
                wanted = int(term.params[0]) + (term.name == "weekly_volatility")
                self._depth_of_periods[key] = max(wanted, self._depth_of_periods.get(key, 0))

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _make_steps(self) -> None:
        groups = self._stack()
        for term in self._order:
            if term not in self._homes:
                self._homes[term] = self._new_home(term)
        for depth in range(max(self._depths.values(), default=0) + 1):
            for members in groups.get(depth, []):
                self._add_recursion(members)
            for term in self._order:
                if self._depths[term] == depth and term.name not in _RECURSIONS:
                    self.steps.extend(self._runs_of(term))
                    self._add_pushes(term)

    def _new_home(self, term: Term) -> FloatArray:
        if term.name == "field":
            return np.asarray(self._moment.fields[FIELDS.index(str(term.params[0]))])
        if term.name == "const":
            return np.full(self._moment.symbols, float(term.params[0]))
        return self._moment.row()

    def _add_pushes(self, source: Term) -> None:
        for (term, known_only), ring in self._rings.items():
            if term == source:
                self.steps.append(self._push(ring, self._homes[source], known_only=known_only))

    def _push(self, ring: Ring, row: FloatArray, *, known_only: bool) -> Run:
        moment = self._moment

        def push() -> None:
            ring.push(row, moment.present, moment.absent)

        def push_known() -> None:
            known = ~np.isnan(row)
            moves = known if moment.present is None else known & moment.present
            ring.push(row, moves, (~moves).nonzero()[0])

        return push_known if known_only else push

    # --- stacked recursions -------------------------------------------------------------------------------------------

    def _stack(self) -> dict[int, list[list[Term]]]:
        """Which recursions are stepped together; what a stack reads gets its home there."""
        recursive = [term for term in self._order if term.name in _RECURSIONS]
        by_kind = sorted(recursive, key=self._kind)
        groups: dict[int, list[list[Term]]] = {}
        for (depth, _, _), each in groupby(by_kind, key=self._kind):
            members = list(each)
            groups.setdefault(depth, []).append(members)
            self._blocks[tuple(members)] = self._read_by(members)
        return groups

    def _kind(self, term: Term) -> tuple[int, str, bool]:
        return self._depths[term], term.name, self._sure[term.inputs[0]]

    def _read_by(self, members: Sequence[Term]) -> FloatArray | None:
        """The block of rows that a stack reads; None where all read the same row, wherever that is."""
        sources = [term.inputs[0] for term in members]
        if len(set(sources)) == 1:
            return None
        block = self._moment.block(len(members))
        for source, row in zip(sources, block, strict=True):
            if source.name not in ("field", "const", *_RECURSIONS):
                self._homes.setdefault(source, row)
        return block

    def _add_recursion(self, members: list[Term]) -> None:
        block = self._blocks[tuple(members)]
        sources = [self._homes[term.inputs[0]] for term in members]
        if block is not None:
            for source, row in zip(sources, block, strict=True):
                if source.ctypes.data != row.ctypes.data:
                    self.steps.append(_copy(source, row))
        made = Recursion(
            self._moment,
            members[0].name,
            sources[0] if block is None else block,
            [int(term.params[0]) for term in members],
            sure=self._sure[members[0].inputs[0]],
        )
        self.recursions.append(made)
        self.steps.append(made.run)
        for term, row in zip(members, made.out, strict=True):
            self._homes[term] = row
            self._add_pushes(term)

    # --- everything else ----------------------------------------------------------------------------------------------

    def _runs_of(self, term: Term) -> list[Run]:
        out, inputs = self._homes[term], [self._homes[each] for each in term.inputs]
        moment = self._moment
        if term.name in ("field", "const"):
            return []
        if term.name in ELEMENTWISE:
            return [ELEMENTWISE[term.name](term, out, inputs)]
        if term.name in _BACK:
            return [self._back(term, out)]
        if term.name in WINDOWS:
            return [self._window(term, out)]
        if term.name in ACROSS:
            mask = inputs[1] if len(inputs) > 1 else None
            return [lambda: stand(term, inputs[0], mask, moment, out)]
        if term.name in _PERIODS:
            return self._period(term, out)
        if term.name in ("cross_over", "cross_under"):
            above, under = inputs if term.name == "cross_over" else inputs[::-1]
            return [make_cross(moment, above, under, out)]
        if term.name == "bars_seen":
            return [make_bars_seen(moment, out)]
        if term.name == "own":
            return [self._own(term, out)]
        raise TermError(f"nothing computes {term.name!r}")

    def _back(self, term: Term, out: FloatArray) -> Run:
        ring, x = self._rings[term.inputs[0], False], self._homes[term.inputs[0]]
        rows, hundred = ring.rows(int(term.params[0])), np.array(100.0)

        def lag() -> None:
            np.copyto(out, rows[ring.head])

        def change() -> None:
            np.subtract(x, rows[ring.head], out)

        def roc() -> None:
            before = rows[ring.head]
            np.subtract(x, before, out)
            np.multiply(out, hundred, out)
            np.divide(out, before, out)

        return {"lag": lag, "change": change, "roc": roc}[term.name]

    def _window(self, term: Term, out: FloatArray) -> Run:
        source = term.inputs[0]
        ring, x = self._rings[source, not self._sure[source]], self._homes[source]
        views, reduce = ring.windows(*reach(term)), WINDOWS[term.name](term)
        return _of_sure(ring, views, reduce, out) if self._sure[source] else _of_unsure(ring, views, reduce, x, out)

    def _period(self, term: Term, out: FloatArray) -> list[Run]:
        key, runs = (term.inputs[0], _PERIODS[term.name]), list[Run]()
        if key not in self._periods:
            self._periods[key] = Periods(self._moment, key[1], self._homes[key[0]], self._depth_of_periods[key])
            runs.append(self._periods[key].run)
        periods = self._periods[key]
        if term.name == "weekly_volatility":
            volatility = PeriodVolatility(self._moment, periods, int(term.params[0]))
            return [*runs, volatility.run, _copy(volatility.out, out)]
        return [*runs, _copy(periods.ends[int(term.params[0])], out)]

    def _own(self, term: Term, out: FloatArray) -> Run:
        factor = self._factor(term)
        windows = [_window_now(self._rings[each, False], factor.lookback) for each in term.inputs]
        return make_own(factor, windows, out, self.faults)


def _copy(source: FloatArray, out: FloatArray) -> Run:
    return partial(np.copyto, out, source)


def _of_sure(ring: Ring, views: list[FloatArray], reduce: Reduce, out: FloatArray) -> Run:
    return lambda: reduce(views[ring.head], out)


def _of_unsure(ring: Ring, views: list[FloatArray], reduce: Reduce, x: FloatArray, out: FloatArray) -> Run:
    def run() -> None:
        reduce(views[ring.head], out)
        np.copyto(out, np.nan, where=np.isnan(x))

    return run


def _window_now(ring: Ring, rows: int) -> Callable[[], FloatArray]:
    views = ring.windows(rows)
    return lambda: views[ring.head]
