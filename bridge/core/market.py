"""What the market says: latest prices and whether a session is open."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType, TimeInForce
from bridge.core.instrument import Instrument
from bridge.core.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The latest price known of an instrument, when it was true and where it came from (alert, feed, fill)."""

    symbol: str
    price: Decimal
    at: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A price that a broker's feed told of an instrument, which it calls by a number; `at` is never in the future."""

    token: int
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """Whether an order may trade now; when not, why, in a sentence."""

    is_open: bool
    reason: Reason | None = None
    message: str = ""


ALWAYS_OPEN = SessionState(is_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuestion:
    """What the calendar is asked: this kind of order in this instrument at this moment."""

    instrument: Instrument
    ord_type: OrdType
    time_in_force: TimeInForce
    at: datetime
