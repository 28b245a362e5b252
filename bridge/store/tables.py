"""The tables. Money and quantities are decimal text, times microseconds since 1970 UTC; rows never leave this package."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel


def _text(*, primary_key: bool = False) -> Column[str]:
    return Column(Text, primary_key=primary_key, nullable=False)


def _maybe_text() -> Column[str]:
    return Column(Text, nullable=True)


def _us(*, primary_key: bool = False) -> Column[int]:
    return Column(BigInteger, primary_key=primary_key, nullable=False, autoincrement=False)


def _maybe_us() -> Column[int]:
    return Column(BigInteger, nullable=True)


class AlertRow(SQLModel, table=True):
    """One delivery that was authentic. `disposition` stays null until the alert has ended."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index(
            "alerts_open",
            "alert_id",
            sqlite_where=text("disposition IS NULL"),
        ),
    )

    alert_id: str = Field(sa_column=_text(primary_key=True))
    received_at: int = Field(sa_column=_us())
    source: str = Field(sa_column=_text())
    credential: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    action: str = Field(sa_column=_text())
    body: str = Field(sa_column=_text())
    signal: str = Field(sa_column=_text())
    signal_at: int = Field(sa_column=_us())
    attempts: int = Field(sa_column=Column(SmallInteger, nullable=False))
    disposition: str | None = Field(sa_column=_maybe_text())
    code: str = Field(sa_column=_text())
    message: str = Field(sa_column=_text())
    field: str | None = Field(sa_column=_maybe_text())
    ended_at: int | None = Field(sa_column=_maybe_us())


class ClaimRow(SQLModel, table=True):
    """The fingerprint of an accepted alert; the primary key is what makes a repetition visible."""

    __tablename__ = "claims"

    bucket: int = Field(sa_column=_us(primary_key=True))
    key: bytes = Field(sa_column=Column(LargeBinary, primary_key=True, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    alert_id: str = Field(sa_column=_text())
    received_at: int = Field(sa_column=_us())


class OrderRow(SQLModel, table=True):
    """An order as it stands; its history is in the audit. `cl_ord_id` begins with the alert's id, so its index finds both.

    `protect` and `legs` are JSON: what an entry wants to have rest, and what a protective order has.
    `replace` is JSON, a change that was asked for: an order counts as open until that is settled too.
    """

    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_open", "cl_ord_id", sqlite_where=text("is_open = 1")),
        Index("orders_tag", "tag"),
        # Protective orders that ended today are loaded at start too: their fills have the broker's id of another order.
        Index(
            "orders_protective",
            "updated_at",
            sqlite_where=text("legs IS NOT NULL"),
        ),
    )

    cl_ord_id: str = Field(sa_column=_text(primary_key=True))
    tag: str = Field(sa_column=_text())
    alert_id: str = Field(sa_column=_text())
    leg: int = Field(sa_column=Column(SmallInteger, nullable=False))
    account: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    product: str = Field(sa_column=_text())
    side: str = Field(sa_column=_text())
    ord_type: str = Field(sa_column=_text())
    time_in_force: str = Field(sa_column=_text())
    order_qty: str = Field(sa_column=_text())
    price: str | None = Field(sa_column=_maybe_text())
    trigger_price: str | None = Field(sa_column=_maybe_text())
    reduce_only: int = Field(sa_column=Column(SmallInteger, nullable=False))
    signal_at: int = Field(sa_column=_us())
    received_at: int = Field(sa_column=_us())
    max_notional: str | None = Field(sa_column=_maybe_text())
    status: str = Field(sa_column=_text())
    is_open: int = Field(sa_column=Column(SmallInteger, nullable=False))
    cum_qty: str = Field(sa_column=_text())
    cum_value: str = Field(sa_column=_text())
    avg_px: str = Field(sa_column=_text())
    broker_order_id: str | None = Field(sa_column=_maybe_text())
    exec_ids: str = Field(sa_column=_text())
    sends: int = Field(sa_column=Column(SmallInteger, nullable=False))
    sent_at: int | None = Field(sa_column=_maybe_us())
    code: str = Field(sa_column=_text())
    message: str = Field(sa_column=_text())
    created_at: int = Field(sa_column=_us())
    updated_at: int = Field(sa_column=_us())
    part: int = Field(sa_column=Column(SmallInteger, nullable=False))
    parts: int = Field(sa_column=Column(SmallInteger, nullable=False))
    variety: str = Field(sa_column=_text())
    iceberg_legs: int = Field(sa_column=Column(SmallInteger, nullable=False))
    validity_minutes: int = Field(sa_column=Column(SmallInteger, nullable=False))
    protect: str | None = Field(sa_column=_maybe_text())
    legs: str | None = Field(sa_column=_maybe_text())
    replace: str | None = Field(sa_column=_maybe_text())
    replaces: int = Field(sa_column=Column(SmallInteger, nullable=False))
    terms_at: int | None = Field(sa_column=_maybe_us())


class ProtectionRow(SQLModel, table=True):
    """What a strategy's share of a position is protected by; `protect` is JSON: a price or a percentage for each level."""

    __tablename__ = "protections"

    protection_id: str = Field(sa_column=_text(primary_key=True))
    account: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    product: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    side: str = Field(sa_column=_text())
    protect: str = Field(sa_column=_text())
    entry_px: str = Field(sa_column=_text())
    alert_id: str = Field(sa_column=_text())
    leg: int = Field(sa_column=Column(SmallInteger, nullable=False))
    status: str = Field(sa_column=_text())
    order_id: str = Field(sa_column=_text())
    orders: int = Field(sa_column=Column(SmallInteger, nullable=False))
    message: str = Field(sa_column=_text())
    created_at: int = Field(sa_column=_us())
    updated_at: int = Field(sa_column=_us())


class FillRow(SQLModel, table=True):
    """One execution; unique by account and the broker's execution id."""

    __tablename__ = "fills"
    __table_args__ = (Index("fills_time", "transact_time"),)

    account: str = Field(sa_column=_text(primary_key=True))
    exec_id: str = Field(sa_column=_text(primary_key=True))
    cl_ord_id: str = Field(sa_column=_text())
    broker_order_id: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    product: str = Field(sa_column=_text())
    side: str = Field(sa_column=_text())
    last_qty: str = Field(sa_column=_text())
    last_px: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    realized_pnl: str = Field(sa_column=_text())
    transact_time: int = Field(sa_column=_us())


class PositionRow(SQLModel, table=True):
    """Net quantity per account, instrument and product."""

    __tablename__ = "positions"

    account: str = Field(sa_column=_text(primary_key=True))
    symbol: str = Field(sa_column=_text(primary_key=True))
    product: str = Field(sa_column=_text(primary_key=True))
    multiplier: str = Field(sa_column=_text())
    quantity: str = Field(sa_column=_text())
    cost: str = Field(sa_column=_text())
    realized_pnl: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    by_strategy: str = Field(sa_column=_text())


class TradeRow(SQLModel, table=True):
    """One round trip."""

    __tablename__ = "trades"
    __table_args__ = (
        Index(
            "trades_open",
            "trade_id",
            sqlite_where=text("closed_at IS NULL"),
        ),
    )

    trade_id: str = Field(sa_column=_text(primary_key=True))
    account: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    product: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    side: str = Field(sa_column=_text())
    status: str = Field(sa_column=_text())
    multiplier: str = Field(sa_column=_text())
    entry_qty: str = Field(sa_column=_text())
    entry_value: str = Field(sa_column=_text())
    exit_qty: str = Field(sa_column=_text())
    exit_value: str = Field(sa_column=_text())
    realized_pnl: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    opened_at: int = Field(sa_column=_us())
    closed_at: int | None = Field(sa_column=_maybe_us())


class StateRow(SQLModel, table=True):
    """The trading state of a scope."""

    __tablename__ = "trading_states"

    kind: str = Field(sa_column=_text(primary_key=True))
    name: str = Field(sa_column=_text(primary_key=True))
    mode: str = Field(sa_column=_text())
    since: int = Field(sa_column=_us())
    by: str = Field(sa_column=_text())
    message: str = Field(sa_column=_text())
    cancels: int = Field(sa_column=Column(SmallInteger, nullable=False))


class DayRow(SQLModel, table=True):
    """An account's profit and loss of one day in India."""

    __tablename__ = "days"

    account: str = Field(sa_column=_text(primary_key=True))
    day: int = Field(sa_column=_us(primary_key=True))
    opening_equity: str | None = Field(sa_column=_maybe_text())
    opening_unrealized: str = Field(sa_column=_text())
    realized_pnl: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    by_strategy: str = Field(sa_column=_text())


class MarkRow(SQLModel, table=True):
    """The latest price known of an instrument."""

    __tablename__ = "marks"

    symbol: str = Field(sa_column=_text(primary_key=True))
    price: str = Field(sa_column=_text())
    at: int = Field(sa_column=_us())
    source: str = Field(sa_column=_text())


class HoldRow(SQLModel, table=True):
    """An instrument whose position at the broker differs from ours; entries wait unless somebody accepted that.

    `gaps` is JSON: product, our quantity, theirs and the explained part of each difference.
    """

    __tablename__ = "holds"

    account: str = Field(sa_column=_text(primary_key=True))
    symbol: str = Field(sa_column=_text(primary_key=True))
    message: str = Field(sa_column=_text())
    gaps: str = Field(sa_column=_text())
    accepted_by: str = Field(sa_column=_text())


class TokenRow(SQLModel, table=True):
    """A minted capability token: its claims, never its text."""

    __tablename__ = "tokens"

    token_id: str = Field(sa_column=_text(primary_key=True))
    claims: str = Field(sa_column=_text())
    created_at: int = Field(sa_column=_us())
    expires_at: int | None = Field(sa_column=_maybe_us())
    revoked_at: int | None = Field(sa_column=_maybe_us())


class BrokerSessionRow(SQLModel, table=True):
    """The latest login of an account; `sealed` is the vault's, and empty once the session has ended."""

    __tablename__ = "broker_sessions"

    account: str = Field(sa_column=_text(primary_key=True))
    sealed: str = Field(sa_column=_text())
    user_id: str = Field(sa_column=_text())
    logged_in_at: int = Field(sa_column=_us())
    expires_at: int = Field(sa_column=_us())


class ToldRow(SQLModel, table=True):
    """The latest audit record that a notification channel is through with."""

    __tablename__ = "told_to"

    channel: str = Field(sa_column=_text(primary_key=True))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))


class DefinitionRow(SQLModel, table=True):
    """A scan or strategy of our own, as it stands."""

    __tablename__ = "definitions"

    name: str = Field(sa_column=_text(primary_key=True))
    version: str = Field(sa_column=_text())
    strategy: str = Field(sa_column=_text())
    enabled: int = Field(sa_column=Column(SmallInteger, nullable=False))
    deployment: str = Field(sa_column=_text())
    approved_version: str = Field(sa_column=_text())
    approved_by: str = Field(sa_column=_text())
    approved_at: int | None = Field(sa_column=_maybe_us())
    updated_at: int = Field(sa_column=_us())


class DefinitionVersionRow(SQLModel, table=True):
    """A version of one, as it was saved."""

    __tablename__ = "definition_versions"

    name: str = Field(sa_column=_text(primary_key=True))
    version: str = Field(sa_column=_text(primary_key=True))
    body: str = Field(sa_column=_text())
    saved_at: int = Field(sa_column=_us())
    saved_by: str = Field(sa_column=_text())


class AuditRow(SQLModel, table=True):
    """One link of the audit chain; `hash` covers the row and the hash before it."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_alert", "alert_id"),)

    # INTEGER is the row's own number in SQLite: no second index to keep.
    seq: int = Field(sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False))
    at: int = Field(sa_column=_us())
    action: str = Field(sa_column=_text())
    alert_id: str = Field(sa_column=_text())
    cl_ord_id: str = Field(sa_column=_text())
    account: str = Field(sa_column=_text())
    code: str = Field(sa_column=_text())
    message: str = Field(sa_column=_text())
    data: str = Field(sa_column=_text())
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
