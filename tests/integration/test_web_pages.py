"""The pages: what they show, the headers they carry, and that nothing an alert says becomes markup."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.alert import RefusedAlert
from bridge.core.enums import OrdType, Product, Side, Source
from bridge.core.errors import RefusedError, StoreError
from bridge.core.hold import Hold, find_gaps, make_hold
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction, RefusalCode
from bridge.core.report import BookRow, Holding
from bridge.store.tx import Tx
from tests.support.clocks import NOON
from tests.support.pages import EVIL, FORM, Tags, assert_is_a_page, send, token_of
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings

DELETE_AND_C1 = "".join(map(chr, range(0x7F, 0xA0)))
PARTS = ["state", "alarms", "accounts", "day", "positions", "orders", "external", "alerts"]


def mischief(tx: Tx) -> None:
    """An alert whose every text is an attack, an alarm and a hold that quote it."""
    refused = RefusedAlert(
        alert_id="01EV1L", received_at=NOON, source=Source.TRADINGVIEW, credential=EVIL, strategy=EVIL, symbol=EVIL,
        body=EVIL, code="E_FIELD", message=EVIL, field=EVIL,
    )  # fmt: skip
    tx.add_refused(refused)
    tx.audit(AuditAction.ALERT_REFUSED, NOON, alert_id="01EV1L", code=EVIL, message=EVIL, account=EVIL)
    tx.audit(AuditAction.ALARM_RAISED, NOON, account=EVIL, cl_ord_id=f"{EVIL}-1", message=EVIL)
    tx.put(tx.ledger.holds, ("paper", EVIL), Hold(message=EVIL))


def elsewhere(box: WebBox, *ids: str, status: OrderStatus = OrderStatus.PLACED) -> None:
    """Orders of somebody else at the broker, as a comparison would have found them; added to those that are there."""
    rows = tuple(
        BookRow(
            broker_order_id=ident, tag="", symbol=EVIL if ident == EVIL else "NSE:TCS", side=Side.SELL, product=Product.CNC,
            ord_type=OrdType.LIMIT, order_qty=Decimal(7), cum_qty=Decimal(2), status=status, message=EVIL, updated_at=NOON,
        )
        for ident in ids
    )  # fmt: skip
    box.write(lambda tx: tx.put(tx.ledger.external, "paper", (*(tx.ledger.external.get("paper") or ()), *rows)))


def differ(box: WebBox, theirs: int) -> Hold:
    """A difference in NSE:SBIN, as a comparison would have found it."""
    hold = make_hold("NSE:SBIN", find_gaps({"MIS": Decimal(10)}, {"MIS": Decimal(theirs)}))
    box.write(lambda tx: tx.put(tx.ledger.holds, ("paper", "NSE:SBIN"), hold))
    return hold


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    """Some trading, and an attack."""
    folder: Path = tmp_path_factory.mktemp("pages")
    with WebBox(make_settings(folder)) as running:
        token = running.mint()
        for fields in (
            {},
            {"action": "exit", "quantity": None, "price": "820"},
            {"symbol": "NSE:INFY", "target": "-7", "action": None, "quantity": None, "price": "1500.05"},
            {"quantity": "99999"},
            {"symbol": "NSE:RELIANCE", "order_type": "LIMIT", "price": "1200"},
        ):
            running.alert(token, **fields)
        wait_for(lambda: sum(not row["disposition"] for row in running.api("GET", "/alerts").json()) == 1, "the endings")
        running.write(mischief)
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path)) as running:
        yield running


# --- what is shown ---


def test_the_status_page_shows_how_things_stand(box):
    """State, money, positions, orders, alerts, alarms."""
    answer = box.ask("GET", "/")
    assert_is_a_page(answer)
    for text in (
        "Trading is on", "Halt", "Stop everything", "simulated money", "NSE:INFY", "short", "−7", "1,500.0", "LIMIT 1,200.00",
        "1 open", "MAX_ORDER_QTY", "filled at", "working", "Needs your attention", "<svg",
    ):  # fmt: skip
        assert text in answer.text, text


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_fetched_alone(box, part):
    """What a live page puts in the place of the old one is what a reload would show there."""
    alone = box.ask("GET", f"/parts/{part}")
    assert alone.status_code == 200
    assert "<html" not in alone.text
    # Between two requests the clock goes on, and with it the line of the day.
    wait_for(lambda: box.ask("GET", f"/parts/{part}").text.strip() in box.ask("GET", "/").text, f"the {part} of the whole page")


def test_an_alerts_page_tells_its_whole_way(box):
    """Steps to the millisecond, the order, and the body with its credential blanked out."""
    filled = next(row for row in reversed(box.api("GET", "/alerts").json()) if row["disposition"] == "done")
    answer = box.ask("GET", f"/alerts/{filled['alert_id']}")
    assert_is_a_page(answer)
    for text in ("order placed", "The broker accepted the order.", "IST", "[token]", "812.60", "to broker"):
        assert text in answer.text, text
    assert re.search(r'class="delta">\+\d+(\.\d)? ms<', answer.text)
    assert "v1." not in answer.text
    assert "data-src" not in answer.text  # it is over: nothing to listen for


def test_an_alert_under_way_keeps_listening(box):
    """Its page fetches itself anew."""
    working = next(row["alert_id"] for row in box.api("GET", "/alerts").json() if row["disposition"] is None)
    page = box.ask("GET", f"/alerts/{working}")
    assert f'data-src="/alerts/{working}/way"' in page.text
    assert box.ask("GET", f"/alerts/{working}/way").text.strip() in page.text


def test_all_alerts_can_be_paged_through(box):
    """By links that need no script."""
    seen: list[str] = []
    path = "/alerts?limit=2"
    while path:
        answer = box.ask("GET", path)
        assert_is_a_page(answer)
        seen += re.findall(r'id="alert-(\w+)"', answer.text)
        found = re.search(r'href="(/alerts\?limit=2&amp;before=\w+)"', answer.text)
        path = found[1].replace("&amp;", "&") if found else ""
    assert seen == [row["alert_id"] for row in box.api("GET", "/alerts").json()]


def test_an_empty_bridge_has_a_page_too(fresh):
    """It says what is missing, and how to begin."""
    answer = fresh.ask("GET", "/")
    assert_is_a_page(answer)
    for text in ("No fills yet today", "Flat: no position", "No order yet", "bridge alert new"):
        assert text in answer.text
    assert "Needs your attention" not in answer.text
    assert "No alert has arrived yet" in fresh.ask("GET", "/alerts").text


def test_the_days_line_is_well_formed_and_labelled(box):
    """Two drawings, each valid XML by itself."""
    text = box.ask("GET", "/parts/day").text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 2
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        assert "Profit and loss today" in (root.get("aria-label") or "")
        assert root.find("path[@class='line']") is not None


# --- nothing an alert says becomes markup ---


@pytest.mark.parametrize("path", ["/", "/alerts", "/alerts/01EV1L", "/alerts/01EV1L/way", "/parts/alerts", "/parts/alarms"])
def test_an_attack_in_every_text_is_shown_and_does_nothing(box, path):
    """Escaped wherever it stands: text, attributes, links."""
    answer = box.ask("GET", path)
    assert answer.status_code == 200
    tags = Tags(answer.text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert not any(attributes.get("src") == "x" for _, attributes in tags.found)
    assert [a for tag, a in tags.found if tag == "script" and "alert" in str(a)] == []
    assert "<img src=x" not in answer.text
    assert "49" not in re.sub(r"\d{3,}|[\d:.,]+\d{2}", "", answer.text.split("alert(1)")[1][:80])


def test_an_attack_in_the_address_is_not_echoed(box):
    """The page for nothing quotes nothing."""
    answer = box.ask("GET", "/alerts/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert_is_a_page(answer, 404)
    assert "alert(1)" not in answer.text


# --- forms ---


def test_the_buttons_halt_stop_and_resume(fresh):
    """Plain forms: each answers with the way back to the page."""
    token = token_of(fresh)
    for path, fields, mode in (
        ("/halt", {}, "REDUCING"),
        ("/halt", {"all": "yes"}, "HALTED"),
        ("/halt", {"cancel": "yes"}, "HALTED"),
        ("/resume", {}, "ACTIVE"),
        ("/halt", {"cancel": "yes"}, "REDUCING"),
        ("/resume", {}, "ACTIVE"),
    ):
        answer = send(fresh, path, csrf=token, kind="global", name="", **fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        status = fresh.api("GET", "/status").json()
        assert status["mode"] == mode
        assert [s["cancels"] for s in status["states"] if s["scope"] == "global"] == [fields == {"cancel": "yes"}]
    send(fresh, "/halt", csrf=token, kind="strategy", name="demo")
    assert "Trading is on" in (page := fresh.ask("GET", "/").text)
    assert "with the exceptions below" in page
    states = {state["strategy"]: state for state in fresh.api("GET", "/status").json()["states"]}
    assert (states["demo"]["mode"], states["demo"]["by"]) == ("REDUCING", "operator")


def test_every_order_that_works_is_shown_however_many(fresh):
    """Each is at risk; the page leaves out only what has ended."""
    token, number = fresh.mint(), 20
    for price in range(number):
        fresh.alert(token, quantity="1", order_type="LIMIT", price=str(500 + price), id=f"rests-{price}")
    wait_for(lambda: f"{number} open" in fresh.ask("GET", "/").text, "the orders")
    assert fresh.ask("GET", "/").text.count('action="/orders/cancel"') == number


def test_an_order_that_rests_is_changed_and_cancelled_from_the_page(fresh):
    """Each form leads to the way of the alert that it raised."""
    fresh.alert(fresh.mint(), order_type="LIMIT", price="500", quantity="10")
    wait_for(lambda: 'action="/orders/modify"' in fresh.ask("GET", "/").text, "the form")
    page, token = fresh.ask("GET", "/").text, token_of(fresh)
    (ident,) = set(re.findall(r'name="order" value="([^"]+)"', page))
    assert '<input name="price" value="500"' in page
    changed = send(fresh, "/orders/modify", csrf=token, order=ident, price="501.5", quantity="10")
    assert changed.status_code == 303
    wait_for(lambda: "10 units, price 501.5" in fresh.ask("GET", changed.headers["location"]).text, "the change")
    wait_for(lambda: '<input name="price" value="501.5"' in fresh.ask("GET", "/").text, "the broker's word")
    way = fresh.ask("GET", f"/alerts/{ident.partition('-')[0]}").text
    assert f"{ident}: 10 units, price 501.5, by alert" in way
    cancelled = send(fresh, "/orders/cancel", csrf=token, order=ident)
    assert cancelled.status_code == 303
    wait_for(lambda: 'action="/orders/cancel"' not in fresh.ask("GET", "/").text, "the cancel")
    assert send(fresh, "/orders/cancel", csrf="wrong", order=ident).status_code == 403


def test_an_intraday_position_says_when_it_will_be_closed(fresh, monkeypatch):
    """As the square-off itself reckons it; on this account it is left to nobody."""
    fresh.alert(fresh.mint())
    wait_for(lambda: "NSE:SBIN" in fresh.ask("GET", "/parts/positions").text, "the position")
    assert "square-off" not in fresh.ask("GET", "/parts/positions").text
    monkeypatch.setitem(fresh.bridge.intraday_ends, "paper", lambda _instrument, at: at.replace(hour=9, minute=50))
    assert "MIS, square-off 15:20" in fresh.ask("GET", "/parts/positions").text


def test_the_button_beside_a_difference_accepts_it_as_it_was_shown(fresh):
    """By whom is told; a difference that has changed since the page was loaded is not accepted unseen."""
    hold = differ(fresh, 7)
    assert hold.message in fresh.ask("GET", "/").text
    fields = {"csrf": token_of(fresh), "account": "paper", "symbol": "NSE:SBIN", "seen": hold.message}
    changed = differ(fresh, 6)
    answer = send(fresh, "/accept", **fields)
    assert_is_a_page(answer, 400)
    assert "another one by now" in answer.text
    assert "accepted by" not in fresh.ask("GET", "/parts/alarms").text
    answer = send(fresh, "/accept", **{**fields, "seen": changed.message})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    part = fresh.ask("GET", "/parts/alarms").text
    assert "accepted by operator" in part
    assert 'action="/accept"' not in part
    assert [one.accepted_by for _account, _symbol, one in fresh.bridge.store.reads.holds()] == ["operator"]


@pytest.mark.parametrize("missing", ["account", "symbol", "seen"])
def test_a_form_that_names_no_difference_accepts_none(fresh, missing):
    """Above all it does not fall back to every account."""
    hold = differ(fresh, 7)
    fields = {"account": "paper", "symbol": "NSE:SBIN", "seen": hold.message} | {missing: ""}
    assert_is_a_page(send(fresh, "/accept", csrf=token_of(fresh), **fields), 400)
    assert [one.accepted_by for _account, _symbol, one in fresh.bridge.store.reads.holds()] == [""]


def test_holdings_are_shown_below_the_positions_while_there_are_any(fresh):
    """With what of them is not delivered yet or was sold today."""
    assert "Holdings" not in fresh.ask("GET", "/parts/positions").text
    holding = Holding(
        symbol="NSE:TCS", product=Product.CNC, quantity=Decimal(70), t1_quantity=Decimal(20), used_quantity=Decimal(5)
    )
    fresh.write(lambda tx: tx.put(tx.ledger.holdings, "paper", (holding,)))
    page = fresh.ask("GET", "/")
    assert_is_a_page(page)
    for text in ("Holdings", "NSE:TCS", "20 not delivered yet (T1), 5 sold today"):
        assert text in page.text, text
    assert "authorised" not in fresh.ask("GET", "/parts/positions").text


def test_orders_placed_elsewhere_have_a_table_of_their_own_while_there_are_any(fresh):
    """Working ones first; whatever the broker calls them, nothing of it becomes markup."""
    assert fresh.ask("GET", "/parts/external").text.strip() == ""
    elsewhere(fresh, "ENDED", status=OrderStatus.CANCELLED)
    elsewhere(fresh, "S1", EVIL)
    page = fresh.ask("GET", "/")
    tags = assert_is_a_page(page)
    for text in ("Placed elsewhere", "S1", "NSE:TCS", "CNC", "LIMIT", "sell", "&lt;script&gt;"):
        assert text in page.text, text
    part = fresh.ask("GET", "/parts/external").text
    assert part.index("S1") < part.index("ENDED")
    assert "<img src=x" not in page.text
    assert not any(attributes.get("src") == "x" for _, attributes in tags.found)


@pytest.mark.parametrize("path", ["/halt", "/resume", "/accept", "/logout"])
@pytest.mark.parametrize(
    ("fields", "headers", "status"),
    [
        ({}, FORM, 403),
        ({"csrf": "wrong"}, FORM, 403),
        ({"csrf": "TOKEN"}, {"origin": "https://evil.example"}, 403),
        ({"csrf": "TOKEN"}, {"origin": "null"}, 403),
        ({"csrf": "TOKEN"}, {"sec-fetch-site": "cross-site"}, 403),
        ({"csrf": "TOKEN"}, {**FORM, "host": "evil.example"}, 421),
        ({"csrf": "TOKEN"}, {**FORM, "x-forwarded-for": "203.0.113.9"}, 403),
    ],
)
def test_every_form_that_is_not_ours_is_refused(box, path, fields, headers, status):
    """And nothing happens."""
    token = token_of(box)
    answer = send(box, path, headers, **{name: token if text == "TOKEN" else text for name, text in fields.items()})
    assert answer.status_code == status
    assert box.api("GET", "/status").json()["mode"] == "ACTIVE"


def test_every_form_on_the_pages_carries_its_token(box):
    """No form is forgotten."""
    text = box.ask("GET", "/").text
    forms = re.findall(r"<form\b.*?</form>", text, re.DOTALL)
    assert len(forms) >= 10
    assert all(f'name="csrf" value="{token_of(box)}"' in form for form in forms)


@pytest.mark.parametrize(("kind", "name", "status"), [("sector", "x", 400), ("account", "", 400), ("account", "nobody", 400)])
def test_a_form_for_nobody_does_nothing(box, kind, name, status):
    """Above all it does not fall back to everything."""
    answer = send(box, "/halt", csrf=token_of(box), kind=kind, name=name)
    assert_is_a_page(answer, status)
    assert "Nothing was done" in answer.text
    assert box.api("GET", "/status").json()["mode"] == "ACTIVE"


def test_a_command_that_the_store_did_not_take_says_so(box, monkeypatch):
    """503, and what to do."""

    async def refuse(*_args, **_values):
        raise StoreError("the disk is full")

    monkeypatch.setattr(box.bridge.desk, "halt", refuse)
    answer = send(box, "/halt", csrf=token_of(box), kind="global", name="")
    assert_is_a_page(answer, 503)
    assert "the disk is full" in answer.text


def test_a_refusal_shows_its_hint(box, monkeypatch):
    """The desk's own words."""

    async def refuse(*_args, **_values):
        raise RefusedError(RefusalCode.E_FIELD, "There is no such account.", hint="Known: paper.")

    monkeypatch.setattr(box.bridge.desk, "resume", refuse)
    answer = send(box, "/resume", csrf=token_of(box), kind="account", name="x")
    assert_is_a_page(answer, 400)
    assert "Known: paper." in answer.text


# --- when something is wrong ---


def test_a_fault_shows_no_traceback(box, monkeypatch):
    """It is counted; the page says to try again."""

    def broken(*_args, **_values):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(box.bridge.store.reads, "alert", broken)
    answer = box.ask("GET", "/alerts/01ABC")
    assert_is_a_page(answer, 503)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/alerts/01NOTHING", 404), ("GET", "/alerts/01NOTHING/way", 404),
        ("GET", "/alerts/%00", 404), ("GET", "/parts/nothing", 404), ("GET", "/parts/base", 404), ("GET", "/halt", 405),
        ("POST", "/", 405), ("DELETE", "/alerts", 405), ("GET", "/alerts?limit=x", 400), ("GET", "/alerts?before=%00", 400),
        ("GET", "/alerts/", 404),
    ],
)  # fmt: skip
def test_a_wrong_address_is_a_page_that_says_so(box, method, path, status):
    """With the same headers as any."""
    assert_is_a_page(box.ask(method, path), status)


@settings(max_examples=80)
@given(
    path=st.sampled_from(["/", "/alerts", "/alerts/x", "/parts/alerts", "/login", "/static/bridge.css", "/nothing"]),
    query=st.dictionaries(st.sampled_from(["limit", "before", "next", "v"]), st.text(max_size=30), max_size=3),
    headers=st.dictionaries(
        st.sampled_from(["cookie", "origin", "host", "referer", "if-none-match", "sec-fetch-site", "accept", "authorization"]),
        st.text(st.characters(codec="latin-1", min_codepoint=32, exclude_characters=DELETE_AND_C1), max_size=30), max_size=3),
)  # fmt: skip
def test_whatever_is_asked_the_answer_is_never_a_5xx(box, path, query, headers):
    """P9: bad input is an answer."""
    encoded = {name: text.encode("latin-1") for name, text in headers.items()}
    assert box.ask("GET", path, params=query, headers=encoded).status_code < 500


# --- static files ---


def test_static_files_are_kept_for_ever_under_the_name_of_their_content(box):
    """A new version has a new address; without it a browser asks again."""
    page = box.ask("GET", "/").text
    addresses = set(re.findall(r'"(/static/[^"]+)"', page))
    assert len(addresses) == 3
    for address in addresses:
        exact = box.ask("GET", address)
        assert exact.status_code == 200
        assert "immutable" in exact.headers["cache-control"]
        assert exact.headers["x-content-type-options"] == "nosniff"
        plain = box.ask("GET", address.split("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
        again = box.ask("GET", address, headers={"if-none-match": exact.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.css", "..%2fbase.html", "%2e%2e%2f%2e%2e%2fpyproject.toml", "base.html", ""])
def test_nothing_else_is_served_as_static(box, name):
    """The folder was read at the start; paths are only names."""
    assert box.ask("GET", f"/static/{name}").status_code == 404


def test_money_on_the_page_agrees_with_the_api(box):
    """The same position, to the paisa."""
    (position,) = box.api("GET", "/positions").json()
    shown = f"{abs(Decimal(position['unrealized_pnl'])):,.2f}"
    assert shown in box.ask("GET", "/parts/positions").text


@pytest.mark.postgres
def test_pages_and_api_are_the_same_on_postgresql(tmp_path, postgres_url):
    """Every read that pages make, on the other database; what it cannot store is refused before it is asked."""
    with WebBox(make_settings(tmp_path, database={"url": postgres_url})) as box:
        box.alert(box.mint())
        wait_for(lambda: box.api("GET", "/positions").json(), "a position")
        box.write(mischief)
        for path in ("/", "/alerts", "/alerts/01EV1L", *(f"/parts/{part}" for part in PARTS)):
            assert box.ask("GET", path).status_code == 200, path
        for path in ("/status", "/alerts", "/orders", "/trades", "/tokens", "/alerts?before=01EV1L&limit=1"):
            assert box.api("GET", path).status_code == 200, path
        assert box.api("GET", "/alerts/%00").status_code == 404
