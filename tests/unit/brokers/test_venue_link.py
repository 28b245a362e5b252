"""The link to a venue, against servers that answer anything but what they should."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.venue import link
from bridge.brokers.venue.adapter import VenueBroker
from bridge.core.clock import SystemClock
from bridge.core.enums import OutcomeKind
from bridge.core.report import Report
from bridge.execution.breaker import OPEN_AFTER, BreakerState
from bridge.execution.guard import GuardedBroker, GuardNews
from tests.support.plays import play
from tests.support.samples import make_order
from tests.support.waiting import until

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
ORDER = make_order(1, broker_order_id="7/8")
NEWS = b'{"epoch":"E","first":1,"last":0,"reports":[]}'


def http(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


class Odd:
    """A server that answers each path with what it was given; None is no answer, for ever."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers = answers
        self.seen: list[str] = []
        self.root = ""
        self._serving: list[tuple[asyncio.Task[None], Writer]] = []

    def take(self, reader: Reader, writer: Writer) -> None:
        """Serve a connection that came."""
        self._serving.append((asyncio.get_running_loop().create_task(self.serve(reader, writer)), writer))

    async def stop(self) -> None:
        """Leave no connection open, not even one whose service had not begun."""
        for task, _writer in self._serving:
            task.cancel()
        await asyncio.gather(*(task for task, _writer in self._serving), return_exceptions=True)
        for _task, writer in self._serving:
            writer.transport.abort()
        await asyncio.sleep(0)  # in which the sockets are closed

    async def serve(self, reader: Reader, writer: Writer) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path, _ = head.split(b" ", 2)
                self.seen.append(f"{method.decode()} {path.decode()}")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                answer = self.answers.get(path.decode().split("/")[3].split("?")[0], http(b"{}"))
                if answer is None:
                    await asyncio.Event().wait()
                writer.write(answer or b"")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def tell(server: Odd, story: Callable[[VenueBroker], Awaitable[None]]) -> None:
    """A story with an adapter that was opened, and not started: nothing is asked but what the story asks."""

    async def whole() -> None:
        listening = await asyncio.start_server(server.take, "127.0.0.1", 0)
        server.root = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        broker = make(server.root)
        broker._link.open()
        try:
            await story(broker)
        finally:
            await broker.stop()
            listening.close()
            await server.stop()

    play(whole)


def make(root: str) -> VenueBroker:
    return VenueBroker("a", root=root, token="t0ken", latest_price=lambda _: Decimal(800), clock=SystemClock())


BOOKS = [
    b"", b"[]", b"null", b"{}", b'{"orders":{}}x', b'{"orders":[{}]}', b'{"orders":[7]}', b'{"orders":7}', b"<html>",
    b'{"orders":[{"order_id":"1","tag":"T","symbol":"S","side":"UP","product":"MIS","ord_type":"MARKET","order_qty":"1"}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BOOKS)
def test_a_book_that_cannot_be_read_is_unknown_and_never_empty(body: bytes) -> None:
    """Orders in doubt would be sent again by an empty book; whatever is odd about it is an error, and contact is lost."""

    async def story(broker: VenueBroker) -> None:
        with pytest.raises(BookUnreadableError):
            await broker.book()
        assert not broker.status().connected
        assert broker.status().message

    tell(Odd(orders=http(body)), story)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 429, 500, 502, 503])
def test_no_read_takes_an_error_for_an_answer(status: int) -> None:
    """Not even one whose body looks like a book."""
    bodies = {"orders": b'{"orders":[]}', "positions": b'{"positions":[]}', "funds": b'{"equity":"1","available":"1"}'}

    async def story(broker: VenueBroker) -> None:
        for read in (broker.book, broker.positions, broker.funds):
            with pytest.raises(BookUnreadableError):
                await read()

    tell(Odd(**{name: http(body, status) for name, body in bodies.items()}), story)


@pytest.mark.parametrize("funds", [b'{"equity":1.5,"available":"1"}', b'{"equity":"NaN","available":"1"}', b'{"equity":"1"}'])
def test_money_is_text_and_finite(funds: bytes) -> None:
    """A JSON number is a float, and that is not money."""

    async def story(broker: VenueBroker) -> None:
        with pytest.raises(BookUnreadableError):
            await broker.funds()

    tell(Odd(funds=http(funds)), story)


ANSWERS: list[tuple[bytes, OutcomeKind]] = [
    (http(b'{"order_id":"1"}'), OutcomeKind.ACCEPTED),
    (http(b"{}"), OutcomeKind.UNKNOWN),
    (http(b'{"error":"order","message":"no"}', 400), OutcomeKind.REFUSED),
    (http(b"", 503), OutcomeKind.UNKNOWN),
    (b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{", OutcomeKind.UNKNOWN),  # cut off
    (b"SSH-2.0-OpenSSH\r\n\r\n", OutcomeKind.UNKNOWN),
    (b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", OutcomeKind.UNKNOWN),
]


@pytest.mark.parametrize(("answer", "kind"), ANSWERS)
def test_a_command_gets_the_outcome_that_its_answer_proves(
    answer: bytes, kind: OutcomeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For orders and cancels alike; the address quotes the id."""
    monkeypatch.setattr(link, "COMMAND_S", 0.3)
    server = Odd(orders=answer)

    async def story(broker: VenueBroker) -> None:
        assert (await broker.place(ORDER)).kind is kind
        assert (await broker.cancel(ORDER)).kind is kind

    tell(server, story)
    assert server.seen == ["POST /v1/a/orders", "DELETE /v1/a/orders/7%2F8"]


def test_a_cancel_without_an_id_looks_it_up_by_the_tag() -> None:
    """And says that it was not sent when the book cannot be read."""

    async def story(broker: VenueBroker) -> None:
        outcome = await broker.cancel(make_order(2))
        assert outcome.kind is OutcomeKind.NOT_SENT

    tell(Odd(orders=http(b"", 502)), story)


def test_too_many_reads_are_contact_and_say_how_long_to_wait() -> None:
    """The venue is there: it asked for a pause, and a cancel that had to look in the book passes that on."""
    busy = b"HTTP/1.1 429 X\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n"

    async def story(broker: VenueBroker) -> None:
        with pytest.raises(BookUnreadableError) as named:
            await broker.book()
        with pytest.raises(BookUnreadableError) as unnamed:
            await broker.funds()
        assert (named.value.retry_after_s, unnamed.value.retry_after_s) == (9, 1)
        assert broker.status().connected
        outcome = await broker.cancel(make_order(2))
        assert (outcome.kind, outcome.retry_after_s) == (OutcomeKind.NOT_SENT, 9)

    tell(Odd(orders=busy, funds=http(b"", 429)), story)


@pytest.mark.parametrize("named", [b"retry-after: 1\r\n", b""])
def test_news_are_not_asked_for_again_before_the_venue_allows_it(named: bytes) -> None:
    """The question for news goes round the guard, so it has to keep to a named wait by itself."""
    server = Odd(reports=b"HTTP/1.1 429 X\r\n" + named + b"content-length: 0\r\n\r\n")

    async def sink(_reports: list[Report]) -> None:
        raise AssertionError("nothing is to be told")

    async def story(broker: VenueBroker) -> None:
        await broker.start(sink)
        began_s = asyncio.get_running_loop().time()
        await until(lambda: len(server.seen) == 2, "the next question")
        assert asyncio.get_running_loop().time() - began_s >= 0.9  # the first of the growing pauses is a tenth

    tell(server, story)


def test_a_session_is_lost_by_a_403_and_by_nothing_else() -> None:
    """Then a person has to sign in; a venue that does not answer is for the breaker, and 429 signs nobody in."""
    server = Odd(funds=http(b"", 500))

    async def story(broker: VenueBroker) -> None:
        async def status_after(funds: bytes) -> tuple[bool, bool]:
            server.answers["funds"] = funds
            with suppress(BookUnreadableError):
                await broker.funds()
            return broker.status().connected, broker.status().session_lost

        good = http(b'{"equity":"1","available":"1"}')
        assert await status_after(http(b"", 500)) == (False, False)
        assert await status_after(http(b"", 403)) == (False, True)
        assert await status_after(http(b"", 429)) == (False, True)
        assert await status_after(good) == (True, False)
        assert await status_after(http(b"", 403)) == (False, True)
        assert await status_after(b"SSH-2.0-OpenSSH\r\n\r\n") == (False, False)

    tell(server, story)


async def _guarded(broker: VenueBroker, answers: int, alarms: list[str]) -> GuardedBroker:
    news = GuardNews(on_breaker=lambda *_: None, on_alarm=lambda _, message: alarms.append(message), on_fault=lambda *_: None)
    guard = GuardedBroker("a", broker, SystemClock(), news)
    for _ in range(answers):
        await guard.place(ORDER)
    return guard


CUT_OFF = b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{"


@pytest.mark.parametrize("answer", [CUT_OFF, http(b"", 503)])
def test_orders_that_the_venue_does_not_answer_open_the_breaker(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link has noted the lost contact before the guard counts: that must not keep it from counting."""
    monkeypatch.setattr(link, "COMMAND_S", 0.3)
    alarms: list[str] = []

    async def story(broker: VenueBroker) -> None:
        guard = await _guarded(broker, OPEN_AFTER, alarms)
        assert guard.state is BreakerState.OPEN
        assert len(alarms) == 1

    server = Odd(orders=answer)
    tell(server, story)


@pytest.mark.parametrize("status", [403, 429])
def test_a_lost_session_and_too_many_orders_do_not_open_the_breaker(status: int) -> None:
    """The one is for a person to mend, the other is an answer, which names a wait even where it says none."""
    alarms: list[str] = []

    async def story(broker: VenueBroker) -> None:
        guard = await _guarded(broker, OPEN_AFTER, alarms)
        assert guard.state is BreakerState.CLOSED
        assert not guard.status().connected
        assert alarms == []

    server = Odd(orders=http(b"", status))
    tell(server, story)
    assert len(server.seen) == (1 if status == 429 else OPEN_AFTER)


def test_before_and_after_a_session_nothing_is_sent() -> None:
    """NOT_SENT is the truth then, and the reads say that they cannot."""

    async def story() -> None:
        broker = make("http://127.0.0.1:1")
        assert (await broker.place(ORDER)).kind is OutcomeKind.NOT_SENT
        assert not broker.status().connected
        await broker.on_price("NSE:SBIN", Decimal(1))
        with pytest.raises(BookUnreadableError):
            await broker.book()
        await broker.stop()
        assert broker.status().message

    play(story)


def test_a_command_that_is_cancelled_is_cancelled() -> None:
    """The lane's own end must not become an outcome."""
    server = Odd(orders=None)

    async def story(broker: VenueBroker) -> None:
        placing = asyncio.create_task(broker.place(ORDER))
        await until(lambda: server.seen, "the request")
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing

    tell(server, story)


def test_an_answer_that_trickles_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is in time, and the whole is not: a doubt, and not a lane that hangs."""
    monkeypatch.setattr(link, "WHOLE_S", 0.2)

    class Trickle(Odd):
        async def serve(self, reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")
            try:
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            except ConnectionError:
                writer.close()

    async def story(broker: VenueBroker) -> None:
        outcome = await broker.place(ORDER)
        assert (outcome.kind, "TimeoutError" in outcome.message) == (OutcomeKind.UNKNOWN, True)

    tell(Trickle(), story)


def test_a_venue_that_takes_the_connection_and_says_nothing_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start waits for a first try, not for its success."""
    monkeypatch.setattr("bridge.brokers.venue.adapter.CONNECT_S", 0.1)

    async def sink(_reports: list[Report]) -> None:
        raise AssertionError("nothing is to be told")

    async def story(broker: VenueBroker) -> None:
        await broker.start(sink)
        assert not broker.status().connected

    tell(Odd(reports=None), story)


def test_odd_news_are_no_contact_and_are_asked_for_again() -> None:
    """A venue that answers nonsense is as good as away."""
    server = Odd(reports=http(b'{"epoch":7}'))
    taken: list[Any] = []

    async def sink(reports: list[Report]) -> None:
        taken.append(reports)

    async def story(broker: VenueBroker) -> None:
        await broker.start(sink)
        assert "cannot be read" in broker.status().message
        server.answers |= {"reports": http(NEWS), "orders": http(b'{"orders":[]}')}
        await until(lambda: broker.status().connected, "contact")

    tell(server, story)
    assert taken == []


@pytest.mark.parametrize("number", [b"Infinity", b"-Infinity", b"NaN", b"1e400"])
def test_news_with_a_number_that_is_none_do_not_end_the_following(number: bytes) -> None:
    """What the reader did not expect is no contact, and the next answer is read."""
    server = Odd(reports=http(b'{"epoch":"E","first":%b,"last":0,"reports":[]}' % number))

    async def sink(_reports: list[Report]) -> None:
        return

    async def story(broker: VenueBroker) -> None:
        await broker.start(sink)
        assert "cannot be read" in broker.status().message
        server.answers |= {"reports": http(NEWS), "orders": http(b'{"orders":[]}')}
        await until(lambda: broker.status().connected, "contact")

    tell(server, story)


def test_a_fault_in_the_following_is_logged_and_not_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that has died is seen by nobody while commands still work."""
    server = Odd(reports=http(NEWS), orders=http(b'{"orders":[]}'))
    faults = [RecursionError("too deep")]
    read = link.Link.read

    async def faulty(self: link.Link, path: str, **values: Any) -> Any:
        if faults:
            raise faults.pop()
        return await read(self, path, **values)

    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(link.Link, "read", faulty)
    monkeypatch.setattr(
        "bridge.brokers.venue.adapter.log_fault", lambda where, error: logged.append((where, type(error).__name__))
    )

    async def sink(_reports: list[Report]) -> None:
        return

    async def story(broker: VenueBroker) -> None:
        await broker.start(sink)
        assert "RecursionError" in broker.status().message
        await until(lambda: broker.status().connected, "contact")

    tell(server, story)
    assert logged == [("venue", "RecursionError")]


def test_of_prices_that_wait_only_the_newest_of_each_symbol_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded in number; a slow venue gets the latest market and not its history."""
    monkeypatch.setattr("bridge.brokers.venue.adapter.MAX_PRICES", 3)
    server = Odd()

    async def story(broker: VenueBroker) -> None:
        for price in range(1, 50):
            await broker.on_price("NSE:SBIN", Decimal(price))
        assert broker._prices["NSE:SBIN"][0] == 49
        for number in range(10):
            await broker.on_price(f"NSE:X{number}", Decimal(1))
        assert list(broker._prices) == ["NSE:X7", "NSE:X8", "NSE:X9"]
        await until(lambda: len(server.seen) == 3, "three prices")

    tell(server, story)
