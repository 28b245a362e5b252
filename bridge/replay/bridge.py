"""The bridge of a replay: the real one, with a virtual clock, one paper account, and a store that lives no longer than it."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.bootstrap import Bridge
from bridge.core.clock import IST
from bridge.core.dated import DatedData
from bridge.core.enums import InstrumentKind, OrdType, Product, TimeInForce
from bridge.core.instrument import Instrument
from bridge.market.calendar import Calendar
from bridge.market.instruments import Catalog
from bridge.market.listing import Listing, list_in_memory
from bridge.market.schedule import SHIPPED, Board, DayKind, Phase, Schedule, Segment, SpecialDay, Window, load_schedule
from bridge.replay.loop import VirtualClock
from bridge.settings import (
    AccountSettings,
    DatabaseSettings,
    ExchangeSettings,
    NotifySettings,
    RiskSettings,
    Settings,
    StrategySettings,
)
from bridge.store.backend import Backend

ACCOUNT = "replay"
# What nobody can say of days that have passed: it is not asked for, and the report tells so.
UNKNOWABLE = {"require_ban_list": False, "require_price_band": False}
_OPENS_S, _CLOSES_S = 33_300, 55_800
_USUAL = Window(
    phase=Phase(title="continuous trading", ord_types=frozenset(OrdType), times_in_force=frozenset(TimeInForce)),
    start_s=_OPENS_S,
    end_s=_CLOSES_S,
)
_PLAIN_TICK = Decimal("0.05")


def replay_settings(
    settings: Settings,
    folder: Path,
    *,
    strategies: Iterable[str],
    cash: Decimal,
    slippage_bps: Decimal,
    product: Product | None = None,
    no_limits: bool = False,
    charges: bool = True,
) -> Settings:
    """The settings of the machine with one paper account, whose limits are those of each strategy's own first account."""
    named = {name: settings.strategies[name] for name in strategies}
    first = settings.accounts[next(iter(named.values())).accounts[0]]
    risk = RiskSettings(profile="none") if no_limits else _known(settings.risk)
    account = AccountSettings(
        broker="paper", cash=cash, slippage_bps=slippage_bps, charges=charges, session="market", leverage=first.leverage,
        square_off=first.square_off, reconcile_s=3_600, risk=RiskSettings() if no_limits else _known(first.risk),
    )  # fmt: skip
    ours = {name: _ours(one, product, no_limits=no_limits) for name, one in named.items()}
    return settings.model_copy(
        update={
            "data_dir": folder, "database": DatabaseSettings(url=f"sqlite:///{folder}/replay.db", writer="inline"),
            "accounts": {ACCOUNT: account}, "strategies": ours, "risk": risk, "notify": NotifySettings(),
            "exchange": ExchangeSettings(),
            "freeze_quantities": None,
        }
    )  # fmt: skip


def recorded_settings(settings: Settings, folder: Path) -> Settings:
    """The settings with every account on paper, by its own name, limits, products and hours."""
    accounts = {
        name: AccountSettings(
            broker="paper",
            cash=one.cash,
            slippage_bps=one.slippage_bps,
            fill_ratio=one.fill_ratio,
            charges=one.charges,
            session=one.session,
            leverage=one.leverage,
            square_off=one.square_off,
            reconcile_s=3_600,
            risk=one.risk,
            protection_products=one.protection_products,
            protection_slippage_pct=one.protection_slippage_pct,
        )
        for name, one in settings.accounts.items()
    }
    return settings.model_copy(
        update={
            "data_dir": folder, "database": DatabaseSettings(url=f"sqlite:///{folder}/replay.db", writer="inline"),
            "accounts": accounts, "notify": NotifySettings(), "exchange": ExchangeSettings(), "freeze_quantities": None,
        }
    )  # fmt: skip


def _known(risk: RiskSettings) -> RiskSettings:
    return risk.model_copy(update={name: None for name in UNKNOWABLE if name in risk.model_fields_set})


def _ours(strategy: StrategySettings, product: Product | None, *, no_limits: bool) -> StrategySettings:
    changed: dict[str, Any] = {"accounts": (ACCOUNT,), "product": product or strategy.product}
    return strategy.model_copy(update=changed | ({"risk": RiskSettings()} if no_limits else {"risk": _known(strategy.risk)}))


def session_days(schedule: Schedule, days: Collection[date]) -> Schedule:
    """The schedule, taught by the bars: of a year that it does not know the market was open on the days that have any."""
    unknown = {day.year for day in days} - schedule.years
    shut = SpecialDay(name="no bars", kind=DayKind.CLOSED)
    first = {date(year, 1, 1): shut for year in unknown}
    found = dict(schedule.days)
    for year in unknown:
        day = date(year, 1, 1)
        while day.year == year:
            found[day, Board.CAPITAL] = first.get(day, shut)
            day = date.fromordinal(day.toordinal() + 1)
    traded = SpecialDay(name="as the bars say", kind=DayKind.HOURS, windows=(_USUAL,))
    for day in days:
        if day.year in unknown or not schedule.plan(Segment.EQUITY, day).windows:
            found[day, Board.CAPITAL] = traded
    return replace(schedule, years=schedule.years | unknown, days=found)


def plain_share(symbol: str) -> Instrument:
    """A share that no list knows (any more): one unit, five paise."""
    exchange, _, name = symbol.partition(":")
    return Instrument(
        symbol=symbol, exchange=exchange, tradingsymbol=name, name=name, kind=InstrumentKind.EQ, tick=_PLAIN_TICK,
        lot=Decimal(1),
    )  # fmt: skip


class ReplayBackend(Backend):
    """SQLite that waits for no disk: what a replay has written nobody needs after a power failure."""

    def raw(self) -> Any:
        """A driver connection that never syncs."""
        connection = super().raw()
        connection.execute("PRAGMA synchronous=OFF")
        return connection


class ReplayBridge(Bridge):
    """The bridge as it is. `listing` has the machine's instruments, `symbols` are those of the replay, `days` its days."""

    def __init__(
        self, settings: Settings, clock: VirtualClock, *, listing: Listing, symbols: Iterable[str], days: Collection[date]
    ):
        self.faults: list[str] = []
        self._listing = list_in_memory([listing.get(symbol) or plain_share(symbol) for symbol in symbols], "replay")
        self._days = days
        super().__init__(settings, clock)

    def _make_catalog(self) -> Catalog:
        return Catalog(self._listing, lambda: self.clock.now().astimezone(IST).date())

    def _look_at_data(self) -> tuple[DatedData, ...]:
        """Nothing: what lies here today says nothing of the days that are replayed."""
        return ()

    def _make_calendar(self) -> Calendar:
        return Calendar(session_days(load_schedule(self.settings.calendar or SHIPPED), self._days))

    def _make_backend(self) -> Backend:
        return ReplayBackend(self.settings.database.url)

    def on_fault(self, where: str, error: BaseException) -> None:
        """A fault of ours makes a replay worthless: it is told at the end."""
        self.faults.append(f"{where}: {type(error).__name__}: {error}")

    def _on_alarm(self, message: str) -> None:
        self.faults += [message] if "cannot be applied" in message else []
