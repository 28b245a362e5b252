"""Signal: the validated wish in an alert. OrderIntent: a signal with account and quantity, before risk."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.protection import Legs, Protect


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What the strategy wants; every field checked at intake.

    `quantity` is in units (None: the strategy's default for entries, everything for exits); `target` is the signed
    position wanted and goes with Action.TARGET only. `state` and `prev` are where the strategy says it stands after and
    before. `side` goes with exits that were written as a buy or a sell: the only side on which they may trade.
    `price` is the limit price of LIMIT and SL orders and otherwise the sender's reference price. `signal_at` is the
    alert's own time, which `is_timed` vouches for, else the time of receipt. `max_notional` is the token's cap in rupees.
    `iceberg_legs` goes with Variety.ICEBERG and `validity_minutes` with TTL; they are zero otherwise.
    `protect` is what is to rest at the broker once the entry has filled.
    Of Action.MODIFY, `quantity` and prices are what is wished and may each be missing, and an `ord_type` of MARKET means any;
    `order` is the `cl_ord_id` of the order meant, where somebody names one.
    `notes` are the keys of the alert that mean nothing to the bridge.
    """

    strategy: str
    symbol: str
    action: Action
    accounts: tuple[str, ...]
    product: Product
    signal_at: datetime
    is_timed: bool = False
    quantity: Decimal | None = None
    target: Decimal | None = None
    state: MarketPosition | None = None
    prev: MarketPosition | None = None
    side: Side | None = None
    ord_type: OrdType = OrdType.MARKET
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    variety: Variety = Variety.REGULAR
    iceberg_legs: int = 0
    validity_minutes: int = 0
    max_notional: Decimal | None = None
    protect: Protect | None = None
    order: str = ""
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """An order as wished, for one account; becomes an Order only with an Approved of the risk engine.

    `reduce_only` says that it may never open or enlarge a position; sizing has capped it at the live position.
    `signal_at` is the alert's own time, `received_at` when the bridge got it. Where the exchange takes only so much in one
    order it is one of `parts`, the `part`-th, counted from 1. `protect` goes with entries; `legs` make a
    protective order (OrdType.GTT), whose `trigger_price` is that of the stop if there is one.
    """

    alert_id: str
    leg: int
    account: str
    strategy: str
    symbol: str
    product: Product
    side: Side
    order_qty: Decimal
    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    signal_at: datetime
    received_at: datetime
    max_notional: Decimal | None = None
    part: int = 1
    parts: int = 1
    variety: Variety = Variety.REGULAR
    iceberg_legs: int = 0
    validity_minutes: int = 0
    protect: Protect | None = None
    legs: Legs | None = None

    @property
    def terms(self) -> str:
        """What is not plain about the order, in words: 'AMO', 'iceberg in 5 legs, for 30 min'; "" for a plain one."""
        words = {Variety.REGULAR: "", Variety.AMO: "AMO", Variety.ICEBERG: f"iceberg in {self.iceberg_legs} legs"}[self.variety]
        if self.time_in_force is TimeInForce.DAY:
            return words
        life = f"for {self.validity_minutes} min" if self.time_in_force is TimeInForce.TTL else self.time_in_force.value
        return f"{words}, {life}" if words else life
