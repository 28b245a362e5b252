"""The Kite sandbox as the vendor's own client sees it over loopback: every route it has, and every failure on demand."""

import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from kiteconnect import KiteConnect, KiteTicker
from kiteconnect import exceptions as kite_errors

from bridge.brokers.kite.ticker import in_reactor, start_reactor
from bridge.sandbox.kite.faults import Knobs
from bridge.sandbox.kite.websocket import BINARY, CLOSE, PING, PONG, TEXT
from tests.support.clocks import RunningClock, StillClock
from tests.support.kite import Desk, open_desk
from tests.support.samples import SBIN
from tests.support.waiting import wait_for

BAD_CREDENTIALS = "Incorrect `api_key` or `access_token`."


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    """One sandbox for all tests that count from where they begin."""
    with open_desk(RunningClock()) as desk:
        yield desk


@pytest.fixture
def desk(shared: Desk) -> Desk:
    """The shared sandbox, behaving well; SBIN at 812.50."""

    def tidy(box: Any) -> None:
        box.faults.clear()
        box.knobs = Knobs(enforce_limits=False)
        for order in list(box.book.working()):
            if order.status == "OPEN":
                box.book.cancel(order.order_id)

    shared.server.do(tidy)
    shared.client.timeout = 5
    shared.log_in()
    shared.price("812.5")
    return shared


def row_of(desk: Desk, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in desk.client.orders() if row["order_id"] == order_id)
    return found


# --- the good days ----------------------------------------------------------------------------------------------------------


def test_an_order_is_placed_modified_and_cancelled(desk):
    """By the client as it is, with book and history as documented."""
    order_id = desk.buy(tag="mine1")
    assert desk.client.modify_order("regular", order_id, price=801) == order_id
    assert desk.client.cancel_order("regular", order_id) == order_id
    row = row_of(desk, order_id)
    assert (row["status"], row["tag"], row["tags"], row["price"]) == ("CANCELLED", "mine1", ["mine1"], 801)
    assert isinstance(row["order_timestamp"], datetime)
    assert isinstance(row["exchange_update_timestamp"], str)
    history = [state["status"] for state in desk.client.order_history(order_id)]
    assert history[0] == "PUT ORDER REQ RECEIVED"
    assert history[-2:] == ["CANCEL PENDING", "CANCELLED"]


def test_a_fill_shows_in_trades_positions_and_margins(desk):
    """Everywhere the same."""
    order_id = desk.buy(order_type="MARKET", price=None, market_protection=KiteConnect.MARKET_PROTECTION_AUTO)
    assert row_of(desk, order_id)["average_price"] == 812.5
    (trade,) = desk.client.order_trades(order_id)
    assert (trade["quantity"], trade["average_price"], trade["order_id"]) == (10, 812.5, order_id)
    assert trade["trade_id"] in {one["trade_id"] for one in desk.client.trades()}
    position = next(one for one in desk.client.positions()["net"] if one["tradingsymbol"] == "SBIN")
    assert position["product"] == "MIS"
    assert position["quantity"] == position["buy_quantity"] - position["sell_quantity"]
    margins = desk.client.margins()
    assert margins["equity"]["net"] < margins["equity"]["available"]["cash"]
    assert desk.client.margins("commodity")["enabled"]


def test_user_instruments_and_quotes_are_read(desk):
    """The dump comes compressed, unknown keys are silently absent."""
    assert desk.client.profile()["user_id"] == "SB0001"
    whole, nse = desk.client.instruments(), desk.client.instruments("NSE")
    assert {row["exchange"] for row in nse} == {"NSE"}
    assert len(whole) > len(nse)
    sbin = next(row for row in nse if row["tradingsymbol"] == "SBIN")
    assert desk.client.ltp(SBIN, "NSE:NOPE") == {SBIN: {"instrument_token": sbin["instrument_token"], "last_price": 812.5}}
    assert desk.client.ohlc(SBIN)[SBIN]["ohlc"]["close"] > 0
    assert isinstance(desk.client.quote(SBIN)[SBIN]["timestamp"], datetime)
    now = datetime.now() + timedelta(days=1)  # noqa: DTZ005 - the client wants naive ones
    candles = desk.client.historical_data(sbin["instrument_token"], now - timedelta(days=3), now, "day")
    assert candles[-1]["close"] == 812.5


def test_margins_and_charges_of_orders_are_told(desk):
    """Before they are placed, and after."""
    order = {
        "exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "BUY", "variety": "regular", "product": "MIS",
        "order_type": "LIMIT", "quantity": 10, "price": 800, "trigger_price": 0,
    }  # fmt: skip
    (row,) = desk.client.order_margins([order])
    assert (row["total"], row["leverage"]) == (1_600, 5)
    assert desk.client.basket_order_margins([order, order], mode="compact")["final"]["total"] == 3_200
    (note,) = desk.client.get_virtual_contract_note([{**order, "order_id": "1", "average_price": 800}])
    assert note["charges"]["total"] > 0
    assert desk.client.holdings() == []
    assert desk.client.get_auction_instruments() == []


def test_triggers_are_placed_changed_fired_and_deleted(desk):
    """Through the client's own payloads."""
    leg = {"transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT", "product": "MIS", "price": 850}
    single = desk.client.place_gtt("single", "SBIN", "NSE", [850], 812.5, [leg])["trigger_id"]
    desk.client.modify_gtt(single, "single", "SBIN", "NSE", [840], 812.5, [leg])
    both = desk.client.place_gtt("two-leg", "SBIN", "NSE", [700, 900], 812.5, [leg, leg])["trigger_id"]
    desk.price("841")
    assert desk.client.get_gtt(single)["status"] == KiteConnect.GTT_STATUS_TRIGGERED
    desk.client.delete_gtt(both)
    assert {row["id"]: row["status"] for row in desk.client.get_gtts()}[both] == KiteConnect.GTT_STATUS_DELETED
    with pytest.raises(kite_errors.InputException):
        desk.client.delete_gtt(both)


@pytest.mark.parametrize("shape", ["children", "flat"])
def test_a_sliced_order_is_answered_in_either_shape(desk, shape):
    """A dictionary with children, or a list."""
    desk.turn(autoslice_shape=shape, freeze={SBIN: 4})
    answer = desk.client.place_autoslice_order("regular", "NSE", "SBIN", "BUY", 10, "MIS", "LIMIT", price=800, tag="cut")
    children = answer if shape == "flat" else answer["children"]
    rows = [row_of(desk, child["order_id"]) for child in children]
    assert [row["quantity"] for row in rows] == [4, 4, 2]
    assert all(row["tag"] == "cut" and "autoslice" in row["tags"] for row in rows)


def test_one_slice_may_be_an_error_in_a_success(desk):
    """HTTP 200, and not everything is in."""
    desk.turn(freeze={SBIN: 5})
    desk.faults("book", autoslice_child_error=1)
    before = desk.count()
    answer = desk.client.place_autoslice_order("regular", "NSE", "SBIN", "BUY", 10, "MIS", "LIMIT", price=800)
    assert answer["children"][1]["error"]["error_type"] == "MarginException"
    assert desk.count() == before + 1


# --- refusals ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind", "told"),
    [
        ({"order_type": "MARKET", "price": None}, kite_errors.InputException, "market protection"),
        ({"tag": "a" * 21}, kite_errors.InputException, "tag"),
        ({"tradingsymbol": "NOPE"}, kite_errors.InputException, "does not exist"),
        ({"variety": "co", "trigger_price": 790}, kite_errors.OrderException, "Cover"),
    ],
)
def test_a_refused_order_raises_and_is_in_no_book(desk, fields, kind, told):
    """400."""
    before = desk.count()
    with pytest.raises(kind, match=told) as refused:
        desk.buy(**fields)
    assert refused.value.code == 400
    assert desk.count() == before


def test_what_is_not_there_is_refused(desk):
    """Orders, triggers, routes and methods."""
    for ask in (lambda: desk.client.order_history("1"), lambda: desk.client.cancel_order("regular", "1")):
        with pytest.raises(kite_errors.OrderException):
            ask()
    with pytest.raises(kite_errors.DataException):
        desk.client.get_gtt(1)
    with pytest.raises(kite_errors.GeneralException) as refused:
        desk.client.mf_orders()
    assert refused.value.code == 404
    assert desk.http.patch("/orders").json()["error_type"] == "GeneralException"


def test_an_ended_order_cannot_be_cancelled(desk):
    """It is being processed, says the vendor."""
    order_id = desk.buy(price=820)
    with pytest.raises(kite_errors.OrderException, match="being processed"):
        desk.client.cancel_order("regular", order_id)


# --- sessions ---------------------------------------------------------------------------------------------------------------


def test_the_login_page_sends_the_browser_back_with_a_token(desk):
    """After a click, or at once; the token is good for one session."""
    address, key = "/connect/login", {"v": "3", "api_key": desk.box.sessions.api_key, "redirect_params": "some=X"}
    assert "<button" in desk.http.get(address, params=key).text
    assert "request token" in desk.http.post(address, params=key).text
    desk.turn(redirect_url="http://127.0.0.1:1/back?a=b")
    clicked = desk.http.post(address, params=key)
    desk.turn(auto_login=True)
    sent = desk.http.get(address, params=key)
    assert (clicked.status_code, sent.status_code) == (302, 302)
    query = urlsplit(sent.headers["location"]).query
    token = parse_qs(query)["request_token"][0]
    assert query.startswith("a=b&action=login&type=login&status=success&request_token=")
    assert query.endswith("&some=X")
    client = KiteConnect(desk.box.sessions.api_key, root=desk.server.root)
    assert isinstance(client.generate_session(token, desk.box.sessions.api_secret)["login_time"], datetime)
    with pytest.raises(kite_errors.TokenException):
        client.generate_session(token, desk.box.sessions.api_secret)
    assert desk.http.get(address, params={"api_key": "other"}).status_code == 400
    client.reqsession.close()


def test_a_dead_session_is_a_403_and_calls_the_hook(desk):
    """Logged out, ended by the vendor, never logged in, or of another app."""
    fired: list[bool] = []
    desk.client.set_session_expiry_hook(lambda: fired.append(True))
    desk.client.invalidate_access_token()
    for end in (lambda: None, lambda: (desk.log_in(), desk.http.delete("/sandbox/session"))):
        end()
        with pytest.raises(kite_errors.TokenException, match=BAD_CREDENTIALS) as refused:
            desk.client.orders()
        assert refused.value.code == 403
    stranger = KiteConnect("other", desk.client.access_token, root=desk.server.root)
    with pytest.raises(kite_errors.TokenException):
        stranger.orders()
    stranger.reqsession.close()
    assert len(fired) == 2
    desk.client.session_expiry_hook = None


def test_a_token_dies_at_six_by_the_clock():
    """Of the sandbox, whatever the machine says."""
    clock = StillClock()
    with open_desk(clock) as desk:
        assert desk.client.orders() == []
        clock.at = clock.at.replace(hour=0, minute=30) + timedelta(days=1)
        with pytest.raises(kite_errors.TokenException):
            desk.client.orders()
        desk.log_in()
        assert desk.client.orders() == []


def test_another_version_of_the_api_is_refused(desk):
    """This is the third."""
    headers = {"authorization": f"token {desk.box.sessions.api_key}:{desk.client.access_token}", "x-kite-version": "2"}
    assert desk.http.get("/orders", headers=headers).status_code == 400
    assert desk.http.get("/orders", headers=headers | {"x-kite-version": "3"}).status_code == 200


# --- failures ---------------------------------------------------------------------------------------------------------------

AFTER = [
    ("drop_after", requests.ConnectionError, None),
    ("400_timed_out_after", kite_errors.OrderException, 400),
    ("502_after", kite_errors.DataException, 502),
    ("503_after", kite_errors.DataException, 502),
    ("504_after", kite_errors.DataException, 502),
    ("no_content_type", KeyError, None),
    ("json_list", AttributeError, None),
]
BEFORE = [
    ("drop_before", requests.ConnectionError, None),
    ("400_timed_out_before", kite_errors.OrderException, 400),
    ("502_before", kite_errors.DataException, 502),
    ("503_before", kite_errors.DataException, 502),
    ("504_before", kite_errors.DataException, 502),
    ("429", kite_errors.NetworkException, 429),
    ("429_retry_after", kite_errors.NetworkException, 429),
    ("empty_error_type", TypeError, None),
    ("ip_refused", kite_errors.PermissionException, 403),
    ("400_margin", kite_errors.GeneralException, 400),
    ("token_dead", kite_errors.TokenException, 403),
]


@pytest.mark.parametrize(("fault", "kind", "code", "placed"), [(*one, 1) for one in AFTER] + [(*one, 0) for one in BEFORE])
def test_a_fault_of_a_placement_looks_as_it_should_and_acts_or_not(desk, fault, kind, code, placed):
    """The client cannot tell most of them apart; the book can. Each happens once."""
    before = desk.count()
    desk.faults("orders", **{f"_{fault}": 1})
    with pytest.raises(kind) as failed:
        desk.buy()
    assert getattr(failed.value, "code", None) == code
    assert desk.count() == before + placed
    if fault == "token_dead":
        desk.log_in()
    desk.buy()
    assert desk.count() == before + placed + 1


@pytest.mark.parametrize(
    ("fault", "kind"), [("503_before", kite_errors.DataException), ("drop_after", requests.ConnectionError)]
)
def test_reads_have_faults_of_their_own(desk, fault, kind):
    """Orders go through meanwhile."""
    desk.faults("reads", **{f"_{fault}": 1})
    desk.buy()
    with pytest.raises(kind):
        desk.client.orders()
    assert desk.client.orders()


def test_gateways_answer_in_html(desk):
    """With the true status, which the client hides."""
    headers = {"authorization": f"token {desk.box.sessions.api_key}:{desk.client.access_token}"}
    desk.faults("reads", _504_before=1)
    answer = desk.http.get("/orders", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html; charset=utf-8")


def test_a_429_may_say_how_long(desk):
    """Or not."""
    headers = {"authorization": f"token {desk.box.sessions.api_key}:{desk.client.access_token}"}
    desk.turn(retry_after_s=7)
    desk.faults("reads", _429=1, _429_retry_after=1)
    assert [desk.http.get("/orders", headers=headers).headers.get("retry-after") for _ in range(2)] == [None, "7"]


@pytest.mark.parametrize(
    ("fault", "kind"), [("delay", requests.ReadTimeout), ("slow_body", None), ("stalled_body", requests.ConnectionError)]
)
def test_an_answer_that_takes_too_long_was_acted_upon(desk, fault, kind):
    """A slow one is waited for, part by part; a silent one is not. Both leave an order."""
    before = desk.count()
    desk.client.timeout = 0.3
    desk.turn(delay_ms=700, slow_ms=700)
    desk.faults("orders", **{fault: 1})
    if kind is None:
        desk.buy()
    else:
        with pytest.raises(kind):
            desk.buy()
    assert desk.count() == before + 1


def test_an_answer_can_be_delayed_and_then_dropped(desk):
    """The order was taken long before."""
    before, began = desk.count(), time.monotonic()
    desk.turn(delay_ms=200)
    desk.faults("orders", delay=1, drop_after=1)
    with pytest.raises(requests.ConnectionError):
        desk.buy()
    assert time.monotonic() - began >= 0.2
    assert desk.count() == before + 1


def test_a_compressed_answer_is_read(desk):
    """As the documentation warns."""
    desk.faults("orders", gzip=1)
    assert row_of(desk, desk.buy())["status"] == "OPEN"


def test_a_lagging_book_misses_a_new_order(desk):
    """Absence proves nothing yet."""
    desk.turn(book_lag_ms=60_000)
    order_id = desk.buy()
    assert order_id not in {row["order_id"] for row in desk.client.orders()}
    desk.turn(book_lag_ms=0)
    assert row_of(desk, order_id)["status"] == "OPEN"


def test_a_stuck_order_is_released_by_the_control(desk):
    """PUT ORDER REQ RECEIVED for as long as it is wanted."""
    desk.faults("book", stuck=1)
    order_id = desk.buy()
    assert row_of(desk, order_id)["status"] == "PUT ORDER REQ RECEIVED"
    assert desk.http.post("/sandbox/release").json() == {"released": 1}
    assert row_of(desk, order_id)["status"] == "OPEN"


def test_parts_of_an_order_can_be_filled_by_hand(desk):
    """Whatever the market says; nonsense is refused."""
    order_id = desk.buy()
    assert desk.http.post("/sandbox/fill", json={"order_id": order_id, "quantity": 3, "price": "799"}).status_code == 200
    row = row_of(desk, order_id)
    assert (row["filled_quantity"], row["status"], row["average_price"]) == (3, "OPEN", 799)
    for wrong in ({"order_id": order_id, "quantity": 8, "price": 1}, {"order_id": "1", "quantity": 1, "price": 1}, {}):
        assert desk.http.post("/sandbox/fill", json=wrong).status_code == 400


def test_control_wants_json(desk):
    """Which a page of elsewhere may not send."""
    assert desk.http.post("/sandbox/price", content=json.dumps({"symbol": SBIN, "price": "1"})).status_code == 400
    assert desk.http.post("/sandbox/faults", json={"nope": 1}).status_code == 400
    assert desk.http.get("/sandbox/faults").json()["orders"]["429"] == 0
    assert desk.http.get("/sandbox/settings").json()["book_lag_ms"] == 0


# --- limits -------------------------------------------------------------------------------------------------------------------


def test_the_eleventh_order_of_a_second_is_a_429_and_the_counts_say_so():
    """With the clock standing, the second never ends; stats tell the largest of any second."""
    clock = StillClock()
    with open_desk(clock, enforce_limits=True) as desk:
        for _ in range(10):
            desk.buy()
        with pytest.raises(kite_errors.NetworkException, match="Too many requests") as refused:
            desk.buy()
        assert refused.value.code == 429
        clock.move(seconds=1)
        desk.buy()
        desk.client.ltp(SBIN)
        with pytest.raises(kite_errors.NetworkException):
            desk.client.quote(SBIN)
        stats = desk.http.get("/sandbox/stats").json()
        assert stats["orders"] == 11
        assert stats["largest"]["place_per_second"] == 10
        assert stats["largest"]["place_attempts_per_second"] == 11
        assert stats["totals"]["place_refused"] == 1


# --- restarts -----------------------------------------------------------------------------------------------------------------


def test_a_server_that_starts_again_has_its_book(desk):
    """On the same port, with the session; meanwhile nobody is there."""
    order_id = desk.buy()
    desk.server.stop()
    with pytest.raises(requests.ConnectionError):
        desk.client.orders()
    desk.server.start()
    assert row_of(desk, order_id)["status"] == "OPEN"


# --- the stream, byte by byte -------------------------------------------------------------------------------------------------


class Line:
    """A WebSocket by hand, so that it can do what no library would."""

    def __init__(self, desk: Desk, query: str | None = None, path: str = "/", key: str = "dGhlIHNhbXBsZSBub25jZQ==") -> None:
        query = f"api_key={desk.client.api_key}&access_token={desk.client.access_token}" if query is None else query
        self.socket = socket.create_connection(("127.0.0.1", desk.server.port), 5)
        head = f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = [line for line in iter(self.file.readline, b"\r\n") if line]

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_words: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, opcode: int, payload: bytes) -> None:
        """A short frame, masked with zeros."""
        self.socket.sendall(bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload)

    def read(self) -> tuple[int, bytes]:
        """The next frame that is no heartbeat."""
        while True:
            first, length = self.file.read(2)
            if length == 126:
                length = int.from_bytes(self.file.read(2), "big")
            payload = self.file.read(length)
            if (first & 0x0F, payload) != (BINARY, b"\0"):
                return first & 0x0F, payload


@pytest.mark.parametrize(
    ("told", "status"),
    [({"query": "api_key=x&access_token=y"}, 403), ({"query": ""}, 403), ({"path": "/else"}, 404), ({"key": ""}, 400)],
)
def test_a_stream_is_for_those_who_are_logged_in(desk, told, status):
    """At its one address, and by the protocol."""
    with Line(desk, **told) as line:
        assert line.status == status


def test_the_handshake_is_that_of_the_standard(desk):
    """The example of RFC 6455, section 1.3; a ping is answered, and a close."""
    with Line(desk) as line:
        assert line.status == 101
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in line.headers
        line.send(PING, b"are you there")
        assert line.read() == (PONG, b"are you there")
        line.send(CLOSE, struct.pack(">H", 1000))
        assert line.read() == (CLOSE, struct.pack(">H", 1000))


def test_a_fourth_stream_is_turned_away(desk):
    """Three for each key; one that goes makes room."""
    with Line(desk) as first, Line(desk) as second, Line(desk) as third:
        assert {first.status, second.status, third.status} == {101}
        with Line(desk) as fourth:
            assert fourth.status == 429
    wait_for(lambda: desk.http.get("/sandbox/stats").json()["listeners"] == 0, "them to be gone")
    with Line(desk) as again:
        assert again.status == 101


def test_what_a_stream_cannot_do_is_told_as_an_error(desk):
    """By a text of that type; a frame that breaks the protocol ends the connection."""
    with Line(desk) as line:
        for wrong in (b"not json", b'{"a": "dance", "v": [1]}', b'{"a": "mode", "v": ["all", [1]]}', b'{"a": "subscribe"}'):
            line.send(TEXT, wrong)
            opcode, payload = line.read()
            assert (opcode, json.loads(payload)["type"]) == (TEXT, "error")
        line.socket.sendall(b"\x81\x01a")
        assert line.read() == (CLOSE, struct.pack(">H", 1002))


def test_several_instruments_come_in_one_message(desk):
    """And what is unsubscribed comes no more."""
    sbin, infy = (desk.box.market.listed[symbol].token for symbol in (SBIN, "NSE:INFY"))
    with Line(desk) as line:
        line.send(TEXT, json.dumps({"a": "mode", "v": ["ltp", [sbin, infy, 1]]}).encode())
        _, payload = line.read()
        assert (struct.unpack(">H", payload[:2])[0], len(payload)) == (2, 2 + 2 * (2 + 8))
        line.send(TEXT, json.dumps({"a": "unsubscribe", "v": [infy]}).encode())
        line.send(PING, b"")
        assert line.read() == (PONG, b"")
        desk.price("1500", "NSE:INFY")
        desk.price("815")
        _, payload = line.read()
        assert struct.unpack(">HHII", payload) == (1, 8, sbin, 81_500)


# --- pushes -------------------------------------------------------------------------------------------------------------------


def test_postbacks_are_posted_with_their_checksum(desk):
    """SHA-256 of id, time and secret; an address that does not answer is counted, and stops nothing."""
    heard: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        desk.turn(postback_url=f"http://127.0.0.1:{server.server_port}/postback?x=1")
        order_id = desk.buy(price=820)
        wait_for(lambda: heard, "a postback")
        server.shutdown()
    (update,) = heard
    signed = f"{order_id}{update['order_timestamp']}{desk.box.sessions.api_secret}"
    assert update["checksum"] == hashlib.sha256(signed.encode()).hexdigest()
    assert (update["status"], update["unfilled_quantity"], update["user_id"]) == ("COMPLETE", 0, "SB0001")
    desk.turn(postback_url="http://127.0.0.1:9/nobody")
    desk.buy(price=820)
    wait_for(lambda: desk.http.get("/sandbox/stats").json()["postbacks_failed"], "the failure to be counted")


def test_the_vendors_ticker_hears_ticks_and_orders(desk):
    """Subscribed in full; a silent stream says nothing; a broken one is joined again and subscribed anew.

    One test for all of it: the reactor behind the ticker starts once in a process, and takes orders from its own thread alone.
    """
    token = desk.box.market.listed[SBIN].token
    ticks: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    beats: list[bytes] = []
    joins: list[bool] = []
    errors: list[Any] = []
    ticker = KiteTicker(desk.client.api_key, desk.client.access_token, root=desk.server.stream_root, reconnect_max_delay=5)

    def join(ws: Any, _response: Any) -> None:
        if not joins:
            ws.subscribe([token])
            ws.set_mode(ws.MODE_FULL, [token])
        joins.append(True)

    ticker.on_connect = join
    ticker.on_ticks = lambda _ws, found: ticks.extend(found)
    ticker.on_order_update = lambda _ws, data: updates.append(data)
    ticker.on_message = lambda _ws, payload, is_binary: beats.append(payload) if is_binary and len(payload) == 1 else None
    ticker.on_error = lambda _ws, code, reason: errors.append((code, reason))
    desk.turn(heartbeat_ms=50)
    start_reactor()
    in_reactor(ticker.connect)
    wait_for(lambda: [tick for tick in ticks if tick["mode"] == "full"], "a full tick")
    wait_for(lambda: beats, "a heartbeat")

    desk.price("815.5")
    wait_for(lambda: ticks[-1]["last_price"] == 815.5, "the new price")
    order_id = desk.buy(price=820)
    wait_for(lambda: updates, "the order's update")
    assert (updates[-1]["order_id"], updates[-1]["status"]) == (order_id, "COMPLETE")

    desk.turn(stream_stale=True)
    seen = len(ticks), len(updates)
    desk.price("816")
    desk.buy(price=820)
    desk.turn(stream_stale=False)
    desk.price("817")
    wait_for(lambda: ticks[-1]["last_price"] == 817, "the stream to speak again")
    assert (len(ticks), len(updates)) == (seen[0] + 1, seen[1])

    desk.http.post("/sandbox/drop-streams")
    wait_for(lambda: len(joins) == 2 and desk.http.get("/sandbox/stats").json()["listeners"] == 1, "the ticker to come back")
    desk.price("818")
    wait_for(lambda: ticks[-1]["last_price"] == 818, "the subscription to be renewed")
    assert ticks[-1]["mode"] == "full"

    desk.http.delete("/sandbox/session")
    wait_for(lambda: any("403" in str(reason) for _, reason in errors), "the dead token to be turned away")
    in_reactor(ticker.close)
    wait_for(lambda: desk.http.get("/sandbox/stats").json()["listeners"] == 0, "the ticker to go")
