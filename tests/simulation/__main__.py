"""`python -m tests.simulation`: tells the stories of many seeds on all cores; what breaks is told by its shortest story."""

import argparse
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.plan import make_plan
from tests.simulation.shrink import shorten
from tests.simulation.story import tell

CHUNK = 10
SHOWN = 5  # stories of so many broken seeds are told; the others are named
FRESH = 1_000_000  # fresh seeds are drawn from here on, so that they never meet the fixed ones
PROGRESS_EVERY_S = 10


def run_seed(seed: int) -> tuple[int, str | None, Mapping[str, float]]:
    """The seed, the promise that broke, and how much happened; a fault of the simulation itself breaks one too."""
    try:
        story = tell(make_plan(seed))
    except Exception:  # told with the seed; the other seeds go on
        return seed, "simulation " + traceback.format_exc(), {}
    return seed, story.broken, story.counts


def main(words: list[str] | None = None) -> int:
    """Exit code 0 only when every promise held in every story."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many stories (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--fresh", type=int, default=0, help="so many more, from seeds that were never tried")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell this one story from beginning to end")
    arguments = parser.parse_args(words)
    if arguments.replay is not None:
        return replay(arguments.replay)
    seeds = list(range(arguments.first, arguments.first + arguments.seeds))
    start = FRESH + random.SystemRandom().randrange(10**9)
    seeds += range(start, start + arguments.fresh)
    total, broken, took_s = run_all(seeds, arguments.jobs)
    for seed, _what in broken[:SHOWN]:
        tell_shortest(seed)
    for seed, what in broken[SHOWN:]:
        print(f"seed {seed}: {what.splitlines()[-1]}")
    print(summary(len(seeds), total, took_s))
    print(f"{len(broken)} of {len(seeds)} stories broke a promise" if broken else "every promise held")
    return 1 if broken else 0


def run_all(seeds: list[int], jobs: int) -> tuple[Counter[str], list[tuple[int, str]], float]:
    """All stories, on `jobs` processes."""
    began = told = time.monotonic()
    total: Counter[str] = Counter()
    broken: list[tuple[int, str]] = []
    with ProcessPoolExecutor(jobs) as pool:
        for number, (seed, what, counts) in enumerate(pool.map(run_seed, seeds, chunksize=CHUNK), start=1):
            total.update(counts)
            if what is not None:
                broken.append((seed, what))
            if time.monotonic() - told > PROGRESS_EVERY_S:
                told = time.monotonic()
                print(f"{number} of {len(seeds)} stories, {len(broken)} broken, {told - began:.0f} s", flush=True)
    return total, broken, time.monotonic() - began


def replay(seed: int) -> int:
    """Print one story."""
    story = tell(make_plan(seed))
    print("\n".join(story.journal))
    print(story.broken or "every promise held")
    return 1 if story.broken else 0


def tell_shortest(seed: int) -> None:
    """The shortest story that breaks the same promise, and how to see the whole one."""
    seed, what, _counts = run_seed(seed)
    if what is None or what.startswith("simulation"):
        print(f"seed {seed}: {what}")
        return
    story = shorten(tell(make_plan(seed)))
    told = next(number for number, line in enumerate(story.journal, start=1) if " BROKEN " in line)
    print(f"\nseed {seed} breaks {what}\n  its shortest story:")
    print("\n".join(f"    {line}" for line in story.journal[:told]))
    print(f"  the whole story: make sim REPLAY={seed}\n")


def summary(stories: int, total: Mapping[str, float], took_s: float) -> str:
    """How much happened, for people."""
    hours = total.get("simulated_s", 0) / 3600
    lines = [
        f"{stories} stories in {took_s:.0f} s: {hours:.0f} simulated hours, {total.get('alerts', 0):.0f} alerts, "
        f"{total.get('orders', 0):.0f} orders at the venues, {total.get('crashes', 0):.0f} crashes, "
        f"{total.get('faults', 0):.0f} faults, {total.get('steps', 0):.0f} steps of the bridge"
    ]
    faults = sorted((name.removeprefix("fault "), count) for name, count in total.items() if name.startswith("fault "))
    lines.append("  " + ", ".join(f"{name} {count:.0f}" for name, count in faults))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
