"""Books: what a definition's strategy holds at each of its accounts, what is on its way in, and what on its way out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import Action, Product
from bridge.core.ledger import Ledger
from bridge.core.money import ONE, ZERO
from bridge.core.position import PositionKey
from bridge.core.trade import Trade
from bridge.core.values import evolve
from bridge.raising import Extremes, holdings_of
from bridge.risk.turns import ends_soon
from bridge.scanner.decide import Holding
from bridge.scanner.definition import Definition

_ENTRIES = {Action.BUY: ONE, Action.SELL: -ONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A definition that is enabled, and where its signals go. What was due before `since` is not made up for."""

    definition: Definition
    accounts: tuple[str, ...]
    product: Product
    since: datetime


def holdings_at(ledger: Ledger, member: Member, accounts: Sequence[str], extremes: Extremes) -> dict[str, Holding]:
    """What it holds at these accounts together, by symbol: the price is that of the first that holds any.

    An entry under way is held, at no price yet: else the next bar would wish it again. What every account that holds it is
    already closing is `leaving`.
    """
    held = holdings_of(ledger, member.definition, accounts, member.product, extremes)
    coming = {symbol: _under_way(units) for symbol, units in _entries_under_way(ledger, member, accounts).items()}
    left = {
        symbol: evolve(holding, is_leaving=True)
        for symbol, holding in held.items()
        if all(is_leaving(ledger, member, one, symbol) for one in accounts if units_of(ledger, member, one, symbol))
    }
    # An entry that waits for the exit before it is what will be held.
    return {**coming, **held, **left, **{symbol: coming[symbol] for symbol in left if symbol in coming}}


def units_of(ledger: Ledger, member: Member, account: str, symbol: str) -> Decimal:
    """Signed units that it holds at one account, of a position that others may share."""
    position = ledger.positions.values.get(PositionKey(account, symbol, member.product.value))
    return position.by_strategy.get(member.definition.strategy, ZERO) if position is not None else ZERO


def wanted_units(ledger: Ledger, member: Member, account: str, symbol: str) -> Decimal:
    """Signed units that it holds at one account; of an entry of which nothing has been filled, those that it asks for."""
    return units_of(ledger, member, account, symbol) or _entries_under_way(ledger, member, (account,)).get(symbol, ZERO)


def is_leaving(ledger: Ledger, member: Member, account: str, symbol: str) -> bool:
    """True while an exit of its own waits for its turn or works at the broker; false again once that has failed."""
    strategy, product = member.definition.strategy, member.product
    for alert in list(ledger.waiting.by_symbol.get(symbol, {}).values()):
        signal = alert.signal
        mine = (signal.strategy, signal.product) == (strategy, product) and account in signal.accounts
        if mine and signal.action is Action.EXIT:
            return True
    for order in ledger.open_orders(account, symbol):
        intent = order.intent
        if intent.reduce_only and (intent.strategy, intent.product) == (strategy, product) and ends_soon(order):
            return True
    return False


def trade_of(ledger: Ledger, member: Member, account: str, symbol: str) -> Trade | None:
    """The round trip by which the definition's strategy holds a symbol at one account."""
    return ledger.trades.get(PositionKey(account, symbol, member.product.value))


def opened_times(ledger: Ledger, members: Sequence[Member], symbols: Sequence[str]) -> set[tuple[str, datetime]]:
    """Each symbol that is held with the time since when it is."""
    found = set()
    for member in members:
        for account in member.accounts:
            for symbol in symbols:
                trade = trade_of(ledger, member, account, symbol)
                if trade is not None:
                    found.add((symbol, trade.opened_at))
    return found


def _entries_under_way(ledger: Ledger, member: Member, accounts: Sequence[str]) -> dict[str, Decimal]:
    """Signed units of the strategy's entries that wait for their turn, for a broker or for a fill."""
    strategy, product, found = member.definition.strategy, member.product, dict[str, Decimal]()
    for alert in list(ledger.waiting.values.values()):
        signal = alert.signal
        mine = (signal.strategy, signal.product) == (strategy, product) and not set(accounts).isdisjoint(signal.accounts)
        if mine and signal.action in _ENTRIES:
            found[signal.symbol] = _ENTRIES[signal.action] * (signal.quantity or ONE)
    for order in [order for account in accounts for order in ledger.open_orders(account)]:
        intent = order.intent
        if not intent.reduce_only and (intent.strategy, intent.product) == (strategy, product):
            found[intent.symbol] = intent.side.sign * order.leaves_qty
    return {symbol: units for symbol, units in found.items() if units}


def _under_way(units: Decimal) -> Holding:
    """At no price yet, which no stop judges."""
    return Holding(quantity=units, entry_px=math.nan)
