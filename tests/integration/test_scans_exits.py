"""Stops, targets and trails of a definition at the live price: by their levels, once, again after a failure, by account."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.enums import Product
from bridge.core.order_states import OrderStatus
from bridge.core.position import PositionKey
from tests.support.rigs import NO_CHARGES
from tests.support.samples import SBIN
from tests.support.scan_days import INFY, Day, hurry, tell
from tests.support.scripted_broker import REFUSE, ScriptedBroker
from tests.support.waiting import until

LONG, SHORT = 1, -1
# Of the share that is held short every price is as far above this one as the other's is below, and the other way round.
MIRROR = 2_300
BARS = {"10:31": ("800", "804", "800", "802"), "10:32": ("803", "805", "801", "801")}
# Both true ranges are 4, and the highest price since the entry is 805.
ATR, BEST = 4.0, {LONG: 805.0, SHORT: MIRROR - 805.0}
EXITS: dict[str, dict[str, Any]] = {
    "stop-percent": {"stop": {"percent": 1}}, "stop-atr": {"stop": {"atr": 2.5, "bars": 2}},
    "target-percent": {"target": {"percent": 1.2}}, "target-atr": {"target": {"atr": 3, "bars": 2}},
    "trail-percent": {"trail": {"percent": 1}}, "trail-atr": {"trail": {"atr": 1.5, "bars": 2}},
}  # fmt: skip
BEFORE, AFTER = (800, 798, 796, 793, 791), (790, 788, 784, 810, 812, 815, 822, 784, 822)
SIDES = {"long": LONG, "short": SHORT}
NAMES = [f"{side}-{exit_}" for side in SIDES for exit_ in EXITS]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short."""
    hurry(monkeypatch)


def definition(name: str) -> dict[str, Any]:
    """A definition that enters at its first bar, and leaves by one level."""
    side, _, exit_ = name.partition("-")
    rule = "close > open" if side == "long" else "close < open"
    return {
        "name": name, "strategy": name, "universe": [SBIN if side == "long" else INFY], "interval": "1m",
        side: {"enter": rule}, "exits": EXITS[exit_], "size": {"quantity": 10},
    }  # fmt: skip


def level(name: str, entry: float) -> float:
    """The price at which it leaves, by the words of the manual."""
    side, kind, by = name.split("-")
    ((told, distance),) = EXITS[f"{kind}-{by}"].items()
    start = BEST[SIDES[side]] if told == "trail" else entry
    away: float = distance["atr"] * ATR if by == "atr" else start * distance["percent"] / 100
    return start + SIDES[side] * (away if told == "target" else -away)


def is_met(name: str, price: float, entry: float) -> bool:
    side = SIDES[name.split("-", maxsplit=1)[0]]
    return side * (price - level(name, entry)) * (1 if "target" in name else -1) >= 0


async def walk(day: Day, prices: tuple[int, ...], left: dict[str, int]) -> None:
    """Each price in turn: who has met its level is gone at the first price beyond it, and nobody else."""
    for price in prices:
        day.tick(str(price))
        day.tick(str(MIRROR - price), INFY)
        for name in set(NAMES) - set(left):
            traded = price if name.startswith("long") else MIRROR - price
            if is_met(name, traded, 802.0 if name.startswith("long") else MIRROR - 802.0):
                left[name] = traded
        await until(lambda: len(exits(day)) >= len(left), f"the exits at {price}")
        await asyncio.sleep(0.06)
        assert sorted(alert.strategy for alert in exits(day)) == sorted(left), price
        for alert in exits(day):
            assert f"; {left[alert.strategy]} was traded" in alert.body


def are_asked(day: Day, before: list[datetime | None]) -> bool:
    return all(day.asked_at(name) != at for name, at in zip(NAMES, before, strict=True))


def exits(day: Day) -> list[Any]:
    return [alert for alert in day.raised() if alert.action == "exit"]


def test_levels_by_percent_and_range_long_and_short_are_met_at_the_live_price(tmp_path: Path) -> None:
    """Each at the first price beyond it, once, also by a bridge that is started anew between the entry and the exit."""
    left: dict[str, int] = {}

    async def begin(day: Day) -> None:
        definitions = day.bridge.scans.definitions
        for name in NAMES:
            await definitions.save(definition(name), by="test")
            await definitions.enable(name, by="test")
        await until(lambda: all(name in day.bridge.scans.states for name in NAMES), "all at work")
        day.clock.jump(seconds=2)
        for minute, prices in BARS.items():
            day.to(f"{minute}:10")
            for price in prices:
                day.tick(price)
                day.tick(str(MIRROR - int(price)), INFY)
            await asyncio.sleep(0.03)
            day.to(f"10:{int(minute[3:]) + 1}:02")
            day.clock.jump(seconds=0.3)
            asked = [day.asked_at(name) for name in NAMES]
            await until(partial(are_asked, day, asked), minute)
            await until(lambda: sum(abs(p.quantity) for p in day.bridge.store.reads.positions()) == 120, "what is held")
        await walk(day, BEFORE, left)
        assert 0 < len(left) < len(NAMES)

    async def go_on(day: Day) -> None:
        await until(lambda: all(name in day.bridge.scans.states for name in NAMES), "all at work")
        day.to("10:34:30")
        await walk(day, AFTER, left)
        assert sorted(left) == sorted(NAMES)
        assert day.bridge.store.reads.positions() == []

    accounts = dict.fromkeys(NAMES, NO_CHARGES)
    strategies = {name: {"accounts": [name], "product": "MIS"} for name in NAMES}
    tell(tmp_path, begin, go_on, accounts=accounts, strategies=strategies)


# -- what fails is tried again --------------------------------------------------------------------------------------------

Fail = Callable[[Day], Awaitable[None]]


def has_rows(broker: ScriptedBroker) -> bool:
    return bool(broker.rows)


async def enter(day: Day, *filled: int) -> None:
    """Hold so many at each account, from an entry of ten; the stop lies at 792.99."""
    await day.enable(exits={"stop": {"percent": 1}})
    await day.bar("10:31", "800", "801")
    await day.close("10:32")
    for account, units in zip(day.bridge.settings.accounts, filled, strict=True):
        broker = day.rig.broker_of(account)
        await until(partial(has_rows, broker), f"the entry at {account}")
        (tag,) = broker.rows
        if units:
            await broker.fill(tag, units, "801")
        if units < 10:
            await broker.tell(broker.end(tag, OrderStatus.CANCELLED, "no more"))
    await until(lambda: all(alert.disposition for alert in day.raised()), "the end of the entry")
    await asyncio.sleep(0.05)  # the feed takes up what is held


def sent_exits(day: Day, account: str = "paper") -> list[int]:
    return [int(order.intent.order_qty) for order in day.rig.broker_of(account).sent if order.intent.reduce_only]


async def rejected(day: Day) -> None:
    day.rig.broker.answers.append(REFUSE)
    day.tick("790")
    await day.signals(2)
    await day.rig.ended(day.raised()[-1].alert_id)


async def denied(day: Day) -> None:
    await day.rig.halt(stop_all=True)
    day.tick("790")
    await day.signals(2)
    assert (await day.rig.ended(day.raised()[-1].alert_id)).disposition == "denied"
    await day.rig.resume()


async def expired(day: Day) -> None:
    day.tick("790")
    await day.signals(2)
    order = await day.rig.order_in(day.raised()[-1].alert_id, OrderStatus.PLACED)
    await day.rig.broker.fill(order.tag, 4, "790")
    await day.rig.broker.tell(day.rig.broker.end(order.tag, OrderStatus.EXPIRED, "the day is over"))
    await day.rig.ended(day.raised()[-1].alert_id)


@pytest.mark.parametrize(("fail", "is_cut"), [(rejected, False), (denied, False), (expired, False), (rejected, True)])
def test_an_exit_that_failed_is_raised_again_a_minute_later_and_while_it_works_no_other(
    tmp_path: Path, fail: Fail, *, is_cut: bool
) -> None:
    """Neither by the price nor by the bar that closes; what was filled before it failed is not closed twice."""

    async def begin(day: Day) -> None:
        await enter(day, 10)
        day.to("10:32:20")
        await fail(day)
        day.tick("789")
        await asyncio.sleep(0.1)
        assert len(exits(day)) == 1

    async def go_on(day: Day) -> None:
        await until(lambda: "up" in day.bridge.scans.states, "at work")
        day.to("10:33:00")
        left = day.rig.quantity()
        if is_cut:  # it knows no price of before
            day.tick("789")
        await until(lambda: len(exits(day)) >= 2, "the second try")
        again = exits(day)[-1]
        assert "stop at 792.99; 789 was traded" in again.body
        order = await day.rig.order_in(again.alert_id, OrderStatus.PLACED)
        assert order.intent.order_qty == left
        for told in ("10:33:03", "10:34:01"):
            day.to(told)
            day.tick("788")
            await asyncio.sleep(0.1)
        assert len(exits(day)) == 2
        await day.rig.broker.fill(order.tag, left, "789")
        await until(lambda: day.rig.quantity() == 0, "the end of the position")
        day.to("10:36:00")
        await asyncio.sleep(0.1)
        assert len(exits(day)) == 2

    async def both(day: Day) -> None:
        await begin(day)
        await go_on(day)

    tell(tmp_path, *((begin, go_on) if is_cut else (both,)), is_scripted=True)


TWO: dict[str, Any] = {
    "accounts": {"paper": NO_CHARGES, "family": NO_CHARGES},
    "strategies": {"demo": {"accounts": ["paper", "family"], "product": "MIS"}},
}


@pytest.mark.parametrize("is_live_price", [True, False])
def test_each_account_closes_what_it_holds_itself(tmp_path: Path, *, is_live_price: bool) -> None:
    """Ten and four: by the price and by the closed bar; where one fails, that one alone is tried again."""

    async def story(day: Day) -> None:
        await enter(day, 4, 10)
        day.rig.broker_of("family").answers.append(REFUSE)
        if is_live_price:
            day.to("10:32:20")
            day.tick("790")
        else:
            await day.bar("10:32", "801", "790", "801")
            await day.close("10:33")
        await until(lambda: len(exits(day)) >= 2, "both exits")
        await until(lambda: (sent_exits(day), sent_exits(day, "family")) == ([4], [10]), "both orders")
        await until(lambda: exits(day)[-1].disposition, "the failure")
        await asyncio.sleep(0.05)
        assert len(exits(day)) == 2
        if is_live_price:
            day.to("10:33:00")
        else:
            await day.bar("10:33", "801", "790", "801")
            await day.close("10:34")
        await until(lambda: len(exits(day)) >= 3, "the second try")
        await until(lambda: (sent_exits(day), sent_exits(day, "family")) == ([4], [10, 10]), "the order of one")
        await asyncio.sleep(0.05)
        assert len(exits(day)) == 3

    tell(tmp_path, story, is_scripted=True, **TWO)


def test_what_the_first_account_does_not_hold_is_still_left_by_the_second(tmp_path: Path) -> None:
    """Each account by the price that it entered at; nothing is entered anew while one of them holds."""

    async def story(day: Day) -> None:
        await enter(day, 0, 10)
        await day.bar("10:32", "800", "801")
        await day.close("10:33")
        assert len(day.raised()) == 1
        assert day.rig.ledger.trades.get(PositionKey("paper", SBIN, Product.MIS.value)) is None
        day.tick("792")
        await until(lambda: exits(day), "the exit")
        await until(lambda: (sent_exits(day), sent_exits(day, "family")) == ([], [10]), "its order")

    tell(tmp_path, story, is_scripted=True, **TWO)
