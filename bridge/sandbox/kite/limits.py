"""The vendor's limits, measured and enforced: by calendar second, minute and day of India."""

from collections import Counter
from datetime import datetime
from enum import StrEnum

from bridge.core.clock import IST


class Kind(StrEnum):
    """What a request counts as."""

    PLACE = "place"
    CHANGE = "change"  # modify and cancel: to the vendor like every other request
    QUOTE = "quote"
    HISTORICAL = "historical"
    OTHER = "other"


PER_SECOND = {Kind.PLACE: 10, Kind.CHANGE: 10, Kind.QUOTE: 1, Kind.HISTORICAL: 3, Kind.OTHER: 10}
PER_MINUTE, PER_DAY = 400, 5_000
# Changes and all other requests share one allowance.
_POOL = {Kind.CHANGE: Kind.OTHER}


class Limits:
    """Counts of the present second, minute and day, and the largest there ever were.

    Placements count when they arrive, so those that turn out to be invalid or are rejected count as well.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()
        self._now: dict[str, int] = {}
        self.largest: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def take(self, kind: Kind, at: datetime, *, enforce: bool) -> bool:
        """Count a request; False when it is one too many. What is turned away uses nothing up, as far as is known."""
        second, minute = int(at.timestamp()), int(at.timestamp()) // 60
        day = at.astimezone(IST).toordinal()
        pool = _POOL.get(kind, kind)
        self._count(f"{kind}_attempts_per_second", second)
        if kind in (Kind.PLACE, Kind.CHANGE):
            self._count("order_requests_attempted_per_second", second)
        self.totals[f"{kind}_attempts"] += 1
        over = self._get(f"pool_{pool}", second) >= PER_SECOND[kind]
        if kind is Kind.PLACE:
            over = over or self._get("place_per_minute", minute) >= PER_MINUTE or self._get("place_per_day", day) >= PER_DAY
        if over and enforce:
            self.totals[f"{kind}_refused"] += 1
            return False
        self._count(f"pool_{pool}", second)
        self._count(f"{kind}_per_second", second)
        if kind in (Kind.PLACE, Kind.CHANGE):
            self._count("order_requests_per_second", second)
        if kind is Kind.PLACE:
            self._count("place_per_minute", minute)
            self._count("place_per_day", day)
        self.totals[kind] += 1
        return True

    def _get(self, name: str, moment: int) -> int:
        return self._counts[name, moment]

    def _count(self, name: str, moment: int) -> None:
        """One more in this moment; the count of the one before is not needed any longer."""
        before = self._now.get(name)
        if before != moment:
            if before is not None:
                del self._counts[name, before]
            self._now[name] = moment
        self._counts[name, moment] += 1
        self.largest[name] = max(self.largest[name], self._counts[name, moment])

    def show(self) -> dict[str, dict[str, int]]:
        """The largest numbers seen, and the totals."""
        largest = {name: count for name, count in sorted(self.largest.items()) if not name.startswith("pool_")}
        return {"largest": largest, "totals": dict(sorted(self.totals.items()))}
