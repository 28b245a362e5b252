"""The only file that names concrete classes: settings in, wired bridge out."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from bridge.ban_fetch import BanFetch
from bridge.brokers.base import Broker, LoginSession
from bridge.brokers.charges import rates_facts
from bridge.brokers.paper.adapter import PaperBroker
from bridge.brokers.paper.rows import PAPER_CODECS
from bridge.brokers.paper.shelves import PaperShelves
from bridge.brokers.paper.values import PaperPolicy
from bridge.charge_check import ChargeCheck
from bridge.core.clock import IST, Clock, SystemClock
from bridge.core.dated import DatedData
from bridge.core.enums import OutcomeKind, Product
from bridge.core.errors import ConfigError, StoreError
from bridge.core.events import Changed, Event, ProtectionDue
from bridge.core.money import ONE
from bridge.core.order_states import UNACKNOWLEDGED
from bridge.core.reasons import AuditAction
from bridge.core.scope import TradingState, account_scope
from bridge.core.views import AccountView, ExternalView, HoldingView
from bridge.data_watch import DataWatch
from bridge.desk import Desk
from bridge.execution.breaker import BreakerState
from bridge.execution.doubts import BookSteps
from bridge.execution.gate import Gate
from bridge.execution.guard import GuardedBroker, GuardNews
from bridge.execution.outbox import Lane, LaneSteps
from bridge.execution.reconcile import Reconciler
from bridge.execution.throttle import Throttle
from bridge.exit_wiring import ExitWiring
from bridge.feed import Feed, find_used
from bridge.intake.admit import Intake
from bridge.intake.verify import Verifier
from bridge.kite_wiring import KiteWiring
from bridge.log import log_event, log_fault
from bridge.logins import Logins
from bridge.margins import Margins
from bridge.market.bands import Bands
from bridge.market.calendar import Calendar, load_calendar
from bridge.market.dated import look_at_data
from bridge.market.freeze import load_freezes
from bridge.market.instruments import Catalog
from bridge.market.intraday import square_off_times
from bridge.market.keeper import ListKeeper
from bridge.market.lists import open_newest
from bridge.market.rulings import Rulings
from bridge.metrics import Metrics
from bridge.notify.dispatch import Notifier
from bridge.options import Options
from bridge.pipeline import STOPPING, AccountRules, Pipeline, StrategyRules
from bridge.risk.halt import starting_state
from bridge.scanning import Scanning
from bridge.settings import AccountSettings, Settings
from bridge.standing import account_views, external_views, holding_views, modes_in_force
from bridge.startup import check_accounts_known, check_symbols_known
from bridge.store.backend import Backend, ProcessLock
from bridge.store.paper_tables import paper_maps
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.vault import Vault, api_token
from bridge.web.live import Hub
from bridge.web.port import Postback
from bridge.withdrawals import Withdrawals, halted_entries
from bridge.worker import Worker, announce

if TYPE_CHECKING:
    from bridge.brokers.kite.adapter import KiteBroker
    from bridge.brokers.kite.stream import KiteStream
    from bridge.runner.runner import Runner

# How long a stop waits for answers that are on their way from brokers, and then for the store to write its last words.
STOP_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
# More than leave in a second.
RECENT_ORDERS = 1_000
# An entry leaves within this many times the freshness of its own time, or never.
SEND_WITHIN = 2


class Bridge(KiteWiring, ExitWiring):
    """Everything wired; nothing has happened yet until `start`."""

    def __init__(self, settings: Settings, clock: Clock | None = None):
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.lock = ProcessLock(settings.data_dir)
        self.vault = Vault(settings)
        self.api_token = api_token(settings)
        self.metrics = Metrics(self.clock.now)
        self.hub = Hub()
        self.postbacks: dict[str, Postback] = {}
        self.streams: list[KiteStream] = []
        self.paper_shelves = PaperShelves()
        self.store = self._make_store()
        self.catalog = self._make_catalog()
        self.calendar = self._make_calendar()
        self._kites: dict[str, KiteBroker] = {}  # they have limits over minutes and days
        self.sessions: dict[str, LoginSession] = {
            name: self._make_session(name, account) for name, account in settings.accounts.items() if account.broker == "kite"
        }
        self.logins = self._make_logins()
        self.rulings = self._make_rulings()
        self.feed = self._make_feed()
        self.lists = self._make_lists()
        self.data = self._make_data_watch()
        self.ban_fetch = self._make_ban_fetch()
        self.brokers: dict[str, Broker] = {
            name: self._make_broker(name, account) for name, account in settings.accounts.items()
        }
        self.throttles = {
            name: Throttle(account.orders_per_second, kite.take if (kite := self._kites.get(name)) else None)
            for name, account in settings.accounts.items()
        }
        news = GuardNews(on_breaker=self._on_breaker, on_alarm=self._alarm_of_account, on_fault=self.on_fault)
        self.guarded = {name: GuardedBroker(name, broker, self.clock, news) for name, broker in self.brokers.items()}
        self.gate = Gate()
        self.intraday_ends = square_off_times(self.calendar, {n: a.square_off_times for n, a in settings.accounts.items()})
        self.pipeline = self._make_pipeline()
        asks = {name: kite.shortage for name, kite in self._kites.items() if settings.accounts[name].margin_check}
        self.margins = Margins(self.store.ledger, asks)
        self.charge_check = self._make_charge_check()
        self.pipeline.asks_first = self.margins.is_asked
        self.reconciler = self._make_reconciler()
        self.lanes = {name: self._make_lane(name) for name in settings.accounts}
        self.square_off = self._make_square_off()
        self.withdrawals = self._make_withdrawals()
        self.protector = self._make_protector()
        self.worker = self._make_worker()
        self.notifier = self._make_notifier()
        self.desk = self._make_desk()
        self.options = Options(self.store.ledger, self.catalog, self.feed.listen, self.clock)
        self.scans = Scanning(settings, self.store, self.clock)
        self.started_at: datetime = self.clock.now()
        self._is_stopping = self._is_drained = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry = asyncio.Event()
        check_symbols_known(settings, self.catalog.get)
        self._wire_writer()
        self.metrics.backlogs = lambda: {name: lane.backlog for name, lane in self.lanes.items()}
        self.metrics.breakers = lambda: {name: broker.state for name, broker in self.guarded.items()}

    # -- wiring -------------------------------------------------------------------------------------------------------

    def _make_worker(self) -> Worker:
        return Worker(
            clock=self.clock,
            store=self.store,
            pipeline=self.pipeline,
            lanes=self.lanes,
            brokers=self.guarded,
            reconciler=self.reconciler,
            publish=self.hub.publish,
            on_fault=self.on_fault,
            on_alarm=self._on_alarm,
            on_tick=self._tick,
        )

    def _make_desk(self) -> Desk:
        return Desk(
            settings=self.settings,
            clock=self.clock,
            store=self.store,
            pipeline=self.pipeline,
            gate=self.gate,
            reconciler=self.reconciler,
            vault=self.vault,
        )

    def _make_store(self) -> Store:
        return Store(
            self.settings.database.url,
            self.vault.key("audit"),
            self.clock,
            shelves=self.paper_shelves.by_name(),
            maps=paper_maps(PAPER_CODECS),
            mode=self.settings.database.writer,
            backend=self._make_backend(),
            recent=timedelta(seconds=SEND_WITHIN * self.settings.webhook.freshness_s + self.settings.webhook.future_s),
        )

    def _make_backend(self) -> Backend:
        return Backend(self.settings.database.url)

    def _make_logins(self) -> Logins:
        minutes = self.settings.notify.login_reminder_minutes
        return Logins(
            self.sessions,
            store=self.store,
            clock=self.clock,
            hours=self.calendar.hours,
            remind_before=[timedelta(minutes=before) for before in minutes],
        )

    def _make_notifier(self) -> Notifier:
        return Notifier(
            self.settings.notify,
            page=self.settings.public_url(),
            store=self.store,
            clock=self.clock,
            on_result=self.metrics.notified,
            on_trouble=partial(self._alarm_of_account, ""),
            on_fault=self.on_fault,
        )

    def _make_feed(self) -> Feed:
        """Brokers with a stream of prices add themselves as its sources; without one it does nothing."""
        settings = self.settings
        limits = [*map(settings.account_limits, settings.accounts), *map(settings.strategy_limits, settings.strategies)]
        asked = sorted({symbol for limit in limits for symbol in limit.allowed_symbols})

        def token_of(symbol: str) -> int | None:
            return found.token if (found := self.catalog.get(symbol)) else None

        return Feed(store=self.store, token_of=token_of, on_fault=self.on_fault, asked=asked)

    def _make_rulings(self) -> Rulings:
        self.bands = Bands(clock=self.clock, used=lambda: find_used(self.store.ledger), on_fault=self.on_fault)
        use_freezes = None if self.settings.freeze_quantities else self.catalog.use_freezes
        folder, names = self.settings.exchange_dir(), self.calendar.index_names
        return Rulings(folder, names, use_freezes, self.on_fault, self.bands)

    def _make_lists(self) -> ListKeeper:
        return ListKeeper(
            folder=self.settings.instruments_dir(),
            file=self.settings.instruments_file(),
            catalog=self.catalog,
            calendar=self.calendar,
            clock=self.clock,
            on_fault=self.on_fault,
        )

    def _make_charge_check(self) -> ChargeCheck:
        notes = {name: kite.costs.charges for name, kite in self._kites.items()}
        return ChargeCheck(self.store, self.clock, notes, self.catalog.get, self.on_fault)

    def _make_ban_fetch(self) -> BanFetch:
        settings = self.settings
        return BanFetch(settings.exchange.ban_url, settings.exchange_dir(), clock=self.clock, hours=self.calendar.hours)

    def _make_data_watch(self) -> DataWatch:
        return DataWatch(
            self._look_at_data,
            store=self.store,
            clock=self.clock,
            hours=self.calendar.hours,
            on_change=partial(self.hub.publish, [Changed(what="state")]),
        )

    def _look_at_data(self) -> tuple[DatedData, ...]:
        facts, rates = self.catalog.listing.facts, rates_facts()
        return look_at_data(self.settings, calendar=self.calendar, facts=facts, rates=rates, now=self.clock.now())

    def _make_catalog(self) -> Catalog:
        """The newest list that was fetched from a broker, else the file of the settings."""
        listing = open_newest(self.settings.instruments_dir(), self.settings.instruments_file())
        freezes = load_freezes(self.settings.freeze_quantities)
        return Catalog(listing, lambda: self.clock.now().astimezone(IST).date(), freezes)

    def _make_calendar(self) -> Calendar:
        return load_calendar(self.settings.calendar)

    def _make_broker(self, name: str, account: AccountSettings) -> Broker:
        if account.broker == "venue":
            from bridge.brokers.venue.adapter import VenueBroker  # httpx loads only where an account needs it

            assert account.root is not None
            prices = self._latest_price
            return VenueBroker(name, root=account.root, token=account.token, latest_price=prices, clock=self.clock)
        if account.broker == "kite":
            return self._make_kite(name, account)
        return PaperBroker(
            name,
            cash=account.cash,
            policy=PaperPolicy(
                slippage_bps=account.slippage_bps,
                fill_ratio=account.fill_ratio,
                leverage=dict(account.leverage),
                charges=account.charges,
            ),
            store=self.store,
            shelves=self.paper_shelves,
            latest_price=self._latest_price,
            instrument=self.catalog.get,
            clock=self.clock,
        )

    def _make_pipeline(self) -> Pipeline:
        settings = self.settings
        accounts = {name: self._account_rules(name, account) for name, account in settings.accounts.items()}
        strategies = {
            name: StrategyRules(limits=settings.strategy_limits(name), quantity=strategy.quantity)
            for name, strategy in settings.strategies.items()
        }
        verifier = Verifier(settings, self.vault, self._is_revoked)
        pipeline = Pipeline(
            clock=self.clock,
            store=self.store,
            intake=Intake(settings, self.clock, verifier, self.catalog),
            accounts=accounts,
            strategies=strategies,
            instrument=self.catalog.get,
            send_within=timedelta(seconds=SEND_WITHIN * settings.webhook.freshness_s),
            multipliers=self.catalog.multipliers,
            freeze_qty=self.catalog.freeze_qty,
            ruling=self.rulings.of,
        )
        pipeline.on_fault = self.on_fault
        pipeline.on_answer = self.metrics.answered
        return pipeline

    def _account_rules(self, name: str, account: AccountSettings) -> AccountRules:
        capabilities = self.brokers[name].capabilities
        return AccountRules(
            name=name,
            is_paper=capabilities.is_paper,
            limits=self.settings.account_limits(name),
            leverage={product.value: account.leverage.get(product, ONE) for product in Product},
            session=self._session_of(name),
            throttle=self.throttles[name],
            max_in_flight=capabilities.max_in_flight,
            max_replaces=capabilities.max_replaces,
            reverses_in_one=capabilities.reverses_in_one,
            offer=capabilities.offer,
            intraday_end=self.intraday_ends.get(name, lambda _instrument, _at: None),
        )

    def _make_reconciler(self) -> Reconciler:
        return Reconciler(
            brokers=self.guarded,
            ledger=self.store.ledger,
            write=self.store.write,
            steps=BookSteps(apply_reports=self.pipeline.apply_reports, give_up=self.pipeline.give_up),
            clock=self.clock,
            on_fault=self.on_fault,
            every_s={name: account.reconcile_s for name, account in self.settings.accounts.items()},
        )

    def _make_runner(self) -> "Runner":
        from bridge.runner.wiring import find_fetch, make_runner  # numpy loads only where a definition is enabled

        fresh = SEND_WITHIN * timedelta(seconds=self.settings.webhook.freshness_s)
        return make_runner(self, fresh, find_fetch(self.settings))

    def _make_withdrawals(self) -> Withdrawals:
        searches = (halted_entries, self.square_off.unwanted)
        return Withdrawals(clock=self.clock, store=self.store, cancel=self.pipeline.cancel, searches=searches)

    def _make_lane(self, name: str) -> Lane:
        steps = LaneSteps(
            begin_send=self.pipeline.begin_send,
            apply_outcome=self.pipeline.apply_outcome,
            expire=self.pipeline.expire,
            find_order=self.store.ledger.orders.get,
            seconds_left=self.pipeline.seconds_left,
            why_not_change=self.pipeline.why_not_change,
            note_refusal=self.pipeline.note_refusal,
            in_doubt=lambda account, _cl_ord_id: self.reconciler.doubt(account),
            is_asked=self.margins.is_asked,
            shortage=self.margins.shortage,
            deny=self.pipeline.deny_unsent,
            on_send=self.metrics.order_sent,
            on_fault=self.on_fault,
        )
        return Lane(name, self.guarded[name], self.store.write, steps, self.gate, self.clock)

    def _wire_writer(self) -> None:
        self.store.writer.on_events = self._on_events
        self.store.writer.on_group = self.metrics.group_committed
        self.store.writer.on_fault = partial(self.on_fault, "store")

    def _on_events(self, events: list[Event]) -> None:
        self.worker.on_events(events)
        self.notifier.wake()
        if any(isinstance(event, ProtectionDue) for event in events):
            self.worker.run_soon(self.protector.look)

    def _is_revoked(self, token_id: str) -> bool:
        token = self.store.ledger.tokens.get(token_id)
        return token is not None and token.revoked_at is not None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up work where it was left; ConfigError or StoreError says why it cannot."""
        if not self.lock.acquire():
            raise ConfigError(
                f"another bridge is running on {self.settings.data_dir} (see {self.settings.data_dir}/bridge.lock)"
            )
        api_token(self.settings)  # made on the first run, so that whoever wants to use the API finds it
        await asyncio.to_thread(self.store.open)
        check_accounts_known(self.settings, self.store.ledger)
        await self._remember_sent()
        self.started_at = self.clock.now()
        self._loop = asyncio.get_running_loop()
        self.store.writer.bind(self._loop)
        await announce(self.store, self.clock, AuditAction.BRIDGE_STARTED, {"accounts": sorted(self.settings.accounts)})
        await self.store.write(self._set_starting_states)
        for name, broker in self.guarded.items():
            await broker.start(self.worker.take_reports)
            self.lanes[name].start()
        for stream in self.streams:
            await stream.start()
        await self.feed.start()
        await self.worker.start()
        self.scans.begin_if_due(self._make_runner)
        await self.notifier.start()
        self.lists.start()

    async def _remember_sent(self) -> None:
        """Orders of this second and minute count on, whichever process sent them. Memory has the open ones, the table all."""
        now, rows = self.clock.now(), await asyncio.to_thread(self.store.reads.orders, RECENT_ORDERS)
        sent = {view.tag: (view.account, view.sent_at) for view in rows}
        sent |= {order.tag: (order.intent.account, order.sent_at) for order in self.store.ledger.orders.values.values()}
        for tag, (account, sent_at) in sent.items():
            if sent_at is not None and account in self.throttles:
                self.throttles[account].recall(sent_at, now)
                if account in self._kites:
                    self._kites[account].count.remember(tag, sent_at, now)
        for order in self.store.ledger.orders.values.values():
            if order.status in UNACKNOWLEDGED and order.intent.account in self.throttles:
                self.throttles[order.intent.account].note_answer(order.sent_at, now, OutcomeKind.UNKNOWN)

    def _set_starting_states(self, tx: Tx) -> None:
        for name, broker in self.brokers.items():
            scope = account_scope(name)
            if tx.ledger.states.get(scope) is None:
                state = starting_state(name, live=not broker.capabilities.is_paper, at=self.clock.now())
                tx.put(tx.ledger.states, scope, state)

    def begin_stop(self) -> None:
        """At once: alerts are answered 503, and no order leaves any more. Safe in a signal handler; a halt still works."""
        if not self._is_stopping:
            self._is_stopping = True
            self.pipeline.begin_stop()
            for lane in self.lanes.values():
                lane.hold()

    def hurry(self) -> None:
        """Wait no longer for brokers' answers."""
        self._hurry.set()

    async def drain(self) -> None:
        """Let what is at brokers be answered and written down, STOP_TIMEOUT_S at most; what had not begun waits on disk.

        An order whose call is cut off stays PENDING there, and the next start looks it up.
        """
        self.begin_stop()
        if self._is_drained:
            return
        self._is_drained = True
        await self.scans.stop()
        await self.worker.stop()
        waits = [asyncio.ensure_future(self._finish_lanes()), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, timeout=STOP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        for name, lane in self.lanes.items():
            unanswered = await lane.stop()
            if unanswered:
                log_event("broker_calls_cut_off", account=name, orders=unanswered)

    async def _finish_lanes(self) -> None:
        with suppress(StoreError):
            # The commit under way when the stop began may still have let orders out; after this one the lanes know of them.
            await self.store.write(lambda _tx: None)
        await asyncio.gather(*(lane.finish() for lane in self.lanes.values()))

    async def stop(self) -> None:
        """Lay work down: what is at a broker gets a while to answer, everything is written, the rest waits on disk."""
        await self.drain()
        await self.notifier.stop()
        await self.lists.stop()
        await self.reconciler.stop()
        await self.feed.stop()
        await self.bands.stop()
        for stream in self.streams:
            await stream.stop()
        for broker in self.guarded.values():
            await broker.stop()
        self.hub.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await announce(self.store, self.clock, AuditAction.BRIDGE_STOPPED, {})
        except (StoreError, TimeoutError) as error:
            self.on_fault("store", error)
        await self.store.close()
        self.lock.release()

    # -- what others ask ----------------------------------------------------------------------------------------------

    def on_fault(self, where: str, error: BaseException) -> None:
        """Count and log a fault that was contained."""
        self.metrics.fault(where, error)
        log_fault(where, error)

    def _on_alarm(self, message: str) -> None:
        self.metrics.alarms.inc()
        log_event("alarm_raised", message=message)

    def _alarm_of_account(self, account: str, message: str) -> None:
        self.worker.raise_alarm(account, message)

    async def _tick(self) -> None:
        """What the worker does each second besides its own."""
        self.rulings.refresh()
        self.bands.tick()
        await self.data.tick()
        if self.settings.exchange.fetch_ban and self.ban_fetch.is_due():
            self.worker.run_soon(self.ban_fetch.fetch)
        self.scans.begin_if_due(self._make_runner)
        for account in self.charge_check.due():
            self.worker.run_soon(partial(self.charge_check.check, account))
        await self.withdrawals.tick()
        await self.square_off.tick()
        await self.protector.look()
        self.options.look()
        if self.sessions:
            await self.logins.tick()

    def _on_session_ended(self) -> None:
        """In any thread: show it at once, and write it down; if that fails, the worker's next tick does it."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile: the next start writes it down
                self._loop.call_soon_threadsafe(self._tell_session_ended)

    def _tell_session_ended(self) -> None:
        self.hub.publish([Changed(what="state")])
        self.worker.run_soon(self.logins.settle)

    def _on_breaker(self, account: str, state: BreakerState, message: str) -> None:
        opened = state is BreakerState.OPEN
        if opened:
            self.metrics.breaker_openings.labels(account).inc()
        log_event("breaker_opened" if opened else "breaker_closed", account=account, message=message)
        self.hub.publish([Changed(what="state")])

    def mode_now(self) -> list[TradingState]:
        """Every trading state that is in force: what is written down, and halts that could not be."""
        return modes_in_force(self.store.ledger, self.gate)

    def accounts(self) -> list[AccountView]:
        """Every account with its broker session and its money."""
        return account_views(self.store.ledger, self.guarded, self.logins, self.clock.now())

    def square_off_at(self, account: str, symbol: str) -> datetime | None:
        """When an account's intraday position in an instrument is closed today; None where that is left to the broker."""
        ends, instrument = self.intraday_ends.get(account), self.catalog.get(symbol)
        return ends(instrument, self.clock.now()) if ends is not None and instrument is not None else None

    def troubles(self) -> list[str]:
        """What stands in nobody's way and needs a person all the same, a sentence each."""
        return [*self.notifier.troubles(), *self.data.troubles()]

    def holdings(self) -> list[HoldingView]:
        """Shares that lie at the brokers from days before, as last seen."""
        return holding_views(self.store.ledger, self.settings.accounts)

    def external_orders(self) -> list[ExternalView]:
        """Orders at the brokers that are not ours, as last seen: by account, the latest first."""
        return external_views(self.store.ledger, self.settings.accounts)

    def ready(self) -> dict[str, tuple[bool, str]]:
        """By part, whether it works and what is wrong; asks the database, so call it in a worker thread."""
        parts: dict[str, tuple[bool, str]] = {}
        if self._is_stopping:
            parts["bridge"] = (False, STOPPING)
        try:
            self.store.reads.ping()
            parts["store"] = (True, "")
        except Exception as error:  # whatever the driver says, the part is not ready
            parts["store"] = (False, type(error).__name__)
        if trouble := self.store.writer.trouble:  # what can be read can still be full
            parts["store"] = (False, trouble)
        for name, broker in self.guarded.items():
            status = broker.status()
            parts[f"broker {name}"] = (status.connected, status.message)
        if trouble := self.lists.trouble():
            parts["instruments"] = (False, trouble)
        return parts
