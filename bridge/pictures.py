"""Pictures: what pages and API show of the accounts, put together from memory and the brokers' sessions."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from bridge.core.ledger import Ledger
from bridge.core.views import AccountView, ExternalView, HoldingView, external_view, holding_view
from bridge.execution.guard import GuardedBroker
from bridge.logins import Logins
from bridge.portfolio.book import day_pnl


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
