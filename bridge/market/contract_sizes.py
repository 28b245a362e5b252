"""Contract sizes: rupees per point where a dump's lot hides them."""

from decimal import Decimal

from bridge.core.money import ONE

# Rupees that one lot moves per point of price. On these exchanges the dump's lot is 1 and hides the contract's size,
# without which no limit in rupees can hold: a name that is not here cannot be traded.
_CURRENCIES = dict.fromkeys(("USDINR", "EURINR", "GBPINR", "JPYINR"), 1000)
_COMMODITIES = {
    **dict.fromkeys(("GOLDPETAL", "SILVERMIC"), 1),
    **dict.fromkeys(("GOLDM", "CRUDEOILM"), 10),
    **dict.fromkeys(("GOLD", "CRUDEOIL"), 100),
    "SILVERM": 5,
    "SILVER": 30,
    "NATGASMINI": 250,
    "NATURALGAS": 1250,
    "COPPER": 2500,
    **dict.fromkeys(("ZINC", "LEAD", "ALUMINIUM"), 5000),
}
_RUPEES_PER_POINT = {"MCX": _COMMODITIES, "NCO": {}, "CDS": _CURRENCIES, "BCD": _CURRENCIES}
SIZED_EXCHANGES = tuple(_RUPEES_PER_POINT)


def is_sized(exchange: str, name: str) -> bool:
    """True when a contract's size is known, so that a limit in rupees can hold."""
    sizes = _RUPEES_PER_POINT.get(exchange)
    return sizes is None or name in sizes


def multiplier_of(exchange: str, name: str, lot: Decimal) -> Decimal:
    """Rupees per point and unit of quantity."""
    per_lot = _RUPEES_PER_POINT.get(exchange, {}).get(name)
    return ONE if per_lot is None else per_lot / lot
