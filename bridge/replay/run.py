"""One replay from end to end: definitions and bars in, what was decided and filled out. Alone in its process and thread."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

from bridge.core.bar import Interval
from bridge.core.clock import IST
from bridge.core.enums import Product
from bridge.core.errors import BridgeError
from bridge.core.fill import Fill
from bridge.core.views import AlertView, TradeView
from bridge.market.listing import Listing
from bridge.replay.bridge import ReplayBridge, replay_settings
from bridge.replay.engine import DayPoint, Engine, Raised, Track
from bridge.replay.history import History, Row
from bridge.replay.journal import write_journal
from bridge.replay.loop import VirtualClock, VirtualLoop
from bridge.scanner.columns import Columns
from bridge.scanner.definition import Definition
from bridge.scanner.programs import GroupKey, Outside, make_groups
from bridge.settings import Settings

_STARTS = time(8, 0)
Tell = Callable[[date], None]


class ReplayError(BridgeError):
    """A replay that cannot be made; the message says what is missing and the mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to replay. `begin` and `end` are days, both counted; money is rupees.

    `symbols` by definition are all that belong to its universe on any of the days, and `outside` tells which of them do not
    belong when. `untrusted` are by interval the symbols whose bars are doubted, with the reason.
    """

    definitions: tuple[Definition, ...]
    symbols: Mapping[str, tuple[str, ...]]
    begin: date
    end: date
    outside: Mapping[str, Outside] = field(default_factory=dict)
    untrusted: Mapping[Interval, Mapping[str, str]] = field(default_factory=dict)
    cash: Decimal = Decimal(1_000_000)
    slippage_bps: Decimal = Decimal(2)
    product: Product | None = None
    no_limits: bool = False
    charges: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a replay. `left` are wishes whose symbol had no bar any more; `faults` are ours."""

    plan: Plan
    journal: tuple[str, ...]
    raised: tuple[Raised, ...]
    alerts: tuple[AlertView, ...]
    fills: tuple[Fill, ...]
    trades: tuple[TradeView, ...]
    days: tuple[DayPoint, ...]
    bars: int
    left: int
    faults: tuple[str, ...]


def replay_bars(settings: Settings, plan: Plan, history: History, listing: Listing, tell: Tell = lambda _day: None) -> Outcome:
    """Replay the plan over these bars; ReplayError when there are none."""
    symbols = list(dict.fromkeys(s for one in plan.definitions for s in plan.symbols[one.name]))
    days = _days(plan, history)
    with tempfile.TemporaryDirectory(prefix="bridge-replay-", dir=memory_folder()) as folder:
        ours = replay_settings(
            settings, Path(folder), strategies=[one.strategy for one in plan.definitions], cash=plan.cash,
            slippage_bps=plan.slippage_bps, product=plan.product, no_limits=plan.no_limits, charges=plan.charges,
        )  # fmt: skip
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            clock = VirtualClock(loop, datetime.combine(days[0], _STARTS, IST))
            bridge = ReplayBridge(ours, clock, listing=listing, symbols=symbols, days=days)
            return runner.run(_run(bridge, clock, plan, history, Columns(settings.columns_dir()), tell))


async def _run(
    bridge: ReplayBridge, clock: VirtualClock, plan: Plan, history: History, columns: Columns, tell: Tell
) -> Outcome:
    groups = make_groups(
        plan.definitions, lambda one: plan.symbols[one.name], lambda one: plan.outside.get(one.name, ()), plan.untrusted
    )
    tracks = [Track(group=group, rows=_rows(group.key, plan, history), since=plan.begin) for group in groups]
    known = {symbol: found for names in plan.symbols.values() for symbol in names if (found := bridge.catalog.get(symbol))}
    engine = Engine(bridge, clock, tracks, lots={symbol: one.lot for symbol, one in known.items()}, columns=columns, tell=tell)
    await bridge.start()
    await engine.run()
    reads = bridge.store.reads
    outcome = Outcome(
        plan=plan,
        journal=tuple(write_journal(bridge.store)),
        raised=tuple(engine.raised),
        alerts=tuple(reads.all_alerts()),
        fills=tuple(reads.all_fills()),
        trades=tuple(reads.all_trades()),
        days=tuple(engine.days),
        bars=engine.bars,
        left=sum(len(track.pending) for track in tracks),
        faults=tuple(bridge.faults),
    )
    await bridge.stop()
    return outcome


def _rows(key: GroupKey, plan: Plan, history: History) -> Iterator[Row]:
    joined = joined_days(key.symbols, key.outside)
    members = [one for one, day in zip(key.symbols, joined, strict=True) if day <= plan.begin] if joined else key.symbols
    return history.rows(key.interval, key.symbols, history.warm_day(key.interval, members, plan.begin), plan.end, joined)


def joined_days(symbols: Sequence[str], outside: Outside) -> list[date]:
    """For each symbol the first day on which it belongs; nothing when all of them do from the beginning."""
    if not outside or not outside[0][1]:
        return []
    first = {symbol: day for day, names in reversed(outside[1:]) for symbol in symbols if symbol not in names}
    return [first[symbol] if symbol in outside[0][1] else date.min for symbol in symbols]


def _days(plan: Plan, history: History) -> Sequence[date]:
    found: set[date] = set()
    for definition in plan.definitions:
        symbols, outside = plan.symbols[definition.name], plan.outside.get(definition.name, ())
        joined = joined_days(symbols, outside)
        found |= history.days(definition.interval, symbols, plan.begin, plan.end, joined)
    if not found:
        kinds = ", ".join(sorted({str(one.interval) for one in plan.definitions}))
        raise ReplayError(
            f"there are no {kinds} bars of the universe from {plan.begin} to {plan.end}: bridge bars fetch, import or make"
        )
    return sorted(found)


def memory_folder() -> str | None:
    """Where files are made that no disk has to keep."""
    shm = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    return str(shm) if shm.is_dir() else None
