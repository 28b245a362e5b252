"""The alerts that are sent: authentic, all different, as TradingView would send them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the bodies say. `symbols` are (symbol, price) pairs taken in turn, `actions` are taken in turn with them.

    `first` numbers the bodies, so that two runs on one database differ.
    """

    token: str = ""
    actions: list[str] = field(default_factory=lambda: ["buy"])
    symbols: list[list[str]] = field(default_factory=lambda: [["NSE:SBIN", "812.5"]])
    first: int = 0


def make_bodies(recipe: Recipe, count: int) -> Iterator[bytes]:
    """`count` bodies, fresh as of now."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for number in range(recipe.first, recipe.first + count):
        symbol, price = recipe.symbols[number % len(recipe.symbols)]
        message = {
            "token": recipe.token,
            "strategy": "bench",
            "symbol": symbol,
            "action": recipe.actions[number % len(recipe.actions)],
            "price": price,
            "time": at,
            "interval": "1",
            "order_id": f"Long {number}",
            "comment": "ema 9 crossed ema 21",
        }
        if message["action"] in ("buy", "sell"):
            message["quantity"] = "1"
        yield json.dumps(message).encode()
