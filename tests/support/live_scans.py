"""A bridge with pages whose scans may go live: an account at the loopback Kite, one on paper, and a feed moved by hand."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.bootstrap import Bridge
from bridge.brokers.kite.client import HeldToken, TokenSource
from bridge.core.clock import Clock
from bridge.core.limits import LIMIT_NAMES
from bridge.core.market import Tick
from bridge.runner.runner import Runner
from bridge.runner.wiring import make_runner
from bridge.sandbox.kite.values import Order
from bridge.settings import AccountSettings, Settings
from tests.support.clocks import NOON, RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.rigs import instruments_csv
from tests.support.samples import SBIN
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings

LIVE, PAPER = "zerodha", "paper"
UP: dict[str, Any] = {
    "name": "up", "strategy": "demo", "universe": [SBIN], "interval": "1m",
    "long": {"enter": "close > open", "leave": "close < open"}, "size": {"quantity": 10},
}  # fmt: skip
NO_LIMITS = dict.fromkeys(name for name in LIMIT_NAMES if name.startswith(("max_", "min_")))


class Floor:
    """The running bridge, the broker, and the strings of the market."""

    def __init__(self, box: WebBox, desk: Desk, clock: RunningClock) -> None:
        self.box, self.desk, self.clock = box, desk, clock
        self.run, self.api = box.run, box.api

    def at_kite(self) -> list[Order]:
        """The orders there."""
        return self.desk.server.do(lambda box: [states[-1] for states in box.book.orders.values()])

    def signals(self) -> list[dict[str, Any]]:
        """What the scan has raised, the latest first."""
        return [one for one in self.api("GET", "/alerts").json() if one["source"] == "scan"]

    def steps(self, action: str) -> list[tuple[str, str]]:
        """What the audit says of an action: the message, and by whom."""
        found = [row for row in self.box.bridge.store.reads.audit_rows() if row[2] == action]
        return [(str(row[7]), str(row[8])) for row in found]

    def bar(self, *prices: str) -> None:
        """The next minute, at these prices, and its close, at which the definition is asked."""
        wait_for(lambda: "up" in self.box.bridge.scans.states, "the definition to be at work")
        ends = self.pass_minute(*prices)
        wait_for(lambda: self._asked_at() == ends, f"the close of {prices}")

    def pass_minute(self, *prices: str) -> datetime:
        """The next minute, at these prices; when it was over."""
        self.clock.jump(seconds=2)
        self._to(self.clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1, seconds=5))
        for price in prices:
            self.desk.price(price)
            self.run(self._tick(price))
        ends = self.clock.now().replace(second=0, microsecond=0) + timedelta(minutes=1)
        self._to(ends + timedelta(seconds=2.5))
        return ends

    def _asked_at(self) -> datetime | None:
        found = self.box.bridge.scans.evaluations.get("up")
        return None if found is None else found.at

    def _to(self, moment: datetime) -> None:
        self.clock.ahead += moment - self.clock.now()

    async def _tick(self, price: str) -> None:
        instrument = self.box.bridge.catalog.get(SBIN)
        assert instrument is not None
        self.box.bridge.feed.take([Tick(token=instrument.token, price=Decimal(price), at=self.clock.now())])

    def stays(self, orders: int) -> None:
        """Nothing more comes in the time in which it would have come."""
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            assert len(self.at_kite()) == orders
            time.sleep(0.02)


@contextmanager
def open_floor(folder: Path) -> Iterator[Floor]:
    """The bridge is served, its live account resumed by a person."""
    clock = RunningClock()
    clock.ahead = NOON - clock.now()
    with open_desk(clock) as desk:

        class LiveBridge(Bridge):
            """The bridge as it is; its token is held, and it has no history to ask."""

            def __init__(self, settings: Settings, given: Clock | None = None) -> None:
                super().__init__(settings, given)
                since = datetime(2026, 1, 1, tzinfo=UTC)
                self.feed.add_source(lambda _tokens: None, lambda: since)

            def _make_kite_tokens(self, _name: str, _account: AccountSettings) -> TokenSource:
                return HeldToken(str(desk.client.access_token))

            def _make_runner(self) -> Runner:
                return make_runner(self, timedelta(seconds=120), None)

        with WebBox(live_settings(folder, desk), clock, make=LiveBridge) as box:
            floor = Floor(box, desk, clock)
            assert box.api("POST", "/resume", json={"account": LIVE}).status_code == 200
            yield floor


def live_settings(folder: Path, desk: Desk) -> Settings:
    """The strategy may trade at both accounts: where a definition's signals go is its deployment's business."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "instruments.csv").write_text(instruments_csv())
    kite = {
        "broker": "kite", "root": desk.server.root, "api_key": desk.box.sessions.api_key,
        "api_secret": desk.box.sessions.api_secret, "updates": "poll",
    }  # fmt: skip
    return make_settings(
        folder / "data",
        instruments=folder / "instruments.csv",
        accounts={LIVE: kite, PAPER: {"broker": "paper", "session": "always"}},
        strategies={"demo": {"accounts": [LIVE, PAPER], "product": "MIS"}},
        risk={"profile": "careful", **NO_LIMITS},
    )
