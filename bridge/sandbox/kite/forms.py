"""Reading an order: what is wrong with the request itself is answered at once, with no row in the book."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from bridge.core.money import ZERO, is_multiple, parse_decimal
from bridge.sandbox.kite.market import Listed, Market
from bridge.sandbox.kite.values import ApiError, Order, bad_input

VARIETIES = ("regular", "amo", "co", "iceberg", "auction")
ORDER_TYPES = ("MARKET", "LIMIT", "SL", "SL-M")
VALIDITIES = ("DAY", "IOC", "TTL")
SHARE_PRODUCTS, OTHER_PRODUCTS = ("CNC", "MIS", "MTF"), ("NRML", "MIS")
EXCHANGES = ("NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCO")
MAX_TAG = 20
MAX_TTL_MINUTES = 360
MIN_LEGS, MAX_LEGS = 2, 50
MAX_PROTECTION = Decimal(100)
AUTO_PROTECTION = Decimal(-1)
UNPROTECTED = (
    "Market orders without market protection are not allowed via API. Please set market protection or use a Limit order."
)
_TAG = re.compile(r"[A-Za-z0-9]*")
MAX_QUANTITY = 10_000_000
CHANGES = (
    *("quantity", "price", "order_type", "trigger_price", "validity", "validity_ttl"),
    *("disclosed_quantity", "market_protection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderForm:
    """A readable order, not yet checked against money, holdings and the exchange's own rules."""

    item: Listed
    variety: str
    transaction_type: str
    order_type: str
    product: str
    quantity: int
    validity: str
    validity_ttl: int
    price: Decimal
    trigger_price: Decimal
    market_protection: Decimal
    disclosed_quantity: int
    auction_number: str | None
    tag: str | None
    iceberg_legs: int
    iceberg_quantity: int
    autoslice: bool


def read_order(form: Mapping[str, str], variety: str, market: Market) -> OrderForm:
    """The order of a request; ApiError names the first thing wrong with it."""
    if variety not in VARIETIES:
        raise bad_input("Invalid `variety`.")
    if variety == "co":
        raise ApiError(400, "OrderException", "Cover orders are not available in this sandbox.")
    item = _read_item(form, market)
    order_type = _choose(form, "order_type", ORDER_TYPES)
    validity = _choose(form, "validity", VALIDITIES, "DAY")
    quantity = read_whole(form, "quantity")
    if quantity is None or quantity < 1:
        raise bad_input("Invalid `quantity`.")
    check_lot(item, quantity)
    price, trigger = read_money(form, "price"), read_money(form, "trigger_price")
    check_prices(order_type, price, trigger)
    protection = read_protection(form, order_type)
    legs, leg_quantity = _read_legs(form, variety, item, quantity)
    if variety == "auction" and not form.get("auction_number"):
        raise bad_input("Missing or empty field `auction_number`")
    ttl = check_validity(validity, read_whole(form, "validity_ttl") or 0, order_type, variety)
    return OrderForm(
        item=item, variety=variety, order_type=order_type, validity=validity, quantity=quantity, validity_ttl=ttl,
        transaction_type=_choose(form, "transaction_type", ("BUY", "SELL")),
        product=_choose(form, "product", SHARE_PRODUCTS if item.is_share else OTHER_PRODUCTS),
        price=price, trigger_price=trigger, market_protection=protection,
        disclosed_quantity=read_disclosed(form, quantity), auction_number=form.get("auction_number") or None,
        tag=_read_tag(form), iceberg_legs=legs, iceberg_quantity=leg_quantity,
        autoslice=form.get("autoslice", "").lower() == "true",
    )  # fmt: skip


def _read_item(form: Mapping[str, str], market: Market) -> Listed:
    exchange = _choose(form, "exchange", EXCHANGES)
    symbol = form.get("tradingsymbol", "")
    if not symbol:
        raise bad_input("Missing or empty field `tradingsymbol`")
    item = market.listed.get(f"{exchange}:{symbol}")
    if item is None or item.is_index:
        raise bad_input("The instrument you are placing an order for has either expired or does not exist.")
    return item


def _choose(form: Mapping[str, str], name: str, choices: tuple[str, ...], default: str = "") -> str:
    value = form.get(name) or default
    if not value:
        raise bad_input(f"Missing or empty field `{name}`")
    if value not in choices:
        raise bad_input(f"Invalid `{name}`.")
    return value


def read_whole(form: Mapping[str, str], name: str) -> int | None:
    """A whole number of zero or more; None when the field is absent."""
    text = form.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9) or int(text) > MAX_QUANTITY:
        raise bad_input(f"Invalid `{name}`.")
    return int(text)


def read_money(form: Mapping[str, str], name: str) -> Decimal:
    """Rupees, zero when the field is absent."""
    try:
        value = parse_decimal(form.get(name) or "0")
    except ValueError:
        raise bad_input(f"Invalid `{name}`.") from None
    if value < 0:
        raise bad_input(f"Invalid `{name}`.")
    return value


def check_lot(item: Listed, quantity: int) -> None:
    """Quantities come in whole lots."""
    if quantity % item.lot:
        raise bad_input(f"Invalid quantity. Quantity should be a multiple of {item.lot}.")


def check_prices(order_type: str, price: Decimal, trigger: Decimal) -> None:
    """Each type of order has the prices it needs."""
    if order_type in ("LIMIT", "SL") and not price:
        raise bad_input("Missing or empty field `price`")
    if order_type in ("SL", "SL-M") and not trigger:
        raise bad_input("Missing or empty field `trigger_price`")


def check_ticks(item: Listed, price: Decimal, trigger: Decimal) -> str:
    """What the exchange says of a price between two ticks; empty when all is well."""
    if is_multiple(price, item.tick) and is_multiple(trigger, item.tick):
        return ""
    return f"Tick size for this script is {item.tick}. Kindly enter price in the multiple of tick size for this script."


def read_protection(form: Mapping[str, str], order_type: str) -> Decimal:
    """-1 for automatic, or a percentage; market orders are not taken without it."""
    try:
        value = parse_decimal(form.get("market_protection") or "0")
    except ValueError:
        raise bad_input("Invalid `market_protection`.") from None
    if value != AUTO_PROTECTION and not 0 <= value <= MAX_PROTECTION:
        raise bad_input("Invalid `market_protection`.")
    if order_type in ("MARKET", "SL-M") and not value:
        raise bad_input(UNPROTECTED)
    return value


def check_validity(validity: str, ttl: int, order_type: str, variety: str) -> int:
    """The minutes of a TTL order, zero for others."""
    if validity == "IOC" and (order_type in ("SL", "SL-M") or variety != "regular"):
        raise bad_input("Invalid `validity`.")
    if validity != "TTL":
        return 0
    if not 1 <= ttl <= MAX_TTL_MINUTES:
        raise bad_input("Invalid `validity_ttl`.")
    return ttl


def read_disclosed(form: Mapping[str, str], quantity: int) -> int:
    """Units shown to others, at most all of them."""
    disclosed = read_whole(form, "disclosed_quantity") or 0
    if disclosed > quantity:
        raise bad_input("Invalid `disclosed_quantity`.")
    return disclosed


def _read_legs(form: Mapping[str, str], variety: str, item: Listed, quantity: int) -> tuple[int, int]:
    if variety != "iceberg":
        return 0, 0
    legs, leg_quantity = read_whole(form, "iceberg_legs"), read_whole(form, "iceberg_quantity")
    if legs is None or not MIN_LEGS <= legs <= MAX_LEGS:
        raise bad_input("Invalid `iceberg_legs`.")
    if leg_quantity is None or leg_quantity % item.lot or not 1 <= leg_quantity < quantity:
        raise bad_input("Invalid `iceberg_quantity`.")
    if -(-quantity // leg_quantity) != legs:
        raise bad_input("Invalid `iceberg_quantity`.")
    return legs, leg_quantity


def _read_tag(form: Mapping[str, str]) -> str | None:
    tag = form.get("tag") or None
    if tag is not None and (len(tag) > MAX_TAG or not _TAG.fullmatch(tag)):
        raise bad_input("Invalid `tag`.")
    return tag


def read_change(form: Mapping[str, str], order: Order, item: Listed) -> dict[str, str]:
    """What a modification wants changed, checked as far as that goes without the market."""
    change = {name: form[name] for name in CHANGES if form.get(name)}
    order_type = _choose(change, "order_type", ORDER_TYPES, order.order_type)
    quantity = read_whole(change, "quantity") or order.quantity
    check_lot(item, quantity)
    if quantity <= order.filled_quantity:
        raise bad_input("Invalid `quantity`.")
    price = read_money(change, "price") if "price" in change else order.price
    trigger = read_money(change, "trigger_price") if "trigger_price" in change else order.trigger_price
    check_prices(order_type, price if order_type != "MARKET" else ZERO, trigger)
    if order_type in ("MARKET", "SL-M") and order.order_type not in ("MARKET", "SL-M"):
        read_protection(change, order_type)
    validity = _choose(change, "validity", VALIDITIES, order.validity)
    check_validity(validity, read_whole(change, "validity_ttl") or order.validity_ttl, order_type, order.variety)
    read_disclosed(change, quantity)
    return change
