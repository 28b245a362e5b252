"""The vendor's limits, counted here, so that orders wait with a reason instead of being refused."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from bridge.core.clock import market_day

# Placements by account, wherever they were made (docs, Kite Connect v3, "Rate limits"). What counts a second is the lane's.
PER_MINUTE, PER_DAY = 400, 5_000
# Everything else, by key: reads, cancels, changes.
OTHERS_PER_SECOND = 10
# Changes of one order (docs, "Modify orders"); they do not count towards the orders of a minute or a day.
MAX_REPLACES = 25


class OrderCount:
    """Orders of the present minute and day: those that the broker's book ever had, and those sent that are not in it (yet).

    A placement that was refused counts and has no row; one that was turned away by a 429 or never left does not.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._seen_in: Counter[int] = Counter()
        self._sent: dict[str, int] = {}
        self._sent_in: Counter[int] = Counter()
        self._day = 0

    def take(self, tag: str, now: datetime) -> float:
        """Count an order that is to leave: 0 when it may, else the seconds until the minute that is used up is over.

        It counts from here on, not from its leaving: others may be granted in between.
        """
        minute = _minute(now)
        own = self._sent.get(tag) == minute
        if self._used(minute) - own >= PER_MINUTE:
            return _left_s(now)
        self.note_sent(tag, now)
        return 0

    def note_sent(self, tag: str, at: datetime) -> None:
        """An order is about to leave."""
        self._turn_to(at)
        self.forget(tag)
        minute = _minute(at)
        self._sent[tag] = minute
        self._sent_in[minute] += 1

    def remember(self, tag: str, sent_at: datetime, now: datetime) -> None:
        """Count an order that left before this process began, if that was today; the book may be slow to tell of it."""
        if market_day(sent_at) == market_day(now):
            self.note_sent(tag, sent_at)

    def forget(self, tag: str) -> None:
        """It did not leave, or stands in the book."""
        minute = self._sent.pop(tag, None)
        if minute is not None:
            self._sent_in[minute] -= 1

    def note_book(self, placed: Iterable[tuple[str, str, datetime]], now: datetime) -> None:
        """Orders that the book has, each with its id, its tag and when it was placed; an older book may come after a newer."""
        self._turn_to(now)
        for ident, tag, at in placed:
            if market_day(at) == self._day:
                self.forget(tag)
                if ident not in self._seen:
                    self._seen.add(ident)
                    self._seen_in[_minute(at)] += 1

    def wait_s(self, now: datetime) -> float:
        """Seconds until the next minute when this one is used up; 0 while it is not. Changes nothing: any thread may ask."""
        return 0 if self._used(_minute(now)) < PER_MINUTE else _left_s(now)

    def _used(self, minute: int) -> int:
        return self._seen_in[minute] + self._sent_in[minute]

    def why_full(self, tag: str, now: datetime) -> str:
        """The sentence for a day that is used up without this order; empty while it is not."""
        self._turn_to(now)
        used = len(self._seen) + len(self._sent) - (tag in self._sent)
        if used < PER_DAY:
            return ""
        return f"Kite takes {PER_DAY:,} orders a day and account, wherever they are placed, and {used:,} are used up."

    def _turn_to(self, now: datetime) -> None:
        day = market_day(now)
        if day != self._day:
            self._day = day
            self._seen, self._seen_in, self._sent_in, self._sent = set(), Counter(), Counter(), {}


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _left_s(now: datetime) -> float:
    return max((_minute(now) + 1) * 60 - now.timestamp(), 0) or 1


class Pace:
    """At most so many requests in any calendar second; who comes too many is given a place in a later one."""

    def __init__(self, per_second: int) -> None:
        self._limit = per_second
        self._second = 0
        self._used = 0

    def take(self, now: datetime) -> float:
        """Take a place; the seconds until it comes."""
        stamp = now.timestamp()
        if int(stamp) > self._second or int(stamp) < self._second - self._limit:  # later, or a clock that was set back
            self._second, self._used = int(stamp), 0
        if self._used >= self._limit:
            self._second, self._used = self._second + 1, 0
        self._used += 1
        return max(self._second - stamp, 0)
