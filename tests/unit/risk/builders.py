"""What the tests of risk are made of: one account, one strategy, one share at 100 rupees, and short ways to change them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.core.clock import market_day
from bridge.core.day import Day
from bridge.core.decision import Approved, Decision, Denied
from bridge.core.enums import Action, InstrumentKind, OrdType, Product, Side, TimeInForce, TradingMode
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.limits import OFF, Limits
from bridge.core.market import ALWAYS_OPEN, Mark
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.reasons import Reason
from bridge.core.report import Funds
from bridge.core.scope import Scope, TradingState
from bridge.core.signal import OrderIntent, Signal
from bridge.risk.engine import RiskContext, check_risk
from bridge.risk.sizing import size_signal
from bridge.risk.wishes import Sized

D = Decimal  # short, for tables of numbers

NOW = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
ACCOUNT, STRATEGY, SYMBOL, OTHER = "paper", "demo", "NSE:SBIN", "NSE:INFY"
PRICE = D(100)


def make_instrument(symbol: str = SYMBOL, **changes: Any) -> Instrument:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "exchange": "NSE",
        "tradingsymbol": symbol.split(":")[1],
        "name": symbol,
        "kind": InstrumentKind.EQ,
        "tick": D("0.05"),
        "lot": D(1),
    }
    return Instrument(**{**fields, **changes})


def make_intent(qty: int | str = 10, side: Side = Side.BUY, **changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "alert_id": "A",
        "leg": 1,
        "account": ACCOUNT,
        "strategy": STRATEGY,
        "symbol": SYMBOL,
        "product": Product.MIS,
        "side": side,
        "order_qty": D(qty),
        "ord_type": OrdType.MARKET,
        "time_in_force": TimeInForce.DAY,
        "price": None,
        "trigger_price": None,
        "reduce_only": False,
        "signal_at": NOW,
        "received_at": NOW,
    }
    return OrderIntent(**{**fields, **changes})


def make_signal(action: Action, **changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "strategy": STRATEGY,
        "symbol": SYMBOL,
        "action": action,
        "accounts": (ACCOUNT,),
        "product": Product.MIS,
        "signal_at": NOW,
    }
    return Signal(**{**fields, **changes})


class World:
    """A ledger with every input there, so that a test takes away or changes only what it is about."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        for symbol in (SYMBOL, OTHER):
            self.mark(symbol, PRICE)
        self.funds(1_000_000)
        self.day()
        self._orders = 0

    def mark(self, symbol: str = SYMBOL, price: D | int | str | None = PRICE, *, age_s: int = 0) -> "World":
        at = NOW - timedelta(seconds=age_s)
        mark = None if price is None else Mark(symbol=symbol, price=D(price), at=at, source="feed")
        self.ledger.marks.set(symbol, mark)
        return self

    def funds(self, available: int | str | None) -> "World":
        word = None if available is None else D(available)
        funds = None if word is None else Funds(account=ACCOUNT, equity=word, available=word, at=NOW)
        self.ledger.funds.set(ACCOUNT, funds)
        return self

    def day(self, **changes: Any) -> "World":
        fields: dict[str, Any] = {"account": ACCOUNT, "day": market_day(NOW), "opening_equity": D(1_000_000)}
        self.ledger.days.set(ACCOUNT, Day(**{**fields, **changes}))
        return self

    def hold(
        self,
        qty: int | str,
        *,
        symbol: str = SYMBOL,
        product: Product = Product.MIS,
        account: str = ACCOUNT,
        avg: D | int | str = PRICE,
        shares: Mapping[str, D] | None = None,
        multiplier: int = 1,
    ) -> "World":
        key = PositionKey(account, symbol, product)
        position = Position(
            key=key,
            multiplier=D(multiplier),
            quantity=D(qty),
            cost=D(qty) * D(avg),
            by_strategy={STRATEGY: D(qty)} if shares is None else shares,
        )
        self.ledger.positions.set(key, position)
        return self

    def order(self, intent: OrderIntent, *, filled: int | str = 0, status: OrderStatus = OrderStatus.PLACED) -> Order:
        self._orders += 1
        name = f"O{self._orders}"
        order = Order(
            cl_ord_id=name,
            tag=name,
            intent=intent,
            status=status,
            created_at=NOW,
            updated_at=NOW,
            cum_qty=D(filled),
        )
        self.ledger.orders.set(name, order)
        return order

    def made(self, seconds_ago: int | str, *, symbol: str = SYMBOL, strategy: str = STRATEGY) -> "World":
        at = NOW - timedelta(microseconds=int(D(seconds_ago) * 1_000_000))
        self.ledger.count_order(ACCOUNT, strategy, symbol, at)
        return self

    def state(self, scope: Scope, mode: TradingMode) -> "World":
        state = TradingState(scope=scope, mode=mode, since=NOW, by="operator", message="lunch")
        self.ledger.states.set(scope, state)
        return self

    def context(self, intent: OrderIntent, **changes: Any) -> RiskContext:
        fields: dict[str, Any] = {
            "intent": intent,
            "instrument": make_instrument(intent.symbol),
            "ledger": self.ledger,
            "now": NOW,
            "session": ALWAYS_OPEN,
            "account_limits": OFF,
            "strategy_limits": OFF,
            "leverage": D(1),
            "max_age_s": 60,
        }
        return RiskContext(**{**fields, **changes})

    def check(self, intent: OrderIntent, limits: Limits = OFF, **changes: Any) -> Decision:
        """The decision under `limits` of the account."""
        return check_risk(self.context(intent, account_limits=limits, **changes))

    def size(self, signal: Signal, **changes: Any) -> Sized:
        fields: dict[str, Any] = {
            "alert_id": "A",
            "leg": 1,
            "account": ACCOUNT,
            "signal": signal,
            "instrument": make_instrument(),
            "ledger": self.ledger,
            "default_quantity": None,
            "received_at": NOW,
            "now": NOW,
        }
        return size_signal(**{**fields, **changes})


def denied(decision: object, reason: Reason) -> Denied:
    """The denial, which must be for `reason` and say so in a sentence of its own."""
    assert isinstance(decision, Denied), decision
    assert decision.reason is reason, decision
    assert decision.message.endswith(".")
    return decision


def approved(decision: object) -> Approved:
    """The approval, which must be of the whole wish."""
    assert isinstance(decision, Approved), decision
    assert decision.capped_by is None, decision
    return decision


def capped(decision: object, reason: Reason) -> Approved:
    """The approval, which must be of a part that only closes, because of `reason`."""
    assert isinstance(decision, Approved), decision
    assert decision.capped_by is not None
    assert decision.capped_by.reason is reason
    assert decision.intent.reduce_only
    return decision
