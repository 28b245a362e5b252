"""The report: its figures follow from what was traded, its page is whole without a script or a server."""

import re
from datetime import date
from decimal import Decimal

import pytest

from bridge.core.bar import Interval
from bridge.core.enums import Side
from bridge.market.bars.synthetic import weekdays
from bridge.replay.benchmarks import Quote, hold
from bridge.replay.report import Stamp, make_report
from bridge.web.replay_report import render_report
from tests.support.replays import minute_times, play, store_of, walk

A, B = "NSE:AAA", "NSE:BBB"
DAYS = weekdays(date(2026, 6, 1), date(2026, 6, 12))
CROSS = {
    "name": "cross", "universe": [A, B], "interval": "15m", "size": {"quantity": 5},
    "long": {"enter": "cross_over(close, sma(close, 3))", "leave": "cross_under(close, sma(close, 3))"},
}  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder, times = tmp_path_factory.mktemp("report"), minute_times(DAYS)
    store = store_of(folder, Interval.MINUTES_15, {A: walk(1, times), B: walk(2, times)})
    return play(folder, store, CROSS, days=DAYS, cash=Decimal(100_000), slippage_bps=Decimal(5), charges=True)


def test_equity_is_money_and_what_is_held_by_plain_bookkeeping(outcome):
    """At the last day's end: opening money, less buys, plus sales, less charges, plus what is held at its last close."""
    money, held = Decimal(100_000), {A: Decimal(0), B: Decimal(0)}
    for fill in outcome.fills:
        money -= fill.side.sign * fill.last_qty * fill.last_px + fill.charges
        held[fill.symbol] += fill.side.sign * fill.last_qty
    times = minute_times(DAYS)
    last = {A: walk(1, times).close[-1], B: walk(2, times).close[-1]}
    worth = money + sum(held[symbol] * Decimal(repr(float(last[symbol]))) for symbol in held)
    assert outcome.days[-1].equity == pytest.approx(float(worth), abs=1e-6)
    assert [point.day for point in outcome.days] == list(DAYS)


def test_the_parts_of_the_report_add_up(outcome):
    """Attributions and trades sum to the same profit; slippage is what was ordered at against what was got."""
    report = make_report(outcome, benchmarks=[], stamps=[])
    closed = [row for row in report["trade_list"] if row["left_at"] is not None]
    assert len(closed) > 20
    total = sum(row["pnl"] for row in closed)
    for name in ("by_definition", "by_symbol", "by_hour"):
        assert sum(row["pnl"] for row in report[name]) == pytest.approx(total)
        assert sum(row["trades"] for row in report[name]) == len(closed) == report["trades"]["count"]
    assert report["charges"] == pytest.approx(sum(float(fill.charges) for fill in outcome.fills))
    assert report["charges"] > 0
    assert sum(row["count"] for row in report["signals"]) == len(outcome.alerts)
    assert report["slippage"]["fills"] == len(outcome.fills)


def test_the_page_is_whole_and_says_its_stamps(outcome):
    """No script, nothing fetched, every stamp and figure there, and what came from outside escaped."""
    stamps = [Stamp(tone="warn", message="made up <b>&")]
    page = render_report(make_report(outcome, benchmarks=[], stamps=stamps))
    assert "made up &lt;b&gt;&amp;" in page
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="[^"]*"|url\(|@import', page) == []
    drawings = ("equity wide", "equity narrow", "drawdown wide", "drawdown narrow")
    assert [page.count(f'<svg class="curve {one}"') for one in drawings] == [1, 1, 1, 1]
    assert f"{len(outcome.days)} trading days" in page


def test_a_replay_without_a_trade_has_a_report_too(tmp_path):
    """Every figure that is not defined is a dash, and nothing is divided by nothing."""
    source = {**CROSS, "long": {"enter": "close > 1000000"}}
    quiet = play(tmp_path, store_of(tmp_path, Interval.MINUTES_15, {A: walk(1, minute_times(DAYS))}), source, days=DAYS)
    report = make_report(quiet, benchmarks=[], stamps=[])
    assert report["trades"]["profit_factor"] is None
    assert report["curve"]["sharpe"] is None
    assert "no order was filled" in render_report(report)


def test_holding_pays_for_buying_and_selling():
    """By hand: whole units at the open and slippage, charges both ways, sold at the last close."""
    days = [date(2026, 6, 1), date(2026, 6, 2)]
    prices = {days[0]: {A: Quote(100.0, 110.0), B: Quote(50.0, 50.0)}, days[1]: {A: Quote(110.0, 120.0)}}

    def cost(_symbol, side, _units, _price, _day):
        return Decimal(20) if side is Side.BUY else Decimal(30)

    found = hold("both", [A, B], days, Decimal(2_000), prices, slippage_bps=Decimal(100), cost=cost)
    assert found is not None
    # A: 9 units at 101 (909 + 20 of 1000), 71 left; B: 19 units at 50.5 (959.5 + 20), 20.5 left.
    assert found.equity[0] == pytest.approx(71 + 9 * 110 + 20.5 + 19 * 50)
    assert found.equity[1] == pytest.approx(71 + 9 * 118.8 - 30 + 20.5 + 19 * 49.5 - 30)
    assert found.charges == 100
    assert hold("none", ["NSE:NONE"], days, Decimal(1), prices, slippage_bps=Decimal(0), cost=cost) is None
