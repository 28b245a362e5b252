"""The shortest story: a plan that still breaks the same promise, with everything left out that does not matter."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from tests.simulation.plan import Plan
from tests.simulation.story import Story, tell

T = TypeVar("T")
MAX_RUNS = 400


def shorten(story: Story) -> Story:
    """Leave out faults, events, crashes and alerts for as long as the same promise breaks."""
    promise, runs = _promise(story), 0
    smaller = True
    while smaller:
        smaller = False
        for plan in _smaller_plans(story.plan):
            runs += 1
            if runs > MAX_RUNS:
                return story
            tried = tell(plan)
            if tried.broken and _promise(tried) == promise:
                story, smaller = tried, True
                break
    return story


def _promise(story: Story) -> str:
    return (story.broken or "").split(" ")[0]


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    """Plans with a part less: large parts first."""
    for rates in _without(tuple(plan.rates)):
        yield replace(plan, rates={name: plan.rates[name] for name in rates})
    for events in _without(plan.events):
        yield replace(plan, events=events)
    for alerts in _without(plan.alerts):
        yield replace(plan, alerts=alerts)
    for number, steps in enumerate(plan.lives):
        if steps:  # a life that does not end by itself; the numbers of the others stay
            yield replace(plan, lives=(*plan.lives[:number], 0, *plan.lives[number + 1 :]))


def _without(parts: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """What is left when a half, a quarter … or a single one of the parts is left out."""
    size = len(parts)
    while size:
        size = size // 2 if size > 1 else 0
        step = max(size, 1)
        for start in range(0, len(parts), step):
            yield (*parts[:start], *parts[start + step :])
        if step == 1:
            return
