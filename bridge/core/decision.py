"""Decision: what the risk engine says of an intent. Only `bridge.risk` makes an Approved."""

from dataclasses import dataclass
from decimal import Decimal

from bridge.core.reasons import Reason
from bridge.core.signal import OrderIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Not sent: which rule, at which scope, its limit and what was observed, in a sentence with numbers.

    `trips_halt` asks for a halt of the scope that lasts until a person resumes it.
    """

    reason: Reason
    message: str
    scope: str = ""
    limit: str = ""
    observed: str = ""
    trips_halt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """May be sent as it stands. `capped_by` is the denial that made it smaller than wished."""

    intent: OrderIntent
    reference_px: Decimal | None
    capped_by: Denied | None = None


Decision = Approved | Denied
