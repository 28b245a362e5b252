"""Live updates: after each commit the hub tells its listeners which parts of a page have changed, by server-sent events."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from bridge.core.events import Changed, Event, PriceSeen, Reloaded

MAX_CLIENTS = 20
HEARTBEAT_S = 15.0  # below the 30 to 60 s after which proxies take a silent connection for dead
MIN_GAP_S = 0.25  # at most four messages a second and listener; what happens meanwhile goes into the next one
SEND_WITHIN_S = 20.0  # a listener that takes nothing for so long is gone
RETRY_MS = 2_000

PARTS = {
    "alert": "alerts",
    "order": "orders",
    "external": "external",
    "position": "positions",
    "trade": "trades",
    "state": "state",
    "alarm": "alarms",
    "definition": "scans",
    "scan": "scans",
}
ALL_PARTS = frozenset(PARTS.values())


class HubFullError(Exception):
    """No more listeners are taken."""


class Listener:
    """One open stream. What waits for it is a set of part names, so it cannot grow however slow the reader is."""

    __slots__ = ("ended", "parts", "wake")

    def __init__(self) -> None:
        self.parts: set[str] = set()
        self.wake = asyncio.Event()
        self.ended = False

    def tell(self, parts: Iterable[str]) -> None:
        """Have these parts told with the next message."""
        self.parts.update(parts)
        self.wake.set()

    def end(self) -> None:
        """Let the stream come to its end."""
        self.ended = True
        self.wake.set()

    async def next(self) -> list[str] | None:
        """The parts that changed since the last call, after a heartbeat at the latest (then none); None at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await self.wake.wait()
        self.wake.clear()
        if self.ended:
            return None
        parts, self.parts = sorted(self.parts), set()
        return parts


class Hub:
    """Who listens. Costs nothing while nobody does."""

    def __init__(self, max_clients: int = MAX_CLIENTS):
        self._max_clients = max_clients
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, events: list[Event]) -> None:
        """Tell what a commit changed; called in the event loop once it is on disk."""
        if not self._listeners:
            return
        parts = _parts_of(events)
        if parts:
            for listener in self._listeners:
                listener.tell(parts)

    def join(self) -> Listener:
        """Listen from now on; HubFullError when there are too many already, or the bridge is stopping."""
        if self._closed or len(self._listeners) >= self._max_clients:
            raise HubFullError
        self._loop = asyncio.get_running_loop()
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream and take no more. Safe in a signal handler.

        uvicorn waits for open connections *before* it ends the lifespan: whoever runs the server has to call this
        when the server is told to stop, or streams hold it up until its own timeout.
        """
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_all)

    def _end_all(self) -> None:
        for listener in self._listeners:
            listener.end()


def _parts_of(events: list[Event]) -> set[str]:
    parts: set[str] = set()
    for event in events:
        if isinstance(event, Changed):
            part = PARTS.get(event.what)
            if part is not None:
                parts.add(part)
        elif isinstance(event, PriceSeen):
            parts.add("positions")
        elif isinstance(event, Reloaded):
            parts |= ALL_PARTS
    return parts


class EventStream:
    """The answer that never ends: `changed` events with the names of the parts, heartbeats between them.

    A `hello` comes first: whoever connects again has missed changes and reads everything anew.
    """

    def __init__(self, hub: Hub, headers: Iterable[tuple[bytes, bytes]] = ()):
        self._hub = hub
        self._listener = hub.join()
        self._headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would hold small messages back
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._listener
        gone = asyncio.create_task(_wait_until_gone(receive, listener))
        try:
            # A stream is cut off by the reader's patience or by the bridge's end; both are its normal end.
            with suppress(TimeoutError):
                await self._send_all(send, listener, is_head=scope["method"] == "HEAD")
        finally:
            gone.cancel()
            self._hub.leave(listener)

    async def _send_all(self, send: Send, listener: Listener, *, is_head: bool) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        if is_head:
            await send({"type": "http.response.body", "body": b""})
            return
        await _send_chunk(send, f"retry: {RETRY_MS}\nevent: hello\ndata: {{}}\n\n")
        while (parts := await listener.next()) is not None:
            await _send_chunk(send, _message(parts))
            if parts:
                await asyncio.sleep(MIN_GAP_S)
        await send({"type": "http.response.body", "body": b""})


def _message(parts: list[str]) -> str:
    if not parts:
        return ": still here\n\n"
    return f"event: changed\ndata: {json.dumps({'parts': parts}, separators=(',', ':'))}\n\n"


async def _send_chunk(send: Send, text: str) -> None:
    async with asyncio.timeout(SEND_WITHIN_S):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _wait_until_gone(receive: Receive, listener: Listener) -> None:
    while True:
        if (await receive())["type"] == "http.disconnect":
            listener.end()
            return
