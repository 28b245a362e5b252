"""Virtual time: an event loop that jumps to the next timer, and lives of the bridge that can end between any two steps."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from bridge.replay.loop import VirtualLoop

T = TypeVar("T")


class Life:
    """One run of the bridge from start to crash. Whatever it starts carries its mark; once dead, nothing of it runs again.

    `steps_left` counts down with every step (what asyncio runs between two awaits); at zero the power fails *instead* of
    that step. None: it does not fail by itself.
    """

    def __init__(self, number: int, steps_left: int | None = None) -> None:
        self.number = number
        self.steps_left = steps_left
        self.dead = False
        self.on_death: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[Any]] = []
        self._context = copy_context()
        self._context.run(LIFE.set, self)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run `work` as a part of this life."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    def run(self, call: Callable[..., T], *args: Any) -> T:
        """Call something as a part of this life, now."""
        return self._context.run(call, *args)

    def die(self) -> None:
        """Pull the plug: no cleaning up, no last words."""
        if self.dead:
            return
        self.dead = True
        self.on_death()
        for task in self.tasks:
            discard(task)
        self.tasks.clear()


LIFE: ContextVar[Life] = ContextVar("life")


def discard(task: "asyncio.Task[Any]") -> None:
    """Forget a task that will never run again; its frames are unwound now and not whenever they are collected."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    if not task.done():
        # A frame that cleans up with an await cannot be unwound, and one that is running unwinds by itself.
        with suppress(RuntimeError, ValueError):
            task.get_coro().close()


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], context: Context | None = None, **more: Any
) -> "asyncio.Task[T]":
    """A task that its life knows of."""
    task = asyncio.Task(work, loop=loop, context=context, **more)
    life = LIFE.get(None) if context is None else context.get(LIFE)
    if life is not None:
        life.tasks.append(task)
    return task


class SimLoop(VirtualLoop):
    """The virtual loop that knows lives. `steps` counts those of the bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.world = copy_context()  # in which nothing is marked as the bridge's
        self.set_task_factory(_make_task)  # type: ignore[arg-type]

    def later(self, delay_s: float, call: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Have the world do something after `delay_s`, whoever is at work now."""
        return self.call_later(delay_s, call, *args, context=self.world)

    def _step(self, handle: Any) -> None:
        life = handle._context.get(LIFE)
        if life is not None:
            if life.dead:
                return
            self.steps += 1
            if life.steps_left is not None:
                life.steps_left -= 1
                if life.steps_left <= 0:
                    life.die()
                    return
        handle._run()
