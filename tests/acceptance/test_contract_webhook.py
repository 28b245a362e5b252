"""The public contract of the webhook, row by row, over real HTTP with an independent client."""

import base64
import concurrent.futures
import json
import secrets
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks import Webhook

from tests.support.server import WEBHOOK, Served
from tests.support.waiting import wait_for

SECRETS = tuple("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
STRANGER = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
CONFIG: dict[str, Any] = {
    "accounts": {
        "paper": {"broker": "paper", "cash": 100_000_000, "session": "always"},
        "quiet": {"broker": "paper", "cash": 100_000_000, "session": "always"},
    },
    "strategies": {
        "demo": {"accounts": ["paper"], "product": "MIS"},
        "other": {"accounts": ["paper"], "product": "MIS"},
        "flat": {"accounts": ["quiet"], "product": "MIS"},
    },
    "webhook": {"freshness_s": 60, "rate_per_minute": 100_000, "signing_secrets": list(SECRETS)},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One bridge for all tests of this file; each test uses tokens and alerts of its own."""
    with Served(tmp_path_factory.mktemp("contract"), config=CONFIG, fresh=True) as served:
        yield served


@pytest.fixture(scope="module")
def token(server: Served) -> str:
    return str(server.mint()["token"])


@pytest.fixture
def fresh_token(server: Served) -> str:
    """A token of this test's own: of each, only the first thirty refusals of a minute are kept."""
    return str(server.mint()["token"])


def check(answer: httpx.Response, http: int, status: str, code: str | None = None, field: str | None = None) -> dict[str, Any]:
    """The answer is that row of the contract's table, as JSON with a sentence."""
    assert answer.headers["content-type"].startswith("application/json")
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["status"]) == (http, status), answer.text
    assert set(told) <= {"status", "alert_id", "code", "message", "field", "hint"}
    assert told.get("code") == code, answer.text
    if code is not None:
        assert told["message"].endswith((".", "?")), told
    if field is not None:
        assert told["field"] == field, answer.text
    return told


# -- 200 --------------------------------------------------------------------------------------------------------------


def test_an_authentic_alert_is_accepted_and_its_resend_is_a_duplicate(server: Served, token: str) -> None:
    """The same bytes again, at once or later, get the first one's id, and there is one order."""
    body = server.body(token, action="buy", quantity="1")
    first = check(server.post(body), 200, "accepted")
    for _ in range(3):
        again = check(server.post(body), 200, "duplicate")
        assert again["alert_id"] == first["alert_id"]
    way = server.ended(first["alert_id"])
    assert (way["disposition"], len(way["orders"])) == ("done", 1)


def test_fifty_resends_at_once_make_one_order(server: Served, token: str) -> None:
    """Simultaneous deliveries of one alert: one accepted, the others duplicates of it."""
    content = json.dumps(server.body(token, action="buy", quantity="1"))
    with concurrent.futures.ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _n: httpx.post(server.url + WEBHOOK, content=content, timeout=20), range(50)))
    assert {answer.status_code for answer in answers} == {200}
    told = [answer.json() for answer in answers]
    assert sorted(one["status"] for one in told) == ["accepted"] + ["duplicate"] * 49
    assert len({one["alert_id"] for one in told}) == 1
    way = server.ended(told[0]["alert_id"])
    tag = way["orders"][0]["tag"]
    assert len(way["orders"]) == 1
    assert server.rows("SELECT COUNT(*) FROM paper_orders WHERE tag = ?", tag) == [(1,)]


def test_the_token_may_ride_in_the_url(server: Served, token: str) -> None:
    """TradingView can send no header: the URL will do, the body's field will do, and both when they agree."""
    check(server.post(server.body(action="buy", quantity="1"), f"{WEBHOOK}/{token}"), 200, "accepted")
    check(server.post(server.body(token, action="buy", quantity="1"), f"{WEBHOOK}/{token}"), 200, "accepted")
    other = server.mint()["token"]
    check(server.post(server.body(other, action="buy", quantity="1"), f"{WEBHOOK}/{token}"), 401, "refused", "E_AUTH")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "image/png", "nonsense"]
)
def test_the_content_type_is_ignored(server: Served, token: str, kind: str) -> None:
    """TradingView sends text/plain or JSON as it sees fit: the body is bytes."""
    body = server.body(token, action="buy", quantity="1")
    check(server.post(body, headers={"content-type": kind}), 200, "accepted")


def test_numbers_may_be_numbers_or_texts_and_unknown_keys_are_notes(server: Served, token: str) -> None:
    """Both spellings of a number are the same; what means nothing is kept and changes nothing."""
    content = json.dumps(server.body(token, action="BUY", price=812.5, comment="x", nested={"a": [1, 2]}))
    content = content[:-1] + ', "quantity": 3}'
    way = server.ended(check(server.post(content), 200, "accepted")["alert_id"])
    assert way["orders"][0]["order_qty"] == "3"


def test_an_explicit_id_makes_other_content_a_conflict_and_the_same_a_duplicate(server: Served, token: str) -> None:
    """409 for the same id with other content; a retry with another time is the same alert."""
    ident = uuid.uuid4().hex
    first = check(server.post(server.body(token, id=ident, n="same", action="buy", quantity="1")), 200, "accepted")
    again = check(server.post(server.body(token, id=ident, n="same", action="buy", quantity="1")), 200, "duplicate")
    assert again["alert_id"] == first["alert_id"]
    told = check(server.post(server.body(token, id=ident, n="same", action="sell", quantity="1")), 409, "refused", "E_CONFLICT")
    assert told["alert_id"] != first["alert_id"]


# -- signatures -------------------------------------------------------------------------------------------------------


def sign(secret: str, body: str, at: datetime | None = None, ident: str | None = None) -> dict[str, str]:
    """The headers of the independent package `standardwebhooks`."""
    at, ident = at or datetime.now(UTC), ident or f"msg_{uuid.uuid4().hex}"
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(ident, at, body),
    }


@pytest.mark.parametrize("secret", SECRETS, ids=["first", "second"])
def test_a_signature_by_any_live_secret_vouches(server: Served, secret: str) -> None:
    """Rotation: while two secrets are live, both are good, alone or beside a signature by an unknown one."""
    body = json.dumps(server.body(action="buy", quantity="1"))
    check(server.post(body, headers=sign(secret, body)), 200, "accepted")
    body = json.dumps(server.body(action="buy", quantity="1"))
    headers, at = sign(secret, body), datetime.now(UTC)
    foreign = Webhook(STRANGER).sign(headers["webhook-id"], at, body)
    headers["webhook-signature"] = f"{foreign} v2,xyz {headers['webhook-signature']}"
    check(server.post(body, headers=headers), 200, "accepted")


def test_a_signed_retry_is_the_same_alert(server: Served) -> None:
    """The webhook-id names the alert; every attempt is signed anew."""
    body, ident = json.dumps(server.body(action="buy", quantity="1")), uuid.uuid4().hex
    first = check(server.post(body, headers=sign(SECRETS[0], body, ident=ident)), 200, "accepted")
    later = datetime.now(UTC) + timedelta(seconds=1)
    again = check(server.post(body, headers=sign(SECRETS[1], body, later, ident)), 200, "duplicate")
    assert again["alert_id"] == first["alert_id"]


def test_a_signature_that_does_not_fit_vouches_for_nothing(server: Served) -> None:
    """Unknown secret, changed body, old or future time, broken headers: all 401, never a 5xx."""
    body = json.dumps(server.body(action="buy", quantity="1"))
    good = sign(SECRETS[0], body)
    now = datetime.now(UTC)
    bad: list[dict[str, str]] = [
        sign(STRANGER, body),
        sign(SECRETS[0], body + " "),
        sign(SECRETS[0], body, now - timedelta(minutes=10)),
        sign(SECRETS[0], body, now + timedelta(minutes=10)),
        {**good, "webhook-timestamp": "soon"},
        {**good, "webhook-timestamp": "9" * 400},
        {**good, "webhook-timestamp": "-1"},
        {**good, "webhook-id": "other"},
        {**good, "webhook-signature": "v1,"},
        {**good, "webhook-signature": "v1,not base64!"},
        {**good, "webhook-signature": good["webhook-signature"].replace("v1", "v1a")},
        {**good, "webhook-signature": "v1,é".encode().decode("latin-1")},
        {name: value for name, value in good.items() if name != "webhook-id"},
    ]
    for headers in bad:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = server.http.post(WEBHOOK, content=body, headers=raw)
        check(answer, 401, "refused", "E_AUTH")


# -- 400, 401, 403, 413, 429 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E_EMPTY"), (b"  \n", "E_EMPTY"), (b"buy now", "E_JSON"), (b"[]", "E_JSON"), (b'"x"', "E_JSON"),
        (b"12", "E_JSON"), (b"null", "E_JSON"), (b'{"a": 1,}', "E_JSON"), (b"{'a': 1}", "E_JSON"),
        (b'{"a": 1, "a": 2}', "E_JSON"), (b"\xff\xfe{}", "E_JSON"), (b"\xef\xbb\xbf{}", "E_JSON"),
        (b'{"a": "\xc3\x28"}', "E_JSON"), (b'{"a":' * 2000 + b"1" + b"}" * 2000, "E_JSON"), (b"[" * 20000, "E_JSON"),
        (b'{"a": "\\ud800"}', "E_JSON"), (b"action=buy&symbol=X", "E_JSON"), (b'{"action": "buy"', "E_JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("vouched", [True, False], ids=["with token", "without"])
def test_a_body_that_cannot_be_read_is_400_with_a_mend(
    server: Served, fresh_token: str, content: bytes, code: str, vouched: bool
) -> None:
    """The hint says where and why; an authentic one is kept and shown."""
    answer = server.post(content, f"{WEBHOOK}/{fresh_token}" if vouched else WEBHOOK)
    told = check(answer, 400, "refused", code)
    assert told["hint"]
    if vouched:
        assert server.way(told["alert_id"])["disposition"] == "refused"
    else:
        assert "alert_id" not in told


def test_an_unauthenticated_alert_is_401_and_leaves_nothing(server: Served, token: str) -> None:
    """No token, a wrong one, a cut one, one of another installation: nobody vouches, and nothing is stored."""
    before = server.rows("SELECT COUNT(*) FROM alerts")
    version, payload, mac = token.split(".")
    widened = base64.urlsafe_b64encode(json.dumps({"k": "k1", "t": "x", "s": "demo"}).encode()).decode().rstrip("=")
    flipped = mac[:-2] + ("AA" if mac[-2:] != "AA" else "BB")
    for bad in (
        None,
        "",
        "x",
        "v1..",
        token[:-1],
        f"{version}.{widened}.{mac}",
        f"{version}.{payload}.{flipped}",
        f"v2.{payload}.{mac}",
        5,
        [token],
    ):
        check(server.post(server.body(bad, action="buy", quantity="1")), 401, "refused", "E_AUTH")  # type: ignore[arg-type]
    check(server.post(server.body(action="buy", quantity="1"), f"{WEBHOOK}/nonsense"), 401, "refused", "E_AUTH")
    assert server.rows("SELECT COUNT(*) FROM alerts") == before


def test_a_revoked_token_is_401_from_then_on(server: Served) -> None:
    """Revocation is immediate and final."""
    minted = server.mint()
    server.send(minted["token"], action="buy", quantity="1")
    server.api("DELETE", f"/tokens/{minted['token_id']}")
    check(server.post(server.body(minted["token"], action="buy", quantity="1")), 401, "refused", "E_AUTH")


def test_an_expired_token_is_401(server: Served) -> None:
    """A token is good until the second it names."""
    expires = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
    token = server.mint(expires=expires.isoformat())["token"]
    wait_for(lambda: datetime.now(UTC) > expires, "the expiry")
    check(server.post(server.body(token, action="buy", quantity="1")), 401, "refused", "E_AUTH")


@pytest.mark.parametrize(
    ("claims", "fields", "field"),
    [
        ({"symbols": ["NSE:SBIN"]}, {"symbol": "NSE:INFY"}, "symbol"),
        ({"symbols": ["BSE:*"]}, {}, "symbol"),
        ({"actions": ["exit"]}, {}, "action"),
        ({"actions": ["buy"]}, {"action": None, "quantity": None, "target": "1"}, "target"),
        ({"max_quantity": "5"}, {"quantity": "6"}, "quantity"),
        ({"max_quantity": "5"}, {"action": None, "quantity": None, "target": "-6"}, "target"),
        ({"max_notional": "1000"}, {"quantity": "2"}, "quantity"),
        ({"product": "MIS"}, {"product": "CNC"}, "product"),
        ({}, {"strategy": "other"}, "strategy"),
        ({"env": "live"}, {}, "accounts"),
    ],
)  # fmt: skip
def test_beyond_its_claims_a_token_is_403_and_the_alert_is_shown(
    server: Served, claims: dict[str, Any], fields: dict[str, Any], field: str
) -> None:
    """The field that is outside is named; nothing is traded; the trader sees it in the list."""
    token = server.mint(**claims)["token"]
    body = server.body(token, **{"action": "buy", "quantity": "1", **fields})
    told = check(server.post(body), 403, "refused", "E_SCOPE", field)
    assert server.way(told["alert_id"])["orders"] == []


def test_within_its_claims_a_token_is_good(server: Served) -> None:
    """The bounds themselves are allowed."""
    token = server.mint(symbols=["NSE:*"], actions=["buy", "sell"], max_quantity="5", product="MIS", env="paper")["token"]
    server.send(token, action="buy", quantity="5")
    server.send(token, action="sell", quantity="5")


def test_a_body_beyond_64_kib_is_413_declared_or_not(server: Served, token: str) -> None:
    """The largest is taken, one byte more is not, also when its length is not said beforehand."""
    body = json.dumps(server.body(token, action="buy", quantity="1"))
    check(server.post(body + " " * (64 * 1024 - len(body))), 200, "accepted")
    check(server.post(body + " " * (64 * 1024 - len(body) + 1)), 413, "refused", "E_SIZE")
    check(server.http.post(WEBHOOK, content=iter([b" " * 40_000, b" " * 40_000])), 413, "refused", "E_SIZE")


def test_too_many_in_a_minute_are_429_for_that_token_only(tmp_path: Path) -> None:
    """The rate is counted for each credential; the hint says when the next one is taken."""
    config = {"webhook": {"rate_per_minute": 3}}
    with Served(tmp_path, config=config) as served:
        one, other = served.mint()["token"], served.mint()["token"]
        for _ in range(3):
            served.send(one, action="buy", quantity="1")
        told = check(served.post(served.body(one, action="buy", quantity="1")), 429, "refused", "E_RATE")
        assert told["hint"]
        served.send(other, action="buy", quantity="1")
        assert served.stop() == 0


def test_an_address_that_is_not_listed_is_403(tmp_path: Path) -> None:
    """The true peer counts; what a stranger writes into X-Forwarded-For does not."""
    config = {"webhook": {"addresses": ["52.89.214.238"]}}
    with Served(tmp_path, config=config) as served:
        token = served.mint()["token"]
        for headers in ({}, {"x-forwarded-for": "52.89.214.238"}):
            answer = served.post(served.body(token, action="buy", quantity="1"), headers=headers)
            check(answer, 403, "refused", "E_ADDRESS")
        assert served.rows("SELECT COUNT(*) FROM orders") == [(0,)]


def test_behind_a_trusted_proxy_the_forwarded_address_counts(tmp_path: Path) -> None:
    """A configured proxy vouches for the address before its own, and for nothing further left."""
    config = {"webhook": {"addresses": ["52.89.214.238"]}, "server": {"trusted_proxies": ["127.0.0.1"]}}
    with Served(tmp_path, config=config) as served:
        token = served.mint()["token"]

        def answer(forwarded: str) -> httpx.Response:
            body = served.body(token, action="buy", quantity="1")
            return served.post(body, headers={"x-forwarded-for": forwarded})

        check(answer("52.89.214.238"), 200, "accepted")
        check(answer("1.2.3.4, 52.89.214.238"), 200, "accepted")
        check(answer("52.89.214.238, 1.2.3.4"), 403, "refused", "E_ADDRESS")
        check(answer("rubbish"), 403, "refused", "E_ADDRESS")


# -- 422 --------------------------------------------------------------------------------------------------------------

ISO_OLD, ISO_FUTURE = timedelta(minutes=-5), timedelta(minutes=5)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"action": None}, "E_FIELD", "action"),
        ({"action": "hodl"}, "E_FIELD", "action"),
        ({"action": ["buy"]}, "E_FIELD", "action"),
        ({"symbol": None}, "E_FIELD", "symbol"),
        ({"target": "1"}, "E_FIELD", "action"),
        ({"time": "yesterday"}, "E_FIELD", "time"),
        ({"time": "2026-11-20T10:00:00"}, "E_FIELD", "time"),
        ({"product": "XYZ"}, "E_FIELD", "product"),
        ({"order_type": "LIMIT", "price": None}, "E_FIELD", "price"),
        ({"order_type": "SL", "trigger_price": None}, "E_FIELD", "trigger_price"),
        ({"id": "x" * 300}, "E_FIELD", "id"),
        ({"quantity": "ten"}, "E_NUMBER", "quantity"),
        ({"quantity": "NaN"}, "E_NUMBER", "quantity"),
        ({"quantity": "-1"}, "E_NUMBER", "quantity"),
        ({"quantity": "0"}, "E_NUMBER", "quantity"),
        ({"quantity": "1e400"}, "E_NUMBER", "quantity"),
        ({"quantity": "١٢"}, "E_NUMBER", "quantity"),
        ({"quantity": True}, "E_NUMBER", "quantity"),
        ({"price": "Infinity"}, "E_NUMBER", "price"),
        ({"price": "0.123456789"}, "E_NUMBER", "price"),
        ({"symbol": "NSE:NOSUCH"}, "E_SYMBOL", "symbol"),
        ({"symbol": "{{ticker}}"}, "E_UNRESOLVED", "symbol"),
        ({"comment": "{{strategy.order.comment}}"}, "E_UNRESOLVED", "comment"),
        ({"time": ISO_OLD}, "E_STALE", "time"),
        ({"time": ISO_FUTURE}, "E_STALE", "time"),
        ({"stop_loss": "800"}, "E_FIELD", "stop_loss"),
        ({"stop_loss": {"price": "900"}}, "E_FIELD", "stop_loss"),
        ({"take_profit": {"price": "900", "percent": "4"}}, "E_FIELD", "take_profit"),
        ({"take_profit": {"percent": "-4"}}, "E_NUMBER", "take_profit.percent"),
        ({"stopLoss": {"price": "800"}}, "E_FIELD", "stopLoss"),
        ({"trailing_stop": {"percent": "2"}}, "E_UNSUPPORTED", "trailing_stop"),
        ({"order_type": "BRACKET"}, "E_UNSUPPORTED", "order_type"),
        ({"time_in_force": "GTC"}, "E_UNSUPPORTED", "time_in_force"),
    ],
)  # fmt: skip
def test_what_is_understood_and_not_acceptable_is_422_names_its_field_and_is_shown(
    server: Served, fresh_token: str, fields: dict[str, Any], code: str, field: str
) -> None:
    """Never ignored, never guessed; an authentic refusal is kept with its code, and nothing was traded."""
    fields = {k: (datetime.now(UTC) + v).isoformat() if isinstance(v, timedelta) else v for k, v in fields.items()}
    body = server.body(fresh_token, **{"action": "buy", "quantity": "1", **fields})
    told = check(server.post(body), 422, "refused", code, field)
    way = server.way(told["alert_id"])
    assert (way["disposition"], way["code"], way["orders"]) == ("refused", code, [])
    step = way["steps"][-1]
    assert (step["step"], step["message"]) == ("alert_refused", f"{told['message']} {told.get('hint', '')}".rstrip())


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 400])
def test_numbers_that_are_none_are_e_number(server: Served, token: str, raw: str) -> None:
    """JSON that Python would read and nobody can trade on."""
    content = json.dumps(server.body(token, action="buy"))[:-1] + f', "quantity": {raw}}}'
    check(server.post(content), 422, "refused", "E_NUMBER", "quantity")


def test_a_placeholder_outside_of_quotes_is_unresolved(server: Served, token: str) -> None:
    """TradingView leaves unknown placeholders as they are; that breaks the JSON and is told for what it is."""
    content = json.dumps(server.body(token, action="buy"))[:-1] + ', "quantity": {{strategy.order.contracts}}}'
    told = check(server.post(content), 422, "refused", "E_UNRESOLVED", "quantity")
    assert told["hint"]


# -- what an alert comes to -------------------------------------------------------------------------------------------


def test_an_exit_while_flat_is_a_noop_without_an_order(server: Served) -> None:
    """There is nothing to close, and that is a proper end."""
    token = server.mint(strategy="flat")["token"]
    way = server.done(token, strategy="flat", action="exit", symbol="NSE:TCS")
    assert (way["disposition"], way["code"], way["orders"]) == ("noop", "FLAT", [])


def test_a_target_is_reached_from_flat_and_from_the_other_side(server: Served) -> None:
    """−5 from flat is −5; 3 from there takes a buy of 8; 0 is flat; the same again needs no order."""
    token, symbol = server.mint(strategy="flat")["token"], "NSE:INFY"

    def aim(target: str) -> dict[str, Any]:
        return server.done(token, strategy="flat", symbol=symbol, target=target, price="1500")

    assert [order["order_qty"] for order in aim("-5")["orders"]] == ["5"]
    assert server.quantity(symbol) == "-5"
    assert [(order["side"], order["order_qty"]) for order in aim("3")["orders"]] == [("BUY", "8")]
    assert server.quantity(symbol) == "3"
    assert aim("3")["code"] == "AT_TARGET"
    aim("0")
    assert server.quantity(symbol) == "0"


def test_a_market_order_without_any_price_known_is_denied(server: Served) -> None:
    """Missing data denies; it never passes."""
    token = server.mint(strategy="flat")["token"]
    way = server.done(token, strategy="flat", symbol="NSE:RELIANCE", action="buy", quantity="1", price=None)
    assert (way["disposition"], way["code"], way["orders"]) == ("denied", "NO_PRICE", [])


# -- shapes -----------------------------------------------------------------------------------------------------------


def test_an_alert_its_steps_and_orders_have_the_documented_shape(server: Served, token: str) -> None:
    """Exactly the documented keys, money and quantities as text, times in UTC."""
    way = server.done(token, action="buy", quantity="2")
    assert set(way) == {
        "alert_id", "received_at", "source", "strategy", "disposition", "code", "message", "steps", "orders",
    }  # fmt: skip
    assert way["received_at"].endswith("Z")
    assert (way["source"], way["strategy"], way["disposition"]) == ("tradingview", "demo", "done")
    assert all(set(step) == {"at", "step", "code", "message"} and step["message"] for step in way["steps"])
    names = [step["step"] for step in way["steps"]]
    assert names[0] == "alert_accepted"
    assert names[-1] == "alert_ended"
    assert {"order_new", "order_sending", "order_placed", "order_fill"} <= set(names)
    assert [step["at"] for step in way["steps"]] == sorted(step["at"] for step in way["steps"])
    order = way["orders"][0]
    assert set(order) == {
        "cl_ord_id", "account", "symbol", "side", "ord_type", "order_qty", "cum_qty", "avg_px", "status",
        "broker_order_id", "tag", "part", "parts", "terms",
    }  # fmt: skip
    assert (order["part"], order["parts"], order["terms"]) == (1, 1, "")
    assert (order["order_qty"], order["cum_qty"], order["status"]) == ("2", "2", "FILLED")
    assert isinstance(order["avg_px"], str)
    assert order["tag"].isalnum()
    assert len(order["tag"]) <= 15


def test_positions_have_the_documented_shape(server: Served, token: str) -> None:
    """Numbers that are money or quantity are texts."""
    server.done(token, action="buy", quantity="2")
    found = server.api("GET", "/positions")
    assert found
    for position in found:
        assert set(position) == {"account", "symbol", "product", "quantity", "avg_px", "realized_pnl", "unrealized_pnl"}
        for name in ("quantity", "avg_px", "realized_pnl", "unrealized_pnl"):
            assert position[name] is None or isinstance(position[name], str)


@pytest.mark.parametrize(("path", "ident"), [("/alerts", "alert_id"), ("/orders", "cl_ord_id"), ("/trades", "trade_id")])
def test_lists_are_newest_first_and_paged_without_gaps(server: Served, token: str, path: str, ident: str) -> None:
    """`before` is the id of the last row seen: pages join up to the whole list."""
    for action in ("buy", "exit") * 3:
        server.done(token, action=action, quantity="1", symbol="NSE:HDFCBANK")
    whole = [row[ident] for row in server.api("GET", path, params={"limit": "1000"})]
    assert whole == sorted(whole, reverse=True)
    paged: list[str] = []
    before: dict[str, str] = {}
    while page := server.api("GET", path, params={"limit": "7", **before}):
        assert len(page) <= 7
        paged += [row[ident] for row in page]
        before = {"before": paged[-1]}
        if len(paged) > len(whole):
            break
    assert paged == whole


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1", "1.5", ""])
def test_a_limit_out_of_bounds_is_told_so(server: Served, limit: str) -> None:
    """At most a thousand rows; what is no number is no 500."""
    answer = server.http.get("/api/v1/alerts", params={"limit": limit}, headers=server.bearer)
    assert answer.status_code == 422, answer.text


def test_refused_but_authentic_alerts_are_in_the_list(server: Served, fresh_token: str) -> None:
    """The trader sees what was refused, with its reason, beside what was accepted."""
    told = server.post(server.body(fresh_token, action="hodl")).json()
    row = next(row for row in server.api("GET", "/alerts") if row["alert_id"] == told["alert_id"])
    assert (row["disposition"], row["code"], row["strategy"]) == ("refused", "E_FIELD", "demo")


def test_the_api_wants_its_token(server: Served) -> None:
    """Without the bearer token nothing is told and nothing done; health is open to all."""
    for method, path in (("GET", "/status"), ("GET", "/alerts"), ("POST", "/halt"), ("POST", "/tokens"), ("GET", "/none")):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": server.token}):
            answer = server.http.request(method, f"/api/v1{path}", headers=headers)
            assert answer.status_code == 401, (method, path, answer.text)
    assert server.http.get("/healthz").status_code == 200
    assert server.http.get("/readyz").status_code == 200
    assert "bridge_" in server.http.get("/metrics").text


# -- raw sockets ------------------------------------------------------------------------------------------------------


def talk(server: Served, *parts: bytes) -> bytes:
    """What comes back on a plain socket."""
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port or 0), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /webhook/tradingview HTTP/1.1\r\nhost: x\r\ncontent-length: nonsense\r\n\r\n{}",
        b"POST /webhook/tradingview HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n{}",
        b"POST /webhook/tradingview HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhook/tradingview HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999999\r\n\r\n{}",
        b"POST /webhook/tradingview HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{",
        b"POST /webhook/tradingview/%00%ff%2e%2e HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"PUT /webhook/tradingview HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"GET /webhook/tradingview HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n",
    ],
)  # fmt: skip
def test_malformed_http_is_an_answer_and_never_a_fault(server: Served, token: str, request_bytes: bytes) -> None:
    """No bytes on the wire make a 5xx or stop the bridge."""
    answer = talk(server, request_bytes)
    assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert b"Traceback" not in answer
    server.send(token, action="buy", quantity="1")


# -- 503 --------------------------------------------------------------------------------------------------------------


def test_503_while_nothing_can_be_stored_and_200_when_it_can_again(tmp_path: Path) -> None:
    """A full disk: 'unavailable', nothing is stored, the re-send is accepted and traded once when there is room."""
    import resource

    with Served(tmp_path) as served:
        token = served.mint()["token"]
        served.done(token, action="buy", quantity="1")
        assert served.process is not None
        hard = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)[1]
        body = served.body(token, action="buy", quantity="1")
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            for _ in range(3):
                told = check(served.post(body), 503, "unavailable")
                assert told["message"]
                assert "alert_id" not in told
        finally:
            resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        answers: list[httpx.Response] = []

        def again() -> bool:
            answers.append(served.post(body))
            return answers[-1].status_code == 200

        wait_for(again, "the store to take writes again")
        assert {answer.status_code for answer in answers} <= {200, 503}
        way = served.ended(answers[-1].json()["alert_id"])
        assert (way["disposition"], len(way["orders"])) == ("done", 1)
        assert served.quantity() == "2"
        assert served.stop() == 0
        served.check_books()
