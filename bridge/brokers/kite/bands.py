"""Price bands from Kite's quotes: `lower_circuit_limit` and `upper_circuit_limit`, 500 instruments a call."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bridge.brokers.kite.client import KiteClient, TokenSource


class KiteBands:
    """A client and thread of its own: a quote that hangs must hold up neither orders nor their book."""

    def __init__(self, *, root: str, api_key: str, tokens: TokenSource) -> None:
        self._client = KiteClient(api_key=api_key, root=root, tokens=tokens)

    async def read(self, symbols: Sequence[str]) -> Mapping[str, tuple[Decimal, Decimal]] | None:
        """The bands of those that Kite knows; None when it gives no quotes now, as to an app without market data."""
        answer = await self._client.call("quote", *symbols)
        if not isinstance(answer.data, dict):
            return None
        found = {symbol: _read_band(row) for symbol, row in answer.data.items()}
        return {symbol: band for symbol, band in found.items() if band is not None}

    def close(self) -> None:
        """Ask no more."""
        self._client.close()


def _read_band(row: Any) -> tuple[Decimal, Decimal] | None:
    if not isinstance(row, dict):
        return None
    low, high = row.get("lower_circuit_limit"), row.get("upper_circuit_limit")
    if not isinstance(low, int | Decimal) or not isinstance(high, int | Decimal):
        return None
    return (Decimal(low), Decimal(high)) if 0 <= low < high else None  # an index has none, and says 0 and 0
