"""Traces: the recent closes of one symbol, and beside them the terms of a definition that are prices, to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.scanner.definition import Definition, compared
from bridge.scanner.terms import Bars, Engine, Term, library

# Of prices these make a price again; what else there is stands on a scale of its own.
_OF_PRICES = frozenset(
    {"lag", "sma", "ema", "rma", "highest", "lowest", "linreg", "month_end", "week_end", "larger", "smaller"}
)
_OF_BARS = frozenset({"donchian_high", "donchian_low"})
MAX_LINES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One term's value at each bar shown; NaN where it is not known."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The bars shown, oldest first: when each opened, its close, and the terms; `is_daily` where the time says nothing."""

    opened_at: tuple[datetime, ...]
    closes: tuple[float, ...]
    lines: tuple[Trace, ...]
    is_daily: bool


def is_price(term: Term) -> bool:
    """Whether a term can be drawn on the scale of the closes."""
    if term.name == "field":
        return term.params[0] != "volume"
    if term.name in ("add", "sub"):  # a price and a distance, such as close - 2 * atr(14)
        return is_price(term.inputs[0]) and not is_price(term.inputs[1])
    if term.name in ("mul", "div"):
        return sorted((each.name == "const", is_price(each)) for each in term.inputs) == [(False, True), (True, False)]
    return term.name in _OF_BARS or (term.name in _OF_PRICES and all(map(is_price, term.inputs)))


def price_terms(definition: Definition) -> list[Term]:
    """The prices that a definition's rules compare, the bar's own left out."""
    sides = [side for side in (definition.long, definition.short) if side is not None]
    rules = [term for _name, term in definition.filters]
    rules += [term for side in sides for term in (side.enter, side.leave) if term is not None]
    found = dict.fromkeys(term for rule in rules for term in compared(rule) if is_price(term) and term.name != "field")
    return list(found)[:MAX_LINES]


def trace(definition: Definition, history: Bars, opened_at: Sequence[datetime], shown: int) -> Traces:
    """The last `shown` bars of a history of one symbol; the bars before them warm the terms up."""
    terms = price_terms(definition)
    engine = Engine([library.close, *terms], 1)
    first = max(0, len(history) - shown)
    engine.warm(history.part(0, first))
    rows: list[list[float]] = []
    for row in range(first, len(history)):
        engine.step(history[row])
        reading = engine.read()
        rows.append([float(reading.value(term)[0]) for term in (library.close, *terms)])
    closes, *lines = zip(*rows, strict=True) if rows else ((), *((),) * len(terms))
    return Traces(
        opened_at=tuple(opened_at[first:]),
        closes=tuple(closes),
        lines=tuple(Trace(name=str(term), values=tuple(line)) for term, line in zip(terms, lines, strict=True)),
        is_daily=definition.interval.value == "1d",
    )
