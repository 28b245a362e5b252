"""A story: one plan told from beginning to end in a fresh world, and the promises checked."""

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.brokers.base import BookUnreadableError
from bridge.core.errors import StoreError
from tests.simulation.check import check_all
from tests.simulation.loop import SimLoop, discard
from tests.simulation.plan import Plan
from tests.simulation.world import WaitedInVainError, World
from tests.support.stores import empty_database

_MEMORY_DISK = Path("/dev/shm")
# What the world itself does to the bridge; any other fault is the bridge's own.
_WORLDS_DOING = (BookUnreadableError, StoreError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What came of a plan. `broken` names the promise that fell, None when all held; `counts` how much happened."""

    plan: Plan
    broken: str | None
    journal: tuple[str, ...]
    counts: Mapping[str, float]


def tell(plan: Plan) -> Story:
    """Tell the story of a plan. The same plan makes the same journal."""
    folder = Path(tempfile.mkdtemp(prefix="bridge-sim-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    (folder / "data").mkdir()
    shutil.copyfile(empty_database(), folder / "data" / "bridge.db")
    random.seed(plan.seed)  # the jitter of retries is drawn from here
    sim = SimLoop()
    sim.set_exception_handler(lambda _loop, _context: None)  # tasks of lives that ended are never awaited
    try:
        world = World(plan, folder, sim)
        try:
            sim.run_until_complete(world.tell_story())
        except WaitedInVainError as error:
            world.break_promise(f"liveness: {error}")
        _end(sim, world)
        check_all(world)
        world.check_itself()
        for where, fault in world.faults:
            if not isinstance(fault, _WORLDS_DOING):
                world.break_promise(f"fault in {where}: {fault!r}")
        return Story(plan=plan, broken=world.broken, journal=tuple(world.journal), counts=_counts(world))
    finally:
        sim.close()
        shutil.rmtree(folder, ignore_errors=True)


def _end(sim: SimLoop, world: World) -> None:
    world.current().life.on_death = lambda: None
    for task in asyncio.all_tasks(sim):
        discard(task)
    world.current().disk.cut()
    world.current().bridge.store.backend.engine.dispose()
    world.current().bridge.lock.release()


def _counts(world: World) -> dict[str, float]:
    faults: Counter[str] = Counter()
    for chance in world.chances:
        faults += chance.met
    return {
        "simulated_s": world.sim.time(),
        "alerts": world.senders.fired,
        "orders": sum(len(venue.rows) for venue in world.market.venues.values()),
        "crashes": world.crashes,
        "faults": faults.total(),
        "steps": world.sim.steps,
        **{f"fault {name}": count for name, count in sorted(faults.items())},
    }
