"""Bridges that are broken on purpose, one for each promise: what the simulation must be able to see.

Each is a context in which one mechanism of the bridge is taken out; `MUTANTS` names them with the promise that falls.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from bridge import protecting
from bridge.answer import accepted
from bridge.core.enums import OutcomeKind
from bridge.core.ledger import Ledger
from bridge.core.money import ZERO
from bridge.core.order_states import OrderEventKind
from bridge.execution import doubts, orders, reconcile
from bridge.execution.gate import Gate
from bridge.execution.outbox import Lane
from bridge.following import Following
from bridge.intake.admit import Refusal
from bridge.passed import PassedExits
from bridge.pipeline import Pipeline
from bridge.protecting import Protector
from bridge.queueing import Queue
from bridge.store import audit
from bridge.store.writer import Writer
from bridge.worker import Worker

MAX_SEEDS = 2_000
Broken = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken bridge; `falls` begins every message that may tell of it, in one of the stories that are told of it."""

    name: str
    falls: tuple[str, ...]
    broken: Broken
    seeds: range = range(MAX_SEEDS)


def _swap(where: Any, name: str, value: Any) -> Broken:
    return lambda: mock.patch.object(where, name, value)


# -- P1 ---------------------------------------------------------------------------------------------------------------


async def _answer_before_the_commit(self: Pipeline, delivery: Any) -> Any:
    admitted = self._intake.admit(delivery)
    if isinstance(admitted, Refusal):
        return await self._refuse(admitted)
    self._store.write(lambda tx: self._accept(tx, admitted), admitted.claim).add_done_callback(lambda done: done.exception())
    return accepted(admitted.alert.alert_id)


# -- P2 ---------------------------------------------------------------------------------------------------------------

_apply_outcome = Pipeline.apply_outcome


def _send_again_blindly(self: Pipeline, tx: Any, sent: Any, outcome: Any, now: Any) -> Any:
    if outcome.kind is OutcomeKind.UNKNOWN:
        outcome = replace(outcome, kind=OutcomeKind.NOT_SENT)
    return _apply_outcome(self, tx, sent, outcome, now)


def _claim_nothing(self: Writer, claims: list[Any]) -> dict[bytes, Any]:
    return {claim.key: claim for claim in claims}


_recover_orders = Worker._recover_orders


def _send_again_after_a_crash(self: Worker, tx: Any) -> Any:
    for order in list(tx.ledger.orders.values.values()):
        if order.status == "PENDING" and not self._lanes[order.intent.account].knows(order.cl_ord_id):
            orders.queue_order(tx, orders.record(tx, order, OrderEventKind.NOT_SENT, self._clock.now()), granted=False)
    return _recover_orders(self, tx)


@contextmanager
def _first_look() -> Iterator[None]:
    with mock.patch.object(doubts, "SETTLE_S", 0), mock.patch.object(doubts, "CLEAN_READS", 1):
        yield


# -- P3, liveness -----------------------------------------------------------------------------------------------------


def _forget_who_waits(self: Queue, tx: Any, symbol: str, is_due: Any) -> None:
    return


@contextmanager
def _lose_the_doubts() -> Iterator[None]:
    with mock.patch.object(reconcile.Reconciler, "doubt", lambda self, account: None):
        yield


def _never_again(self: Lane, order: Any) -> None:
    return


# -- P4, P5 -----------------------------------------------------------------------------------------------------------


def _nothing_in_flight(self: Ledger, key: Any) -> Any:
    return ZERO, ZERO


@contextmanager
def _no_rate_after_a_start() -> Iterator[None]:
    with mock.patch.object(Ledger, "restore_order_time", lambda self, account, strategy, symbol, at_us: []):
        yield


# The stories about positions that are protected.
GUARDED = range(3, MAX_SEEDS, 8)
# Two entries that fill by turns, a person who trades away what was protected, a price that jumps: the search begins at a first.
BY_TURNS, TRADED_AWAY, JUMPED = GUARDED[5:], GUARDED[19:], GUARDED[21:]


def _no_number(_tx: Any, _entry: Any) -> int:
    """None of the orders that the entry has had."""
    return 0


async def _close_nothing(self: PassedExits) -> None:
    return


def _withdraw_nothing(self: Protector, tx: Any, one: Any, now: Any) -> None:
    return


# -- P6 ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _halt_only_what_is_new() -> Iterator[None]:
    """What was approved before the halt leaves all the same."""
    with (
        mock.patch("bridge.pipeline.may_send", lambda states, reduce_only: None),
        mock.patch.object(Gate, "lets_out", lambda self, order: True),
    ):
        yield


# -- P7 ---------------------------------------------------------------------------------------------------------------

_apply_fill = Following._apply_fill


def _count_fills_twice(self: Following, tx: Any, order: Any, report: Any, now: Any) -> None:
    """Each telling of an execution is taken for another one."""
    told = len(order.exec_ids)
    _apply_fill(self, tx, order, replace(report, exec_id=f"{report.exec_id}/{told}"), now)


# -- P8 ---------------------------------------------------------------------------------------------------------------

_link = audit.AuditChain.link


def _hang_from_what_was_lost(self: audit.AuditChain, records: Any) -> Any:
    """The chain moves on with records whose commit fails."""
    rows = _link(self, records)
    self.advance(rows)
    return rows


MUTANTS: tuple[Mutant, ...] = (
    Mutant(name="answers before the commit", falls=("P1",), broken=_swap(Pipeline, "_answer", _answer_before_the_commit)),
    Mutant(name="sends again blindly", falls=("P2",), broken=_swap(Pipeline, "apply_outcome", _send_again_blindly)),
    Mutant(name="claims nothing", falls=("P2",), broken=_swap(Writer, "_claim", _claim_nothing)),
    Mutant(name="sends again after a crash", falls=("P2",), broken=_swap(Worker, "_recover_orders", _send_again_after_a_crash)),
    Mutant(name="believes the first look", falls=("P2",), broken=_first_look),
    Mutant(name="forgets who waits", falls=("P3",), broken=_swap(Queue, "_take_up", _forget_who_waits)),
    Mutant(name="loses the doubts", falls=("P3", "liveness"), broken=_lose_the_doubts),
    Mutant(name="waits for ever", falls=("P3", "liveness"), broken=_swap(Lane, "_push_again", _never_again)),
    Mutant(name="leaves what was passed", falls=("P3",), broken=_swap(PassedExits, "look", _close_nothing), seeds=JUMPED),
    Mutant(
        name="reuses a protection's id", falls=("P2",), broken=_swap(protecting, "_made_before", _no_number), seeds=BY_TURNS
    ),
    Mutant(
        name="leaves a protection", falls=("P4",), broken=_swap(Protector, "_withdraw", _withdraw_nothing), seeds=TRADED_AWAY
    ),
    Mutant(name="counts nothing in flight", falls=("P4", "P5"), broken=_swap(Ledger, "in_flight", _nothing_in_flight)),
    Mutant(name="forgets the rate at a start", falls=("P5",), broken=_no_rate_after_a_start),
    Mutant(name="halts only what is new", falls=("P6",), broken=_halt_only_what_is_new),
    Mutant(name="counts fills twice", falls=("P7",), broken=_swap(Following, "_apply_fill", _count_fills_twice)),
    Mutant(name="hangs from what was lost", falls=("P8",), broken=_swap(audit.AuditChain, "link", _hang_from_what_was_lost)),
)
