"""Where orders and trades are kept: every state of each order, which of them still live, and what a late book shows."""

from datetime import datetime

from bridge.core.clock import IST
from bridge.sandbox.kite.values import ENDED, Order, Trade, unknown_order


class Shelf:
    """Every order as the list of its states, the newest last."""

    def __init__(self) -> None:
        self.orders: dict[str, list[Order]] = {}
        self.trades: list[Trade] = []
        self.moving: dict[str, None] = {}  # what has steps to take, or a life of minutes
        self._live: dict[str, dict[str, None]] = {}  # by symbol, what has not ended
        self._number = 0

    def next_id(self, at: datetime) -> str:
        """The day in India and a number that goes on and on."""
        self._number += 1
        return f"{at.astimezone(IST):%y%m%d}{self._number:09d}"

    def keep(self, order: Order) -> None:
        """Add a state."""
        self.orders.setdefault(order.order_id, []).append(order)
        self._number = max(self._number, int(order.order_id[6:]))
        live = self._live.setdefault(order.symbol, {})
        if order.status in ENDED:
            live.pop(order.order_id, None)
        else:
            live[order.order_id] = None
        if order.todo or (order.validity == "TTL" and order.status not in ENDED):
            self.moving[order.order_id] = None
        else:
            self.moving.pop(order.order_id, None)

    def amend(self, order: Order) -> None:
        """Put this in the place of the newest state."""
        self.orders[order.order_id].pop()
        self.keep(order)

    def current(self, order_id: str) -> Order:
        """The newest state of an order; ApiError when there is none."""
        found = self.orders.get(order_id)
        if not found:
            raise unknown_order()
        return found[-1]

    def working(self, symbol: str | None = None) -> list[Order]:
        """Every order that has not ended, of one instrument or of all."""
        shelves = self._live.values() if symbol is None else [self._live.get(symbol, {})]
        return [self.orders[one][-1] for live in shelves for one in live]

    # -- views ------------------------------------------------------------------------------------------------------

    def rows(self, seen: datetime, today: int) -> list[Order]:
        """Today's orders, and what is not over, as they were at `seen`."""
        found = ([state for state in history if state.at <= seen] for history in self.orders.values())
        latest = (states[-1] for states in found if states)
        # An after-market order is one of the day on which it reaches the exchange.
        return [
            one for one in latest if one.status not in ENDED or day_of(one.exchange_timestamp or one.order_timestamp) == today
        ]

    def history(self, order_id: str, seen: datetime) -> list[Order]:
        """Every state of an order up to `seen`; ApiError when there is none."""
        states = [state for state in self.orders.get(order_id, ()) if state.at <= seen]
        if not states:
            raise unknown_order()
        return states

    def trade_rows(self, order_id: str | None, seen: datetime, today: int) -> list[Trade]:
        """Today's executions up to `seen`, of one order or of all."""
        mine = (trade for trade in self.trades if order_id in (None, trade.order_id) and trade.at <= seen)
        return [trade for trade in mine if day_of(trade.at) == today]


def day_of(at: datetime) -> int:
    """The day in India, as a number."""
    return at.astimezone(IST).toordinal()
