"""The vendor's KiteTicker, tamed: one connection and no second try, and the thread in which its reactor runs.

A Twisted reactor cannot be started twice in a process, so all accounts share one, which idles until the process ends.
"""

import asyncio
import logging
import struct
import threading
from collections.abc import Callable, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, cast

import twisted.internet
from kiteconnect.ticker import KiteTicker, connectWS
from twisted.internet import ssl
from twisted.logger import LogEvent, globalLogBeginner

from bridge.core.clock import Clock
from bridge.core.market import Tick
from bridge.log import log_event

CONNECT_S = 10
START_S = 10.0
FULL = "full"  # the only mode whose packets say when they were true
_UNREADABLE = (struct.error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)

# The exchange's times are whole seconds; counted as their beginning, a price would seem older than one before it.
_SECOND = timedelta(microseconds=999_999)

_reactor = cast(Any, twisted.internet).reactor
_starting = threading.Lock()
_FORBIDDEN = "upgrade failed (403 "  # the vendor's client gives no more than this sentence


def start_reactor() -> None:
    """Have the reactor run in a thread of its own; blocks for a moment, the first time only."""
    with _starting:
        _silence()
        if _reactor.running:
            return
        ready = threading.Event()
        _reactor.callWhenRunning(ready.set)
        # Its own helpers inherit `daemon`, so nothing of it keeps the process alive.
        threading.Thread(target=_reactor.run, kwargs={"installSignalHandlers": False}, name="kite-ticker", daemon=True).start()
        if not ready.wait(START_S):
            raise TimeoutError("the ticker's reactor did not start")


def in_reactor(what: Callable[..., object], *words: object) -> None:
    """Call in the reactor's thread, soon."""
    _reactor.callFromThread(what, *words)


@cache
def _silence() -> None:
    """The token is in the address of the stream, and both Twisted and the vendor's client like to tell of addresses."""
    logging.getLogger("kiteconnect.ticker").setLevel(logging.CRITICAL + 1)
    globalLogBeginner.beginLoggingTo(cast(Any, [_hear_twisted]), redirectStandardIO=False, discardBuffer=True)


def _hear_twisted(event: LogEvent) -> None:
    failure = event.get("log_failure")
    if failure is not None:
        log_event("kite_ticker_fault", kind=failure.type.__name__)


class _Ticker(KiteTicker):  # type: ignore[misc]
    """Connects once, tells its end whatever it was, and gives the token only to a server that proves its name.

    The vendor's own `connect` checks no certificate, and its own reconnect never gives a dead token up.
    """

    on_heard: Callable[[], None]
    on_unreadable: Callable[[], None]

    def open(self, on_end: Callable[[], None]) -> None:
        """Begin to connect; in the reactor's thread."""
        self._create_connection(self.socket_url, useragent=self._user_agent(), headers={"X-Kite-Version": "3"})
        self.factory.clientConnectionFailed = self.factory.clientConnectionLost = lambda *_why: on_end()
        trust = ssl.optionsForClientTLS(self.factory.host) if self.factory.isSecure else None
        self.connector = connectWS(self.factory, contextFactory=trust, timeout=self.connect_timeout)

    def _on_message(self, ws: Any, payload: bytes, is_binary: bool) -> None:  # noqa: FBT001 - the vendor's signature
        """A message that cannot be read must not end the connection, and with it the news of orders."""
        self.on_heard()
        try:
            super()._on_message(ws, payload, is_binary)
        except _UNREADABLE:
            self.on_unreadable()

    def drop(self) -> None:
        """Break off, also in the middle of connecting, and without waiting for a peer that is silent."""
        connector = getattr(self, "connector", None)
        if connector is None:
            return
        if connector.state == "connected":
            connector.transport.abortConnection()
        else:
            connector.disconnect()


class Link:
    """One connection from its opening to its end.

    The ticker's callbacks come in the reactor's thread; what they heard waits here until the event loop takes it, which it
    is woken for. Nothing piles up: of each instrument only the newest price waits, and updates are only noted.
    """

    def __init__(self, *, root: str, api_key: str, token: str, clock: Clock, wake: Callable[[], None]) -> None:
        self.is_open = False
        self.is_over = False
        self.is_refused = False
        self.heard_s = clock.monotonic()
        self._clock = clock
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_told = False
        self._has_update = False
        self._ticks: dict[int, Tick] = {}
        self._wanted: Set[int] = frozenset()
        self._ticker = ticker = _Ticker(api_key, token, root=root, connect_timeout=CONNECT_S)
        ticker.on_open = self._note_open
        ticker.on_error = self._note_error
        ticker.on_heard = self._note_heard
        ticker.on_ticks = self._note_ticks
        ticker.on_order_update = self._note_update
        ticker.on_unreadable = self._note_update

    # -- from the event loop ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to connect."""
        in_reactor(self._ticker.open, self._note_end)

    def drop(self) -> None:
        """Break off; `is_over` follows."""
        in_reactor(self._ticker.drop)

    def subscribe(self, tokens: Set[int]) -> None:
        """Want the prices of these instruments, and of no others."""
        in_reactor(self._subscribe, tokens)

    def take(self) -> tuple[bool, dict[int, Tick]]:
        """Whether orders have changed, and the newest prices, since the last call."""
        with self._lock:
            has_update, self._has_update = self._has_update, False
            ticks, self._ticks = self._ticks, {}
            self._is_told = False
        return has_update, ticks

    # -- in the reactor's thread --------------------------------------------------------------------------------------

    def _subscribe(self, tokens: Set[int]) -> None:
        self._wanted = tokens
        known = set(self._ticker.subscribed_tokens)
        if not self._ticker.is_connected():
            return
        if gone := sorted(known - tokens):
            self._ticker.unsubscribe(gone)
        if new := sorted(tokens - known):
            self._ticker.subscribe(new)
            self._ticker.set_mode(FULL, new)

    def _note_open(self, _ticker: Any) -> None:
        self.is_open = True
        self.heard_s = self._clock.monotonic()
        self._tell()

    def _note_end(self) -> None:
        self.is_over = True
        self._tell()

    def _note_error(self, _ticker: Any, code: Any, reason: Any) -> None:
        if not self.is_open and code and _FORBIDDEN in str(reason):
            self.is_refused = True

    def _note_heard(self) -> None:
        self.heard_s = self._clock.monotonic()

    def _note_update(self, *_what: object) -> None:
        """What it says is not used: the order book says it better. So it does no harm to come here for what cannot be read."""
        with self._lock:
            self._has_update = True
        self._tell()

    def _note_ticks(self, _ticker: Any, told: list[dict[str, Any]]) -> None:
        now = self._clock.now()
        # Other modes say no time; the one such packet that answers a subscription may hold the last price of another day.
        wanted = [one for one in told if one["mode"] == FULL and one["instrument_token"] in self._wanted]
        ticks = [read_tick(one, now) for one in wanted]
        with self._lock:
            self._ticks.update({tick.token: tick for tick in ticks if tick.price > 0})
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            was_told, self._is_told = self._is_told, True
        if not was_told:
            with suppress(RuntimeError):  # the event loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._wake)


def read_tick(told: dict[str, Any], now: datetime) -> Tick:
    """A price as the ticker parsed it: a float of at most ten digits, whose repr is exact, and a time without a zone."""
    at = now
    local: datetime | None = told.get("exchange_timestamp")
    if local is not None and (stamped := local.astimezone(UTC)).timestamp() > 0:
        at = min(stamped + _SECOND, now)
    price = Decimal(repr(told["last_price"]))
    return Tick(token=told["instrument_token"], price=price, at=at, volume=told.get("volume_traded"))
