"""The API: its shapes to the letter, its lock, and an answer for whatever is asked."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import OrdType, Product, Side
from bridge.core.errors import StoreError
from bridge.core.order_states import OrderStatus
from bridge.core.report import BookRow, Holding
from tests.support.clocks import NOON
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings

ALERT_KEYS = ["alert_id", "received_at", "source", "strategy", "disposition", "code", "message", "steps", "orders"]
STEP_KEYS = ["at", "step", "code", "message"]
ORDER_KEYS = [
    "cl_ord_id", "account", "symbol", "side", "ord_type", "order_qty", "cum_qty", "avg_px", "status", "broker_order_id",
    "tag", "part", "parts", "terms",
]  # fmt: skip
POSITION_KEYS = ["account", "symbol", "product", "quantity", "avg_px", "realized_pnl", "unrealized_pnl"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LISTS = ["/alerts", "/orders", "/positions", "/trades", "/account", "/tokens"]
PATHS = [
    "/status",
    *LISTS,
    "/alerts/x",
    "/events",
    "/halt",
    "/resume",
    "/flatten",
    "/reconcile",
    "/reconcile/accept",
    "/orders/external",
    "/holdings",
    "/tokens/x",
    "/nothing",
    "/",
]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    """A bridge with some trading done: a round trip, an open position, a denial and a refusal."""
    folder: Path = tmp_path_factory.mktemp("api")
    with WebBox(make_settings(folder)) as running:
        token = running.mint()
        for fields in (
            {},
            {"action": "exit", "quantity": None, "price": "820"},
            {"symbol": "NSE:INFY", "quantity": "7", "price": "1500.05"},
            {"quantity": "99999"},
            {"symbol": "NSE:NOPE"},
        ):
            running.alert(token, **fields)
        wait_for(lambda: all(row["disposition"] for row in running.api("GET", "/alerts").json()), "all alerts to end")
        yield running


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    """One to which anything may be done."""
    with WebBox(make_settings(tmp_path_factory.mktemp("victim"))) as running:
        running.alert(running.mint())
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path)) as running:
        yield running


# --- the lock ---


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "HEAD"])
def test_nothing_is_told_without_the_token(box, method, path):
    """Not even what there is; and a page's cookie is no token."""
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {box.token}"}):
        answer = box.ask(method, f"/api/v1{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert answer.json()["code"] == "E_AUTH"
            assert answer.json()["hint"]


def test_the_api_may_be_asked_from_elsewhere_with_the_token(box):
    """The token is the lock; what is bound to is the operator's choice."""
    answer = box.ask(
        "GET", "/api/v1/status", peer="10.0.0.9", base="http://any.example", headers={"authorization": f"Bearer {box.token}"}
    )
    assert answer.status_code == 200


# --- shapes ---


def test_an_alert_tells_its_whole_way(box):
    """To the letter of the contract, orders included."""
    accepted = next(row for row in reversed(box.api("GET", "/alerts").json()) if row["disposition"] == "done")
    way = box.api("GET", f"/alerts/{accepted['alert_id']}").json()
    assert list(way) == ALERT_KEYS
    assert all(list(step) == STEP_KEYS for step in way["steps"])
    assert [step["step"] for step in way["steps"]] == [
        "alert_accepted", "order_new", "order_sending", "order_placed", "order_fill", "alert_ended",
    ]  # fmt: skip
    assert all(TIME.fullmatch(step["at"]) and step["message"] for step in way["steps"])
    assert TIME.fullmatch(way["received_at"])
    (order,) = way["orders"]
    assert list(order) == ORDER_KEYS
    assert (order["order_qty"], order["cum_qty"], order["status"], order["side"]) == ("10", "10", "FILLED", "BUY")
    assert isinstance(order["avg_px"], str)
    assert re.fullmatch(r"[A-Z0-9]{1,15}", order["tag"])


def test_positions_have_their_shape(box):
    """Numbers are text and read back exactly."""
    (position,) = box.api("GET", "/positions").json()
    assert list(position) == POSITION_KEYS
    assert (position["symbol"], position["quantity"]) == ("NSE:INFY", "7")
    assert Decimal(position["unrealized_pnl"]) == (Decimal("1500.05") - Decimal(position["avg_px"])) * 7


def test_no_number_is_a_json_number(box):
    """Money and quantities are text everywhere."""

    def numbers(value: Any) -> list[Any]:
        if isinstance(value, dict):
            counts = ("part", "parts")
            return [found for name, inner in value.items() if name not in counts for found in numbers(inner)]
        if isinstance(value, list):
            return [found for inner in value for found in numbers(inner)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []

    for path in ["/status", *LISTS]:
        assert numbers(box.api("GET", path).json()) == []


def test_trades_accounts_and_tokens_are_listed(box):
    """A closed round trip and an open one; both accounts; one token, without its text."""
    trades = box.api("GET", "/trades").json()
    assert sorted(trade["status"] for trade in trades) == ["CLOSED", "OPEN"]
    accounts = box.api("GET", "/account").json()
    assert [account["account"] for account in accounts] == ["paper", "family"]
    assert all(account["connected"] for account in accounts)
    tokens = box.api("GET", "/tokens")
    assert tokens.json()[0]["claims"]["strategy"] == "demo"
    assert "v1." not in tokens.text


def test_the_status_tells_how_things_stand(box):
    """Version, modes, accounts, readiness."""
    status = box.api("GET", "/status").json()
    assert status["mode"] == "ACTIVE"
    assert TIME.fullmatch(status["started_at"])
    assert status["ready"]["store"]["ok"] is True


@pytest.mark.parametrize("path", ["/alerts", "/orders", "/trades"])
def test_lists_are_newest_first_and_can_be_paged(box, path):
    """`before` is the id of the last row seen; pages do not overlap and leave nothing out."""
    key = {"/alerts": "alert_id", "/orders": "cl_ord_id", "/trades": "trade_id"}[path]
    everything = [row[key] for row in box.api("GET", path).json()]
    assert everything == sorted(everything, reverse=True)
    paged: list[str] = []
    while page := box.api("GET", path, params={"limit": 1, **({"before": paged[-1]} if paged else {})}).json():
        paged += [row[key] for row in page]
    assert paged == everything


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=ten", "limit"), ("limit=", "limit"),
        ("limit=1e2", "limit"), ("limit=%D9%A1", "limit"), ("limit=" + "9" * 5000, "limit"), ("limit=1&limit=x", "limit"),
        ("before=", "before"), ("before=%00", "before"), ("before=a%20b", "before"), ("before=" + "x" * 300, "before"),
        ("before=%ED%A0%80", "before"),
    ],
)  # fmt: skip
def test_a_wrong_page_is_named(box, query, field):
    """422, with the field and the mend."""
    answer = box.api("GET", f"/alerts?{query}")
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert answer.json()["hint"]


def test_unknown_ids_and_addresses_are_404(box):
    """JSON, without an echo of anything unprintable."""
    for path in ("/alerts/01NOTHING", "/alerts/%00", "/alerts/a%20b", "/nothing", "/alerts/x/y"):
        answer = box.api("GET", path)
        assert answer.status_code == 404, path
        assert answer.json()["message"]
    assert box.api("DELETE", "/tokens/NOTHING").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/healthz", 405), ("GET", "/api/v1", 404), ("GET", "/api/v2/x", 404)]
)
def test_addresses_beside_the_api_answer_in_json_too(box, method, path, status):
    """A script is never given a page."""
    answer = box.ask(method, path)
    assert answer.status_code == status
    assert answer.json()["status"] == "refused"


def test_a_wrong_method_is_405_with_what_is_right(box):
    """Allow tells it, too."""
    answer = box.api("GET", "/halt")
    assert (answer.status_code, answer.headers["allow"], answer.json()["code"]) == (405, "POST", "E_METHOD")


# --- commands ---


def test_halt_and_resume_answer_with_the_state_in_force(fresh):
    """Plain, with `all`, and by scope."""
    plain = fresh.api("POST", "/halt").json()
    assert (plain["scope"], plain["mode"], plain["by"]) == ("global", "REDUCING", "api")
    assert TIME.fullmatch(plain["since"])
    assert fresh.api("POST", "/halt", json={"all": True}).json()["mode"] == "HALTED"
    assert fresh.api("GET", "/status").json()["mode"] == "HALTED"
    assert fresh.api("POST", "/resume", json={"all": False}).json()["mode"] == "ACTIVE"
    account = fresh.api("POST", "/halt", json={"account": "paper", "strategy": None}).json()
    assert (account["scope"], account["account"], account["strategy"], account["mode"]) == (
        "account",
        "paper",
        None,
        "REDUCING",
    )
    strategy = fresh.api("POST", "/halt", json={"strategy": "demo", "all": True}).json()
    assert (strategy["strategy"], strategy["mode"]) == ("demo", "HALTED")


def test_a_halted_bridge_lets_only_exits_out(fresh):
    """The kill switch, from the API to the order."""
    token = fresh.mint()
    fresh.alert(token)
    wait_for(lambda: fresh.api("GET", "/positions").json(), "a position")
    fresh.api("POST", "/halt")
    entry = fresh.alert(token, quantity="1").json()["alert_id"]
    exit_ = fresh.alert(token, action="exit", quantity=None).json()["alert_id"]
    wait_for(lambda: not fresh.api("GET", "/positions").json(), "the exit")
    assert fresh.api("GET", f"/alerts/{entry}").json()["disposition"] == "denied"
    assert wait_for(lambda: fresh.api("GET", f"/alerts/{exit_}").json()["disposition"]) == "done"


def resting(box: WebBox) -> Any:
    """A limit order that works at the broker."""
    box.alert(box.mint(), order_type="LIMIT", price="500", quantity="10")
    return wait_for(lambda: [row for row in box.api("GET", "/orders").json() if row["status"] == "PLACED"], "an order")[0]


def test_one_order_is_changed_and_cancelled(fresh):
    """By its own name; what became of it is the way of an alert of the operator."""
    ident = resting(fresh)["cl_ord_id"]
    changed = fresh.api("POST", f"/orders/{ident}/modify", json={"price": "501", "quantity": "12"}).json()["alert_id"]
    way = wait_for(lambda: (told := fresh.api("GET", f"/alerts/{changed}").json())["disposition"] and told, "its end")
    assert (way["disposition"], way["code"], way["source"]) == ("done", "MODIFIED", "operator")
    (order,) = fresh.api("GET", "/orders").json()
    assert (order["order_qty"], order["status"], way["message"]) == ("12", "PLACED", "12 units, price 501")
    cancelled = fresh.api("POST", f"/orders/{ident}/cancel").json()["alert_id"]
    wait_for(lambda: fresh.api("GET", "/orders").json()[0]["status"] == "CANCELLED", "the cancel")
    assert fresh.api("GET", f"/alerts/{cancelled}").json()["code"] == "CANCELS_SENT"
    gone = fresh.api("POST", f"/orders/{ident}/modify", json={"price": "502"})
    assert (gone.status_code, gone.json()["field"]) == (422, "order")


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "price"), ({"price": "much"}, "price"), ({"quantity": "-1"}, "quantity"), ({"prize": "500"}, "prize")],
)
def test_a_change_that_cannot_be_read_does_nothing(fresh, body, field):
    ident = resting(fresh)["cl_ord_id"]
    answer = fresh.api("POST", f"/orders/{ident}/modify", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert len(fresh.api("GET", "/alerts").json()) == 1


def test_flatten_closes_every_position(fresh):
    """The ids it answers with can be followed."""
    fresh.alert(fresh.mint())
    wait_for(lambda: fresh.api("GET", "/positions").json(), "a position")
    (alert_id,) = fresh.api("POST", "/flatten", json={"account": "paper"}).json()["alert_ids"]
    wait_for(lambda: not fresh.api("GET", "/positions").json(), "the exit")
    assert fresh.api("GET", f"/alerts/{alert_id}").json()["source"] == "operator"
    assert fresh.api("POST", "/flatten").json() == {"alert_ids": []}


def test_a_reconciliation_is_told(fresh):
    """Whatever the desk found, as JSON, of all accounts or the one that is named."""
    told = fresh.api("POST", "/reconcile").json()
    assert (told["agree"], sorted(told["accounts"])) == (True, ["family", "paper"])
    one = fresh.api("POST", "/reconcile", json={"account": "family"}).json()["accounts"]
    assert list(one) == ["family"]
    assert set(one["family"]) == {"readable", "message", "orders", "external", "doubles", "drift"}
    assert fresh.api("POST", "/reconcile", json={"account": "nobody"}).status_code == 422


def test_a_difference_is_told_with_both_numbers_and_can_be_accepted(fresh):
    """By symbol, for one account or wherever it differs; entries are denied before and leave after."""
    token = fresh.mint()
    fresh.alert(token)
    wait_for(lambda: fresh.api("GET", "/positions").json(), "a position")
    shelf = fresh.bridge.paper_shelves.positions
    ((key, held),) = shelf.values.items()
    fresh.write(lambda tx: tx.put(shelf, key, replace(held, quantity=Decimal(7))))
    assert fresh.api("POST", "/reconcile/accept", json={"symbol": "NSE:SBIN"}).status_code == 422  # nothing is known yet

    def drift() -> Any:
        told = fresh.api("POST", "/reconcile").json()
        return told["agree"], told["accounts"]["paper"]["drift"]

    differs = {"symbol": "NSE:SBIN", "product": "MIS", "ours": "10", "broker": "7", "accepted_by": None}
    wait_for(lambda: drift() == (False, [differs]), "the difference")
    denied = fresh.alert(token, quantity="1").json()["alert_id"]
    assert wait_for(lambda: fresh.api("GET", f"/alerts/{denied}").json()["code"]) == "POSITION_UNSURE"
    for body, field in (({}, "symbol"), ({"symbol": 5}, "symbol"), ({"symbol": "NSE:SBIN", "account": "x"}, "account")):
        answer = fresh.api("POST", "/reconcile/accept", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert fresh.api("POST", "/reconcile/accept", json={"symbol": "NSE:SBIN", "account": "family"}).status_code == 422
    accepted = fresh.api("POST", "/reconcile/accept", json={"symbol": "NSE:SBIN", "account": "paper"})
    assert accepted.json() == {"accepted": ["NSE:SBIN: we hold 10 MIS, the broker says 7 MIS."]}
    assert drift() == (True, [{**differs, "accepted_by": "api"}])
    taken = fresh.alert(token, quantity="1").json()["alert_id"]
    assert wait_for(lambda: fresh.api("GET", f"/alerts/{taken}").json()["code"]) == "FILLED"


def test_holdings_are_listed_as_last_seen(fresh):
    """By account, with what is not delivered yet; quantities and prices are text."""
    assert fresh.api("GET", "/holdings").json() == []
    holding = Holding(
        symbol="NSE:TCS", product=Product.CNC, quantity=Decimal(7), t1_quantity=Decimal(2), avg_px=Decimal("3100.5")
    )
    fresh.write(lambda tx: tx.put(tx.ledger.holdings, "paper", (holding,)))
    assert fresh.api("GET", "/holdings").json() == [
        {
            "account": "paper", "symbol": "NSE:TCS", "product": "CNC", "quantity": "7", "t1_quantity": "2",
            "used_quantity": "0", "authorised_quantity": "0", "avg_px": "3100.5",
        }
    ]  # fmt: skip


def test_orders_placed_elsewhere_are_listed(fresh):
    """As last seen; an account's latest first."""
    assert fresh.api("GET", "/orders/external").json() == []
    row = BookRow(
        broker_order_id="S1", tag="", symbol="NSE:TCS", side=Side.SELL, product=Product.CNC, ord_type=OrdType.LIMIT,
        order_qty=Decimal(7), cum_qty=Decimal(2), status=OrderStatus.PARTIAL, message="", updated_at=NOON,
    )  # fmt: skip
    fresh.write(lambda tx: tx.put(tx.ledger.external, "paper", (row,)))
    assert fresh.api("GET", "/orders/external").json() == [
        {
            "account": "paper", "broker_order_id": "S1", "symbol": "NSE:TCS", "product": "CNC", "side": "SELL",
            "ord_type": "LIMIT", "order_qty": "7", "cum_qty": "2", "status": "PARTIAL",
            "updated_at": "2026-11-20T05:00:00.000Z",
        }
    ]  # fmt: skip


def test_a_token_is_made_used_and_revoked(fresh):
    """After that it opens nothing."""
    made = fresh.api("POST", "/tokens", json={"strategy": "demo", "max_quantity": "5"}).json()
    assert set(made) >= {"url", "token", "message", "token_id"}
    assert made["token"] in json.dumps(json.loads(made["message"])) or made["token"] in made["message"]
    assert fresh.alert(made["token"], quantity="5").status_code == 200
    assert fresh.api("DELETE", f"/tokens/{made['token_id']}").json() == {"token_id": made["token_id"], "revoked": True}
    assert fresh.alert(made["token"], quantity="5").status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/halt", {"account": "nobody"}, "account"),
        ("/halt", {"strategy": "nobody"}, "strategy"),
        ("/halt", {"account": "paper", "strategy": "demo"}, "strategy"),
        ("/halt", {"account": ""}, "account"),
        ("/halt", {"account": 5}, "account"),
        ("/halt", {"all": "yes"}, "all"),
        ("/halt", {"cancel": "yes"}, "cancel"),
        ("/resume", {"cancel": True}, "cancel"),
        ("/resume", {"acount": "paper"}, "acount"),
        ("/resume", {"all": 1}, "all"),
        ("/flatten", {"account": "nobody"}, "account"),
        ("/flatten", {"account": ["paper"]}, "account"),
        ("/tokens", {}, "strategy"),
        ("/tokens", {"strategy": "demo", "colour": "red"}, "colour"),
        ("/tokens", {"strategy": "\ud800"}, "strategy"),
    ],
)
def test_a_wrong_command_does_nothing_and_names_its_field(box, path, body, field):
    """Above all, a misspelt name never widens what is meant."""
    answer = box.api("POST", path, content=json.dumps(body).encode())
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert box.api("GET", "/status").json()["mode"] == "ACTIVE"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"5", b"\xff", b"[" * 50_000, b"NaN", b"\x00"])
@pytest.mark.parametrize("path", ["/halt", "/resume", "/flatten", "/reconcile", "/reconcile/accept", "/tokens"])
def test_a_body_that_is_no_object_is_refused(box, path, body):
    """400, E_JSON."""
    answer = box.api("POST", path, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "E_JSON")


def test_a_body_that_is_too_large_is_refused(box):
    """413, as at the webhook."""
    assert box.api("POST", "/halt", content=b" " * 70_000).status_code == 413


def test_a_store_that_cannot_commit_is_a_503_and_a_read_that_fails_too(fresh, monkeypatch):
    """The command was not carried out, and says so; what broke is counted, not shown."""

    async def refuse(*_args, **_values):
        raise StoreError("the disk is full")

    def broken(*_args, **_values):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(fresh.bridge.desk, "halt", refuse)
    answer = fresh.api("POST", "/halt")
    assert (answer.status_code, answer.json()["status"], answer.json()["message"]) == (503, "unavailable", "the disk is full")
    monkeypatch.setattr(fresh.bridge.store.reads, "positions", broken)
    answer = fresh.api("GET", "/positions")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert "secret" not in answer.text
    assert b'bridge_faults_total{where="web"} 1.0' in fresh.bridge.metrics.render()


# --- health, readiness, metrics ---


def test_health_is_open_and_readiness_tells_its_parts_only_at_home(fresh, monkeypatch):
    """Who comes from elsewhere learns whether, not what."""
    assert fresh.ask("GET", "/healthz", peer="10.0.0.9", base="http://x.example").json() == {"status": "ok"}
    here = fresh.ask("GET", "/readyz")
    assert here.status_code == 200
    assert {"store", "broker paper", "broker family"} == set(here.json()["parts"])
    monkeypatch.setattr(fresh.bridge, "ready", lambda: {"store": (True, ""), "broker paper": (False, "sign in again")})
    assert fresh.ask("GET", "/readyz").json()["parts"]["broker paper"] == {"ok": False, "message": "sign in again"}
    away = fresh.ask("GET", "/readyz", peer="10.0.0.9")
    assert (away.status_code, away.json()) == (503, {"status": "not ready"})


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, 200),
        ({"peer": "10.0.0.9"}, 401),
        ({"base": "http://evil.example"}, 401),
        ({"headers": {"x-forwarded-for": "203.0.113.9"}}, 401),
    ],
)
def test_metrics_are_for_this_machine_or_the_token(box, values, status):
    """They tell account names and how much is traded."""
    assert box.ask("GET", "/metrics", **values).status_code == status
    with_token = {**values, "headers": {**values.get("headers", {}), "authorization": f"Bearer {box.token}"}}
    answer = box.ask("GET", "/metrics", **with_token)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "bridge_" in answer.text


# --- whatever is asked ---


@settings(max_examples=150)
@given(
    path=st.sampled_from(PATHS), method=st.sampled_from(["GET", "POST", "DELETE", "HEAD", "PUT"]),
    query=st.dictionaries(st.sampled_from(["limit", "before", "x"]), st.text(max_size=30), max_size=3),
    body=st.one_of(st.binary(max_size=100), st.dictionaries(
        st.sampled_from(["account", "strategy", "all", "symbols", "x"]),
        st.one_of(st.none(), st.booleans(), st.text(max_size=10), st.integers(), st.lists(st.text(max_size=3), max_size=2)),
        max_size=3).map(lambda made: json.dumps(made).encode())),
)  # fmt: skip
def test_whatever_is_asked_the_answer_is_never_a_5xx(victim, path, method, query, body):
    """P9: bad input is an answer."""
    if path == "/events" and method == "GET":
        return
    answer = victim.api(method, path, params=query, content=body)
    assert answer.status_code < 500


def test_events_say_what_has_changed(fresh):
    """Over a socket: hello, then the parts of the next alert."""
    token = fresh.mint()
    headers = {"authorization": f"Bearer {fresh.token}"}
    with httpx.stream("GET", f"{fresh.url}/api/v1/events", headers=headers, timeout=10) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: hello"
        fresh.alert(token)
        told = next(line for line in lines if '"parts"' in line)
    assert "alerts" in json.loads(told.removeprefix("data: "))["parts"]
