"""Withdrawals: orders that may not rest any more are cancelled, and so is each that turns up later.

What is to be cancelled is read from the books at every pass, so it holds over restarts, and for orders of which nobody knew
at first whether the broker had them.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from bridge.core.clock import Clock
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.risk.halt import cancels_entries
from bridge.store.store import Store
from bridge.store.tx import Tx

# An order that the broker would not cancel is asked for again, but not in a storm.
AGAIN_AFTER_S = 10.0
_WITHDRAWABLE = frozenset({OrderStatus.NEW, OrderStatus.PLACED, OrderStatus.PARTIAL, OrderStatus.REPLACE_PENDING})

Unwanted = tuple[Order, str]  # with the reason, for its record
Search = Callable[[Ledger], Iterable[Unwanted]]


def withdrawable(ledger: Ledger) -> list[Order]:
    """Every open order that can be withdrawn now: unsent, or working and not being cancelled already."""
    found = (order for account in list(ledger.orders.open) for order in ledger.open_orders(account))
    return [order for order in found if order.status in _WITHDRAWABLE]


def halted_entries(ledger: Ledger) -> list[Unwanted]:
    """Entries under a halt that wants them cancelled; what can only close stays."""
    if not any(state.cancels for state in list(ledger.states.values.values())):
        return []
    found = []
    for order in withdrawable(ledger):
        state = cancels_entries(ledger.states_over(order.intent.account, order.intent.strategy))
        if state is not None and not order.intent.reduce_only:
            found.append((order, f"halted ({state.scope}) by {state.by}"))
    return found


class Withdrawals:
    """Looks for orders that may not rest, at every tick of the worker."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        cancel: Callable[[Tx, Order, str, datetime], None],
        searches: Iterable[Search],
    ):
        self._clock = clock
        self._store = store
        self._cancel = cancel
        self._searches = tuple(searches)
        self._asked_s: dict[str, float] = {}

    async def tick(self) -> None:
        """Withdraw what is found; StoreError leaves it to the next tick."""
        if any(self._due(self._store.ledger)):
            self._note_asked(await self._store.write(self._withdraw))

    def _due(self, ledger: Ledger) -> list[Unwanted]:
        now_s = self._clock.monotonic()
        lately = {name for name, asked_s in self._asked_s.items() if now_s - asked_s < AGAIN_AFTER_S}
        found = (unwanted for search in self._searches for unwanted in search(ledger))
        return [(order, why) for order, why in found if order.cl_ord_id not in lately]

    def _withdraw(self, tx: Tx) -> list[str]:
        now, asked = self._clock.now(), []
        for order, why in self._due(tx.ledger):
            current = tx.ledger.orders.get(order.cl_ord_id)  # one that ended may have ended another
            if current is not None and current.status in _WITHDRAWABLE:
                self._cancel(tx, current, why, now)
                asked.append(order.cl_ord_id)
        return asked

    def _note_asked(self, asked: Iterable[str]) -> None:
        known = self._store.ledger.orders.values
        self._asked_s = {name: at_s for name, at_s in self._asked_s.items() if name in known}
        self._asked_s |= dict.fromkeys(asked, self._clock.monotonic())
