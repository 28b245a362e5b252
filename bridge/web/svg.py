"""The day's profit as a line, drawn on the server: plain SVG whose colours come from the style sheet's classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal

from markupsafe import Markup, escape

from bridge.core.clock import IST
from bridge.web.text import MINUS, signed

Point = tuple[datetime, Decimal]
_SESSION = (time(9, 0), time(15, 45))  # the market's day with a little air, so that the axis stands still while it trades
_TICK_STEPS = (timedelta(minutes=15), timedelta(minutes=30), *(timedelta(hours=h) for h in (1, 2, 3, 6)))
_HOUR = timedelta(hours=1)
_PADDING = 0.12  # of the height of the values, so that the line never touches the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A drawing's size and margins in its own units, which are CSS pixels at full width."""

    name: str
    width: int
    height: int
    left: int
    right: int = 14
    top: int = 12
    bottom: int = 24
    labels: int = 7


# Text in a scaled drawing scales too, so a phone gets a drawing of its own; the style sheet shows one of the two.
WIDE = Size(name="wide", width=760, height=190, left=70)
NARROW = Size(name="narrow", width=330, height=170, left=58, labels=4)


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


def draw_day(points: Sequence[Point], now: datetime, latest: Decimal, size: Size) -> Markup:
    """The running total at each of `points` (oldest first) as steps, then a dashed line to `latest`, the total now."""
    start, end = _span(points, now)
    values = [0.0, float(latest), *(float(value) for _, value in points)]
    air = (max(values) - min(values)) * _PADDING or 1.0
    frame = _Frame(size=size, start=start, end=end, low=min(values) - air, high=max(values) + air)
    tone = signed(latest).tone
    parts = [*_value_axis(frame), *_time_axis(frame), *_line(frame, points, now, float(latest))]
    label = escape(f"Profit and loss today, rupees: now {signed(latest).text}, {_extremes(points, latest)}.")
    head = Markup('<svg class="chart {} {}" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        size.name, tone, size.width, size.height, label
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _extremes(points: Sequence[Point], latest: Decimal) -> str:
    values = [latest, *(value for _, value in points)]
    return f"lowest {signed(min(values)).text}, highest {signed(max(values)).text}"


def _span(points: Sequence[Point], now: datetime) -> tuple[datetime, datetime]:
    """The market's day while all lies in it, else whole hours around what there is."""
    first = min(points[0][0], now).astimezone(IST) if points else now.astimezone(IST)
    last = max(points[-1][0], now).astimezone(IST) if points else first
    opening, closing = (datetime.combine(last.date(), at, IST) for at in _SESSION)
    if opening <= first and last <= closing:
        return opening, closing
    start = first.replace(minute=0, second=0, microsecond=0)
    end = last.replace(minute=0, second=0, microsecond=0) + _HOUR
    return start, end


def _value_axis(frame: _Frame) -> list[Markup]:
    parts = []
    right = frame.size.width - frame.size.right
    for value in _round_values(frame.low, frame.high):
        y = f"{frame.y(value):.1f}"
        kind = "zero" if value == 0 else "grid"
        parts.append(Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, frame.size.left, right, y, y))
        text = f"{MINUS if value < 0 else ''}{abs(value):,.10g}" if value % 1 else f"{value:,.0f}".replace("-", MINUS)
        parts.append(
            Markup('<text class="axis" x="{}" y="{}" text-anchor="end" dominant-baseline="middle">{}</text>').format(
                frame.size.left - 8, y, text
            )
        )
    return parts


def _round_values(low: float, high: float) -> list[float]:
    """Three to six round numbers within the range, zero among them when it is inside."""
    wanted = (high - low) / 4
    power = 1.0
    while power * 10 <= wanted:
        power *= 10
    while power > wanted:
        power /= 10
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= wanted), power * 10)
    first = int(low // step) + 1
    return [round(step * n, 10) for n in range(first, int(high // step) + 1)]


def _time_axis(frame: _Frame) -> list[Markup]:
    span = frame.end - frame.start
    step = next((step for step in _TICK_STEPS if span / step <= frame.size.labels), _TICK_STEPS[-1])
    midnight = frame.start.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * -((midnight - frame.start) // step)
    parts = []
    while at <= frame.end:
        parts.append(
            Markup('<text class="axis" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                frame.x(at), frame.size.height - 6, at.astimezone(IST).strftime("%H:%M")
            )
        )
        at += step
    return parts


def _line(frame: _Frame, points: Sequence[Point], now: datetime, latest: float) -> list[Markup]:
    x, y = frame.x(frame.start), frame.y(0)
    path = [f"M{x:.1f} {y:.1f}"]
    for at, value in _thinned(frame, points):
        x, y = frame.x(at), frame.y(float(value))
        path.append(f"H{x:.1f}V{y:.1f}")
    end_x, end_y = frame.x(min(max(now, frame.start), frame.end)), frame.y(latest)
    path.append(f"H{end_x:.1f}")
    steps = "".join(path)
    area = f"{steps}V{frame.y(0):.1f}H{frame.size.left}Z"
    return [
        Markup('<path class="area" d="{}"/>').format(area),
        Markup('<path class="line" d="{}"/>').format(steps),
        Markup('<line class="open" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(end_x, end_x, y, end_y),
        Markup('<circle class="now" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(end_x, end_y),
    ]


def _thinned(frame: _Frame, points: Sequence[Point]) -> list[Point]:
    """At most four points for each pixel of width: its first, lowest, highest and last, in their order."""
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(int(frame.x(point[0])), []).append(point)
    kept: list[Point] = []
    for column in columns.values():
        lowest, highest = min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1])
        chosen = [column[0], lowest, highest, column[-1]]
        kept += sorted({id(point): point for point in chosen}.values(), key=lambda p: p[0])
    return kept
