"""The way to the venue, and everything that can go wrong on it, behind the real port."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from bridge.brokers.base import BookUnreadableError, BrokerStatus, Capabilities, ReportSink
from bridge.core.enums import OutcomeKind, Product
from bridge.core.errors import StoreError
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome, Report
from tests.simulation.venue import Venue

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMEOUT_S = 5.0
MET = "the price has passed the trigger"

# Faults of a command, by name. In brackets: whether the order is at the venue afterwards.
BROKER_FAULTS = (
    "refused_connection",  # nothing arrives, and the client knows [no]
    "drop_request",  # the request is lost; the client waits in vain [no]
    "drop_answer",  # it arrives, the answer is lost; the client waits in vain [yes]
    "reset",  # the connection breaks before or after it arrived [perhaps]
    "bad_400",  # "request timed out" with status 400, although it arrived [yes]
    "busy_429",  # too many requests, without saying when to come again [no]
    "busy_429_wait",  # the same with Retry-After [no]
    "html_5xx",  # a proxy's page [perhaps]
    "session_403",  # the session is gone until somebody logs in [no]
    "slow_answer",  # the answer comes late, often after the client has given up [yes]
)


class SimBroker:
    """One account's adapter, for one life of the bridge."""

    def __init__(self, world: "World", venue: Venue) -> None:
        self.capabilities = Capabilities(
            name="sim",
            is_paper=True,
            max_in_flight=world.plan.max_in_flight,
            call_timeout_s=15.0,
            reverses_in_one=frozenset({Product.MIS} if world.plan.reverses_in_one else ()),
            max_replaces=2 if world.plan.seed % 2 else None,
        )
        self._world = world
        self._venue = venue
        self._chance = world.chance_broker
        self._sink: ReportSink | None = None
        self._queue: list[Report] = []
        self._pump: asyncio.Task[None] | None = None

    # -- the session --------------------------------------------------------------------------------------------------

    async def start(self, sink: ReportSink) -> None:
        self._sink = sink

    async def stop(self) -> None:
        self._sink = None

    def status(self) -> BrokerStatus:
        is_up = self._world.market.is_up(self._venue)
        return BrokerStatus(connected=is_up, message="" if is_up else "signed out", session_lost=not is_up)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> Outcome:
        self._world.watch.order_leaves(self._venue, order)
        return await self._command("place", order, lambda: self._arrive(order))

    async def cancel(self, order: Order) -> Outcome:
        return await self._command("cancel", order, lambda: self._arrive_cancel(order))

    async def modify(self, order: Order) -> Outcome:
        self._world.watch.change_leaves(self._venue, order)
        return await self._command("modify", order, lambda: self._arrive_change(order))

    async def _command(self, what: str, order: Order, arrive: Callable[[], Outcome]) -> Outcome:
        """Carry a command there and its answer back, or fail at it."""
        world, chance = self._world, self._chance.of(f"{what} {order.tag}")
        fault = chance.fault(*BROKER_FAULTS)
        world.tell(f"broker {what} {order.tag}" + (f" {fault}" if fault else ""))
        if fault == "refused_connection" or not world.market.is_up(self._venue):
            return Outcome(kind=OutcomeKind.NOT_SENT, message="connection refused")
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        there_s, back_s = chance.between("request_s"), chance.between("answer_s")
        if fault == "session_403":
            world.market.lose_session(self._venue.account)
        if fault == "slow_answer":
            back_s += chance.uniform(0.5, 8.0)
        outcome = _without_arriving(fault, chance.number(1, 5))
        arrives = fault not in _NEVER_ARRIVES and not (fault in _PERHAPS_ARRIVES and chance.number(0, 1))
        if arrives:
            landed = world.watch.fly(self._venue, order) if what == "place" else _nothing
            world.sim.later(there_s, self._act, answer, arrive, _after_arriving(fault), back_s, landed)
        elif outcome is not None:
            world.sim.later(there_s + back_s, _resolve, answer, outcome)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except TimeoutError:
            return Outcome(kind=OutcomeKind.UNKNOWN, message="no answer in time")

    def _act(
        self, answer: "asyncio.Future[Outcome]", arrive: Callable[[], Outcome], instead: Outcome | None, back_s: float,
        landed: Callable[[], None],
    ) -> None:  # fmt: skip
        """The request has arrived: act on it, and send the answer back, if it is to get there."""
        landed()
        if not self._world.market.is_listening(self._venue):
            return  # it restarts: the request went into a socket that nobody reads
        outcome = arrive()
        if instead is not None and outcome.kind is not OutcomeKind.REFUSED:
            outcome = instead
        if outcome.message == "lost":
            return
        self._world.sim.later(back_s, _resolve, answer, outcome)

    def _arrive(self, order: Order) -> Outcome:
        intent, chance = order.intent, self._chance.of(f"arrive {order.tag}")
        if chance.fault("refuse"):
            return Outcome(kind=OutcomeKind.REFUSED, message="RMS: blocked")
        gap = self._chance.of(f"met {order.tag}")
        is_met = order.is_protection and bool(gap.fault("met"))
        if is_met and gap.number(0, 1):
            return Outcome(kind=OutcomeKind.REFUSED, message=MET, reason=Reason.TRIGGER_MET)
        row = self._venue.take(
            order.tag, intent.symbol, intent.product, intent.side, intent.ord_type, intent.order_qty, intent.price,
            chance.between("book_lag_s"),
        )  # fmt: skip
        if is_met:
            self._venue.end(row, OrderStatus.REJECTED, MET, Reason.TRIGGER_MET)
        else:
            self._world.market.work(self._venue, row)
        return Outcome(kind=OutcomeKind.ACCEPTED, broker_order_id=row.broker_order_id)

    def _arrive_cancel(self, order: Order) -> Outcome:
        row = next((row for row in self._venue.rows if row.broker_order_id == order.broker_order_id), None)
        if row is None or row.status.is_closed:
            return Outcome(kind=OutcomeKind.REFUSED, message="not cancellable")
        self._world.market.cancel_soon(self._venue, row)
        return Outcome(kind=OutcomeKind.ACCEPTED)

    def _arrive_change(self, order: Order) -> Outcome:
        row = next((row for row in self._venue.rows if row.broker_order_id == order.broker_order_id), None)
        assert order.replace is not None
        terms = order.replace.terms
        if row is None or row.status.is_closed or terms.order_qty <= row.cum_qty:
            return Outcome(kind=OutcomeKind.REFUSED, message="not changeable")
        self._world.market.change_soon(self._venue, row, terms)
        return Outcome(kind=OutcomeKind.ACCEPTED)

    # -- reports ------------------------------------------------------------------------------------------------------

    def deliver(self, report: Report) -> None:
        """A report has come through the stream; it is handed over until it is taken, or this life ends."""
        if self._sink is None:
            return
        self._queue.append(report)
        if self._pump is None or self._pump.done():
            self._pump = self._world.spawn(self._hand_over())

    async def _hand_over(self) -> None:
        while self._queue and self._sink is not None:
            batch = self._queue[:8]
            try:
                await self._sink(batch)
            except StoreError:
                await asyncio.sleep(0.2)
            else:
                del self._queue[: len(batch)]

    # -- reads --------------------------------------------------------------------------------------------------------

    async def book(self) -> list[BookRow]:
        await self._read()
        # What it answers with is how things stood when it looked; the answer takes its time.
        rows = self._venue.book(is_lagging=True)
        if self._chance.fault("book_empty"):
            rows = []
        await asyncio.sleep(self._chance.between("answer_s"))
        return rows

    async def positions(self) -> list[BrokerPosition]:
        await self._read()
        found = [
            BrokerPosition(symbol=symbol, product=row_product(self._venue, symbol, product), quantity=quantity)
            for (symbol, product), quantity in self._venue.positions.items()
            if quantity
        ]
        await asyncio.sleep(self._chance.between("answer_s"))
        return found

    async def funds(self) -> Funds:
        await self._read()
        return Funds(
            account=self._venue.account, equity=Decimal(10_000_000), available=Decimal(10_000_000),
            at=self._world.clock.now(),
        )  # fmt: skip

    async def _read(self) -> None:
        await asyncio.sleep(self._chance.between("request_s"))
        if not self._world.market.is_up(self._venue) or self._chance.fault("unreadable"):
            raise BookUnreadableError("the broker does not answer")

    async def on_price(self, symbol: str, price: Decimal) -> None:
        return


_NEVER_ARRIVES = frozenset({"refused_connection", "drop_request", "busy_429", "busy_429_wait", "session_403"})
_PERHAPS_ARRIVES = frozenset({"reset", "html_5xx"})


def _without_arriving(fault: str, wait_s: int) -> Outcome | None:
    """The answer to a command that never arrived; None: there is none."""
    return {
        "busy_429": Outcome(kind=OutcomeKind.NOT_SENT, message="too many requests", retry_after_s=1.0),
        "busy_429_wait": Outcome(kind=OutcomeKind.NOT_SENT, message="too many requests", retry_after_s=float(wait_s)),
        "session_403": Outcome(kind=OutcomeKind.NOT_SENT, message="TokenException"),
        "reset": Outcome(kind=OutcomeKind.UNKNOWN, message="connection reset"),
        "html_5xx": Outcome(kind=OutcomeKind.UNKNOWN, message="502 Bad Gateway"),
    }.get(fault)


def _after_arriving(fault: str) -> Outcome | None:
    """What the client hears of a command that did arrive, instead of the venue's answer."""
    return {
        "drop_answer": Outcome(kind=OutcomeKind.UNKNOWN, message="lost"),
        "bad_400": Outcome(kind=OutcomeKind.UNKNOWN, message="400 the order request timed out"),
        "reset": Outcome(kind=OutcomeKind.UNKNOWN, message="connection reset"),
        "html_5xx": Outcome(kind=OutcomeKind.UNKNOWN, message="504 Gateway Timeout"),
    }.get(fault)


def _resolve(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _nothing() -> None:
    return


def row_product(venue: Venue, symbol: str, product: str) -> Product:
    return next(row.product for row in venue.rows if row.symbol == symbol and row.product.value == product)
