"""The venue's reports: in order, none missed silently, and nobody waits for ever."""

import asyncio
from collections import deque
from typing import Any

import pytest

from bridge.core.enums import ReportKind
from bridge.core.report import Report
from bridge.venue import stream
from bridge.venue.stream import ReportStream
from tests.support.plays import play
from tests.support.samples import make_order, make_report

ORDER = make_order(1)


def reports(*numbers: int) -> list[Report]:
    return [make_report(ORDER, ReportKind.FILL, f"X{number}", 1, 800) for number in numbers]


def told(answer: dict[str, Any]) -> tuple[int, int, list[str]]:
    return answer["first"], answer["last"], [report["exec_id"] for report in answer["reports"]]


def test_reports_are_numbered_in_order_and_read_on_from_the_last() -> None:
    """The next question starts where the answer before ended."""

    async def story() -> None:
        line = ReportStream("E")
        line.add(reports(1, 2))
        assert told(await line.read("E", 0, 0)) == (1, 2, ["X1", "X2"])
        assert told(await line.read("E", 1, 0)) == (2, 2, ["X2"])
        assert told(await line.read("E", 2, 0)) == (3, 2, [])
        line.add(reports(3))
        assert told(await line.read(None, 2, 0)) == (3, 3, ["X3"])

    play(story)


def test_an_answer_carries_no_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest comes with the next one."""
    monkeypatch.setattr(stream, "MAX_BATCH", 2)

    async def story() -> None:
        line = ReportStream("E")
        line.add(reports(1, 2, 3))
        assert told(await line.read("E", 0, 0)) == (1, 2, ["X1", "X2"])
        assert told(await line.read("E", 2, 0)) == (3, 3, ["X3"])

    play(story)


@pytest.mark.parametrize(("epoch", "after"), [("another run", 3), ("", 0), ("E", 0), ("E", 7)])
def test_who_missed_something_sees_it_by_epoch_or_number(epoch: str, after: int) -> None:
    """Another run, what is no longer kept, or a number that was never given: told at once, with where to go on."""

    async def story() -> None:
        line = ReportStream("E")
        line._kept = deque(maxlen=2)
        line.add(reports(1, 2, 3))
        answer = await line.read(epoch, after, 30)
        assert (answer["epoch"], told(answer)) == ("E", (4, 3, []))
        assert epoch != "E" or answer["first"] != after + 1

    play(story)


def test_a_question_waits_for_news_and_no_longer() -> None:
    """News end the wait for everybody, and so does the time that was asked for, and the end of the venue."""

    async def story() -> None:
        line = ReportStream("E")
        waiting = [asyncio.create_task(line.read("E", 0, 30)) for _ in range(2)]
        await asyncio.sleep(0)
        line.add([])
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        line.add(reports(1))
        assert [told(answer) for answer in await asyncio.gather(*waiting)] == [(1, 1, ["X1"])] * 2
        assert told(await line.read("E", 1, 0.01)) == (2, 1, [])
        last = asyncio.create_task(line.read("E", 1, 30))
        await asyncio.sleep(0)
        line.close()
        assert told(await last) == (2, 1, [])
        assert told(await line.read("E", 1, 30)) == (2, 1, [])

    play(story)
