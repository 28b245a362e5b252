"""What rests meets each later bar in the worse order: of a stop and a target in one bar the stop is met."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pytest

from bridge.core.clock import IST
from bridge.core.enums import Action, OrdType, Product, Source
from bridge.core.protection import Level, Protect
from bridge.core.signal import Signal
from bridge.market.listing import list_in_memory
from bridge.replay.bridge import ACCOUNT, ReplayBridge, replay_settings
from bridge.replay.engine import Engine, Track
from bridge.replay.history import Row
from bridge.replay.loop import VirtualClock, VirtualLoop
from bridge.scanner.columns import Columns
from bridge.scanner.definition import read_definition
from bridge.scanner.programs import make_groups
from tests.support.rigs import NO_CHARGES, make_settings

A = "NSE:SBIN"
DAY = date(2026, 6, 1)
QUIET = read_definition(
    {"name": "quiet", "strategy": "demo", "universe": [A], "interval": "15m", "long": {"enter": "close > 1000000"}}
)


def rows(*bars):
    """Quarter hours from 09:15 on: open, high, low, close."""
    for number, bar in enumerate(bars):
        opened = datetime.combine(DAY, time(9, 15), IST).astimezone(UTC)
        begins, ends = (opened.timestamp() + 900 * n for n in (number, number + 1))
        fields = np.array([*bar, 1000.0]).reshape(5, 1)
        yield Row(datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC), DAY, fields, number == 0, False)


def trade_over(folder, bars, signal):
    """Raise one signal at the first bar's open, walk over all, and give the trades."""
    settings = make_settings(folder, accounts={"paper": NO_CHARGES})
    ours = replay_settings(
        settings, folder / "own", strategies=["demo"], cash=Decimal(1_000_000), slippage_bps=Decimal(0), no_limits=True,
        product=Product.CNC, charges=False,
    )  # fmt: skip

    async def run(clock, bridge):
        await bridge.start()
        track = Track(
            group=make_groups([QUIET], lambda _one: (A,))[0], rows=iter([replace(bars[1], is_first=True), *bars[2:]]), since=DAY
        )
        engine = Engine(bridge, clock, [track], lots={}, columns=Columns(folder))
        await engine._act(bars[0].opened_at, {A: float(bars[0].fields[0, 0])}, [])
        await bridge.pipeline.accept_own(signal(clock.now()), Source.SIGNED, "test", "one")
        await engine._act(bars[0].closed_at, {A: float(bars[0].fields[3, 0])}, [])
        await engine.run()
        trades = bridge.store.reads.all_trades()
        await bridge.stop()
        assert bridge.faults == []
        return trades

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop, datetime.combine(DAY, time(9), IST))
        bridge = ReplayBridge(ours, clock, listing=list_in_memory([]), symbols=[A], days=[DAY])
        return runner.run(run(clock, bridge))


def entry(action, stop, target):
    def signal(at):
        return Signal(
            strategy="demo", symbol=A, action=action, accounts=(ACCOUNT,), product=Product.CNC, signal_at=at,
            quantity=Decimal(10),
            protect=Protect(stop_loss=Level(price=Decimal(stop)), take_profit=Level(price=Decimal(target))),
        )  # fmt: skip

    return signal


@pytest.mark.parametrize(
    ("last", "wins"),
    [((100, 107, 93, 100), False), ((100, 107, 99, 106), True), ((100, 101, 93, 94), False)],
    ids=["both", "target alone", "stop alone"],
)
def test_of_a_stop_and_a_target_in_one_bar_the_stop_is_met(tmp_path, last, wins):
    """A bar that touches both counts as a loss; one that touches one of them ends the trade there."""
    bars = list(rows((100, 100, 100, 100), (100, 102, 98, 101), last, (100, 100, 100, 100)))
    (trade,) = trade_over(tmp_path, bars, entry(Action.BUY, "95", "105"))
    assert (trade.entry_px, trade.status) == (100, "CLOSED")
    assert (trade.exit_px > 100) is wins
    assert trade.closed_at.astimezone(IST).strftime("%H:%M") in ("09:48", "09:52", "09:56")


def test_a_limit_that_the_bar_does_not_reach_does_not_fill(tmp_path):
    """Neither the low before its time nor a low above it fills it; the first bar at or below does, at the limit."""

    def signal(at):
        return Signal(
            strategy="demo", symbol=A, action=Action.BUY, accounts=(ACCOUNT,), product=Product.CNC, signal_at=at,
            quantity=Decimal(10), ord_type=OrdType.LIMIT, price=Decimal(96),
        )  # fmt: skip

    bars = list(rows((100, 101, 90, 100), (100, 102, 97, 101), (101, 103, 95, 99)))
    (trade,) = trade_over(tmp_path, bars, signal)
    assert trade.entry_px == 96
    assert trade.opened_at.astimezone(IST).strftime("%H:%M") >= "09:45"
    assert trade_over(tmp_path / "b", bars[:2], signal) == []
