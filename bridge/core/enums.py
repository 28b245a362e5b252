"""Closed vocabularies of the order's way; FIX or the field's own names where there is one."""

from enum import StrEnum


class Side(StrEnum):
    """Which way an order trades (FIX 54)."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The side that closes what this one opens."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Action(StrEnum):
    """What an alert asks for; TARGET is the form that names a position instead of a trade."""

    BUY = "buy"
    SELL = "sell"
    EXIT = "exit"
    CANCEL = "cancel"
    MODIFY = "modify"
    TARGET = "target"


class MarketPosition(StrEnum):
    """TradingView's word for the state of a strategy."""

    LONG = "long"
    FLAT = "flat"
    SHORT = "short"


class OrdType(StrEnum):
    """Order types (FIX 40) under the names Indian brokers use.

    GTT is the bridge's own for protective orders: a stop, a target or both, that wait at the broker for their prices.
    """

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"
    GTT = "GTT"

    @property
    def needs_price(self) -> bool:
        """True when a limit price must come with the order."""
        return self in (OrdType.LIMIT, OrdType.SL)

    @property
    def needs_trigger(self) -> bool:
        """True when a trigger (stop) price must come with the order."""
        return self in (OrdType.SL, OrdType.SL_M)


class TimeInForce(StrEnum):
    """How long an order works (FIX 59); TTL: for so many minutes."""

    DAY = "DAY"
    IOC = "IOC"
    TTL = "TTL"


class Variety(StrEnum):
    """Which way an order takes to the exchange, in the words of Indian brokers.

    AMO is given while the market is closed and waits at the broker for the next session; ICEBERG goes in legs, one when the one
    before has filled.
    """

    REGULAR = "regular"
    AMO = "amo"
    ICEBERG = "iceberg"


class Product(StrEnum):
    """How a position is carried: intraday, delivery, overnight derivatives, margin funded."""

    MIS = "MIS"
    CNC = "CNC"
    NRML = "NRML"
    MTF = "MTF"

    @property
    def may_short(self) -> bool:
        """True when the product can hold a negative position."""
        return self in (Product.MIS, Product.NRML)


class Source(StrEnum):
    """Where an alert came from."""

    TRADINGVIEW = "tradingview"
    SIGNED = "signed"
    OPERATOR = "operator"
    SCAN = "scan"
    SQUARE_OFF = "square_off"
    PROTECTION = "protection"


class Disposition(StrEnum):
    """How an alert ended: exactly one of the first five for an accepted one; REFUSED was never accepted."""

    DONE = "done"
    NOOP = "noop"
    DENIED = "denied"
    EXPIRED = "expired"
    FAILED = "failed"
    REFUSED = "refused"


class TradingMode(StrEnum):
    """What a scope lets out: everything, only exits, or only cancels."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"

    @property
    def strictness(self) -> int:
        """Order of strictness; the largest of several scopes wins."""
        return ("ACTIVE", "REDUCING", "HALTED").index(self.value)


class OutcomeKind(StrEnum):
    """What is known of a broker command after it returned or failed to."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"


class ReportKind(StrEnum):
    """What a broker says of an order (FIX 150); evidence until it is applied."""

    PLACED = "PLACED"
    FILL = "FILL"
    CANCELLED = "CANCELLED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    REPLACED = "REPLACED"
    REPLACE_REFUSED = "REPLACE_REFUSED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class InstrumentKind(StrEnum):
    """What is traded; INDEX can be quoted and not traded."""

    EQ = "EQ"
    FUT = "FUT"
    CE = "CE"
    PE = "PE"
    INDEX = "INDEX"

    @property
    def is_option(self) -> bool:
        """True for calls and puts."""
        return self in (InstrumentKind.CE, InstrumentKind.PE)
