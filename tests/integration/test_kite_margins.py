"""Kite is asked for the margin of an entry before it leaves; no answer, and no exit, waits for that."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.kite_bridge import Traded, hurry, tell

# By our own reckoning a hundredth of the value is enough; the sandbox wants a fifth.
GENEROUS: dict[str, Any] = {"leverage": {"MIS": 100}}
TOO_MUCH = "10000"  # of SBIN at 812.50: 1,625,000 of margin, where 1,000,000 is there


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_entry_beyond_the_margin_is_denied_before_it_leaves(tmp_path: Path) -> None:
    """The sentence has both numbers, and Kite has no order of it."""

    async def story(it: Traded) -> None:
        ended = await it.rig.ended(await it.rig.accept(action="buy", quantity=TOO_MUCH))
        assert (ended.disposition, ended.code) == ("denied", "BUYING_POWER")
        assert ended.message == "Kite asks for ₹1,625,571.27 of margin and charges, and ₹1,000,000.00 is free."
        assert it.at_kite() == []
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))).code == "FILLED"
        assert (await it.rig.ended(await it.rig.accept(action="exit"))).code == "FILLED"

    tell(tmp_path, story, account=GENEROUS)


def test_margin_is_not_asked_for_where_that_is_switched_off(tmp_path: Path) -> None:
    """Kite says no itself, after it was sent."""

    async def story(it: Traded) -> None:
        ended = await it.rig.ended(await it.rig.accept(action="buy", quantity=TOO_MUCH))
        assert (ended.disposition, ended.code) == ("failed", "BROKER_REJECTED")
        assert len(it.at_kite()) == 1

    tell(tmp_path, story, account={**GENEROUS, "margin_check": False})


@pytest.mark.parametrize("fault", ["502_before", "429", "json_list", "drop_before"])
def test_an_entry_leaves_although_nobody_says_what_it_needs(tmp_path: Path, fault: str) -> None:
    """A question that fails is no denial."""

    async def story(it: Traded) -> None:
        it.desk.faults("reads", **{f"_{fault}" if fault[0].isdigit() else fault: 6})
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))).code == "FILLED"

    tell(tmp_path, story, account=GENEROUS)
