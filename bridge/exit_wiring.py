"""The wiring of what closes positions by itself: the square-off, protections, and exits where one was passed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime

from bridge.brokers.base import Broker
from bridge.core.clock import Clock
from bridge.core.instrument import Instrument
from bridge.core.market import SessionQuestion, SessionState, never_closed
from bridge.execution.guard import GuardedBroker
from bridge.market.calendar import Calendar
from bridge.market.instruments import Catalog
from bridge.passed import PassedExits
from bridge.pipeline import Pipeline
from bridge.protecting import Protector
from bridge.settings import Settings
from bridge.square_off import SquareOff
from bridge.store.store import Store


class ExitWiring(ABC):
    """What a bridge is wired of to close positions; the rest of the bridge is named here and made elsewhere."""

    settings: Settings
    clock: Clock
    store: Store
    catalog: Catalog
    calendar: Calendar
    pipeline: Pipeline
    brokers: dict[str, Broker]
    guarded: dict[str, GuardedBroker]
    intraday_ends: Mapping[str, Callable[[Instrument, datetime], datetime | None]]

    @abstractmethod
    def _alarm_of_account(self, account: str, message: str) -> None: ...

    def _make_square_off(self) -> SquareOff:
        return SquareOff(
            ends=self.intraday_ends,
            strategies=self.settings.strategies,
            clock=self.clock,
            store=self.store,
            pipeline=self.pipeline,
            instrument=self.catalog.get,
            session=self.calendar.session,
            brokers=self.guarded,
            raise_alarm=self._alarm_of_account,
        )

    def _make_protector(self) -> Protector:
        passed = PassedExits(
            store=self.store,
            clock=self.clock,
            accept_own=self.pipeline.accept_own,
            strategies=self.settings.strategies,
            instrument=self.catalog.get,
            sessions={name: self._session_of(name) for name in self.settings.accounts},
            brokers=self.guarded,
            raise_alarm=self._alarm_of_account,
        )
        return Protector(self.store, self.clock, self.catalog, self.settings.accounts, passed.look)

    def _session_of(self, name: str) -> Callable[[SessionQuestion], SessionState]:
        is_always = self.brokers[name].capabilities.is_paper and self.settings.accounts[name].session == "always"
        return never_closed if is_always else self.calendar.session
