"""Which shares trade too little: by the median of their last sessions, since one busy day makes no liquid share."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from bridge.core.bar import Interval
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import combine
from bridge.market.universe import Liquidity

_RUPEES_IN_CRORE = 10_000_000


def find_illiquid(store: BarStore, symbols: Sequence[str], day: date, liquidity: Liquidity) -> dict[str, str]:
    """Why each of them that trades too little does, by the daily bars before `day`, or by minutes where there are none.

    A share without bars of half of the sessions is left out too: nobody knows what it trades.
    """
    begin, end = day - timedelta(days=2 * liquidity.days + 15), day - timedelta(days=1)
    found = {}
    daily = store.read_each(Interval.DAY, symbols, begin, end)
    minutes = dict(zip(symbols, store.read_each(Interval.MINUTE, symbols, begin, end), strict=True))
    for symbol, series in zip(symbols, daily, strict=True):
        last = (series if len(series) else combine(Interval.DAY, minutes[symbol])).take(slice(-liquidity.days, None))
        why = _judge(last, liquidity)
        if why:
            found[symbol] = why
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
