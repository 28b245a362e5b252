"""What an account is worth, what it can still spend, and what an order or a position blocks."""

from decimal import ROUND_UP, Decimal

from bridge.brokers.paper.values import Desk, OrderRequest, PaperPolicy
from bridge.core.enums import Product
from bridge.core.instrument import Instrument
from bridge.core.money import AVERAGE_PLACES, ONE, ZERO, rupees, to_text
from bridge.core.position import PositionKey


def unrealized_pnl(desk: Desk) -> Decimal:
    """Profit of all positions at the latest prices; a position without a price counts as neither."""
    total = ZERO
    for position in desk.positions.values():
        price = desk.price_of(position.symbol)
        if price is not None:
            total += (position.quantity * price - position.cost) * position.multiplier
    return total


def equity(desk: Desk) -> Decimal:
    """What would be left if everything were closed at the latest prices, before the charges of doing so."""
    return desk.account.cash + unrealized_pnl(desk)


def available(desk: Desk) -> Decimal:
    """What can be spent: equity less what positions and working orders block; below zero after losses."""
    return equity(desk) - desk.account.position_margin - desk.account.order_margin


def margin_of(instrument: Instrument, policy: PaperPolicy, product: Product, quantity: Decimal, value: Decimal) -> Decimal:
    """Rupees that `quantity` signed units blocks when it was opened for `value` (price x units, without multiplier).

    The value over the product's leverage. A bought option blocks its premium in full; a written one blocks the value at
    its strike over the leverage, much as the future would, because the premium says nothing of the risk.
    """
    if instrument.kind.is_option:
        if quantity > 0:
            return abs(value) * instrument.multiplier
        if instrument.strike is not None:
            value = quantity * instrument.strike
    return abs(value) * instrument.multiplier / policy.leverage.get(product, ONE)


def opening_qty(desk: Desk, request: OrderRequest) -> tuple[Decimal, Decimal]:
    """Units of the order that enlarge the position, and units that close it (not those working orders will close)."""
    position = desk.positions.get(PositionKey(desk.account.account, request.symbol, request.product))
    if position is None or (position.quantity > 0) == (request.side.sign > 0):
        return request.order_qty, ZERO
    closable = abs(position.quantity)
    for order in desk.working.values():
        if order.side is request.side and order.product is request.product:
            closable -= order.leaves_qty
    closing = min(request.order_qty, max(closable, ZERO))
    return request.order_qty - closing, closing


def check_margin(
    desk: Desk, request: OrderRequest, instrument: Instrument, policy: PaperPolicy, px: Decimal
) -> tuple[Decimal, Decimal, str]:
    """Units that enlarge the position, the margin for each of them, and why there is not enough (empty when there is).

    Closing needs none; an order that turns a position round is helped by the margin that its closing part frees.
    """
    opening, closing = opening_qty(desk, request)
    if not opening:
        return ZERO, ZERO, ""
    if not request.product.may_short and request.side.sign < 0:
        held = f"{to_text(closing)} of {request.symbol} can be sold, {to_text(request.order_qty)} asked"
        return opening, ZERO, f"Insufficient holdings: {held}."
    needed = margin_of(instrument, policy, request.product, request.side.sign * opening, opening * px)
    if closing:
        position = desk.positions[PositionKey(desk.account.account, request.symbol, request.product)]
        needed = max(ZERO, needed - position.margin * closing / abs(position.quantity))
    free = available(desk)
    if needed > free:
        message = f"Insufficient funds. Required margin is {rupees(needed)} but available margin is {rupees(free)}."
        return opening, ZERO, message
    return opening, (needed / opening).quantize(AVERAGE_PLACES, ROUND_UP), ""
