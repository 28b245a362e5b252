"""The pages in a real Chromium: live without a reload, safe to click, readable on a phone and in the dark."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.alert import RefusedAlert
from bridge.core.enums import OrdType, Product, Side, Source
from bridge.core.events import Changed
from bridge.core.hold import Hold, find_gaps, make_hold
from bridge.core.ids import fingerprint, make_alert_id
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.report import BookRow
from bridge.store.tx import Tx
from bridge.web.auth import set_password
from tests.support.clocks import NOON, RunningClock
from tests.support.kite import open_desk
from tests.support.kite_bridge import hurry as kite_hurry
from tests.support.live_scans import LIVE, UP, open_floor
from tests.support.logins import ACCOUNT, login_settings
from tests.support.scans import MOMENTUM, SYMBOLS, show
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings

CHROMIUM = "/usr/bin/chromium"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no Chromium at {CHROMIUM} (apt install chromium)"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")

PASSWORD = "correct horse battery"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
EVIL = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>" + "x" * 60
# Chromium keeps to itself: no updates, no field trials, nothing that goes out.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
# Each text with less than 4.5 : 1 against what lies behind it (3 : 1 where it is large), and how much it has.
PALE = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).map((e) => {
      const style = getComputedStyle(e), svg = e.localName === "text";
      const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(ground(e))].sort((x, y) => y - x);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
      return [(a + 0.05) / (b + 0.05), large ? 3 : 4.5, e.outerHTML.slice(0, 80)];
    }).filter(([ratio, least]) => ratio < least);
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path)) as running:
        yield running


class Watched:
    """A page whose console, errors, dialogs and requests to elsewhere are written down."""

    def __init__(self, browser: Any, box: WebBox, expected: str = "\0", **options: Any) -> None:
        self.complaints: list[str] = []
        self.expected = expected
        self.context = browser.new_context(base_url=box.url, viewport=options.pop("viewport", DESK), **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda r: None if r.url.startswith(box.url) else self.complaints.append(r.url))

    def _dismiss(self, dialog: Any) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.context.close()
        if kind is None:
            assert [text for text in self.complaints if self.expected not in text] == []


def trade(box: WebBox) -> str:
    """Some of everything; the id of the first alert, a buy that was filled."""
    token = box.mint()
    first = box.alert(token).json()["alert_id"]
    box.alert(token, symbol="NSE:INFY", target="-7", action=None, quantity=None, price="1500.05")
    box.alert(token, quantity="99999")
    box.alert(token, symbol="NSE:NOPE")
    box.alert(token, symbol="NSE:RELIANCE", order_type="LIMIT", price="1200")
    wait_for(lambda: len(box.api("GET", "/positions").json()) == 2, "the positions")
    return str(first)


def mischief(tx: Tx) -> None:
    """Texts of the worst kind, and long."""
    alert_id = make_alert_id(NOON, fingerprint(b"evil"))
    tx.add_refused(
        RefusedAlert(
            alert_id=alert_id,
            received_at=NOON,
            source=Source.TRADINGVIEW,
            credential=EVIL,
            strategy=EVIL,
            symbol=EVIL,
            body=EVIL * 20,
            code="E_FIELD",
            message=EVIL,
            field=EVIL,
        )
    )
    tx.audit(AuditAction.ALERT_REFUSED, NOON, alert_id=alert_id, code=EVIL, message=EVIL, account=EVIL)
    tx.audit(AuditAction.ALARM_RAISED, NOON, account=EVIL, message=EVIL)
    tx.put(tx.ledger.holds, ("paper", EVIL), Hold(message=EVIL))
    gaps = find_gaps({"MIS": Decimal(10)}, {"MIS": Decimal(7), "CNC": Decimal(4)})
    tx.put(tx.ledger.holds, ("paper", "NSE:SBIN"), make_hold("NSE:SBIN", gaps))
    tx.put(tx.ledger.holds, ("family", "NSE:TCS"), make_hold("NSE:TCS", gaps, accepted_by="operator"))
    rows = tuple(
        BookRow(
            broker_order_id=f"2511210000{n}", tag="", symbol=symbol, side=Side.SELL, product=Product.CNC,
            ord_type=OrdType.LIMIT, order_qty=Decimal(700), cum_qty=Decimal(2), status=OrderStatus.PARTIAL, message="",
            updated_at=NOON,
        )
        for n, symbol in enumerate(("NSE:TCS", EVIL))
    )  # fmt: skip
    tx.put(tx.ledger.external, "paper", rows)


def shoot(page: Any, name: str) -> None:
    """A picture for whoever works on the looks: PICTURES names the folder."""
    folder = os.environ.get("PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def wait_live(page: Any) -> None:
    page.locator("#live").wait_for(state="visible")


# --- live ---


def test_an_alert_appears_without_a_reload(chromium, box):
    """The page listens; what it holds is replaced, not the page."""
    token = box.mint()
    with Watched(chromium, box) as page:
        page.goto("/")
        wait_live(page)
        page.evaluate("window.sameDocument = true")
        assert page.get_by_text("No alert has arrived yet").is_visible()
        alert_id = box.alert(token).json()["alert_id"]
        row = page.locator(f"#alert-{alert_id}")
        row.get_by_text("FILLED", exact=True).wait_for()
        page.locator("[data-src='/parts/positions']").get_by_text("NSE:SBIN").wait_for()
        page.locator("svg.chart.wide").wait_for()
        assert page.evaluate("window.sameDocument") is True
        row.get_by_role("link").click()
        page.get_by_text("The broker accepted the order.").wait_for()


def test_an_open_question_and_the_keyboard_survive_a_live_update(chromium, box):
    """Who is about to halt must not have the button taken away."""
    token = box.mint()
    with Watched(chromium, box) as page:
        page.goto("/")
        wait_live(page)
        page.locator("summary", has_text="Halt").first.click()
        button = page.get_by_role("button", name="Halt now").first
        button.focus()
        box.api("POST", "/halt", json={"strategy": "demo"})
        page.get_by_text("with the exceptions below").wait_for()
        assert button.is_visible()
        assert page.evaluate("document.activeElement.textContent") == "Halt now"
        box.alert(token)
        page.get_by_text("HALTED", exact=True).first.wait_for()
        assert button.is_visible()
        page.keyboard.press("Escape")
        assert not button.is_visible()


def test_a_lost_connection_is_shown_and_made_up_for(chromium, box, tmp_path):
    """A page that is out of date must not look alive."""
    with WebBox(make_settings(tmp_path / "second")) as other:
        watched = Watched(chromium, other)
        watched.page.goto("/")
        wait_live(watched.page)
        other.stop()
        watched.page.get_by_text("Connection lost").wait_for()
        assert watched.page.locator("#live").is_hidden()
        watched.context.close()
    with Watched(chromium, box) as page:
        page.goto("/")
        wait_live(page)
        box.run(end_streams(box))
        wait_live(page)
        box.alert(box.mint())
        page.get_by_text("FILLED", exact=True).first.wait_for()


async def end_streams(box: WebBox) -> None:
    box.bridge.hub._end_all()


def test_an_alert_under_way_is_followed_to_its_end(chromium, box):
    """Its own page is live too."""
    token = box.mint()
    box.alert(token)
    alert_id = box.alert(token, symbol="NSE:RELIANCE", order_type="LIMIT", price="1200").json()["alert_id"]
    with Watched(chromium, box) as page:
        page.goto(f"/alerts/{alert_id}")
        wait_live(page)
        page.get_by_text("working").wait_for()
        box.alert(token, symbol="NSE:RELIANCE", action="cancel", quantity=None, price=None)
        page.get_by_text("CANCELLED_UNFILLED").first.wait_for()


# --- buttons ---


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_the_halt_button_asks_and_halts(chromium, box, script):
    """One click opens the question, one more halts; with and without JavaScript."""
    with Watched(chromium, box, java_script_enabled=script) as page:
        page.goto("/")
        page.locator("summary", has_text="Halt").first.click()
        assert box.api("GET", "/status").json()["mode"] == "ACTIVE"
        page.get_by_role("button", name="Halt now").first.click()
        page.get_by_text("Trading is halted").wait_for()
        assert box.api("GET", "/status").json()["mode"] == "REDUCING"
        page.locator("summary", has_text="Stop everything").click()
        page.get_by_role("button", name="Stop everything now").click()
        page.get_by_text("Everything is stopped").wait_for()
        assert box.api("GET", "/status").json()["mode"] == "HALTED"
        page.locator("summary", has_text="Resume").first.click()
        page.get_by_role("button", name="Resume now").first.click()
        page.get_by_text("Trading is on").wait_for()
        assert box.api("GET", "/status").json()["mode"] == "ACTIVE"


def test_what_is_typed_into_a_form_survives_a_live_update(chromium, box):
    """The price of a change must not turn back under the fingers; and the form is not cut off by its table."""
    token = box.mint()
    ident = box.alert(token, order_type="LIMIT", price="500").json()["alert_id"]
    with Watched(chromium, box, viewport=PHONE) as page:
        page.goto("/")
        wait_live(page)
        page.locator("summary", has_text="Change").click()
        price = page.get_by_label("Price")
        price.fill("50")
        page.keyboard.press("Home")
        page.keyboard.type("4")
        box.alert(token, symbol="NSE:INFY", price="1500")
        page.locator("[data-src='/parts/orders']").get_by_text("NSE:INFY").wait_for()
        page.keyboard.type("9")
        assert price.input_value() == "4950"
        assert page.get_by_role("button", name="Change the order").bounding_box()["width"] > 200
        page.get_by_role("button", name="Change the order").click()
        page.get_by_text("10 units, price 4950").first.wait_for()
        assert ident not in page.url


def test_one_strategy_can_be_halted_by_keyboard_alone(chromium, box):
    """Every control can be reached and worked without a mouse."""
    with Watched(chromium, box) as page:
        page.goto("/")
        wait_live(page)
        page.get_by_text("Halt one account or strategy").focus()
        page.keyboard.press("Enter")
        summary = page.locator("#halt-strategy-demo > summary")
        summary.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("with the exceptions below").wait_for()


def test_signing_in_and_out(chromium, tmp_path):
    """A wrong password is told; the right one shows the page; a session that ends leads back."""
    settings = make_settings(tmp_path)
    set_password(settings, PASSWORD)
    with WebBox(settings) as box:
        watched = Watched(chromium, box)
        page = watched.page
        page.goto("/alerts")
        page.get_by_label("Operator password").fill("not the password")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("That is not the password.").wait_for()
        shoot(page, "sign-in")
        page.get_by_label("Operator password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Trading is on").wait_for()
        wait_live(page)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Operator password").wait_for()
        watched.context.close()
        assert [text for text in watched.complaints if "401" not in text] == []


def test_a_session_that_is_over_leads_back_to_the_sign_in(chromium, tmp_path):
    """An open page notices with its next change."""
    settings = make_settings(tmp_path)
    set_password(settings, PASSWORD)
    with WebBox(settings) as box:
        watched = Watched(chromium, box)
        page = watched.page
        page.goto("/login")
        page.get_by_label("Operator password").fill(PASSWORD)
        page.keyboard.press("Enter")
        wait_live(page)
        set_password(settings, "another horse battery")
        box.api("POST", "/halt")
        page.get_by_label("Operator password").wait_for()
        watched.context.close()


def test_a_login_at_the_broker_comes_back_over_another_site_with_its_session(chromium, tmp_path):
    """The strict cookie does not come along from the broker's site (here: localhost), but with one reload of our own."""
    clock = RunningClock()
    with open_desk(clock) as desk:
        desk.server.do(lambda sandbox: sandbox.sessions.end())
        login_root = f"http://localhost:{desk.server.port}/connect/login"
        settings = login_settings(tmp_path, desk, login_root=login_root)
        set_password(settings, PASSWORD)
        with WebBox(settings, clock) as box:
            desk.turn(redirect_url=f"{box.url}/brokers/{ACCOUNT}/callback")
            context = chromium.new_context(base_url=box.url, viewport=PHONE)
            page = context.new_page()
            page.set_default_timeout(10_000)
            answers: list[Any] = []
            page.on("response", lambda answer: answers.append(answer) if "/callback" in answer.url else None)
            page.goto("/login")
            page.get_by_label("Operator password").fill(PASSWORD)
            page.keyboard.press("Enter")
            shoot(page, "login-missing")
            page.get_by_role("link", name="Log in to Zerodha").click()
            page.get_by_role("button", name="Log in as").click()
            page.get_by_role("heading", name="Logged in to Zerodha").wait_for()
            assert [answer.headers.get("refresh") for answer in answers] == ["0", None]
            page.get_by_role("link", name="Go on").click()
            page.get_by_text("Logged in as SB0001 until").wait_for()
            assert "request_token" not in page.url
            shoot(page, "login-done")
            context.close()


# --- looks ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_every_page_fits_and_can_be_read(chromium, box, size, scheme):
    """No sideways scrolling at 360 pixels, enough contrast in both schemes, and attacks are only text."""
    first = trade(box)
    box.write(mischief)
    box.api("POST", "/halt", json={"strategy": "breakout", "all": True})
    evil = make_alert_id(NOON, fingerprint(b"evil"))
    kind = f"{'phone' if size is PHONE else 'desk'}-{scheme}"
    with Watched(chromium, box, viewport=size, color_scheme=scheme) as page:
        for path in ("/", "/alerts", f"/alerts/{first}", f"/alerts/{evil}"):
            page.goto(path)
            if path == "/":
                wait_live(page)
                page.locator("summary", has_text="Stop everything").click()
                page.get_by_text("Halt one account or strategy").click()
                page.locator("summary", has_text="the difference in NSE:SBIN").click()
                assert page.get_by_role("button", name="Accept as it is").is_visible()
                assert page.get_by_role("heading", name="Placed elsewhere").is_visible()
            shoot(
                page, f"{path.strip('/').replace('/', '-') or 'status'}-{kind}".replace(first, "filled").replace(evil, "evil")
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            assert page.evaluate(PALE) == [], path
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(14, 19, 25)") is (scheme == "dark")


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESK, "dark")], ids=["phone", "desk"])
def test_every_page_of_scans_fits_and_can_be_read(chromium, box, size, scheme):
    """Sideways only within the table, whose first column stays; hostile names and notes are only text."""
    filters = {**MOMENTUM["filters"], EVIL: "close > 1"}
    symbols = [*SYMBOLS, f"NSE:{'<script>alert(1)</script>X' * 1}{'Y' * 14}"]
    show(box, {**MOMENTUM, "universe": symbols, "note": EVIL, "filters": filters}, {"NSE:SBIN": "60"})
    box.run(box.bridge.scans.definitions.save({**MOMENTUM, "universe": symbols, "note": EVIL}, by="operator"))
    report = box.bridge.settings.replays_dir() / "report-of-a-year"
    report.mkdir(parents=True)
    (report / "report.html").write_text("<style>b { color: green }</style><b>report</b>")
    kind = f"{'phone' if size is PHONE else 'desk'}-{scheme}"
    paths = (
        "/scans",
        "/scans/momentum",
        "/scans/momentum/NSE:SBIN",
        "/scans/momentum/versions",
        "/scans/momentum/edit",
        "/replays",
    )
    with Watched(chromium, box, viewport=size, color_scheme=scheme) as page:
        for path in paths:
            page.goto(path)
            shoot(page, f"{path.strip('/').replace('/', '-').replace(':', '-')}-{kind}")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            assert page.evaluate(PALE) == [], path
        page.goto("/scans/momentum")
        page.locator(".scan-table").evaluate("table => table.scrollTo(9999, 0)")
        cell = page.get_by_role("rowheader").first.bounding_box()
        assert 0 <= cell["x"] < 60
        page.locator("summary", has_text="Disable").click()
        assert page.get_by_role("button", name="Disable now").is_visible()
        page.goto("/replays")
        page.get_by_role("link", name="report-of-a-year").click()
        assert page.evaluate("getComputedStyle(document.querySelector('b')).color") == "rgb(0, 128, 0)"


def test_a_definition_is_written_corrected_approved_and_enabled_in_the_browser(chromium, box):
    """The whole way by hand; another page that is open follows live."""
    with Watched(chromium, box, expected="422") as page, Watched(chromium, box) as other:
        other.goto("/scans")
        wait_live(other)
        page.goto("/scans")
        page.get_by_role("link", name="Look and add ema-cross").click()
        text = page.get_by_label("Definition, in YAML")
        good = text.input_value()
        text.fill(good.replace("percent: 2", "percent: nothing"))
        page.get_by_role("button", name="Check and save").click()
        page.get_by_role("alert").get_by_text("exits.target.percent").wait_for()
        page.get_by_label("Definition, in YAML").fill(good)
        page.get_by_role("button", name="Check and save").click()
        page.locator("summary", has_text="Approve for live").click()
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("Approved by operator").wait_for()
        page.locator("summary", has_text="Enable").click()
        page.get_by_role("button", name="Enable now").click()
        page.get_by_text("no bar has closed since").first.wait_for()
        other.locator("#scan-ema-cross").get_by_text("enabled", exact=True).wait_for()


def press(page: Any, label: str, told: str = "") -> None:
    """Press a button of the one definition on the list, and confirm what is asked; back to the list."""
    page.goto("/scans")
    page.locator("summary", has_text=label).first.click()
    if told:
        page.get_by_text(told).wait_for()
        shoot(page, f"scans-{label}".lower().replace(" ", "-"))
    page.get_by_role("button", name=f"{label} now").click()
    page.wait_for_url("**/scans/up")
    page.goto("/scans")


def test_a_definition_is_taken_live_in_the_browser_trades_and_is_disabled(chromium, tmp_path, monkeypatch):
    """Read, approved, deployed and enabled by hand; its order is at the broker, and an edit takes the button away."""
    kite_hurry(monkeypatch)
    monkeypatch.setattr("bridge.runner.runner.TURN_S", 0.02)
    with open_floor(tmp_path) as floor, Watched(chromium, floor.box) as page:
        definitions, card = floor.box.bridge.scans.definitions, page.locator("#scan-up")
        floor.run(definitions.save(UP, by="test"))
        page.goto("/scans")
        assert page.locator("summary", has_text="Go live").count() == 0
        page.get_by_role("link", name="read and approve").click()
        page.locator("summary", has_text="Approve for live").click()
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("Approved by operator").first.wait_for()
        press(page, "Go live", "go to live accounts: real money")
        card.get_by_text("live", exact=True).wait_for()
        press(page, "Enable", f"live accounts ({LIVE}): real money")
        card.get_by_text("enabled", exact=True).wait_for()
        floor.bar("812", "815")
        wait_for(floor.at_kite, "the order at the broker")
        press(page, "Disable")
        card.get_by_text("disabled", exact=True).wait_for()
        floor.run(definitions.save({**UP, "size": {"quantity": 7}}, by="test"))
        page.goto("/scans")
        card.get_by_text("Not approved: what was approved is").wait_for()
        assert page.locator("summary", has_text="Enable").count() == 0
        assert len(floor.at_kite()) == 1


async def publish(box: WebBox, what: str) -> None:
    box.bridge.hub.publish([Changed(what=what)])


def test_the_table_of_a_scan_follows_its_bars_without_a_reload(chromium, box):
    """Where the reader is stays: the page is the same document, sorted anew."""
    show(box, MOMENTUM)
    with Watched(chromium, box, viewport=PHONE) as page:
        page.goto("/scans/momentum?show=all")
        wait_live(page)
        page.evaluate("window.sameDocument = true")
        assert page.get_by_text("2 entering of 6").is_visible()
        show(box, MOMENTUM, {"NSE:RELIANCE": "10", "NSE:M&M": "20", "NSE:SBIN": "60"})
        box.run(publish(box, "definition"))
        page.get_by_text("leaving of 6").wait_for()
        assert page.evaluate("window.sameDocument") is True


def test_a_page_for_nobody_is_a_page_too(chromium, box):
    """404, in the same clothes."""
    watched = Watched(chromium, box)
    watched.page.goto("/nothing")
    assert watched.page.get_by_text("There is nothing here").is_visible()
    shoot(watched.page, "message")
    watched.context.close()


def test_the_policy_stops_a_script_that_got_in(chromium, box):
    """Should escaping ever fail, nothing inline runs and nothing leaves."""
    watched = Watched(chromium, box)
    page = watched.page
    page.goto("/")
    page.evaluate("""() => {
      const script = document.createElement("script"); script.textContent = "window.bad = 1"; document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.bad = 1'><b style='color:red'>x</b>");
    }""")
    page.wait_for_timeout(200)
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in text for text in watched.complaints)
    watched.context.close()
