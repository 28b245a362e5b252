"""The kill switch: once a halt is acknowledged, nothing that adds exposure leaves, also after kill -9."""

import concurrent.futures
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import WEBHOOK, Served
from tests.support.waiting import wait_for

TCS = "NSE:TCS"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    config = {
        "accounts": {
            "paper": {"broker": "paper", "cash": 100_000_000, "session": "always"},
            "second": {"broker": "paper", "cash": 100_000_000, "session": "always"},
        },
        "strategies": {
            "demo": {"accounts": ["paper"], "product": "MIS"},
            "swing": {"accounts": ["paper"], "product": "MIS"},
            "far": {"accounts": ["second"], "product": "MIS"},
        },
    }
    with Served(tmp_path, config=config) as served:
        yield served


def outcome(way: dict[str, Any]) -> tuple[str, str, int]:
    return way["disposition"], way["code"], len(way["orders"])


def test_after_a_halt_entries_are_denied_and_exits_leave_until_a_person_resumes(server: Served) -> None:
    """A plain halt lets only exits out; `all` lets nothing out; resume ends both."""
    token = server.mint()["token"]
    server.done(token, action="buy", quantity="10")
    assert server.api("POST", "/halt")["mode"] == "REDUCING"
    assert server.api("GET", "/status")["mode"] == "REDUCING"
    assert outcome(server.done(token, action="buy", quantity="1")) == ("denied", "HALTED", 0)
    assert outcome(server.done(token, action="sell", quantity="50", symbol=TCS)) == ("denied", "HALTED", 0)
    assert outcome(server.done(token, action="exit", quantity="4")) == ("done", "FILLED", 1)
    assert server.quantity() == "6"
    # A reversal is an exit and an entry: only the part that closes leaves.
    way = server.done(token, target="-5")
    assert (way["disposition"], way["orders"][0]["order_qty"], server.quantity()) == ("done", "6", "0")
    server.api("POST", "/resume")
    server.done(token, action="buy", quantity="3")
    assert server.api("POST", "/halt", json={"all": True})["mode"] == "HALTED"
    assert outcome(server.done(token, action="exit")) == ("denied", "HALTED", 0)
    assert server.api("POST", "/halt")["mode"] == "HALTED"  # a halt never loosens a stricter one
    server.api("POST", "/resume")
    assert outcome(server.done(token, action="exit")) == ("done", "FILLED", 1)
    server.check_books()


def test_a_halt_holds_for_its_scope_only(server: Served) -> None:
    """One strategy, or one account; everything else goes on."""
    demo, swing, far = (server.mint(strategy=name)["token"] for name in ("demo", "swing", "far"))

    def entries() -> list[str]:
        told = ((demo, "demo"), (swing, "swing"), (far, "far"))
        return [server.done(token, strategy=name, action="buy", quantity="1")["disposition"] for token, name in told]

    server.api("POST", "/halt", json={"strategy": "swing"})
    assert entries() == ["done", "denied", "done"]
    server.api("POST", "/halt", json={"account": "paper"})
    assert entries() == ["denied", "denied", "done"]
    server.api("POST", "/resume", json={"account": "paper"})
    assert entries() == ["done", "denied", "done"]  # the strictest scope wins, and its own halt is still there
    server.api("POST", "/resume", json={"strategy": "swing"})
    assert entries() == ["done", "done", "done"]
    for body in (
        {"account": "nobody"},
        {"strategy": "nothing"},
        {"acount": "paper"},
        {"account": "paper", "strategy": "demo"},
        {"all": "yes"},
    ):
        answer = server.http.post("/api/v1/halt", json=body, headers=server.bearer)
        assert answer.status_code == 422, (body, answer.text)
    assert entries() == ["done", "done", "done"]


def test_a_halt_outlives_kill_9_and_a_restart(server: Served) -> None:
    """What was acknowledged is on disk: the next process lets no entry out either, and exits it does."""
    token = server.mint()["token"]
    server.done(token, action="buy", quantity="10")
    server.api("POST", "/halt")
    server.kill()
    server.start()
    assert server.api("GET", "/status")["mode"] == "REDUCING"
    assert outcome(server.done(token, action="buy", quantity="1")) == ("denied", "HALTED", 0)
    assert outcome(server.done(token, action="exit", quantity="4")) == ("done", "FILLED", 1)
    assert server.stop() == 0
    server.start()
    assert outcome(server.done(token, action="buy", quantity="1")) == ("denied", "HALTED", 0)
    assert server.quantity() == "6"
    server.api("POST", "/resume")
    assert outcome(server.done(token, action="buy", quantity="1")) == ("done", "FILLED", 1)


def test_in_a_storm_of_entries_nothing_is_placed_after_the_halt_was_acknowledged(server: Served) -> None:
    """Entries before, during and after: none reaches the broker's book later than the halt's answer; every alert ends."""
    token = server.mint()["token"]
    alert_ids: list[str] = []

    def storm(_worker: int) -> int:
        sent = 0
        with httpx.Client(base_url=server.url, timeout=20) as http:
            while not stop:
                body = server.body(token, action="buy", quantity="1", symbol=("NSE:SBIN", TCS)[sent % 2])
                answer = http.post(WEBHOOK, content=json.dumps(body))
                assert answer.status_code == 200, answer.text
                alert_ids.append(answer.json()["alert_id"])
                sent += 1
        return sent

    stop: list[bool] = []
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        storms = [pool.submit(storm, number) for number in range(6)]
        wait_for(lambda: len(alert_ids) > 100, "the storm to blow")
        server.api("POST", "/halt")
        acknowledged_us = time.time_ns() // 1000
        sent_before = len(alert_ids)
        wait_for(lambda: len(alert_ids) > sent_before + 100, "the storm to blow on")
        stop.append(True)
        assert all(storm.result() for storm in storms)
    wait_for(lambda: server.rows("SELECT COUNT(*) FROM alerts WHERE disposition IS NULL") == [(0,)], "all alerts to end")
    late = server.rows("SELECT side, placed_at FROM paper_orders WHERE placed_at > ?", acknowledged_us)
    assert late == []
    assert server.rows("SELECT COUNT(*) FROM orders WHERE sent_at > ?", acknowledged_us) == [(0,)]
    ends = dict(server.rows("SELECT disposition, COUNT(*) FROM alerts GROUP BY disposition"))
    assert set(ends) == {"done", "denied"}
    assert sum(ends.values()) == len(set(alert_ids))
    assert server.rows("SELECT COUNT(*) FROM paper_orders") == [(ends["done"],)]
    server.check_books()


def test_flatten_closes_everything_even_while_halted(server: Served) -> None:
    """Reducing lets exits out: flatten is made of exits."""
    token, far = server.mint()["token"], server.mint(strategy="far")["token"]
    server.done(token, action="buy", quantity="10")
    server.done(token, action="sell", quantity="5", symbol=TCS, price="3000")
    server.done(far, strategy="far", action="buy", quantity="7")
    server.api("POST", "/halt")
    ids = server.api("POST", "/flatten", json={"account": "paper"})["alert_ids"]
    assert [server.ended(ident)["disposition"] for ident in ids] == ["done", "done"]
    assert [(p["account"], p["quantity"]) for p in server.api("GET", "/positions")] == [("second", "7")]
    ids = server.api("POST", "/flatten")["alert_ids"]
    assert [server.ended(ident)["disposition"] for ident in ids] == ["done"]
    assert server.api("GET", "/positions") == []
