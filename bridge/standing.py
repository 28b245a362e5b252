"""Standing: how accounts, what lies at their brokers and trading states stand now, as pages, API and commands show them."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from bridge.core.ledger import Ledger
from bridge.core.scope import TradingState
from bridge.core.views import AccountView, ExternalView, HoldingView, external_view, holding_view
from bridge.execution.gate import Gate
from bridge.execution.guard import GuardedBroker
from bridge.logins import Logins
from bridge.portfolio.book import day_pnl

UNWRITTEN = "In force, but not written down: halt again, or it ends with this process."


def modes_in_force(ledger: Ledger, gate: Gate) -> list[TradingState]:
    """Every trading state that is in force: what is written down, and halts that could not be."""
    states = dict(ledger.states.values)
    for scope, mode, since in gate.modes():
        written = states.get(scope)
        if written is None or mode.strictness > written.mode.strictness:
            states[scope] = TradingState(scope=scope, mode=mode, since=since, by="this process", message=UNWRITTEN)
    return list(states.values())


def account_views(ledger: Ledger, brokers: Mapping[str, GuardedBroker], logins: Logins, now: datetime) -> list[AccountView]:
    """Every account with its broker session and its money."""
    views = []
    for name, broker in brokers.items():
        status, funds = broker.status(), ledger.funds.get(name)
        views.append(
            AccountView(
                name=name,
                broker=broker.capabilities.name,
                is_paper=broker.capabilities.is_paper,
                connected=status.connected,
                message=status.message,
                cash=None if funds is None else funds.cash,
                available=None if funds is None else funds.available,
                equity=None if funds is None else funds.equity,
                day_pnl=day_pnl(ledger, name, now),
                login=logins.view(name),
            )
        )
    return views


def external_views(ledger: Ledger, accounts: Iterable[str]) -> list[ExternalView]:
    """Orders at the brokers that are not ours, as last seen: by account, the latest first."""
    return [external_view(name, row) for name in accounts for row in ledger.external.values.get(name, ())]


def holding_views(ledger: Ledger, accounts: Iterable[str]) -> list[HoldingView]:
    """Shares that lie at the brokers from days before, as last seen."""
    return [holding_view(name, one) for name in accounts for one in ledger.holdings.values.get(name, ())]
