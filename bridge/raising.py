"""Raising: what a definition holds by the books, and the signals that its wishes become; the same live and in a replay."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from bridge.core.enums import Action, Product
from bridge.core.ledger import Ledger
from bridge.core.money import ONE, ZERO
from bridge.core.position import PositionKey
from bridge.core.signal import Signal
from bridge.core.values import evolve

if TYPE_CHECKING:
    from bridge.scanner.decide import Holding, Wish
    from bridge.scanner.definition import Definition

# The highest and lowest price of the closed bars of a symbol since a moment; None where there is none.
Extremes = Callable[[str, datetime], tuple[float | None, float | None]]


def holdings_of(
    ledger: Ledger, definition: "Definition", accounts: Sequence[str], product: Product, extremes: Extremes
) -> "dict[str, Holding]":
    """What the definition's strategy holds in these accounts, by symbol: units of all, price and time of the first entry.

    The price is the mean of the round trip's entries; of a position that several strategies share it is that of all.
    """
    from bridge.scanner.decide import Holding

    found: dict[str, Holding] = {}
    for key, quantity in _shares(ledger, definition.strategy, accounts, product):
        if key.symbol in found:
            known = found[key.symbol]
            total = known.quantity + quantity
            found[key.symbol] = Holding(quantity=total, entry_px=known.entry_px, high=known.high, low=known.low)
            continue
        trade, position = ledger.trades.get(key), ledger.positions.values[key]
        high, low = extremes(key.symbol, trade.opened_at) if trade is not None else (None, None)
        entry_px = trade.entry_px if trade is not None and trade.entry_qty else position.avg_px
        found[key.symbol] = Holding(quantity=quantity, entry_px=float(entry_px), high=high, low=low)
    return found


def _shares(ledger: Ledger, strategy: str, accounts: Sequence[str], product: Product) -> list[tuple[PositionKey, Decimal]]:
    """The strategy's part of each position of these accounts, by account in their order."""
    return [
        (key, share)
        for account in accounts
        for key, position in list(ledger.positions.held[account].items())
        if key.product == product and (share := position.by_strategy.get(strategy, ZERO))
    ]


def held_with(held: "Mapping[str, Holding]", coming: "Iterable[Wish]") -> "dict[str, Holding]":
    """What is held, and what is on its way, the exits first: an exit makes a holding leave, an entry one at no price yet."""
    from bridge.scanner.decide import Holding

    found = dict(held)
    for wish in coming:
        if wish.action is not Action.EXIT:
            units = wish.quantity or ONE
            found[wish.symbol] = Holding(quantity=units if wish.action is Action.BUY else -units, entry_px=math.nan)
        elif wish.symbol in found:
            found[wish.symbol] = evolve(found[wish.symbol], is_leaving=True)
    return found


def signal_of(wish: "Wish", definition: "Definition", accounts: Sequence[str], product: Product, at: datetime) -> Signal:
    """The market order that a wish asks for; `at` is when the definition was asked, and entries grow stale from then on.

    The price is only what the market stood at: the order takes what it gets.
    """
    told = {"why": wish.why, "definition": definition.name, "version": definition.version}
    if wish.rank is not None:
        told["rank"] = str(wish.rank)
    if wish.score is not None:
        told["score"] = f"{wish.score:.6g}"
    return Signal(
        strategy=definition.strategy,
        symbol=wish.symbol,
        action=wish.action,
        accounts=tuple(accounts),
        product=product,
        signal_at=at,
        is_timed=True,
        quantity=wish.quantity,
        price=wish.price,
        notes=told,
    )
