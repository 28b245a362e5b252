"""What the Kite adapter does beside the cards: pokes, alarms, words it does not know, and when it looks."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import pytest

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.kite import adapter
from bridge.brokers.kite.adapter import KiteBroker, KitePolicy, Updates
from bridge.brokers.kite.client import HeldToken
from bridge.core.clock import SystemClock
from bridge.core.enums import OrdType, OutcomeKind, ReportKind, Side
from bridge.core.report import Report
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.values import Order
from tests.support.kite import Desk, open_desk
from tests.support.plays import play
from tests.support.waiting import until
from tests.unit.brokers.paper_kit import make_order


class Played:
    """The adapter at a sandbox, with what it told."""

    def __init__(self, desk: Desk, updates: Updates, token: HeldToken) -> None:
        self.desk, self.token = desk, token
        self.reports: list[Report] = []
        self.alarms: list[str] = []
        self.refuse = 0
        policy = KitePolicy(api_key=desk.box.sessions.api_key, root=desk.server.root, updates=updates)
        self.broker = KiteBroker("zerodha", policy=policy, tokens=token, clock=SystemClock(), tell=self.alarms.append)

    async def sink(self, reports: list[Report]) -> None:
        if self.refuse:
            self.refuse -= 1
            raise OSError("the store is away")
        self.reports.extend(reports)

    def kinds(self) -> list[ReportKind]:
        return [report.kind for report in self.reports]

    def reads(self) -> int:
        """How often the book was asked for."""
        return self.desk.server.do(lambda box: box.limits.totals["other"])

    def show(self, **values: object) -> None:
        """Let the newest order's row show something else than the truth."""

        def change(box: KiteSandbox) -> None:
            states: list[Order] = list(box.book.orders.values())[-1]
            states[-1] = replace(states[-1], **values)  # type: ignore[arg-type]

        self.desk.server.do(change)


def act(story: Callable[[Played], Awaitable[None]], *, updates: Updates = "stream", token: HeldToken | None = None) -> None:
    """The adapter started at a sandbox of its own."""

    async def whole() -> None:
        with ExitStack() as stack:
            desk = stack.enter_context(open_desk(SystemClock()))
            played = Played(desk, updates, token or HeldToken(str(desk.client.access_token)))
            await played.broker.start(played.sink)
            try:
                await story(played)
            finally:
                await played.broker.stop()

    play(whole)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "GAP_S", 0.02)
    monkeypatch.setattr(adapter, "UNREADABLE_PAUSE_S", 0.02)
    monkeypatch.setattr(adapter, "LOGIN_POLL_S", 0.02)


LIMIT = make_order(1, Side.BUY, 10, ord_type=OrdType.LIMIT, price="800")


def test_a_poke_from_any_thread_brings_the_fill() -> None:
    """Without one the next look would be half a minute away; a hundred pokes make a few looks."""

    async def story(it: Played) -> None:
        await it.broker.place(LIMIT)
        await until(lambda: ReportKind.PLACED in it.kinds(), "the order")
        it.desk.price("799")
        before = it.reads()
        threads = [threading.Thread(target=it.broker.poke, args=("stream",)) for _ in range(100)]
        for thread in threads:
            thread.start()
        await until(lambda: ReportKind.FILL in it.kinds(), "the fill")
        for thread in threads:
            thread.join()
        assert it.reads() - before < 20

    act(story)


def test_what_is_known_is_not_told_again() -> None:
    """A look that finds nothing new writes nothing."""

    async def story(it: Played) -> None:
        await it.broker.place(LIMIT)
        await until(lambda: ReportKind.PLACED in it.kinds(), "the order")
        told, before = len(it.reports), it.reads()
        for look in (1, 2):  # when the second has begun, the first has told what it had to tell
            it.broker.poke("test")
            await until(lambda look=look: it.reads() >= before + 2 * look, "a look")  # type: ignore[misc]
        assert len(it.reports) == told

    act(story)


def test_reports_that_were_not_taken_are_told_again() -> None:
    """The store was away; nobody pokes."""

    async def story(it: Played) -> None:
        it.refuse = 3
        await it.broker.place(LIMIT)
        await until(lambda: ReportKind.PLACED in it.kinds(), "the order")

    act(story)


def test_polling_needs_no_poke() -> None:
    """While something is open it looks every second."""

    async def story(it: Played) -> None:
        await it.broker.place(LIMIT)
        await until(lambda: ReportKind.PLACED in it.kinds(), "the order")
        it.desk.price("799")
        await until(lambda: ReportKind.FILL in it.kinds(), "the fill", limit_s=3)

    act(story, updates="poll")


def test_a_status_nobody_knows_is_told_once_and_followed() -> None:
    """It counts as working."""

    async def story(it: Played) -> None:
        await it.broker.place(LIMIT)
        it.show(status="LAPSED")
        rows = await it.broker.book()
        await it.broker.book()
        assert [row.status.value for row in rows] == ["PLACED"]
        assert len(it.alarms) == 1
        assert "LAPSED" in it.alarms[0]

    act(story)


def test_an_order_placed_elsewhere_in_words_we_lack_is_left_out_and_told() -> None:
    """The book stays readable; but ours must be understood."""

    async def story(it: Played) -> None:
        it.desk.buy(tag="mine")
        it.show(product="CO")
        assert await it.broker.book() == []
        assert "CO" in it.alarms[0]
        it.show(tag=LIMIT.tag, tags=(LIMIT.tag,))
        with pytest.raises(BookUnreadableError, match="CO"):
            await it.broker.book()

    act(story)


def test_without_a_login_nothing_is_asked_and_nothing_leaves() -> None:
    """The status says what a person must do, and after the login work goes on."""

    async def story(it: Played) -> None:
        assert not it.broker.status().connected
        assert "Log in to Kite" in it.broker.status().message
        assert (await it.broker.place(LIMIT)).kind is OutcomeKind.NOT_SENT
        with pytest.raises(BookUnreadableError, match="Log in to Kite"):
            await it.broker.funds()
        assert it.reads() == 0
        it.token.give(str(it.desk.client.access_token))
        assert it.broker.status().connected
        assert (await it.broker.place(LIMIT)).kind is OutcomeKind.ACCEPTED
        await until(lambda: ReportKind.PLACED in it.kinds(), "the order")

    act(story, token=HeldToken())


def test_a_429_is_not_sent_and_names_a_wait() -> None:
    """The broker's own if it says one, else a second; reads as well."""

    async def story(it: Played) -> None:
        it.desk.faults("orders", _429=1)
        outcome = await it.broker.place(LIMIT)
        assert (outcome.kind, outcome.retry_after_s) == (OutcomeKind.NOT_SENT, 1)
        it.desk.turn(retry_after_s=7)
        it.desk.faults("orders", _429_retry_after=1)
        assert (await it.broker.place(LIMIT)).retry_after_s == 7
        it.desk.faults("reads", _429=100)
        with pytest.raises(BookUnreadableError) as caught:
            await it.broker.funds()
        assert caught.value.retry_after_s == 1

    act(story)


def test_what_kite_has_no_words_for_is_refused_here() -> None:
    """Nothing leaves."""

    async def story(it: Played) -> None:
        outcome = await it.broker.place(make_order(2, Side.BUY, "0.5"))
        assert outcome.kind is OutcomeKind.REFUSED
        assert "whole units" in outcome.message
        assert it.desk.count() == 0

    act(story)


def test_an_order_whose_id_is_not_known_is_cancelled_by_its_tag() -> None:
    """Its answer was lost."""

    async def story(it: Played) -> None:
        await it.broker.place(LIMIT)
        assert LIMIT.broker_order_id is None
        assert (await it.broker.cancel(LIMIT)).kind is OutcomeKind.ACCEPTED
        await until(lambda: ReportKind.CANCELLED in it.kinds(), "the end")

    act(story)


@pytest.mark.parametrize("fault", ["json_list", "502_before", "drop_before", "stalled_body"])
def test_a_cancel_without_an_answer_is_unknown(fault: str) -> None:
    """And asked again by the lane, which does no harm."""

    async def story(it: Played) -> None:
        outcome = await it.broker.place(LIMIT)
        it.desk.turn(slow_ms=50)
        it.desk.http.post("/sandbox/faults", json={"orders": {fault: 1}})
        order = replace(LIMIT, broker_order_id=outcome.broker_order_id)
        assert (await it.broker.cancel(order)).kind is OutcomeKind.UNKNOWN

    act(story)


def test_a_slow_read_does_not_hold_up_an_order() -> None:
    """Each kind has a line of its own."""

    async def story(it: Played) -> None:
        it.desk.turn(delay_ms=3_000)
        it.desk.faults("reads", delay=1)
        reading = asyncio.create_task(it.broker.positions())
        await until(lambda: it.desk.server.do(lambda box: box.faults.show()["reads"]["delay"]) == 0, "the read")
        async with asyncio.timeout(1):
            assert (await it.broker.place(LIMIT)).kind is OutcomeKind.ACCEPTED
        assert not reading.done()
        reading.cancel()

    act(story)


def test_the_capabilities_are_those_of_a_live_broker() -> None:
    """One order at a time, in order."""
    token = HeldToken()
    policy = KitePolicy(api_key="abc", root="http://127.0.0.1:9", protection=Decimal(2))
    broker = KiteBroker("zerodha", policy=policy, tokens=token, clock=SystemClock(), tell=print)
    assert (broker.capabilities.name, broker.capabilities.is_paper) == ("kite", False)
    assert broker.capabilities.max_in_flight == 1
    assert not broker.status().connected
    broker.poke("before the start nobody listens")
