"""Startup: what must be so before a bridge may work; ConfigError names what is not."""

from collections.abc import Callable

from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.settings import Settings


def check_symbols_known(settings: Settings, instrument: Callable[[str], Instrument | None]) -> None:
    """A list of allowed symbols that names none of ours would silently allow nothing."""
    limits = {f"accounts.{name}.risk": settings.account_limits(name) for name in settings.accounts}
    limits |= {f"strategies.{name}.risk": settings.strategy_limits(name) for name in settings.strategies}
    for where, limit in limits.items():
        for symbol in sorted(limit.allowed_symbols):
            if instrument(symbol) is None:
                raise ConfigError(f"{where}.allowed_symbols: {symbol!r} is not in the list of instruments")


def check_accounts_known(settings: Settings, ledger: Ledger) -> None:
    """Orders and positions of an account that is no longer in the settings would be followed by nobody."""
    holding = {key.account for key, position in ledger.positions.values.items() if position.quantity}
    working = {order.intent.account for order in ledger.orders.values.values() if not order.status.is_closed}
    for name in sorted((holding | working) - set(settings.accounts)):
        raise ConfigError(f"accounts.{name}: has open orders or positions and is not in the settings; put it back")
