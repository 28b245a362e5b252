"""The Kite sandbox around its book: sessions, limits, account, triggers, prices, packets, frames, and its memory on disk."""

import hashlib
import os
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from kiteconnect import KiteTicker

from bridge.core.clock import IST
from bridge.core.errors import ConfigError
from bridge.sandbox.kite.faults import Faults, Knobs, turn_knobs
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.limits import Kind, Limits
from bridge.sandbox.kite.sessions import next_death
from bridge.sandbox.kite.ticks import pack_frame, pack_tick
from bridge.sandbox.kite.values import ApiError, Status
from bridge.sandbox.kite.websocket import TEXT, Decoder, WebSocketError, encode, unmask
from tests.support.clocks import NOON, StillClock
from tests.support.kite import make_box, make_form, place
from tests.support.samples import SBIN

D = Decimal


def checksum_of(box, token):
    sessions = box.sessions
    return hashlib.sha256((sessions.api_key + token + sessions.api_secret).encode()).hexdigest()


# --- sessions -------------------------------------------------------------------------------------------------------------


def test_tokens_die_at_six_in_india():
    """The next six o'clock, which before six is today's."""
    at = datetime(2026, 11, 20, 5, 59, tzinfo=IST)
    assert next_death(at) == at.replace(hour=6, minute=0)
    assert next_death(at.replace(hour=6)) == datetime(2026, 11, 21, 6, tzinfo=IST)


def test_a_session_lives_until_its_death():
    """And no longer, by the injected clock."""
    clock = StillClock()
    box = make_box(clock)
    session = box.sessions.log_in()
    clock.at = session.dies_at - timedelta(seconds=1)
    box.sessions.check(box.sessions.api_key, session.access_token)
    clock.move(seconds=1)
    with pytest.raises(ApiError) as refused:
        box.sessions.check(box.sessions.api_key, session.access_token)
    assert (refused.value.status, refused.value.envelope["error_type"]) == (403, "TokenException")


def test_a_request_token_is_good_once_and_not_for_long():
    """Then 403."""
    clock = StillClock()
    box = make_box(clock)
    key, token = box.sessions.api_key, box.sessions.give_request_token()
    box.sessions.exchange(key, token, checksum_of(box, token))
    late = box.sessions.give_request_token()
    clock.move(minutes=3)
    for spent in (token, late, "made up"):
        with pytest.raises(ApiError, match="expired"):
            box.sessions.exchange(key, spent, checksum_of(box, spent))


def test_a_wrong_checksum_or_key_is_refused_and_spends_nothing():
    """The token can still be exchanged properly."""
    box = make_box()
    key, token = box.sessions.api_key, box.sessions.give_request_token()
    for wrong in ((key, token, "0" * 64), ("other", token, checksum_of(box, token)), ("", token, "x")):
        with pytest.raises(ApiError):
            box.sessions.exchange(*wrong)
    assert box.sessions.exchange(key, token, checksum_of(box, token)).access_token


def test_a_newer_login_ends_the_one_before():
    """One living token at a time."""
    box = make_box()
    first, second = box.sessions.log_in(), box.sessions.log_in()
    box.sessions.check(box.sessions.api_key, second.access_token)
    with pytest.raises(ApiError):
        box.sessions.check(box.sessions.api_key, first.access_token)


def test_two_sandboxes_of_one_seed_make_the_same_tokens_and_ids():
    """Nothing is left to chance."""
    made = [(box.sessions.log_in().access_token, place(box).order_id) for box in (make_box(), make_box())]
    assert made[0] == made[1]
    assert make_box(api_key="other").sessions.api_key == "other"


# --- limits ---------------------------------------------------------------------------------------------------------------


def test_ten_orders_a_calendar_second():
    """The eleventh is refused, and the next second is a new one, however close."""
    limits, at = Limits(), NOON.replace(microsecond=900_000)
    assert [limits.take(Kind.PLACE, at, enforce=True) for _ in range(11)] == [True] * 10 + [False]
    assert limits.take(Kind.PLACE, at + timedelta(milliseconds=100), enforce=True)
    shown = limits.show()
    assert (shown["largest"]["place_per_second"], shown["largest"]["place_attempts_per_second"]) == (10, 11)
    assert (shown["totals"]["place"], shown["totals"]["place_refused"]) == (11, 1)


@pytest.mark.parametrize(("kind", "allowed"), [(Kind.QUOTE, 1), (Kind.HISTORICAL, 3), (Kind.OTHER, 10)])
def test_reads_have_limits_of_their_own(kind, allowed):
    """Quote 1, historical 3, others 10."""
    limits = Limits()
    assert [limits.take(kind, NOON, enforce=True) for _ in range(allowed + 1)] == [True] * allowed + [False]


def test_changes_share_the_allowance_of_all_other_requests():
    """Only placements are `order placement`."""
    limits = Limits()
    for _ in range(10):
        limits.take(Kind.OTHER, NOON, enforce=True)
    assert not limits.take(Kind.CHANGE, NOON, enforce=True)
    assert limits.take(Kind.PLACE, NOON, enforce=True)


def test_four_hundred_a_minute_and_five_thousand_a_day():
    """Whatever the second says."""
    limits, at, taken = Limits(), NOON, 0
    while limits.take(Kind.PLACE, at, enforce=True):
        taken += 1
        at += timedelta(milliseconds=100)
    assert taken == 400
    while taken < 5_000:
        at += timedelta(seconds=1)
        taken += sum(limits.take(Kind.PLACE, at, enforce=True) for _ in range(10))
    assert not limits.take(Kind.PLACE, at + timedelta(minutes=5), enforce=True)
    assert limits.take(Kind.PLACE, at + timedelta(days=1), enforce=True)
    assert limits.show()["largest"]["place_per_minute"] == 400


def test_unenforced_limits_are_still_measured():
    """So that a test can prove a throttle."""
    limits = Limits()
    assert all(limits.take(Kind.PLACE, NOON, enforce=False) for _ in range(12))
    assert limits.show()["largest"]["place_per_second"] == 12


# --- faults and knobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", [{"orders": {"nope": 1}}, {"nope": {}}, {"orders": 1}, {"orders": {"429": -1}}, {"orders": {"429": True}}]
)
def test_wrong_faults_change_nothing(wanted):
    """The whole request is refused."""
    faults = Faults()
    faults.set({"orders": {"429": 2}})
    with pytest.raises(ValueError, match=r"fault|whole"):
        faults.set({"reads": {"502_before": 1}, **wanted})
    assert faults.show()["orders"]["429"] == 2
    assert faults.show()["reads"]["502_before"] == 0


@pytest.mark.parametrize(
    "wanted",
    [
        {"nope": 1}, {"step_ms": "1"}, {"step_ms": -1}, {"step_ms": True}, {"autoslice_shape": "round"},
        {"postback_url": "ftp://x"}, {"freeze": {"NSE:SBIN": 0}}, {"enforce_limits": 1},
    ],
)  # fmt: skip
def test_wrong_knobs_are_refused(wanted):
    """By name, with what they can be."""
    with pytest.raises(ValueError, match=next(iter(wanted))):
        turn_knobs(Knobs(), wanted)


# --- account ----------------------------------------------------------------------------------------------------------------


def test_a_position_counts_both_sides_and_stays_when_flat():
    """Quantity zero, with what was made."""
    box = make_box()
    place(box, price="820")
    box.set_price(SBIN, D(820))
    place(box, price="815", transaction_type="SELL")
    row = box.account.position_rows()["net"][0]
    assert (row["quantity"], row["buy_quantity"], row["sell_quantity"]) == (0, 10, 10)
    assert (row["realised"], row["pnl"], row["unrealised"], row["average_price"]) == (75, 75, 0, 0)
    assert box.account.position_rows()["day"][0]["quantity"] == 0
    assert box.account.net("equity") == D(1_000_075)


def test_a_position_that_turns_round_begins_anew():
    """The average is that of what is open."""
    box = make_box()
    place(box, price="820")
    box.set_price(SBIN, D(820))
    place(box, price="815", transaction_type="SELL", quantity=15)
    row = box.account.position_rows()["net"][0]
    assert (row["quantity"], row["average_price"], row["realised"], row["unrealised"]) == (-5, 820, 75, 0)


def test_what_is_left_is_carried_over_and_delivered():
    """NRML becomes overnight, CNC a holding, and flat rows vanish with the day."""
    clock = StillClock()
    box = make_box(clock)
    future = next(item for item in box.market.listed.values() if item.kind == "FUT" and item.name == "NIFTY")
    box.set_price(future.symbol, D(26_000))
    place(box, exchange="NFO", tradingsymbol=future.tradingsymbol, product="NRML", quantity=future.lot, price="26000")
    place(box, product="CNC", price="820")
    place(box, price="820")
    place(box, price="810", transaction_type="SELL")
    clock.move(days=1)
    rows = box.account.position_rows()
    assert [(row["tradingsymbol"], row["overnight_quantity"]) for row in rows["net"]] == [(future.tradingsymbol, future.lot)]
    assert rows["day"] == []
    (row,) = box.account.holding_rows()
    assert (row["tradingsymbol"], row["quantity"], row["t1_quantity"], row["opening_quantity"]) == ("SBIN", 0, 10, 10)
    assert box.account.cash["equity"] == D(1_000_000) - D(8_125)
    clock.move(days=1)
    (row,) = box.account.holding_rows()
    assert (row["quantity"], row["t1_quantity"], row["opening_quantity"]) == (10, 0, 10)


def test_a_holding_can_be_sold_and_no_more_than_that():
    """Orders that wait count."""
    box = make_box()
    box.account.set_holding(SBIN, 10, D(500))
    place(box, product="CNC", transaction_type="SELL", price="900", quantity=6)
    assert place(box, product="CNC", transaction_type="SELL", price="810", quantity=5).status is Status.REJECTED
    assert place(box, product="CNC", transaction_type="SELL", price="810", quantity=4).status is Status.COMPLETE
    assert box.account.holding_rows()[0]["used_quantity"] == 4
    assert box.account.position_rows()["net"][0]["quantity"] == -4


def test_orders_block_money_until_they_end():
    """A fifth of the value for MIS, all of it for CNC."""
    box = make_box()
    order = place(box, product="CNC")
    assert box.account.segment_row("equity")["utilised"]["debits"] == 8_000
    box.book.cancel(order.order_id)
    place(box)
    assert box.account.net("equity") == D(1_000_000) - D(1_600)
    assert box.account.net("commodity") == D(1_000_000)


def test_charges_are_told_item_by_item():
    """Delivery of a lakh: no brokerage, a tenth of a percent of tax."""
    box = make_box()
    order = make_form(quantity=100, product="CNC", price=None) | {"average_price": "1000"}
    charges = box.account.note_rows([order])[0]["charges"]
    assert (charges["transaction_tax"], charges["brokerage"], charges["stamp_duty"]) == (100, 0, 15)
    assert (charges["exchange_turnover_charge"], charges["sebi_turnover_charge"]) == (3.07, 0.1)
    assert charges["total"] == pytest.approx(100 + 15 + 3.07 + 0.1 + charges["gst"]["total"])


# --- triggers ---------------------------------------------------------------------------------------------------------------


def gtt_form(kind="single", values=(820,), sides=("SELL",), last="812.5", **fields):
    order = {
        "exchange": "NSE", "tradingsymbol": "SBIN", "quantity": 10, "order_type": "LIMIT", "product": "MIS", "price": 800,
        **fields,
    }  # fmt: skip
    orders = [{**order, "transaction_type": side} for side in sides]
    condition = {"exchange": "NSE", "tradingsymbol": "SBIN", "trigger_values": list(values), "last_price": float(last)}
    return {"type": kind, "condition": str(condition).replace("'", '"'), "orders": str(orders).replace("'", '"')}


def test_a_single_trigger_fires_when_the_price_comes_to_it():
    """From below or from above, once."""
    box = make_box()
    up, down = box.gtts.place(gtt_form()), box.gtts.place(gtt_form(values=(805,)))
    box.set_price(SBIN, D(819))
    assert {row["status"] for row in box.gtts.rows.values()} == {"active"}
    box.set_price(SBIN, D(821))
    box.set_price(SBIN, D(822))
    assert (box.gtts.find(up)["status"], box.gtts.find(down)["status"]) == ("triggered", "active")
    assert len(box.book.orders) == 1
    assert box.gtts.find(up)["orders"][0]["result"]["order_result"]["status"] == "success"


@pytest.mark.parametrize(("trigger", "before"), [(805, "805.05"), (820, "819.95")])
def test_a_trigger_is_met_exactly(trigger, before):
    """Not a tick earlier."""
    box = make_box()
    number = box.gtts.place(gtt_form(values=(trigger,)))
    box.set_price(SBIN, D(before))
    assert box.gtts.find(number)["status"] == "active"
    box.set_price(SBIN, D(trigger))
    assert box.gtts.find(number)["status"] == "triggered"


@pytest.mark.parametrize(("price", "leg"), [("790", 0), ("830", 1)])
def test_of_two_legs_the_one_that_is_met_is_placed(price, leg):
    """The other is gone with it."""
    box = make_box()
    number = box.gtts.place(gtt_form("two-leg", (800, 820), ("SELL", "SELL")))
    box.set_price(SBIN, D(price))
    results = [order["result"] is not None for order in box.gtts.find(number)["orders"]]
    assert results == [leg == 0, leg == 1]


def test_what_a_trigger_places_may_be_rejected():
    """The trigger has fired all the same."""
    box = make_box()
    number = box.gtts.place(gtt_form(product="CNC"))
    box.set_price(SBIN, D(821))
    placed = box.gtts.find(number)["orders"][0]["result"]["order_result"]["order_id"]
    assert box.book.current(placed).status is Status.REJECTED


def test_triggers_are_changed_deleted_and_expire():
    """Only while active."""
    clock = StillClock()
    box = make_box(clock)
    first, second = box.gtts.place(gtt_form()), box.gtts.place(gtt_form())
    box.gtts.modify(first, gtt_form(values=(830,)))
    assert box.gtts.find(first)["condition"]["trigger_values"] == [830]
    box.gtts.delete(first)
    with pytest.raises(ApiError):
        box.gtts.modify(first, gtt_form())
    clock.move(days=366)
    box.set_price(SBIN, D(900))
    assert [box.gtts.find(one)["status"] for one in (first, second)] == ["deleted", "expired"]


@pytest.mark.parametrize(
    "form",
    [
        gtt_form("triple"), gtt_form(values=(812.5,)), gtt_form(values=(1, 2)), gtt_form(values=(0,)),
        gtt_form(order_type="MARKET"),
        gtt_form("two-leg", (820, 830), ("SELL", "SELL")), gtt_form("two-leg", (800, 820)), gtt_form(quantity=0),
        gtt_form() | {"condition": "x"}, gtt_form() | {"orders": "{}"},
    ],
)  # fmt: skip
def test_triggers_that_make_no_sense_are_refused(form):
    """With nothing kept."""
    box = make_box()
    with pytest.raises(ApiError):
        box.gtts.place(form)
    assert not box.gtts.rows


# --- prices and packets -----------------------------------------------------------------------------------------------------


def test_candles_are_made_of_the_prices_that_were_set():
    """Counted from a quarter past nine, with none for a time without a price."""
    clock = StillClock()
    box = make_box(clock)
    for price in ("815", "810"):
        clock.move(minutes=1)
        box.market.set_price(SBIN, D(price), 5)
    token = box.market.listed[SBIN].token
    whole = box.market.candles(token, "5minute", NOON - timedelta(hours=1), clock.now(), oi=False)
    assert whole == [["2026-11-20T10:30:00+0530", 812.5, 815, 810, 810, 10]]
    minutes = box.market.candles(token, "minute", NOON, clock.now(), oi=True)
    assert [candle[1] for candle in minutes] == [812.5, 815, 810]
    assert len(minutes[0]) == 7
    with pytest.raises(ApiError):
        box.market.candles(token, "minute", NOON - timedelta(days=61), NOON, oi=False)


def test_the_day_has_its_range_and_yesterday_its_close():
    """From the dump at first, then from the day before."""
    clock = StillClock()
    box = make_box(clock)
    box.set_price(SBIN, D(800))
    box.set_price(SBIN, D(820))
    clock.move(days=1)
    box.set_price(SBIN, D(825))
    quote = box.market.quotes([SBIN, "NSE:NOPE", "NSE:INFY"], "quote")
    assert list(quote) == [SBIN, "NSE:INFY"]
    assert quote[SBIN]["ohlc"] == {"open": 825, "high": 825, "low": 825, "close": 820}
    assert len(quote[SBIN]["depth"]["buy"]) == 5


def parse(*packets: bytes) -> list[dict]:
    """Read packets as the vendor's own client does."""
    ticks: list[dict] = KiteTicker("key", "token")._parse_binary(pack_frame(packets))
    return ticks


@pytest.mark.parametrize(("mode", "size"), [("ltp", 8), ("quote", 44), ("full", 184)])
def test_packets_are_read_by_the_vendors_client(mode, size):
    """Sizes as documented, several in one message."""
    box = make_box()
    item = box.market.listed[SBIN]
    packet = pack_tick(box.market, item, mode, StillClock())
    assert len(packet) == size
    ticks = parse(packet, packet)
    assert [(tick["instrument_token"], tick["last_price"], tick["mode"]) for tick in ticks] == [(item.token, 812.5, mode)] * 2
    if mode == "full":
        assert [level["price"] for level in ticks[0]["depth"]["sell"]][:2] == [812.5, 812.55]


@pytest.mark.parametrize(("mode", "size"), [("ltp", 8), ("quote", 28), ("full", 32)])
def test_an_index_has_packets_of_its_own(mode, size):
    """And cannot be traded."""
    box = make_box()
    index = box.market.listed["NSE:NIFTY 50"]
    box.set_price(index.symbol, D("26010.55"))
    packet = pack_tick(box.market, index, mode, StillClock())
    assert len(packet) == size
    assert (parse(packet)[0]["last_price"], parse(packet)[0]["tradable"]) == (26010.55, False)


@pytest.mark.parametrize("symbol", [SBIN, "NSE:NIFTY 50"])
def test_the_days_range_is_where_the_vendors_client_looks_for_it(symbol):
    """Shares and indices have it in another order."""
    clock = StillClock()
    box = make_box(clock)
    for price in ("811", "814", "809", "810"):
        box.market.set_price(symbol, D(price))
    quote = box.market.quotes([symbol], "quote")[symbol]
    tick = parse(pack_tick(box.market, box.market.listed[symbol], "quote", clock))[0]
    assert tick["ohlc"] == quote["ohlc"]
    assert quote["ohlc"]["high"] == 814
    assert quote["ohlc"]["low"] == 809


def test_currencies_are_finer():
    """Seven places instead of two."""
    box = make_box()
    pair = next(item for item in box.market.listed.values() if item.exchange == "CDS")
    box.set_price(pair.symbol, D("88.5025"))
    assert parse(pack_tick(box.market, pair, "ltp", StillClock()))[0]["last_price"] == 88.5025


# --- frames -----------------------------------------------------------------------------------------------------------------


def mask(frame: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A server's frame as a client sends it."""
    length = frame[1] & 0x7F
    head = 2 + {126: 2, 127: 8}.get(length, 0)
    return bytes((frame[0], frame[1] | 0x80)) + frame[2:head] + key + unmask(frame[head:], key)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_come_through_in_any_pieces(size):
    """Byte by byte at the edges."""
    payload = os.urandom(size)
    data = mask(encode(TEXT, payload))
    decoder = Decoder()
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(data), max(len(data) // 7, 1)):
        found += decoder.feed(data[start : start + max(len(data) // 7, 1)])
    assert found == [(TEXT, payload)]


def test_a_message_in_parts_is_put_together_around_a_ping():
    """Control frames may come between."""
    first = mask(bytes((0x01, 2)) + b"ab")
    assert list(Decoder().feed(first + mask(encode(9, b"x")) + mask(encode(0, b"cd")))) == [(9, b"x"), (TEXT, b"abcd")]


@pytest.mark.parametrize(
    "data",
    [
        encode(TEXT, b"unmasked"), mask(encode(0, b"nothing to go on")), mask(bytes((0xC1, 0))), mask(encode(3, b"")),
        mask(bytes((0x01, 1)) + b"a") + mask(encode(TEXT, b"b")), mask(encode(9, b"x" * 126)),
        bytes((0x81, 0xFF)) + struct.pack(">Q", 2**40),
    ],
)  # fmt: skip
def test_frames_that_break_the_protocol_are_refused(data):
    """No extension, no unmasked client, no endless message."""
    with pytest.raises(WebSocketError):
        list(Decoder().feed(data))


# --- memory -----------------------------------------------------------------------------------------------------------------


def test_everything_is_there_again_in_the_next_process(tmp_path):
    """Orders with their history and steps to come, trades, triggers, prices, holdings, login; ids go on."""
    clock, file = StillClock(), tmp_path / "kite.jsonl"
    with Journal(file) as journal:
        box = make_box(clock, journal)
        session = box.sessions.log_in()
        box.account.set_holding("NSE:INFY", 3, D(1_500))
        box.gtts.place(gtt_form())
        place(box, price="820", tag="done")
        box.faults.set({"book": {"stuck": 1}})
        place(box, tag="stuck")
        box.turn(step_ms=500)
        moving = place(box, tag="moving")
        before = (box.book.orders, box.book.trades, box.account.position_rows(), box.account.holding_rows(), box.gtts.rows)
    with Journal(file) as journal:
        again = make_box(clock, journal)
        after = (
            again.book.orders,
            again.book.trades,
            again.account.position_rows(),
            again.account.holding_rows(),
            again.gtts.rows,
        )
        assert after == before
        again.sessions.check(box.sessions.api_key, session.access_token)
        clock.move(seconds=1)
        again.book.run_due()
        assert again.book.current(moving.order_id).status is Status.OPEN
        assert again.book.release() == 1
        assert place(again).order_id not in before[0]
        assert again.market.last(SBIN) == D("812.5")


def test_a_line_that_was_cut_off_is_forgotten(tmp_path):
    """The process died while writing it; whatever else is broken is named."""
    file = tmp_path / "kite.jsonl"
    with Journal(file) as journal:
        place(make_box(journal=journal))
    whole = file.read_bytes()
    file.write_bytes(whole + b'["order", {"order')
    with Journal(file) as journal:
        assert len(list(journal.read())) == whole.count(b"\n")
    file.write_bytes(b"nonsense\n" + whole)
    with Journal(file) as journal, pytest.raises(ConfigError, match="line 1"):
        list(journal.read())


def test_times_are_kept_to_the_microsecond(tmp_path):
    """A lag of the book is measured against them."""
    at = datetime(2026, 11, 20, 5, 0, 0, 123_456, tzinfo=UTC)
    with Journal(tmp_path / "kite.jsonl") as journal:
        order = place(make_box(StillClock(at), journal))
    with Journal(tmp_path / "kite.jsonl") as journal:
        assert make_box(StillClock(at), journal).book.current(order.order_id).at == at
