"""Running a story: a coroutine in an event loop of its own, with an end."""

import asyncio
from collections.abc import Awaitable, Callable

LIMIT_S = 60


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story to its end."""

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await story()

    asyncio.run(bounded())
