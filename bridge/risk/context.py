"""What the rules judge: one intent, and the usage of the scopes that it falls under."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import Side
from bridge.core.errors import InvariantError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.limits import Limits
from bridge.core.market import NO_RULING, Ruling, SessionState
from bridge.core.money import ZERO
from bridge.core.offer import PLAIN, Offer
from bridge.core.order import Order
from bridge.core.scope import account_scope, strategy_scope
from bridge.core.signal import OrderIntent
from bridge.risk.usage import Book, key_of, open_book, reach, worst_price


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskContext:
    """All that a decision rests on; the rules read nothing else.

    `leverage` is rupees of order per rupee of buying power, for the intent's product. `max_age_s` is how old a signal
    may be when it is judged. `multipliers` names the instruments whose multiplier is not 1: an order under way in
    another instrument does not say its own. `offer` is what the account's broker takes. `intraday_end` is when MIS positions
    in the intent's instrument are closed for the day, None when the bridge does not do that. `replaced` is a working
    order whose place the intent would take: the intent is for what it has left to fill, and the order itself does not count.
    `ruling` is what the exchange has ruled for the instrument today.
    """

    intent: OrderIntent
    instrument: Instrument
    ledger: Ledger
    now: datetime
    session: SessionState
    account_limits: Limits
    strategy_limits: Limits
    leverage: Decimal
    max_age_s: int
    multipliers: Mapping[str, Decimal] = field(default_factory=dict)
    offer: Offer = PLAIN
    intraday_end: datetime | None = None
    replaced: Order | None = None
    ruling: Ruling = NO_RULING


class Case:
    """A context with what several rules need of it, reckoned once. `price` is the dearest a unit may cost, if known."""

    __slots__ = ("_reach", "account", "ctx", "instrument", "intent", "key", "ledger", "price", "strategy")

    def __init__(self, ctx: RiskContext):
        intent = ctx.intent
        self.ctx = ctx
        self.intent = intent
        self.instrument = ctx.instrument
        self.ledger = ctx.ledger
        self.key = key_of(intent)
        self.price = worst_price(intent, ctx.ledger.marks.values.get(intent.symbol))
        self.account = Scoped(self, ctx.account_limits, None)
        self.strategy = Scoped(self, ctx.strategy_limits, intent.strategy)
        self._reach: Decimal | None = None

    @property
    def reach(self) -> Decimal:
        """Where all open orders of the intent's side lead (see `usage.reach`), this intent not among them."""
        if self._reach is None:
            replaced = self.ctx.replaced
            self._reach = reach(self.ledger, self.key, self.intent.side) - (replaced.leaves_qty if replaced else ZERO)
        return self._reach

    @property
    def closable(self) -> Decimal:
        """Units the intent may close."""
        return max(ZERO, -self.reach)

    @property
    def order_qty(self) -> Decimal:
        """Units of the whole order, with those that were filled before it is changed."""
        replaced = self.ctx.replaced
        return self.intent.order_qty + (replaced.cum_qty if replaced else ZERO)

    @property
    def value(self) -> Decimal:
        """Rupees the whole order is worth at its dearest price; asked only after `price_known`."""
        if self.price is None:
            raise InvariantError("an order without a price was valued")
        return self.order_qty * self.price * self.instrument.multiplier


class Scoped:
    """The case under the limits of one scope: the account, or one strategy's own usage in it."""

    __slots__ = ("_book", "case", "limits", "strategy")

    def __init__(self, case: Case, limits: Limits, strategy: str | None):
        self.case = case
        self.limits = limits
        self.strategy = strategy
        self._book: Book | None = None

    @property
    def name(self) -> str:
        """The scope as people read it: 'account paper', 'strategy demo'."""
        return str(account_scope(self.case.intent.account) if self.strategy is None else strategy_scope(self.strategy))

    @property
    def book(self) -> Book:
        """What this scope holds and has under way, the intent included."""
        if self._book is None:
            ctx = self.case.ctx
            self._book = open_book(
                ctx.ledger,
                ctx.intent,
                multiplier=ctx.instrument.multiplier,
                multipliers=ctx.multipliers,
                strategy=self.strategy,
                replaced=ctx.replaced,
            )
        return self._book

    def reach(self) -> Decimal:
        """Where all orders of this side lead, counting this scope's own position and orders only."""
        if self.strategy is None:
            return self.case.reach
        ledger, intent = self.case.ledger, self.case.intent
        position = ledger.positions.values.get(self.case.key)
        held = position.by_strategy.get(self.strategy, ZERO) if position else ZERO
        total = held if intent.side is Side.BUY else -held
        for order in ledger.open_orders(intent.account, intent.symbol):
            other = order.intent
            is_own = other.strategy == self.strategy and order is not self.case.ctx.replaced
            if is_own and other.product == intent.product and other.side is intent.side:
                total += order.leaves_qty
        return total

    def order_times(self, symbol: str | None = None) -> deque[int]:
        """When this scope made orders in the last minute, in all or in one instrument."""
        ctx = self.case.ctx
        return ctx.ledger.order_times(ctx.intent.account, ctx.now, strategy=self.strategy, symbol=symbol)
