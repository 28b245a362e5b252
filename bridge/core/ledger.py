"""Ledger: the working set in memory, all that is open now; changed only inside a store transaction, which can undo it."""

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from bridge.core.alert import Alert
from bridge.core.clock import to_us
from bridge.core.day import Day
from bridge.core.definition import DefinitionRecord, DefinitionVersion
from bridge.core.enums import Action
from bridge.core.hold import Elsewhere, Hold
from bridge.core.ids import make_cl_ord_id
from bridge.core.login import BrokerSession
from bridge.core.market import Mark
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.protection import Protection
from bridge.core.report import BookRow, Funds, Holding
from bridge.core.scope import GLOBAL, Scope, TradingState, account_scope, strategy_scope
from bridge.core.signal import Signal
from bridge.core.token import TokenRecord
from bridge.core.trade import Trade

K = TypeVar("K")
V = TypeVar("V")

ORDER_WINDOW = timedelta(minutes=1)
# Enough for any limit a person would set; the oldest fall out first.
ORDER_TIMES_KEPT = 10_000
# Late and repeated reports mostly concern these; for older ones the table is asked.
CLOSED_ORDERS_KEPT = 1_000
_CLOSING = frozenset({Action.EXIT, Action.TARGET})


class Shelf(Generic[K, V]):
    """One kind of value by key. `name` is how the store finds its table; `volatile` shelves have none."""

    def __init__(self, name: str, *, volatile: bool = False):
        self.name = name
        self.volatile = volatile
        self.values: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, or None."""
        return self.values.get(key)

    def set(self, key: K, value: V | None) -> None:
        """Put the value in its place; None takes it away."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def fill(self, values: dict[K, V]) -> None:
        """Take these in place of all that is there; a plain shelf never shows a state in between."""
        if type(self).set is Shelf.set:
            self.values = values
            return
        for key in list(self.values):
            self.set(key, None)
        for key, value in values.items():
            self.set(key, value)


class OrderShelf(Shelf[str, Order]):
    """Orders by `cl_ord_id`, with the open ones findable by account and symbol, and all by tag.

    `unsent` holds those that wait to be sent, `sending` those whose answer is awaited, both by account.
    """

    def __init__(self) -> None:
        super().__init__("orders")
        self.unsent: defaultdict[str, dict[str, Order]] = defaultdict(dict)
        self.sending: defaultdict[str, dict[str, Order]] = defaultdict(dict)
        self.closed: deque[str] = deque()
        self.by_tag: dict[str, str] = {}
        self.open: defaultdict[str, defaultdict[str, dict[str, Order]]] = defaultdict(lambda: defaultdict(dict))

    def set(self, key: str, value: Order | None) -> None:
        """Put or take away an order and keep the indexes true."""
        old = self.values.get(key)
        shown = value or old
        if shown is None:
            return
        account = shown.intent.account
        before = None if old is None else old.status
        after = None if value is None else value.status
        if value is None:
            self.by_tag.pop(shown.tag, None)
            del self.values[key]
        else:
            self.by_tag[value.tag] = key
            self.values[key] = value
        open_now = value is not None and not value.status.is_closed
        _file(self.open[account][shown.intent.symbol], key, value if open_now else None)
        for status, index in ((OrderStatus.NEW, self.unsent), (OrderStatus.PENDING, self.sending)):
            if status is after or status is before:
                _file(index[account], key, value if status is after else None)
        if not open_now and value is not None and (old is None or not old.status.is_closed):
            self.closed.append(key)


def _file(index: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        index.pop(key, None)
    else:
        index[key] = value


class PositionShelf(Shelf[PositionKey, Position]):
    """Positions by key; flat ones stay, for what they realised. `held` finds those that are not flat, by account."""

    def __init__(self) -> None:
        super().__init__("positions")
        self.held: defaultdict[str, dict[PositionKey, Position]] = defaultdict(dict)

    def set(self, key: PositionKey, value: Position | None) -> None:
        """Put or take away a position and keep the index true."""
        super().set(key, value)
        _file(self.held[key.account], key, value if value is not None and value.quantity else None)

    def fill(self, values: dict[PositionKey, Position]) -> None:
        """Take these in place of all that is there; never shows a state in between, which would look like a difference."""
        held: defaultdict[str, dict[PositionKey, Position]] = defaultdict(dict)
        for key, position in values.items():
            if position.quantity:
                held[key.account][key] = position
        self.values, self.held = values, held


class WaitingShelf(Shelf[str, Alert]):
    """Open alerts that wait for their turn, by id; `by_symbol` finds those of one symbol."""

    def __init__(self) -> None:
        super().__init__("waiting", volatile=True)
        self.by_symbol: dict[str, dict[str, Alert]] = {}

    def set(self, key: str, value: Alert | None) -> None:
        """Put or take away an alert and keep the index true."""
        old = self.values.get(key)
        super().set(key, value)
        if value is not None:
            self.by_symbol.setdefault(value.signal.symbol, {})[key] = value
        elif old is not None:
            alerts = self.by_symbol[old.signal.symbol]
            del alerts[key]
            if not alerts:
                del self.by_symbol[old.signal.symbol]


def newest_key(signal: Signal) -> tuple[str, str, str]:
    """By what `newest` finds the exit or target that a signal of the same position may have been overtaken by."""
    return signal.strategy, signal.symbol, signal.product


class Ledger:
    """What is open now, loaded at start and kept equal to the store by every commit.

    `protections` are what rests at the broker, by position and strategy.

    `orders` also holds the latest closed ones, for late reports. `holds` names (account, symbol) pairs whose position at the
    broker differs from ours. `funds` is each broker's last word. `waiting` holds the open alerts that are not through: their
    turn has not come, the opening half of their reversal is still due, or a fault put them off. `newest` is the latest exit or
    target that was processed, by its own time, of each strategy, symbol and product. `closings` is the latest one received of
    each position, and `cancels` the latest cancel of each account, strategy and symbol, both carried out. `external` are
    orders at the broker that are not ours, by account, as last seen, `elsewhere` what they have traded, and `holdings` the
    shares there from days before;
    `told` is what has been alarmed about and need not be told again. `told_to` is the number of the latest audit record that
    each notification channel is through with. `last_fill_s` is when each account's last fill was booked, `filled_s` the same
    by account and symbol; they only ever make a broker's word count as too old, so nothing has to take them back. Monotonic,
    since a clock that is set back must not make it wait.
    """

    def __init__(self, monotonic: Callable[[], float] = lambda: 0) -> None:
        self._monotonic = monotonic
        self.alerts: Shelf[str, Alert] = Shelf("alerts")
        self.orders = OrderShelf()
        self.positions = PositionShelf()
        self.trades: Shelf[PositionKey, Trade] = Shelf("trades")
        self.protections: Shelf[tuple[PositionKey, str], Protection] = Shelf("protections")
        self.marks: Shelf[str, Mark] = Shelf("marks")
        self.states: Shelf[Scope, TradingState] = Shelf("states")
        self.days: Shelf[str, Day] = Shelf("days")
        self.holds: Shelf[tuple[str, str], Hold] = Shelf("holds")
        self.tokens: Shelf[str, TokenRecord] = Shelf("tokens")
        self.broker_sessions: Shelf[str, BrokerSession] = Shelf("broker_sessions")
        self.definitions: Shelf[str, DefinitionRecord] = Shelf("definitions")
        self.definition_versions: Shelf[tuple[str, str], DefinitionVersion] = Shelf("definition_versions")
        self.told_to: Shelf[str, int] = Shelf("told_to")
        self.waiting = WaitingShelf()
        self.newest: Shelf[tuple[str, str, str], Alert] = Shelf("newest", volatile=True)
        self.closings: Shelf[PositionKey, Alert] = Shelf("closings", volatile=True)
        self.cancels: Shelf[tuple[str, str, str], Alert] = Shelf("cancels", volatile=True)
        self.funds: Shelf[str, Funds] = Shelf("funds", volatile=True)
        self.external: Shelf[str, tuple[BookRow, ...]] = Shelf("external", volatile=True)
        self.elsewhere: Shelf[str, Elsewhere] = Shelf("elsewhere", volatile=True)
        self.holdings: Shelf[str, tuple[Holding, ...]] = Shelf("holdings", volatile=True)
        self.told: Shelf[tuple[str, ...], str] = Shelf("told", volatile=True)
        self.last_fill_s: dict[str, float] = {}
        self.filled_s: dict[tuple[str, str], float] = {}
        self._order_times: defaultdict[tuple[str, ...], deque[int]] = defaultdict(lambda: deque(maxlen=ORDER_TIMES_KEPT))

    def note_fill(self, account: str, symbol: str) -> None:
        """Remember that a fill is being booked now."""
        self.last_fill_s[account] = self.filled_s[account, symbol] = self._monotonic()

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Orders that are not closed, of an account and, when given, one symbol."""
        lanes = self.orders.open[account]
        if symbol is not None:
            return list(lanes[symbol].values()) if symbol in lanes else []
        return [order for lane in list(lanes.values()) for order in list(lane.values())]  # the writer may work meanwhile

    def position_qty(self, key: PositionKey) -> Decimal:
        """Signed units held; zero when nothing is known of the key, since positions come from our own fills alone."""
        position = self.positions.values.get(key)
        return position.quantity if position else ZERO

    def in_flight(self, key: PositionKey) -> tuple[Decimal, Decimal]:
        """Units that open orders may still buy and sell for this position, both positive."""
        buys = sells = ZERO
        for order in self.open_orders(key.account, key.symbol):
            if order.intent.product != key.product:
                continue
            if order.intent.side.sign > 0:
                buys += order.leaves_qty
            else:
                sells += order.leaves_qty
        return buys, sells

    def orders_of(self, alert: Alert) -> list[Order]:
        """The orders of an open alert, by leg and part; all of them are in memory until the alert has ended.

        Leg n is of the n-th account; beyond the accounts come, in the same order, the second halves of reversals.
        """
        legs = range(1, 2 * len(alert.signal.accounts) + 1)
        firsts = [self.orders.get(make_cl_ord_id(alert.alert_id, leg)) for leg in legs]
        return [order for first in firsts if first is not None for order in self.parts_of(first)]

    def parts_of(self, order: Order) -> list[Order]:
        """The orders that were wished as one, in order: mostly the order alone."""
        intent = order.intent
        if intent.parts == 1:
            return [order]
        ids = (make_cl_ord_id(intent.alert_id, intent.leg, part) for part in range(1, intent.parts + 1))
        return [found for cl_ord_id in ids if (found := self.orders.get(cl_ord_id)) is not None]

    def is_newest(self, alert: Alert) -> bool:
        """Whether a processed alert is the one that `newest` has to hold; only times that senders gave are compared."""
        signal = alert.signal
        if signal.action not in _CLOSING or not signal.is_timed:
            return False
        known = self.newest.values.get(newest_key(signal))
        return known is None or known.signal.signal_at <= signal.signal_at

    def closings_of(self, alert: Alert) -> list[PositionKey]:
        """The positions of which a processed alert is the exit or target that `closings` has to hold."""
        signal = alert.signal
        if signal.action not in _CLOSING:
            return []
        keys = [PositionKey(account, signal.symbol, signal.product) for account in signal.accounts]
        known = ((key, self.closings.values.get(key)) for key in keys)
        return [key for key, other in known if other is None or other.received_at <= alert.received_at]

    def restore_waiting(self) -> None:
        """Put back who waited, after everything else was loaded.

        Whether the second half of a reversal is due is not known here, so every alert counts that may have one; carrying
        it on takes away those that have none.
        """
        unsettled = {
            alert_id: alert
            for alert_id, alert in self.alerts.values.items()
            if alert.signal.action is Action.MODIFY
            or all(order.status.is_closed or order.intent.reduce_only for order in self.orders_of(alert))
        }
        self.waiting.fill(unsettled)

    def forget_closed(self, keep: int = CLOSED_ORDERS_KEPT) -> None:
        """Drop the oldest closed orders from memory beyond `keep`; those of an alert that is still open stay."""
        closed = self.orders.closed
        for _ in range(len(closed) - keep):
            key = closed.popleft()
            order = self.orders.get(key)
            if order is None or not order.status.is_closed:
                continue
            if order.intent.alert_id in self.alerts.values or order.replace is not None:
                closed.append(key)
            else:
                self.orders.set(key, None)

    def states_over(self, account: str, strategy: str) -> list[TradingState]:
        """The trading states that bear on an order, strictest first."""
        scopes = (GLOBAL, account_scope(account), strategy_scope(strategy))
        found = [state for scope in scopes if (state := self.states.values.get(scope))]
        return found if len(found) < 2 else sorted(found, key=lambda state: -state.mode.strictness)

    def count_order(self, account: str, strategy: str, symbol: str, at: datetime) -> list[deque[int]]:
        """Remember that an order was made; returns the windows it was put in, so that an undo can take it out again."""
        return self.restore_order_time(account, strategy, symbol, to_us(at))

    def restore_order_time(self, account: str, strategy: str, symbol: str, at_us: int) -> list[deque[int]]:
        """`count_order` with the time in microseconds, as it is stored."""
        keys = ((account,), (account, symbol), (account, strategy, ""), (account, strategy, symbol))
        windows = [self._order_times[key] for key in keys]
        for window in windows:
            window.append(at_us)
        return windows

    def forget_order_times(self) -> None:
        """Empty the rate windows, before they are loaded again."""
        self._order_times.clear()

    def order_times(self, account: str, now: datetime, *, strategy: str | None = None, symbol: str | None = None) -> deque[int]:
        """When orders were made in the last minute (microseconds, oldest first), by account and optionally narrower."""
        if strategy is not None:
            key: tuple[str, ...] = (account, strategy, symbol or "")
        else:
            key = (account,) if symbol is None else (account, symbol)
        window = self._order_times[key]
        horizon = to_us(now - ORDER_WINDOW)
        while window and window[0] <= horizon:
            window.popleft()
        return window
