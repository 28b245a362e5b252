"""The `bridge` command by a clock `MOVED_S` seconds ahead of the machine's: live accounts trade in market hours only."""

import os
import time
from datetime import UTC, datetime, timedelta

from bridge import cli
from bridge.core.clock import SystemClock

AHEAD = "MOVED_S"


def now(ahead_s: float) -> datetime:
    """The present of such a process."""
    return datetime.now(UTC) + timedelta(seconds=ahead_s)


class MovedClock(SystemClock):
    """The machine's clock, moved."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return now(float(os.environ[AHEAD]))

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


if __name__ == "__main__":
    SystemClock.now = MovedClock.now  # type: ignore[method-assign]
    raise SystemExit(cli.main())
