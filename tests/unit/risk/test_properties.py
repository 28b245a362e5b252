"""What must hold whatever happens: exits never open, limits hold under concurrency, more usage never permits more."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product as every
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from bridge.core.clock import to_us
from bridge.core.decision import Approved, Decision, Denied
from bridge.core.enums import Action, OrdType, Product, Side, TimeInForce, TradingMode
from bridge.core.fill import Fill
from bridge.core.hold import Hold
from bridge.core.ledger import Ledger
from bridge.core.limits import OFF, Limits
from bridge.core.order import Order, apply_event, apply_fill, create_order
from bridge.core.order_states import OrderEventKind, OrderStatus
from bridge.core.position import Position, PositionKey, apply_fill_to_position
from bridge.core.report import Funds
from bridge.core.scope import GLOBAL
from bridge.core.signal import OrderIntent
from bridge.risk.engine import check_risk
from bridge.risk.sizing import size_signal
from bridge.risk.usage import key_of
from bridge.risk.wishes import Nothing, Wait
from tests.unit.risk.builders import (
    ACCOUNT,
    NOW,
    OTHER,
    PRICE,
    STRATEGY,
    SYMBOL,
    D,
    World,
    make_instrument,
    make_intent,
    make_signal,
)

quantities = st.integers(1, 40).map(D)
sides = st.sampled_from(Side)


# --- (a) exits never open -------------------------------------------------------------------------------------------


@st.composite
def intents_under_way(draw: st.DrawFn) -> tuple[OrderIntent, int]:
    """An order of any kind, and how much of it is filled."""
    qty = draw(st.integers(1, 40))
    kind = draw(st.sampled_from(OrdType))
    intent = make_intent(
        qty,
        draw(sides),
        ord_type=kind,
        price=PRICE if kind.needs_price else None,
        trigger_price=PRICE if kind.needs_trigger else None,
        time_in_force=draw(st.sampled_from(TimeInForce)),
        product=draw(st.sampled_from([Product.MIS, Product.MIS, Product.CNC])),
        strategy=draw(st.sampled_from([STRATEGY, "other"])),
        reduce_only=draw(st.booleans()),
    )
    return intent, draw(st.integers(0, qty - 1))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any position with any orders under way, sensible or not."""
    world = World().hold(draw(st.integers(-40, 40)))
    for intent, filled in draw(st.lists(intents_under_way(), max_size=5)):
        status = draw(st.sampled_from([OrderStatus.NEW, OrderStatus.IN_DOUBT, OrderStatus.PLACED]))
        world.order(intent, filled=filled, status=status)
    return world


def closing_leaves(world: World, side: Side) -> D:
    orders = world.ledger.open_orders(ACCOUNT, SYMBOL)
    return sum((o.leaves_qty for o in orders if o.intent.side is side and o.intent.product is Product.MIS), D(0))


def only_closes(world: World, intent: OrderIntent) -> bool:
    """Reckoned without the code under test: opposite to the position, and with all of its side no larger than it."""
    held = world.ledger.position_qty(key_of(intent))
    opposite = held < 0 if intent.side is Side.BUY else held > 0
    return opposite and intent.order_qty > 0 and intent.order_qty + closing_leaves(world, intent.side) <= abs(held)


@given(worlds(), st.none() | quantities, st.booleans())
def test_exit_never_opens(world, asked, no_wait):
    """In any state an exit's quantity and the open closing orders stay within the position, and nobody else's limit is."""
    sized = world.size(make_signal(Action.EXIT, quantity=asked), no_wait=no_wait)
    event(type(sized).__name__)
    if isinstance(sized, OrderIntent):
        assert sized.reduce_only
        assert only_closes(world, sized)
    else:
        assert isinstance(sized, Wait | Nothing)
        assert not (no_wait and isinstance(sized, Wait))


@given(worlds(), st.sampled_from([Action.BUY, Action.SELL]), quantities)
def test_intent_is_reduce_only_exactly_when_it_only_closes(world, action, qty):
    """The mark that exempts from limits is never given to an order that can open, and never withheld."""
    sized = world.size(make_signal(action, quantity=qty))
    event(type(sized).__name__)
    if isinstance(sized, OrderIntent):
        assert sized.reduce_only is only_closes(world, sized)
    else:
        assert isinstance(sized, Wait)
        assert any(o.intent.reduce_only for o in world.ledger.open_orders(ACCOUNT, SYMBOL))


@given(worlds(), st.integers(-40, 40).map(D), st.booleans())
def test_target_never_trades_beyond_itself(world, target, no_wait):
    """With all orders of its side filled the position does not pass the target; a reducing target never opens."""
    sized = world.size(make_signal(Action.TARGET, target=target), no_wait=no_wait)
    event(type(sized).__name__)
    if isinstance(sized, OrderIntent):
        held = world.ledger.position_qty(key_of(sized))
        filled = (sized.order_qty + closing_leaves(world, sized.side)) * sized.side.sign
        assert (held + filled - target) * sized.side.sign <= 0
        if abs(target) <= abs(held) and target * held >= 0:
            assert sized.reduce_only


@given(worlds(), sides, quantities, st.booleans())
def test_what_is_capped_or_marked_as_exit_only_closes(world, side, qty, marked):
    """Whoever marks an order as an exit, and whatever makes it smaller: what is approved as reduce_only only closes."""
    tight = Limits(max_order_qty=D(10))
    decision = world.check(make_intent(int(qty), side, reduce_only=marked), tight)
    event(type(decision).__name__)
    if isinstance(decision, Approved):
        if decision.intent.reduce_only:
            assert only_closes(world, decision.intent)
        if decision.capped_by is not None:
            assert decision.intent.reduce_only
            assert decision.intent.order_qty <= qty
        if not decision.intent.reduce_only:
            assert decision.intent.order_qty <= 10


# --- (b) limits hold under concurrency ------------------------------------------------------------------------------

THIRD = "NSE:TCS"
# Each instrument is traded by one strategy, so that a strategy's worst case can be reckoned from its instruments.
TRADED_BY = {SYMBOL: STRATEGY, OTHER: STRATEGY, THIRD: "other"}
OPEN_AT_MOST = 6
LEVERAGE = D(2)
CASH = D(4000)


@dataclass(frozen=True)
class Ask:
    """A signal arrives; of the order that comes of it, `fills` is the part that fills at once."""

    symbol: str
    action: Action
    qty: D | None
    target: D
    kind: OrdType
    off: int
    no_wait: bool
    fills: D


@dataclass(frozen=True)
class Happen:
    """Something becomes of an order under way: a part or all of it fills, or it is cancelled."""

    which: int
    part: D | None


@dataclass(frozen=True)
class Pass:
    """Time goes by."""

    seconds: int


asks = st.builds(
    Ask,
    symbol=st.sampled_from([SYMBOL, SYMBOL, OTHER, THIRD]),
    action=st.sampled_from([Action.BUY, Action.BUY, Action.SELL, Action.TARGET, Action.EXIT]),
    qty=st.none() | quantities,
    target=st.integers(-60, 60).map(D),
    kind=st.sampled_from([OrdType.MARKET, OrdType.LIMIT, OrdType.SL_M]),
    off=st.integers(0, 5),
    no_wait=st.booleans(),
    fills=st.sampled_from([D(0), D("0.5"), D(1)]),
)
steps = st.lists(
    st.one_of(
        asks,
        st.builds(Happen, which=st.integers(0, 9), part=st.none() | st.sampled_from([D("0.3"), D("0.7"), D(1)])),
        st.builds(Pass, seconds=st.integers(1, 40)),
    ),
    min_size=8,  # long enough for positions, orders in flight and new wishes to meet
    max_size=30,
)


def amounts(low: int, high: int) -> st.SearchStrategy[D]:
    return st.integers(low, high).map(D)


TIGHT: dict[str, st.SearchStrategy[Any]] = {
    "max_order_qty": amounts(20, 60),
    "max_order_value": amounts(2000, 6000),
    "max_position_qty": amounts(20, 80),
    "max_exposure": amounts(2000, 9000),
    "max_open_positions": st.integers(1, 2),
    "max_orders_per_minute": st.integers(1, 4),
    "max_orders_per_minute_per_symbol": st.integers(1, 3),
    "min_order_gap_s": amounts(1, 30),
    "require_buying_power": st.just(True),
}


@st.composite
def sets_of_limits(draw: st.DrawFn) -> Limits:
    """A few limits on, tight enough to matter, and few enough that one does not hide the others."""
    names = draw(st.sets(st.sampled_from(sorted(TIGHT)), min_size=1, max_size=2))
    return Limits(**{name: draw(TIGHT[name]) for name in sorted(names)})


@dataclass
class Desk:
    """An account that trades for real in memory: sizes, asks, orders, fills; the broker's funds follow every fill."""

    account_limits: Limits
    strategy_limits: Limits
    now: datetime = NOW
    ledger: Ledger = field(default_factory=lambda: World().mark(THIRD).ledger)
    made: int = 0

    def __post_init__(self) -> None:
        self.tell_funds()

    def do(self, step: Ask | Happen | Pass) -> None:
        if isinstance(step, Pass):
            self.now += timedelta(seconds=step.seconds)
        elif isinstance(step, Ask):
            self.ask(step)
        else:
            self.happen(step)

    def ask(self, step: Ask) -> None:
        """The price is never better than the market's for a buy, so that a fill costs no more than it was reckoned at."""
        if len(self.ledger.open_orders(ACCOUNT)) >= OPEN_AT_MOST:
            return
        self.made += 1
        price = PRICE + step.off
        signal = make_signal(
            step.action,
            symbol=step.symbol,
            strategy=TRADED_BY[step.symbol],
            quantity=None if step.action is Action.TARGET else step.qty,
            target=step.target if step.action is Action.TARGET else None,
            ord_type=step.kind,
            price=price if step.kind.needs_price else None,
            trigger_price=price if step.kind.needs_trigger else None,
            signal_at=self.now,
        )
        sized = size_signal(
            alert_id=f"A{self.made}",
            leg=1,
            account=ACCOUNT,
            signal=signal,
            instrument=make_instrument(step.symbol),
            ledger=self.ledger,
            now=self.now,
            default_quantity=D(10),
            received_at=self.now,
            no_wait=step.no_wait,
        )
        if isinstance(sized, OrderIntent):
            self.decide(sized, step.fills)

    def decide(self, intent: OrderIntent, fills: D) -> None:
        context = World().context(
            intent,
            ledger=self.ledger,
            now=self.now,
            account_limits=self.account_limits,
            strategy_limits=self.strategy_limits if intent.strategy == STRATEGY else OFF,
            leverage=LEVERAGE,
        )
        decision = check_risk(context)
        event(f"{type(decision).__name__} {decision.reason if isinstance(decision, Denied) else ''}")
        if not isinstance(decision, Approved):
            return
        if not decision.intent.reduce_only:
            self.assert_sizes_and_rates(decision)
        order = create_order(decision, self.now)
        self.ledger.count_order(ACCOUNT, intent.strategy, intent.symbol, self.now)
        for happened in (OrderEventKind.SENDING, OrderEventKind.PLACED):
            order = apply_event(order, happened, self.now)
        if fills:
            order = self.fill(order, fills)
        self.ledger.orders.set(order.cl_ord_id, order)

    def assert_sizes_and_rates(self, decision: Approved) -> None:
        """Limits of the order itself and of orders per time, asked of entries only."""
        limits, intent = self.account_limits, decision.intent
        assert limits.max_order_qty is None or intent.order_qty <= limits.max_order_qty
        assert limits.max_order_value is None or intent.order_qty * PRICE <= limits.max_order_value
        times = self.ledger.order_times(ACCOUNT, self.now)
        gap = limits.min_order_gap_s
        assert limits.max_orders_per_minute is None or len(times) < limits.max_orders_per_minute
        own = self.ledger.order_times(ACCOUNT, self.now, symbol=intent.symbol)
        most = limits.max_orders_per_minute_per_symbol
        assert most is None or len(own) < most
        assert gap is None or not own or to_us(self.now) - own[-1] >= gap * 1_000_000

    def happen(self, step: Happen) -> None:
        orders = self.ledger.open_orders(ACCOUNT)
        if not orders:
            return
        order = orders[step.which % len(orders)]
        if step.part is None:
            order = apply_event(order, OrderEventKind.CANCELLED, self.now)
        else:
            order = self.fill(order, step.part)
        self.ledger.orders.set(order.cl_ord_id, order)

    def fill(self, order: Order, part: D) -> Order:
        intent = order.intent
        qty = max(D(1), (order.leaves_qty * part).to_integral_value())
        fill = Fill(
            account=ACCOUNT,
            exec_id=f"{order.cl_ord_id}-{order.cum_qty}",
            cl_ord_id=order.cl_ord_id,
            broker_order_id="B",
            strategy=intent.strategy,
            symbol=intent.symbol,
            product=intent.product,
            side=intent.side,
            last_qty=qty,
            last_px=PRICE,
            charges=D(0),
            transact_time=self.now,
        )
        key = key_of(intent)
        position = self.ledger.positions.get(key) or Position(key=key)
        self.ledger.positions.set(key, apply_fill_to_position(position, fill)[0])
        self.tell_funds()
        return apply_fill(order, fill, self.now)

    def tell_funds(self) -> None:
        used = sum((abs(p.quantity) for p in self.ledger.positions.values.values()), D(0)) * PRICE / LEVERAGE
        self.ledger.funds.set(ACCOUNT, Funds(account=ACCOUNT, equity=CASH, available=CASH - used, at=self.now))

    def assert_limits_hold(self) -> None:
        """In the worst of all ways in which the orders under way may end."""
        self.assert_worst(self.account_limits, [SYMBOL, OTHER, THIRD])
        self.assert_worst(self.strategy_limits, [SYMBOL, OTHER])
        if self.account_limits.require_buying_power:
            total = sum(max(map(abs, self.ends(symbol))) for symbol in TRADED_BY)
            assert total * PRICE / LEVERAGE <= CASH

    def assert_worst(self, limits: Limits, symbols: list[str]) -> None:
        worst = {symbol: max(map(abs, self.ends(symbol))) for symbol in symbols}
        if limits.max_position_qty is not None:
            assert max(worst.values()) <= limits.max_position_qty
        if limits.max_exposure is not None:
            assert sum(worst.values()) * PRICE <= limits.max_exposure
        if limits.max_open_positions is not None:
            assert sum(1 for qty in worst.values() if qty) <= limits.max_open_positions

    def ends(self, symbol: str) -> Iterator[D]:
        """Every position that the open orders may lead to: each of them filled or not."""
        held = self.ledger.position_qty(PositionKey(ACCOUNT, symbol, Product.MIS))
        leaves = [order.signed_leaves for order in self.ledger.open_orders(ACCOUNT, symbol)]
        for chosen in every((0, 1), repeat=len(leaves)):
            yield held + sum(qty for qty, taken in zip(leaves, chosen, strict=True) if taken)


@settings(max_examples=300)
@given(sets_of_limits(), sets_of_limits(), steps)
def test_no_limit_is_exceeded_however_the_orders_under_way_end(account_limits, strategy_limits, walk):
    """Whatever is approved, filled, part filled, left in flight or cancelled: the worst case stays within every limit."""
    desk = Desk(account_limits, replace(strategy_limits, require_buying_power=False))
    for step in walk:
        desk.do(step)
        desk.assert_limits_hold()


# --- (c) more usage never permits more ------------------------------------------------------------------------------


def enlarge(world: World, intent: OrderIntent, how: str, size: int) -> None:
    """Use more of what limits bound, without giving the intent anything to close."""
    side = intent.side
    if how == "same side order":
        world.order(make_intent(size, side))
    elif how == "order elsewhere":
        world.order(make_intent(size, side, symbol=OTHER))
    elif how == "position elsewhere":
        held = world.ledger.position_qty(PositionKey(ACCOUNT, OTHER, Product.MIS))
        world.hold(int(held) + (size if held >= 0 else -size), symbol=OTHER)
    elif how == "same position":
        held = world.ledger.position_qty(key_of(intent))
        world.hold(int(held) + size * side.sign)
    elif how == "orders made":
        world.made(0)
    elif how == "loss":
        world.day(realized_pnl=D(-size * 1000), by_strategy={STRATEGY: D(-size * 1000)})
    elif how == "funds":
        world.funds(0)
    elif how == "halt":
        world.state(GLOBAL, TradingMode.REDUCING)
    elif how == "price gone":
        world.mark(SYMBOL, None).mark(OTHER, None)
    else:
        world.ledger.holds.set((ACCOUNT, SYMBOL), Hold(message="differs"))


WAYS = [
    *("same side order", "order elsewhere", "position elsewhere", "same position", "orders made"),
    *("loss", "funds", "halt", "price gone", "hold"),
]


def opens(decision: Decision) -> bool:
    return isinstance(decision, Approved) and not decision.intent.reduce_only


@given(
    worlds(),
    sets_of_limits(),
    sets_of_limits(),
    sides,
    quantities,
    st.integers(-20, 20),
    st.lists(st.tuples(st.sampled_from(WAYS), st.integers(1, 20)), min_size=1, max_size=3),
)
def test_denied_entry_is_not_approved_by_more_usage(world, limits, of_strategy, side, qty, elsewhere, more):
    """A denial stays one when orders, positions, losses or halts are added, or money, prices and certainty go."""
    intent = make_intent(int(qty), side)
    if only_closes(world, intent):
        return  # what only closes is no entry, and has no limits
    world.hold(elsewhere, symbol=OTHER)
    loss = {"max_daily_loss": D(5000), "max_daily_loss_pct": D(1)}
    both = {"account_limits": replace(limits, **loss), "strategy_limits": replace(of_strategy, **loss)}
    before = check_risk(world.context(intent, **both))
    for how, size in more:
        enlarge(world, intent, how, size)
    after = check_risk(world.context(intent, **both))
    event(f"{type(before).__name__} then {type(after).__name__}")
    assert opens(before) or not opens(after)
