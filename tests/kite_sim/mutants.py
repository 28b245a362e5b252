"""Bridges that are broken on purpose, to be seen by the stories here; most are those of the simulation."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

from bridge.brokers.kite import adapter, gtt, limits
from bridge.brokers.kite.mapping import write_change
from bridge.core.order import Order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.reasons import Reason
from bridge.execution import orders
from bridge.execution.outbox import Lane
from bridge.execution.retry import Asked
from bridge.execution.throttle import Throttle
from bridge.protecting import Protector
from tests.simulation import mutants
from tests.simulation.mutants import Mutant

_NAMES = ("sends again blindly", "sends again after a crash", "counts fills twice")


def _forget(self: Throttle, sent_at: datetime) -> None:
    return


# -- changes and cancels ----------------------------------------------------------------------------------------------

_call = Lane._call


async def _believe_the_request(self: Lane, asked: Asked, order: Order) -> Any:
    """A change counts as made as soon as it was asked for, whatever the book shows."""
    outcome = await _call(self, asked, order)

    def note(tx: Any) -> None:
        current = tx.ledger.orders.get(order.cl_ord_id)
        if current.status is OrderStatus.REPLACE_PENDING:
            orders.record(tx, current, OrderEventKind.REPLACED, self._clock.now())

    if asked is Asked.REPLACE:
        await self._write(note)
    return outcome


def _change_what_is_left(order: Order, protection: Any) -> dict[str, Any]:
    """Kite's quantity is that of the whole order, the filled part with it."""
    words = write_change(order, protection)
    return {**words, "quantity": max(1, words["quantity"] - int(order.cum_qty))}


def _keep_the_change(_tx: Any, order: Order, _at: datetime, **_told: Any) -> Order:
    """What was being placed anew comes back although it is cancelled."""
    return order


@contextmanager
def _halt_without_cancels() -> Iterator[None]:
    """Entries stay in the book, both those that rest and those that turn up later."""
    with (
        mock.patch("bridge.bootstrap.halted_entries", return_value=[]),
        mock.patch("bridge.desk.halted_entries", return_value=[]),
    ):
        yield


# -- protections ------------------------------------------------------------------------------------------------------


def _never_withdraw(self: Protector, tx: Any, one: Any, now: datetime) -> None:
    """What rests stays as it is, whatever is held."""


_ask_cancel = orders.ask_cancel


def _believe_the_withdrawal(tx: Any, order: Order, at: datetime, message: str) -> bool:
    """A protection counts as withdrawn although nobody has asked Kite."""
    if not order.is_protection or order.status is not OrderStatus.PLACED:
        return _ask_cancel(tx, order, at, message)
    orders.record(tx, order, OrderEventKind.CANCELLED, at, code=Reason.CANCELLED_UNFILLED, message=message)
    return True


@contextmanager
def _leave_it_resting() -> Iterator[None]:
    with (
        mock.patch("bridge.pipeline.ask_cancel", _believe_the_withdrawal),
        mock.patch("bridge.protecting.ask_cancel", _believe_the_withdrawal),
    ):
        yield


MUTANTS: tuple[Mutant, ...] = (
    *(mutant for mutant in mutants.MUTANTS if mutant.name in _NAMES),
    Mutant(
        name="forgets the second at a start",
        falls=("P5",),
        broken=lambda: mock.patch.object(Throttle, "remember", _forget),
    ),
    Mutant(name="believes the request", falls=("P7",), broken=lambda: mock.patch.object(Lane, "_call", _believe_the_request)),
    Mutant(
        name="changes what is left",
        falls=("P2",),
        broken=lambda: mock.patch.object(adapter, "write_change", _change_what_is_left),
    ),
    Mutant(
        name="places anew what is cancelled",
        falls=("P2",),
        broken=lambda: mock.patch.object(orders, "drop_change", _keep_the_change),
    ),
    Mutant(
        name="leaves what rests under a halt",
        falls=("P6",),
        broken=_halt_without_cancels,
    ),
    Mutant(
        name="keeps a protection as it is",
        falls=("P4",),
        broken=lambda: mock.patch.object(Protector, "_withdraw", _never_withdraw),
    ),
    Mutant(
        name="does not find its trigger",
        falls=("P2", "P4"),
        broken=lambda: mock.patch.object(gtt, "is_same", return_value=False),
    ),
    Mutant(name="leaves a protection behind", falls=("P2", "P4"), broken=_leave_it_resting),
)
# Not broken, but with a minute that is used up sooner: four hundred orders would take a test too long.
MINUTE = 20
SHORT_MINUTE = Mutant(name="a short minute", falls=(), broken=lambda: mock.patch.object(limits, "PER_MINUTE", MINUTE))
