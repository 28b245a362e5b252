"""Clocks for tests: one that stands until it is moved, one that runs and can be set forward."""

import time
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)  # 10:30 on a Friday in India


class StillClock:
    """A clock that stands until it is moved."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOON).total_seconds()

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class StandingDay(StillClock):
    """A day that stands, on which what is waited for passes."""

    def monotonic(self) -> float:
        return time.monotonic()


class RunningClock:
    """The machine's clock, with `ahead` added: waits are real, long ones are jumped over."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.wrong = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead + self.wrong

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()

    def jump(self, **by: float) -> None:
        self.ahead += timedelta(**by)

    def set_wrong(self, **by: float) -> None:
        """Move the wall clock alone, as somebody who sets it does."""
        self.wrong += timedelta(**by)
