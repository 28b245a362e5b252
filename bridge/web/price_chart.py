"""Recent closes and the terms that are prices as lines: where all goes; templates/parts/prices.html writes the SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.core.clock import IST
from bridge.web.svg import NARROW, WIDE, Size, Tick, round_values
from bridge.web.text import NOTHING

if TYPE_CHECKING:
    from bridge.scanner.traces import Traces

_AIR = 0.06  # of the height of the values


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of the drawing, and its name and latest value for the legend. `kind` says how it is drawn."""

    kind: str
    name: str
    latest: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceDrawing:
    """Everything of the SVG."""

    size: Size
    label: str
    value_ticks: tuple[Tick, ...]
    time_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]


def draw_prices(symbol: str, traces: "Traces | None") -> tuple[PriceDrawing, ...]:
    """One drawing for wide pages and one for narrow ones; none where no bars are there."""
    if traces is None or len(traces.closes) < 2:
        return ()
    return tuple(_draw(symbol, traces, size) for size in (WIDE, NARROW))


def _draw(symbol: str, traces: "Traces", size: Size) -> PriceDrawing:
    series = [("close", traces.closes), *((each.name, each.values) for each in traces.lines)]
    known = [value for _name, values in series for value in values if math.isfinite(value)] or [0.0]
    air = (max(known) - min(known)) * _AIR or abs(max(known)) * _AIR or 1.0
    low, high = min(known) - air, max(known) + air

    def x(place: int) -> float:
        return size.left + (size.width - size.left - size.right) * place / (len(traces.closes) - 1)

    def y(value: float) -> float:
        return size.top + (size.height - size.top - size.bottom) * (high - value) / (high - low)

    def path(values: Sequence[float]) -> str:
        steps, pen = [], "M"
        for place, value in enumerate(values):
            if not math.isfinite(value):
                pen = "M"  # a gap stays a gap
                continue
            steps.append(f"{pen}{x(place):.1f} {y(value):.1f}")
            pen = "L"
        return "".join(steps)

    curves = (
        Curve(kind=f"curve-{number}", name=name, latest=_latest(values), path=path(values))
        for number, (name, values) in enumerate(series)
    )
    return PriceDrawing(
        size=size,
        label=f"The last {len(traces.closes)} closes of {symbol}: now {_latest(traces.closes)}.",
        value_ticks=tuple(Tick(at=f"{y(value):.1f}", text=f"{value:,.12g}") for value in round_values(low, high)),
        time_ticks=tuple(Tick(at=f"{x(place):.1f}", text=text) for place, text in _times(traces, size)),
        curves=tuple(curves),
    )


def _latest(values: Sequence[float]) -> str:
    return f"{values[-1]:,.2f}" if math.isfinite(values[-1]) else NOTHING


def _times(traces: "Traces", size: Size) -> list[tuple[int, str]]:
    """A few bars, evenly apart and away from the edges; of shorter bars the time as well."""
    count, bars = max(2, size.labels // 2), len(traces.closes)
    places = [int(bars * (2 * number + 1) / (2 * count)) for number in range(count)]
    form = "%-d %b %Y" if traces.is_daily else "%-d %b %H:%M"
    return [(place, traces.opened_at[place].astimezone(IST).strftime(form)) for place in places]
