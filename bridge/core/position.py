"""Position: net quantity per account, instrument and product, from fills alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from bridge.core.enums import Side
from bridge.core.fill import Fill
from bridge.core.money import ONE, ZERO, average
from bridge.core.values import evolve


class PositionKey(NamedTuple):
    """What a position is counted by."""

    account: str
    symbol: str
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """`quantity` is signed units; `cost` is the signed rupees paid for exactly that quantity (negative for a short).

    `realized_pnl` is before charges, which are kept apart. Exact at every moment:
    realized_pnl = cost - (rupees paid - rupees received), all times the multiplier. `by_strategy` splits the quantity by
    whose orders made it.
    """

    key: PositionKey
    multiplier: Decimal = ONE
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    charges: Decimal = ZERO
    by_strategy: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def avg_px(self) -> Decimal:
        """Mean entry price of what is held; zero when flat."""
        return average(self.cost, self.quantity)

    @property
    def closing_side(self) -> Side:
        """The side of an order that closes it."""
        return Side.SELL if self.quantity > 0 else Side.BUY

    def unrealized_pnl(self, mark_px: Decimal) -> Decimal:
        """Profit if all of it were closed at `mark_px`, before charges."""
        return (self.quantity * mark_px - self.cost) * self.multiplier


def apply_fill_to_position(position: Position, fill: Fill) -> tuple[Position, Decimal]:
    """The position after a fill, and the profit that the fill realised (before charges).

    Closing takes cost out in proportion; a fill through zero closes everything and opens the rest at its own price.
    """
    signed = fill.last_qty if fill.side.sign > 0 else -fill.last_qty
    held = position.quantity
    quantity = held + signed
    if held == ZERO or (held > 0) == (signed > 0):
        cost, realized = position.cost + signed * fill.last_px, ZERO
    elif abs(signed) <= abs(held):
        cost_out = position.cost if quantity == ZERO else average(position.cost * -signed, held)
        cost, realized = position.cost - cost_out, (-signed * fill.last_px - cost_out) * position.multiplier
    else:
        realized = (held * fill.last_px - position.cost) * position.multiplier
        cost = quantity * fill.last_px
    shares = dict(position.by_strategy)
    share = shares.get(fill.strategy, ZERO) + signed
    if not quantity:
        shares.clear()  # flat is flat for everybody, whoever closed whose part
    elif share:
        shares[fill.strategy] = share
    else:
        shares.pop(fill.strategy, None)
    moved = evolve(
        position,
        quantity=quantity,
        cost=cost,
        realized_pnl=position.realized_pnl + realized,
        charges=position.charges + fill.charges,
        by_strategy=shares,
    )
    return moved, realized
