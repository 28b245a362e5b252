"""Old data in a running bridge: shown at once, and told once on a trading day, before the market opens."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.bootstrap import Bridge
from bridge.core.reasons import AuditAction
from bridge.core.views import StepView
from bridge.data_watch import OLD_DATA
from bridge.market.ban import BanList, ban_to_json
from tests.support.clocks import StillClock
from tests.support.rigs import make_settings

# Monday, 08:00 in India: the market opens at a quarter past nine.
EARLY = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)


class Box:
    """A bridge whose store alone is open; only the watch is driven."""

    def __init__(self, folder: Path, clock: StillClock) -> None:
        self.clock = clock
        settings = make_settings(folder, risk={"profile": "none", "require_ban_list": True})
        self.file = settings.exchange_dir() / "ban.json"
        self.bridge = Bridge(settings, clock)

    async def __aenter__(self) -> "Box":
        await asyncio.to_thread(self.bridge.store.open)
        self.bridge.store.writer.bind(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.bridge.store.close()

    async def look(self, **later: float) -> None:
        self.clock.move(**later)
        await self.bridge.data.tick()

    def bring_list(self) -> None:
        ban = BanList(day=EARLY.date(), names=frozenset({"SBIN"}))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(ban_to_json(ban, source="test", as_of="now"))

    def alarms(self) -> list[StepView]:
        found = self.bridge.store.reads.recent([AuditAction.ALARM_RAISED], 100)
        return [alarm for alarm in found if alarm.code == OLD_DATA]


def test_old_data_is_shown_at_once_and_told_before_the_open(tmp_path):
    """With what comes of it and the mend; once a day, whatever is restarted."""

    async def story():
        clock = StillClock(EARLY)
        async with Box(tmp_path, clock) as box:
            await box.look()
            [told] = box.bridge.troubles()
            assert told.startswith("F&O ban: there are none. While they are old, entries in contracts on shares pass")
            assert "bridge instruments ban" in told
            await box.look(minutes=59)
            assert box.alarms() == []
            await box.look(minutes=1)
            [alarm] = box.alarms()
            assert alarm.message.startswith("Data are old for this day of trading: F&O ban (there are none; bridge instruments")
            await box.look(minutes=1)
        async with Box(tmp_path, clock) as again:
            await again.look()
            assert len(again.alarms()) == 1
            await again.look(days=2)  # the day between is a holiday
            assert len(again.alarms()) == 2

    asyncio.run(story())


def test_data_that_came_in_time_are_not_told(tmp_path):
    """And nothing is shown any more, from the next look on, which is a minute later."""

    async def story():
        async with Box(tmp_path, StillClock(EARLY)) as box:
            await box.look()
            box.bring_list()
            await box.look(seconds=59)
            assert box.bridge.troubles()
            await box.look(seconds=1)
            assert box.bridge.troubles() == []
            await box.look(hours=1)
            assert box.alarms() == []

    asyncio.run(story())


@pytest.mark.parametrize(("later", "alarms"), [({"hours": 4}, 1), ({"hours": 12}, 0), ({"days": -1, "hours": 2}, 0)])
def test_a_late_start_tells_it_while_the_market_is_open(tmp_path, later, alarms):
    """Late rather than never; not in the evening, and not on a Sunday."""

    async def story():
        async with Box(tmp_path, StillClock(EARLY + timedelta(**later))) as box:
            await box.look()
            assert len(box.alarms()) == alarms

    asyncio.run(story())


def test_pages_hear_of_a_change_and_of_nothing_else(tmp_path, monkeypatch):
    """A look that found what the one before found is no news."""
    heard: list[object] = []

    async def story():
        async with Box(tmp_path, StillClock(EARLY)) as box:
            monkeypatch.setattr(box.bridge.hub, "publish", heard.append)
            watch = box.bridge._make_data_watch()
            for _ in range(3):
                await watch.tick()
                box.clock.move(minutes=2)
            assert len(heard) == 1
            box.bring_list()
            await watch.tick()
            assert len(heard) == 2

    asyncio.run(story())
