"""A whole bridge in this process: real store, real pipeline, real lanes; the broker is paper or a scripted one."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from bridge.answer import Answer
from bridge.bootstrap import Bridge
from bridge.brokers.base import CALL_TIMEOUT_S, Broker
from bridge.core.order import Order
from bridge.core.scope import GLOBAL, Scope
from bridge.core.views import AlertView, OrderView, StepView
from bridge.intake.verify import Delivery
from bridge.settings import AccountSettings, Settings
from bridge.store.audit import verify_chain
from tests.support.clocks import RunningClock
from tests.support.samples import SBIN
from tests.support.scripted_broker import ScriptedBroker
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
SYMBOLS = ("SBIN", "INFY", "RELIANCE", "TCS", "HDFCBANK")
NO_CHARGES: dict[str, Any] = {"broker": "paper", "cash": "1000000", "slippage_bps": "0", "charges": False, "session": "always"}


@cache
def instruments_csv() -> str:
    """A few shares of the shipped list: reading all of it at each start would be most of a test's time."""
    lines = (ROOT / "config" / "instruments.csv").read_text().splitlines()
    names = lines[0].split(",")
    place, exchange = names.index("tradingsymbol"), names.index("exchange")
    kept = [line for line in lines[1:] if line.split(",")[place] in SYMBOLS and line.split(",")[exchange] == "NSE"]
    return "\n".join([lines[0], *kept]) + "\n"


def make_settings(folder: Path, **values: Any) -> Settings:
    """Settings of a bridge in `folder`; one paper account without charges, limits off, unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    instruments, empty = folder / "instruments.csv", folder / "empty.yaml"
    instruments.write_text(instruments_csv())
    empty.write_text("{}\n")
    given: dict[str, Any] = {
        "data_dir": folder / "data",
        "database": {"url": f"sqlite:///{folder / 'data' / 'bridge.db'}"},
        "instruments": instruments,
        "risk": {"profile": "none"},
        "accounts": {"paper": NO_CHARGES},
        "strategies": {"demo": {"accounts": ["paper"], "product": "MIS"}},
        "webhook": {"rate_per_minute": 100_000},
    }
    with mock.patch.dict(os.environ, {"BRIDGE_CONFIG": str(empty)}):
        return Settings(**{**given, **values})


def write_freezes(folder: Path, units: Mapping[str, int], exchange: str = "NSE") -> Path:
    """A file of freeze quantities by the name of the share or underlying, good on any day."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "freezes.json"
    told = {
        "title": "made up", "as_of": "2020-01-01", "good_from": "2020-01-01", "good_to": "2099-12-31",
        "source": "the tests", "exchange": exchange, "quantities": units,
    }  # fmt: skip
    file.write_text(json.dumps(told))
    return file


class WatchedBridge(Bridge):
    """The bridge as it is; its faults are kept for the test to look at."""

    def __init__(self, settings: Settings, clock: RunningClock) -> None:
        self.faults: list[tuple[str, BaseException]] = []
        super().__init__(settings, clock)

    def on_fault(self, where: str, error: BaseException) -> None:
        self.faults.append((where, error))
        super().on_fault(where, error)


class ScriptedBridge(WatchedBridge):
    """The bridge with scripted brokers in place of paper ones. `books` are brokers that outlived a former bridge."""

    def __init__(
        self,
        settings: Settings,
        clock: RunningClock,
        books: Mapping[str, ScriptedBroker] | None = None,
        *,
        is_paper: bool = True,
        max_in_flight: int = 4,
        call_timeout_s: float | None = CALL_TIMEOUT_S,
        max_replaces: int | None = None,
    ) -> None:
        self._max_replaces = max_replaces
        self._books = dict(books or {})
        self._call_timeout_s = call_timeout_s
        self._is_paper = is_paper
        self._max_in_flight = max_in_flight
        super().__init__(settings, clock)

    def _make_broker(self, name: str, account: AccountSettings) -> Broker:
        if name not in self._books:
            self._books[name] = ScriptedBroker(
                name, self.clock, is_paper=self._is_paper, max_in_flight=self._max_in_flight,
                call_timeout_s=self._call_timeout_s, max_replaces=self._max_replaces,
            )  # fmt: skip
        return self._books[name]


class Rig:
    """A running bridge and short words for what tests do with it."""

    def __init__(self, bridge: WatchedBridge, clock: RunningClock) -> None:
        self.bridge = bridge
        self.clock = clock
        self._tokens: dict[str, str] = {}

    @property
    def broker(self) -> ScriptedBroker:
        return self.broker_of("paper")

    def broker_of(self, account: str) -> ScriptedBroker:
        broker = self.bridge.brokers[account]
        assert isinstance(broker, ScriptedBroker)
        return broker

    @property
    def ledger(self) -> Any:
        return self.bridge.store.ledger

    async def token(self, **claims: Any) -> str:
        """A token with these claims, minted once."""
        claims = {"strategy": "demo", **claims}
        name = json.dumps(claims, sort_keys=True)
        if name not in self._tokens:
            self._tokens[name] = str((await self.bridge.desk.mint_token(claims, by="test"))["token"])
        return self._tokens[name]

    async def delivery(self, **fields: Any) -> Delivery:
        """The request of an alert; `token_claims` may narrow the token, a field of None is left out."""
        claims = fields.pop("token_claims", {"strategy": fields.get("strategy", "demo")})
        body: dict[str, Any] = {
            "token": await self.token(**claims), "strategy": "demo", "symbol": SBIN, "price": "812.5",
            "time": self.clock.now().isoformat(), **fields,
        }  # fmt: skip
        body = {name: value for name, value in body.items() if value is not None}
        return Delivery(
            body=json.dumps(body).encode(), headers={}, path_token=None, peer="127.0.0.1", received_at=self.clock.now()
        )

    async def send(self, **fields: Any) -> Answer:
        return await self.bridge.pipeline.accept(await self.delivery(**fields))

    async def accept(self, **fields: Any) -> str:
        """Send an alert that has to be accepted; its id."""
        answer = await self.send(**fields)
        assert answer.status == "accepted", answer.body
        return answer.alert_id

    async def ended(self, alert_id: str) -> AlertView:
        """The alert, once it has ended."""
        await until(lambda: self.alert(alert_id).disposition is not None, f"the end of alert {alert_id}")
        return self.alert(alert_id)

    async def order_in(self, alert_id: str, *statuses: str) -> Order:
        """The order of an alert, once it stands in one of these states."""

        def look() -> Order | None:
            found = [o for o in list(self.ledger.orders.values.values()) if o.intent.alert_id == alert_id]
            return next((order for order in found if order.status in statuses), None)

        order = await until(look, f"an order of {alert_id} in {statuses}")
        assert order is not None
        return order

    def alert(self, alert_id: str) -> AlertView:
        found = self.bridge.store.reads.alert(alert_id)
        assert found is not None
        return found

    def steps(self, alert_id: str) -> list[StepView]:
        return self.bridge.store.reads.steps(alert_id)

    def step_names(self, alert_id: str) -> list[str]:
        return [step.step for step in self.steps(alert_id)]

    def orders(self, alert_id: str | None = None) -> list[OrderView]:
        return self.bridge.store.reads.orders(1000, alert_id=alert_id)

    def quantity(self, symbol: str = SBIN, account: str = "paper") -> Any:
        return sum(
            p.quantity for p in self.bridge.store.reads.positions(with_flat=True)
            if (p.account, p.symbol) == (account, symbol)
        )  # fmt: skip

    async def halt(self, scope: Scope = GLOBAL, *, stop_all: bool = False, cancel: bool = False) -> None:
        await self.bridge.desk.halt(scope, stop_all=stop_all, cancel=cancel, by="test")

    async def resume(self, scope: Scope = GLOBAL) -> None:
        await self.bridge.desk.resume(scope, by="test")

    def alarms(self) -> list[str]:
        """All but those of old data, which no rig has today's of: on trading days they would join any other."""
        from bridge.core.reasons import AuditAction
        from bridge.data_watch import OLD_DATA

        found = self.bridge.store.reads.recent([AuditAction.ALARM_RAISED])
        return [step.message for step in found if step.code != OLD_DATA]

    def check_books(self) -> None:
        """The promises that hold at any moment: whole chain, everything audited, position = sum of fills."""
        key = self.bridge.vault.key("audit")
        count, fault = verify_chain(key, self.bridge.store.reads.audit_rows())
        assert fault is None, fault
        assert count > 0
        assert self.bridge.store.reads.unaudited() == []


@asynccontextmanager
async def running(bridge: WatchedBridge, clock: RunningClock) -> AsyncIterator[Rig]:
    """The bridge between start and stop."""
    rig = Rig(bridge, clock)
    await bridge.start()
    try:
        yield rig
    finally:
        await bridge.stop()


@asynccontextmanager
async def abandoned(bridge: WatchedBridge, clock: RunningClock) -> AsyncIterator[Rig]:
    """A bridge that is left lying as by a crash: nothing more of it reaches the disk that the next bridge sees.

    Its tasks are cut off and its writer is closed without the words of a proper stop.
    """
    rig = Rig(bridge, clock)
    before = asyncio.all_tasks()
    await bridge.start()
    try:
        yield rig
    finally:
        tasks = asyncio.all_tasks() - before - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bridge.store.close()
        bridge.lock.release()


def copy_of(settings: Settings, folder: Path, **values: Any) -> Settings:
    """Settings of a second bridge on a copy of the first one's files, as they lie on disk at this instant."""
    shutil.copytree(settings.data_dir, folder / "data")
    with contextlib.suppress(FileNotFoundError):
        (folder / "data" / "bridge.lock").unlink()
    same = {name: getattr(settings, name).model_dump(exclude_unset=True) for name in ("risk", "webhook")}
    accounts = {name: one.model_dump(exclude_unset=True) for name, one in settings.accounts.items()}
    strategies = {name: one.model_dump(exclude_unset=True) for name, one in settings.strategies.items()}
    return make_settings(folder, **{**same, "accounts": accounts, "strategies": strategies, **values})
