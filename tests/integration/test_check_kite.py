"""`bridge check` of an account at the loopback Kite, logged in by the vendor's own client: what each trouble is told as."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.commands.findings import Facts, Finding, Level
from bridge.commands.look_kite import check_kite, check_logins
from bridge.commands.running import Running
from bridge.sandbox.kite.box import USER_ID
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.logins import ACCOUNT, login_settings
from tests.support.web import WebBox


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(RunningClock()) as desk:
        yield desk


def log_in(folder: Path, desk: Desk) -> None:
    """As `bridge login` does, at a bridge that has ended since."""
    token = desk.server.do(lambda box: box.sessions.give_request_token())
    with WebBox(login_settings(folder, desk)) as box:
        answer = box.api("POST", f"/brokers/{ACCOUNT}/session", json={"request_token": token})
        assert answer.status_code == 200, answer.text


def facts(folder: Path, desk: Desk, *, ahead_s: float = 0, running: Running | None = None, **account: Any) -> Facts:
    clock = RunningClock()
    now = clock.now()
    clock.ahead += timedelta(seconds=ahead_s)
    given = {"stream_root": desk.server.stream_root, **account}
    return Facts(settings=login_settings(folder, desk, **given), running=running, now=now, online=False, clock=clock)


def told(found: Iterator[Finding]) -> list[tuple[Level, str]]:
    return [(one.level, f"{one.message} {one.mend}") for one in found]


def test_an_account_in_order_is_ok_in_every_part(tmp_path, desk):
    """Session, broker, clock, token and stream; and no key or token is shown."""
    log_in(tmp_path, desk)
    here = facts(tmp_path, desk, updates="stream")
    found = [*told(check_logins(here)), *told(check_kite(here))]
    assert [level for level, _text in found] == [Level.OK] * 4
    text = " ".join(text for _level, text in found)
    for words in (f"logged in as {USER_ID} until", "agree to 3 s", "takes the session's token", "the stream at ws://127.0.0.1"):
        assert words in text
    token = desk.server.do(lambda box: box.sessions.current.access_token if box.sessions.current else "")
    assert len(token) > 8
    assert not {token, desk.box.sessions.api_secret, desk.box.sessions.api_key} & set(text.split())


def test_a_token_that_the_broker_has_ended_fails_with_the_login(tmp_path, desk):
    """The bridge's own record says that it lives; the broker knows better."""
    log_in(tmp_path, desk)
    desk.server.do(lambda box: box.sessions.end())
    here = facts(tmp_path, desk, updates="poll")
    assert told(check_logins(here))[0][0] is Level.OK
    level, text = told(check_kite(here))[1]
    assert (level, f"bridge login {ACCOUNT}" in text) == (Level.FAIL, True)


def test_a_broker_in_trouble_leaves_the_token_unknown(tmp_path, desk):
    """A 5xx proves nothing about a session."""
    log_in(tmp_path, desk)
    desk.faults("reads", _503_before=1)
    assert told(check_kite(facts(tmp_path, desk)))[1][0] is Level.WARN


@pytest.mark.parametrize(
    ("ahead_s", "level", "way"), [(1, Level.OK, ""), (40, Level.FAIL, "ahead of"), (-40, Level.FAIL, "behind")]
)
def test_the_clock_is_held_against_the_brokers(tmp_path, desk, ahead_s, level, way):
    """Also without a login."""
    found = told(check_kite(facts(tmp_path, desk, ahead_s=ahead_s)))[0]
    assert (found[0], way in found[1]) == (level, True)


def test_nobody_there_is_told_of_the_broker_and_of_its_stream(tmp_path, desk):
    """Two parts, each with its setting."""
    here = facts(tmp_path, desk, updates="stream")
    desk.close()
    desk.server.stop()
    (broker, stream) = told(check_kite(here))
    assert (broker[0], f"accounts.{ACCOUNT}.root" in broker[1]) == (Level.FAIL, True)
    assert (stream[0], "stream_root" in stream[1]) == (Level.WARN, True)


def test_a_postback_address_that_zerodha_cannot_reach_is_warned_of(tmp_path, desk):
    """Loopback is nobody's address but our own."""
    level, text = told(check_kite(facts(tmp_path, desk, updates="postback")))[1]
    assert (level, f"/webhook/kite/{ACCOUNT}" in text, "updates: stream" in text) == (Level.WARN, True, True)


def test_a_postback_address_is_knocked_at(tmp_path, desk, monkeypatch):
    """The bridge's own refusal of an unsigned call is the proof; anybody else's answer is not."""
    monkeypatch.setattr("bridge.commands.look_kite.reach_hint", lambda _url: "")
    running = Running(pid=1, url="http://127.0.0.1:1")
    with WebBox(login_settings(tmp_path, desk, updates="postback")) as box:
        for url, level in ((box.url, Level.OK), (desk.server.root, Level.WARN), ("http://127.0.0.1:9", Level.WARN)):
            here = facts(tmp_path, desk, running=running, updates="postback")
            settings = here.settings.model_copy(update={"server": here.settings.server.model_copy(update={"public_url": url})})
            known = Facts(settings=settings, running=running, now=here.now, online=False, clock=here.clock)
            assert told(check_kite(known))[1][0] is level
