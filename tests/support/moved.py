"""The `bridge` command by a clock `MOVED_S` seconds ahead of the machine's: live accounts trade in market hours only."""

import os
from datetime import UTC, datetime, timedelta

from bridge import cli
from bridge.core.clock import SystemClock

AHEAD = "MOVED_S"


def now(ahead_s: float) -> datetime:
    """The present of such a process."""
    return datetime.now(UTC) + timedelta(seconds=ahead_s)


def _now(self: SystemClock) -> datetime:
    return now(float(os.environ[AHEAD]))


if __name__ == "__main__":
    SystemClock.now = _now  # type: ignore[method-assign]
    raise SystemExit(cli.main())
