"""A recorded day of alerts again: the accepted ones of a bridge's store, in their order and at their times, through the bridge.

What had been decided can be held against what is decided now: by the same program, or by one whose settings or rules have
changed. Alerts enter behind the door, as the signals that they were read as: their tokens are not kept. Prices are those of
the alerts; of one without, what it was filled at then, without the slippage of its account, stands for the market.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from bridge.core.alert import Alert
from bridge.core.enums import Disposition, Side, Source
from bridge.core.market import Mark
from bridge.core.views import AlertView
from bridge.feed import put_marks
from bridge.market.listing import Listing
from bridge.replay.bridge import ReplayBridge, recorded_settings
from bridge.replay.journal import write_journal
from bridge.replay.loop import VirtualClock, VirtualLoop
from bridge.replay.run import ReplayError, memory_folder
from bridge.settings import Settings
from bridge.store.backend import Backend
from bridge.store.reads import Reads

BEFORE = timedelta(minutes=1)
# After the last alert: what it waits for has come by then, or its wait is over.
AFTER_S = 120.0
POLL_S = 0.05
# What the bridge raises by itself it raises by itself again.
OWN = frozenset({Source.SQUARE_OFF, Source.PROTECTION})
_NEAR, _STRIDE = timedelta(seconds=2), timedelta(minutes=1)
_BASIS = Decimal(10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An alert as it came, how it ended, and what the market stood at when that is known."""

    alert: Alert
    view: AlertView
    price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One alert then and now: disposition and code, and what was filled, signed, by account."""

    alert_id: str
    at: datetime
    strategy: str
    symbol: str
    action: str
    then: str
    now: str
    filled_then: Mapping[str, Decimal]
    filled_now: Mapping[str, Decimal]

    @property
    def agrees(self) -> bool:
        """True when the same became of it."""
        return self.then == self.now and self.filled_then == self.filled_now


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsOutcome:
    """What became of the recorded alerts now."""

    journal: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    faults: tuple[str, ...]


def read_recorded(database: str, settings: Settings) -> tuple[list[Recorded], Reads]:
    """The accepted alerts of a store, oldest first, and the store to read from; ReplayError when there are none."""
    backend = Backend(database)
    reads = Reads(backend.engine)
    alerts = [alert for alert in reads.alerts_as_they_came() if alert.source not in OWN]
    views = {view.alert_id: view for view in reads.all_alerts()}
    if not alerts:
        raise ReplayError(f"there is no accepted alert in {database}")
    prices = _prices(reads, settings)
    found = [
        Recorded(alert=alert, view=views[alert.alert_id], price=None if alert.signal.price else prices.get(alert.alert_id))
        for alert in alerts
    ]
    return found, reads


def _prices(reads: Reads, settings: Settings) -> dict[str, Decimal]:
    """By alert, about what the market stood at: the first fill without its account's slippage."""
    found: dict[str, Decimal] = {}
    for fill in reads.all_fills():
        account = settings.accounts.get(fill.account)
        slip = (account.slippage_bps if account is not None and account.is_paper else Decimal(0)) / _BASIS
        price = fill.last_px / (1 + slip if fill.side is Side.BUY else 1 - slip)
        found.setdefault(fill.cl_ord_id.partition("-")[0], price.quantize(Decimal("0.01")))
    return found


def replay_alerts(
    settings: Settings, recorded: Sequence[Recorded], reads: Reads, listing: Listing,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> AlertsOutcome:  # fmt: skip
    """Take them again, one after the other at their times, on paper accounts with the names and limits of the settings'."""
    first = recorded[0].alert.received_at
    days = {item.alert.received_at.date() for item in recorded}
    symbols = sorted({item.alert.signal.symbol for item in recorded})
    with tempfile.TemporaryDirectory(prefix="bridge-replay-", dir=memory_folder()) as folder:
        ours = recorded_settings(settings, Path(folder))
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            clock = VirtualClock(loop, first - BEFORE)
            bridge = ReplayBridge(ours, clock, listing=listing, symbols=symbols, days=days)
            return runner.run(_run(bridge, clock, recorded, reads, tell))


async def _run(
    bridge: ReplayBridge, clock: VirtualClock, recorded: Sequence[Recorded], reads: Reads, tell: Callable[[int, int], None]
) -> AlertsOutcome:
    await bridge.start()
    made: dict[str, str] = {}
    for number, item in enumerate(recorded, start=1):
        alert = item.alert
        await _until(bridge, clock, alert.received_at)
        if item.price is not None:
            mark = Mark(symbol=alert.signal.symbol, price=item.price, at=clock.now(), source="replay")
            await bridge.store.write(partial(put_marks, marks=[mark]))
        by = f"{alert.credential} {alert.alert_id}"
        made[alert.alert_id] = await bridge.pipeline.accept_own(alert.signal, alert.source, by, alert.alert_id)
        tell(number, len(recorded))
    await asyncio.sleep(AFTER_S)
    now = {view.alert_id: view for view in bridge.store.reads.all_alerts()}
    then_filled, now_filled = _filled(reads), _filled(bridge.store.reads)
    comparisons = tuple(
        Comparison(
            alert_id=item.alert.alert_id, at=item.alert.received_at, strategy=item.view.strategy, symbol=item.view.symbol,
            action=item.view.action, then=_ending(item.view), now=_ending(now[made[item.alert.alert_id]]),
            filled_then=then_filled.get(item.alert.alert_id, {}), filled_now=now_filled.get(made[item.alert.alert_id], {}),
        )
        for item in recorded
    )  # fmt: skip
    outcome = AlertsOutcome(journal=tuple(write_journal(bridge.store)), comparisons=comparisons, faults=tuple(bridge.faults))
    await bridge.stop()
    return outcome


async def _until(bridge: ReplayBridge, clock: VirtualClock, at: datetime) -> None:
    """Let time pass second by second while an alert is open, and minute by minute, for what goes by the clock, else."""
    while (left := at - clock.now()) > timedelta():
        if left > _NEAR and not bridge.store.ledger.alerts.values:
            clock.jump(min(at - _NEAR, clock.now() + _STRIDE))
            await asyncio.sleep(POLL_S)
        else:
            await asyncio.sleep(min(left.total_seconds(), 1.0))


def _filled(reads: Reads) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = {}
    for fill in reads.all_fills():
        accounts = found.setdefault(fill.cl_ord_id.partition("-")[0], {})
        accounts[fill.account] = accounts.get(fill.account, Decimal(0)) + fill.side.sign * fill.last_qty
    return found


def _ending(view: AlertView) -> str:
    disposition = "open" if view.disposition is None else Disposition(view.disposition).value
    return f"{disposition} {view.code}".rstrip()
