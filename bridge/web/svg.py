"""The day's profit as a line: where everything goes in the drawing; templates/parts/chart.html writes the SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal

from bridge.core.clock import IST
from bridge.web.text import MINUS, signed

Point = tuple[datetime, Decimal]
# The market's day with a little air, so that the axis stands still while it trades.
_SESSION = (time(9, 0), time(15, 45))
_TICK_STEPS = (timedelta(minutes=15), timedelta(minutes=30), *(timedelta(hours=h) for h in (1, 2, 3, 6)))
_HOUR = timedelta(hours=1)
_AIR = 0.12  # of the height of the values, so that the line never touches the frame
_SMALLEST_STEP = 0.01  # rupees between two grid lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A drawing's size and margins in its own units, which are CSS pixels at full width."""

    name: str
    width: int
    height: int
    left: int
    right: int = 20
    top: int = 12
    bottom: int = 24
    labels: int = 7


# Text in a scaled drawing scales too, so a phone gets a drawing of its own; the style sheet shows one of the two.
WIDE = Size(name="wide", width=760, height=190, left=70)
NARROW = Size(name="narrow", width=330, height=170, left=58, labels=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label of an axis and where it goes, as text for an attribute."""

    at: str
    text: str
    is_zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything of the SVG. `line` steps from fill to fill; from its end a dashed line leads to the total now."""

    size: Size
    tone: str
    label: str
    value_ticks: tuple[Tick, ...]
    time_ticks: tuple[Tick, ...]
    line: str
    area: str
    now_x: str
    now_y: str
    line_end_y: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    size: Size
    start: datetime
    end: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        inner = self.size.width - self.size.left - self.size.right
        return self.size.left + inner * ((at - self.start) / (self.end - self.start))

    def y(self, value: float) -> float:
        inner = self.size.height - self.size.top - self.size.bottom
        return self.size.top + inner * (self.high - value) / (self.high - self.low)


def draw_day(points: Sequence[Point], now: datetime, total: Decimal, size: Size) -> Drawing:
    """The running total at each of `points` (oldest first) as steps, and `total`, what it is now."""
    start, end = _span(points, now)
    values = [0.0, float(total), *(float(value) for _, value in points)]
    air = (max(values) - min(values)) * _AIR or 1.0
    frame = _Frame(size=size, start=start, end=end, low=min(values) - air, high=max(values) + air)
    now_x = frame.x(min(max(now, start), end))
    steps = _steps(frame, points) + f"H{now_x:.1f}"
    return Drawing(
        size=size,
        tone=signed(total).tone,
        label=_label(points, total),
        value_ticks=_value_ticks(frame),
        time_ticks=_time_ticks(frame),
        line=steps,
        area=f"{steps}V{frame.y(0):.1f}H{size.left}Z",
        now_x=f"{now_x:.1f}",
        now_y=f"{frame.y(float(total)):.1f}",
        line_end_y=f"{frame.y(float(points[-1][1]) if points else 0):.1f}",
    )


def _label(points: Sequence[Point], total: Decimal) -> str:
    values = [total, *(value for _, value in points)]
    lowest, highest = signed(min(values)).text, signed(max(values)).text
    return f"Profit and loss today in rupees: now {signed(total).text}, lowest {lowest}, highest {highest}."


def _span(points: Sequence[Point], now: datetime) -> tuple[datetime, datetime]:
    """The market's day while everything lies in it, else whole hours around what there is."""
    times = [now, *(at for at, _ in points)]
    first, last = min(times).astimezone(IST), max(times).astimezone(IST)
    opening, closing = (datetime.combine(last.date(), at, IST) for at in _SESSION)
    if opening <= first and last <= closing:
        return opening, closing
    return first.replace(minute=0, second=0, microsecond=0), last.replace(minute=0, second=0, microsecond=0) + _HOUR


def _value_ticks(frame: _Frame) -> tuple[Tick, ...]:
    return tuple(
        Tick(at=f"{frame.y(value):.1f}", text=f"{value:,.12g}".replace("-", MINUS), is_zero=value == 0)
        for value in round_values(frame.low, frame.high)
    )


def round_values(low: float, high: float) -> list[float]:
    """Some three to five round numbers within the range, zero among them when it is inside."""
    wanted = max((high - low) / 4, _SMALLEST_STEP)
    power = 10.0 ** (len(str(int(wanted))) if wanted >= 1 else -1)
    while power > wanted:
        power /= 10
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= wanted), power * 10)
    return [round(step * n, 6) for n in range(int(-(-low // step)), int(high // step) + 1)]


def _time_ticks(frame: _Frame) -> tuple[Tick, ...]:
    span = frame.end - frame.start
    step = next((step for step in _TICK_STEPS if span / step <= frame.size.labels), _TICK_STEPS[-1])
    midnight = frame.start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = -((midnight - frame.start) // step)
    times = [midnight + step * n for n in range(first, (frame.end - midnight) // step + 1)]
    return tuple(Tick(at=f"{frame.x(at):.1f}", text=at.strftime("%H:%M")) for at in times)


def _steps(frame: _Frame, points: Sequence[Point]) -> str:
    start = points[0][0] if points else frame.start
    path = [f"M{frame.size.left} {frame.y(0):.1f}H{frame.x(start):.1f}"]
    path += [f"H{frame.x(at):.1f}V{frame.y(float(value)):.1f}" for at, value in _thinned(frame, points)]
    return "".join(path)


def _thinned(frame: _Frame, points: Sequence[Point]) -> list[Point]:
    """At most four points for each pixel of width: its first, lowest, highest and last, in their order."""
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(int(frame.x(point[0])), []).append(point)
    kept: list[Point] = []
    for column in columns.values():
        values = [value for _, value in column]
        places = {0, values.index(min(values)), values.index(max(values)), len(column) - 1}
        kept += [column[place] for place in sorted(places)]
    return kept
