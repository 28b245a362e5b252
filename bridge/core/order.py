"""Order: ours from approval on; changed only by events that its state table allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.decision import Approved
from bridge.core.enums import OrdType, Side, Variety
from bridge.core.fill import Fill
from bridge.core.ids import make_cl_ord_id, make_tag
from bridge.core.money import ZERO, average
from bridge.core.order_states import OrderEventKind, OrderStatus, next_status
from bridge.core.replacement import Replacement, Terms, with_terms
from bridge.core.signal import OrderIntent
from bridge.core.values import evolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order and what became of it so far.

    `cum_qty` units are filled for `cum_value` rupees in all (price x quantity, without multiplier and charges);
    `exec_ids` are the executions already counted, so that a repeated report changes nothing. `sends` counts the times
    the order left for the broker, `sent_at` is the last of them. `code` is the Reason for which the bridge itself
    withdrew the order, or that the broker's rejection comes to, `message` the broker's or our own last word on it. `replace`
    is a change that was asked for and not answered yet, `replaces` counts all that were; `terms_at` is the broker's time of
    the last one.
    """

    cl_ord_id: str
    tag: str
    intent: OrderIntent
    status: OrderStatus
    created_at: datetime
    updated_at: datetime
    cum_qty: Decimal = ZERO
    cum_value: Decimal = ZERO
    broker_order_id: str | None = None
    exec_ids: tuple[str, ...] = ()
    sends: int = 0
    sent_at: datetime | None = None
    code: str = ""
    message: str = ""
    replace: Replacement | None = None
    replaces: int = 0
    terms_at: datetime | None = None

    @property
    def open_qty(self) -> Decimal:
        """Units it may be for: while a change is asked for, the larger of its own and what is wished."""
        wished = self.replace
        if wished is None or wished.renews:
            return self.intent.order_qty
        return max(self.intent.order_qty, wished.terms.order_qty)

    @property
    def leaves_qty(self) -> Decimal:
        """Units that can still be filled; zero once the order is closed."""
        if self.status.is_closed:
            return ZERO
        return max(ZERO, self.open_qty - self.cum_qty)

    @property
    def signed_leaves(self) -> Decimal:
        """`leaves_qty` with the sign of the side."""
        leaves = self.leaves_qty
        return leaves if self.intent.side is Side.BUY else -leaves

    @property
    def avg_px(self) -> Decimal:
        """Mean price of what is filled; zero when nothing is."""
        return average(self.cum_value, self.cum_qty)

    @property
    def is_resting(self) -> bool:
        """True for an order that may lie in the book for long: a limit or stop order, or one for the next session."""
        return self.intent.ord_type is not OrdType.MARKET or self.intent.variety is Variety.AMO

    @property
    def is_protection(self) -> bool:
        """True for a stop, a target or both that wait at the broker to close what an entry opened."""
        return self.intent.legs is not None


def create_order(approved: Approved, created_at: datetime) -> Order:
    """The order of an approved intent; its id and tag derive from the alert, so a replay makes the same ones."""
    intent = approved.intent
    cl_ord_id = make_cl_ord_id(intent.alert_id, intent.leg, intent.part)
    return Order(
        cl_ord_id=cl_ord_id,
        tag=make_tag(cl_ord_id, created_at),
        intent=intent,
        status=OrderStatus.NEW,
        created_at=created_at,
        updated_at=created_at,
    )


def whole_of(parts: Sequence[Order]) -> Order:
    """The order that was wished, as its parts stand: all quantities together, and the state of the part that tells most.

    That is one that is open, else one that has not filled, else the last. Parts come in order; one alone is itself.
    """
    if len(parts) == 1:
        return parts[0]
    telling = next((order for order in parts if not order.status.is_closed), None) or next(
        (order for order in parts if order.status is not OrderStatus.FILLED), parts[-1]
    )
    return evolve(
        telling,
        cl_ord_id=parts[0].cl_ord_id,
        intent=evolve(parts[0].intent, order_qty=sum((order.intent.order_qty for order in parts), ZERO)),
        cum_qty=sum((order.cum_qty for order in parts), ZERO),
        cum_value=sum((order.cum_value for order in parts), ZERO),
    )


def apply_event(
    order: Order,
    event: OrderEventKind,
    at: datetime,
    *,
    broker_order_id: str | None = None,
    code: str = "",
    message: str = "",
    replace: Replacement | None = None,
    terms: Terms | None = None,
    terms_at: datetime | None = None,
) -> Order:
    """The order after an event that moves no quantity; IllegalTransitionError leaves everything as it was.

    `replace` goes with REPLACE_ASKED, and with a CANCEL_ASKED that is to renew the order. REPLACED makes `terms` the order's,
    or where none are told those that were asked for, as of `terms_at`.
    """
    changed = _change(order, event, replace, terms)
    is_replacing = changed.replace is not None
    status = next_status(order.status, event, cum_qty=order.cum_qty, order_qty=changed.open_qty, is_replacing=is_replacing)
    sending = event is OrderEventKind.SENDING
    return evolve(
        changed,
        status=status,
        updated_at=at,
        broker_order_id=broker_order_id or order.broker_order_id,
        sends=order.sends + sending,
        sent_at=at if sending else order.sent_at,
        code=code or order.code,
        message=message or order.message,
        replace=_replace_in(status, changed.replace),
        terms_at=terms_at or order.terms_at,
    )


def _change(order: Order, event: OrderEventKind, replace: Replacement | None, terms: Terms | None) -> Order:
    """The order with its terms, and what is asked of them, as they are after the event."""
    asked = order.replace
    if replace is not None:
        return evolve(order, replace=replace, replaces=order.replaces + 1)
    if event is OrderEventKind.REPLACED:
        new = terms or (asked.terms if asked is not None else None)
        return order if new is None else evolve(order, intent=with_terms(order.intent, new), replace=None)
    if event is OrderEventKind.REPLACE_REFUSED:
        return evolve(order, replace=None)
    # A renewal ends with the cancel that it began with; a change that was asked for before the cancel stays asked.
    is_over = event is OrderEventKind.CANCEL_REFUSED and asked is not None and asked.renews
    return evolve(order, replace=None) if is_over else order


def _replace_in(status: OrderStatus, asked: Replacement | None) -> Replacement | None:
    """What is asked of an order that has come to a status: its end ends that too, but what was cancelled to be renewed is."""
    is_over = status.is_closed and not (asked is not None and asked.renews and status is OrderStatus.CANCELLED)
    return None if is_over else asked


def apply_fill(order: Order, fill: Fill, at: datetime) -> Order:
    """The order after one execution; the same `exec_id` again returns the very same order."""
    if fill.exec_id in order.exec_ids:
        return order
    cum_qty = order.cum_qty + fill.last_qty
    status = next_status(order.status, OrderEventKind.FILL, cum_qty=cum_qty, order_qty=order.open_qty)
    return evolve(
        order,
        status=status,
        updated_at=at,
        cum_qty=cum_qty,
        cum_value=order.cum_value + fill.last_qty * fill.last_px,
        replace=_replace_in(status, order.replace),
        # The order that we follow stays the one: a fill under another id is that of a second order under the same tag.
        broker_order_id=order.broker_order_id or fill.broker_order_id,
        exec_ids=(*order.exec_ids, fill.exec_id),
    )
