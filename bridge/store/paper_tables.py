"""The paper broker's tables: its order book, positions and money, apart from the bridge's own books."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import BigInteger, Column, Index, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from bridge.core.errors import InvariantError
from bridge.store.mapping import RowMap
from bridge.store.sql import columns_of


def _text(*, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(Text, primary_key=primary_key, nullable=nullable)


def _big() -> Column[int]:
    return Column(BigInteger, nullable=False)


def _flag() -> Column[int]:
    return Column(SmallInteger, nullable=False)


class PaperOrderRow(SQLModel, table=True):
    """One order of the paper broker's book; `fills` is JSON: [exec_id, microseconds, quantity, price, charges] each."""

    __tablename__ = "paper_orders"
    __table_args__ = (
        # On `is_open` itself: only so does SQLite take both indexes for the OR of what is loaded at start.
        Index("paper_orders_open", "is_open", sqlite_where=text("is_open = 1")),
        Index("paper_orders_updated", "updated_at"),
    )

    account: str = Field(sa_column=_text(primary_key=True))
    broker_order_id: str = Field(sa_column=_text(primary_key=True))
    tag: str = Field(sa_column=_text())
    symbol: str = Field(sa_column=_text())
    product: str = Field(sa_column=_text())
    side: str = Field(sa_column=_text())
    order_qty: str = Field(sa_column=_text())
    ord_type: str = Field(sa_column=_text())
    time_in_force: str = Field(sa_column=_text())
    price: str | None = Field(sa_column=_text(nullable=True))
    trigger_price: str | None = Field(sa_column=_text(nullable=True))
    placed_at: int = Field(sa_column=_big())
    updated_at: int = Field(sa_column=_big())
    status: str = Field(sa_column=_text())
    is_open: int = Field(sa_column=_flag())
    is_triggered: int = Field(sa_column=_flag())
    is_taking: int = Field(sa_column=_flag())
    opening_qty: str = Field(sa_column=_text())
    unit_margin: str = Field(sa_column=_text())
    cum_qty: str = Field(sa_column=_text())
    cum_value: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    message: str = Field(sa_column=_text())
    fills: str = Field(sa_column=_text())
    legs: str | None = Field(sa_column=_text(nullable=True))


class PaperPositionRow(SQLModel, table=True):
    """One position that is not flat."""

    __tablename__ = "paper_positions"

    account: str = Field(sa_column=_text(primary_key=True))
    symbol: str = Field(sa_column=_text(primary_key=True))
    product: str = Field(sa_column=_text(primary_key=True))
    multiplier: str = Field(sa_column=_text())
    quantity: str = Field(sa_column=_text())
    cost: str = Field(sa_column=_text())
    margin: str = Field(sa_column=_text())


class PaperAccountRow(SQLModel, table=True):
    """The money of one paper account, and where its order numbers stand."""

    __tablename__ = "paper_accounts"

    account: str = Field(sa_column=_text(primary_key=True))
    opening_cash: str = Field(sa_column=_text())
    realized_pnl: str = Field(sa_column=_text())
    charges: str = Field(sa_column=_text())
    position_margin: str = Field(sa_column=_text())
    order_margin: str = Field(sa_column=_text())
    last_number: int = Field(sa_column=_big())
    day: int = Field(sa_column=_big())


class HasCodec(Protocol):
    """How a broker writes its values as rows; the store only needs to know that much of it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What `encode` gives, by column name and in order."""
        ...

    @property
    def encode(self) -> Callable[[Any, Any], tuple[Any, ...]]:
        """The row of a key and its value."""
        ...

    @property
    def decode(self) -> Callable[[Sequence[Any]], tuple[Any, Any]]:
        """The key and the value of a row."""
        ...


_TABLES: dict[str, tuple[type[SQLModel], str]] = {
    "paper_orders": (PaperOrderRow, "is_open = 1 OR updated_at >= :today_us"),
    "paper_positions": (PaperPositionRow, ""),
    "paper_accounts": (PaperAccountRow, ""),
}


def paper_maps(codecs: Mapping[str, HasCodec]) -> dict[str, RowMap[Any, Any]]:
    """The row maps of the paper broker's shelves; InvariantError when a codec and its table have drifted apart."""
    maps = {}
    for name, (table, load_where) in _TABLES.items():
        codec = codecs[name]
        if codec.columns != columns_of(table):
            raise InvariantError(f"{name}: the codec's columns are not the table's")
        maps[name] = RowMap(table, codec.encode, codec.decode, load_where)
    return maps
