"""Binary market data, laid out as the vendor's stream: a count of packets, and before each its length; all big-endian."""

import struct
from collections.abc import Iterable
from decimal import Decimal

from bridge.core.clock import Clock
from bridge.sandbox.kite.market import DEPTH, DEPTH_LOTS, Listed, Market, Price

MODES = ("ltp", "quote", "full")
# The last byte of an instrument's token is its segment; currencies have finer prices.
_CURRENCY, _FINE = 3, (6, 12)
_LARGEST = 2**32 - 1
HEARTBEAT = b"\0"


def divisor_of(token: int) -> int:
    """What prices are multiplied by on the wire."""
    segment = token & 0xFF
    if segment == _CURRENCY:
        return 10_000_000
    return 10_000 if segment in _FINE else 100


def pack_frame(packets: Iterable[bytes]) -> bytes:
    """Several packets as one message."""
    listed = list(packets)
    return struct.pack(">H", len(listed)) + b"".join(struct.pack(">H", len(one)) + one for one in listed)


def pack_tick(market: Market, item: Listed, mode: str, clock: Clock) -> bytes:
    """The packet of one instrument: 8, 44 or 184 bytes, and 28 or 32 for an index, which has no market."""
    price, times = market.prices[item.symbol], divisor_of(item.token)

    def wire(value: Decimal) -> int:
        return min(max(int(value * times), 0), _LARGEST)

    head = struct.pack(">II", item.token, wire(price.last))
    if mode == "ltp":
        return head
    now = int(clock.now().timestamp())
    if item.is_index:
        change = int((price.last - price.close) * times)
        body = struct.pack(">IIIIi", wire(price.high), wire(price.low), wire(price.open), wire(price.close), change)
        return head + body + (struct.pack(">I", now) if mode == "full" else b"")
    units = DEPTH * DEPTH_LOTS * item.lot
    quote = struct.pack(
        ">9I", item.lot, wire(price.last), min(price.volume, _LARGEST), units, units,
        wire(price.open), wire(price.high), wire(price.low), wire(price.close),
    )  # fmt: skip
    if mode == "quote":
        return head + quote
    return head + quote + struct.pack(">5I", _traded_at(price), 0, 0, 0, now) + _pack_depth(market, item, times)


def _traded_at(price: Price) -> int:
    return 0 if price.at is None else int(price.at.timestamp())


def _pack_depth(market: Market, item: Listed, times: int) -> bytes:
    levels = [level for side in ("buy", "sell") for level in market.depth(item, side)]
    rows = ((one["quantity"], min(int(Decimal(str(one["price"])) * times), _LARGEST), one["orders"]) for one in levels)
    return b"".join(struct.pack(">IIHxx", *row) for row in rows)
