"""Closing: the signals by which the bridge itself closes positions, for a person or before the session ends."""

from collections.abc import Collection
from datetime import datetime

from bridge.core.enums import Action, OrdType, Product, TimeInForce
from bridge.core.position import Position, PositionKey
from bridge.core.signal import Signal


def own_signal(action: Action, strategy: str, key: PositionKey, at: datetime) -> Signal:
    """An exit at market of one position, or a cancel of a strategy's orders in its instrument."""
    return Signal(
        strategy=strategy,
        symbol=key.symbol,
        action=action,
        accounts=(key.account,),
        product=Product(key.product),
        signal_at=at,
        ord_type=OrdType.MARKET,
        time_in_force=TimeInForce.DAY,
    )


def strategy_of(position: Position, known: Collection[str]) -> str:
    """In whose name a position is closed: a strategy that holds it, else any that is known."""
    return next((name for name in position.by_strategy if name in known), next(iter(known)))
