"""Day: an account's profit and loss since midnight in India."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from bridge.core.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """`day` is YYYYMMDD in India; `opening_equity` the broker's word at its first sight of the day, None when unknown.

    `opening_unrealized` is the paper profit carried into the day, so that only today's change counts.
    """

    account: str
    day: int
    opening_equity: Decimal | None
    opening_unrealized: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    charges: Decimal = ZERO
    by_strategy: Mapping[str, Decimal] = field(default_factory=dict)
