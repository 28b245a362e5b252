"""Scans in real processes: ticks of the loopback Kite become bars, and bars paper orders, once, also over kill -9."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bridge.core.clock import IST
from bridge.core.limits import LIMIT_NAMES
from tests.support.fast import MODULE, fast_env, fast_now
from tests.support.kite import kite_instruments
from tests.support.kite_venue import KiteVenue
from tests.support.samples import SBIN
from tests.support.server import Served
from tests.support.waiting import wait_for

# A minute has to be long enough for a busy machine to ask for the bars that it missed.
RATE = 15.0
START = datetime(2026, 11, 20, 10, 30, 0, tzinfo=IST)
ROUNDS = 1
NO_LIMITS = dict.fromkeys(name for name in LIMIT_NAMES if name.startswith(("max_", "min_")))
MINUTE = timedelta(minutes=1)
DEFINITION = {
    "name": "level", "strategy": "demo", "universe": [SBIN], "interval": "1m",
    "long": {"enter": "close > 820", "leave": "close < 810"}, "size": {"quantity": 10},
}  # fmt: skip


class Floor:
    """A bridge whose Kite account gives prices and whose orders are paper, and the strings of the market."""

    def __init__(self, server: Served, venue: KiteVenue, env: dict[str, str]) -> None:
        self.server, self.venue, self._env = server, venue, env
        self.root = venue.told("root")

    def now(self) -> datetime:
        return fast_now(self._env)

    def price(self, price: str) -> None:
        """The market trades here."""
        answer = httpx.post(f"{self.root}/sandbox/price", json={"symbol": SBIN, "price": price}, trust_env=False)
        assert answer.status_code == 200, answer.text

    def trade_until(self, price: str, moment: datetime) -> None:
        """Trade at this price until then."""
        while self.now() < moment:
            self.price(price)
            time.sleep(0.05)

    def trade_while(self, price: str, what: Any, told: str) -> Any:
        """Trade at this price until something has come true."""

        def look() -> Any:
            self.price(price)
            return what()

        try:
            return wait_for(look, told, limit_s=80)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.told_now()}") from None

    def log_in(self) -> None:
        """By the button, Kite's own page, and the way back."""
        httpx.post(f"{self.root}/sandbox/settings", json={"redirect_url": f"{self.server.url}/brokers/feed/callback"})
        with httpx.Client(base_url=self.server.url, trust_env=False, timeout=20, follow_redirects=True) as http:
            away = http.get("/brokers/feed/login", headers={"sec-fetch-site": "same-origin"})
            back = httpx.post(str(away.url), trust_env=False)
            assert http.get(back.headers["location"]).status_code == 200

    def signals(self) -> list[dict[str, Any]]:
        return [one for one in self.server.api("GET", "/alerts") if one["source"] == "scan"]

    def quantity(self) -> int:
        return sum(int(one["quantity"]) for one in self.server.api("GET", "/positions"))

    def stands_at(self, wanted: int, number: int) -> bool:
        """Whether so much is held, by so many signals and as many orders."""
        orders = [order["status"] for order in self.server.api("GET", "/orders")]
        return (self.quantity(), len(self.signals()), orders) == (wanted, number, ["FILLED"] * number)

    def told_now(self) -> dict[str, Any]:
        """What there is to say when something does not come true."""
        return {path: self.server.api("GET", path) for path in ("/alerts", "/orders", "/positions", "/scans/level/lines")}

    def message(self) -> str:
        return str(self.server.api("GET", "/scans/level/lines").get("message", ""))


@contextmanager
def open_floor(folder: Path) -> Iterator[Floor]:
    env = fast_env(START, RATE)
    venue = KiteVenue(
        folder / "kite", "--port", "0", module=MODULE, instruments="\n".join(kite_instruments()) + "\n", **env
    ).wait()
    with ExitStack() as last:
        last.callback(venue.end)
        root = venue.told("root")
        feed = {
            "broker": "kite", "root": root, "login_root": f"{root}/connect/login", "stream_root": venue.told("stream root"),
            "api_key": venue.told("api_key"), "api_secret": venue.told("api_secret"),
        }  # fmt: skip
        paper = {"broker": "paper", "cash": 100_000_000, "session": "always", "charges": False, "slippage_bps": 0}
        config = {
            "accounts": {"paper": paper, "feed": feed}, "strategies": {"demo": {"accounts": ["paper"], "product": "MIS"}},
            "webhook": {"freshness_s": 1_800}, "risk": {"profile": "careful", **NO_LIMITS},
        }  # fmt: skip
        server = Served(folder / "bridge", config=config, env=env, module=MODULE)
        (server.folder / "config" / "instruments.csv").write_text("\n".join(kite_instruments()) + "\n")
        last.enter_context(server)
        yield Floor(server, venue, env)


def maps_of(server: Served) -> str:
    """What libraries the process has loaded."""
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/maps").read_text()


def test_wishes_become_paper_orders_once_whenever_the_bridge_is_killed(tmp_path: Path) -> None:
    """In each round the price crosses a level within a minute, and the bridge is killed at a random moment around its close."""
    chance = random.Random(7)
    with open_floor(tmp_path) as floor:
        assert "numpy" not in maps_of(floor.server)
        floor.price("815")
        floor.log_in()
        floor.server.api("POST", "/scans", json={"definition": DEFINITION})
        floor.server.api("POST", "/scans/level/enable")
        for number in range(1, ROUNDS + 1):
            floor.trade_while("815", lambda: "missing" not in floor.message() and "read" not in floor.message(), "the bars")
            price, wanted = ("830", 10) if number % 2 else ("800", 0)
            close = floor.now().replace(second=0, microsecond=0) + 2 * MINUTE
            floor.trade_until("815", close - MINUTE)
            floor.trade_until(price, close + timedelta(seconds=chance.uniform(-2, 12)))
            floor.server.kill()
            floor.server.start()
            floor.trade_while(price, partial(floor.stands_at, wanted, number), f"{wanted} units by {number} signals")
            time.sleep(0.5)
            assert floor.stands_at(wanted, number)
        assert "numpy" in maps_of(floor.server)
