"""Which shares trade too little: by the median of their last sessions, since one busy day makes no liquid share."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from bridge.core.bar import Interval
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import combine
from bridge.market.bars.times import first_second
from bridge.market.universe import Liquidity

_RUPEES_IN_CRORE = 10_000_000


def find_illiquid(
    store: BarStore, symbols: Sequence[str], days: Sequence[date], liquidity: Liquidity
) -> dict[date, dict[str, str]]:
    """Why each of them that trades too little on a day does, by the daily bars before it, or by minutes where there are none.

    A share without bars of half of the sessions is left out too: nobody knows what it trades. `days` rise.
    """
    reach = timedelta(days=2 * liquidity.days + 15)
    begin, end = days[0] - reach, days[-1] - timedelta(days=1)
    spans = [(first_second(day - reach), first_second(day)) for day in days]
    found: dict[date, dict[str, str]] = {day: {} for day in days}
    for symbol, daily in zip(symbols, store.read_each(Interval.DAY, symbols, begin, end), strict=True):
        parts = [daily.between(*span) for span in spans]
        if not all(len(part) for part in parts):
            minutes = combine(Interval.DAY, store.series(Interval.MINUTE, symbol, begin, end))
            parts = [part if len(part) else minutes.between(*span) for part, span in zip(parts, spans, strict=True)]
        for day, part in zip(days, parts, strict=True):
            if why := _judge(part.take(slice(-liquidity.days, None)), liquidity):
                found[day][symbol] = why
    return found


def _judge(series: Series, liquidity: Liquidity) -> str:
    if 2 * len(series) < liquidity.days:
        return f"only {len(series)} of the last {liquidity.days} sessions have a bar"
    turnover, volume = float(np.median(series.close * series.volume)), float(np.median(series.volume))
    if liquidity.min_turnover is not None and turnover < liquidity.min_turnover:
        least = liquidity.min_turnover / _RUPEES_IN_CRORE
        return f"turnover ₹{turnover / _RUPEES_IN_CRORE:.2f} crore a day, less than {least.normalize():f}"
    if liquidity.min_volume is not None and volume < liquidity.min_volume:
        return f"volume {volume:.0f} a day, less than {liquidity.min_volume.normalize():f}"
    return ""
