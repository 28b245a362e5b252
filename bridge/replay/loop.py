"""Virtual time: asyncio's own loop without a selector, which jumps to the next timer, and the clock that goes with it."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")


class StuckError(Exception):
    """Nothing is left to do, and what was waited for has not come."""


class VirtualLoop(asyncio.BaseEventLoop):
    """When nothing is ready, the time of the next timer has come. Callbacks run in the order in which asyncio runs them."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0.0

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._at

    def jump(self, to: float) -> None:
        """Let it be so late at once; timers that are overdue then run once each, as after a machine has slept."""
        self._at = max(self._at, to)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """Threads would run in no particular order: what is handed to one is done at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # as a thread would hand it over
            future.set_exception(error)
        return future

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise StuckError("nothing is left to do")
            self._at = max(self._at, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._at:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._step(handle)

    def _step(self, handle: Any) -> None:
        handle._run()

    def _write_to_self(self) -> None:
        """Called by call_soon_threadsafe to wake a selector; there is none."""


class VirtualClock:
    """The time of a virtual loop, counted from `starts_at`."""

    def __init__(self, loop: VirtualLoop, starts_at: datetime) -> None:
        self._loop = loop
        self._starts_at = starts_at

    def now(self) -> datetime:
        """The present, to the microsecond."""
        return self._starts_at + timedelta(microseconds=round(self._loop.time() * 1_000_000))

    def monotonic(self) -> float:
        """Seconds since the loop was made."""
        return self._loop.time()

    def jump(self, to: datetime) -> None:
        """Let it be `to` at once; a time that has passed changes nothing."""
        self._loop.jump((to - self._starts_at) / timedelta(seconds=1))
