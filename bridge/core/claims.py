"""Claims: what a capability token allows, as minted; intake holds every alert against them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from bridge.core.enums import Action, Product

Env = Literal["paper", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The bounds of one token; an empty collection or None sets no bound.

    `symbols` are `NSE:SBIN` or a whole segment, `NSE:*`. `max_quantity` is units, `max_notional` rupees. `env`
    allows only paper or only live accounts. `expires_at` is aware UTC in whole seconds.
    """

    key_id: str
    token_id: str
    strategy: str
    accounts: tuple[str, ...] = ()
    symbols: frozenset[str] = frozenset()
    actions: frozenset[Action] = frozenset()
    product: Product | None = None
    max_quantity: Decimal | None = None
    max_notional: Decimal | None = None
    env: Env | None = None
    expires_at: datetime | None = None
