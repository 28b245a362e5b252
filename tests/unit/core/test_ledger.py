"""What the ledger finds without walking through all it holds."""

from decimal import Decimal

from bridge.core.ledger import PositionShelf
from bridge.core.position import Position, PositionKey


def test_positions_that_are_not_flat_are_found_by_account_whatever_came_before() -> None:
    """Flat ones never leave, so risk checks must not walk through them; their row still holds what they realised."""
    shelf = PositionShelf()
    keys = [PositionKey(account, f"NSE:S{number}", "MIS") for account in ("a", "b") for number in range(3)]
    shelf.fill({key: Position(key=key, realized_pnl=Decimal(7)) for key in keys})
    assert not shelf.held["a"]
    shelf.set(keys[1], Position(key=keys[1], quantity=Decimal(5)))
    shelf.set(keys[4], Position(key=keys[4], quantity=Decimal(-2)))
    assert (list(shelf.held["a"]), list(shelf.held["b"])) == ([keys[1]], [keys[4]])
    shelf.set(keys[1], Position(key=keys[1]))
    shelf.set(keys[4], None)
    assert (dict(shelf.held["a"]), dict(shelf.held["b"])) == ({}, {})
    assert shelf.get(keys[0]) == Position(key=keys[0], realized_pnl=Decimal(7))
    shelf.fill({keys[2]: Position(key=keys[2], quantity=Decimal(1))})
    assert (list(shelf.values), list(shelf.held["a"])) == ([keys[2]], [keys[2]])
