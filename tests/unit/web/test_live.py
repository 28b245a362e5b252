"""The hub and its streams, with a reader that is a list."""

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest

from bridge.core.events import AskReady, Changed, Event, OrderReady, PriceSeen, Reloaded
from bridge.web import live
from bridge.web.live import EventStream, Hub, HubFullError
from tests.support.waiting import until

SCOPE = {"type": "http", "method": "GET"}


def changed(what: str) -> list[Event]:
    return [Changed(what=what)]


class Reader:
    """The other end of a stream."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.blocks = False

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.blocks:
            await asyncio.Event().wait()
        self.sent.append(dict(message))

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def is_over(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is not True and len(self.sent) > 1


def play(story: Callable[[Hub, Reader], Coroutine[Any, Any, None]], scope: dict[str, Any] | None = None) -> Reader:
    """Run a story with one open stream; the stream must be over, and its place free, when the reader goes."""

    async def go() -> Reader:
        hub, reader = Hub(), Reader()
        task = asyncio.create_task(EventStream(hub)(scope or SCOPE, reader.receive, reader.send))
        await asyncio.sleep(0)
        await story(hub, reader)
        reader.gone.set()
        await asyncio.wait_for(task, 5)
        assert len(hub) == 0
        return reader

    return asyncio.run(go())


def test_publishing_to_nobody_does_nothing():
    """It is called after every commit, in the event loop."""
    hub = Hub()
    hub.publish(changed("alert"))
    assert len(hub) == 0


@pytest.mark.parametrize(("what", "part"), live.PARTS.items())
def test_a_change_is_told_by_the_name_of_its_part(what, part):
    """alert → alerts, and so on."""

    async def story(hub: Hub, reader: Reader) -> None:
        hub.publish(changed(what))
        await until(lambda: "event: changed" in reader.text)

    assert f'data: {{"parts":["{part}"]}}\n\n' in play(story).text


def test_a_price_moves_positions_and_a_reload_everything():
    """What else a page shows follows from those."""
    assert live._parts_of([PriceSeen(symbol="NSE:SBIN", price=Decimal(1))]) == {"positions"}
    assert live._parts_of([Reloaded()]) == live.ALL_PARTS


def test_what_pages_do_not_show_is_not_told():
    """Work for lanes wakes nobody."""
    events: list[Event] = [
        OrderReady(account="a", cl_ord_id="x", reduce_only=False, granted=True),
        AskReady(account="a", cl_ord_id="x"),
        Changed(what="something new"),
    ]
    assert live._parts_of(events) == set()


def test_a_stream_begins_with_hello():
    """Whoever connects again reads everything anew."""

    async def story(_hub: Hub, reader: Reader) -> None:
        await until(lambda: "event: hello" in reader.text)

    reader = play(story)
    assert reader.text.startswith("retry: ")
    assert (b"content-type", b"text/event-stream; charset=utf-8") in reader.sent[0]["headers"]
    assert (b"cache-control", b"no-store") in reader.sent[0]["headers"]


def test_a_thousand_changes_become_a_few_messages(monkeypatch):
    """At most four a second; what happens meanwhile goes into the next one."""
    monkeypatch.setattr(live, "MIN_GAP_S", 0.05)

    async def story(hub: Hub, reader: Reader) -> None:
        await until(lambda: "hello" in reader.text)
        for n in range(1_000):
            hub.publish(changed("alert" if n % 2 else "order"))
            if n == 500:
                await asyncio.sleep(0.12)
        await until(lambda: reader.text.count("event: changed") >= 2)
        await asyncio.sleep(0.12)

    assert 2 <= play(story).text.count("event: changed") <= 4


def test_what_waits_for_a_slow_reader_stays_small():
    """Six names at the most, however much happens."""

    async def go() -> None:
        hub = Hub()
        listener = hub.join()
        for _ in range(10_000):
            hub.publish([*(Changed(what=what) for what in live.PARTS), Reloaded()])
        assert listener.parts == live.ALL_PARTS

    asyncio.run(go())


def test_a_reader_that_takes_nothing_loses_its_place(monkeypatch):
    """A stream is not held for ever by a phone in a tunnel."""
    monkeypatch.setattr(live, "SEND_WITHIN_S", 0.05)

    async def story(hub: Hub, reader: Reader) -> None:
        await until(lambda: "hello" in reader.text)
        reader.blocks = True
        hub.publish(changed("alert"))
        await until(lambda: len(hub) == 0)

    play(story)


def test_silence_is_broken_by_heartbeats(monkeypatch):
    """Proxies and dead connections are found out."""
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.02)

    async def story(_hub: Hub, reader: Reader) -> None:
        await until(lambda: reader.text.count(": still here") >= 2)

    assert "changed" not in play(story).text


def test_no_more_listeners_than_the_limit():
    """The twenty-first is told so; a place that is given up is free."""

    async def go() -> None:
        hub = Hub()
        listeners = [hub.join() for _ in range(live.MAX_CLIENTS)]
        with pytest.raises(HubFullError):
            EventStream(hub)
        hub.leave(listeners[0])
        hub.leave(listeners[0])
        assert hub.join() is not None

    asyncio.run(go())


def test_closing_the_hub_ends_every_stream_and_takes_no_more():
    """A stop is not held up by open pages."""

    async def story(hub: Hub, reader: Reader) -> None:
        await until(lambda: "hello" in reader.text)
        hub.close()
        await until(lambda: reader.is_over)
        with pytest.raises(HubFullError):
            hub.join()

    play(story)


def test_closing_a_hub_that_nobody_ever_joined_is_fine():
    """Also after its loop is gone."""
    hub = Hub()
    hub.close()

    async def join(hub: Hub) -> None:
        hub.join()

    other = Hub()
    asyncio.run(join(other))
    other.close()


def test_a_head_request_gets_the_headers_and_no_stream():
    """Else it would hang until the heartbeat."""

    async def story(_hub: Hub, reader: Reader) -> None:
        await until(lambda: len(reader.sent) == 2)

    assert play(story, {"type": "http", "method": "HEAD"}).text == ""


def test_a_reader_that_leaves_frees_its_place_at_once():
    """Not only with the next heartbeat."""

    async def story(hub: Hub, reader: Reader) -> None:
        await until(lambda: "hello" in reader.text)
        reader.gone.set()
        await until(lambda: len(hub) == 0, limit_s=2)

    play(story)
