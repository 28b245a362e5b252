"""The venue as whoever has its address sees it: several accounts, odd requests, its token, and its end."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.server import ServedVenue
from tests.support.terminal import Terminal

ORDER = {"tag": "T", "symbol": "NSE:SBIN", "side": "BUY", "product": "MIS", "order_qty": "10", "last_price": "800"}
TOKEN = "a token of sixteen"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedVenue]:
    options = ("--no-charges", "--slippage-bps", "0", "--cash", "50000")
    with ServedVenue(tmp_path_factory.mktemp("venue"), *options) as served:
        yield served


def place(venue: ServedVenue, account: str, **fields: Any) -> httpx.Response:
    return venue.http.post(f"/v1/{account}/orders", json={**ORDER, **fields})


def test_accounts_are_apart_and_share_the_market(venue: ServedVenue) -> None:
    """Each has the opening money, its own book and its own reports; a price is everybody's."""
    for account in ("one", "two"):
        assert place(venue, account, order_qty="5", ord_type="LIMIT", price="700").status_code == 200
    assert place(venue, "one").status_code == 200
    before = {account: venue.ask("GET", f"/v1/{account}/reports")["last"] for account in ("one", "two")}
    assert before == {"one": 2, "two": 1}
    assert venue.ask("GET", "/v1/two/positions") == {"positions": []}
    venue.price("690")
    for account, held in (("one", "15"), ("two", "5")):
        assert venue.ask("GET", f"/v1/{account}/positions")["positions"][0]["quantity"] == held
        reports = venue.ask("GET", f"/v1/{account}/reports?after={before[account]}")["reports"]
        assert [(report["kind"], report["last_px"]) for report in reports] == [("FILL", "700")]
    assert venue.ask("GET", "/v1/two/funds")["equity"] == "49950"


def test_the_newest_price_counts_whatever_arrives_last(venue: ServedVenue) -> None:
    """Prices may overtake one another on the way; one from the future does not lock out the rest."""
    for price, at in (("500", "2999-01-01T00:00:00+00:00"), ("400", "2020-01-01T00:00:00+00:00")):
        venue.ask("POST", "/v1/p/prices", {"symbol": "NSE:TCS", "price": price, "at": at})
    place(venue, "p", symbol="NSE:TCS", last_price=None, order_qty="1")
    assert venue.ask("GET", "/v1/p/orders")["orders"][0]["fills"][0]["last_px"] == "500"
    venue.price("450", "NSE:TCS")
    place(venue, "p", symbol="NSE:TCS", last_price=None, order_qty="1")
    assert venue.ask("GET", "/v1/p/orders")["orders"][1]["fills"][0]["last_px"] == "450"


def test_a_question_for_news_waits_for_them(venue: ServedVenue) -> None:
    """A second at most here; and an answer at once when something comes."""
    place(venue, "poll")
    last = venue.ask("GET", "/v1/poll/reports")["last"]
    began = time.monotonic()
    assert venue.ask("GET", f"/v1/poll/reports?after={last + 1}&wait_s=20")["first"] == last + 1  # a gap does not wait
    assert venue.ask("GET", f"/v1/poll/reports?after={last}&wait_s=1")["reports"] == []
    assert 0.9 < time.monotonic() - began < 10


BAD_ORDERS = [
    ({"side": "UP"}, 400), ({"side": None}, 400), ({"order_qty": 10}, 400), ({"order_qty": "ten"}, 400),
    ({"order_qty": "NaN"}, 400), ({"order_qty": "0"}, 400), ({"order_qty": "-1"}, 400), ({"order_qty": "0.5"}, 400),
    ({"symbol": "NSE:NONE"}, 400), ({"symbol": None}, 400), ({"symbol": ["NSE:SBIN"]}, 400), ({"product": "NRML"}, 400),
    ({"ord_type": "LIMIT"}, 400), ({"ord_type": "LIMIT", "price": "700.01"}, 400), ({"last_price": 800.5}, 400),
    ({"time_in_force": "GTC"}, 400), ({"tag": 7}, 400), ({"last_price": "-5"}, 200),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status"), BAD_ORDERS)
def test_what_is_no_order_is_refused_in_the_brokers_own_words(venue: ServedVenue, fields: dict[str, Any], status: int) -> None:
    """A 400 with a sentence: the bridge takes it for a refusal and does not send it again."""
    answer = place(venue, "bad", **fields)
    assert (answer.status_code, bool(answer.json().get("message"))) == (status, status == 400)


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("GET", "/", b"", {}, 404),
        ("GET", "/v1/a", b"", {}, 404),
        ("PUT", "/v1/a/orders", b"{}", {}, 405),
        ("GET", f"/v1/{'a' * 41}/orders", b"", {}, 404),
        ("GET", "/v1/.hidden/orders", b"", {}, 404),
        ("GET", "/v1/a%2Fb/orders", b"", {}, 404),
        ("DELETE", "/v1/a/orders/none", b"", {}, 400),
        ("GET", "/v1/a/reports?after=-1", b"", {}, 400),
        ("GET", "/v1/a/reports?wait_s=nan", b"", {}, 400),
        ("POST", "/v1/a/orders", b"{}", {"content-type": "text/plain"}, 415),
        ("POST", "/v1/a/orders", b"{", {}, 400),
        ("POST", "/v1/a/orders", b"[]", {}, 400),
        ("POST", "/v1/a/orders", b"[" * 10_000, {}, 400),
        ("POST", "/v1/a/orders", b"\xff\xfe", {}, 400),
        ("POST", "/v1/a/orders", b'"' + b"x" * 20_000 + b'"', {}, 413),
        ("POST", "/v1/a/prices", b'{"symbol":"NSE:SBIN","price":"0","at":"2026-11-20T05:00:00Z"}', {}, 400),
        ("POST", "/v1/a/prices", b'{"symbol":"NSE:NONE","price":"5","at":"2026-11-20T05:00:00Z"}', {}, 400),
        ("POST", "/v1/a/prices", b'{"symbol":"NSE:SBIN","price":"5","at":"2026-11-20T05:00:00"}', {}, 400),
        ("POST", "/v1/a/prices", b'{"symbol":"NSE:SBIN","price":"5","at":17}', {}, 400),
        ("POST", "/faults", b'{"flood":1}', {}, 400),
    ],
)
def test_an_odd_request_is_an_answer(
    venue: ServedVenue, method: str, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    """In the venue's own JSON, never a traceback."""
    answer = venue.http.request(method, path, content=content, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "message"}


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text(max_size=3)))


@settings(max_examples=60)
@given(fields=st.dictionaries(st.sampled_from([*ORDER, "ord_type", "price", "trigger_price", "time_in_force"]), _VALUES))
def test_no_order_makes_a_server_error(venue: ServedVenue, fields: dict[str, Any]) -> None:
    """Whatever the fields hold."""
    body = json.dumps({**ORDER, **fields})
    answer = venue.http.post("/v1/fuzz/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400), answer.text


def test_beyond_this_machine_it_wants_a_token_and_keeps_its_faults_to_itself(tmp_path: Path) -> None:
    """Whoever reaches it trades there: refused without a token, and with one every request must carry it."""
    terminal = Terminal(folder=tmp_path)
    for env, told in (({}, "BRIDGE_VENUE_TOKEN"), ({"BRIDGE_VENUE_TOKEN": "short"}, "at least 16")):
        refused = terminal.run("venue", "--host", "0.0.0.0", "--port", "0", **env)
        assert (refused.code, told in refused.err) == (2, True)
    with ServedVenue(tmp_path / "v", "--host", "0.0.0.0", env={"BRIDGE_VENUE_TOKEN": TOKEN}) as venue:
        for path in ("/v1/a/orders", "/faults"):
            assert venue.http.get(path).status_code == 401
            assert venue.http.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
            assert venue.http.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert venue.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("options", "told"),
    [(("--cash", "lots"), "--cash"), (("--cash=-1",), "--cash"), (("--slippage-bps", "x"), "--slippage-bps")],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    """One line, exit code 2."""
    done = Terminal(folder=tmp_path).run("venue", "--port", "0", *options)
    assert (done.code, told in done.err) == (2, True)


def test_one_venue_per_folder_and_per_port(tmp_path: Path) -> None:
    """Two would give the same numbers to different orders."""
    with ServedVenue(tmp_path) as venue:
        same_folder = Terminal(folder=tmp_path).run("venue", "--port", "0", "--data", str(venue.data))
        assert (same_folder.code, "another venue is running" in same_folder.err) == (2, True)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        same_port = Terminal(folder=tmp_path).run("venue", "--port", port, "--data", str(venue.data))
        assert (same_port.code, f"port {port}" in same_port.err, "--port" in same_port.err) == (2, True, True)


def test_told_to_stop_it_ends_well_though_somebody_waits_for_news(tmp_path: Path) -> None:
    """SIGTERM is a success, at once, and the books are there afterwards; by default they lie beside the bridge's."""
    with ServedVenue(tmp_path) as venue:
        place(venue, "a")
        last = venue.ask("GET", "/v1/a/reports")["last"]
        request = f"GET /v1/a/reports?after={last}&wait_s=30 HTTP/1.1\r\nhost: x\r\n\r\n"
        with closing(socket.create_connection(("127.0.0.1", venue.port), timeout=20)) as waiting:
            waiting.sendall(request.encode())
            began = time.monotonic()
            assert venue.stop() == 0
            assert time.monotonic() - began < 5
            assert b"200 OK" in waiting.recv(4_096)
        assert venue.orders("a") == [("T", "FILLED", "10")]
        assert "Traceback" not in venue.log.read_text()
        assert venue.data.stat().st_mode & 0o777 == 0o700
