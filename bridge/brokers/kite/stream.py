"""The stream of one Kite account: kept connected while there is a session, it says when to look and what prices are."""

import asyncio
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from bridge.brokers.kite.ticker import Link, start_reactor
from bridge.core.clock import Clock
from bridge.core.market import Tick
from bridge.log import log_event

# The vendor's limit for one connection.
MAX_INSTRUMENTS = 3_000
# How long a stop waits for the connection to be gone.
GONE_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """Seconds. A connected server says something about every second, so that silence of `stale_s` means nobody is there.

    `look_s` is how often silence and the session are looked at, `gap_s` the least between two deliveries of prices.
    `pauses_s` come before the second attempt, the third and so on; the last is for all others, and for a token that was
    refused, as long as the session has no other.
    """

    stale_s: float = 10.0
    look_s: float = 0.5
    gap_s: float = 0.25
    pauses_s: tuple[float, ...] = (0.2, 1.0, 2.0, 5.0, 10.0, 15.0)


TIMES = StreamTimes()


class KiteStream:
    """Calls `on_update` for news of orders and after every connect, since what happened in between was not told.

    `token` gives the session's live access token, or None while there is none. All callbacks come in the event loop;
    several updates that come together are one call. The stream never judges the session: a refused token is a reason for
    `on_update`, whose look at the broker gets the broker's own word.
    """

    def __init__(
        self,
        account: str,
        *,
        root: str,
        api_key: str,
        token: Callable[[], str | None],
        clock: Clock,
        on_update: Callable[[str], None],
        on_tick: Callable[[list[Tick]], None],
        on_fault: Callable[[str, BaseException], None],
        times: StreamTimes = TIMES,
    ) -> None:
        self._account = account
        self._root = root
        self._api_key = api_key
        self._token = token
        self._clock = clock
        self._on_update = on_update
        self._on_tick = on_tick
        self._on_fault = on_fault
        self._times = times
        self._wanted: Set[int] = frozenset()
        self._newest: dict[int, Tick] = {}
        self._delivery: asyncio.TimerHandle | None = None
        self._delivered_s = -times.gap_s
        self._wake = asyncio.Event()
        self._refused: str | None = None
        self._link: Link | None = None
        self._connected_at: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """True while news of orders would be heard."""
        return self._link is not None and self._link.is_open and not self._link.is_over

    def connected_at(self) -> datetime | None:
        """Since when every price is heard; None while nothing is."""
        return self._connected_at if self.is_connected else None

    async def start(self) -> None:
        """Connect as soon as there is a token, and stay connected."""
        await asyncio.to_thread(start_reactor)
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"kite-stream {self._account}")

    async def stop(self) -> None:
        """Hang up; no callback comes afterwards."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._delivery is not None:
            self._delivery.cancel()
        link, self._link = self._link, None
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_WITHIN_S):
                while link is not None and not link.is_over:
                    self._wake.clear()
                    link.take()
                    await self._wait(self._times.look_s)

    def subscribe(self, tokens: Set[int]) -> None:
        """Want the prices of exactly these instruments, from now on and after every connect."""
        self._wanted = frozenset(sorted(tokens)[:MAX_INSTRUMENTS])
        if self._link is not None and self._link.is_open:
            self._link.subscribe(self._wanted)

    # -- staying connected --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                token = self._token()
                if token is None:
                    await asyncio.sleep(self._times.look_s)
                    continue
                attempt = 0 if await self._follow(token, is_first=not attempt) else attempt + 1
                await self._rest(token, attempt)
            except Exception as error:  # the stream outlives a fault of whoever listens
                self._on_fault("kite stream", error)
                await asyncio.sleep(self._times.pauses_s[-1])

    async def _follow(self, token: str, *, is_first: bool) -> bool:
        """Connect and listen until there is a reason to connect anew; True when the connection was a steady one."""
        link = self._link = Link(root=self._root, api_key=self._api_key, token=token, clock=self._clock, wake=self._wake.set)
        link.open()
        began_s = self._clock.monotonic()
        try:
            why = await self._listen(link, token)
        finally:
            link.drop()
        if is_first or link.is_open:
            log_event("kite_stream_lost", account=self._account, why=why)
        if link.is_refused and token != self._refused:
            self._refused = token
            self._on_update("the stream refused the session")
        return link.is_open and self._clock.monotonic() - began_s >= self._times.stale_s

    async def _listen(self, link: Link, token: str) -> str:
        is_new = True
        while True:
            self._wake.clear()
            has_update, ticks = link.take()
            if link.is_open and is_new:
                is_new, self._refused, self._connected_at = False, None, self._clock.now()
                log_event("kite_stream_connected", account=self._account)
                link.subscribe(self._wanted)
                self._on_update("the stream has connected")
            if has_update:
                self._on_update("the stream told of an order")
            self._keep(ticks)
            if link.is_over:
                return "refused" if link.is_refused else "ended"
            if self._token() != token:
                return "the session has changed"
            if self._clock.monotonic() - link.heard_s > self._times.stale_s:
                return "silent"
            await self._wait(self._times.look_s)

    async def _wait(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._wake.wait()

    async def _rest(self, token: str, attempt: int) -> None:
        """Wait before the next attempt, unless the session has a new token."""
        pauses_s = self._times.pauses_s
        rest_s = pauses_s[-1] if token == self._refused else pauses_s[min(attempt, len(pauses_s) - 1)]
        until_s = self._clock.monotonic() + rest_s
        while (left_s := until_s - self._clock.monotonic()) > 0 and self._token() == token:  # noqa: ASYNC110 - a session has no event
            await asyncio.sleep(min(left_s, self._times.look_s))

    # -- prices -------------------------------------------------------------------------------------------------------

    def _keep(self, ticks: dict[int, Tick]) -> None:
        if not ticks:
            return
        self._newest.update(ticks)
        if self._delivery is None:
            loop = asyncio.get_running_loop()
            due_s = max(self._delivered_s + self._times.gap_s, loop.time())
            self._delivery = loop.call_at(due_s, self._deliver)

    def _deliver(self) -> None:
        ticks, self._newest = list(self._newest.values()), {}
        self._delivery, self._delivered_s = None, asyncio.get_running_loop().time()
        self._on_tick(ticks)
