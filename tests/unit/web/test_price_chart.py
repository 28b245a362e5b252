"""The drawing of closes and terms: every known value within the frame, gaps stay gaps."""

import math
import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.scanner.traces import Trace, Traces
from bridge.web.price_chart import draw_prices

START = datetime(2026, 11, 20, 3, 45, tzinfo=UTC)
VALUES = st.floats(0.05, 1e6) | st.just(math.nan)


def traces(closes: list[float], lines: list[list[float]], *, is_daily: bool = False) -> Traces:
    return Traces(
        opened_at=tuple(START + timedelta(minutes=15 * number) for number in range(len(closes))),
        closes=tuple(closes),
        lines=tuple(Trace(name=f"line {number}", values=tuple(line)) for number, line in enumerate(lines)),
        is_daily=is_daily,
    )


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=40))
def test_every_known_value_lies_in_the_frame(rows: list[tuple[float, float]]) -> None:
    closes, line = [row[0] for row in rows], [row[1] for row in rows]
    for drawing in draw_prices("NSE:SBIN", traces(closes, [line])):
        for curve, values in zip(drawing.curves, (closes, line), strict=True):
            points = re.findall(r"[ML]([\d.]+) ([\d.]+)", curve.path)
            assert len(points) == sum(map(math.isfinite, values))
            assert all(0 <= float(x) <= drawing.size.width and 0 <= float(y) <= drawing.size.height for x, y in points)
            assert "nan" not in curve.path


def test_a_gap_is_not_bridged() -> None:
    (wide, _narrow) = draw_prices("NSE:SBIN", traces([1.0, 2.0, math.nan, 3.0, 4.0], []))
    assert wide.curves[0].path.count("M") == 2


def test_higher_is_above_and_the_latest_is_told() -> None:
    (wide, narrow) = draw_prices("NSE:SBIN", traces([10.0, 12.5], [[11.0, math.nan]]))
    first, last = (float(y) for y in re.findall(r" ([\d.]+)", wide.curves[0].path))
    assert last < first
    assert [curve.latest for curve in wide.curves] == ["12.50", "–"]
    assert "now 12.50" in narrow.label


def test_days_are_labelled_with_their_year() -> None:
    """Of shorter bars the time is what counts."""
    assert {tick.text for tick in draw_prices("X", traces([1.0] * 4, [], is_daily=True))[0].time_ticks} == {"20 Nov 2026"}
    assert draw_prices("X", traces([1.0] * 4, []))[0].time_ticks[0].text == "20 Nov 09:15"


def test_without_bars_there_is_no_drawing() -> None:
    assert draw_prices("X", None) == ()
    assert draw_prices("X", traces([1.0], [])) == ()
