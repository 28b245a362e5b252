"""What pages, API and commands show: read-only pictures of what is stored."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.login import LoginView
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow, Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert in the list; `disposition` is None until it has ended. `body` has every credential blanked out."""

    alert_id: str
    received_at: datetime
    source: str
    credential: str
    strategy: str
    symbol: str
    action: str
    body: str
    signal_at: datetime
    disposition: str | None
    code: str
    message: str
    field: str | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of an alert's way, from the audit."""

    seq: int
    at: datetime
    step: str
    code: str
    message: str
    cl_ord_id: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order as it stands, the `part`-th of the `parts` in which it was sent; `terms` says what is not plain about it.

    `legs` are the triggers of a protective order in words, else empty.
    """

    cl_ord_id: str
    tag: str
    alert_id: str
    account: str
    strategy: str
    symbol: str
    product: str
    side: str
    ord_type: str
    order_qty: Decimal
    cum_qty: Decimal
    avg_px: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    legs: str
    status: OrderStatus
    broker_order_id: str | None
    message: str
    received_at: datetime
    created_at: datetime
    sent_at: datetime | None
    updated_at: datetime
    part: int = 1
    parts: int = 1
    terms: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalView:
    """An order at the broker that is not ours, as it was last seen there."""

    account: str
    broker_order_id: str
    symbol: str
    product: str
    side: str
    ord_type: str
    order_qty: Decimal
    cum_qty: Decimal
    status: OrderStatus
    updated_at: datetime


def external_view(account: str, row: BookRow) -> ExternalView:
    """The picture of a row of the broker's book."""
    return ExternalView(
        account=account,
        broker_order_id=row.broker_order_id,
        symbol=row.symbol,
        product=row.product.value,
        side=row.side.value,
        ord_type=row.ord_type.value,
        order_qty=row.order_qty,
        cum_qty=row.cum_qty,
        status=row.status,
        updated_at=row.updated_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingView:
    """Shares that lie at the broker from days before, whoever bought them, as last seen; see `Holding`."""

    account: str
    symbol: str
    product: str
    quantity: Decimal
    t1_quantity: Decimal
    used_quantity: Decimal
    authorised_quantity: Decimal
    avg_px: Decimal


def holding_view(account: str, holding: Holding) -> HoldingView:
    """The picture of what a broker holds for a person."""
    return HoldingView(
        account=account,
        symbol=holding.symbol,
        product=holding.product.value,
        quantity=holding.quantity,
        t1_quantity=holding.t1_quantity,
        used_quantity=holding.used_quantity,
        authorised_quantity=holding.authorised_quantity,
        avg_px=holding.avg_px,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """A position at the latest price known; `unrealized_pnl` is None when no price is known."""

    account: str
    symbol: str
    product: str
    quantity: Decimal
    avg_px: Decimal
    realized_pnl: Decimal
    charges: Decimal
    mark_px: Decimal | None
    unrealized_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeView:
    """A round trip; `pnl` is after charges."""

    trade_id: str
    account: str
    symbol: str
    product: str
    strategy: str
    side: str
    status: str
    entry_qty: Decimal
    entry_px: Decimal
    exit_qty: Decimal
    exit_px: Decimal
    pnl: Decimal
    charges: Decimal
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillView:
    """What the day's profit line is drawn from."""

    account: str
    at: datetime
    realized_pnl: Decimal
    charges: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StateView:
    """A trading state that was set; scopes without one are ACTIVE."""

    kind: str
    name: str
    mode: str
    since: datetime
    by: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A minted token; `claims` is JSON."""

    token_id: str
    claims: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account and its broker session now; money in rupees, None where the broker has not said it.

    `login` is None where the broker wants none.
    """

    name: str
    broker: str
    is_paper: bool
    connected: bool
    message: str
    cash: Decimal | None
    available: Decimal | None
    equity: Decimal | None
    day_pnl: Decimal | None
    login: LoginView | None = None
