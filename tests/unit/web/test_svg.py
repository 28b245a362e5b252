"""Where everything goes in the day's line."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.clock import IST
from bridge.web.svg import NARROW, WIDE, Drawing, Point, Size, draw_day
from tests.support.clocks import NOON

NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
AMOUNTS = st.decimals(min_value=-10_000_000, max_value=10_000_000, places=2)
SIZES = st.sampled_from([WIDE, NARROW])


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def moves(path: str) -> list[tuple[str, list[float]]]:
    return [(letter, [float(n) for n in NUMBERS.findall(rest)]) for letter, rest in re.findall(r"([MHVZ])([^MHVZ]*)", path)]


def points_of(drawing: Drawing) -> list[tuple[float, float]]:
    """Every corner of the line."""
    x = y = 0.0
    corners = []
    for letter, numbers in moves(drawing.line):
        if letter == "M":
            x, y = numbers
        elif letter == "H":
            x = numbers[0]
        elif letter == "V":
            y = numbers[0]
        corners.append((x, y))
    return corners


def test_the_line_steps_at_each_fill_and_ends_now():
    """Profit is realised at a moment, not along the way to it."""
    drawing = draw_day([(at(0), Decimal(100)), (at(60), Decimal(-50))], at(120), Decimal(-50), WIDE)
    xs = [x for x, _ in points_of(drawing)]
    assert xs == sorted(xs)
    assert [letter for letter, _ in moves(drawing.line)] == list("MHHVHVH")
    assert drawing.now_y == drawing.line_end_y
    assert drawing.tone == "down"


def test_the_total_now_is_a_point_of_its_own():
    """Open positions are in it; a dashed line leads there from the realised profit."""
    drawing = draw_day([(at(0), Decimal(100))], at(5), Decimal(250), WIDE)
    assert float(drawing.now_y) < float(drawing.line_end_y)


def test_a_day_with_an_open_position_and_no_fill_has_a_flat_line():
    """Nothing was realised; the point still tells how it stands."""
    drawing = draw_day([], NOON, Decimal(-10), WIDE)
    assert {y for _, y in points_of(drawing)} == {float(drawing.line_end_y)}
    assert float(drawing.now_y) > float(drawing.line_end_y)


def test_the_axis_is_the_markets_day_in_india():
    """It stands still while the market is open."""
    early = draw_day([(at(-60), Decimal(1))], at(-50), Decimal(1), WIDE)
    late = draw_day([(at(-60), Decimal(1))], at(300), Decimal(1), WIDE)
    assert [tick.text for tick in early.time_ticks] == ["09:00", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]
    assert early.time_ticks == late.time_ticks


def test_outside_of_the_markets_day_the_axis_is_whole_hours():
    """A paper account may trade at any time."""
    night = datetime(2026, 11, 20, 17, 10, tzinfo=UTC)  # 22:40 in India
    drawing = draw_day([(night, Decimal(5))], night + timedelta(minutes=5), Decimal(5), WIDE)
    assert (drawing.time_ticks[0].text, drawing.time_ticks[-1].text) == ("22:00", "23:00")


def test_the_label_tells_it_in_words():
    """Who cannot see the line hears its now, its lowest and its highest."""
    drawing = draw_day([(at(0), Decimal(-5)), (at(1), Decimal("12.5"))], at(2), Decimal(3), WIDE)
    assert drawing.label == "Profit and loss today in rupees: now +3.00, lowest −5.00, highest +12.50."


def test_zero_is_marked():
    """Above it is profit, below it loss."""
    drawing = draw_day([(at(0), Decimal(-500))], at(1), Decimal(700), WIDE)
    assert [tick.text for tick in drawing.value_ticks if tick.is_zero] == ["0"]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (Decimal(100), ["0", "50", "100"]),
        (Decimal(-1234), ["−1,000", "−500", "0"]),
        (Decimal("0.5"), ["0", "0.2", "0.4"]),
        (Decimal(1_200_000), ["0", "500,000", "1,000,000"]),
    ],
)
def test_values_on_the_axis_are_round(value, texts):
    """Ones, twos and fives of a power of ten."""
    drawing = draw_day([(at(0), value)], at(1), value, WIDE)
    assert [tick.text for tick in drawing.value_ticks] == texts


def test_a_busy_day_is_thinned_without_losing_its_extremes():
    """Twenty thousand fills make a path a phone can draw."""
    start = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
    points: list[Point] = [(start + timedelta(seconds=n), Decimal(n % 7)) for n in range(20_000)]
    points[12_345] = (points[12_345][0], Decimal(900))
    drawing = draw_day(points, points[-1][0], Decimal(1), WIDE)
    assert len(drawing.line) < 4 * WIDE.width * 16
    lowest_y = min(y for _, y in points_of(drawing))
    assert lowest_y == pytest.approx(WIDE.top + (WIDE.height - WIDE.top - WIDE.bottom) * 0.12 / 1.24, abs=0.2)


@given(st.lists(st.tuples(st.integers(0, 900), AMOUNTS), max_size=40), AMOUNTS, st.integers(0, 300), SIZES)
def test_everything_stays_inside_the_frame(steps, total, later, size):
    """Whatever the day brings, in both sizes."""
    midnight = datetime(2026, 11, 20, tzinfo=IST)
    points = sorted((midnight + timedelta(minutes=minute), amount) for minute, amount in steps)
    now = (points[-1][0] if points else midnight) + timedelta(minutes=later)
    drawing = draw_day(points, now, total, size)
    assert_inside(drawing, size)


def assert_inside(drawing: Drawing, size: Size) -> None:
    corners = [*points_of(drawing), (float(drawing.now_x), float(drawing.now_y))]
    assert all(size.left <= x <= size.width - size.right for x, _ in corners)
    assert all(size.top - 0.1 <= y <= size.height - size.bottom + 0.1 for _, y in corners)
    assert 1 <= len(drawing.value_ticks) <= 7
    assert 2 <= len(drawing.time_ticks) <= size.labels + 1
    assert all(0 <= float(tick.at) <= size.width for tick in drawing.time_ticks)
