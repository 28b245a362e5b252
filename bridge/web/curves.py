"""Curves over days as drawings: where every line and label goes; templates/report/replay.html writes the SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from bridge.web.svg import Size

MAX_POINTS = 900
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MIN_GAP = 64.0  # between two labels of the time axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A text at a place of an axis."""

    at: str
    text: str
    is_base: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line: its path, the area down to the base where one is filled, and what it is."""

    name: str
    path: str
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing; `told` says in words what it shows."""

    size: Size
    curves: tuple[Curve, ...]
    values: tuple[Label, ...]
    times: tuple[Label, ...]
    told: str


def draw_curves(
    days: Sequence[date],
    lines: Sequence[tuple[str, Sequence[float]]],
    *,
    size: Size,
    base: float,
    write: Callable[[float], str],
    told: str,
) -> Chart:
    """The lines over the days on one scale, the first with an area down to `base`; a line has one value for each day."""
    found = [value for _name, values in lines for value in values]
    low, high = min([base, *found]), max([base, *found])
    air = (high - low) * 0.06 or abs(base) * 0.01 or 1.0
    low, high = (low - air if low < base else low), (high + air if high > base else high)
    inner_w, inner_h = size.width - size.left - size.right, size.height - size.top - size.bottom

    def x(place: int) -> float:
        return size.left + inner_w * (place / max(len(days) - 1, 1))

    def y(value: float) -> float:
        return size.top + inner_h * (high - value) / ((high - low) or 1.0)

    curves = []
    for number, (name, values) in enumerate(lines):
        places = range(0, len(values), max(1, -(-len(values) // MAX_POINTS)))
        points = [f"{x(place):.1f} {y(values[place]):.1f}" for place in sorted({*places, len(values) - 1})]
        path = "M" + "L".join(points)
        area = f"{path}L{x(len(values) - 1):.1f} {y(base):.1f}L{size.left} {y(base):.1f}Z" if number == 0 else ""
        curves.append(Curve(name=name, path=path, area=area))
    values_at = tuple(Label(at=f"{y(v):.1f}", text=write(v), is_base=v == base) for v in _rounds(low, high, base))
    times = _times(days, x, size.width - size.right - 20)
    return Chart(size=size, curves=tuple(curves), values=values_at, times=times, told=told)


def _rounds(low: float, high: float, base: float) -> list[float]:
    """Some three to seven round values within the range, the base among them."""
    wanted = (high - low) / 6
    power = 10.0 ** len(str(int(wanted))) if wanted >= 1 else 1.0
    while power > wanted > 0:
        power /= 10
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= wanted), power * 10)
    first, last = int(-((base - low) // step)), int((high - base) // step)
    return [round(base + step * number, 10) for number in range(first, last + 1)]


def _times(days: Sequence[date], x: Callable[[int], float], last: float) -> tuple[Label, ...]:
    """The first day of each month up to `last`, as far as there is room, with the year where it turns."""
    found: list[Label] = []
    year, last_x = 0, -_MIN_GAP
    for place, day in enumerate(days):
        is_first = place == 0 or (day.year, day.month) != (days[place - 1].year, days[place - 1].month)
        if not is_first or x(place) - last_x < _MIN_GAP or x(place) > last:
            continue
        text = f"{_MONTHS[day.month - 1]} {day.year}" if day.year != year else _MONTHS[day.month - 1]
        year, last_x = day.year, x(place)
        found.append(Label(at=f"{last_x:.1f}", text=text))
    return tuple(found)
