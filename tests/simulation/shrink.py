"""The shortest story: a plan that still breaks the same promise, with everything left out that does not matter."""

from dataclasses import replace

from tests.simulation.plan import Plan
from tests.simulation.story import Story, tell

MAX_RUNS = 400


def shorten(story: Story) -> Story:
    """Leave out faults, events, crashes and alerts for as long as the same promise breaks."""
    promise, runs = _promise(story), 0
    for name in ("rates", "events", "lives", "alerts", "events", "alerts"):
        size = max(1, len(getattr(story.plan, name)) // 2)
        while size:
            start = 0
            while start < len(getattr(story.plan, name)) and runs < MAX_RUNS:
                tried = tell(_without(story.plan, name, start, size))
                runs += 1
                if _promise(tried) == promise:
                    story = tried  # what was behind the gap has moved up to `start`
                else:
                    start += size
            size //= 2
    return story


def _promise(story: Story) -> str:
    return (story.broken or "").split(" ")[0]


def _without(plan: Plan, name: str, start: int, size: int) -> Plan:
    """The plan without some of its rates, events, alerts or crashes."""
    whole = getattr(plan, name)
    if name == "rates":
        rates = dict(item for number, item in enumerate(whole.items()) if not start <= number < start + size)
        return replace(plan, rates=rates)
    left = {name: (*whole[:start], *whole[start + size :])}
    return replace(plan, **left)  # type: ignore[arg-type]
