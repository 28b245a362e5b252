"""Trade: one round trip from flat to flat, with its own small state table."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bridge.core.enums import Side
from bridge.core.errors import IllegalTransitionError
from bridge.core.fill import Fill
from bridge.core.money import ZERO, average
from bridge.core.position import PositionKey
from bridge.core.values import evolve


class TradeStatus(StrEnum):
    """Where a round trip stands."""

    OPEN = "OPEN"
    EXIT_PENDING = "EXIT_PENDING"
    CLOSED = "CLOSED"


class TradeEventKind(StrEnum):
    """What can happen to a round trip."""

    EXIT_SENT = "EXIT_SENT"
    EXIT_FAILED = "EXIT_FAILED"
    CLOSED = "CLOSED"


TRADE_TABLE: dict[TradeStatus, dict[TradeEventKind, TradeStatus]] = {
    TradeStatus.OPEN: {
        TradeEventKind.EXIT_SENT: TradeStatus.EXIT_PENDING,
        TradeEventKind.CLOSED: TradeStatus.CLOSED,  # an opposite entry, or a trade by hand, can close it too
    },
    TradeStatus.EXIT_PENDING: {
        TradeEventKind.EXIT_SENT: TradeStatus.EXIT_PENDING,
        TradeEventKind.EXIT_FAILED: TradeStatus.OPEN,  # with an alarm: the position is still there
        TradeEventKind.CLOSED: TradeStatus.CLOSED,
    },
    TradeStatus.CLOSED: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A round trip: `side` is that of the entry; values are rupees of price x quantity; `pnl` is after charges."""

    trade_id: str
    key: PositionKey
    strategy: str
    side: Side
    status: TradeStatus
    opened_at: datetime
    multiplier: Decimal
    entry_qty: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_qty: Decimal = ZERO
    exit_value: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    charges: Decimal = ZERO
    closed_at: datetime | None = None

    @property
    def entry_px(self) -> Decimal:
        """Mean entry price."""
        return average(self.entry_value, self.entry_qty)

    @property
    def exit_px(self) -> Decimal:
        """Mean exit price; zero until something is closed."""
        return average(self.exit_value, self.exit_qty)

    @property
    def pnl(self) -> Decimal:
        """Realised profit after charges."""
        return self.realized_pnl - self.charges


def move_trade(trade: Trade, event: TradeEventKind) -> Trade:
    """The trade after an event; IllegalTransitionError when the table has no such edge."""
    status = TRADE_TABLE[trade.status].get(event)
    if status is None:
        raise IllegalTransitionError(f"{event} cannot happen to a trade that is {trade.status}")
    return trade if status is trade.status else evolve(trade, status=status)


def open_trade(fill: Fill, trade_id: str, key: PositionKey, multiplier: Decimal) -> Trade:
    """A new round trip, still without quantities; its id derives from the execution that opens it."""
    return Trade(
        trade_id=trade_id,
        key=key,
        strategy=fill.strategy,
        side=fill.side,
        status=TradeStatus.OPEN,
        opened_at=fill.transact_time,
        multiplier=multiplier,
    )


def add_entry(trade: Trade, qty: Decimal, px: Decimal, charges: Decimal) -> Trade:
    """The trade with `qty` more units entered at `px`."""
    return evolve(
        trade,
        entry_qty=trade.entry_qty + qty,
        entry_value=trade.entry_value + qty * px,
        charges=trade.charges + charges,
    )


def add_exit(trade: Trade, qty: Decimal, px: Decimal, realized: Decimal, charges: Decimal, at: datetime) -> Trade:
    """The trade with `qty` units closed at `px`; closed when all that was entered is out."""
    moved = evolve(
        trade,
        exit_qty=trade.exit_qty + qty,
        exit_value=trade.exit_value + qty * px,
        realized_pnl=trade.realized_pnl + realized,
        charges=trade.charges + charges,
    )
    if moved.exit_qty < moved.entry_qty:
        return moved
    return evolve(move_trade(moved, TradeEventKind.CLOSED), closed_at=at)
