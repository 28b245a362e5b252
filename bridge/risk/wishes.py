"""What sizing answers besides an order intent: nothing to do, not yet, or a reversal in two parts."""

from dataclasses import dataclass
from decimal import Decimal

from bridge.core.decision import Denied
from bridge.core.reasons import Reason
from bridge.core.signal import OrderIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """There is nothing to do, and that is right: the alert ends as a no-op."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Ask again when an order or alert of the same position has ended; until then no size would be right.

    `cancel` are resting orders, by `cl_ord_id`, that are in the way and to be withdrawn first.
    """

    message: str
    cancel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """An order through zero where that takes two: `close` goes now, `rest` units may open once it has filled."""

    close: OrderIntent
    rest: Decimal


Sized = OrderIntent | Reversal | Nothing | Denied | Wait
