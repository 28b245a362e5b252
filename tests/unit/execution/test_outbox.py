"""A lane: what it begins, and in which order."""

import asyncio
from dataclasses import dataclass
from typing import Any

from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.execution.gate import Gate
from bridge.execution.guard import GuardedBroker, GuardNews
from bridge.execution.outbox import Lane, LaneSteps
from tests.support.clocks import StillClock
from tests.support.plays import play
from tests.support.samples import make_order
from tests.support.scripted_broker import ScriptedBroker
from tests.support.waiting import until


@dataclass
class Leave:
    """A grant as the pipeline gives it."""

    order: Order | None
    wait_s: float = 0


async def never(_order: object, _hurry: object) -> str:
    raise AssertionError("nothing is asked")


def test_what_a_commit_granted_to_the_lane_leaves_before_what_the_same_commit_made() -> None:
    """The news of a commit come before its answers: an entry made and granted by it must not overtake the exit that the
    lane has asked leave for."""

    async def story() -> None:
        clock = StillClock()
        broker = ScriptedBroker("paper", clock)
        news = GuardNews(on_breaker=lambda *_: None, on_alarm=lambda *_: None, on_fault=lambda *_: None)
        leaving = make_order(1, status=OrderStatus.PENDING)
        entering = make_order(2, status=OrderStatus.PENDING)
        asked: list[asyncio.Future[Any]] = []

        def write(command: Any) -> asyncio.Future[Any]:
            """A commit that is on its way until the test lets it arrive."""
            asked.append(asyncio.get_running_loop().create_future())
            return asked[-1]

        steps = LaneSteps(
            begin_send=lambda *_: Leave(leaving), apply_outcome=lambda *_: None, expire=lambda *_: None,
            find_order=lambda _cl_ord_id: None, seconds_left=lambda *_: None, in_doubt=lambda *_: None,
            why_not_change=lambda *_: "", note_refusal=lambda *_: None,
            is_asked=lambda _order: False, shortage=never, deny=lambda *_: None,
            on_send=lambda _order: None, on_fault=lambda *_: None,
        )  # fmt: skip
        lane = Lane("paper", GuardedBroker("paper", broker, clock, news), write, steps, Gate(), clock)
        lane.start()
        lane.push(leaving.cl_ord_id, reduce_only=True, granted=False)
        await until(lambda: asked, "the lane to ask for leave")
        lane.send_granted(entering)  # the commit has arrived: its news first,
        asked[0].set_result(Leave(leaving))  # then the answer to the lane
        await until(lambda: len(asked) >= 2, "the lane to ask for the other's leave")
        asked[1].set_result(Leave(entering))
        await until(lambda: len(broker.sent) == 2, "both")
        assert [order.cl_ord_id for order in broker.sent] == [leaving.cl_ord_id, entering.cl_ord_id]
        await lane.stop()

    play(story)


def test_an_entry_leaves_although_the_question_for_its_margin_met_a_fault() -> None:
    """The fault is told; the order goes by our own reckoning, and the lane forgets nothing."""

    async def story() -> None:
        clock, faults = StillClock(), list[str]()
        broker = ScriptedBroker("paper", clock)
        news = GuardNews(on_breaker=lambda *_: None, on_alarm=lambda *_: None, on_fault=lambda *_: None)
        entering, sending = make_order(1), make_order(1, status=OrderStatus.PENDING)

        def write(command: Any) -> asyncio.Future[Any]:
            """A commit that has arrived: the grant, and later the outcome."""
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            done.set_result(None if broker.sent else Leave(sending))
            return done

        steps = LaneSteps(
            begin_send=lambda *_: Leave(sending), apply_outcome=lambda *_: None, expire=lambda *_: None,
            find_order=lambda _cl_ord_id: entering, seconds_left=lambda *_: None, in_doubt=lambda *_: None,
            why_not_change=lambda *_: "", is_asked=lambda _order: True, shortage=never, deny=lambda *_: None,
            note_refusal=lambda *_: None,
            on_send=lambda _order: None, on_fault=lambda where, _error: faults.append(where),
        )  # fmt: skip
        lane = Lane("paper", GuardedBroker("paper", broker, clock, news), write, steps, Gate(), clock)
        lane.start()
        lane.push(entering.cl_ord_id, reduce_only=False, granted=False)
        await until(lambda: broker.sent, "the order to leave")
        await until(lambda: not lane.backlog, "an empty lane")
        assert faults == ["margins"]
        await lane.stop()

    play(story)
