"""What a commit tells the rest of the bridge once it is on disk."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReady:
    """An order to send; `granted` when its sending is already recorded, so that the lane only has to make the call."""

    account: str
    cl_ord_id: str
    reduce_only: bool
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AskReady:
    """An order whose cancellation or change is recorded and to be asked of the broker; `again` if it may have been before."""

    account: str
    cl_ord_id: str
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSeen:
    """A new latest price."""

    symbol: str
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something that pages show has changed: `what` is alert, order, external, position, trade, state or alarm."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookWanted:
    """The broker's book may have more than it told: fills of an order that has ended, or an order that it refused."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionDue:
    """What rests at the broker for a position may have to change: an entry filled, or a protective order ended."""

    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """The working set was read again from the store; recovery has to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised:
    """Something that a person must look at was put into the audit."""

    message: str


Event = OrderReady | AskReady | BookWanted | ProtectionDue | PriceSeen | Changed | Reloaded | AlarmRaised
