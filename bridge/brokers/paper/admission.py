"""What the paper broker says no to: at the door (refused, no order comes to be) or in its book (rejected)."""

from datetime import datetime
from decimal import Decimal

from bridge.brokers.paper.values import OrderRequest
from bridge.core.clock import market_day
from bridge.core.enums import InstrumentKind, OrdType, Product, Side, TimeInForce
from bridge.core.instrument import Instrument
from bridge.core.money import is_multiple, to_text
from bridge.core.protection import Legs
from bridge.core.reasons import Reason

# Delivery and margin funding are for shares, overnight margin for derivatives.
PRODUCTS_OF_SHARES = frozenset({Product.CNC, Product.MTF, Product.MIS})
PRODUCTS_OF_DERIVATIVES = frozenset({Product.NRML, Product.MIS})
# Begins what is said of a trigger that could not wait any more.
_MET = "Trigger already met"


def check_request(request: OrderRequest, instrument: Instrument | None, now: datetime) -> str:
    """Why the request is not an order at all, as a broker's front desk sees it; empty when it is."""
    if instrument is None:
        return f"{request.symbol} is not an instrument that is known here."
    return (
        _check_instrument(request, instrument, now)
        or _check_quantity(request, instrument)
        or _check_prices(request, instrument)
    )


def _check_instrument(request: OrderRequest, instrument: Instrument, now: datetime) -> str:
    if instrument.kind is InstrumentKind.INDEX:
        return f"{request.symbol} is an index and cannot be traded."
    expiry = instrument.expiry
    if expiry is not None and expiry.year * 10_000 + expiry.month * 100 + expiry.day < market_day(now):
        return f"{request.symbol} expired on {expiry.isoformat()}."
    allowed = PRODUCTS_OF_SHARES if instrument.kind is InstrumentKind.EQ else PRODUCTS_OF_DERIVATIVES
    if request.product not in allowed:
        return f"Product {request.product} is not offered for {request.symbol}."
    return ""


def _check_quantity(request: OrderRequest, instrument: Instrument) -> str:
    if request.order_qty <= 0 or not is_multiple(request.order_qty, instrument.lot):
        lot = to_text(instrument.lot)
        return f"Quantity {to_text(request.order_qty)} is not a positive multiple of the lot of {lot}."
    return ""


def _check_prices(request: OrderRequest, instrument: Instrument) -> str:
    kind, price, trigger = request.ord_type, request.price, request.trigger_price
    if kind is OrdType.MARKET:
        return ""
    if kind is OrdType.GTT or request.legs is not None:
        return _check_legs(request, instrument)
    if kind.needs_price and price is None:
        return f"An order of type {kind} needs a price."
    if kind.needs_trigger and trigger is None:
        return f"An order of type {kind} needs a trigger price."
    if kind.needs_trigger and request.time_in_force is TimeInForce.IOC:
        return f"An order of type {kind} cannot be IOC."
    for value in (price if kind.needs_price else None, trigger if kind.needs_trigger else None):
        if value is not None and (value <= 0 or not is_multiple(value, instrument.tick)):
            return f"Price {to_text(value)} is not a positive multiple of the tick of {to_text(instrument.tick)}."
    if kind is OrdType.SL and price is not None and trigger is not None and _is_beyond(request.side, trigger, price):
        return f"Trigger price {to_text(trigger)} is beyond the limit price {to_text(price)}: the order could not fill."
    return ""


def _check_legs(request: OrderRequest, instrument: Instrument) -> str:
    legs = request.legs.by_price if request.legs is not None else ()
    if request.ord_type is not OrdType.GTT or not legs:
        return "An order with legs is of type GTT, and one of that type has at least one leg."
    for value in (value for leg in legs for value in (leg.trigger_px, leg.limit_px)):
        if value <= 0 or not is_multiple(value, instrument.tick):
            return f"Price {to_text(value)} is not a positive multiple of the tick of {to_text(instrument.tick)}."
    return ""


def check_price(request: OrderRequest, price: Decimal | None) -> str:
    """Why the exchange would reject an order at the latest price; empty when it would not."""
    trigger = request.trigger_price
    if request.ord_type is OrdType.MARKET and price is None:
        return f"No price is known for {request.symbol}, so a market order cannot be filled."
    if request.legs is not None and price is not None:
        return _check_not_met(request, request.legs, price)
    if not request.ord_type.needs_trigger or trigger is None or price is None:
        return ""
    if _is_beyond(request.side, price, trigger):
        rule = "below" if request.side is Side.BUY else "above"
        last = to_text(price)
        return f"Trigger price {to_text(trigger)} of a stop {request.side} order cannot be {rule} the last price {last}."
    return ""


def _check_not_met(request: OrderRequest, legs: Legs, price: Decimal) -> str:
    """A trigger that the price has reached already would wait for it from the other side."""
    for leg, waits_for_more in ((legs.stop, request.side is Side.BUY), (legs.target, request.side is Side.SELL)):
        if leg is not None and (price >= leg.trigger_px if waits_for_more else price <= leg.trigger_px):
            return f"{_MET}: {to_text(leg.trigger_px)}, and the last price is {to_text(price)}."
    return ""


def reason_of(message: str) -> Reason | None:
    """What a rejection in these words comes to for the bridge."""
    return Reason.TRIGGER_MET if message.startswith(_MET) else None


def _is_beyond(side: Side, value: Decimal, bound: Decimal) -> bool:
    """True when `value` is on the far side of `bound` for the trader: above it for a buy, below it for a sell."""
    return value > bound if side is Side.BUY else value < bound
