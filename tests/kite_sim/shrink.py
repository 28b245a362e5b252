"""The shortest story: a plan that still breaks the same promise, with everything left out that does not matter."""

from dataclasses import replace

from tests.kite_sim.life import Lives
from tests.kite_sim.plan import Plan
from tests.kite_sim.story import Story, tell

MAX_RUNS = 120
# Real processes do not meet in the same way each time: a plan counts as harmless after so many tries.
TRIES = 3


def shorten(story: Story, lives: Lives) -> Story:
    """Leave out steps for as long as the same promise breaks."""
    promise, runs = _promise(story), 0
    size = max(1, len(story.plan.steps) // 2)
    while size:
        start = 0
        while start < len(story.plan.steps) and runs < MAX_RUNS:
            tried = _try(_without(story.plan, start, size), promise, lives)
            runs += TRIES
            if tried is None:
                start += size
            else:
                story = tried  # what was behind the gap has moved up to `start`
        size //= 2
    return story


def _try(plan: Plan, promise: str, lives: Lives) -> Story | None:
    """A story of this plan that breaks the same promise."""
    for _ in range(TRIES):
        story = tell(plan, lives)
        if _promise(story) == promise:
            return story
    return None


def _promise(story: Story) -> str:
    return (story.broken or "").split(" ")[0]


def _without(plan: Plan, start: int, size: int) -> Plan:
    return replace(plan, steps=(*plan.steps[:start], *plan.steps[start + size :]))
