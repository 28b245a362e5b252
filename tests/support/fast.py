"""The `bridge` command by a clock that was at FAST_AT when the machine's was at FAST_FROM, and runs FAST_RATE times as fast."""

import os
from datetime import UTC, datetime

from bridge import cli
from bridge.core.clock import SystemClock
from bridge.runner import fill

MODULE = "tests.support.fast"


def fast_env(at: datetime, rate: float) -> dict[str, str]:
    """The environment of processes by whose clock it is `at` now."""
    return {"FAST_FROM": datetime.now(UTC).isoformat(), "FAST_AT": at.isoformat(), "FAST_RATE": str(rate)}


def fast_now(env: dict[str, str]) -> datetime:
    """The present of such a process."""
    began, at = (datetime.fromisoformat(env[name]) for name in ("FAST_FROM", "FAST_AT"))
    return at + (datetime.now(UTC) - began) * float(env["FAST_RATE"])


def _now(self: SystemClock) -> datetime:
    return fast_now(dict(os.environ))


if __name__ == "__main__":
    SystemClock.now = _now  # type: ignore[method-assign]
    fill.PROGRAM = MODULE
    raise SystemExit(cli.main())
