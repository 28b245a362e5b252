"""Orders in a calendar second, counted at the loopback Kite by the clock that both sides have, also across kill -9."""

import time
from datetime import timedelta

import pytest

from tests.kite_sim.life import Lives
from tests.kite_sim.mutants import MINUTE, SHORT_MINUTE
from tests.kite_sim.plan import Plan
from tests.kite_sim.story import World, open_world

CALM = Plan(seed=0, updates="poll", knobs={"enforce_limits": True, "delay_ms": 40}, steps=())
# Time enough for a bridge that forgot the limit to go beyond it.
MEANWHILE_S = 0.4


def arrived(world: World) -> int:
    """Placements that reached Kite, whatever it answered."""
    return world.desk.server.do(lambda box: box.limits.totals["place_attempts"])


def largest(world: World) -> int:
    """The most of them in one calendar second."""
    return world.desk.server.do(lambda box: box.limits.largest["place_attempts_per_second"])


def are_answered(world: World) -> bool:
    """None waits to leave, and none for its answer."""
    return world.rows("SELECT COUNT(*) FROM orders WHERE status IN ('NEW', 'PENDING')") == [(0,)]


def to_middle_of_a_second(world: World) -> None:
    """The clock stands there: what leaves now leaves in the same second, however slow the machine is."""
    world.clock.stand()
    world.clock.jump(1.5 - world.clock.now().microsecond / 1e6)


def burst(world: World, number: int) -> None:
    """Alerts that become orders, each."""
    for _ in range(number):
        world.send(action="buy", quantity="1", order_type="LIMIT", price="740")


def kill_in_a_standing_second(lives: Lives, cap: int) -> int:
    """A burst over the cap, kill -9 when the cap is reached, and a start, all in one second; the orders of that second."""
    with open_world(CALM, lives, orders_per_second=cap) as world:
        world.begin()
        to_middle_of_a_second(world)
        burst(world, cap + 3)
        world.wait(lambda: arrived(world) >= cap, "the second's orders")
        time.sleep(MEANWHILE_S)
        world.kill()
        world.start()
        time.sleep(MEANWHILE_S)
        found = largest(world)
        world.clock.run_on()
        world.end()
        return found


@pytest.mark.parametrize("cap", [3, 10])
def test_a_bridge_killed_in_a_burst_lets_out_no_more_in_that_second(cap: int) -> None:
    """What left before the kill counts on."""
    assert kill_in_a_standing_second(Lives(), cap) == cap


def test_a_bridge_that_forgets_what_left_before_its_start_is_caught() -> None:
    """Else the test above would prove nothing."""
    assert kill_in_a_standing_second(Lives("forgets the second at a start"), 3) > 3


@pytest.mark.slow
def test_a_long_burst_through_kills_never_has_more_in_a_second_than_the_cap() -> None:
    """By a running clock, with answers that are late or lost: what is still on its way counts in the second it ends in."""
    with open_world(CALM, Lives(), orders_per_second=10) as world:
        world.begin()
        for _ in range(3):
            world.desk.faults("orders", delay=3, drop_after=1)
            burst(world, 15)
            time.sleep(0.5)
            world.kill()
            world.start()
            world.await_money()
        world.end()
        assert arrived(world) >= 25
        assert 5 < largest(world) <= 10


def test_cancels_and_looks_have_an_allowance_of_their_own() -> None:
    """Twenty cancels at once keep within ten other requests a second."""
    with open_world(CALM, Lives(is_slow=True)) as world:
        world.begin()
        burst(world, 20)
        world.wait(lambda: len(world.working_at_kite()) == 20, "the resting orders")
        began = world.clock.now()
        world.send(action="cancel")
        world.wait(lambda: not world.working_at_kite(), "the end of them")
        assert world.clock.now() - began > timedelta(seconds=1)
        counted = world.desk.server.do(lambda box: box.limits.show())
        assert counted["largest"]["change_per_second"] <= 10
        assert "change_refused" not in counted["totals"], counted


def test_a_minutes_orders_count_across_a_kill_also_while_the_book_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much for a minute, here a short one, waits for the next."""
    monkeypatch.setattr("bridge.sandbox.kite.limits.PER_MINUTE", MINUTE)
    with open_world(CALM, Lives(SHORT_MINUTE.name), orders_per_second=10) as world:
        world.begin()
        world.clock.stand()
        world.clock.jump(60.5 - world.clock.now().second - world.clock.now().microsecond / 1e6)
        for _ in range(MINUTE // 10):
            burst(world, 10)
            world.wait(lambda: are_answered(world), "the second's answers")
            world.clock.jump(1)
        burst(world, 5)
        time.sleep(MEANWHILE_S)
        assert arrived(world) == MINUTE, world.desk.server.do(lambda box: box.limits.show())
        world.desk.faults("reads", _503_before=100_000)
        world.kill()
        world.start()
        time.sleep(MEANWHILE_S)
        assert arrived(world) == MINUTE, world.desk.server.do(lambda box: box.limits.show())
        world.desk.faults("reads", _503_before=0)
        world.clock.jump(60)
        world.wait(lambda: arrived(world) == MINUTE + 5, "the next minute's orders")
        counted = world.desk.server.do(lambda box: box.limits.show())
        assert (counted["largest"]["place_per_minute"], "place_refused" in counted["totals"]) == (MINUTE, False)
        world.clock.run_on()
        world.end()
