"""Margins: before an entry leaves its lane the broker may be asked whether there is money for it. Never in an exit's way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bridge.brokers.base import BookUnreadableError
from bridge.core.enums import Variety
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.risk.usage import closable, key_of

# An answer that takes longer is not waited for: the order goes by our own reckoning, and the broker decides.
PATIENCE_S = 1.0


class Margins:
    """Who can be asked, of which orders, and for how long. `asks` answers why there is not enough; empty when there is."""

    def __init__(self, ledger: Ledger, asks: Mapping[str, Callable[[Order], Awaitable[str]]]) -> None:
        self._ledger = ledger
        self._asks = asks

    def is_asked(self, order: Order) -> bool:
        """True for an entry that is sent whole, now, and closes nothing.

        Of one that goes through zero the broker might name the margin of both halves, and an after-market order may be
        paid for by the morning.
        """
        intent = order.intent
        if intent.account not in self._asks or intent.reduce_only or intent.parts > 1 or intent.variety is Variety.AMO:
            return False
        return not order.sends and not closable(self._ledger, key_of(intent), intent.side)

    async def shortage(self, order: Order, hurry: asyncio.Event) -> str:
        """Why the order is beyond the money there is; empty when it is not, or nobody can say in time.

        The answer is not waited for once there is a `hurry`: something else wants to leave.
        """
        asked = asyncio.ensure_future(self._asks[order.intent.account](order))
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            await asyncio.wait((asked, hurried), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else ""
        except BookUnreadableError:
            return ""
        finally:
            asked.cancel()
            hurried.cancel()
