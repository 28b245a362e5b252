"""Every value that is kept comes back from both databases exactly as it went in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.brokers.paper.rows import PAPER_CODECS
from bridge.core.alert import Alert
from bridge.core.day import Day
from bridge.core.definition import DefinitionRecord, DefinitionVersion, Deployment
from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, Source, TimeInForce, TradingMode
from bridge.core.fill import Fill
from bridge.core.hold import Gap, Hold
from bridge.core.login import BrokerSession
from bridge.core.market import Mark
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.protection import Leg, Legs, Level, Protect, Protection, ProtectionStatus
from bridge.core.replacement import Replacement, Terms
from bridge.core.scope import GLOBAL, TradingState, account_scope, strategy_scope
from bridge.core.signal import OrderIntent, Signal
from bridge.core.token import TokenRecord
from bridge.core.trade import Trade, TradeStatus
from bridge.store.mapping import LEDGER_MAPS, encode_fill
from bridge.store.paper_tables import paper_maps
from bridge.store.sql import columns_of
from bridge.store.tables import FillRow
from tests.support.plays import play
from tests.support.stores import opened

# What intake lets through: any text without NUL and halves of pairs; decimals of 18 digits and 8 places.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text("abcdefghijKLMNO0123456789_.-:", min_size=1, max_size=20)
numbers = st.decimals(-(10**18) + 1, 10**18 - 1, places=8)
amounts = st.decimals(0, 10**18 - 1, places=8)
times = st.integers(0, 4_000_000_000_000_000).map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
maybe_numbers, maybe_times = st.none() | amounts, st.none() | times
products, sides = st.sampled_from(Product), st.sampled_from(Side)
shares = st.dictionaries(names, numbers.filter(bool), max_size=3)
keys = st.builds(PositionKey, names, names, products.map(str))

levels = st.builds(Level, price=amounts) | st.builds(Level, percent=amounts)
protects = st.builds(Protect, stop_loss=levels, take_profit=st.none() | levels) | st.builds(Protect, take_profit=levels)
legs = st.builds(Leg, trigger_px=amounts, limit_px=amounts)
maybe_legs = st.none() | st.builds(Legs, stop=legs, target=st.none() | legs) | st.builds(Legs, target=legs)

signals = st.builds(
    Signal, strategy=names, symbol=names, action=st.sampled_from(Action), accounts=st.lists(names, max_size=3).map(tuple),
    product=products, signal_at=times, quantity=maybe_numbers, target=st.none() | numbers,
    state=st.none() | st.sampled_from(MarketPosition), prev=st.none() | st.sampled_from(MarketPosition),
    ord_type=st.sampled_from(OrdType), price=maybe_numbers, trigger_price=maybe_numbers,
    time_in_force=st.sampled_from(TimeInForce), max_notional=maybe_numbers, notes=st.dictionaries(texts, texts, max_size=3),
    protect=st.none() | protects,
)  # fmt: skip
alerts = st.builds(
    Alert, alert_id=names, received_at=times, source=st.sampled_from(Source), credential=names, body=texts, signal=signals,
    attempts=st.integers(0, 3),
)  # fmt: skip
intents = st.builds(
    OrderIntent, alert_id=names, leg=st.integers(1, 9), account=names, strategy=names, symbol=names, product=products,
    side=sides, order_qty=amounts, ord_type=st.sampled_from(OrdType), time_in_force=st.sampled_from(TimeInForce),
    price=maybe_numbers, trigger_price=maybe_numbers, reduce_only=st.booleans(), signal_at=times, received_at=times,
    max_notional=maybe_numbers, protect=st.none() | protects, legs=maybe_legs,
)  # fmt: skip
protections = st.builds(
    Protection, protection_id=names, key=keys, strategy=names, side=sides, protect=protects, entry_px=amounts, alert_id=names,
    leg=st.integers(1, 99), status=st.sampled_from(ProtectionStatus), created_at=times, updated_at=times, order_id=texts,
    orders=st.integers(0, 99), message=texts,
)  # fmt: skip
changes = st.builds(
    Replacement, alert_id=names, signal_at=times, renews=st.booleans(),
    terms=st.builds(Terms, order_qty=amounts, price=st.none() | amounts, trigger_price=st.none() | amounts),
)  # fmt: skip
orders = st.builds(
    Order, cl_ord_id=names, tag=names, intent=intents, status=st.sampled_from(OrderStatus), created_at=times,
    updated_at=times, cum_qty=amounts, cum_value=amounts, broker_order_id=st.none() | names,
    exec_ids=st.lists(names, max_size=4, unique=True).map(tuple), sends=st.integers(0, 99), sent_at=maybe_times, code=names,
    message=texts, replace=st.none() | changes, replaces=st.integers(0, 99), terms_at=maybe_times,
)  # fmt: skip
positions = st.builds(
    Position, key=keys, multiplier=amounts, quantity=numbers, cost=numbers, realized_pnl=numbers, charges=amounts,
    by_strategy=shares,
)  # fmt: skip
trades = st.builds(
    Trade, trade_id=names, key=keys, strategy=names, side=sides, status=st.sampled_from(TradeStatus), opened_at=times,
    multiplier=amounts, entry_qty=amounts, entry_value=amounts, exit_qty=amounts, exit_value=amounts, realized_pnl=numbers,
    charges=amounts, closed_at=maybe_times,
)  # fmt: skip
scopes = st.just(GLOBAL) | names.map(account_scope) | names.map(strategy_scope)
states = st.builds(TradingState, scope=scopes, mode=st.sampled_from(TradingMode), since=times, by=names, message=texts)
days = st.builds(
    Day, account=names, day=st.integers(20200101, 20991231), opening_equity=st.none() | numbers, opening_unrealized=numbers,
    realized_pnl=numbers, charges=amounts, by_strategy=shares,
)  # fmt: skip
tokens = st.builds(TokenRecord, token_id=names, claims=texts, created_at=times, expires_at=maybe_times, revoked_at=maybe_times)
gaps = st.builds(Gap, product=names, ours=numbers, theirs=numbers, explained=numbers)
holds = st.builds(Hold, message=texts, gaps=st.lists(gaps, max_size=3).map(tuple), accepted_by=texts)
marks = st.builds(Mark, symbol=names, price=amounts, at=times, source=names)
broker_sessions = st.builds(BrokerSession, account=names, sealed=texts, user_id=names, logged_in_at=times, expires_at=times)
definitions = st.builds(
    DefinitionRecord, name=names, version=names, strategy=names, enabled=st.booleans(), deployment=st.sampled_from(Deployment),
    approved_version=texts, approved_by=texts, approved_at=maybe_times, updated_at=times,
)  # fmt: skip
versions = st.builds(DefinitionVersion, name=names, version=names, body=texts, saved_at=times, by=names)

ITEMS: dict[str, st.SearchStrategy[tuple[Any, Any]]] = {
    "alerts": alerts.map(lambda one: (one.alert_id, one)),
    "orders": orders.map(lambda one: (one.cl_ord_id, one)),
    "positions": positions.map(lambda one: (one.key, one)),
    "protections": protections.map(lambda one: ((one.key, one.strategy), one)),
    "trades": trades.map(lambda one: (one.key, one)),
    "states": states.map(lambda one: (one.scope, one)),
    "days": days.map(lambda one: (one.account, one)),
    "tokens": tokens.map(lambda one: (one.token_id, one)),
    "marks": marks.map(lambda one: (one.symbol, one)),
    "holds": st.tuples(st.tuples(names, names), holds),
    "broker_sessions": broker_sessions.map(lambda one: (one.account, one)),
    "definitions": definitions.map(lambda one: (one.name, one)),
    "definition_versions": versions.map(lambda one: ((one.name, one.version), one)),
    "told_to": st.tuples(names, st.integers(0, 2**62)),
}


def test_every_shelf_with_a_table_is_tried_here() -> None:
    """A new map needs its values in this file."""
    assert set(ITEMS) == set(LEDGER_MAPS)


@given(st.data())
@settings(max_examples=60)
def test_rows_come_back_as_they_went_in(data: st.DataObject) -> None:
    """Encode and decode are each other's inverse, and the row has the table's columns."""
    for name, rowmap in LEDGER_MAPS.items():
        key, value = data.draw(ITEMS[name], label=name)
        row = rowmap.encode(key, value)
        assert len(row) == len(columns_of(rowmap.table))
        assert rowmap.decode(row) == (key, value)


def test_values_come_back_from_the_database(database_url: str) -> None:
    """What was put is there after a restart, by value, for whatever a value may be."""
    drawn: dict[str, dict[Any, Any]] = {name: {} for name in ITEMS}

    @given(st.fixed_dictionaries(ITEMS))
    @settings(max_examples=40, database=None, derandomize=True)
    def draw(one: dict[str, tuple[Any, Any]]) -> None:
        for name, (key, value) in one.items():
            drawn[name][key] = value

    draw()
    kept = {name: {k: v for k, v in found.items() if _is_loaded(name, v)} for name, found in drawn.items()}
    protection_ids = [one.protection_id for one in kept["protections"].values()]
    kept["protections"] = {k: v for k, v in kept["protections"].items() if protection_ids.count(v.protection_id) == 1}
    trade_ids = [trade.trade_id for trade in kept["trades"].values()]
    kept["trades"] = {k: v for k, v in kept["trades"].items() if trade_ids.count(v.trade_id) == 1}

    async def story() -> None:
        async with opened(database_url) as store:

            def put_all(tx: Any) -> None:
                for name, values in kept.items():
                    for key, value in values.items():
                        tx.put(getattr(tx.ledger, name), key, value)

            await store.write(put_all)
        async with opened(database_url) as store:
            for name, values in kept.items():
                assert getattr(store.ledger, name).values == values, name

    play(story)


def _is_loaded(name: str, value: Any) -> bool:
    """What is read at start: open orders, protective ones of the day, open trades, the day of the test's clock."""
    midnight = datetime(2026, 11, 19, 18, 30, tzinfo=UTC)
    checks: dict[str, Callable[[Any], bool]] = {
        "orders": lambda order: not order.status.is_closed or (order.is_protection and order.updated_at >= midnight),
        "protections": lambda one: one.status is not ProtectionStatus.DONE,
        "trades": lambda trade: trade.closed_at is None,
        "days": lambda day: day.day == 20261120,
    }
    return name not in checks or checks[name](value)


@given(
    st.builds(
        Fill, account=names, exec_id=names, cl_ord_id=names, broker_order_id=names, strategy=names, symbol=names,
        product=products, side=sides, last_qty=amounts, last_px=amounts, charges=amounts, transact_time=times,
        realized_pnl=numbers,
    )
)  # fmt: skip
@settings(max_examples=30)
def test_a_fill_fits_its_table(fill: Fill) -> None:
    """Fills are only ever appended; their numbers are exact decimal text."""
    row = dict(zip(columns_of(FillRow), encode_fill(fill), strict=True))
    for name in ("last_qty", "last_px", "charges", "realized_pnl"):
        assert Decimal(row[name]) == getattr(fill, name)


def test_the_paper_books_fit_their_tables() -> None:
    """The paper broker's codecs and the tables have the same columns, in the same order."""
    for rowmap in paper_maps(PAPER_CODECS).values():
        assert columns_of(rowmap.table)
