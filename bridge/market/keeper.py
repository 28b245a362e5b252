"""Keeper: brings the list of instruments up to date once each trading day, and puts it in use without a stop."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Protocol

from bridge.core.clock import IST, Clock
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.log import log_event
from bridge.market.calendar import Calendar
from bridge.market.dump_rows import ListError
from bridge.market.instruments import Catalog
from bridge.market.listing import open_listing
from bridge.market.lists import Taken, Taking, decode_answer, encode_taking, newest_list

# Brokers make the day's list before the market opens; Kite asks to fetch it about now.
MADE_AT = time(8, 30)
CHECK_EVERY_S = 20.0
RETRY_S = 300.0
READ_WITHIN_S = 120.0
_LOOK_BACK_DAYS = 15  # the longest break ever was under two weeks


class ListSource(Protocol):
    """A broker that has a list."""

    @property
    def least_rows(self) -> int:
        """A list with fewer rows is not a whole one."""
        ...

    def trouble(self) -> str:
        """Why it cannot be asked now, or nothing."""
        ...

    async def fetch(self, to: Path, tell: Callable[[int], None]) -> None:
        """Write the dump as CSV into `to`; `tell` hears how many bytes there are. ListError says why it cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How far a sync is; `phase` is fetching, reading, done or failed, and `message` how it ended."""

    account: str
    phase: str = "fetching"
    size: int = 0
    message: str = ""


class ListKeeper:
    """The list in use and where the next one comes from. `sources` are by account; without one there is nothing to keep."""

    def __init__(
        self,
        *,
        folder: Path,
        file: Path,
        catalog: Catalog,
        calendar: Calendar,
        clock: Clock,
        on_fault: Callable[[str, BaseException], None],
        check_s: float = CHECK_EVERY_S,
    ) -> None:
        self.sources: dict[str, ListSource] = {}
        self._folder = folder
        self._file = file
        self._catalog = catalog
        self._calendar = calendar
        self._clock = clock
        self._on_fault = on_fault
        self._check_s = check_s
        self._state: SyncState | None = None
        self._sync: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._wait_until = 0.0

    # -- what others ask ----------------------------------------------------------------------------------------------

    def trouble(self) -> str:
        """Why the list in use cannot be trusted for today, or nothing."""
        if not self.sources:
            return ""
        day, needed = self._catalog.listing.facts.day, trading_day(self._calendar, self._clock.now())
        if day is not None and day >= needed:
            return ""
        has = "a file of the settings" if day is None else f"of {day}"
        state = self._state
        failed = f"; the last sync failed: {state.message}" if state is not None and state.phase == "failed" else ""
        return f"the list of instruments is {has}, not of {needed}: run `bridge instruments sync {min(self.sources)}`{failed}"

    def describe(self) -> dict[str, object]:
        """The list in use and the latest sync; counts the list, so call it in a worker thread."""
        facts, state = self._catalog.listing.facts, self._state
        told: dict[str, object] = {
            "source": facts.source,
            "day": facts.day and facts.day.isoformat(),
            "instruments": len(self._catalog),
            "trouble": self.trouble(),
        }
        if state is not None:
            told["sync"] = {"account": state.account, "phase": state.phase, "bytes": state.size, "message": state.message}
        return told

    # -- work ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Watch for the day's list from now on, if there is anybody to ask."""
        if self.sources:
            self._watch = asyncio.get_running_loop().create_task(self._keep(), name="instruments")

    async def stop(self) -> None:
        """Break off what is under way; the list in use stays."""
        tasks = [task for task in (self._watch, self._sync) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            account = self._due()
            if account is not None:
                await asyncio.wait([self._begin(account)])
            await asyncio.sleep(self._check_s)

    def _due(self) -> str | None:
        """The account to ask, when the day's list is missing and was not just tried for."""
        if not self.trouble() or self._clock.monotonic() < self._wait_until:
            return None
        return next((name for name, source in sorted(self.sources.items()) if not source.trouble()), None)

    def begin_sync(self, account: str) -> None:
        """Fetch the list now, in the background; RefusedError when the account has none to give, or one is under way."""
        source = self.sources.get(account)
        if source is None:
            have = f"These have one: {', '.join(sorted(self.sources))}." if self.sources else "No account has one."
            raise _refused(f"Account {account[:40]!r} has no list of instruments to fetch.", have)
        if why := source.trouble():
            raise _refused(f"Account {account} cannot be asked: {why}", "Then sync again.")
        if self._sync is not None and not self._sync.done():
            raise _refused("A sync is under way.", "Wait for its end.")
        self._begin(account)

    def _begin(self, account: str) -> "asyncio.Task[None]":
        if self._sync is None or self._sync.done():
            self._state = SyncState(account=account)
            self._sync = asyncio.get_running_loop().create_task(self._run(account, self.sources[account]))
        return self._sync

    async def _run(self, account: str, source: ListSource) -> None:
        self._wait_until = self._clock.monotonic() + RETRY_S
        try:
            taken = await self._take(account, source)
            self._note(phase="done", message=f"{taken}.")
            log_event("instruments_synced", account=account, rows=taken.rows, left_out=taken.left_out)
        except (ListError, OSError, TimeoutError) as error:
            self._note(phase="failed", message=str(error) or type(error).__name__)
            log_event("instruments_not_synced", account=account, message=str(error))
        except Exception as error:
            self._note(phase="failed", message=f"a fault of the bridge itself ({type(error).__name__})")
            self._on_fault("instruments", error)

    async def _take(self, account: str, source: ListSource) -> Taken:
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        dump, now = folder / ".incoming.csv", self._clock.now()
        try:
            await source.fetch(dump, lambda size: self._note(size=size))
            self._note(phase="reading")
            taking = Taking(
                dump=str(dump),
                folder=str(folder),
                former=str(newest_list(folder) or self._file),
                source=account,
                day=trading_day(self._calendar, now).isoformat(),
                fetched_on=now.astimezone(IST).date().isoformat(),
                least_rows=source.least_rows,
            )
            taken = decode_answer(await _read_apart(taking))
        finally:
            dump.unlink(missing_ok=True)
        self._catalog.replace(await asyncio.to_thread(open_listing, Path(taken.file)))
        return taken

    def _note(self, *, phase: str | None = None, size: int | None = None, message: str = "") -> None:
        state = self._state
        assert state is not None
        self._state = replace(
            state, phase=phase or state.phase, size=state.size if size is None else size, message=message or state.message
        )


def trading_day(calendar: Calendar, now: datetime) -> date:
    """The latest day of trading whose list brokers have made by `now`."""
    local = now.astimezone(IST)
    day = local.date() if local.time() >= MADE_AT else local.date() - timedelta(days=1)
    for back in range(_LOOK_BACK_DAYS):
        if calendar.is_trading_day(day - timedelta(days=back)):
            return day - timedelta(days=back)
    return day


async def _read_apart(taking: Taking) -> str:
    """What the process that reads the dump said. It gets none of our secrets, and ends with us."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge.market.lists", encode_taking(taking)),
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            said, _ = await child.communicate()
        if child.returncode:
            raise ListError(f"the dump could not be read: the process that read it ended with code {child.returncode}")
        return said.decode(errors="replace")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def _refused(message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field="account", hint=hint)
