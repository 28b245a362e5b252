"""The reports of one account of the venue, numbered within this run, for whoever waits for the next."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from bridge.brokers.venue.wire import write_report
from bridge.core.report import Report

# Who is further behind than this reads the book instead, which holds the same.
KEPT = 20_000
# One answer carries at most this many: at its reader they end up in one transaction.
MAX_BATCH = 512


class ReportStream:
    """Reports in order. `epoch` names the run of the venue: numbers of another run mean nothing.

    An answer says which number its first report has. A reader that expected another epoch or number has missed some, and
    reads the book; with `last` it goes on from here.
    """

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._newest = 0
        self._closed = False
        self._news = asyncio.Event()

    def add(self, reports: Iterable[Report]) -> None:
        """Number and keep reports, and wake who waits for them."""
        told = [write_report(report) for report in reports]
        if told:
            self._newest += len(told)
            self._kept.extend(told)
            self._wake()

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def read(self, epoch: str | None, after: int, wait_s: float) -> dict[str, Any]:
        """What came after that number, waiting for the first of it if need be. Without an epoch this run's is meant."""
        is_ours = epoch in (None, self._epoch)
        if is_ours and after == self._newest and not self._closed:
            news = asyncio.create_task(self._news.wait())
            await asyncio.wait((news,), timeout=wait_s)
            news.cancel()
        oldest = self._newest - len(self._kept)
        if not is_ours or not oldest <= after <= self._newest:
            return self._answer(self._newest, [])
        start = after - oldest
        return self._answer(after, [self._kept[at] for at in range(start, min(start + MAX_BATCH, len(self._kept)))])

    def _answer(self, after: int, reports: list[dict[str, Any]]) -> dict[str, Any]:
        return {"epoch": self._epoch, "first": after + 1, "last": after + len(reports), "reports": reports}
