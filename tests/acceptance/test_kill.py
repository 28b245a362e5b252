"""kill -9 at any moment: what was acknowledged is there and ends, nothing is placed twice, the books agree."""

import json
import random
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.server import WEBHOOK, Served
from tests.support.waiting import wait_for

ROUNDS = 8
SYMBOLS = ("NSE:SBIN", "NSE:INFY", "NSE:TCS")
KINDS: tuple[dict[str, str], ...] = (
    {"action": "buy", "quantity": "3"},
    {"action": "sell", "quantity": "2"},
    {"action": "exit"},
    {"target": "-4"},
    {"target": "5"},
    {"action": "buy", "quantity": "1", "order_type": "LIMIT", "price": "1"},
    {"action": "cancel"},
)


class Load:
    """Senders that go on until the bridge is gone; what was answered with 200 is remembered."""

    def __init__(self, server: Served, token: str, seed: int) -> None:
        self.server, self.token, self.seed = server, token, seed
        self.accepted: dict[str, str] = {}
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]

    def _send(self, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        with httpx.Client(base_url=self.server.url, timeout=10) as http:
            while True:
                body = self.server.body(self.token, symbol=chance.choice(SYMBOLS), **{"price": "500", **chance.choice(KINDS)})
                content = json.dumps(body)
                try:
                    for _ in range(chance.choice((1, 1, 2))):  # some are sent twice
                        answer = http.post(WEBHOOK, content=content)
                        if answer.status_code == 200:
                            self.accepted[answer.json()["alert_id"]] = content
                        else:
                            self.wrong.append(answer.text)
                except httpx.HTTPError:
                    return

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for thread in self.threads:
            thread.join(20)


def reached(load: Load, goal: int) -> bool:
    return len(load.accepted) >= goal


def settle(server: Served, accepted: dict[str, str]) -> None:
    """Every alert ends, and all that holds at any moment holds."""
    told = server.api("GET", "/status")
    assert told["mode"] == "ACTIVE"

    def all_ended() -> bool:
        return server.rows("SELECT COUNT(*) FROM alerts WHERE disposition IS NULL") == [(0,)]

    # Limit orders far from the market rest until they are cancelled; a cancel is an alert like any other.
    resting = server.rows("SELECT DISTINCT symbol FROM orders WHERE is_open = 1")
    token = server.mint()["token"]
    for (symbol,) in resting:
        server.send(token, symbol=symbol, action="cancel")
    wait_for(all_ended, "the end of every alert", 30)
    stored = {row[0] for row in server.rows("SELECT alert_id FROM alerts")}
    assert set(accepted) <= stored
    sql = "SELECT action, code, message FROM alerts WHERE disposition NOT IN ('done', 'noop', 'expired')"
    # What waited longer than it may for an order in doubt says so; of two senders one may overtake the other as the second
    # turns; nothing else fails here.
    late = {"CANCEL_IMPOSSIBLE", "EXIT_UNFINISHED", "OVERTAKEN"}
    assert [row for row in server.rows(sql) if row[1] not in late] == []
    assert server.rows("SELECT COUNT(*) FROM orders WHERE is_open = 1") == [(0,)]
    ends = server.rows(
        "SELECT alert_id, COUNT(*) FROM audit WHERE action = 'alert_ended' GROUP BY alert_id HAVING COUNT(*) > 1"
    )
    assert ends == []
    server.check_books()


@pytest.mark.slow
def test_killed_under_load_again_and_again_nothing_acknowledged_is_lost_or_done_twice(tmp_path: Path) -> None:
    """Eight rounds at random moments, some right after the start, on one data folder."""
    seed = random.randrange(1_000_000)  # shown by pytest when the test fails
    chance = random.Random(seed)
    server = Served(tmp_path)
    accepted: dict[str, str] = {}
    try:
        token = ""
        for number in range(ROUNDS):
            server.start()
            token = token or server.mint()["token"]
            goal = chance.choice((1, 5, 30, 100, 200))
            with Load(server, token, seed + number) as load:
                wait_for(partial(reached, load, goal), "the load", 20, step_s=0.001)
                server.kill()
            assert load.wrong == []
            accepted |= load.accepted
        server.start()
        assert len(accepted) > ROUNDS
        for content in list(accepted.values())[-5:]:  # also after all that, a re-send is a duplicate
            answer = server.post(content).json()
            assert answer["status"] == "duplicate"
            assert accepted[answer["alert_id"]] == content
        settle(server, accepted)
        assert server.stop() == 0
    finally:
        server.kill()
        server.http.close()


def test_killed_while_it_starts_it_starts_again(tmp_path: Path) -> None:
    """The first start (keys, migrations) and every other one may be cut off anywhere."""
    import subprocess
    import sys

    server = Served(tmp_path)
    server._write_config()
    chance = random.Random()
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "serve", "--port", "0"],
            cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # A random moment between the first file and the first answer: that is what is tried here, not a wait for something.
        try:
            process.wait(chance.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait(10)
    with server:
        way = server.done(server.mint()["token"], action="buy", quantity="1")
        assert way["disposition"] == "done"
        server.check_books()
        assert server.stop() == 0
