"""The day's F&O ban fetched from the exchange, where the settings ask for it."""

import asyncio
from datetime import date, time
from pathlib import Path

from bridge.core.clock import IST, Clock
from bridge.log import log_event
from bridge.logins import Hours
from bridge.market.exchange_lists import NotTakenError, fetch_text, read_ban_day, take_ban

# The list of a day is published on the evening before; by then it is there for certain, and the market is not open yet.
FETCH_FROM = time(7, 0)
AGAIN_S = 600.0


class BanFetch:
    """Asks from seven in the morning on, every ten minutes, until the list of the trading day is there or the market closes."""

    def __init__(self, url: str, folder: Path, *, clock: Clock, hours: Hours) -> None:
        self._url = url
        self._folder = folder
        self._clock = clock
        self._hours = hours
        self._due_s = clock.monotonic()
        self._have: date | None = None

    def is_due(self) -> bool:
        """Whether to fetch now; once said, not again for a while."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        local = now.astimezone(IST)
        if self._have == local.date() or now_s < self._due_s or local.time() < FETCH_FROM:
            return False
        hours = self._hours(local.date())
        if hours is None or now >= hours[1]:
            return False
        self._due_s = now_s + AGAIN_S
        return True

    async def fetch(self) -> None:
        """Take today's list, unless somebody has brought it; that it failed is in the log, and old data are told elsewhere."""
        now = self._clock.now()
        today = now.astimezone(IST).date()
        try:
            if await asyncio.to_thread(read_ban_day, self._folder) != today:
                text = await asyncio.to_thread(fetch_text, self._url)
                found = take_ban(self._folder, text, source=self._url, now=now, at_least=today)
                log_event("ban_list_fetched", day=str(found.day), names=len(found.names))
            self._have = today
        except NotTakenError as error:
            log_event("ban_list_not_fetched", message=str(error))
