"""Standing: how accounts and trading states stand now, as pages, API and commands show them."""

from collections.abc import Mapping
from datetime import datetime

from bridge.core.ledger import Ledger
from bridge.core.scope import TradingState
from bridge.core.views import AccountView
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
