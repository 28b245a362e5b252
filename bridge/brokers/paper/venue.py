"""The paper venue's matching engine, pure: books, command, price and time in; changes and reports out.

How orders fill:

- A MARKET order fills at once and wholly at the latest price plus slippage, rounded to the tick against the trader; a
  `fill_ratio` below one only splits it into several executions, so that it always ends. SL-M is MARKET once triggered.
- A LIMIT order that can trade when it arrives takes the price (plus slippage) when that is better than its limit. One
  that rests fills at its limit exactly, once a price is at or beyond it: a real one would have been met on the way.
- Each price fills `fill_ratio` of what is left, in whole lots and at least one. What is left of an IOC order is
  cancelled on arrival, of a DAY order expires at the end of the session or, at the latest, with the next day.
- A stop triggers on a price at or beyond its trigger.
"""

from collections.abc import Collection
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Decimal

from bridge.brokers.charges import charges_for
from bridge.brokers.paper.admission import check_price, check_request, reason_of
from bridge.brokers.paper.margin import check_margin, margin_of
from bridge.brokers.paper.values import (
    Changes,
    Desk,
    OrderRequest,
    PaperAccount,
    PaperOrder,
    PaperPolicy,
    PaperPosition,
)
from bridge.core.clock import market_day
from bridge.core.enums import ReportKind, Side, TimeInForce
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, PAISA, ZERO, average, floor_to, to_text
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from bridge.core.replacement import Terms
from bridge.core.report import Report
from bridge.core.values import evolve

BASIS_POINTS = Decimal(10_000)
# A market order is split into at most this many executions, the last of which takes all that is left.
MAX_PARTS = 10
SESSION_OVER = "The session ended before the order was filled."
CANCELLED_ON_REQUEST = "Cancelled on request."
IOC_OVER = "What could not be filled at once was cancelled (IOC)."
_WITHOUT_CENTURY = 1_000_000  # YYYYMMDD % this = YYMMDD
_ENDS = {
    OrderStatus.CANCELLED: ReportKind.CANCELLED,
    OrderStatus.EXPIRED: ReportKind.EXPIRED,
    OrderStatus.REJECTED: ReportKind.REJECTED,
}
_END_KINDS = frozenset(_ENDS.values())
Part = tuple[Decimal, Decimal]  # units, price


# --- commands -------------------------------------------------------------------------------------------------------


def place_order(
    desk: Desk, request: OrderRequest, instrument: Instrument | None, policy: PaperPolicy, now: datetime
) -> Changes:
    """Take an order in: refused at the door, or in the book as rejected, resting, or filled as far as it goes.

    The same tag again is another order, as at every Indian broker. `start_day` has turned the account to today.
    """
    refusal = check_request(request, instrument, now)
    if refusal or instrument is None:
        return Changes(account=desk.account, refusal=refusal)
    turn = _Turn(desk, instrument, policy, now)
    price = desk.price_of(request.symbol)
    rejection = check_price(request, price)
    opening = unit_margin = ZERO
    if not rejection:
        px = _margin_px(request, price, instrument, policy)
        opening, unit_margin, rejection = check_margin(desk, request, instrument, policy, px)
    order = _book_order(desk.account, request, now, opening, unit_margin)
    turn.record(None, turn.end(order, OrderStatus.REJECTED, rejection) if rejection else _arrive(turn, order, price))
    return turn.changes(placed=1)


def match_price(desk: Desk, instrument: Instrument, price: Decimal, policy: PaperPolicy, now: datetime) -> Changes:
    """Let the working orders of one symbol meet a new price, in the order of their arrival."""
    turn = _Turn(desk, instrument, policy, now)
    for order in sorted(desk.working.values(), key=lambda order: order.broker_order_id):
        if would_move(order, price):
            turn.record(order, _meet(turn, order, price, arrives=False))
    return turn.changes()


def cancel_order(desk: Desk, order: PaperOrder | None, now: datetime) -> Changes:
    """Take a working order out of the book; refused when it is not there or has ended."""
    if order is None:
        return Changes(account=desk.account, refusal="There is no such order.")
    if order.status.is_closed:
        return Changes(account=desk.account, refusal=f"The order is {order.status} already and cannot be cancelled.")
    return _end_all(desk, [order], OrderStatus.CANCELLED, CANCELLED_ON_REQUEST, now)


def change_order(
    desk: Desk, order: PaperOrder | None, terms: Terms, instrument: Instrument | None, policy: PaperPolicy, now: datetime
) -> Changes:
    """Give a working order other terms, under which it meets the latest price at once; refused when it may not have them."""
    if order is None or instrument is None:
        return Changes(account=desk.account, refusal="There is no such order.")
    request = _wish_of(order, terms)
    refusal = _check_change(order, request) or check_request(request, instrument, now)
    price = desk.price_of(order.symbol)
    if not refusal and not order.is_triggered:
        refusal = check_price(request, price)
    if refusal:
        return Changes(account=desk.account, refusal=refusal)
    others = {ident: other for ident, other in desk.working.items() if ident != order.broker_order_id}
    freed = evolve(desk.account, order_margin=desk.account.order_margin - order.margin)
    left = evolve(request, order_qty=request.order_qty - order.cum_qty)
    px = _margin_px(request, price, instrument, policy)
    opening, unit_margin, refusal = check_margin(evolve(desk, account=freed, working=others), left, instrument, policy, px)
    if refusal:
        return Changes(account=desk.account, refusal=refusal)
    turn = _Turn(desk, instrument, policy, now)
    changed = evolve(
        order, order_qty=request.order_qty, price=request.price, trigger_price=request.trigger_price, updated_at=now,
        is_taking=False, opening_qty=opening, unit_margin=unit_margin,
    )  # fmt: skip
    turn.reports.append(_report(changed, ReportKind.REPLACED, now, terms=terms_of_row(changed)))
    turn.record(order, changed if price is None else _meet(turn, changed, price, arrives=True))
    return turn.changes()


def _wish_of(order: PaperOrder, terms: Terms) -> OrderRequest:
    kind = order.ord_type
    return OrderRequest(
        tag=order.tag,
        symbol=order.symbol,
        product=order.product,
        side=order.side,
        order_qty=terms.order_qty,
        ord_type=kind,
        time_in_force=order.time_in_force,
        price=(terms.price or order.price) if kind.needs_price else None,
        trigger_price=(terms.trigger_price or order.trigger_price) if kind.needs_trigger else None,
    )


def _check_change(order: PaperOrder, request: OrderRequest) -> str:
    if order.status.is_closed:
        return f"The order is {order.status} already and cannot be changed."
    if order.legs is not None:
        return "A protective order cannot be changed."
    if request.order_qty <= order.cum_qty:
        return f"Of the order {to_text(order.cum_qty)} are filled already."
    return ""


def terms_of_row(order: PaperOrder) -> Terms:
    """How much at what price."""
    return Terms(order_qty=order.order_qty, price=order.price, trigger_price=order.trigger_price)


def end_of_day(desk: Desk, now: datetime) -> Changes:
    """The session is over: everything that works expires. `desk.working` holds all of the account's working orders."""
    working = [order for order in desk.working.values() if not order.is_waiting]
    return _end_all(desk, working, OrderStatus.EXPIRED, SESSION_OVER, now)


def start_day(desk: Desk, now: datetime) -> Changes:
    """Turn the account to today: what still works from an earlier day expires; `desk` is as for `end_of_day`."""
    today = market_day(now)
    stale = [order for order in desk.working.values() if market_day(_working_since(order)) != today and not order.is_waiting]
    changes = _end_all(desk, stale, OrderStatus.EXPIRED, SESSION_OVER, now)
    return evolve(changes, account=evolve(changes.account, day=today))


def would_move(order: PaperOrder, price: Decimal) -> bool:
    """True when a price triggers or fills a working order."""
    if order.is_waiting:
        return order.leg_at(price) is not None
    if order.ord_type.needs_trigger and not order.is_triggered:
        return _reaches(order.side, price, order.trigger_price)
    return _reaches(order.side.opposite, price, order.price)


# --- one command at work --------------------------------------------------------------------------------------------


class _Turn:
    """The books while one command works on them; seen by nobody else."""

    __slots__ = ("charges", "desk", "instrument", "now", "order_margin", "orders", "policy", "position_margin",
                 "positions", "realized", "reports")  # fmt: skip

    def __init__(self, desk: Desk, instrument: Instrument, policy: PaperPolicy, now: datetime):
        self.desk = desk
        self.instrument = instrument
        self.policy = policy
        self.now = now
        self.orders: list[PaperOrder] = []
        self.positions: dict[PositionKey, PaperPosition | None] = {}
        self.reports: list[Report] = []
        self.realized = self.charges = self.order_margin = self.position_margin = ZERO

    def record(self, before: PaperOrder | None, after: PaperOrder) -> None:
        """Keep what became of an order, and what that does to the margin blocked."""
        self.order_margin += after.margin - (before.margin if before is not None else ZERO)
        self.orders.append(after)

    def end(self, order: PaperOrder, status: OrderStatus, message: str) -> PaperOrder:
        """The order closed, and told so."""
        self.reports.append(_report(order, _ENDS[status], self.now, message))
        return evolve(order, status=status, message=message, updated_at=self.now)

    def changes(self, *, placed: int = 0) -> Changes:
        """All of it, with the account's sums."""
        old = self.desk.account
        account = PaperAccount(  # spelt out, since `replace` costs twice as much and this runs for every order
            account=old.account,
            opening_cash=old.opening_cash,
            realized_pnl=old.realized_pnl + self.realized,
            charges=old.charges + self.charges,
            position_margin=old.position_margin + self.position_margin,
            order_margin=old.order_margin + self.order_margin,
            last_number=old.last_number + placed,
            day=old.day,
        )
        return Changes(account=account, orders=tuple(self.orders), positions=self.positions, reports=tuple(self.reports))


def _arrive(turn: _Turn, order: PaperOrder, price: Decimal | None) -> PaperOrder:
    """A new order that is in order: it meets the latest price, and rests or ends with what is left."""
    arrived = order if price is None else _meet(turn, order, price, arrives=True)
    if not arrived.cum_qty:
        turn.reports.append(_report(order, ReportKind.PLACED, turn.now))
    if arrived.time_in_force is TimeInForce.IOC and not arrived.status.is_closed:
        return turn.end(arrived, OrderStatus.CANCELLED, IOC_OVER)
    return arrived


def _meet(turn: _Turn, order: PaperOrder, price: Decimal, *, arrives: bool) -> PaperOrder:
    """A working order meets a price; a stop that triggers arrives in the market with it."""
    if order.is_waiting:
        leg = order.leg_at(price)
        if leg is None:
            return order
        order, arrives = evolve(order, is_triggered=True, price=leg.limit_px, updated_at=turn.now), True
    if order.ord_type.needs_trigger and not order.is_triggered:
        if not _reaches(order.side, price, order.trigger_price):
            return order
        order, arrives = evolve(order, is_triggered=True, updated_at=turn.now), True
    px = _slipped(price, order.side, turn.instrument.tick, turn.policy.slippage_bps)
    lot, ratio = turn.instrument.lot, turn.policy.fill_ratio
    limit = order.price
    if limit is None:
        return _execute(turn, order, _split(order.leaves_qty, ratio, lot), px, is_taking=True)
    if not _reaches(order.side.opposite, price, limit):
        return order
    is_taking = arrives or order.is_taking
    if not is_taking or _reaches(order.side, px, limit):
        px = limit
    return _execute(turn, order, [_part(order.leaves_qty, ratio, lot)], px, is_taking=is_taking)


def _execute(turn: _Turn, order: PaperOrder, parts: list[Decimal], px: Decimal, *, is_taking: bool) -> PaperOrder:
    """The order after executions at `px`; money and position go along, fill by fill as in everybody else's books."""
    fills, multiplier = list(order.fills), turn.instrument.multiplier
    cum_qty, charged = order.cum_qty, order.charges
    traded = order.cum_value * multiplier
    for qty in parts:
        charges = ZERO
        if turn.policy.charges:
            charges = charges_for(
                turn.instrument, order.product, order.side, qty, px, at=turn.now, traded=traded, charged=charged
            )
        exec_id = f"{order.broker_order_id}-{len(fills) + 1}"
        fill = _report(order, ReportKind.FILL, turn.now, exec_id=exec_id, last_qty=qty, last_px=px, charges=charges)
        fills.append(fill)
        turn.reports.append(fill)
        _move_position(turn, order, qty, px)
        cum_qty, charged, traded = cum_qty + qty, charged + charges, traded + qty * px * multiplier
    turn.charges += charged - order.charges
    return evolve(
        order,
        status=OrderStatus.FILLED if cum_qty == order.order_qty else OrderStatus.PARTIAL,
        is_taking=is_taking,
        cum_qty=cum_qty,
        cum_value=order.cum_value + (cum_qty - order.cum_qty) * px,
        charges=charged,
        fills=tuple(fills),
        updated_at=turn.now,
    )


def _move_position(turn: _Turn, order: PaperOrder, qty: Decimal, px: Decimal) -> None:
    """The position after `qty` more units of the order, with the profit and the margin that go along."""
    account, instrument = turn.desk.account.account, turn.instrument
    key = PositionKey(account, order.symbol, order.product)
    before = turn.positions[key] if key in turn.positions else turn.desk.positions.get(key)
    held, cost, margin = (before.quantity, before.cost, before.margin) if before is not None else (ZERO, ZERO, ZERO)
    quantity, cost, realized = _net(held, cost, qty if order.side is Side.BUY else -qty, px)
    turn.realized += realized * instrument.multiplier
    blocked = margin_of(instrument, turn.policy, order.product, quantity, cost).quantize(PAISA, ROUND_UP)
    turn.position_margin += blocked - margin
    moved = PaperPosition(
        account=account,
        symbol=order.symbol,
        product=order.product,
        multiplier=instrument.multiplier,
        quantity=quantity,
        cost=cost,
        margin=blocked,
    )
    turn.positions[key] = moved if quantity else None


def _net(held: Decimal, cost: Decimal, signed: Decimal, px: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    """Units, cost and profit taken after trading `signed` units; exact: profit = change of cost less what was paid.

    Closing takes cost out in proportion; a trade through zero closes everything and opens the rest at its own price.
    """
    quantity = held + signed
    if not held or (held > 0) == (signed > 0):
        return quantity, cost + signed * px, ZERO
    if abs(signed) > abs(held):
        return quantity, quantity * px, held * px - cost
    cost_out = average(cost * -signed, held) if quantity else cost
    return quantity, cost - cost_out, -signed * px - cost_out


# --- parts ----------------------------------------------------------------------------------------------------------


def _book_order(
    account: PaperAccount, request: OrderRequest, now: datetime, opening_qty: Decimal, unit_margin: Decimal
) -> PaperOrder:
    """The request as a row of the book; its id is YYMMDD and a running number that never starts again."""
    return PaperOrder(
        account=account.account,
        broker_order_id=f"{account.day % _WITHOUT_CENTURY:06d}{account.last_number + 1:09d}",
        tag=request.tag,
        symbol=request.symbol,
        product=request.product,
        side=request.side,
        order_qty=request.order_qty,
        ord_type=request.ord_type,
        time_in_force=request.time_in_force,
        price=request.price if request.ord_type.needs_price else None,
        trigger_price=request.trigger_price if request.ord_type.needs_trigger else None,
        legs=request.legs,
        placed_at=now,
        updated_at=now,
        opening_qty=opening_qty,
        unit_margin=unit_margin,
    )


def _working_since(order: PaperOrder) -> datetime:
    """Since when it works in the market: a leg that has triggered makes an order of that day."""
    return order.placed_at if order.legs is None else order.updated_at


def _end_all(desk: Desk, orders: Collection[PaperOrder], status: OrderStatus, message: str, now: datetime) -> Changes:
    freed = sum((order.margin for order in orders), ZERO)
    return Changes(
        account=evolve(desk.account, order_margin=desk.account.order_margin - freed),
        orders=tuple(evolve(order, status=status, message=message, updated_at=now) for order in orders),
        reports=tuple(_report(order, _ENDS[status], now, message) for order in orders),
    )


def _report(
    order: PaperOrder,
    kind: ReportKind,
    now: datetime,
    message: str = "",
    *,
    exec_id: str = "",
    last_qty: Decimal = ZERO,
    last_px: Decimal = ZERO,
    charges: Decimal = ZERO,
    terms: Terms | None = None,
) -> Report:
    return Report(
        account=order.account,
        kind=kind,
        tag=order.tag,
        broker_order_id=order.broker_order_id,
        transact_time=now,
        exec_id=exec_id,
        last_qty=last_qty,
        last_px=last_px,
        charges=charges,
        message=message,
        cum_qty=order.cum_qty if kind in _END_KINDS else None,
        terms=terms,
        reason=reason_of(message) if kind is ReportKind.REJECTED else None,
    )


def _reaches(side: Side, price: Decimal, level: Decimal | None) -> bool:
    """True when a price that moves against a trader of this side (up for a buy) has come to `level`."""
    return level is not None and (price >= level if side is Side.BUY else price <= level)


def _slipped(price: Decimal, side: Side, tick: Decimal, slippage_bps: Decimal) -> Decimal:
    """The price a taker gets, on the tick on the worse side; never below one tick."""
    if side is Side.BUY:
        return (price * (ONE + slippage_bps / BASIS_POINTS) / tick).to_integral_value(ROUND_CEILING) * tick
    steps = (price * (ONE - slippage_bps / BASIS_POINTS) / tick).to_integral_value(ROUND_FLOOR)
    return max(steps, ONE) * tick


def _part(leaves: Decimal, fill_ratio: Decimal, lot: Decimal) -> Decimal:
    """How much of what is left one price fills: whole lots, at least one."""
    return min(leaves, max(lot, floor_to(leaves * fill_ratio, lot)))


def _split(leaves: Decimal, fill_ratio: Decimal, lot: Decimal) -> list[Decimal]:
    """The executions of an order that fills wholly at one price."""
    parts: list[Decimal] = []
    while leaves and len(parts) < MAX_PARTS - 1:
        parts.append(_part(leaves, fill_ratio, lot))
        leaves -= parts[-1]
    return [*parts, leaves] if leaves else parts


def _margin_px(request: OrderRequest, price: Decimal | None, instrument: Instrument, policy: PaperPolicy) -> Decimal:
    """The price that margin is counted at: the limit, else the trigger, else what a taker would get now."""
    if request.ord_type.needs_price and request.price is not None:
        return request.price
    if request.ord_type.needs_trigger and request.trigger_price is not None:
        return request.trigger_price
    return ZERO if price is None else _slipped(price, request.side, instrument.tick, policy.slippage_bps)
