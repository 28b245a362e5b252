"""The paper venue's books in memory, shared by all paper accounts; the store keeps them equal to disk."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.brokers.paper.values import Changes, PaperAccount, PaperOrder, PaperPosition
from bridge.core.ledger import Shelf
from bridge.core.position import PositionKey

OrderKey = tuple[str, str]  # account, broker_order_id


class PaperOrderShelf(Shelf[OrderKey, PaperOrder]):
    """Orders by account and id; the working ones also by account and symbol, all by account and tag."""

    def __init__(self) -> None:
        super().__init__("paper_orders")
        self._working: defaultdict[str, defaultdict[str, dict[str, PaperOrder]]] = defaultdict(lambda: defaultdict(dict))
        self._by_tag: dict[tuple[str, str], tuple[str, ...]] = {}

    def set(self, key: OrderKey, value: PaperOrder | None) -> None:
        """Put or take away an order and keep the indexes true."""
        old = self.values.get(key)
        shown = value or old
        if shown is None:
            return
        lane = self._working[shown.account][shown.symbol]
        if value is None or value.status.is_closed:
            lane.pop(key[1], None)
        else:
            lane[key[1]] = value
        if value is None:
            self._drop_tag(shown)
            del self.values[key]
            return
        if old is None:
            tagged = (value.account, value.tag)
            self._by_tag[tagged] = (*self._by_tag.get(tagged, ()), key[1])
        self.values[key] = value

    def _drop_tag(self, order: PaperOrder) -> None:
        tagged = (order.account, order.tag)
        left = tuple(ident for ident in self._by_tag.get(tagged, ()) if ident != order.broker_order_id)
        if left:
            self._by_tag[tagged] = left
        else:
            self._by_tag.pop(tagged, None)

    def working(self, account: str, symbol: str) -> dict[str, PaperOrder]:
        """Working orders of a symbol by id, as they stand now: a copy that any thread may keep."""
        lanes = self._working.get(account)
        lane = lanes.get(symbol) if lanes is not None else None
        return lane.copy() if lane else {}

    def all_working(self, account: str) -> dict[str, PaperOrder]:
        """Working orders of an account by id."""
        lanes: dict[str, dict[str, PaperOrder]] = self._working.get(account) or {}
        return {ident: order for lane in list(lanes.values()) for ident, order in lane.copy().items()}

    def with_tag(self, account: str, tag: str) -> list[PaperOrder]:
        """Orders that came in under a tag, first to last."""
        return [self.values[account, ident] for ident in self._by_tag.get((account, tag), ())]

    def forget_closed(self, account: str, before: datetime) -> None:
        """Let go of closed orders that nothing happened to since; they stay in their table."""
        for key, order in list(self.values.items()):
            if order.account == account and order.status.is_closed and order.updated_at < before:
                self.set(key, None)


class PaperPositionShelf(Shelf[PositionKey, PaperPosition]):
    """Positions that are not flat, by account, symbol and product."""

    def __init__(self) -> None:
        super().__init__("paper_positions")
        self._by_account: defaultdict[str, dict[PositionKey, PaperPosition]] = defaultdict(dict)

    def set(self, key: PositionKey, value: PaperPosition | None) -> None:
        """Put or take away a position, also among those of its account."""
        super().set(key, value)
        if value is None:
            self._by_account[key.account].pop(key, None)
        else:
            self._by_account[key.account][key] = value

    def of(self, account: str) -> Mapping[PositionKey, PaperPosition]:
        """The live positions of an account, for the writer's thread."""
        return self._by_account[account]


class PaperShelves:
    """Everything the paper venue remembers. `by_name` is what the store is given."""

    def __init__(self) -> None:
        self.orders = PaperOrderShelf()
        self.positions = PaperPositionShelf()
        self.accounts: Shelf[str, PaperAccount] = Shelf("paper_accounts")

    def by_name(self) -> dict[str, Shelf[Any, Any]]:
        """The shelves under the names of their tables."""
        return {shelf.name: shelf for shelf in (self.orders, self.positions, self.accounts)}

    def hold(self, changes: Changes) -> bool:
        """True when the books contain what a command made of them, whatever has come since."""
        if not changes.orders:
            return False
        made = changes.orders[0]
        found = self.orders.get((made.account, made.broker_order_id))
        return (
            found is not None
            and (found.tag, found.placed_at) == (made.tag, made.placed_at)
            and found.cum_qty >= made.cum_qty
            and (found.status is made.status or found.status.is_closed)
        )
