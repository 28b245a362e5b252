"""Filling gaps: bars that nobody heard are fetched from a broker, by a process of its own, so that no order waits for it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta

from bridge.core.bar import Interval

# Asks a broker for what is missing of some symbols from one day to another; what is in the way, or nothing.
Fetch = Callable[[Interval, Sequence[str], date, date], Awaitable[str]]
# The program that fetches: the one that this is a part of.
PROGRAM = "bridge"
# Between a try that failed and the next.
PAUSE = timedelta(minutes=1)
# Brokers settle the last bar a little after its end.
SETTLE = timedelta(seconds=45)
# What a process that is told to stop is waited for.
_END_S = 5.0
_PATIENCE_S = 3_600.0


def fetch_by_command(accounts: Sequence[str]) -> Fetch:
    """`bridge bars fetch`, beside the bridge: it reads sixty days of minutes in a second, which orders would wait for.

    The accounts are asked in turn, until one has brought everything.
    """

    async def fetch(interval: Interval, symbols: Sequence[str], begin: date, end: date) -> str:
        troubles = []
        for account in accounts:
            trouble = await fetch_at(account, interval, symbols, begin, end)
            if not trouble:
                return ""
            troubles.append(trouble)
        return "; ".join(troubles)

    async def fetch_at(account: str, interval: Interval, symbols: Sequence[str], begin: date, end: date) -> str:
        words = ["bars", "fetch", "--account", account, "--interval", interval.value, "--some"]
        words += ["--from", begin.isoformat(), "--to", end.isoformat()]
        words += [word for symbol in symbols for word in ("--symbol", symbol)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", PROGRAM, *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PATIENCE_S):
                _, told = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                async with asyncio.timeout(_END_S):
                    await process.wait()
        lines = told.decode(errors="replace").strip().splitlines()
        return "" if process.returncode == 0 else lines[-1] if lines else f"bars fetch ended with {process.returncode}"

    return fetch


class Filler:
    """One fetch at a time, in the background; what is asked while one runs has its turn after it."""

    def __init__(self, fetch: Fetch | None) -> None:
        self._fetch = fetch
        self._task: asyncio.Task[None] | None = None
        self._next_at: dict[str, datetime] = {}
        self.trouble: dict[str, str] = {}
        self.done: dict[str, datetime] = {}

    @property
    def is_able(self) -> bool:
        """True when there is a broker to ask."""
        return self._fetch is not None

    @property
    def is_busy(self) -> bool:
        """True while one runs."""
        return self._task is not None and not self._task.done()

    def ask(self, name: str, interval: Interval, symbols: Sequence[str], begin: date, end: date, now: datetime) -> None:
        """Begin to fetch, unless something else is being fetched or it failed a moment ago. `done` tells when it was asked."""
        if self._fetch is None or self.is_busy or now < self._next_at.get(name, now):
            return
        self._next_at[name] = now + PAUSE
        self._task = asyncio.get_running_loop().create_task(
            self._run(self._fetch(interval, symbols, begin, end), name, now), name="scans-fill"
        )

    async def _run(self, fetch: Awaitable[str], name: str, asked_at: datetime) -> None:
        try:
            trouble = await fetch
        except OSError as error:
            trouble = str(error)
        except TimeoutError:
            trouble = "it took too long"
        if trouble:
            self.trouble[name] = trouble
        else:
            self.trouble.pop(name, None)
            self.done[name] = asked_at

    async def stop(self) -> None:
        """Break off what runs; what came before is stored."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
