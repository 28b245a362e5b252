"""Orders per calendar second, as exchanges count them: not a bucket, whose burst may straddle two seconds' limits."""

from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.core.enums import OutcomeKind

# No request is under way for longer: a client ends its own by then, and what a dead process left behind has arrived.
UNDER_WAY = timedelta(seconds=10)


class Throttle:
    """At most `per_second` orders in any calendar second of the bridge's clock; None means no limit.

    `take_longer` takes a place in a broker's longer limits for the order of a tag, or says how long there is none.
    """

    def __init__(self, per_second: int | None, take_longer: Callable[[str, datetime], float] | None = None):
        self._limit = per_second
        self._take_longer = take_longer
        self._second = 0
        self._used = 0
        self._adrift: list[float] = []

    def take(self, now: datetime, tag: str = "") -> float:
        """Take a place: 0 when it may go now, else the seconds to wait. Without a tag it counts in no longer limits."""
        wait_s = self._second_wait_s(now)
        if not wait_s and tag and self._take_longer is not None:
            wait_s = self._take_longer(tag, now)
        if not wait_s:
            self._used += 1
        return wait_s

    def _second_wait_s(self, now: datetime) -> float:
        """Seconds until the next calendar second begins, 0 while there is room in this one."""
        if self._limit is None:
            return 0
        stamp = now.timestamp()
        second = int(stamp)
        if second > self._second or second < self._second - 1:  # a clock that was set back begins anew
            self._second, self._used = second, 0
        if self._used >= self._room(stamp) or second < self._second:
            return max(self._second + 1 - stamp, 0) or 1
        return 0

    def _room(self, stamp: float) -> int:
        """Places of a second: one is kept free for each order that may still arrive, but one there always is."""
        assert self._limit is not None
        self._adrift = [until for until in self._adrift if stamp < until <= stamp + UNDER_WAY.total_seconds()]
        return max(1, self._limit - len(self._adrift))

    def remember(self, sent_at: datetime) -> None:
        """Count an order in the second it left in, which may not be over."""
        second = int(sent_at.timestamp())
        if second > self._second:
            self._second, self._used = second, 0
        if second == self._second:
            self._used += 1

    def recall(self, sent_at: datetime, now: datetime) -> None:
        """Count an order that left before this process began, at `now`, in this second too: nobody knows when it arrived."""
        self.remember(sent_at)
        if timedelta() <= now - sent_at < UNDER_WAY:
            self.note_answer(sent_at, now)

    def note_answer(self, sent_at: datetime | None, now: datetime, kind: OutcomeKind = OutcomeKind.ACCEPTED) -> None:
        """Count an order in the second in which its answer came, if that is not the one it left in.

        The broker counts it when it arrives, which was in either; `now` may also be a start after a crash. Of one whose answer
        nobody heard (UNKNOWN) that is not sure: it may arrive in any second until it must have.
        """
        if sent_at is None or self._limit is None:
            return
        if int(sent_at.timestamp()) != int(now.timestamp()):
            self.remember(now)
        if kind is OutcomeKind.UNKNOWN:
            self._adrift.append((sent_at + UNDER_WAY).timestamp())
