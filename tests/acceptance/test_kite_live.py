"""A first live day at the loopback Kite: `bridge serve` and `bridge venue --kite` as processes, a browser's way by HTTP."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from kiteconnect.exceptions import NetworkException
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from bridge.core.limits import LIMIT_NAMES
from tests.support.clocks import NOON
from tests.support.kite import kite_instruments
from tests.support.kite_venue import KiteVenue
from tests.support.moved import AHEAD, now
from tests.support.rigs import write_freezes
from tests.support.samples import SBIN
from tests.support.server import Served
from tests.support.waiting import wait_for

ACCOUNT = "zerodha"
MODULE = "tests.support.moved"
INSTRUMENTS = "\n".join(kite_instruments()) + "\n"
NO_LIMITS = dict.fromkeys(name for name in LIMIT_NAMES if name.startswith(("max_", "min_")))
FUTURE, LOT = "NFO:NIFTY26NOVFUT", 65


class Day:
    """The bridge, the stand-in for Kite, and short words for what a trader does."""

    def __init__(self, server: Served, venue: KiteVenue, http: httpx.Client, ahead_s: float) -> None:
        self.server, self.venue, self.http = server, venue, http
        self._ahead_s = ahead_s
        self.token = str(server.mint()["token"])

    def sandbox(self, method: str, path: str, content: Any = None) -> Any:
        """Pull one of the stand-in's strings."""
        answer = httpx.request(method, f"{self.venue.told('root')}/sandbox/{path}", json=content, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def price(self, price: str, symbol: str = SBIN) -> None:
        """The market trades here."""
        self.sandbox("POST", "price", {"symbol": symbol, "price": price})

    def fill(self, order: dict[str, Any], quantity: int, price: str) -> None:
        """The exchange fills so much of an order."""
        self.sandbox("POST", "fill", {"order_id": order["broker_order_id"], "quantity": quantity, "price": price})

    def page(self, path: str) -> str:
        """What a browser shows there, its words alone."""
        answer = self.http.get(path)
        text = re.sub(r"<[^>]+>", " ", answer.text)
        return " ".join(text.split())

    def log_in(self) -> str:
        """By the button, Kite's own page, and the way back; the page at the end."""
        away = self.http.get(f"/brokers/{ACCOUNT}/login", headers={"sec-fetch-site": "same-origin"})
        assert away.status_code == 200, away.text
        assert "Log in as" in away.text
        back = httpx.post(str(away.url), trust_env=False)
        assert back.status_code == 302, back.text
        answer = self.http.get(back.headers["location"])
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, **fields: Any) -> str:
        """An alert as TradingView sends it; its id."""
        return self.server.send(self.token, time=now(self._ahead_s).isoformat(), **fields)

    def order(self, alert_id: str, *statuses: str) -> dict[str, Any]:
        """The alert's order by the API, once it stands in one of these states; the alert's page shows the same."""

        def look() -> dict[str, Any] | None:
            orders: list[dict[str, Any]] = self.server.way(alert_id)["orders"]
            return next((one for one in orders if one["status"] in statuses), None)

        order = wait_for(look, f"{alert_id} in {statuses}")
        assert order is not None
        shown = self.page(f"/alerts/{alert_id}")
        assert order["tag"] in shown or order["broker_order_id"] in shown or order["cl_ord_id"] in shown, shown
        return order

    def ended(self, alert_id: str) -> dict[str, Any]:
        """The alert's way, once it has ended; its page tells the same end."""
        way = self.server.ended(alert_id)
        shown = self.page(f"/alerts/{alert_id}")
        assert way["code"] in shown
        assert " ".join(way["message"].split()) in shown
        return way

    @retry(retry=retry_if_exception_type(NetworkException), wait=wait_fixed(0.3), stop=stop_after_attempt(20), reraise=True)
    def status(self, order: dict[str, Any]) -> str:
        """What Kite's own book says of an order; the bridge's reads may have used up the second's."""
        client = self.venue.client(self._sessions()[-1])
        try:
            return str(client.order_history(order["broker_order_id"])[-1]["status"])
        finally:
            client.reqsession.close()

    def _sessions(self) -> list[str]:
        """The access tokens that Kite has given."""
        text = (self.venue.folder / "data" / "kite.jsonl").read_text()
        return re.findall(r'"access_token": "([^"]+)"', text)


@contextmanager
def open_day(folder: Path, **more: Any) -> Iterator[Day]:
    """A bridge that nobody has logged in to Kite yet, half past ten on a Friday."""
    ahead_s = (NOON - datetime.now(UTC)).total_seconds()
    env = {AHEAD: str(ahead_s)}
    venue = KiteVenue(folder / "kite", "--port", "0", "--cash", "1e13", module=MODULE, instruments=INSTRUMENTS, **env).wait()
    with ExitStack() as last:
        last.callback(venue.end)
        root = venue.told("root")
        account = {
            "broker": "kite", "root": root, "login_root": f"{root}/connect/login", "stream_root": venue.told("stream root"),
            "api_key": venue.told("api_key"), "api_secret": venue.told("api_secret"),
        }  # fmt: skip
        config = {
            "accounts": {ACCOUNT: account}, "strategies": {"demo": {"accounts": [ACCOUNT], "product": "MIS"}},
            "risk": {"profile": "careful", **NO_LIMITS}, **more,
        }  # fmt: skip
        server = Served(folder / "bridge", config=config, env=env, module=MODULE)
        (server.folder / "config" / "instruments.csv").write_text(INSTRUMENTS)
        last.enter_context(server)
        http = last.enter_context(httpx.Client(base_url=server.url, trust_env=False, timeout=20, follow_redirects=True))
        day = Day(server, venue, http, ahead_s)
        day.sandbox("POST", "settings", {"redirect_url": f"{server.url}/brokers/{ACCOUNT}/callback"})
        day.price("812.5")
        yield day


def begin(day: Day) -> None:
    """Log in and let the account trade."""
    assert "not logged in" in day.page("/")
    assert "logged in as" in day.log_in()
    assert "Logged in as" in day.page("/")
    day.server.api("POST", "/resume", json={"account": ACCOUNT})
    wait_for(lambda: day.server.api("GET", "/account")[0]["available"], "the first word on money")


def test_a_day_from_login_to_stop_loss_and_cancel(tmp_path: Path) -> None:
    """Filled in parts, a stop with its trigger, moved up, a cancel: each on the page and in the alert's way."""
    with open_day(tmp_path) as day:
        begin(day)

        entry = day.send(action="buy", quantity="10", order_type="LIMIT", price="800")
        order = day.order(entry, "PLACED")
        assert day.status(order) == "OPEN"
        day.fill(order, 4, "800")
        assert day.order(entry, "PARTIAL")["cum_qty"] == "4"
        assert "4" in day.page(f"/alerts/{entry}")
        day.fill(order, 6, "799.5")
        assert day.ended(entry)["code"] == "FILLED"
        assert day.server.quantity() == "10"
        assert SBIN in day.page("/")

        stop = day.send(action="sell", quantity="10", order_type="SL-M", trigger_price="785")
        order = day.order(stop, "PLACED")
        assert day.status(order) == "TRIGGER PENDING"
        trailed = day.send(action="modify", order_type="SL-M", price=None, trigger_price="790")
        assert day.ended(trailed)["disposition"] == "done"
        assert "order_replaced" in [step["step"] for step in day.ended(trailed)["steps"]]
        assert "790" in day.page(f"/alerts/{stop}")
        day.price("789")  # above the stop as it was first
        assert day.ended(stop)["code"] == "FILLED"
        assert day.server.quantity() == "0"

        resting = day.send(action="buy", quantity="3", order_type="LIMIT", price="740")
        order = day.order(resting, "PLACED")
        assert day.ended(day.send(action="cancel"))["disposition"] == "done"
        assert day.order(resting, "CANCELLED")["cum_qty"] == "0"
        assert day.status(order) == "CANCELLED"
        day.ended(resting)


def test_a_session_that_dies_holds_the_exit_until_somebody_logs_in(tmp_path: Path) -> None:
    """The token is refused while the exit leaves: page and readiness say so, and a login brings it out, once."""
    with open_day(tmp_path) as day:
        begin(day)
        assert day.ended(day.send(action="buy", quantity="10"))["code"] == "FILLED"
        day.sandbox("POST", "faults", {"orders": {"token_dead": 1}})
        leave = day.send(action="exit")
        wait_for(lambda: not day.http.get("/readyz").json()["parts"][f"broker {ACCOUNT}"]["ok"], "the end of the session")
        assert "not logged in" in day.page("/")
        assert day.order(leave, "NEW")["cum_qty"] == "0"
        day.log_in()
        assert day.ended(leave)["code"] == "FILLED"
        assert day.server.quantity() == "0"
        assert day.sandbox("GET", "stats")["statuses"] == {"COMPLETE": 2}


def test_five_thousand_lots_leave_in_parts_that_the_exchange_takes(tmp_path: Path) -> None:
    """Each part an order at Kite within the freeze quantity, all of them one wish of the alert."""
    lots, freeze = 5_000, 65_000
    freezes = write_freezes(tmp_path, {"NIFTY": freeze}, exchange="NFO")
    with open_day(
        tmp_path, freeze_quantities=str(freezes), strategies={"demo": {"accounts": [ACCOUNT], "product": "NRML"}}
    ) as day:
        day.sandbox("POST", "settings", {"freeze": {"NIFTY": freeze}})
        day.price("24000", FUTURE)
        begin(day)
        alert = day.ended(day.send(symbol=FUTURE, price="24000", action="buy", quantity=str(lots * LOT)))
        assert alert["code"] == "FILLED"
        assert sorted(int(order["order_qty"]) for order in alert["orders"]) == [freeze] * 5
        assert day.server.quantity(FUTURE) == str(lots * LOT)
        assert day.sandbox("GET", "stats")["statuses"] == {"COMPLETE": 5}


def test_a_bridge_without_a_kite_account_never_imports_the_vendors_client(tmp_path: Path) -> None:
    """A whole life of it, with an order and its page; one with such an account shows that the look finds it."""
    heavy = ("kiteconnect", "twisted", "autobahn", "requests")
    times = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Served(tmp_path / "paper", env=times, fresh=True) as server:
        server.done(str(server.mint()["token"]), action="buy", quantity="1")
        assert server.http.get("/").status_code == 200
    assert imported(server.log, heavy) == set()
    account = {"broker": "kite", "api_key": "x", "api_secret": "y", "root": "http://127.0.0.1:9", "updates": "poll"}
    config = {"accounts": {ACCOUNT: account}, "strategies": {"demo": {"accounts": [ACCOUNT]}}, "risk": {"profile": "careful"}}
    with Served(tmp_path / "live", env=times, config=config, fresh=True) as server:
        pass
    assert imported(server.log, heavy) == set(heavy)


def imported(log: Path, names: tuple[str, ...]) -> set[str]:
    """Those of the packages that the process imported while it lived."""
    found = re.findall(r"^import time: .*\| +([\w.]+)$", log.read_text(), re.MULTILINE)
    assert "bridge.bootstrap" in found
    return {name.split(".")[0] for name in found} & set(names)
