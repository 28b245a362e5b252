"""Logging in to the broker through the running bridge: by the browser, by the API, and what pages and alarms say without."""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bridge.core.clock import IST
from bridge.core.errors import StoreError
from bridge.core.reasons import AuditAction
from bridge.sandbox.kite.box import API_SECRET, USER_ID
from bridge.web.auth import set_password
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.logins import ACCOUNT, login_settings
from tests.support.waiting import wait_for
from tests.support.web import WebBox

LOGIN, CALLBACK = f"/brokers/{ACCOUNT}/login", f"/brokers/{ACCOUNT}/callback"
SESSION = f"/brokers/{ACCOUNT}/session"
PASSWORD = "correct horse battery"
CROSS_SITE = {"sec-fetch-site": "cross-site"}


@pytest.fixture
def clock() -> RunningClock:
    """The machine's, moved to nine in the evening of a day in India: nothing turns during a test."""
    clock = RunningClock()
    move_to(clock, 21)
    return clock


def move_to(clock: RunningClock, hour: int, minute: int = 0, days: int = 0) -> None:
    local = clock.now().astimezone(IST)
    wanted = local.replace(hour=hour, minute=minute, second=0, microsecond=0) + timedelta(days=days)
    clock.ahead += wanted - local


@pytest.fixture
def desk(clock: RunningClock) -> Iterator[Desk]:
    with open_desk(clock, auto_login=True) as desk:
        desk.server.do(lambda box: box.sessions.end())
        yield desk


@pytest.fixture
def box(tmp_path: Path, desk: Desk, clock: RunningClock) -> Iterator[WebBox]:
    with WebBox(login_settings(tmp_path, desk), clock) as running:
        desk.turn(redirect_url=running.url + CALLBACK)
        yield running


@pytest.fixture
def locked(tmp_path: Path, desk: Desk, clock: RunningClock) -> Iterator[WebBox]:
    """A bridge with a password."""
    settings = login_settings(tmp_path, desk)
    set_password(settings, PASSWORD)
    with WebBox(settings, clock) as running:
        desk.turn(redirect_url=running.url + CALLBACK)
        yield running


def browse(box: WebBox, path: str, **values: Any) -> httpx.Response:
    """As a browser goes: over the socket, and where it is led."""
    with httpx.Client(base_url=box.url, follow_redirects=True, trust_env=False, timeout=20) as client:
        return client.get(path, **values)


def is_up(box: WebBox) -> bool:
    """Readiness of the account; that no list of instruments was fetched yet is another part's trouble."""
    return bool(browse(box, "/readyz").json()["parts"][f"broker {ACCOUNT}"]["ok"])


def sign_in(box: WebBox, client: httpx.Client) -> None:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/login").text)
    assert found
    answer = client.post("/login", data={"csrf": found[1], "password": PASSWORD}, headers={"origin": box.url})
    assert answer.status_code == 303


def leave(client: httpx.Client) -> dict[str, str]:
    """To the login page and to where it leads: the query of the callback."""
    away = client.get(LOGIN)
    assert away.status_code == 303
    back = httpx.get(away.headers["location"], trust_env=False)
    assert back.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(back.headers["location"]).query).items()}


def told(box: WebBox, *actions: AuditAction) -> list[tuple[str, str]]:
    return [(step.step, step.message) for step in reversed(box.bridge.store.reads.recent(actions, 100))]


def logins_told(box: WebBox) -> list[tuple[str, str]]:
    return told(
        box, AuditAction.BROKER_LOGGED_IN, AuditAction.BROKER_LOGIN_FAILED, AuditAction.BROKER_SESSION_ENDED,
        AuditAction.ALARM_RAISED,
    )  # fmt: skip


# --- by the browser ---------------------------------------------------------------------------------------------------------


def test_the_way_by_the_browser_ends_logged_in(box):
    """Button, login page, back with a token; page, readiness, API and record tell it, and the broker takes the token."""
    assert f'href="{LOGIN}"' in browse(box, "/").text
    before = browse(box, "/readyz")
    assert before.status_code == 503
    assert before.json()["parts"][f"broker {ACCOUNT}"]["message"].startswith("not logged in: nobody has logged in")
    page = browse(box, LOGIN)
    assert page.status_code == 200
    assert f"Account {ACCOUNT} is logged in as {USER_ID} until" in page.text
    assert "06:00" in page.text
    home = browse(box, "/").text
    assert f"Logged in as {USER_ID} until" in home
    assert LOGIN not in home
    assert is_up(box)
    ((step, message),) = logins_told(box)
    assert (step, message.endswith("by operator.")) == ("broker_logged_in", True)
    account = next(row for row in box.api("GET", "/account").json() if row["account"] == ACCOUNT)
    assert account["login"]["logged_in"] is True
    assert account["login"]["ends_at"] == box.api("GET", SESSION).json()["ends_at"]


def test_the_token_is_the_brokers_and_a_restart_keeps_it(tmp_path, box, desk, clock):
    """No new login until six in the morning."""
    browse(box, LOGIN)
    token = box.bridge.sessions[ACCOUNT].token()
    current = desk.server.do(lambda sandbox: sandbox.sessions.current)
    assert token == current.access_token
    box.stop()
    with WebBox(login_settings(tmp_path, desk), clock) as again:
        assert again.bridge.sessions[ACCOUNT].token() == token
        assert again.api("GET", SESSION).json()["logged_in"] is True
        assert is_up(again)


def test_signed_in_the_way_works_over_another_site(locked):
    """The browser keeps the strict cookie back when the login page leads here: one reload of our own brings it along."""
    with httpx.Client(base_url=locked.url, trust_env=False, timeout=20) as client:
        sign_in(locked, client)
        query = leave(client)
        hop = httpx.get(locked.url + CALLBACK, params=query, headers=CROSS_SITE, trust_env=False)
        assert (hop.status_code, hop.headers["refresh"]) == (200, "0")
        assert query["request_token"] not in hop.text
        assert logins_told(locked) == []
        page = client.get(CALLBACK, params=query, headers={"sec-fetch-site": "same-origin"})
        assert f"logged in as {USER_ID}" in page.text


def test_who_is_not_signed_in_gets_no_login_page_and_can_bring_no_token(locked, desk):
    """Neither begins nor ends a login; the token stays unused."""
    assert httpx.get(locked.url + LOGIN, trust_env=False).status_code == 401
    token = desk.server.do(lambda sandbox: sandbox.sessions.give_request_token())
    query = {"status": "success", "request_token": token, "state": "x"}
    answer = httpx.get(locked.url + CALLBACK, params=query, trust_env=False)
    assert answer.status_code == 401
    assert "Sign in to the bridge, then log in to the broker again" in answer.text
    assert token not in answer.text
    assert logins_told(locked) == []
    assert locked.api("POST", SESSION, json={"request_token": token}).status_code == 200


def test_a_login_that_another_browser_began_is_refused(locked):
    """Login CSRF: a link with somebody else's token must not put their session in place of the operator's."""
    with (
        httpx.Client(base_url=locked.url, trust_env=False, timeout=20) as one,
        httpx.Client(base_url=locked.url, trust_env=False, timeout=20) as other,
    ):
        sign_in(locked, one)
        sign_in(locked, other)
        query = leave(other)
        answer = one.get(CALLBACK, params=query)
        assert answer.status_code == 403
        assert "was not begun on the status page of this browser" in answer.text
        assert logins_told(locked) == []
        assert other.get(CALLBACK, params=query).status_code == 200


@pytest.mark.parametrize("state", ["", "x", "1.x", "9" * 300, "ü.ü", "no", "{state}x", "1{state}"])
def test_a_state_that_we_did_not_make_is_refused(box, state):
    """Missing, changed or nonsense: nothing is asked of the broker, and nothing breaks."""
    with httpx.Client(base_url=box.url, trust_env=False, timeout=20) as client:
        query = leave(client)
        answer = client.get(CALLBACK, params={**query, "state": state.format(state=query["state"])})
        assert answer.status_code == 403
        assert logins_told(box) == []
        assert client.get(CALLBACK, params=query).status_code == 200


def test_a_state_is_for_one_account_and_a_quarter_of_an_hour(box, clock):
    """It does not fit the callback of another account, nor a login that was left lying."""
    with httpx.Client(base_url=box.url, trust_env=False, timeout=20) as client:
        query = leave(client)
        assert client.get("/brokers/paper/callback", params=query).status_code == 403
        clock.jump(minutes=16)
        assert client.get(CALLBACK, params=query).status_code == 403


def test_a_login_that_was_not_completed_or_failed_says_what_to_do(box, desk):
    """Given up, or with a token that is used up: the session that there is stands."""
    with httpx.Client(base_url=box.url, trust_env=False, timeout=20) as client:
        query = leave(client)
        gone = client.get(CALLBACK, params={**query, "status": "cancelled"})
        assert (gone.status_code, "The login was not completed." in gone.text) == (400, True)
        assert client.get(CALLBACK, params=query).status_code == 200
        again = client.get(CALLBACK, params=query)
        assert again.status_code == 400
        assert "Token is invalid or has expired" in again.text
        assert f"The session of before stands: account {ACCOUNT} is logged in as {USER_ID}" in again.text


def test_a_login_that_cannot_be_stored_says_that_it_is_lost(box, monkeypatch):
    """The token is used up: what helps is a new login, once the store takes it; and no session is believed till then."""

    async def refuse(*_args):
        raise StoreError("the disk is full")

    with httpx.Client(base_url=box.url, trust_env=False, timeout=20) as client:
        query = leave(client)
        with monkeypatch.context() as patch:
            patch.setattr(box.bridge.store, "write", refuse)
            answer = client.get(CALLBACK, params=query)
        assert answer.status_code == 503
        assert "Zerodha took the login, but it could not be stored: the disk is full. Log in again." in answer.text
        assert box.bridge.sessions[ACCOUNT].token() is None
        assert client.get(CALLBACK, params=leave(client)).status_code == 200


def test_a_link_on_another_site_begins_no_login(box):
    """A new login ends the one before."""
    answer = httpx.get(box.url + LOGIN, headers=CROSS_SITE, trust_env=False)
    assert answer.status_code == 403


def test_an_account_without_login_or_without_existence_is_told(box):
    """Page and API name those that there are."""
    for account in ("paper", "nobody", "a" * 150):
        answer = httpx.get(f"{box.url}/brokers/{account}/login", trust_env=False)
        assert answer.status_code == 400
        assert ACCOUNT in answer.text
        for method in ("GET", "POST"):
            refused = box.api(method, f"/brokers/{account}/session", json={"request_token": "abcdef"})
            assert (refused.status_code, refused.json()["field"]) == (422, "account")


# --- by the API -------------------------------------------------------------------------------------------------------------


def test_the_api_takes_the_token_and_only_with_its_own(box, desk):
    """What a terminal does."""
    token = desk.server.do(lambda sandbox: sandbox.sessions.give_request_token())
    assert box.ask("POST", f"/api/v1{SESSION}", json={"request_token": token}).status_code == 401
    assert box.api("GET", SESSION).json()["login_url"].startswith(f"{desk.server.root}/connect/login?v=3&api_key=")
    for body in ({}, {"request_token": 5}, {"request_token": token, "new_user": "yes"}, {"token": token}):
        assert box.api("POST", SESSION, json=body).status_code == 422
    answer = box.api("POST", SESSION, json={"request_token": token})
    assert answer.status_code == 200
    assert (answer.json()["logged_in"], answer.json()["user_id"]) == (True, USER_ID)
    refused = box.api("POST", SESSION, json={"request_token": token})
    assert (refused.status_code, refused.json()["field"]) == (422, "request_token")
    assert "log in again" in refused.json()["hint"]


# --- what is seen without -----------------------------------------------------------------------------------------------------


def test_a_dropped_session_shows_at_once_on_page_and_readiness(box):
    """And is an alarm."""
    browse(box, LOGIN)
    assert is_up(box)
    box.bridge.sessions[ACCOUNT].drop("Incorrect `api_key` or `access_token`.")
    part = browse(box, "/readyz").json()["parts"][f"broker {ACCOUNT}"]
    assert part["message"].startswith("not logged in: Zerodha ended the session (Incorrect `api_key` or `access_token`).")
    assert f'href="{LOGIN}"' in browse(box, "/parts/accounts").text
    wait_for(lambda: len(logins_told(box)) == 3, "the record")
    assert [step for step, _ in logins_told(box)] == ["broker_logged_in", "broker_session_ended", "alarm_raised"]
    assert "is not logged in: Zerodha ended the session" in browse(box, "/parts/alarms").text


def test_the_brokers_403_ends_the_session_and_a_new_login_mends_it(box, desk):
    """Found by whatever the bridge asks next; nothing but the login is needed to go on."""
    browse(box, LOGIN)
    wait_for(lambda: is_up(box), "the first answers")
    desk.server.do(lambda sandbox: sandbox.sessions.end())
    wait_for(lambda: len(logins_told(box)) == 3, "the broker's word", limit_s=20)
    part = browse(box, "/readyz").json()["parts"][f"broker {ACCOUNT}"]
    assert part["message"].startswith("not logged in: Zerodha ended the session (Incorrect `api_key` or `access_token`).")
    browse(box, LOGIN)
    wait_for(lambda: is_up(box), "the broker's answers", limit_s=20)
    assert [step for step, _ in logins_told(box)][-1] == "broker_logged_in"


def test_the_button_comes_back_on_the_day_on_which_the_session_ends(box, clock):
    """After midnight, with the time; and at six it is over."""
    browse(box, LOGIN)
    assert LOGIN not in browse(box, "/parts/accounts").text
    move_to(clock, 0, 1, days=1)
    shown = browse(box, "/parts/accounts").text
    assert f"Logged in as {USER_ID} until 06:00:00" in shown
    assert f'href="{LOGIN}"' in shown
    move_to(clock, 6)
    assert browse(box, "/readyz").status_code == 503
    wait_for(lambda: logins_told(box)[-1][0] == "broker_session_ended", "the record of the end")


def to_trading_day(box: WebBox, clock: RunningClock, hour: int, minute: int) -> None:
    """The next day on which shares trade."""
    move_to(clock, hour, minute, days=1)
    while not box.bridge.calendar.is_trading_day(clock.now().astimezone(IST).date()):
        move_to(clock, hour, minute, days=1)


def alarms(box: WebBox) -> list[str]:
    """Of old data apart: a bridge with a list of the day is another test."""
    return [message for _step, message in told(box, AuditAction.ALARM_RAISED) if not message.startswith("Data are old")]


def test_before_the_market_opens_a_missing_login_is_an_alarm_at_each_reminder(tmp_path, box, desk, clock):
    """At 08:45 and at 09:05, not again after a restart, and again on the next trading day; paper accounts need none."""
    to_trading_day(box, clock, 8, 44)
    box.run(box.bridge.worker.tick())
    assert alarms(box) == []
    move_to(clock, 8, 45)
    box.run(box.bridge.worker.tick())
    (first,) = alarms(box)
    assert first.startswith(f"The market opens at 09:15 IST, and {ACCOUNT} is not logged in: nobody has")
    box.stop()
    with WebBox(login_settings(tmp_path, desk), clock) as again:
        again.run(again.bridge.worker.tick())
        move_to(clock, 9, 4)
        again.run(again.bridge.worker.tick())
        assert alarms(again) == [first]
        move_to(clock, 9, 5)
        for _ in range(2):
            again.run(again.bridge.worker.tick())
        assert alarms(again) == [first, first]
        move_to(clock, 12)
        again.run(again.bridge.worker.tick())
        assert len(alarms(again)) == 2
        to_trading_day(again, clock, 8, 46)
        again.run(again.bridge.worker.tick())
        assert len(alarms(again)) == 3


def test_a_missing_login_is_no_fault_of_ours(box, clock):
    """It is told as what it is, and not counted every second until somebody logs in."""
    for _ in range(3):
        box.run(box.bridge.worker.tick())
    assert (
        'bridge_faults_total{where="funds"}'
        not in box.ask("GET", "/metrics", headers={"authorization": f"Bearer {box.token}"}).text
    )


def test_a_login_before_the_second_reminder_makes_it_needless(box, clock):
    """Who has logged in is left alone for the rest of the day."""
    to_trading_day(box, clock, 8, 45)
    box.run(box.bridge.worker.tick())
    browse(box, LOGIN)
    move_to(clock, 9, 5)
    box.run(box.bridge.worker.tick())
    assert len(alarms(box)) == 1


def test_with_a_login_on_a_holiday_or_in_the_evening_there_is_no_alarm(box, clock):
    """Only a day on which somebody can trade and nobody has logged in is worth one."""
    to_trading_day(box, clock, 15, 30)
    box.run(box.bridge.worker.tick())
    while box.bridge.calendar.is_trading_day(clock.now().astimezone(IST).date()):
        move_to(clock, 8, 45, days=1)
        if box.bridge.calendar.is_trading_day(clock.now().astimezone(IST).date()):
            browse(box, LOGIN)
        box.run(box.bridge.worker.tick())
    assert alarms(box) == []


# --- secrets ----------------------------------------------------------------------------------------------------------------


def test_no_token_and_no_secret_is_in_log_page_record_or_file(tmp_path, box, desk, capfd, caplog):
    """After logins that worked, failed and were dropped."""
    caplog.set_level(logging.DEBUG)
    shown = ""
    with httpx.Client(base_url=box.url, trust_env=False, timeout=20) as client:
        queries = [leave(client) for _ in range(2)]
        for query in (*queries, queries[0]):
            shown += client.get(CALLBACK, params=query).text
        tokens = [desk.server.do(lambda sandbox: sandbox.sessions.current.access_token)]
        box.bridge.sessions[ACCOUNT].drop(f"no such token: {tokens[0]}")
        wait_for(lambda: logins_told(box)[-1][0] == "alarm_raised", "the alarm")
        shown += client.get("/").text + client.get("/readyz").text
    shown += box.api("GET", "/account").text + box.api("GET", SESSION).text
    shown += repr(list(box.bridge.store.reads.audit_rows()))
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "urllib3"))]
    box.stop()
    said = capfd.readouterr()
    shown += said.out + said.err + repr([record.getMessage() for record in ours])
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (API_SECRET, *tokens, *(query["request_token"] for query in queries)):
        assert len(secret) > 8
        assert secret not in shown
        assert secret.encode() not in files
