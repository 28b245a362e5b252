"""Answers of every documented shape through the vendor's client, with fields missing, null, odd and unknown: nothing is raised
but that an answer cannot be read, and nothing of ours goes missing from what was read."""

import asyncio
import itertools
import json
import math
import threading
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.kite import adapter
from bridge.brokers.kite.adapter import KiteBroker, KitePolicy
from bridge.brokers.kite.client import HeldToken
from bridge.brokers.kite.mapping import STATUSES
from bridge.core.clock import SystemClock
from bridge.core.enums import OrdType, Product, Side
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow, BrokerPosition, Report
from tests.unit.brokers.paper_kit import make_protection

T = TypeVar("T")
GENTLE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TAG = "TOSB807EXRIXKP3"
NUMBERS = itertools.count(2)

# Bodies of our own in the shapes of the documentation (kite.trade/docs/connect/v3: orders, portfolio, user, gtt).
ORDER: dict[str, Any] = {
    "account_id": "AB1234", "placed_by": "AB1234", "order_id": "261120000000001", "exchange_order_id": "1100000012345678",
    "parent_order_id": None, "status": "OPEN", "status_message": None, "status_message_raw": None,
    "order_timestamp": "2026-11-20 10:30:00", "exchange_update_timestamp": "2026-11-20 10:30:01",
    "exchange_timestamp": "2026-11-20 10:30:01", "variety": "regular", "modified": False, "exchange": "NSE",
    "tradingsymbol": "SBIN", "instrument_token": 779521, "order_type": "LIMIT", "transaction_type": "BUY", "validity": "DAY",
    "validity_ttl": 0, "product": "MIS", "quantity": 10, "disclosed_quantity": 0, "price": 812.5, "trigger_price": 0,
    "average_price": 812.45, "filled_quantity": 4, "pending_quantity": 6, "cancelled_quantity": 0, "market_protection": 0,
    "auction_number": None, "meta": {}, "tag": TAG, "tags": [TAG, "mktp"], "guid": "01XyZ", "terminal_id": None,
}  # fmt: skip
TRADE: dict[str, Any] = {
    "trade_id": "10000000", "order_id": "261120000000001", "exchange_order_id": "1100000012345678", "exchange": "NSE",
    "tradingsymbol": "SBIN", "instrument_token": 779521, "product": "MIS", "transaction_type": "BUY", "quantity": 4,
    "average_price": 812.45, "filled": 4, "order_timestamp": "10:30:00", "fill_timestamp": "2026-11-20 10:30:01",
    "exchange_timestamp": "2026-11-20 10:30:01",
}  # fmt: skip
POSITION: dict[str, Any] = {
    "tradingsymbol": "SBIN", "exchange": "NSE", "instrument_token": 779521, "product": "MIS", "quantity": 4,
    "overnight_quantity": 0, "multiplier": 1, "average_price": 812.45, "close_price": 0, "last_price": 812.5,
    "value": -3249.8, "pnl": 0.2, "m2m": 0.2, "unrealised": 0.2, "realised": 0, "buy_quantity": 4, "buy_price": 812.45,
    "buy_value": 3249.8, "buy_m2m": 3249.8, "sell_quantity": 0, "sell_price": 0, "sell_value": 0, "sell_m2m": 0,
    "day_buy_quantity": 4, "day_buy_price": 812.45, "day_buy_value": 3249.8, "day_sell_quantity": 0, "day_sell_price": 0,
    "day_sell_value": 0,
}  # fmt: skip
SEGMENT: dict[str, Any] = {
    "enabled": True, "net": 24966.7493,
    "available": {
        "adhoc_margin": 0, "cash": 25000.5, "opening_balance": 25000.5, "live_balance": 24966.7493, "collateral": 0,
        "intraday_payin": 0,
    },
    "utilised": {
        "debits": 33.7507, "exposure": 0, "m2m_realised": -33.75, "m2m_unrealised": 0, "option_premium": 0, "payout": 0,
        "span": 0, "holding_sales": 0, "turnover": 0, "liquid_collateral": 0, "stock_collateral": 0, "delivery": 0,
    },
}  # fmt: skip
TRIGGER: dict[str, Any] = {
    "id": 105099, "user_id": "AB1234", "parent_trigger": None, "type": "single", "created_at": "2026-11-20 10:30:00",
    "updated_at": "2026-11-20 10:31:00", "expires_at": "2027-11-20 10:30:00", "status": "triggered",
    "condition": {
        "exchange": "NSE", "last_price": 812.5, "tradingsymbol": "SBIN", "trigger_values": [800.0], "instrument_token": 779521,
    },
    "orders": [{
        "exchange": "NSE", "tradingsymbol": "SBIN", "product": "MIS", "order_type": "LIMIT", "transaction_type": "SELL",
        "quantity": 10, "price": 795.0,
        "result": {
            "account_id": "AB1234", "exchange": "NSE", "tradingsymbol": "SBIN", "validity": "DAY", "product": "MIS",
            "order_type": "LIMIT", "transaction_type": "SELL", "quantity": 10, "price": 795.0, "meta": "{}",
            "timestamp": "2026-11-20 10:31:00", "triggered_at": 799.5,
            "order_result": {"status": "success", "order_id": "261120000000001", "rejection_reason": ""},
        },
    }],
    "meta": None,
}  # fmt: skip
HOLDING: dict[str, Any] = {
    "tradingsymbol": "INFY", "exchange": "BSE", "instrument_token": 128028676, "isin": "INE009A01021", "product": "CNC",
    "price": 0, "quantity": 11, "used_quantity": 0, "t1_quantity": 7, "realised_quantity": 11, "authorised_quantity": 0,
    "authorised_date": "2026-11-20 00:00:00", "authorisation": {}, "opening_quantity": 18, "short_quantity": 0,
    "collateral_quantity": 0, "collateral_type": "", "discrepancy": False, "average_price": 1429.35, "last_price": 1426.9,
    "close_price": 1432.4, "pnl": -44.1, "day_change": -5.5, "day_change_percentage": -0.38,
    "mtf": {"quantity": 0, "used_quantity": 0, "average_price": 0, "value": 0, "initial_margin": 0},
}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "/orders": [ORDER],
    "/trades": [TRADE],
    "/portfolio/positions": {"net": [POSITION], "day": [POSITION]},
    "/portfolio/holdings": [HOLDING],
    "/user/margins": {"equity": SEGMENT, "commodity": SEGMENT},
    "/gtt/triggers": [TRIGGER],
}
# What the bridge cannot do without; everything else may be missing or null.
NEEDED = {
    "/orders": {
        "order_id", "status", "order_timestamp", "exchange", "tradingsymbol", "order_type", "transaction_type", "product",
        "quantity", "filled_quantity", "tag", "tags",
    },
    "/trades": {"trade_id", "order_id", "quantity", "average_price", "fill_timestamp"},
    "/portfolio/positions": {"tradingsymbol", "exchange", "product", "quantity"},
    "/portfolio/holdings": {"tradingsymbol", "exchange", "opening_quantity"},
}  # fmt: skip

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
ODD = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))


class Parrot(ThreadingHTTPServer):
    """Answers whatever it was told to; counts nothing, knows nothing."""

    daemon_threads = True
    told: dict[str, Any]

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Beak(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, or each answer waits forty milliseconds for an acknowledgement

    def do_GET(self) -> None:
        assert isinstance(self.server, Parrot)
        body = json.dumps({"status": "success", "data": self.server.told[self.path]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Nobody wants to know."""


class Reader:
    """An adapter at a parrot, with an event loop of its own."""

    def __init__(self, parrot: Parrot, protections: list[Order]) -> None:
        self.parrot = parrot
        self.alarms: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        policy = KitePolicy(api_key="key", root=parrot.root, updates="postback")
        self.broker = KiteBroker(
            "zerodha", policy=policy, tokens=HeldToken("token"), clock=SystemClock(), tell=self.alarms.append,
            protections=lambda: protections,
        )  # fmt: skip
        self.do(self.broker.start(self.sink))

    async def sink(self, reports: list[Report]) -> None:
        """Nobody listens."""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def tell(self, **answers: Any) -> None:
        """What is answered from now on: the documented bodies, but for these."""
        self.parrot.told = {**ANSWERS, **{f"/{name.replace('__', '/')}": value for name, value in answers.items()}}

    def book(self) -> list[BookRow]:
        return self.do(self.broker.book())

    def close(self) -> None:
        self.do(self.broker.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with Parrot(("127.0.0.1", 0), Beak) as parrot:
        parrot.told = ANSWERS
        thread = threading.Thread(target=parrot.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield parrot
        parrot.shutdown()


@pytest.fixture(scope="module")
def reader(parrot: Parrot) -> Iterator[Reader]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "OTHERS_PER_SECOND", 1_000_000)
        reader = Reader(parrot, [])
        yield reader
        reader.close()


@pytest.fixture(scope="module")
def protected(parrot: Parrot) -> Iterator[Reader]:
    """One whose bridge has a protective order: TRIGGER, which has placed ORDER."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "OTHERS_PER_SECOND", 1_000_000)
        reader = Reader(parrot, [replace(make_protection(1, stop="800"), broker_order_id="gtt:105099")])
        yield reader
        reader.close()


def check_positions(told: list[BrokerPosition]) -> None:
    """What POSITION and HOLDING say."""
    position, delivered = told
    assert (position.symbol, position.product, position.quantity) == ("NSE:SBIN", Product.MIS, Decimal(4))
    assert position.holding is None
    assert delivered.holding is not None
    assert (delivered.symbol, delivered.product, delivered.quantity) == ("BSE:INFY", Product.CNC, Decimal(0))
    assert delivered.holding.quantity == Decimal(18)


# -- the documented shapes ----------------------------------------------------------------------------------------------


def check_order(row: BookRow) -> None:
    """What ORDER and TRADE say."""
    assert (row.broker_order_id, row.tag, row.symbol) == (ORDER["order_id"], TAG, "NSE:SBIN")
    assert (row.side, row.product, row.ord_type) == (Side.BUY, Product.MIS, OrdType.LIMIT)
    assert (row.order_qty, row.cum_qty, row.status) == (Decimal(10), Decimal(4), OrderStatus.PARTIAL)
    (fill,) = row.fills
    assert (fill.exec_id, fill.last_qty, fill.last_px) == (f"{row.broker_order_id}-10000000", Decimal(4), Decimal("812.45"))


def test_every_answer_of_a_documented_shape_is_read(reader: Reader) -> None:
    """Orders, trades, positions and margins, with all their fields."""
    reader.tell()
    (row,) = reader.book()
    check_order(row)
    check_positions(reader.do(reader.broker.positions()))
    funds = reader.do(reader.broker.funds())
    assert (funds.available, funds.equity, funds.cash) == (Decimal("24966.75"), Decimal("25000.50"), Decimal("25000.50"))


def test_a_trigger_that_has_fired_is_read_with_the_order_it_placed(protected: Reader) -> None:
    """Both are one order here, under the trigger's id."""
    protected.tell()
    (row,) = protected.book()
    assert (row.broker_order_id, row.ord_type, row.cum_qty) == ("gtt:105099", OrdType.GTT, Decimal(4))


# -- fields that are missing, null, unknown -----------------------------------------------------------------------------


@st.composite
def sparse(draw: st.DrawFn, row: dict[str, Any], path: str) -> dict[str, Any]:
    """The row without some fields that may be missing, with others null, and with some that nobody knows."""
    optional = sorted(set(row) - NEEDED[path])
    chosen = draw(st.dictionaries(st.sampled_from(optional), st.sampled_from(("gone", "null"))))
    kept = {name: None if name in chosen else value for name, value in row.items() if chosen.get(name) != "gone"}
    unknown = draw(st.dictionaries(st.text(min_size=1, max_size=12).map(lambda name: f"new_{name}"), ODD, max_size=3))
    return {**kept, **unknown}


@given(sparse(ORDER, "/orders"), sparse(TRADE, "/trades"))
@GENTLE
def test_fields_that_may_be_missing_or_are_new_change_nothing_of_an_order(
    reader: Reader, order: dict[str, Any], trade: dict[str, Any]
) -> None:
    """The book reads as if they were there, or as they always were."""
    reader.tell(orders=[order], trades=[trade])
    (row,) = reader.book()
    check_order(row)


@given(sparse(POSITION, "/portfolio/positions"))
@GENTLE
def test_fields_that_may_be_missing_or_are_new_change_nothing_of_a_position(reader: Reader, row: dict[str, Any]) -> None:
    """The same for what is held."""
    reader.tell(portfolio__positions={"net": [row]})
    check_positions(reader.do(reader.broker.positions()))


@given(sparse(HOLDING, "/portfolio/holdings"))
@GENTLE
def test_fields_that_may_be_missing_or_are_new_change_nothing_of_a_holding(reader: Reader, row: dict[str, Any]) -> None:
    """How many were carried over the night is all that is needed."""
    reader.tell(portfolio__holdings=[row])
    check_positions(reader.do(reader.broker.positions()))


@given(st.text(min_size=1, max_size=30).filter(lambda status: status not in STATUSES))
@example("UNHEARD OF")
@example("UNHEARD OF")
@GENTLE
def test_a_status_that_nobody_knows_has_not_ended_and_is_told(reader: Reader, status: str) -> None:
    """The vendor calls its own list incomplete. An order each time: of a row as it was before nothing is told again."""
    reader.alarms.clear()
    reader.broker._told_words.clear()
    reader.tell(orders=[{**ORDER, "order_id": f"26112000{next(NUMBERS):07}", "status": status}])
    (row,) = reader.book()
    assert not row.status.is_closed
    (alarm,) = reader.alarms
    assert "status that is not known here" in alarm


# -- anything at all ----------------------------------------------------------------------------------------------------


@st.composite
def spoilt(draw: st.DrawFn, path: str) -> Any:
    """The answer with something else, or nothing, in one or two places, each as likely as another wherever it lies."""
    told = {"data": deepcopy(ANSWERS[path])}
    for _ in range(draw(st.integers(1, 2))):
        where, name = draw(st.sampled_from(list(_places(told))))
        if where is not told and isinstance(where, dict) and draw(st.booleans()):
            del where[name]
        else:
            where[name] = draw(ODD | st.sampled_from([math.inf, math.nan]))  # which are no JSON, and sent all the same
    return told["data"]


def _places(told: Any) -> Iterator[tuple[Any, Any]]:
    """Every field of every object, and every item of every list."""
    pairs = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for name, value in list(pairs):
        yield told, name
        yield from _places(value)


@given(spoilt("/portfolio/positions"), spoilt("/portfolio/holdings"), spoilt("/user/margins"))
@GENTLE
def test_whatever_is_said_of_positions_and_money_is_read_or_cannot_be_read(
    reader: Reader, positions: Any, holdings: Any, margins: Any
) -> None:
    """No other exception leaves the adapter."""
    reader.tell(portfolio__positions=positions, portfolio__holdings=holdings, user__margins=margins)
    for read in (reader.broker.positions, reader.broker.funds):
        with suppress(BookUnreadableError):
            reader.do(read())


@given(spoilt("/gtt/triggers"))
@GENTLE
def test_whatever_is_said_of_a_trigger_is_read_or_cannot_be_read(protected: Reader, triggers: Any) -> None:
    """No other exception leaves the adapter."""
    protected.tell(gtt__triggers=triggers)
    with suppress(BookUnreadableError):
        protected.book()


@given(spoilt("/orders"), spoilt("/trades"), st.booleans())
@settings(GENTLE, max_examples=150)
def test_an_order_of_ours_is_in_the_book_or_the_book_cannot_be_read(
    reader: Reader, orders: Any, trades: Any, both: bool
) -> None:
    """Absence would be believed, and the order sent again."""
    reader.tell(orders=orders, **({"trades": trades} if both else {}))
    try:
        rows = reader.book()
    except BookUnreadableError:
        return
    ours = [row["order_id"] for row in orders if TAG in (row.get("tag"), *_listed(row.get("tags")))]
    assert [row.broker_order_id for row in rows if row.tag == TAG] == ours


@pytest.mark.parametrize("odd", [[], {}, None, 5, True])
@pytest.mark.parametrize("path", ["/orders", "/trades"])
def test_an_id_that_is_none_makes_the_book_unreadable(reader: Reader, path: str, odd: Any) -> None:
    """Also one that cannot be looked up: an execution that belongs nowhere would be lost."""
    reader.tell(**{path[1:]: [{**ANSWERS[path][0], "order_id": odd}]})
    with pytest.raises(BookUnreadableError, match="cannot be read"):
        reader.book()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
