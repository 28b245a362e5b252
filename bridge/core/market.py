"""What the market says: latest prices and whether a session is open."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType, TimeInForce, Variety
from bridge.core.instrument import Instrument
from bridge.core.reasons import Reason
from bridge.core.signal import OrderIntent

# The source of a Mark that a broker's feed told.
FEED = "feed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The latest price known of an instrument, when it was true and where it came from (alert, feed, fill)."""

    symbol: str
    price: Decimal
    at: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A price that a broker's feed told of an instrument, which it calls by a number; `at` is never in the future.

    `volume` is how many units the instrument has traded on that day so far, where the feed tells.
    """

    token: int
    price: Decimal
    at: datetime
    volume: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """Whether an order may trade now; when not, why, in a sentence."""

    is_open: bool
    reason: Reason | None = None
    message: str = ""


ALWAYS_OPEN = SessionState(is_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the exchange has ruled for an instrument today; None where nobody can say.

    `is_banned`: no position in it may be opened or enlarged (the F&O ban). `low` and `high`: the prices in rupees between
    which, both included, it takes orders (circuit limits).
    """

    is_banned: bool | None = None
    low: Decimal | None = None
    high: Decimal | None = None


NO_RULING = Ruling()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuestion:
    """What the calendar is asked: this kind of order in this instrument at this moment."""

    instrument: Instrument
    ord_type: OrdType
    time_in_force: TimeInForce
    at: datetime
    variety: Variety = Variety.REGULAR


def question_of(intent: OrderIntent, instrument: Instrument, at: datetime) -> SessionQuestion:
    """Whether this order may be entered now."""
    return SessionQuestion(
        instrument=instrument,
        ord_type=intent.ord_type,
        time_in_force=intent.time_in_force,
        at=at,
        variety=intent.variety,
    )


def never_closed(question: SessionQuestion) -> SessionState:
    """The answer for an account that trades at any time: an order for the closed market has nothing to wait for there."""
    if question.variety is not Variety.AMO:
        return ALWAYS_OPEN
    message = 'The account trades at any time (session: always); leave "variety": "amo" out.'
    return SessionState(is_open=False, reason=Reason.MARKET_OPEN, message=message)
