"""Delivery: which of the shares that lie at the broker from days before are those that our books hold.

A broker lists shares bought under a delivery product among its positions on the day alone; from the next one on they are
holdings, together with whatever else the person owns. Those that our books do not hold are none of the bridge's business:
they are no difference, and no exit sells them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from bridge.core.money import ZERO
from bridge.core.report import BrokerPosition, Holding

# One share is listed at both, and lies in the account once, under whichever exchange the broker names.
TWINS = frozenset({"NSE", "BSE"})
Quantities = Mapping[str, Mapping[str, Decimal]]  # by symbol and product


def net_quantities(positions: Iterable[BrokerPosition]) -> dict[str, dict[str, Decimal]]:
    """The broker's positions of the day that are not flat."""
    found: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for held in positions:
        if held.quantity:
            found[held.symbol][held.product.value] = found[held.symbol].get(held.product.value, ZERO) + held.quantity
    return found


def add_delivered(nets: Quantities, holdings: Iterable[Holding], ours: Quantities) -> dict[str, dict[str, Decimal]]:
    """The broker's positions with as many of the delivered shares as our books hold beyond the day's; never more."""
    pool: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for holding in holdings:
        pool[_share_of(holding.symbol), holding.product.value] += holding.quantity
    found = {symbol: dict(products) for symbol, products in nets.items()}
    keys = {(symbol, product) for books in (ours, nets) for symbol, products in books.items() for product in products}
    for symbol, product in sorted(keys):
        held, net = ours.get(symbol, {}).get(product, ZERO), nets.get(symbol, {}).get(product, ZERO)
        taken = min(max(held - net, ZERO), pool[_share_of(symbol), product])
        if taken:
            pool[_share_of(symbol), product] -= taken
            found.setdefault(symbol, {})[product] = net + taken
    return found


def _share_of(symbol: str) -> str:
    exchange, _, name = symbol.partition(":")
    return name if exchange in TWINS else symbol
