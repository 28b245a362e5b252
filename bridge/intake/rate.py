"""How many deliveries a credential may make in a minute, and how many refused ones are kept."""

from collections import OrderedDict, deque
from math import ceil

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode

WINDOW_S = 60
# Far above the number of live tokens; the one that was silent longest is forgotten first.
MAX_CREDENTIALS = 1024
# A sender beyond its rate sees the first of each minute on the page; the disk is spared the rest.
REFUSED_KEPT_PER_MINUTE = 30


class RateLimit:
    """At most so many in any sixty seconds, per credential. Exact: the times of the latest grants are kept."""

    def __init__(self, per_minute: int, max_credentials: int = MAX_CREDENTIALS):
        self._limit = per_minute
        self._max = max_credentials
        self._granted: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, credential: str, now_s: float) -> int:
        """Zero when granted and counted, else the whole seconds to wait; `now_s` is monotonic."""
        times = self._granted.get(credential)
        if times is None:
            times = self._granted[credential] = deque(maxlen=self._limit)
            if len(self._granted) > self._max:
                self._granted.popitem(last=False)
        else:
            self._granted.move_to_end(credential)
        if len(times) == self._limit:
            wait_s = times[0] + WINDOW_S - now_s
            if wait_s > 0:
                return ceil(wait_s)
        times.append(now_s)  # the oldest falls out by itself
        return 0

    def check(self, credential: str, now_s: float) -> None:
        """Count a delivery; RefusedError E_RATE when it is one too many."""
        wait_s = self.take(credential, now_s)
        if wait_s:
            raise RefusedError(
                RefusalCode.E_RATE,
                f"More than {self._limit} alerts in a minute from this sender.",
                hint=f"The next one is taken in {wait_s} s; webhook.rate_per_minute sets the limit.",
            )
