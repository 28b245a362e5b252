"""Both books side by side: every order of the bridge, and what became of it at the loopback Kite."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bridge.brokers.kite.gtt import ID_PREFIX, read_child
from bridge.sandbox.kite.values import Order, Trade

if TYPE_CHECKING:
    from tests.kite_sim.story import World

_COLUMNS = (
    "cl_ord_id, tag, alert_id, side, ord_type, order_qty, price, trigger_price, cum_qty, status, broker_order_id, reduce_only, "
    "legs IS NOT NULL, is_open, created_at, sent_at"
)


@dataclass(frozen=True, slots=True)
class Own:
    """An order as the bridge has it; times are microseconds since 1970."""

    cl_ord_id: str
    tag: str
    alert_id: str
    side: str
    ord_type: str
    order_qty: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    cum_qty: Decimal
    status: str
    broker_order_id: str | None
    reduce_only: bool
    is_protection: bool
    is_open: bool
    created_at: int
    sent_at: int | None


@dataclass(frozen=True)
class Books:
    """`histories` holds every state of each order at Kite, `triggers` its rows, `trades` what traded, in order."""

    owns: Mapping[str, Own]
    histories: list[list[Order]]
    triggers: list[dict[str, Any]]
    trades: list[Trade]

    @cached_property
    def by_tag(self) -> Mapping[str, list[list[Order]]]:
        """Orders at Kite by the tag of the bridge's order; those that its triggers placed have none, and are told by them."""
        tags = {one.broker_order_id: one.tag for one in self.owns.values() if one.is_protection}
        children = {read_child(row): tags.get(f"{ID_PREFIX}{row['id']}", "") for row in self.triggers}
        found: dict[str, list[list[Order]]] = defaultdict(list)
        for states in self.histories:
            found[states[-1].tag or children.get(states[-1].order_id, "")].append(states)
        return found

    @property
    def active_triggers(self) -> list[dict[str, Any]]:
        """Those that wait for their price."""
        return [row for row in self.triggers if row["status"] == "active"]

    @property
    def position(self) -> int:
        """Units held at Kite, negative when short."""
        return sum(trade.quantity if trade.transaction_type == "BUY" else -trade.quantity for trade in self.trades)


def read_books(world: "World") -> Books:
    """Both books as they are now."""
    rows = world.rows(f"SELECT {_COLUMNS} FROM orders ORDER BY cl_ord_id")
    owns = {
        row[0]: Own(*row[:5], *(_number(value) for value in row[5:9]), *row[9:11], *map(bool, row[11:14]), *row[14:])
        for row in rows
    }
    histories, triggers, trades = world.desk.server.do(
        lambda box: ([list(one) for one in box.book.orders.values()], list(box.gtts.rows.values()), list(box.book.trades))
    )
    return Books(owns=owns, histories=histories, triggers=triggers, trades=trades)


def _number(text: str | None) -> Any:
    return None if text is None else Decimal(text)
