"""What the memory of a store holds, as plain values that can be compared."""

from typing import Any

from bridge.core.ledger import Ledger, OrderShelf
from bridge.core.position import Position, PositionKey
from bridge.store.mapping import LEDGER_MAPS


def picture_of(ledger: Ledger) -> dict[str, Any]:
    """Every shelf, every index and every rate window of a ledger, by value; what is empty is left out."""
    shelves = {name: dict(getattr(ledger, name).values) for name in (*LEDGER_MAPS, "waiting", "newest", "funds")}
    windows = {key: list(window) for key, window in ledger._order_times.items() if window}
    return {**shelves, **indexes_of(ledger.orders), "held": held_of(ledger), "windows": windows}


def held_of(ledger: Ledger) -> dict[PositionKey, Position]:
    """The index of the positions that are not flat, as one dict."""
    return {key: position for lane in ledger.positions.held.values() for key, position in lane.items()}


def indexes_of(orders: OrderShelf) -> dict[str, Any]:
    """The indexes of the order shelf."""
    found_open = {
        (account, symbol): dict(lane) for account, lanes in orders.open.items() for symbol, lane in lanes.items() if lane
    }
    return {
        "open": found_open,
        "unsent": {account: dict(lane) for account, lane in orders.unsent.items() if lane},
        "sending": {account: dict(lane) for account, lane in orders.sending.items() if lane},
        "by_tag": dict(orders.by_tag),
    }


def indexes_from_scratch(orders: OrderShelf) -> dict[str, Any]:
    """What the indexes should be, from the orders alone."""
    fresh = OrderShelf()
    for key, order in orders.values.items():
        fresh.set(key, order)
    return indexes_of(fresh)
