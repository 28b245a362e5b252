"""What an order needs and costs by Kite's own word: its margin before it leaves, its charges once the day is over.

Asked in a line of its own: neither orders nor looks into the book wait behind a question that may go unanswered.
"""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bridge.brokers.base import BookUnreadableError, ChargedOrder
from bridge.brokers.kite.client import KiteClient
from bridge.brokers.kite.limits import Pace
from bridge.brokers.kite.mapping import ORD_TYPES, PRODUCTS, SIDES, UNREADABLE, VARIETIES, read_number, read_text
from bridge.core.clock import Clock
from bridge.core.money import rupees

# The vendor takes lists; of a length that is nowhere told, so they are kept short.
ORDERS_PER_QUESTION = 50
_MARGIN_WORDS = ("exchange", "tradingsymbol", "transaction_type", "variety", "product", "order_type", "quantity")


class KiteCosts:
    """Questions about money. What cannot be answered raises BookUnreadableError: it is unknown, never nothing."""

    def __init__(self, line: KiteClient, pace: Pace, clock: Clock) -> None:
        self._line = line
        self._pace = pace
        self._clock = clock

    def close(self) -> None:
        """Ask nothing more."""
        self._line.close()

    async def shortage(self, words: Mapping[str, Any]) -> str:
        """Why the order of these words is beyond what is free in its purse; empty when it is not."""
        question = {name: words[name] for name in _MARGIN_WORDS}
        question |= {name: float(words[name] or 0) for name in ("price", "trigger_price")}
        answer = await self._ask("order_margins", [question])
        purses = await self._ask("margins")
        try:
            (row,) = answer
            needed = read_number(row, "total") + read_number(row["charges"], "total")
            free = read_number(purses[read_text(row, "type")], "net")
        except UNREADABLE as error:
            raise BookUnreadableError(f"Kite's word on margins cannot be read: {type(error).__name__}") from None
        if needed <= free:
            return ""
        return f"Kite asks for ₹{rupees(needed)} of margin and charges, and ₹{rupees(max(free, Decimal(0)))} is free."

    async def charges(self, orders: Sequence[ChargedOrder]) -> list[Decimal]:
        """Rupees that each of these orders is charged by the vendor's reckoning, in the same order."""
        found: list[Decimal] = []
        for start in range(0, len(orders), ORDERS_PER_QUESTION):
            some = orders[start : start + ORDERS_PER_QUESTION]
            answer = await self._ask("get_virtual_contract_note", [_question_of(order) for order in some])
            try:
                rows = [read_number(row["charges"], "total") for row in answer]
                names = [f"{row['exchange']}:{row['tradingsymbol']}" for row in answer]
            except UNREADABLE as error:
                raise BookUnreadableError(f"Kite's word on charges cannot be read: {type(error).__name__}") from None
            if names != [order.symbol for order in some]:
                raise BookUnreadableError("Kite's word on charges is about other orders than were asked for.")
            found += rows
        return found

    async def _ask(self, name: str, *words: Any) -> Any:
        await asyncio.sleep(self._pace.take(self._clock.now()))
        answer = await self._line.call(name, *words)
        if answer.data is None:
            raise BookUnreadableError(answer.message or f"Kite does not answer ({name}).")
        return answer.data


def _question_of(order: ChargedOrder) -> dict[str, Any]:
    exchange, _, tradingsymbol = order.symbol.partition(":")
    return {
        "order_id": order.broker_order_id,
        "exchange": exchange,
        "tradingsymbol": tradingsymbol,
        "transaction_type": SIDES[order.side],
        "variety": VARIETIES[order.variety],
        "product": PRODUCTS[order.product],
        "order_type": ORD_TYPES[order.ord_type],
        "quantity": int(order.quantity),
        "average_price": float(order.avg_px),
    }
