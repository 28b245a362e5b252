"""The port to a broker: what every adapter, paper or live, offers the bridge, and nothing more."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from bridge.core.bar import Bar, Interval
from bridge.core.enums import OrdType, Product, Side, Variety
from bridge.core.instrument import Instrument
from bridge.core.login import LoginView
from bridge.core.offer import PLAIN, Offer
from bridge.core.order import Order
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome, Report

ReportSink = Callable[[list[Report]], Awaitable[None]]
# Longer than any adapter's own patience with its broker, whose errors say more than a call that was cut off.
CALL_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """Whether the broker can be worked with now; `message` says what is wrong and the mend.

    `session_lost` says that the broker is there and a person has to sign in: no matter of the breaker's.
    """

    connected: bool
    message: str = ""
    session_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the broker can do. `max_in_flight` is how many orders of one account may be on their way at once, in order.

    A call that takes longer than `call_timeout_s` is cut off: a command is UNKNOWN then, a read has failed. None is for a
    broker inside this process, which cannot be away by itself. In the products of `reverses_in_one` a single order may close a
    position and open the opposite one; in others that can be short the bridge sends two, the second when the first has filled.
    `offer` says which orders it takes beyond the plain ones. It changes an order at most `max_replaces` times.
    """

    name: str
    is_paper: bool
    max_in_flight: int
    call_timeout_s: float | None = CALL_TIMEOUT_S
    reverses_in_one: frozenset[Product] = frozenset({Product.MIS, Product.NRML})
    offer: Offer = PLAIN
    max_replaces: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedOrder:
    """What was traded under one order, as the broker reckons charges: by order, at its mean price."""

    cl_ord_id: str
    broker_order_id: str
    symbol: str
    side: Side
    product: Product
    ord_type: OrdType
    variety: Variety
    quantity: Decimal
    avg_px: Decimal


class BookUnreadableError(Exception):
    """The broker's book, positions or funds could not be read; that is unknown, never empty.

    `retry_after_s` is the broker's own wish: it did answer, and said not to come before.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Broker(Protocol):
    """One account at one broker. No method raises for what a broker may answer, but the reads may raise BookUnreadableError.

    Cancellation of the calling task always propagates; a command that was cancelled has an unknown outcome.
    """

    capabilities: Capabilities

    async def start(self, sink: ReportSink) -> None:
        """Open the session and deliver reports to `sink` from now on; repeats and disorder are allowed."""
        ...

    async def stop(self) -> None:
        """Close everything; no report is delivered afterwards."""
        ...

    def status(self) -> BrokerStatus:
        """The session as it stands."""
        ...

    async def place(self, order: Order) -> Outcome:
        """Send the order under `order.tag`. Calls are made in the order in which the orders shall arrive."""
        ...

    async def cancel(self, order: Order) -> Outcome:
        """Ask to cancel; ACCEPTED means asked, the end comes as a report."""
        ...

    async def modify(self, order: Order) -> Outcome:
        """Ask to change the order to the terms of `order.replace`; ACCEPTED means asked, the effect comes as a report.

        Asking for the same terms again does no harm.
        """
        ...

    async def book(self) -> list[BookRow]:
        """All orders of the day, ours and others."""
        ...

    async def positions(self) -> list[BrokerPosition]:
        """Net positions that are not flat, and shares that lie there from days before."""
        ...

    async def funds(self) -> Funds:
        """Money now."""
        ...

    async def on_price(self, symbol: str, price: Decimal) -> None:
        """A new latest price; only simulated brokers care."""
        ...


class HistoryTrouble(StrEnum):
    """What becomes of a request for history that brought none."""

    PASSING = "passing"  # ask again in a moment
    SYMBOL = "symbol"  # there is none of this instrument
    ENDED = "ended"  # nothing more can be asked until a person has done something


class HistoryError(Exception):
    """Past bars that could not be read; the message says why, and the mend."""

    def __init__(self, trouble: HistoryTrouble, message: str):
        super().__init__(message)
        self.trouble = trouble


class History(Protocol):
    """Past bars at a broker; requests are made one after the other, and `gap_s` apart."""

    gap_s: float

    @property
    def most_days(self) -> Mapping[Interval, int]:
        """How many days one request may ask for."""
        ...

    async def read(self, instrument: Instrument, interval: Interval, begin: date, end: date) -> list[Bar]:
        """Every bar that the broker has of the days from `begin` to `end` in India, the unfinished one too; HistoryError."""
        ...

    def close(self) -> None:
        """Begin nothing more."""
        ...


class LoginSession(Protocol):
    """The session of an account whose broker wants a person to log in every day. All but `login` and `settle` in any thread."""

    def token(self) -> str | None:
        """What calls are signed with; None when there is no session that lives."""
        ...

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """The broker does not take `token` any more (None: the one there is): forget it until the next login."""
        ...

    def why(self) -> str:
        """What is missing and what a person must do; empty while a session lives."""
        ...

    def view(self) -> LoginView:
        """How the login stands."""
        ...

    def login_url(self, state: str = "") -> str:
        """The page where a person logs in; the broker hands `state` back."""
        ...

    async def login(self, request_token: str, *, by: str = "", new_user: bool = False) -> None:
        """Make a session of what the login page gave; RefusedError says what to do instead."""
        ...

    async def settle(self) -> None:
        """Write down that the session has ended, if it has."""
        ...
