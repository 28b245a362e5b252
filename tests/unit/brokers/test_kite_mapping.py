"""Kite's words and ours: both tables, rows whole and odd, numbers and times."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.kite import mapping
from bridge.brokers.kite.mapping import (
    STATUSES,
    UNREADABLE,
    ForeignError,
    is_maybe_ours,
    join_holdings,
    read_funds,
    read_holdings,
    read_number,
    read_positions,
    read_row,
    read_tag,
    read_time,
    write_order,
)
from bridge.core.enums import OrdType, Product, Side, TimeInForce
from bridge.core.order_states import OrderStatus
from bridge.core.report import Holding
from bridge.sandbox.kite.values import Status, order_row, trade_row
from tests.support.kite import make_box, make_form, place
from tests.unit.brokers.paper_kit import make_order

TAG = "TOSB807EXRIXKP3"
ROW: dict[str, Any] = {
    "order_id": "250001", "status": "OPEN", "status_message": None, "order_timestamp": "2026-11-20 10:30:00",
    "exchange_update_timestamp": "2026-11-20 10:30:01", "exchange": "NSE", "tradingsymbol": "SBIN", "order_type": "LIMIT",
    "transaction_type": "BUY", "product": "MIS", "quantity": 10, "filled_quantity": 0, "tag": TAG,
}  # fmt: skip
TRADE: dict[str, Any] = {
    "trade_id": "7", "order_id": "250001", "quantity": 4, "average_price": Decimal("812.5"),
    "fill_timestamp": "2026-11-20 10:30:01", "order_timestamp": "10:30:00",
}  # fmt: skip


# -- out ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [mapping.SIDES, mapping.PRODUCTS, mapping.ORD_TYPES, mapping.VALIDITIES])
def test_every_word_of_ours_has_one_of_theirs(words: dict[Any, str]) -> None:
    """And no two have the same. A protection is no order at Kite but a trigger."""
    kind: Any = type(next(iter(words)))
    assert set(words) == set(kind) - {OrdType.GTT}
    assert len(set(words.values())) == len(words)


@pytest.mark.parametrize("ord_type", list(mapping.ORD_TYPES))
def test_an_order_carries_the_prices_its_type_needs(ord_type: OrdType) -> None:
    """Market and stop-market orders go with a protection, others without; no price goes along that is not needed."""
    order = make_order(1, Side.SELL, 10, ord_type=ord_type, price="812.50", trigger_price="810.05")
    sent = write_order(order, Decimal("-1"))
    assert sent["market_protection"] == ("-1" if ord_type in (OrdType.MARKET, OrdType.SL_M) else None)
    assert sent["price"] == ("812.5" if ord_type.needs_price else None)
    assert sent["trigger_price"] == ("810.05" if ord_type.needs_trigger else None)
    assert (sent["exchange"], sent["tradingsymbol"], sent["transaction_type"]) == ("NSE", "SBIN", "SELL")
    assert (sent["quantity"], sent["tag"], sent["variety"]) == (10, order.tag, "regular")


@pytest.mark.parametrize("product", list(Product))
@pytest.mark.parametrize("time_in_force", list(TimeInForce))
def test_what_is_sent_comes_back_the_same(product: Product, time_in_force: TimeInForce) -> None:
    """The sandbox takes the words, and its row reads as the order that was sent."""
    symbol, qty = ("NFO:BANKNIFTY26NOVFUT", 30) if product is Product.NRML else ("NSE:SBIN", 3)
    fields: dict[str, Any] = {"symbol": symbol, "product": product, "time_in_force": time_in_force, "validity_minutes": 5}
    order = make_order(1, Side.BUY, qty, ord_type=OrdType.LIMIT, price="800", **fields)
    sent = {name: value for name, value in write_order(order, Decimal(-1)).items() if name != "variety"}
    row = read_row("zerodha", order_row(place(make_box(), **sent)), [])
    intent = order.intent
    assert (row.tag, row.symbol, row.side, row.product) == (order.tag, intent.symbol, intent.side, product)
    assert (row.ord_type, row.order_qty) == (intent.ord_type, intent.order_qty)


def test_parts_of_a_unit_are_not_sent() -> None:
    """Kite has no words for them."""
    with pytest.raises(ValueError, match="whole units"):
        write_order(make_order(1, Side.BUY, "1.5"), Decimal(-1))


# -- statuses -----------------------------------------------------------------------------------------------------------

ENDED = {"COMPLETE": OrderStatus.FILLED, "CANCELLED": OrderStatus.CANCELLED, "REJECTED": OrderStatus.REJECTED}


@pytest.mark.parametrize("status", sorted({*STATUSES, *map(str, Status), "LAPSED", "SOMETHING NEW"}))
@pytest.mark.parametrize("filled", [0, 4])
def test_every_status_but_three_has_not_ended(status: str, filled: int) -> None:
    """Passing ones, and those that nobody has heard of, are working; with a part filled they are PARTIAL."""
    row = read_row("zerodha", {**ROW, "status": status, "filled_quantity": filled}, [TRADE] if filled else [])
    assert row.status is ENDED.get(status, OrderStatus.PARTIAL if filled else OrderStatus.PLACED)
    assert row.cum_qty == filled


def test_every_status_of_the_documentation_is_in_the_table() -> None:
    """The sandbox knows them all."""
    assert {str(status) for status in Status} <= set(STATUSES)


# -- rows ---------------------------------------------------------------------------------------------------------------


def test_a_row_has_its_executions_with_their_own_ids_prices_and_times() -> None:
    """India's time without a zone becomes aware UTC."""
    box = make_box(fill_max=4)
    order = place(box, price="812.5", tag=TAG)
    row = read_row("zerodha", order_row(box.book.current(order.order_id)), [trade_row(one) for one in box.book.trades])
    (fill,) = row.fills
    assert (fill.last_qty, fill.last_px, fill.tag) == (Decimal(4), Decimal("812.5"), TAG)
    assert fill.broker_order_id == row.broker_order_id == order.order_id
    assert fill.exec_id == f"{order.order_id}-{box.book.trades[0].trade_id}"
    assert fill.transact_time == box.book.trades[0].at.astimezone(UTC)


def test_one_trade_number_under_two_orders_is_two_executions() -> None:
    """Exchanges count anew each day, each by itself, and give both sides of a trade with oneself one number."""
    box = make_box()
    orders = [place(box, price="812.5", transaction_type=side) for side in ("BUY", "SELL")]
    assert len({trade.trade_id for trade in box.book.trades}) == 1
    rows = [order_row(box.book.current(order.order_id)) for order in orders]
    fills = [read_row("zerodha", row, [trade_row(trade)]).fills for row, trade in zip(rows, box.book.trades, strict=True)]
    assert len({fill.exec_id for (fill,) in fills}) == 2


def test_trades_that_are_newer_than_the_row_count() -> None:
    """They are read after it."""
    assert read_row("zerodha", ROW, [TRADE]).cum_qty == 4


@pytest.mark.parametrize(
    ("tag", "tags", "told"),
    [
        (TAG, None, TAG), (TAG, [TAG, "mktp", "mktp:0.5"], TAG), (None, ["mktp", TAG], TAG), ("", [TAG], TAG),
        ("mine", [TAG], TAG), ("mine", None, "mine"), (None, ["autoslice", "autoslice:1"], ""), (None, None, ""),
        (None, [None, 5], ""), (5, "x", ""),
    ],
)  # fmt: skip
def test_our_tag_is_found_wherever_it_stands(tag: Any, tags: Any, told: str) -> None:
    """The vendor adds tags of its own, and leaves `tags` out where there are none."""
    row = {name: value for name, value in {**ROW, "tag": tag, "tags": tags}.items() if value is not None}
    assert read_tag(row) == told
    assert is_maybe_ours(row) is (told == TAG)


@pytest.mark.parametrize("name", [name for name in ROW if name not in ("tag", "status_message", "exchange_update_timestamp")])
def test_a_row_without_a_field_we_need_cannot_be_read(name: str) -> None:
    """It is unknown, never guessed. Fields that are new are passed over."""
    assert read_row("zerodha", {**ROW, "new_field": {}}, []).order_qty == 10
    ragged = {key: value for key, value in ROW.items() if key != name}
    if name == "order_timestamp":
        del ragged["exchange_update_timestamp"]
    for row in (ragged, {**ragged, name: None}, {**ragged, name: []}, {**ragged, name: ""}):
        with pytest.raises(UNREADABLE):
            read_row("zerodha", row, [])


@pytest.mark.parametrize("name", ["trade_id", "quantity", "average_price", "fill_timestamp"])
def test_an_execution_without_a_field_we_need_cannot_be_read(name: str) -> None:
    """It would be booked wrongly."""
    ragged = {key: value for key, value in TRADE.items() if key != name}
    for trade in (ragged, {**ragged, name: None}, {**ragged, name: ""}, {**ragged, name: 0}, {**ragged, name: []}):
        with pytest.raises(UNREADABLE):
            read_row("zerodha", ROW, [trade])


@pytest.mark.parametrize(("name", "word"), [("product", "CO"), ("order_type", "ICEBERG"), ("transaction_type", "HOLD")])
def test_a_word_that_the_bridge_does_not_use_is_told_apart(name: str, word: str) -> None:
    """Such an order was placed elsewhere, and must not make the book unreadable."""
    with pytest.raises(ForeignError, match=word):
        read_row("zerodha", {**ROW, name: word}, [])


@pytest.mark.parametrize("row", [None, [], "x", 5, {}])
def test_what_is_no_row_is_one_of_the_named_errors(row: Any) -> None:
    """And none that would pass for an adapter's fault."""
    with pytest.raises(UNREADABLE):
        read_row("zerodha", row, [])


# -- numbers and times --------------------------------------------------------------------------------------------------


@given(st.decimals(min_value="-1e12", max_value="1e12", places=2))
def test_a_number_is_read_exactly_however_it_came(number: Decimal) -> None:
    """As JSON's decimal, as a text, and as the float that a library made of it, as far as a float can say it."""
    assert read_number({"n": number}, "n") == number
    assert read_number({"n": str(number)}, "n") == number
    assert read_number({"n": float(number)}, "n") == number


@given(st.floats(allow_nan=True, allow_infinity=True) | st.text() | st.none() | st.booleans() | st.decimals() | st.integers())
def test_whatever_comes_is_a_number_or_one_of_the_named_errors(value: Any) -> None:
    """Finite and of at most eight places."""
    try:
        number = read_number({"n": value}, "n")
    except UNREADABLE:
        return
    assert number.is_finite()
    assert number == round(number, 8)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - as the vendor writes them
def test_times_of_india_become_utc(at: datetime) -> None:
    """Five and a half hours earlier, the whole year round."""
    whole = at.replace(microsecond=0)
    read = read_time({"t": f"{whole:%Y-%m-%d %H:%M:%S}"}, "t")
    assert read.tzinfo is UTC
    assert (whole.replace(tzinfo=UTC) - read).total_seconds() == 19_800


# -- positions and money ------------------------------------------------------------------------------------------------


def test_positions_are_net_without_what_is_flat() -> None:
    """Those under a product that the bridge does not use are named and left out."""
    box = make_box()
    place(box, order_type="MARKET", market_protection=-1, price=None)
    rows = box.account.position_rows()
    extra = {**rows["net"][0], "quantity": 0, "tradingsymbol": "INFY"}, {**rows["net"][0], "product": "CO"}
    positions, foreign = read_positions({"net": [*rows["net"], *extra], "day": []})
    assert [(one.symbol, one.product, one.quantity) for one in positions] == [("NSE:SBIN", Product.MIS, Decimal(10))]
    assert len(foreign) == 1
    with pytest.raises(UNREADABLE):
        read_positions({"day": []})


HOLDING = {
    "tradingsymbol": "SBIN", "exchange": "BSE", "isin": "INE062A01020", "product": "CNC", "quantity": 11, "used_quantity": 2,
    "t1_quantity": 7, "realised_quantity": 11, "authorised_quantity": 3, "authorised_date": "2026-11-20 00:00:00",
    "opening_quantity": 18, "collateral_quantity": 0, "average_price": 429, "authorisation": {}, "short_quantity": 0,
}  # fmt: skip


def test_holdings_are_what_was_carried_over_the_night() -> None:
    """Delivered or not, and whatever was sold today; funded shares come in an object of their own."""
    mtf = {"quantity": 5, "used_quantity": 1, "average_price": 400.5, "value": 2_000, "initial_margin": 0}
    cash, funded = read_holdings([{**HOLDING, "mtf": mtf}])
    assert cash == Holding(
        symbol="BSE:SBIN", product=Product.CNC, quantity=Decimal(18), t1_quantity=Decimal(7), used_quantity=Decimal(2),
        authorised_quantity=Decimal(3), avg_px=Decimal(429),
    )  # fmt: skip
    assert (funded.product, funded.quantity, funded.avg_px) == (Product.MTF, Decimal(6), Decimal("400.5"))


def test_holdings_without_an_opening_are_added_up() -> None:
    """An older answer, or another kind of it; what holds nothing is left out."""
    row = {name: value for name, value in HOLDING.items() if name != "opening_quantity"}
    (holding,) = read_holdings([row, {**row, "quantity": 0, "t1_quantity": 0, "used_quantity": 0}])
    assert holding.quantity == Decimal(20)


@pytest.mark.parametrize("row", [{}, {**HOLDING, "opening_quantity": "x"}, {**HOLDING, "exchange": ""}, "x", None])
def test_holdings_that_cannot_be_read_are_no_empty_list(row: Any) -> None:
    """One bad row makes the whole answer unreadable: what is left out would count as sold."""
    with pytest.raises(UNREADABLE):
        read_holdings([HOLDING, row])


def test_sandbox_holdings_read_as_they_are() -> None:
    """The rows of the vendor's own shape, joined to the positions of the day."""
    box = make_box()
    box.account.set_holding("NSE:SBIN", 10, Decimal(700))
    place(box, **{**make_form(), "product": "CNC", "transaction_type": "SELL", "quantity": "4"})
    positions, _foreign = read_positions(box.account.position_rows())
    (joined,) = join_holdings(positions, read_holdings(box.account.holding_rows()))
    assert (joined.symbol, joined.product, joined.quantity) == ("NSE:SBIN", Product.CNC, Decimal(-4))
    assert joined.holding is not None
    assert (joined.holding.quantity, joined.holding.used_quantity) == (Decimal(10), Decimal(4))


def test_money_is_what_can_be_spent_and_that_with_what_is_blocked() -> None:
    """A resting order takes from the first and not from the whole."""
    box = make_box()
    place(box, **{**make_form(), "price": "800"})
    now = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)
    funds = read_funds("zerodha", box.account.margin_rows(), now)
    assert (funds.equity, funds.cash, funds.available) == (Decimal(1_000_000), Decimal(1_000_000), Decimal(998_400))
    assert funds.at == now
    with pytest.raises(UNREADABLE):
        read_funds("zerodha", {"commodity": {}}, now)
