"""Bounded waits by polling; a test never sleeps for a guessed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 15.0
STEP_S = 0.005


async def until(what: Callable[[], T], told: str = "", limit_s: float = LIMIT_S) -> T:
    """The first true answer of `what`, or a failure that says what did not come."""
    ends = time.monotonic() + limit_s
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"waited {limit_s} s in vain for {told or what}")
        await asyncio.sleep(STEP_S)


async def until_async(what: Callable[[], Awaitable[T]], told: str = "", limit_s: float = LIMIT_S) -> T:
    """`until` for a question that has to be awaited."""
    ends = time.monotonic() + limit_s
    while True:
        found = await what()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"waited {limit_s} s in vain for {told or what}")
        await asyncio.sleep(STEP_S)


def wait_for(what: Callable[[], T], told: str = "", limit_s: float = LIMIT_S, step_s: float = 0.02) -> T:
    """`until` outside of an event loop."""
    ends = time.monotonic() + limit_s
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"waited {limit_s} s in vain for {told or what}")
        time.sleep(step_s)
