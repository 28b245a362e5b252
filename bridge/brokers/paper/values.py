"""The paper venue's own books: immutable values, kept apart from the bridge's so that the two can disagree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType, Product, Side, TimeInForce
from bridge.core.money import ONE, ZERO
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.protection import Leg, Legs
from bridge.core.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPolicy:
    """How the venue treats one account.

    `slippage_bps` goes against the trader on every fill that takes the price. `fill_ratio` is the part of what is left
    that each new price fills. `leverage` is how many rupees of order one rupee carries, by product; else one.
    """

    slippage_bps: Decimal = ZERO
    fill_ratio: Decimal = ONE
    leverage: Mapping[Product, Decimal] = field(default_factory=dict)
    charges: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as it comes in; `tag` is the sender's own name for it, and may repeat."""

    tag: str
    symbol: str
    product: Product
    side: Side
    order_qty: Decimal
    ord_type: OrdType = OrdType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    legs: Legs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOrder:
    """An order in the venue's book; `status` is PLACED, PARTIAL or one of the closed ones.

    `opening_qty` units of it enlarge the position and block `unit_margin` rupees each until filled. `is_triggered`: its
    stop price was met. `is_taking`: it could trade when it arrived, so it gets the price when that is better than its
    limit. `fills` are its executions as reports. An order with `legs` waits, for longer than a day, until one of them triggers;
    from then on it is a limit order at that leg's `price`, and the other leg is gone.
    """

    account: str
    broker_order_id: str
    tag: str
    symbol: str
    product: Product
    side: Side
    order_qty: Decimal
    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None
    trigger_price: Decimal | None
    placed_at: datetime
    updated_at: datetime
    status: OrderStatus = OrderStatus.PLACED
    is_triggered: bool = False
    is_taking: bool = False
    opening_qty: Decimal = ZERO
    unit_margin: Decimal = ZERO
    cum_qty: Decimal = ZERO
    cum_value: Decimal = ZERO
    charges: Decimal = ZERO
    message: str = ""
    fills: tuple[Report, ...] = ()
    legs: Legs | None = None

    @property
    def is_waiting(self) -> bool:
        """True while neither of its legs has triggered."""
        return self.legs is not None and not self.is_triggered

    def leg_at(self, price: Decimal) -> Leg | None:
        """The leg that this price triggers; None for an order that has none, or none more."""
        if self.legs is None or self.is_triggered:
            return None
        stop, target = self.legs.stop, self.legs.target
        sells = self.side is Side.SELL
        if stop is not None and (price <= stop.trigger_px if sells else price >= stop.trigger_px):
            return stop
        if target is not None and (price >= target.trigger_px if sells else price <= target.trigger_px):
            return target
        return None

    @property
    def leaves_qty(self) -> Decimal:
        """Units that can still be filled; zero once the order is closed."""
        return ZERO if self.status.is_closed else self.order_qty - self.cum_qty

    @property
    def margin(self) -> Decimal:
        """Rupees that the rest of the order blocks; what closes a position is taken to fill first."""
        return self.unit_margin * min(self.leaves_qty, self.opening_qty) if self.unit_margin else ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPosition:
    """A position that is not flat: signed units, signed rupees paid for them (without multiplier), margin blocked."""

    account: str
    symbol: str
    product: Product
    multiplier: Decimal
    quantity: Decimal
    cost: Decimal
    margin: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperAccount:
    """The money of an account. `day` (YYYYMMDD) is the day it stands at, `last_number` counts its orders since ever.

    Value held is not taken out of `cash`, it is blocked as margin: equity = cash + unrealised profit at any moment.
    """

    account: str
    opening_cash: Decimal
    realized_pnl: Decimal = ZERO
    charges: Decimal = ZERO
    position_margin: Decimal = ZERO
    order_margin: Decimal = ZERO
    last_number: int = 0
    day: int = 0

    @property
    def cash(self) -> Decimal:
        """What was paid in, plus profit taken, less charges."""
        return self.opening_cash + self.realized_pnl - self.charges


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the venue looks at for one command of one account, for reading only.

    `positions` are the account's open ones; `working` its working orders by id, of the one symbol that the command is
    about, or of all where it is about the account.
    """

    account: PaperAccount
    positions: Mapping[PositionKey, PaperPosition]
    working: Mapping[str, PaperOrder]
    price_of: Callable[[str], Decimal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a command makes of the books: values to put in place (None: gone) and what to tell the trader.

    `refusal` says why the command was not taken; nothing has changed then.
    """

    account: PaperAccount
    orders: tuple[PaperOrder, ...] = ()
    positions: Mapping[PositionKey, PaperPosition | None] = field(default_factory=dict)
    reports: tuple[Report, ...] = ()
    refusal: str = ""
