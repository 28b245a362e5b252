"""`python -m tests.kite_sim`: tells the stories of many seeds, several at a time; what breaks is told by its shortest story."""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.kite_sim.life import Lives
from tests.kite_sim.plan import make_plan
from tests.kite_sim.shrink import shorten
from tests.kite_sim.story import Story, tell

FRESH = 1_000_000  # fresh seeds are drawn from here on, so that they never meet the fixed ones
SHOWN = 3  # stories of so many broken seeds are told; the others are named
PROGRESS_EVERY_S = 15
# Most of a story is waiting: so many at a time fill one core.
AT_ONCE = 12


def main(words: list[str] | None = None) -> int:
    """Exit code 0 only when everything held in every story."""
    parser = argparse.ArgumentParser(prog="python -m tests.kite_sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many stories (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--fresh", type=int, default=0, help="so many more, from seeds that were never tried")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"stories at a time (default {AT_ONCE})")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell this one story from beginning to end")
    arguments = parser.parse_args(words)
    lives = Lives()
    if arguments.replay is not None:
        return replay(arguments.replay, lives)
    start = FRESH + random.SystemRandom().randrange(10**9)
    seeds = [*range(arguments.first, arguments.first + arguments.seeds), *range(start, start + arguments.fresh)]
    return tell_all(seeds, lives, arguments.at_once)


def tell_all(seeds: list[int], lives: Lives, at_once: int) -> int:
    """All stories, and then the shortest ones of what broke."""
    began = told = time.monotonic()
    total: Counter[str] = Counter()
    broken: list[Story] = []
    for number, story in enumerate(run(seeds, lives, at_once), start=1):
        total.update(story.counts)
        if story.broken:
            broken.append(story)
            print(f"seed {story.plan.seed}: {story.broken}", flush=True)
        if time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            print(f"{number} of {len(seeds)} stories, {len(broken)} broken, {told - began:.0f} s", flush=True)
    took_s = time.monotonic() - began
    for story in broken[:SHOWN]:
        shortest = shorten(story, lives)
        print(f"\nseed {story.plan.seed} breaks {shortest.broken}\n  its shortest story:")
        print("\n".join(f"    {line}" for line in shortest.journal))
        print(f"  the whole story: make kite-sim REPLAY={story.plan.seed}\n")
    print(summary(len(seeds), total, took_s))
    print(f"{len(broken)} of {len(seeds)} stories broke a promise" if broken else "every promise held")
    return 1 if broken else 0


def run(seeds: Iterable[int], lives: Lives, at_once: int) -> Iterator[Story]:
    """The stories, as they end."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda seed: run_seed(seed, lives), seeds)


def run_seed(seed: int, lives: Lives) -> Story:
    """The story of a seed; a fault of the simulation itself breaks it too."""
    plan = make_plan(seed)
    try:
        return tell(plan, lives)
    except Exception:  # told with the seed; the other seeds go on
        return Story(plan=plan, broken="simulation " + traceback.format_exc(), journal=(), counts={})


def replay(seed: int, lives: Lives) -> int:
    """Print one story."""
    story = run_seed(seed, lives)
    print("\n".join(story.journal))
    print(story.broken or "every promise held")
    return 1 if story.broken else 0


def summary(stories: int, total: Counter[str], took_s: float) -> str:
    """How much happened, for people."""
    return (
        f"{stories} stories in {took_s:.0f} s: {total['alerts']} alerts, {total['orders']} orders at the loopback Kite, "
        f"{total['faults']} faults met, {total['doubts']} orders in doubt, {total['kills']} kills, {total['logins']} logins, "
        f"{total['changes']} changes of orders, {total['triggers']} triggers of which {total['fired']} fired and "
        f"{total['protected']} rested at the end, {total['by hand']} orders changed or cancelled by hand, {total['halts']} "
        f"halts, {total['refused']} requests over the limits"
    )


if __name__ == "__main__":
    sys.exit(main())
