"""The stream: who listens to which instrument, and the updates about orders that go out by it and by postback."""

import asyncio
import hashlib
import http.client
import json
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from bridge.core.clock import Clock
from bridge.sandbox.kite.faults import Fault, Faults, Knobs, Scope
from bridge.sandbox.kite.market import Market
from bridge.sandbox.kite.sessions import Sessions
from bridge.sandbox.kite.ticks import HEARTBEAT, MODES, pack_frame, pack_tick
from bridge.sandbox.kite.values import ApiError, Order, order_row
from bridge.sandbox.kite.websocket import BINARY, TEXT, Connection

MAX_CONNECTIONS = 3
MAX_INSTRUMENTS = 3_000
APP_ID = 1234
POSTBACK_TIMEOUT_S = 3.0
# What was sent, for tests and for whoever wonders.
KEPT = 1_000


class Stream:
    """Every open connection with its subscriptions, and the queue of postbacks."""

    def __init__(self, clock: Clock, market: Market, sessions: Sessions, faults: Faults, knobs: Callable[[], Knobs]) -> None:
        self.listeners: dict[Connection, dict[int, str]] = {}
        self.sent: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.postbacks: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.postbacks_failed = 0
        self._clock = clock
        self._market = market
        self._sessions = sessions
        self._faults = faults
        self._knobs = knobs
        self._held: dict[str, Any] | None = None
        self._news = asyncio.Event()

    # -- connections ------------------------------------------------------------------------------------------------

    def admit(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        """101, or why not."""
        if path not in ("", "/"):
            return 404, "Not Found"
        try:
            self._sessions.check(query.get("api_key", ""), query.get("access_token", ""))
        except ApiError:
            return 403, "Forbidden"
        return (429, "Too Many Requests") if len(self.listeners) >= MAX_CONNECTIONS else (101, "")

    def joined(self, connection: Connection) -> None:
        """A new listener, subscribed to nothing but its orders."""
        self.listeners[connection] = {}

    def left(self, connection: Connection) -> None:
        """One fewer."""
        self.listeners.pop(connection, None)

    def heard(self, connection: Connection, message: str) -> None:
        """Subscribe, unsubscribe, or set a mode."""
        try:
            wanted = json.loads(message)
            action, value = wanted["a"], wanted["v"]
            mode, tokens = value if action == "mode" else ("quote", value)
            tokens = [int(token) for token in tokens]
        except (ValueError, TypeError, LookupError, RecursionError):
            self._say(connection, {"type": "error", "data": "Invalid message."})
            return
        mine = self.listeners[connection]
        if action == "unsubscribe":
            for token in tokens:
                mine.pop(token, None)
        elif action in ("subscribe", "mode") and mode in MODES:
            self._subscribe(connection, mine, mode, [token for token in tokens if token in self._market.by_token])
        else:
            self._say(connection, {"type": "error", "data": "Invalid action."})

    def _subscribe(self, connection: Connection, mine: dict[int, str], mode: str, tokens: list[int]) -> None:
        if len(mine.keys() | set(tokens)) > MAX_INSTRUMENTS:
            self._say(connection, {"type": "error", "data": "Too many instruments."})
            return
        mine.update(dict.fromkeys(tokens, mode))
        self._send_ticks(connection, dict.fromkeys(tokens, mode))

    def drop_all(self) -> None:
        """Break every connection off."""
        for connection in list(self.listeners):
            connection.drop()

    def close_all(self) -> None:
        """End every connection well."""
        for connection in list(self.listeners):
            connection.shutdown()

    # -- market data --------------------------------------------------------------------------------------------------

    def on_price(self, symbol: str) -> None:
        """Tell whoever subscribed."""
        token = self._market.listed[symbol].token
        for connection, mine in list(self.listeners.items()):
            if token in mine:
                self._send_ticks(connection, {token: mine[token]})

    def _send_ticks(self, connection: Connection, modes: dict[int, str]) -> None:
        if self._knobs().stream_stale or not modes:
            return
        items = ((self._market.by_token[token], mode) for token, mode in modes.items())
        connection.send(BINARY, pack_frame(pack_tick(self._market, item, mode, self._clock) for item, mode in items))

    def beat(self) -> None:
        """The heartbeat of an idle stream, and the end of those whose session has ended."""
        current = self._sessions.current
        for connection in list(self.listeners):
            if current is None or self._clock.now() >= current.dies_at:
                connection.shutdown()
            elif not self._knobs().stream_stale:
                connection.send(BINARY, HEARTBEAT)

    def _say(self, connection: Connection, message: dict[str, Any]) -> None:
        if not self._knobs().stream_stale:
            connection.send(TEXT, json.dumps(message).encode())

    # -- orders -----------------------------------------------------------------------------------------------------

    def tell(self, order: Order, status: str) -> None:
        """Send an update, or lose it, send it twice, or after the next one."""
        update = self.make_update(order, status)
        if self._faults.use(Scope.UPDATES, Fault.LOSE):
            return
        if self._faults.use(Scope.UPDATES, Fault.REORDER) and self._held is None:
            self._held = update
            return
        held, self._held = self._held, None
        times = 2 if self._faults.use(Scope.UPDATES, Fault.DUPLICATE) else 1
        for one in [update] * times + ([held] if held else []):
            self._send_update(one)

    def make_update(self, order: Order, status: str) -> dict[str, Any]:
        """The order as an update shows it, signed."""
        row = order_row(order)
        signed = f"{order.order_id}{row['order_timestamp']}{self._sessions.api_secret}"
        return {
            **row, "status": str(status), "user_id": order.user_id, "app_id": APP_ID,
            "unfilled_quantity": row["pending_quantity"], "checksum": hashlib.sha256(signed.encode()).hexdigest(),
        }  # fmt: skip

    def _send_update(self, update: dict[str, Any]) -> None:
        self.sent.append(update)
        for connection in list(self.listeners):
            self._say(connection, {"type": "order", "id": "", "data": update})
        if self._knobs().postback_url:
            self.postbacks.append(update)
            self._news.set()

    async def send_postbacks(self) -> None:
        """Post updates to the app's address, one after the other and each once, for as long as this is awaited."""
        self._news = asyncio.Event()  # of the loop that runs now: a server may have been started again
        while True:
            while self.postbacks:
                url, update = self._knobs().postback_url, self.postbacks.popleft()
                if url and not await asyncio.to_thread(post, url, json.dumps(update).encode()):
                    self.postbacks_failed += 1
            await self._news.wait()
            self._news.clear()


def post(url: str, body: bytes) -> bool:
    """POST once; True for a 2xx in time."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=POSTBACK_TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status // 100 == 2
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
