"""A replay trades as TradingView's Strategy Tester does: orders of a closed bar fill at the next one's open."""

import pytest

from bridge.core.bar import Interval
from tests.support import pine
from tests.support.replays import daily_times, play, store_of, walk

SYMBOL = "NSE:WALK"
RSI = {
    "name": "rsi", "universe": [SYMBOL], "interval": "1d", "size": {"quantity": 10},
    "long": {"enter": "cross_over(rsi(close, 5), 30)"}, "short": {"enter": "cross_under(rsi(close, 5), 70)"},
}  # fmt: skip
MACD = {
    "name": "macd", "universe": [SYMBOL], "interval": "1d", "size": {"quantity": 10},
    "long": {"enter": "cross_over(macd(), macd_signal())"}, "short": {"enter": "cross_under(macd(), macd_signal())"},
}  # fmt: skip


def rsi_signals(close):
    """Long when RSI 5 comes back above 30, short when it comes back below 70."""
    line = pine.rsi(close, 5)
    thirty, seventy = [30.0] * len(close), [70.0] * len(close)
    return pine.crossings(line, thirty), pine.crossings(seventy, line)


def macd_signals(close):
    """Long when MACD crosses over its signal line, short when it crosses under."""
    line, signal, _histogram = pine.macd(close, 12, 26, 9)
    return pine.crossings(line, signal), pine.crossings(signal, line)


def strategy_tester(opens, longs, shorts):
    """The rules of the broker emulator for strategy.entry at market: one position, reversed by the opposite signal.

    Each trade: side, bar and price of entry, bar and price of exit; the last one may be open.
    """
    trades, side, entry = [], 0, (0, 0.0)
    for bar in range(1, len(opens)):
        wanted = 1 if longs[bar - 1] else -1 if shorts[bar - 1] else 0
        if wanted in (0, side):
            continue
        if side:
            trades.append((side, *entry, bar, opens[bar]))
        side, entry = wanted, (bar, opens[bar])
    return trades, (side, *entry)


@pytest.mark.parametrize(("source", "signals"), [(RSI, rsi_signals), (MACD, macd_signals)], ids=["rsi", "macd"])
def test_trades_are_those_of_the_strategy_tester(tmp_path, source, signals):
    """Same sides, same bars, same prices, from the first trade to the one that is open at the end."""
    times, trades_seen = daily_times(), 0
    for seed in (1, 2):
        series = walk(seed, times)
        close, opens = series.close.tolist(), series.open.tolist()
        expected, last = strategy_tester(opens, *signals(close))
        folder = tmp_path / str(seed)
        outcome = play(folder, store_of(folder, Interval.DAY, {SYMBOL: series}), source)
        bar_of = {row: place for place, row in enumerate(times.tolist())}

        def place(at, bar_of=bar_of):
            return bar_of[_midnight(at)]

        found = [
            (1 if t.side == "BUY" else -1, place(t.opened_at), float(t.entry_px), place(t.closed_at), float(t.exit_px))
            for t in outcome.trades if t.closed_at is not None
        ]  # fmt: skip
        assert found == expected
        still = [t for t in outcome.trades if t.closed_at is None]
        assert [(1 if t.side == "BUY" else -1, place(t.opened_at), float(t.entry_px)) for t in still] == [last]
        trades_seen += len(found)
    assert trades_seen >= 4


def _midnight(at):
    return int(at.timestamp() + 19800) // 86400 * 86400 - 19800
