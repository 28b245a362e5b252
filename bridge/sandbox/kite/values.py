"""What the sandbox knows of an order: its states and the ways between them, the row and its trades, the error envelope."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bridge.core.clock import IST
from bridge.core.errors import IllegalTransitionError
from bridge.core.money import ZERO


class ApiError(Exception):
    """A request that is answered with the error envelope; `data` goes along where the vendor sends some."""

    def __init__(self, status: int, error_type: str | None, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.data = data

    @property
    def envelope(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"status": "error", "message": self.message, "data": self.data, "error_type": self.error_type}


def bad_input(message: str) -> ApiError:
    """A request with a missing or impossible value."""
    return ApiError(400, "InputException", message)


def unknown_order() -> ApiError:
    """What is asked about is not in the book."""
    return ApiError(400, "OrderException", "Couldn't find that `order_id`.")


class Status(StrEnum):
    """The documented states of an order."""

    PUT = "PUT ORDER REQ RECEIVED"
    VALIDATING = "VALIDATION PENDING"
    OPENING = "OPEN PENDING"
    OPEN = "OPEN"
    TRIGGER = "TRIGGER PENDING"
    AMO = "AMO REQ RECEIVED"
    MODIFY_VALIDATING = "MODIFY VALIDATION PENDING"
    MODIFYING = "MODIFY PENDING"
    MODIFIED = "MODIFIED"
    CANCELLING = "CANCEL PENDING"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


ENDED = frozenset({Status.COMPLETE, Status.CANCELLED, Status.REJECTED})
# At the exchange and unended: while a change or a cancel is on its way, the order can still trade.
AT_MARKET = frozenset({Status.OPEN, Status.MODIFY_VALIDATING, Status.MODIFYING, Status.MODIFIED, Status.CANCELLING})
CHANGEABLE = frozenset({Status.OPEN, Status.TRIGGER, Status.AMO})
_REST = (Status.OPEN, Status.TRIGGER, Status.AMO)
_FILLS = (Status.COMPLETE, Status.CANCELLED)
WAYS: dict[Status, frozenset[Status]] = {
    Status.PUT: frozenset({Status.VALIDATING, Status.AMO, Status.REJECTED}),
    Status.VALIDATING: frozenset({Status.OPENING, Status.REJECTED}),
    Status.OPENING: frozenset({Status.OPEN, Status.TRIGGER, Status.REJECTED}),
    # From a resting state to itself: a part was filled, or a trigger was passed.
    Status.OPEN: frozenset({Status.OPEN, Status.MODIFY_VALIDATING, Status.CANCELLING, *_FILLS}),
    Status.TRIGGER: frozenset({Status.OPEN, Status.MODIFY_VALIDATING, Status.CANCELLING, Status.CANCELLED}),
    Status.AMO: frozenset({Status.VALIDATING, Status.MODIFY_VALIDATING, Status.CANCELLING, Status.CANCELLED}),
    Status.MODIFY_VALIDATING: frozenset({Status.MODIFY_VALIDATING, Status.MODIFYING, *_FILLS}),
    Status.MODIFYING: frozenset({Status.MODIFYING, Status.MODIFIED, *_FILLS}),
    Status.MODIFIED: frozenset({Status.MODIFIED, *_REST, *_FILLS}),
    Status.CANCELLING: frozenset({Status.CANCELLING, *_FILLS}),
    **{status: frozenset() for status in ENDED},
}  # fmt: skip


def check_way(old: Status, new: Status) -> None:
    """IllegalTransitionError for a step that no order of the vendor takes."""
    if new not in WAYS[old]:
        raise IllegalTransitionError(f"{old} cannot become {new}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One state of an order; its history is the list of them. Money in rupees, quantities in units."""

    order_id: str
    user_id: str
    variety: str
    exchange: str
    tradingsymbol: str
    instrument_token: int
    transaction_type: str
    order_type: str
    product: str
    quantity: int
    order_timestamp: datetime
    at: datetime
    status: Status = Status.PUT
    status_message: str | None = None
    exchange_order_id: str | None = None
    exchange_timestamp: datetime | None = None
    exchange_update_timestamp: datetime | None = None
    parent_order_id: str | None = None
    validity: str = "DAY"
    validity_ttl: int = 0
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    average_price: Decimal = ZERO
    disclosed_quantity: int = 0
    filled_quantity: int = 0
    market_protection: Decimal = ZERO
    auction_number: str | None = None
    tag: str | None = None
    tags: tuple[str, ...] = ()
    modified: bool = False
    meta: dict[str, Any] = field(default_factory=dict)
    # From here on the sandbox's own: what comes next and when, a change under way, how far the order may go in price.
    todo: tuple[Status, ...] = ()
    due: datetime | None = None
    change: dict[str, str] = field(default_factory=dict)
    modifications: int = 0
    limit: Decimal | None = None
    triggered: bool = False
    fate: str = ""

    @property
    def symbol(self) -> str:
        """`EXCHANGE:TRADINGSYMBOL`."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def sign(self) -> int:
        """1 for a purchase, -1 for a sale."""
        return 1 if self.transaction_type == "BUY" else -1

    @property
    def left(self) -> int:
        """Units that may still trade."""
        return 0 if self.status in ENDED else self.quantity - self.filled_quantity

    @property
    def has_trigger(self) -> bool:
        """True while the order waits for its trigger price."""
        return self.order_type in ("SL", "SL-M") and not self.triggered


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One execution."""

    trade_id: str
    order_id: str
    exchange_order_id: str
    exchange: str
    tradingsymbol: str
    instrument_token: int
    product: str
    transaction_type: str
    quantity: int
    price: Decimal
    at: datetime

    @property
    def symbol(self) -> str:
        """`EXCHANGE:TRADINGSYMBOL`."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def signed(self) -> int:
        """Units bought, negative when sold."""
        return self.quantity if self.transaction_type == "BUY" else -self.quantity


def stamp(at: datetime | None) -> str | None:
    """The vendor's times: India's, to the second, and without a zone."""
    return None if at is None else at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def number(value: Decimal) -> int | float:
    """A JSON number; whole ones without a point, as the vendor writes them."""
    return int(value) if value == value.to_integral_value() else float(value)


def make_secret(*parts: object) -> str:
    """32 letters and digits that derive from `parts`: tokens here are for rehearsing, and the same in every run."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def order_row(order: Order) -> dict[str, Any]:
    """The order as a row of the book."""
    unfilled = order.quantity - order.filled_quantity
    row = {
        "account_id": order.user_id,
        "placed_by": order.user_id,
        "order_id": order.order_id,
        "exchange_order_id": order.exchange_order_id,
        "parent_order_id": order.parent_order_id,
        "status": str(order.status),
        "status_message": order.status_message,
        "status_message_raw": order.status_message,
        "order_timestamp": stamp(order.order_timestamp),
        "exchange_update_timestamp": stamp(order.exchange_update_timestamp),
        "exchange_timestamp": stamp(order.exchange_timestamp),
        "variety": order.variety,
        "modified": order.modified,
        "exchange": order.exchange,
        "tradingsymbol": order.tradingsymbol,
        "instrument_token": order.instrument_token,
        "order_type": order.order_type,
        "transaction_type": order.transaction_type,
        "validity": order.validity,
        "validity_ttl": order.validity_ttl,
        "product": order.product,
        "quantity": order.quantity,
        "disclosed_quantity": order.disclosed_quantity,
        "price": number(order.price),
        "trigger_price": number(order.trigger_price),
        "average_price": number(order.average_price),
        "filled_quantity": order.filled_quantity,
        # As in the vendor's own examples: what a cancel left over stays pending, what was rejected does not.
        "pending_quantity": 0 if order.status is Status.REJECTED else unfilled,
        "cancelled_quantity": unfilled if order.status is Status.CANCELLED else 0,
        "market_protection": number(order.market_protection),
        "auction_number": order.auction_number,
        "meta": order.meta,
        "tag": order.tag,
        "guid": make_secret("guid", order.order_id)[:16],
        "terminal_id": None,
    }
    return {**row, "tags": list(order.tags)} if order.tags else row


def trade_row(trade: Trade) -> dict[str, Any]:
    """The execution as a row of the trade book."""
    return {
        "trade_id": trade.trade_id,
        "order_id": trade.order_id,
        "exchange_order_id": trade.exchange_order_id,
        "exchange": trade.exchange,
        "tradingsymbol": trade.tradingsymbol,
        "instrument_token": trade.instrument_token,
        "product": trade.product,
        "transaction_type": trade.transaction_type,
        "quantity": trade.quantity,
        "average_price": number(trade.price),
        "filled": trade.quantity,
        "order_timestamp": trade.at.astimezone(IST).strftime("%H:%M:%S"),
        "fill_timestamp": stamp(trade.at),
        "exchange_timestamp": stamp(trade.at),
    }
