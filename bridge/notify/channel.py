"""A channel reads what is new in the audit and sends it on; how far it has come is on disk, so a restart loses nothing."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from bridge.core.clock import Clock
from bridge.core.errors import StoreError
from bridge.core.news import NEWS, News, NewsKind
from bridge.core.reasons import AuditAction
from bridge.notify.digest import Digest, Memory, make_digest
from bridge.notify.link import NotSentError
from bridge.store.store import Store

# Things that happen together are told together.
GATHER_S = 0.5
# Between two messages: services count them, and so do people.
MESSAGE_GAP_S = 5.0
LOOK_EVERY_S = 30.0
SEND_WITHIN_S = 60.0
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 300.0
# So many tries in a row that failed are worth an alarm, which other channels and the page tell.
TRIES_BEFORE_ALARM = 3
READ_AT_ONCE = 1_000
# News that could not be told for so long are history, and on the page.
TOO_OLD = timedelta(hours=24)
# Records that nobody is told of, until the place is written down all the same.
MARK_EVERY = 10_000


class Sends(Protocol):
    """The way out; blocks."""

    def send(self, title: str, body: str, *, pressing: bool) -> None:
        """Send a message; NotSentError when it did not go out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """What a channel is told by its settings: which news, how long the same is only counted, the page that it names."""

    name: str
    kinds: frozenset[NewsKind]
    window: timedelta
    page: str


class Channel:
    """One way to reach a person. Trading never waits for it: it reads what is on disk, and sends in a thread of its own."""

    def __init__(
        self,
        outlet: Outlet,
        link: Sends,
        *,
        store: Store,
        clock: Clock,
        on_result: Callable[[str, bool], None],
        on_trouble: Callable[[str], None],
        on_fault: Callable[[str, BaseException], None],
    ):
        self.outlet = outlet
        self.trouble = ""
        self._link = link
        self._store = store
        self._clock = clock
        self._on_result = on_result
        self._on_trouble = on_trouble
        self._on_fault = on_fault
        # A missing login is on the record as an alarm, and is news of another kind.
        self._actions = [a for a, kind in NEWS.items() if kind in outlet.kinds or a is AuditAction.ALARM_RAISED]
        self._seq = self._kept_seq = 0
        self._memory: Memory = {}
        self._wake = asyncio.Event()
        self._sender: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There may be news."""
        self._wake.set()

    def describe_trouble(self) -> str:
        """Why nobody is reached; empty while all is well."""
        return f"Notifications by {self.outlet.name} do not arrive: {self.trouble}." if self.trouble else ""

    async def start(self) -> None:
        """Go on where the channel was left; a new one begins now, and does not tell the past."""
        kept = self._store.ledger.told_to.get(self.outlet.name)
        if kept is None:
            kept = await asyncio.to_thread(self._store.reads.newest_record)
            await self._keep(kept)
        self._seq = self._kept_seq = kept
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"notify-{self.outlet.name}")

    async def stop(self) -> None:
        """What was not told is told after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self._wake.set()  # something may have been left untold
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            try:
                if await self._tell_surely():
                    await asyncio.sleep(MESSAGE_GAP_S)
            except StoreError:
                continue  # the store is away; the next look finds the same news
            except Exception as error:  # one fault must not be the end of notifications
                self._on_fault("notify", error)

    async def _tell_surely(self) -> bool:
        """Until it is through: each try reads anew, so that what happens meanwhile goes with it."""
        retrying = AsyncRetrying(
            wait=wait_exponential(multiplier=FIRST_RETRY_S, max=LONGEST_RETRY_S),
            retry=retry_if_exception_type(NotSentError),
            after=self._note_failure,
        )
        return await retrying(self._tell)

    async def _tell(self) -> bool:
        newest, news = await asyncio.to_thread(self._read)
        now = self._clock.now()
        wanted = [one for one in news if one.kind in self.outlet.kinds and now - one.at < TOO_OLD]
        digest = make_digest(wanted, self._memory, now, self.outlet.window)
        if digest.lines:
            await self._send(digest)
        self._memory = digest.memory
        if len(news) == READ_AT_ONCE:
            self._wake.set()  # there may be more
            newest = news[-1].seq
        self._seq = seen = max(newest, self._seq, *(one.seq for one in news[-1:]))
        if wanted or seen - self._kept_seq >= MARK_EVERY:
            await self._keep(seen)
        return bool(digest.lines)

    def _read(self) -> tuple[int, Sequence[News]]:
        """The newest record first: the others up to there are then in the news."""
        reads = self._store.reads
        return reads.newest_record(), reads.news(self._seq, self._actions, READ_AT_ONCE)

    async def _keep(self, seq: int) -> None:
        await self._store.write(lambda tx: tx.put(tx.ledger.told_to, self.outlet.name, seq))
        self._kept_seq = seq

    async def _send(self, digest: Digest) -> None:
        try:
            await self._in_thread(
                lambda: self._link.send(digest.title, digest.body(self.outlet.page), pressing=digest.pressing)
            )
        except NotSentError:
            self._on_result(self.outlet.name, False)
            raise
        self._on_result(self.outlet.name, True)
        self.trouble = ""

    async def _in_thread(self, work: Callable[[], None]) -> None:
        """Not in the pool that pages are read in, and not one that is waited for at the end of the process."""
        if self._sender is not None and self._sender.is_alive():
            raise NotSentError("the message before is still on its way")
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        failure: list[Exception] = []

        def run() -> None:
            try:
                work()
            except Exception as error:  # handed to the waiter, who raises it
                failure.append(error)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(done.set)

        self._sender = threading.Thread(target=run, name=f"notify-{self.outlet.name}", daemon=True)
        self._sender.start()
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await done.wait()
        except TimeoutError:
            raise NotSentError(f"no answer within {SEND_WITHIN_S:.0f} s") from None
        if failure:
            raise failure[0]

    def _note_failure(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        error = state.outcome.exception()
        if not isinstance(error, NotSentError) or state.attempt_number < TRIES_BEFORE_ALARM:
            return
        is_new, self.trouble = not self.trouble, str(error)
        if is_new:
            self._on_trouble(self.describe_trouble())
