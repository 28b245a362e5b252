"""Any mix of faults, with the vendor's client over real HTTP: every order is known in the end, and there at most once.

KITE_SEEDS=1000 runs that many mixes instead of sixty.
"""

import asyncio
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.kite_bridge import Traded, hurry, tell
from tests.support.waiting import until

SEEDS = range(int(os.environ.get("KITE_SEEDS", "60")))
ANSWERS = (
    *("drop_before", "drop_after", "400_timed_out_before", "400_timed_out_after", "502_before", "502_after", "503_before"),
    *("503_after", "504_before", "504_after", "429", "429_retry_after", "no_content_type", "empty_error_type", "json_list"),
    *("gzip", "slow_body", "stalled_body", "token_dead", "ip_refused", "400_margin", "delay"),
)
ROWS = ("stuck", "reject", "partial_cancel")
KNOBS: dict[str, Any] = {"slow_ms": 40, "delay_ms": 40, "retry_after_s": 0, "fill_max": 6}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def spoil(it: Traded, mix: Random) -> None:
    """Switch some faults on."""
    for scope, kinds, most in (("orders", ANSWERS, 2), ("reads", ANSWERS, 2), ("book", ROWS, 1)):
        chosen = dict.fromkeys(mix.sample(kinds, mix.randint(0, most)), 1)
        if chosen:
            answer = it.desk.http.post("/sandbox/faults", json={scope: chosen})
            assert answer.status_code == 200, answer.text


async def act(it: Traded, mix: Random) -> str:
    """One alert of some kind; its id."""
    kind = mix.choice(("market", "market", "cross", "rest", "stop", "exit", "cancel"))
    side, quantity = mix.choice(("buy", "sell")), str(mix.randint(1, 12))
    if kind == "cross":
        price = "820" if side == "buy" else "805"
        return await it.rig.accept(action=side, quantity=quantity, order_type="LIMIT", price=price)
    if kind == "rest":
        price = "700" if side == "buy" else "900"
        return await it.rig.accept(action=side, quantity=quantity, order_type="LIMIT", price=price)
    if kind == "stop":
        trigger = "830" if side == "buy" else "790"
        return await it.rig.accept(action=side, quantity=quantity, order_type="SL-M", trigger_price=trigger)
    if kind in ("exit", "cancel"):
        return await it.rig.accept(action=kind)
    return await it.rig.accept(action=side, quantity=quantity)


async def keep_logged_in(it: Traded) -> None:
    """Somebody logs in whenever the session has gone."""
    while True:
        if it.token.token() is None:
            it.token.give(it.desk.log_in())
        await asyncio.sleep(0.02)


def move(it: Traded, mix: Random) -> None:
    """The market trades, and fills six units of what it reaches."""
    it.desk.price(mix.choice(("812.5", "812.5", "806", "819", "831", "789")))


async def end_all(it: Traded, alerts: list[str], mix: Random) -> None:
    """Faults are over: what rests is cancelled, and every alert comes to its end."""
    it.desk.http.delete("/sandbox/faults")
    await it.settle_doubts()

    async def all_ended() -> bool:
        it.desk.http.post("/sandbox/release", json={})
        move(it, mix)
        alerts.append(await it.rig.accept(action="cancel"))
        it.rig.clock.jump(seconds=0.5)
        await asyncio.sleep(0.1)
        return all(it.rig.alert(alert).disposition for alert in alerts)

    for _ in range(60):
        if await all_ended():
            break
    assert [it.rig.alert(alert) for alert in alerts if it.rig.alert(alert).disposition is None] == []
    await until(lambda: not it.open_orders(), "the end of every order")


@pytest.mark.parametrize("seed", SEEDS)
def test_any_mix_of_faults_leaves_each_order_once_and_both_books_the_same(tmp_path: Path, seed: int) -> None:
    """Answers lost before and after, gateways' pages, limits, dead sessions, unreadable books, stuck and rejected rows."""

    async def story(it: Traded) -> None:
        mix = Random(seed)
        keeper = asyncio.create_task(keep_logged_in(it))
        alerts: list[str] = []
        for _ in range(mix.randint(3, 6)):
            spoil(it, mix)
            alerts.append(await act(it, mix))
            if mix.random() < 0.5:
                await asyncio.sleep(mix.random() * 0.05)
            if mix.random() < 0.5:
                move(it, mix)
        await end_all(it, alerts, mix)
        keeper.cancel()

    tell(tmp_path, story, book_lag_ms=Random(seed).choice((0, 0, 300)), **KNOBS)
