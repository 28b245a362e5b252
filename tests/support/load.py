"""Senders that go on whatever happens to the bridge, and what must hold when it is quiet again."""

import json
import random
import threading
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.server import WEBHOOK, Served
from tests.support.waiting import wait_for

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
    """Senders that go on until the bridge is gone or they are told to stop; what was answered with 200 is remembered.

    `pause_s` is how long each sender rests between two alerts.
    """

    def __init__(self, server: Served, token: str, seed: int, *, pause_s: float = 0.0) -> None:
        self.server, self.token, self.seed, self.pause_s = server, token, seed, pause_s
        self.stopped = threading.Event()
        self.accepted: dict[str, str] = {}
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._send, args=(number,)) for number in range(4)]

    def _send(self, number: int) -> None:
        chance = random.Random(self.seed * 100 + number)
        with httpx.Client(base_url=self.server.url, timeout=10) as http:
            while not self.stopped.wait(self.pause_s):
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
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)

    def reach(self, goal: int, limit_s: float = 20) -> None:
        """Wait until so many alerts have been accepted."""
        wait_for(lambda: len(self.accepted) >= goal, f"{goal} accepted alerts", limit_s, step_s=0.001)


def settle(server: Served, accepted: dict[str, str], book: Callable[..., list[tuple[Any, ...]]] | None = None) -> None:
    """Every alert ends, and all that holds at any moment holds. `book` asks the broker's own database."""
    told = server.api("GET", "/status")
    assert told["mode"] == "ACTIVE"

    def all_ended() -> bool:
        return server.rows("SELECT COUNT(*) FROM alerts WHERE disposition IS NULL") == [(0,)]

    def none_under_way() -> bool:
        sql = "SELECT COUNT(*) FROM orders WHERE status IN ('NEW', 'PENDING', 'IN_DOUBT')"
        return server.rows(sql) == [(0,)]

    wait_for(none_under_way, "the broker's word on every order", 40)
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
    failed = [row for row in server.rows(sql) if row[1] not in late]
    assert failed == [], failed
    assert server.rows("SELECT COUNT(*) FROM orders WHERE is_open = 1") == [(0,)]
    ends = server.rows(
        "SELECT alert_id, COUNT(*) FROM audit WHERE action = 'alert_ended' GROUP BY alert_id HAVING COUNT(*) > 1"
    )
    assert ends == []
    server.check_books(book)
