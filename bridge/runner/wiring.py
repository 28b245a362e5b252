"""The wiring of the runner: from a bridge and its settings to what a runner works with."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Protocol

from bridge.core.clock import Clock
from bridge.core.events import Changed, Event
from bridge.feed import Feed
from bridge.market.bars.store import BarStore
from bridge.market.bars.universes import open_universes
from bridge.market.calendar import Calendar
from bridge.market.instruments import Catalog
from bridge.market.lists import open_newest
from bridge.metrics import Metrics
from bridge.pipeline import Pipeline
from bridge.runner.fill import Fetch, fetch_by_command
from bridge.runner.runner import Parts, Runner
from bridge.scanner.columns import Columns
from bridge.scanning import Scanning
from bridge.settings import Settings
from bridge.store.store import Store


class Publishes(Protocol):
    """The hub of the live pages."""

    def publish(self, events: list[Event]) -> None:
        """Tell who looks."""
        ...


class HasParts(Protocol):
    """A bridge, as far as a runner needs it."""

    settings: Settings
    clock: Clock
    store: Store
    feed: Feed
    calendar: Calendar
    catalog: Catalog
    pipeline: Pipeline
    metrics: Metrics
    scans: Scanning

    @property
    def hub(self) -> Publishes:
        """Who looks at pages."""
        ...

    def on_fault(self, where: str, error: BaseException) -> None:
        """Count and log."""
        ...


def make_runner(bridge: HasParts, fresh: timedelta, fetch: Fetch | None) -> Runner:
    """A runner that works with the parts of this bridge; `fetch` brings bars of the past."""
    settings = bridge.settings

    def universe(name: str, _day: date) -> Sequence[str]:
        listing = open_newest(settings.instruments_dir(), settings.instruments_file())
        return open_universes(settings, listing, bridge.clock).record(name).symbols

    parts = Parts(
        clock=bridge.clock,
        ledger=bridge.store.ledger,
        definitions=bridge.scans.definitions,
        products={name: strategy.product for name, strategy in settings.strategies.items()},
        feed=bridge.feed,
        calendar=bridge.calendar,
        instrument=bridge.catalog.get,
        universe=universe,
        bars=BarStore(settings.bars_file()),
        columns=Columns(settings.columns_dir()),
        accept_own=bridge.pipeline.accept_own,
        fetch=fetch,
        fresh=fresh,
        metrics=bridge.metrics,
        on_fault=bridge.on_fault,
        on_change=lambda: bridge.hub.publish([Changed(what="definition")]),
    )
    return Runner(parts, bridge.scans.evaluations, bridge.scans.states)


def find_fetch(settings: Settings) -> Fetch | None:
    """How bars of the past are asked for: at the accounts whose broker has any."""
    accounts = [name for name, one in settings.accounts.items() if one.broker == "kite"]
    return fetch_by_command(accounts) if accounts else None
