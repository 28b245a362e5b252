"""Reports on their way to the bridge: gathered, in order, again and again until they are taken."""

import asyncio
from collections.abc import Iterable

from bridge.brokers.base import ReportSink
from bridge.core.report import Report
from bridge.log import log_event

# A sink that does not take reports stops the venue from taking orders long before memory is short.
MAX_WAITING = 20_000
# One call of the sink carries at most this many: it ends up in one transaction.
MAX_BATCH = 512
FIRST_RETRY_S = 0.05
LAST_RETRY_S = 5.0


class Delivery:
    """A queue of reports and the one task that empties it; what piles up in one turn of the loop goes in one call.

    What was not taken stays in the queue, over a stop and a new start too.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._waiting: list[Report] = []
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    @property
    def is_running(self) -> bool:
        """True between start and stop."""
        return self._task is not None

    @property
    def is_full(self) -> bool:
        """True when nothing should happen that makes more reports."""
        return len(self._waiting) >= MAX_WAITING

    @property
    def waiting(self) -> int:
        """How many reports have not been taken yet."""
        return len(self._waiting)

    def start(self, sink: ReportSink) -> None:
        """Deliver to `sink` from now on."""
        if self._task is not None:
            self._task.cancel()
        self._wake = asyncio.Event()
        self._wake.set()
        self._task = asyncio.get_running_loop().create_task(self._deliver(sink, self._wake))

    async def stop(self) -> None:
        """Deliver nothing afterwards."""
        task, self._task, self._wake = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def put(self, reports: Iterable[Report]) -> None:
        """Queue reports; costs nothing more until the event loop's next turn."""
        self._waiting.extend(reports)
        if self._wake is not None:
            self._wake.set()

    async def _deliver(self, sink: ReportSink, wake: asyncio.Event) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            while not self._waiting:
                wake.clear()
                await wake.wait()
            batch = self._waiting[:MAX_BATCH]
            if await self._hand_over(sink, batch):
                del self._waiting[: len(batch)]
                retry_s = FIRST_RETRY_S
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LAST_RETRY_S)

    async def _hand_over(self, sink: ReportSink, batch: list[Report]) -> bool:
        try:
            await sink(batch)
        except Exception as error:  # whatever went wrong there, the reports are still to be told
            self.failures += 1
            log_event(
                "paper_reports_not_taken", account=self._account, waiting=self.waiting, failures=self.failures,
                kind=type(error).__name__,
            )  # fmt: skip
            return False
        return True
