"""Signing in and out with a password, over the app as a browser would: cookies, forms, redirects."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge import __version__
from bridge.core.reasons import AuditAction
from bridge.web.auth import set_password
from tests.support.clocks import RunningClock
from tests.support.web import WebBox, make_settings

PASSWORD = "correct horse battery"
AWAY: dict[str, Any] = {"peer": "10.0.0.9", "base": "http://192.168.1.9:8000"}


class Browser:
    """Keeps cookies; knows how to fill in the sign-in form."""

    def __init__(self, box: WebBox, **where: Any) -> None:
        self.box = box
        self.where = where or AWAY
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, **values: Any) -> httpx.Response:
        answer = self.box.ask(method, path, cookies=self.cookies, **self.where, **values)
        for cookie in answer.headers.get_list("set-cookie"):
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return answer

    def token(self, path: str) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("GET", path).text)
        assert found, path
        return found[1]

    def sign_in(self, password: str = PASSWORD) -> httpx.Response:
        fields = {"csrf": self.token("/login"), "password": password}
        return self.ask("POST", "/login", data=fields, headers={"origin": self.where["base"]})


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture
def box(tmp_path: Path, clock: RunningClock) -> Iterator[WebBox]:
    settings = make_settings(tmp_path)
    set_password(settings, PASSWORD)
    with WebBox(settings, clock) as running:
        yield running


def actions(box: WebBox) -> list[str]:
    wanted = (AuditAction.OPERATOR_SIGNED_IN, AuditAction.SIGN_IN_FAILED)
    return [f"{step.step} {step.message}" for step in reversed(box.bridge.store.reads.recent(wanted))]


def test_without_a_session_every_page_leads_to_the_sign_in(box):
    """Parts and streams say it with a 401, for the script."""
    for path in ("/", "/alerts", "/alerts/x"):
        answer = box.ask("GET", path, **AWAY)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/parts/state", "/live"):
        assert box.ask("GET", path, **AWAY).status_code == 401
    for path in ("/halt", "/resume", "/logout"):
        answer = box.ask("POST", path, data={"csrf": "x"}, **AWAY)
        assert answer.status_code == 401
        assert "Nothing was done" in answer.text


def test_a_stranger_is_not_told_the_version(box):
    """Nor since when it runs: both help whoever looks for old ones."""
    assert __version__ not in box.ask("GET", "/login", **AWAY).text
    browser = Browser(box)
    browser.sign_in()
    assert f"Bridge {__version__}" in browser.ask("GET", "/").text


def test_with_a_password_this_machine_has_to_sign_in_too(box):
    """Once set, it is asked of everybody."""
    assert box.ask("GET", "/").headers["location"] == "/login"


def test_signing_in_shows_the_page_and_signing_out_ends_it(box):
    """Both are in the audit, or at least the first."""
    browser = Browser(box)
    answer = browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = browser.ask("GET", "/")
    assert page.status_code == 200
    assert "Sign out" in page.text
    fields = {"csrf": browser.token("/"), "kind": "global", "name": ""}
    assert browser.ask("POST", "/halt", data=fields, headers={"origin": AWAY["base"]}).status_code == 303
    out = browser.ask("POST", "/logout", data={"csrf": browser.token("/")}, headers={"origin": AWAY["base"]})
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert browser.ask("GET", "/").status_code == 303
    assert actions(box) == ["operator_signed_in from 10.0.0.9"]


def test_a_wrong_password_is_told_and_written_down(box):
    """Without a word of what was tried."""
    answer = Browser(box).sign_in("my secret guess")
    assert answer.status_code == 401
    assert "That is not the password." in answer.text
    assert "my secret guess" not in answer.text
    assert actions(box) == ["sign_in_failed from 10.0.0.9"]


def test_guessing_is_slowed_down_and_no_longer_written_down(box, clock):
    """The audit cannot be flooded either; five minutes later a person may try again."""
    browser = Browser(box)
    for _ in range(5):
        assert browser.sign_in("wrong password").status_code == 401
    blocked = browser.sign_in()
    assert blocked.status_code == 429
    assert int(blocked.headers["retry-after"]) > 200
    assert len(actions(box)) == 5
    clock.jump(minutes=5)
    assert browser.sign_in().status_code == 303


def test_a_session_is_over_after_twelve_hours(box, clock):
    """Whatever the browser keeps."""
    browser = Browser(box)
    browser.sign_in()
    clock.jump(hours=11, minutes=59)
    assert browser.ask("GET", "/").status_code == 200
    clock.jump(minutes=2)
    assert browser.ask("GET", "/").status_code == 303


def test_a_new_password_ends_open_sessions(box):
    """At once, without a restart."""
    browser = Browser(box)
    browser.sign_in()
    set_password(box.bridge.settings, "another horse battery")
    assert browser.ask("GET", "/").status_code == 303
    assert browser.sign_in().status_code == 401
    assert browser.sign_in("another horse battery").status_code == 303


def test_a_sign_in_without_its_form_is_refused(box):
    """Neither another site's nor a replayed one of another browser."""
    browser, other = Browser(box), Browser(box)
    token = other.token("/login")
    for fields in ({"password": PASSWORD}, {"password": PASSWORD, "csrf": token}):
        assert browser.ask("POST", "/login", data=fields, headers={"origin": AWAY["base"]}).status_code == 403
    good = {"password": PASSWORD, "csrf": browser.token("/login")}
    assert browser.ask("POST", "/login", data=good, headers={"origin": "https://evil.example"}).status_code == 403
    assert actions(box) == []


def test_two_sign_in_tabs_both_work(box):
    """The second page does not spoil the first one's form."""
    browser = Browser(box)
    first, second = browser.token("/login"), browser.token("/login")
    assert first == second


def test_a_link_from_another_site_is_carried_over_by_one_hop(box):
    """A strict cookie does not come along with it; the page that refreshes itself brings it."""
    browser = Browser(box)
    browser.sign_in()
    answer = box.ask("GET", "/alerts", headers={"sec-fetch-site": "cross-site"}, **AWAY)
    assert (answer.status_code, answer.headers["refresh"]) == (200, "0")
    assert browser.ask("GET", "/alerts", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_the_sign_in_page_answers_only_to_our_names(box):
    """A rebound name never sees the form."""
    assert box.ask("GET", "/login", base="http://evil.example").status_code == 421


def test_without_a_password_others_are_told_how_to_set_one(tmp_path):
    """403 with the command; on this machine the page is open, and there is no sign-in."""
    with WebBox(make_settings(tmp_path)) as box:
        away = box.ask("GET", "/", peer="10.0.0.9")
        assert away.status_code == 403
        assert "bridge operator password" in away.text
        assert box.ask("GET", "/", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 403
        here = box.ask("GET", "/")
        assert here.status_code == 200
        assert "Sign out" not in here.text
        assert "set-cookie" not in here.headers
        assert box.ask("GET", "/login").headers["location"] == "/"
        assert box.ask("POST", "/login", data={"password": "x"}).status_code == 403


def test_behind_https_the_cookie_is_bound_to_it(tmp_path):
    """By the public address, or by a trusted proxy's word."""
    server = {"port": 0, "public_url": "https://bridge.example.org", "trusted_proxies": ["10.0.0.2"]}
    settings = make_settings(tmp_path, server=server)
    set_password(settings, PASSWORD)
    with WebBox(settings) as box:
        browser = Browser(box, peer="10.0.0.2", base="https://bridge.example.org")
        answer = browser.sign_in()
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-")
        assert all(part in cookie for part in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"))
        assert browser.ask("GET", "/").status_code == 200


def test_a_store_that_cannot_write_keeps_the_door_shut(box, monkeypatch):
    """A sign-in that cannot be written down does not happen."""

    async def refuse(*_args):
        from bridge.core.errors import StoreError

        raise StoreError("the disk is full")

    monkeypatch.setattr(box.bridge.desk, "note_sign_in", refuse)
    answer = Browser(box).sign_in()
    assert answer.status_code == 503
    assert "set-cookie" not in answer.headers
