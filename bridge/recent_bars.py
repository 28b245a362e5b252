"""Recent bars: what the page of one symbol draws, read from the stored bars up to the one that was decided on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.core.bar import Interval
from bridge.core.clock import IST

if TYPE_CHECKING:
    from bridge.scanner.definition import Definition
    from bridge.scanner.traces import Traces

SHOWN = 120  # as many as a phone can tell apart
_WARM = 600  # what an exponential mean needs to forget how it was seeded
_MINUTES_A_DAY = 375
_DAYS_OFF = 1.7  # weekends and holidays: days of the calendar for each day of trading


def trace_recent(bars_file: Path, definition: "Definition", symbol: str, until: datetime) -> "Traces | None":
    """The latest bars that had closed by `until`; None where there are none. Reads a file: not for the event loop."""
    if not bars_file.is_file():
        return None
    from bridge.market.bars.series import BarsError
    from bridge.market.bars.store import BarStore
    from bridge.scanner.terms import Bars
    from bridge.scanner.traces import trace

    interval = definition.interval
    end = until.astimezone(IST).date()
    try:
        series = BarStore(bars_file).series(interval, symbol, end - timedelta(days=_days_back(interval)), end)
    except BarsError:  # the chart is beside the point; `bridge bars doctor` tells what is wrong with the file
        return None
    # Of days only those are stored that are over, and when exactly each closed is the calendar's business.
    length_s = 1 if interval is Interval.DAY else interval.seconds
    series = series.between(0, int(until.timestamp()) - length_s + 1)
    series = series.take(slice(max(0, len(series) - SHOWN - _WARM), None))
    if not len(series):
        return None
    opened_at = [datetime.fromtimestamp(second, UTC) for second in series.times.tolist()]
    columns = {name: getattr(series, name)[:, None] for name in ("open", "high", "low", "close", "volume")}
    history = Bars.of(**columns, days=[at.astimezone(IST).date() for at in opened_at])
    return trace(definition, history, opened_at, SHOWN)


def _days_back(interval: Interval) -> int:
    minutes = interval.length / timedelta(minutes=1)
    bars_a_day = 1 if interval is Interval.DAY else _MINUTES_A_DAY / minutes
    return int((SHOWN + _WARM) / bars_a_day * _DAYS_OFF) + 10
