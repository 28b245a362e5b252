"""The watch over dated data: shows what is old, and tells it once on a trading day, before the market opens."""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta

from bridge.core.clock import IST, Clock
from bridge.core.dated import DatedData
from bridge.core.reasons import AuditAction
from bridge.logins import ALARMS_LOOKED_AT, Hours
from bridge.store.store import Store

# The code of its alarms.
OLD_DATA = "old data"
LOOK_EVERY_S = 60.0
# Logins are asked for half an hour before the open, and the day's list of instruments is there a minute after one.
TELL_BEFORE = timedelta(minutes=15)


class DataWatch:
    """Looks once a minute, in a worker thread. `hours` are the market's of a day."""

    def __init__(
        self,
        look: Callable[[], tuple[DatedData, ...]],
        *,
        store: Store,
        clock: Clock,
        hours: Hours,
        on_change: Callable[[], None],
    ) -> None:
        self._look = look
        self._on_change = on_change
        self._store = store
        self._clock = clock
        self._hours = hours
        self._due_s = clock.monotonic()
        self._told: date | None = None  # the latest day that is settled
        self.rows: tuple[DatedData, ...] = ()

    def troubles(self) -> list[str]:
        """What is old and stands in somebody's way, a sentence each."""
        return [row.sentence for row in self.rows if row.is_trouble]

    async def tick(self) -> None:
        """One look of the worker's, when it is due; StoreError passes."""
        if self._clock.monotonic() < self._due_s:
            return
        self._due_s = self._clock.monotonic() + LOOK_EVERY_S
        before, self.rows = self.rows, await asyncio.to_thread(self._look)
        if self.rows != before:
            self._on_change()
        await self._tell_if_due()

    async def _tell_if_due(self) -> None:
        """Once a trading day, until the market has closed; late rather than never."""
        now = self._clock.now()
        today = now.astimezone(IST).date()
        hours, old = self._hours(today), [row for row in self.rows if row.is_trouble]
        if hours is None or not old or self._told == today or not hours[0] - TELL_BEFORE <= now < hours[1]:
            return
        if not await asyncio.to_thread(self._was_told, hours[0] - TELL_BEFORE):
            listed = "; ".join(f"{row.part} ({row.told}; {row.mend})" for row in old)
            message = f"Data are old for this day of trading: {listed}. The status page tells what comes of it."
            await self._store.write(
                lambda tx: tx.audit(AuditAction.ALARM_RAISED, now, code=OLD_DATA, message=message),
            )
        self._told = today

    def _was_told(self, since: datetime) -> bool:
        """Whether this bridge has told it before a restart."""
        alarms = self._store.reads.recent([AuditAction.ALARM_RAISED], ALARMS_LOOKED_AT, since)
        return any(alarm.code == OLD_DATA for alarm in alarms)
