"""The world around the bridge: power, disk and clock, operators, the storm and the quiet after it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bridge.bootstrap import Bridge
from bridge.brokers.base import Broker
from bridge.core.enums import TradingMode
from bridge.core.errors import BridgeError
from bridge.core.order_states import OrderStatus
from bridge.core.protection import ProtectionStatus
from bridge.core.report import Report
from bridge.core.scope import GLOBAL, Scope, account_scope, strategy_scope
from bridge.execution.breaker import BreakerState
from bridge.settings import AccountSettings, Settings
from bridge.store.store import Store
from tests.simulation import plan as plans
from tests.simulation.broker import SimBroker
from tests.simulation.chance import Chance
from tests.simulation.disk import Disk, SimStore
from tests.simulation.loop import Life, SimLoop
from tests.simulation.market import Market
from tests.simulation.plan import ACCOUNTS, STRATEGIES, SYMBOLS, Plan, PlannedAlert
from tests.simulation.senders import Senders
from tests.simulation.watch import Watch
from tests.support.rigs import make_settings, write_freezes

# After the storm: until the bridge is up again, until all has ended, and until one more alert has.
START_S, QUIET_S, PROBE_S = 60.0, 500.0, 90.0
UNDONE = (ProtectionStatus.WANTED, ProtectionStatus.CLOSING)
AT_VENUE = (OrderStatus.PLACED, OrderStatus.PARTIAL)
# Below most quantities of the plans: orders in the second symbol are sent in parts.
FREEZE = 3
SECRET_KEY = "c2ltdWxhdGlvbi1vbmx5LW5vLXJlYWwtc2VjcmV0LS0="
Command = Callable[["SimBridge"], Coroutine[Any, Any, Any]]


class WaitedInVainError(Exception):
    """Something that had to come did not."""


class SimClock:
    """Wall time that can be set wrong, and monotonic time that cannot."""

    def __init__(self, sim: SimLoop, starts_at: datetime) -> None:
        self._sim = sim
        self._starts_at = starts_at
        self.skew_s = 0.0

    def now(self) -> datetime:
        return self.true_now() + timedelta(seconds=self.skew_s)

    def true_now(self) -> datetime:
        return self._starts_at + timedelta(microseconds=round(self._sim.time() * 1_000_000))

    def monotonic(self) -> float:
        return self._sim.time()


class SimBridge(Bridge):
    """The bridge as it is, on the world's disk and venues."""

    def __init__(self, world: "World", disk: Disk) -> None:
        self._world = world
        self._disk = disk
        self.sims: dict[str, SimBroker] = {}
        super().__init__(world.settings, world.clock)

    def _make_store(self) -> Store:
        return SimStore(self.settings.database.url, self.vault.key("audit"), self.clock, self._disk, self._world.chance_disk)

    def _make_broker(self, name: str, account: AccountSettings) -> Broker:
        self.sims[name] = SimBroker(self._world, self._world.market.venues[name])
        return self.sims[name]

    def on_fault(self, where: str, error: BaseException) -> None:
        self.metrics.fault(where, error)
        self._world.fault(where, error)

    def _on_alarm(self, message: str) -> None:
        self._world.tell(f"alarm {message}")

    def _on_breaker(self, account: str, state: BreakerState, message: str) -> None:
        self._world.tell(f"breaker {account} {state} {message}")


@dataclass(slots=True)
class Running:
    """A life of the bridge, what it runs on, and whether it answers yet."""

    life: Life
    bridge: SimBridge
    disk: Disk
    listens: bool = False
    ended: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class World:
    """Tells one plan. `journal` is what happened, `broken` the first promise that fell."""

    def __init__(self, plan: Plan, folder: Path, sim: SimLoop) -> None:
        self.plan = plan
        self.sim = sim
        self.folder = folder
        self.clock = SimClock(sim, plan.starts_at)
        self.settings = _settings(plan, folder)
        self.chance_broker, self.chance_disk, chance_market, chance_sender = self.chances = tuple(
            Chance(f"{plan.seed}:{purpose}", plan.rates, plan.ranges) for purpose in ("broker", "disk", "market", "sender")
        )
        self.journal: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.broken: str | None = None
        self.watch = Watch(plan, self.break_promise)
        self.market = Market(sim, self.clock.true_now, chance_market, self.watch, self.tell)
        self.market.streams = self._stream
        self.senders = Senders(self, chance_sender)
        self.lives = 0
        self.crashes = 0
        self.running: Running | None = None
        self.is_calm = False
        self.clock_went_back = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._store_back_at = 0.0

    # -- telling ------------------------------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        self.journal.append(f"{self.sim.time():10.4f} {text}")

    def fault(self, where: str, error: BaseException) -> None:
        """A fault that the bridge contained and told of."""
        self.tell(f"fault {where} {type(error).__name__}: {error}"[:200])
        self.faults.append((where, error))

    def break_promise(self, what: str) -> None:
        self.tell(f"BROKEN {what}")
        if self.broken is None:
            self.broken = what

    # -- lives --------------------------------------------------------------------------------------------------------

    async def tell_story(self) -> None:
        """The storm, the quiet after it, and a proper stop."""
        for alert in self.plan.alerts:
            self.sim.later(alert.at_s, self.senders.fire, alert)
        for event in self.plan.events:
            self.sim.later(event.at_s, self._happen, event)
        supervisor = self.sim.create_task(self._keep_alive(), context=self.sim.world)
        try:
            await asyncio.sleep(self.plan.storm_s)
            await self._calm_down()
            await self._settle()
        finally:
            supervisor.cancel()
        await self._stop()

    async def _keep_alive(self) -> None:
        """Start the bridge again whenever it is gone, as the system's supervisor does."""
        while True:
            running = self.running = self._new_life()
            starting = running.life.spawn(running.bridge.start())
            await asyncio.wait((starting, running.ended), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not running.ended.done():
                await self._live(running, starting.exception())
            await asyncio.sleep(max(0.05, self.chance_disk.between("down_s")))

    async def _live(self, running: Running, error: BaseException | None) -> None:
        if error is None:
            self.tell("listening")
            running.listens = True
            await running.ended
            return
        self.tell(f"start failed: {type(error).__name__}")
        if not isinstance(error, BridgeError):
            self.fault("start", error)
        running.life.die()

    def _new_life(self) -> Running:
        number = self.lives
        self.lives += 1
        steps = self.plan.lives[number] if number < len(self.plan.lives) and not self.is_calm else 0
        life = Life(number, steps or None)
        disk = Disk(self.chance_disk, self.sim.time, life.die, self.tell)
        disk.away_until = self._store_back_at
        self.tell(f"life {number}")
        running = Running(life, life.run(SimBridge, self, disk), disk)
        life.on_death = partial(self._on_death, running)
        return running

    def _on_death(self, running: Running) -> None:
        self.tell(f"life {running.life.number} ends")
        self.crashes += 1
        running.listens = False
        running.disk.cut()
        running.bridge.lock.release()
        running.bridge.store.backend.engine.dispose()
        if not running.ended.done():
            running.ended.set_result(None)

    def current(self) -> Running:
        """The life that is on, or was last."""
        assert self.running is not None
        return self.running

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run something as a part of the life that is on."""
        return self.current().life.spawn(work)

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something as a part of the world."""
        self._tasks.append(self.sim.create_task(work, context=self.sim.world))

    def _stream(self) -> Callable[[str, Report], None]:
        """Brings reports to the life that is on now, for as long as it lives."""
        running = self.running

        def bring(account: str, report: Report) -> None:
            if running is not None and running is self.running and not running.life.dead:
                running.life.run(running.bridge.sims[account].deliver, report)

        return bring

    async def _stop(self) -> None:
        """A proper stop, unless the power fails meanwhile."""
        running = self.current()
        if not running.listens:
            return
        running.listens = False
        self.tell("stopping")
        stopping = running.life.spawn(running.bridge.stop())
        await asyncio.wait((stopping, running.ended), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() and (error := stopping.exception()) is not None:
            self.fault("stop", error)
        if not running.ended.done():
            self.crashes -= 1
            running.life.die()

    def check_itself(self) -> None:
        """A fault of the world's own must not pass for a promise that held."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self.break_promise(f"simulation {error!r}")

    # -- the storm ----------------------------------------------------------------------------------------------------

    def _happen(self, event: plans.Event) -> None:
        if self.is_calm:
            return
        self.tell(f"event {event.kind} {event.where} {event.value:.1f}")
        acts: dict[str, Callable[[plans.Event], None]] = {
            plans.HALT: self._halt,
            plans.HALT_ALL: self._halt,
            plans.RESUME: self._resume,
            plans.STOP: lambda _event: self.begin(self._stop()),
            plans.CRASH: lambda _event: self.current().life.die(),
            plans.SESSION: lambda event: self.market.lose_session(event.where, event.value),
            plans.VENUE_RESTART: lambda event: self.market.restart(event.where, event.value),
            plans.STORE_AWAY: self._take_store,
            plans.CLOCK: self._set_clock,
            plans.HAND: lambda event: self.market.trade_by_hand(event.where, int(event.value)),
            plans.RECONCILE: lambda _event: self._order(lambda bridge: bridge.desk.reconcile(by="sim")),
        }
        acts[event.kind](event)

    def _order(self, command: Command, then: Callable[[], None] = lambda: None) -> None:
        """An operator's command; `then` is called when it is answered, if it is."""
        if self.current().listens:
            self.begin(self._ask(command, then))

    async def _ask(self, command: Command, then: Callable[[], None]) -> None:
        running = self.current()
        task = running.life.spawn(command(running.bridge))
        await asyncio.wait((task, running.ended), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return
        error = task.exception()
        if error is None:
            then()
        elif not isinstance(error, BridgeError):
            self.fault("command", error)

    def _halt(self, event: plans.Event) -> None:
        scope, stop_all = _scope(event.where), event.kind == plans.HALT_ALL
        mode = TradingMode.HALTED if stop_all else TradingMode.REDUCING
        self.watch.halt_asked(scope)
        self._order(
            lambda bridge: bridge.desk.halt(scope, stop_all=stop_all, cancel=bool(event.value), by="sim"),
            lambda: self.watch.halt_acknowledged(scope, mode),
        )

    def _resume(self, event: plans.Event) -> None:
        if self.current().listens:
            self.watch.resume_asked(_scope(event.where))
            self._order(lambda bridge: bridge.desk.resume(_scope(event.where), by="sim"))

    def _take_store(self, event: plans.Event) -> None:
        self._store_back_at = self.sim.time() + event.value
        self.current().disk.away_until = self._store_back_at

    def _set_clock(self, event: plans.Event) -> None:
        self.clock_went_back = self.clock_went_back or event.value < 0
        self.clock.skew_s += event.value

    # -- the quiet ----------------------------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """No more faults, the clock is right, everybody is back, and halts are over."""
        self.tell("calm")
        self.is_calm = True
        for chance in self.chances:
            chance.calm = True
        self.clock_went_back = self.clock_went_back or self.clock.skew_s > 0
        self.clock.skew_s = self._store_back_at = 0.0
        self.market.calm_down()
        self.current().life.steps_left = None
        self.current().disk.away_until = 0.0
        await self._until(lambda: self.current().listens, START_S, "the bridge to start")
        for scope in (GLOBAL, *map(account_scope, ACCOUNTS), *map(strategy_scope, STRATEGIES)):
            self.watch.resume_asked(scope)
            await self.current().life.spawn(self.current().bridge.desk.resume(scope, by="sim"))

    async def _settle(self) -> None:
        """Cancel what rests; then every alert has to end, and one more has to go through."""
        await asyncio.sleep(60)
        self.market.unstick()
        orders = self.current().bridge.store.ledger.orders.values.values()
        working = (*AT_VENUE, OrderStatus.REPLACE_PENDING)
        resting = sorted({(o.intent.strategy, o.intent.symbol) for o in orders if o.is_resting and o.status in working})
        for strategy, symbol in resting:
            self._fire(strategy, symbol, action="cancel", n="end")
        try:
            await self._until(self._is_quiet, QUIET_S, "quiet")
        except WaitedInVainError:
            self.break_promise(f"P3 {self._open_ones()} did not end")
            return
        await asyncio.sleep(61)  # the rate windows are empty again, and the books have been compared
        for strategy in STRATEGIES:
            self._fire(strategy, SYMBOLS[-1], action="buy", quantity="1", price="100", n="probe")
        try:
            await self._until(self._is_quiet, PROBE_S, "the last alert")
        except WaitedInVainError:
            self.break_promise(f"liveness: {self._open_ones()} in a healthy lane")

    def _fire(self, strategy: str, symbol: str, **fields: str) -> None:
        self.senders.fire(PlannedAlert(at_s=0, fields={"strategy": strategy, "symbol": symbol, **fields}))

    def _is_quiet(self) -> bool:
        """Every delivery is answered, every alert and every order has ended, or rests to protect and has told its fills."""
        ledger = self.current().bridge.store.ledger
        orders = ledger.orders.values.values()
        is_answered = all(task.done() for task in self._tasks)
        has_ended = all(o.status.is_closed or (o.is_protection and o.status in AT_VENUE) for o in orders)
        return is_answered and not ledger.alerts.values and has_ended and not self._loose_ends() and not self._untold()

    def _loose_ends(self) -> list[str]:
        """Positions that are to be protected or closed and are not, and what the end of the day has left; not where a person
        traded.
        """
        ledger = self.current().bridge.store.ledger
        open_keys = [one.key for one in ledger.protections.values.values() if one.status in UNDONE]
        if self.plan.squares_off:
            open_keys += [key for key in ledger.positions.values if ledger.position_qty(key)]
        venues = self.market.venues
        return [f"{key.account} {key.symbol}" for key in open_keys if key.symbol not in venues[key.account].by_hand]

    def _untold(self) -> list[str]:
        """Protections of which the venue has filled more than it has told yet."""
        told = {o.tag: o.cum_qty for o in self.current().bridge.store.ledger.orders.values.values() if o.is_protection}
        rows = [row for venue in self.market.venues.values() for row in venue.rows if row.tag in told]
        return [f"{row.tag} fills" for row in rows if row.cum_qty > told[row.tag]]

    def _open_ones(self) -> str:
        ledger = self.current().bridge.store.ledger
        orders = [f"{o.tag} {o.status}" for o in ledger.orders.values.values() if not o.status.is_closed]
        return (
            f"{len(ledger.alerts.values)} alerts ({', '.join(orders + self._loose_ends() + self._untold()) or 'no order open'})"
        )

    async def _until(self, what: Callable[[], bool], limit_s: float, told: str) -> None:
        await asyncio.sleep(0.5)
        ends = self.sim.time() + limit_s
        while not what():
            if self.sim.time() > ends:
                raise WaitedInVainError(f"waited {limit_s} s in vain for {told}")
            await asyncio.sleep(0.5)


def _scope(text: str) -> Scope:
    kind, _, name = text.partition(":")
    return {"account": account_scope, "strategy": strategy_scope}[kind](name) if name else GLOBAL


_ENDLESS = {"broker": "paper", "session": "always"}
_ENDING = {"broker": "paper", "session": "market", "square_off": {"equity": "12:01"}}


def _settings(plan: Plan, folder: Path) -> Settings:
    return make_settings(
        folder,
        secret_key=SECRET_KEY,
        api={"token": "simulation-only-token"},
        accounts=dict.fromkeys(ACCOUNTS, _ENDING if plan.squares_off else _ENDLESS),
        strategies={"alpha": {"accounts": ["one"]}, "beta": {"accounts": ["one", "two"]}},
        freeze_quantities=write_freezes(folder, {"INFOSYS": FREEZE}),
        risk={
            "profile": "none",
            "max_position_qty": plan.max_position_qty,
            "max_exposure": plan.max_exposure,
            "max_orders_per_minute": plan.max_orders_per_minute,
        },
    )
