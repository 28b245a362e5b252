"""The terms of an order: as placed, as changed, and at which price it may trade: its own, or the last one and some."""

from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from bridge.core.money import ONE, ZERO, to_text
from bridge.sandbox.kite.forms import AUTO_PROTECTION, OrderForm
from bridge.sandbox.kite.market import Listed
from bridge.sandbox.kite.values import Order

MARKET_TAG = "mktp"
# Zerodha's automatic bands: percent by last price, for shares and futures, and for options.
_BANDS = ((Decimal(100), Decimal(2)), (Decimal(500), Decimal(1)), (None, Decimal("0.5")))
_OPTION_BANDS = ((Decimal(10), Decimal(5)), (Decimal(100), Decimal(3)), (Decimal(500), Decimal(2)), (None, Decimal(1)))


def make_order(form: OrderForm, order_id: str, user_id: str, at: datetime) -> Order:
    """The first state of an order."""
    item = form.item
    return Order(
        order_id=order_id, user_id=user_id, variety=form.variety, exchange=item.exchange, tradingsymbol=item.tradingsymbol,
        instrument_token=item.token, transaction_type=form.transaction_type, order_type=form.order_type,
        product=form.product, quantity=form.quantity, order_timestamp=at, at=at, validity=form.validity,
        validity_ttl=form.validity_ttl, price=form.price if form.order_type != "MARKET" else ZERO,
        trigger_price=form.trigger_price, disclosed_quantity=form.disclosed_quantity,
        market_protection=form.market_protection, auction_number=form.auction_number, tag=form.tag,
        tags=(form.tag,) if form.tag else (),
    )  # fmt: skip


def first_leg(form: OrderForm) -> tuple[int, dict[str, Any]]:
    """The quantity that goes out at first, and what the row tells of the rest: an iceberg shows its legs one by one."""
    if not form.iceberg_legs:
        return form.quantity, {}
    leg = {
        "leg": 1, "legs": form.iceberg_legs, "leg_quantity": form.iceberg_quantity, "total_quantity": form.quantity,
        "remaining_quantity": form.quantity - form.iceberg_quantity,
    }  # fmt: skip
    return form.iceberg_quantity, {"iceberg": leg}


def next_leg(meta: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The same of the leg after this one; zero when there is none."""
    leg = meta.get("iceberg")
    if not leg or not leg["remaining_quantity"]:
        return 0, {}
    size = min(leg["leg_quantity"], leg["remaining_quantity"])
    return size, {"iceberg": {**leg, "leg": leg["leg"] + 1, "remaining_quantity": leg["remaining_quantity"] - size}}


def is_market(order: Order) -> bool:
    """True for an order that takes the price it finds, however the book shows it."""
    return order.order_type in ("MARKET", "SL-M") or MARKET_TAG in order.tags


def limit_values(order: Order, item: Listed, last: Decimal, *, as_limit: bool) -> dict[str, Any]:
    """The fields that say how far the order may go. A market order is protected, and may be shown as the limit order it is."""
    if not is_market(order):
        return {"limit": order.price}
    percent = order.market_protection
    if percent == AUTO_PROTECTION:
        bands = _OPTION_BANDS if item.is_option else _BANDS
        percent = next(share for top, share in bands if top is None or last < top)
    exact = last * (1 + order.sign * percent / 100)
    rounding = ROUND_FLOOR if order.sign > 0 else ROUND_CEILING
    limit = max((exact / item.tick).quantize(ONE, rounding) * item.tick, item.tick)
    values: dict[str, Any] = {"limit": limit}
    if MARKET_TAG not in order.tags:
        values["tags"] = (*order.tags, MARKET_TAG, f"{MARKET_TAG}:{to_text(percent)}")
    if as_limit:
        values |= {"price": limit, "order_type": "LIMIT" if order.order_type == "MARKET" else order.order_type}
    return values


def changed_values(order: Order) -> dict[str, Any]:
    """The fields that the modification under way sets; it never goes below what has traded meanwhile."""
    change = order.change
    values: dict[str, Any] = {"modified": True, "modifications": order.modifications + 1, "change": {}, "limit": None}
    for name in ("quantity", "validity_ttl", "disclosed_quantity"):
        if name in change:
            values[name] = int(change[name])
    for name in ("price", "trigger_price", "market_protection"):
        if name in change:
            values[name] = Decimal(change[name])
    for name in ("order_type", "validity"):
        if name in change:
            values[name] = change[name]
    values["quantity"] = max(values.get("quantity", order.quantity), order.filled_quantity)
    if values.get("order_type", order.order_type) != order.order_type:
        values["triggered"] = False
    if "price" in change or "order_type" in change:  # no longer the market order it was
        values["tags"] = tuple(tag for tag in order.tags if not tag.startswith(MARKET_TAG))
    return values
