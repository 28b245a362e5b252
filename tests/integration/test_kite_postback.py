"""Postbacks on their whole way: the sandbox's order changes, the bridge's own server takes the call, somebody looks."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from bridge.web.port import Postback
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings

PATH = "/webhook/kite/zerodha"


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A sandbox on the machine's own time."""
    with open_desk(RunningClock()) as opened:
        yield opened


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    """A served bridge."""
    with WebBox(make_settings(tmp_path)) as served:
        yield served


def take_postbacks(box: WebBox, secret: str) -> list[str]:
    """Let the account take postbacks; the looks that they ask for."""
    pokes: list[str] = []
    box.bridge.postbacks["zerodha"] = Postback(secret=secret.encode(), poke=pokes.append)
    return pokes


def test_the_brokers_own_postbacks_are_taken(desk, box):
    """Made, signed and posted by the sandbox as the vendor documents it."""
    pokes = take_postbacks(box, desk.box.sessions.api_secret)
    desk.turn(postback_url=f"{box.url}{PATH}")
    desk.buy(price=820)
    wait_for(lambda: pokes, "the look")
    assert desk.http.get("/sandbox/stats").json()["postbacks_failed"] == 0


def test_a_forged_postback_leaves_nothing_but_a_count(desk, box):
    """Signed with another secret, or sent twice with other contents: no alert, no order, no record."""
    pokes = take_postbacks(box, "another secret")
    before = box.api("GET", "/alerts").json(), box.api("GET", "/orders").json()
    desk.turn(postback_url=f"{box.url}{PATH}")
    desk.buy(price=820)
    wait_for(lambda: desk.http.get("/sandbox/stats").json()["postbacks_failed"], "the refusal")
    assert pokes == []
    assert (box.api("GET", "/alerts").json(), box.api("GET", "/orders").json()) == before
    assert 'bridge_postbacks_total{answer="forged"} ' in box.ask("GET", "/metrics").text


@pytest.mark.parametrize("path", ["/webhook/kite/nobody", "/webhook/kite/paper", "/webhook/kite/", "/webhook/kite"])
def test_an_account_without_postbacks_is_not_found(box, path):
    """A paper account takes none, and an address without an account is none."""
    assert httpx.post(f"{box.url}{path}", content=b"{}", trust_env=False).status_code == 404


def test_a_repeated_postback_is_answered_at_once_each_time(box):
    """Over one connection, a few hundred times: all answered, few looks."""
    pokes = take_postbacks(box, "secret")
    checksum = sha256(b"1" + b"2026-11-20 10:30:00" + b"secret").hexdigest()
    body = json.dumps({"order_id": "1", "order_timestamp": "2026-11-20 10:30:00", "checksum": checksum}).encode()
    with httpx.Client(base_url=box.url, trust_env=False) as client:
        answers = [client.post(PATH, content=body) for _ in range(200)]
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 2
    assert 1 <= len(pokes) <= 20


def test_a_huge_postback_is_refused_and_the_next_one_taken(box):
    """What is too large is not read to its end."""
    take_postbacks(box, "secret")
    assert httpx.post(f"{box.url}{PATH}", content=b"x" * 1_000_000, trust_env=False).status_code == 413
    assert httpx.post(f"{box.url}{PATH}", content=b"{}", trust_env=False).status_code == 400
