"""What can be traded, with the sizes the exchange sets."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from bridge.core.enums import InstrumentKind
from bridge.core.money import ONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable thing; `symbol` is `EXCHANGE:TRADINGSYMBOL` in the broker's spelling.

    `tick` is the smallest price step, `lot` the smallest quantity step in units, `multiplier` rupees per point and unit.
    `expiry` and `strike` are None for shares. `has_derivatives` marks a share with futures, whose sessions differ.
    """

    symbol: str
    exchange: str
    tradingsymbol: str
    name: str
    kind: InstrumentKind
    tick: Decimal
    lot: Decimal
    multiplier: Decimal = ONE
    expiry: date | None = None
    strike: Decimal | None = None
    token: int = 0
    has_derivatives: bool = False
