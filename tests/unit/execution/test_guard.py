"""The guard before a broker: what passes, what counts as an answer, and what is told."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from bridge.brokers.base import BookUnreadableError, BrokerStatus
from bridge.core.enums import OutcomeKind
from bridge.core.order import Order
from bridge.core.report import Outcome
from bridge.execution.breaker import OPEN_AFTER, BreakerState
from bridge.execution.guard import LONG_HOLD_S, POLLED_COUNTS_EVERY_S, GuardedBroker, GuardNews
from tests.support.clocks import StillClock
from tests.support.plays import play
from tests.support.samples import make_order
from tests.support.scripted_broker import ACCEPT, BUSY, HANG, LOST, NOT_SENT, RAISE, REFUSE, ScriptedBroker

CLOSED, OPEN, HALF_OPEN = BreakerState
ORDER = make_order()


class Kit:
    """A guard over a scripted broker, and what it told."""

    def __init__(self, call_timeout_s: float | None = 0.02) -> None:
        self.clock = StillClock()
        self.broker = ScriptedBroker("a", self.clock, call_timeout_s=call_timeout_s)
        self.states: list[BreakerState] = []
        self.alarms: list[str] = []
        self.faults: list[str] = []
        news = GuardNews(
            on_breaker=lambda _account, state, _message: self.states.append(state),
            on_alarm=lambda _account, message: self.alarms.append(message),
            on_fault=lambda where, _error: self.faults.append(where),
        )
        self.guard = GuardedBroker("a", self.broker, self.clock, news)

    async def place(self, how: str = ACCEPT) -> Outcome:
        self.broker.answers.append(how)
        return await self.guard.place(ORDER)

    async def fails(self, read: Callable[[], Awaitable[object]]) -> str:
        with pytest.raises(BookUnreadableError) as raised:
            await read()
        return str(raised.value)

    async def open(self) -> None:
        for _ in range(OPEN_AFTER):
            await self.place(LOST)
        assert self.guard.state is OPEN
        self.broker.calls.clear()

    def readable(self) -> bool:
        return self.guard.is_readable

    def let_look(self) -> None:
        self.clock.move(seconds=60)
        assert self.guard.is_readable


@pytest.mark.parametrize("how", [LOST, NOT_SENT, RAISE, HANG])
def test_commands_without_an_answer_open_it_and_then_reach_nobody(how: str) -> None:
    """Nothing touches a dead broker any more; commands come back at once as not sent, reads raise at once."""

    async def story() -> None:
        kit = Kit()
        outcomes = [await kit.place(how) for _ in range(OPEN_AFTER)]
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.NOT_SENT if how == NOT_SENT else OutcomeKind.UNKNOWN}
        assert kit.guard.state is OPEN
        kit.broker.calls.clear()
        assert (await kit.place()).kind is OutcomeKind.NOT_SENT
        assert (await kit.guard.cancel(ORDER)).kind is OutcomeKind.NOT_SENT
        for read in (kit.guard.book, kit.guard.positions, kit.guard.funds):
            assert "does not answer" in await kit.fails(read)
        assert kit.broker.calls == []
        status = kit.guard.status()
        assert not status.connected
        assert "place: " in status.message
        assert "Next look in" in status.message
        assert len(kit.alarms) == 1
        assert kit.states == [OPEN]
        assert kit.faults == (["broker"] * OPEN_AFTER if how == RAISE else [])

    play(story)


@pytest.mark.parametrize("how", [ACCEPT, REFUSE, BUSY, "funds"])
def test_any_answer_starts_the_count_anew(how: str) -> None:
    """Yes, no, later, and a read that works: the broker is there."""

    async def story() -> None:
        kit = Kit()
        for _ in range(4):
            for _ in range(OPEN_AFTER - 1):
                await kit.place(LOST)
            assert kit.guard.room == 1
            if how == "funds":
                await kit.guard.funds()
            else:
                await kit.place(how)
            assert kit.guard.room == 4
            kit.clock.move(seconds=5)
        assert kit.guard.state is CLOSED
        assert kit.guard.status().connected

    play(story)


def test_a_hanging_command_is_cut_off_and_unknown() -> None:
    """It may have arrived; only the book can tell."""

    async def story() -> None:
        kit = Kit()
        outcome = await kit.place(HANG)
        assert (outcome.kind, outcome.message) == (OutcomeKind.UNKNOWN, "no answer in time")

    play(story)


@pytest.mark.parametrize("how", [HANG, NOT_SENT, RAISE])
def test_reads_of_the_funds_that_fail_open_it(how: str) -> None:
    """A quiet account learns of a dead broker too; an adapter's fault is counted and becomes one that readers know."""

    async def story() -> None:
        kit = Kit()
        kit.broker.dead = how
        for _ in range(OPEN_AFTER):
            await kit.fails(kit.guard.funds)
        assert kit.guard.state is OPEN
        assert kit.faults == (["broker"] * OPEN_AFTER if how == RAISE else [])

    play(story)


def test_a_book_that_cannot_be_read_is_not_yet_a_dead_broker() -> None:
    """It is read every second while an order is in doubt; alone it never opens the breaker while the funds answer."""

    async def story() -> None:
        kit = Kit()
        kit.broker.book_readable = False
        for second in range(60):
            await kit.fails(kit.guard.book)
            kit.clock.move(seconds=1)
            if second % 5 == 0:
                await kit.guard.funds()
        assert kit.guard.state is CLOSED
        for _ in range(OPEN_AFTER):  # and nobody else is answered either
            await kit.fails(kit.guard.book)
            kit.clock.move(seconds=POLLED_COUNTS_EVERY_S)
        assert kit.guard.state is OPEN

    play(story)


def test_a_lost_session_is_no_matter_of_the_breaker() -> None:
    """Signed out is known, and has another mend: nothing is counted, and its own message is shown."""

    async def story() -> None:
        kit = Kit()
        kit.broker.connected = False
        kit.broker.readable = False
        for _ in range(3 * OPEN_AFTER):
            await kit.fails(kit.guard.funds)
        assert kit.guard.state is CLOSED
        assert kit.guard.status().message == "signed out"

    play(story)


@pytest.mark.parametrize("how", [LOST, NOT_SENT, HANG, RAISE])
def test_an_adapter_that_knows_it_has_lost_contact_opens_it_all_the_same(how: str) -> None:
    """Not connected is what the failure itself shows; only a lost session, which a person mends, is not counted."""

    async def story() -> None:
        kit = Kit()
        kit.broker.status = lambda: BrokerStatus(connected=False, message="no contact")  # type: ignore[method-assign]
        for _ in range(OPEN_AFTER):
            await kit.place(how)
        assert kit.guard.state is OPEN
        assert len(kit.alarms) == 1

    play(story)


def test_a_gateway_that_names_a_wait_is_heeded_and_counts_as_no_answer() -> None:
    """A 503 with Retry-After: the order is in doubt, the account waits, and after three the breaker opens.

    The look comes no sooner than what was asked for, and the message says when.
    """

    async def story() -> None:
        kit = Kit()

        async def away(order: Order) -> Outcome:
            return Outcome(kind=OutcomeKind.UNKNOWN, message="503", retry_after_s=30)

        kit.broker.place = away  # type: ignore[method-assign]
        for number in range(OPEN_AFTER):
            kit.clock.move(seconds=31)
            assert (await kit.guard.place(ORDER)).kind is OutcomeKind.UNKNOWN
            assert kit.guard.room == 1
            assert not kit.guard.status().connected
            assert kit.guard.state is (OPEN if number == OPEN_AFTER - 1 else CLOSED)
        assert "Next look in 30 s" in kit.guard.status().message
        kit.clock.move(seconds=29)
        assert not kit.readable()
        await kit.fails(kit.guard.funds)
        assert kit.broker.calls == []
        kit.clock.move(seconds=2)
        assert kit.readable()
        await kit.guard.funds()
        assert kit.guard.state is CLOSED

    play(story)


def test_exactly_one_read_of_the_funds_is_the_look() -> None:
    """While it is on its way nobody else gets through, not even another read of the funds; its answer closes."""

    async def story() -> None:
        kit = Kit(call_timeout_s=5)
        await kit.open()
        kit.let_look()
        assert await kit.fails(kit.guard.book)  # no other read is a look
        assert (await kit.guard.place(ORDER)).kind is OutcomeKind.NOT_SENT  # and never an order
        kit.broker.dead = HANG
        look = asyncio.ensure_future(kit.guard.funds())
        await asyncio.sleep(0)
        assert kit.guard.state is HALF_OPEN
        assert "being looked at" in kit.guard.status().message
        assert await kit.fails(kit.guard.funds)
        assert kit.broker.calls == ["funds"]
        look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
        kit.broker.dead = ""
        assert kit.guard.is_readable  # a look that was cancelled is due again
        await kit.guard.funds()
        assert kit.guard.state is CLOSED
        assert kit.states == [OPEN, CLOSED]
        assert kit.guard.status().connected

    play(story)


@pytest.mark.parametrize("how", [HANG, NOT_SENT, RAISE])
def test_a_look_that_fails_or_hangs_makes_the_pause_longer(how: str) -> None:
    """Bounded like any call; no second alarm for the same opening."""

    async def story() -> None:
        kit = Kit()
        await kit.open()
        kit.broker.dead = how
        for _ in range(3):
            kit.let_look()
            await kit.fails(kit.guard.funds)
            assert kit.guard.state is OPEN
            assert not kit.guard.is_readable
        assert kit.broker.calls == ["funds"] * 3
        assert len(kit.alarms) == 1

    play(story)


def test_a_look_that_is_told_to_wait_was_answered() -> None:
    """A 429 closes the breaker and holds the account instead."""

    async def story() -> None:
        kit = Kit()
        await kit.open()
        kit.let_look()
        kit.broker.dead, kit.broker.retry_after_s = BUSY, 9
        await kit.fails(kit.guard.funds)
        assert kit.guard.state is CLOSED
        assert "asked us to wait" in kit.guard.status().message

    play(story)


def test_a_late_answer_closes_it() -> None:
    """A call that was under way when it opened is answered after all."""

    async def story() -> None:
        kit = Kit(call_timeout_s=5)
        answer = asyncio.Event()

        async def slow(order: Order) -> Outcome:
            await answer.wait()
            return Outcome(kind=OutcomeKind.REFUSED)

        known, kit.broker.place = kit.broker.place, slow  # type: ignore[method-assign]
        late = asyncio.ensure_future(kit.guard.place(ORDER))
        await asyncio.sleep(0)
        kit.broker.place = known  # type: ignore[method-assign]
        await kit.open()
        answer.set()
        assert (await late).kind is OutcomeKind.REFUSED
        assert kit.guard.state is CLOSED
        assert kit.guard.room == 4

    play(story)


def test_cancellation_propagates_and_counts_as_nothing() -> None:
    """Of a command and of a read, by whoever waits for them."""

    async def story() -> None:
        kit = Kit(call_timeout_s=5)
        kit.broker.dead = HANG
        for call in (lambda: kit.guard.place(ORDER), lambda: kit.guard.cancel(ORDER), kit.guard.book, kit.guard.funds):
            for _ in range(OPEN_AFTER):
                task = asyncio.ensure_future(call())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert kit.guard.state is CLOSED
        assert kit.guard.room == 4

    play(story)


def test_a_named_wait_holds_every_call_of_the_account() -> None:
    """The broker said not to come before, neither with another order nor with a cancel or a read."""

    async def story() -> None:
        kit = Kit()
        kit.broker.retry_after_s = 7
        assert (await kit.place(BUSY)).kind is OutcomeKind.NOT_SENT
        kit.broker.calls.clear()
        assert not kit.guard.status().connected
        assert (await kit.place()).kind is OutcomeKind.NOT_SENT
        assert (await kit.guard.cancel(ORDER)).kind is OutcomeKind.NOT_SENT
        await kit.fails(kit.guard.book)
        kit.clock.move(seconds=6.9)
        await kit.fails(kit.guard.funds)
        assert kit.broker.calls == []
        kit.clock.move(seconds=1)
        assert kit.guard.status().connected
        await kit.guard.funds()
        assert kit.alarms == []

    play(story)


def test_the_longest_of_several_named_waits_holds() -> None:
    """Calls that were under way together may name different ones."""

    async def story() -> None:
        kit = Kit()

        async def busy(order: Order) -> Outcome:
            await asyncio.sleep(0)
            return Outcome(kind=OutcomeKind.NOT_SENT, retry_after_s=9 if order is ORDER else 1)

        kit.broker.place = busy  # type: ignore[method-assign]
        await asyncio.gather(kit.guard.place(ORDER), kit.guard.place(make_order(2)))
        kit.clock.move(seconds=8.9)
        assert not kit.guard.status().connected

    play(story)


@pytest.mark.parametrize("named_s", [math.inf, math.nan, -5, 0])
def test_a_garbled_wait_does_not_hold_for_ever(named_s: float) -> None:
    """Whatever an adapter makes of a header, the account comes back."""

    async def story() -> None:
        kit = Kit()
        kit.broker.retry_after_s = named_s
        await kit.place(BUSY)
        kit.clock.move(seconds=1)
        assert kit.guard.status().connected

    play(story)


def test_a_long_wait_is_told_to_a_person() -> None:
    """Exits wait too."""

    async def story() -> None:
        kit = Kit()
        kit.broker.retry_after_s = LONG_HOLD_S
        await kit.place(BUSY)
        assert len(kit.alarms) == 1

    play(story)


def test_a_relapse_is_not_told_again() -> None:
    """Reads work and orders do not: one alarm, and one order for each growing pause."""

    async def story() -> None:
        kit = Kit()
        await kit.open()
        for _ in range(4):
            kit.let_look()
            await kit.guard.funds()
            assert kit.guard.room == 1
            kit.clock.move(seconds=10)
            await kit.place(LOST)
            assert kit.guard.state is OPEN
        assert len(kit.alarms) == 1
        assert kit.states == [OPEN, *[CLOSED, OPEN] * 4]

    play(story)


def test_a_broker_in_this_process_has_no_breaker() -> None:
    """It cannot be away by itself; what fails there is the store, which has its own ways."""

    async def story() -> None:
        kit = Kit(call_timeout_s=None)
        for how in (LOST, NOT_SENT, RAISE) * OPEN_AFTER:
            await kit.place(how)
        assert kit.guard.state is CLOSED
        assert kit.guard.room == 4

    play(story)


def test_a_brokers_words_can_be_shown() -> None:
    """Whatever it says stands on a page and in the audit: printable and bounded."""

    async def story() -> None:
        kit = Kit()

        async def odd(order: Order) -> Outcome:
            return Outcome(kind=OutcomeKind.UNKNOWN, message="a\0b \ud800" + "x" * 10_000)

        kit.broker.place = odd  # type: ignore[method-assign]
        await kit.open()
        message = kit.guard.status().message
        assert message.isprintable()
        assert len(message) < 1000

    play(story)
