"""What stands before a broker: its breaker, the waits it asks for, and an end to calls that hang; the same port again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from bridge.brokers.base import BookUnreadableError, Broker, BrokerStatus, ReportSink
from bridge.core.clock import Clock
from bridge.core.enums import OutcomeKind
from bridge.core.order import Order
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome
from bridge.execution.breaker import Breaker, BreakerState
from bridge.execution.orders import printable
from bridge.execution.retry import Asked, decide_next

T = TypeVar("T")
# A broker that sends the whole account away for longer than this is a person's business: exits wait too.
LONG_HOLD_S = 60.0
# An order in doubt has the book read every second. Between two such failures the worker asks for the funds at least once.
POLLED_COUNTS_EVERY_S = 6.0
_POLLED = frozenset({"book", "positions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardNews:
    """Whom a guard tells: of its breaker's opening and closing, of what a person must look at, of an adapter's fault."""

    on_breaker: Callable[[str, BreakerState, str], None]
    on_alarm: Callable[[str, str], None]
    on_fault: Callable[[str, BaseException], None]


class GuardedBroker:
    """One account's broker as lanes, reconciler and worker see it.

    While the breaker is open or the broker has asked to wait, commands come back as NOT_SENT and reads raise, both at once
    and without touching it. A broker inside this process (`call_timeout_s` is None) has no breaker: it is never away by itself.
    """

    def __init__(self, account: str, broker: Broker, clock: Clock, news: GuardNews):
        self.account = account
        self.capabilities = broker.capabilities
        self._broker = broker
        self._clock = clock
        self._news = news
        self._timeout_s = broker.capabilities.call_timeout_s
        self._breaker = Breaker(clock.monotonic)
        self._free_at_s = 0.0
        self._counts_from_s: dict[str, float] = {}

    # -- the session --------------------------------------------------------------------------------------------------

    def start(self, sink: ReportSink) -> Coroutine[Any, Any, None]:
        """Start the broker's session."""
        return self._broker.start(sink)

    def stop(self) -> Coroutine[Any, Any, None]:
        """Stop it."""
        return self._broker.stop()

    def on_price(self, symbol: str, price: Decimal) -> Coroutine[Any, Any, None]:
        """Pass a price on."""
        return self._broker.on_price(symbol, price)

    def status(self) -> BrokerStatus:
        """The session as it stands; a broker that does not answer, or sent us away, is not connected either."""
        status = self._broker.status()
        if not status.connected or (self._breaker.state is BreakerState.CLOSED and not self._free_at_s):
            return status
        message = self._hindrance()
        return BrokerStatus(connected=False, message=message) if message else status

    # -- what others ask of the guard ---------------------------------------------------------------------------------

    @property
    def state(self) -> BreakerState:
        """How the breaker stands."""
        return self._breaker.state

    @property
    def is_away(self) -> bool:
        """True when it is signed out or does not answer: news may be missed. One that only asked us to wait is there."""
        return self._breaker.state is not BreakerState.CLOSED or not self._broker.status().connected

    @property
    def room(self) -> int:
        """Orders that may be on their way at once. After a failure one at a time: what a dead broker gets is in doubt."""
        return self.capabilities.max_in_flight if self._breaker.is_sound else 1

    @property
    def is_readable(self) -> bool:
        """True when a read of the funds would go through, be it as the one look at a broker that was away."""
        return self._is_look_due or not self._hindrance()

    @property
    def _is_look_due(self) -> bool:
        """A look is a call too: it waits as long as the broker asked us to."""
        return self._breaker.is_look_due and not self._held_s()

    # -- commands -----------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> Coroutine[Any, Any, Outcome]:
        """Send the order, if calls go through."""
        return self._command(Asked.PLACE, self._broker.place, order)

    def cancel(self, order: Order) -> Coroutine[Any, Any, Outcome]:
        """Ask to cancel, if calls go through."""
        return self._command(Asked.CANCEL, self._broker.cancel, order)

    def modify(self, order: Order) -> Coroutine[Any, Any, Outcome]:
        """Ask to change, if calls go through."""
        return self._command(Asked.REPLACE, self._broker.modify, order)

    async def _command(self, asked: Asked, call: Callable[[Order], Awaitable[Outcome]], order: Order) -> Outcome:
        message = self._hindrance()
        if message:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=message)
        try:
            if self._timeout_s is None:
                outcome = await call(order)
            else:
                async with asyncio.timeout(self._timeout_s):
                    outcome = await call(order)
        except TimeoutError:
            outcome = Outcome(kind=OutcomeKind.UNKNOWN, message="no answer in time")
        except Exception as error:  # an adapter must not raise; if it does, nothing is known of the order
            self._news.on_fault("broker", error)
            outcome = Outcome(kind=OutcomeKind.UNKNOWN, message=f"the adapter failed: {type(error).__name__}")
        self._weigh(asked, outcome)
        return outcome

    def _weigh(self, asked: Asked, outcome: Outcome) -> None:
        """A wait named with UNKNOWN is heeded, and still no answer: a gateway may have named it, and the order is in doubt."""
        if outcome.retry_after_s is not None:
            self._hold(asked, outcome.kind, outcome.retry_after_s)
        is_named = outcome.kind is OutcomeKind.NOT_SENT and outcome.retry_after_s is not None
        if is_named or outcome.kind is OutcomeKind.ACCEPTED or outcome.kind is OutcomeKind.REFUSED:
            self._answered(is_command=True)
        else:
            self._failed(f"{asked}: {outcome.message}", is_command=True)

    # -- reads --------------------------------------------------------------------------------------------------------

    async def book(self) -> list[BookRow]:
        """All orders of the day, if calls go through."""
        return await self._read("book", self._broker.book)

    async def positions(self) -> list[BrokerPosition]:
        """Net positions, if calls go through."""
        return await self._read("positions", self._broker.positions)

    async def funds(self) -> Funds:
        """Money now; while the breaker is open and a look is due, this is the look, and one alone goes through."""
        if not self._is_look_due:
            return await self._read("funds", self._broker.funds)
        look = self._breaker.begin_look()
        try:
            return await self._call("funds", self._broker.funds, look)
        finally:
            self._breaker.lose_look(look)  # cancelled: whatever else it came to has ended it

    async def _read(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        message = self._hindrance()
        if message:
            raise BookUnreadableError(message)
        return await self._call(name, call)

    async def _call(self, name: str, call: Callable[[], Awaitable[T]], look: int = 0) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await call()
        except TimeoutError as error:
            self._read_failed(name, "no answer in time", look)
            raise BookUnreadableError(f"the broker did not answer in time ({name})") from error
        except BookUnreadableError as error:
            if error.retry_after_s is None:
                self._read_failed(name, str(error), look)
            else:
                self._hold(Asked.READ, OutcomeKind.REFUSED, error.retry_after_s)
                self._answered(is_command=False)
            raise
        except Exception as error:  # an adapter that breaks its promise has read nothing
            self._news.on_fault("broker", error)
            self._read_failed(name, f"the adapter failed: {type(error).__name__}", look)
            raise BookUnreadableError(f"the adapter failed ({type(error).__name__})") from error
        self._answered(is_command=False)
        return found

    # -- what answers and failures do ---------------------------------------------------------------------------------

    def _hindrance(self) -> str:
        """Why no call goes through now; empty when it does."""
        breaker = self._breaker
        if breaker.state is BreakerState.HALF_OPEN:
            return f"The broker does not answer ({breaker.why}). It is being looked at now."
        if breaker.state is BreakerState.OPEN:
            return f"The broker does not answer ({breaker.why}). Next look in {_seconds(max(breaker.wait_s, self._held_s()))}."
        held_s = self._held_s()
        return f"The broker asked us to wait; next call in {_seconds(held_s)}." if held_s else ""

    def _held_s(self) -> float:
        """Seconds for which the broker still asks us to wait."""
        if not self._free_at_s:
            return 0
        left_s = self._free_at_s - self._clock.monotonic()
        if left_s > 0:
            return left_s
        self._free_at_s = 0.0
        return 0

    def _answered(self, *, is_command: bool) -> None:
        if self._breaker.answered(is_command=is_command):
            self._news.on_breaker(self.account, self._breaker.state, "The broker answers again.")

    def _read_failed(self, name: str, why: str, look: int) -> None:
        """A read that is polled counts once in a while: a book that cannot be read is not yet a dead broker."""
        now_s = self._clock.monotonic()
        if not look and name in _POLLED:
            if now_s < self._counts_from_s.get(name, now_s):
                return
            self._counts_from_s[name] = now_s + POLLED_COUNTS_EVERY_S
        self._failed(f"{name}: {why}", look=look)

    def _failed(self, why: str, *, is_command: bool = False, look: int = 0) -> None:
        """Count it, unless the session is lost: that is known, and for a person to mend."""
        if self._timeout_s is None or (self._broker.status().session_lost and not look):
            return
        breaker = self._breaker
        if breaker.failed(printable(why), is_command=is_command, look=look):
            message = f"Account {self.account}: {self._hindrance()} Nothing leaves until it answers."
            self._news.on_breaker(self.account, breaker.state, message)
            if not breaker.is_relapse:
                self._news.on_alarm(self.account, message)

    def _hold(self, asked: Asked, kind: OutcomeKind, named_s: float) -> None:
        """It said not to come before: that is meant for the whole account."""
        wait_s = decide_next(asked, kind, named_s=named_s).wait_s
        self._free_at_s = max(self._free_at_s, self._clock.monotonic() + wait_s)
        if wait_s >= LONG_HOLD_S:
            told = (
                f"Account {self.account}: the broker asked us to wait {_seconds(wait_s)}. Nothing leaves before, exits neither."
            )
            self._news.on_alarm(self.account, told)


def _seconds(wait_s: float) -> str:
    return f"{max(1, round(wait_s))} s"
