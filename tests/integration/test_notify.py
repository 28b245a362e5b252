"""Notifications by a real channel: what is told, when, how often, and what happens while nobody listens."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.commands import notify as command
from bridge.core.errors import ConfigError
from bridge.core.reasons import AuditAction
from bridge.notify import channel
from bridge.settings import Settings, load_settings
from tests.support.listener import Listener
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause is short."""
    for name, value in {"GATHER_S": 0.05, "MESSAGE_GAP_S": 0.05, "LOOK_EVERY_S": 0.1, "FIRST_RETRY_S": 0.02}.items():
        monkeypatch.setattr(channel, name, value)
    monkeypatch.setattr(channel, "LONGEST_RETRY_S", 0.05)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def notify_settings(folder: Path, listener: Listener, *events: str, **values: Any) -> Settings:
    """One channel, told of `events`, or of what is usual."""
    phone: dict[str, Any] = {"url": listener.url, **({"events": events} if events else {})}
    return make_settings(folder, notify={"channels": {"phone": phone}, **values})


def alarm(box: WebBox, message: str, account: str = "paper") -> None:
    box.write(lambda tx: tx.audit(AuditAction.ALARM_RAISED, box.clock.now(), account=account, message=message))


def test_an_alarm_a_halt_and_a_denial_are_told_and_fills_are_not_unless_asked_for(tmp_path, listener):
    """The most pressing first, each with account and instrument, and the page to look at."""
    with WebBox(notify_settings(tmp_path, listener)) as box:
        token = box.mint()
        box.alert(token)
        box.api("POST", "/halt", json={})
        box.alert(token, quantity="5")
        alarm(box, "Something odd.")
        wait_for(lambda: "HALTED" in listener.told() or "halted" in listener.told(), "the halt")
        wait_for(lambda: "Something odd." in listener.told() and "denied" in listener.told(), "alarm and denial")
    told = listener.told()
    assert "paper: Something odd." in told
    assert "Trading was halted. global: REDUCING by api" in told
    assert "The risk engine denied the order." in told
    assert "filled" not in told
    assert all(message["message"].endswith("http://127.0.0.1:0") for message in listener.messages)
    assert {message["type"] for message in listener.messages} <= {"failure", "info"}


def test_fills_are_told_with_their_instrument_to_who_asks_for_them(tmp_path, listener):
    """Account, side and symbol, quantity and price; and nothing else."""
    with WebBox(notify_settings(tmp_path, listener, "fill")) as box:
        box.alert(box.mint())
        alarm(box, "Something odd.")
        wait_for(lambda: listener.messages, "the fill")
    assert "paper BUY NSE:SBIN: The order was filled in whole or in part. 10 at 812.6; 10 of 10" in listener.told()
    assert "Something odd" not in listener.told()
    assert listener.messages[0]["title"] == "Bridge: fill"


def test_the_same_text_is_told_once_and_then_counted(tmp_path, listener):
    """A storm of one sentence is two messages: the first, and how often it came again."""
    with WebBox(notify_settings(tmp_path, listener)) as box:
        for _ in range(30):
            alarm(box, "The same again.")
        wait_for(lambda: listener.messages, "the first")
        alarm(box, "The same again.")
        alarm(box, "Another thing.")
        wait_for(lambda: "Another thing." in listener.told(), "the other")
        assert listener.told().count("The same again.") == 1
        box.clock.jump(seconds=601)  # type: ignore[attr-defined]
        wait_for(lambda: "again 30 times since" in listener.told(), "the count")
    assert listener.told().count("The same again.") == 2


def test_what_was_not_told_before_a_restart_is_told_after_it_and_nothing_twice(tmp_path, listener):
    """How far a channel has come is on disk; while its service refuses, nothing is lost."""
    settings = notify_settings(tmp_path, listener)
    with WebBox(settings) as box:
        alarm(box, "Before.")
        wait_for(lambda: listener.messages, "the first")
        listener.status = 503
        alarm(box, "While nobody listened.")
        wait_for(lambda: listener.tries > 2, "tries")
    assert "While" not in listener.told()
    listener.status = 200
    with WebBox(settings):
        wait_for(lambda: "While nobody listened." in listener.told(), "what was left")
    assert listener.told().count("Before.") == 1


def test_a_new_channel_does_not_tell_the_past(tmp_path, listener):
    """It begins when it is first set up."""
    with WebBox(make_settings(tmp_path)) as box:
        alarm(box, "Long ago.")
    with WebBox(notify_settings(tmp_path, listener)) as box:
        alarm(box, "Now.")
        wait_for(lambda: listener.messages, "the news")
    assert "Long ago." not in listener.told()


def test_a_dead_channel_is_shown_told_by_the_others_and_delays_nothing(tmp_path, listener):
    """An alarm once per outage; alerts are answered meanwhile; what waited arrives when it is back."""
    with Listener() as dead:
        dead.status = 500
        channels = {"phone": {"url": listener.url}, "pager": {"url": dead.url}}
        with WebBox(make_settings(tmp_path, notify={"channels": channels})) as box:
            alarm(box, "Look here.")
            gone = "Notifications by pager do not arrive: the service answered HTTP 500."
            wait_for(lambda: gone in listener.told(), "the other channel's word")
            wait_for(lambda: dead.tries > 6, "more tries")
            assert gone in box.ask("GET", "/").text
            assert box.api("GET", "/status").json()["troubles"] == [gone]
            assert box.alert(box.mint()).json()["status"] == "accepted"
            assert listener.told().count("do not arrive") == 1
            dead.status = 200
            wait_for(lambda: "Look here." in dead.told() and gone in dead.told(), "what waited")
            wait_for(lambda: not box.bridge.troubles(), "the end of the trouble")
            metrics = box.ask("GET", "/metrics", headers={"authorization": f"Bearer {box.token}"}).text
            assert 'bridge_notifications_total{channel="pager",result="sent"}' in metrics


def test_a_service_that_never_answers_is_given_up_and_holds_up_no_stop(tmp_path, listener, monkeypatch):
    """Neither the loop nor the end of the bridge waits for it."""
    monkeypatch.setattr(channel, "SEND_WITHIN_S", 0.05)
    listener.silence.clear()
    with WebBox(notify_settings(tmp_path, listener)) as box:
        alarm(box, "Is anybody there?")
        wait_for(box.bridge.troubles, "the trouble")
        assert box.alert(box.mint()).json()["status"] == "accepted"
    assert listener.messages == []


def test_an_address_that_apprise_does_not_know_refuses_to_start(tmp_path):
    """Named by its setting, and not shown."""
    settings = make_settings(tmp_path, notify={"channels": {"phone": {"url": "nosuch://hunter2secret"}}})
    with pytest.raises(ConfigError, match=r"notify\.channels\.phone\.url") as caught, WebBox(settings):
        pass
    assert "hunter2secret" not in str(caught.value)


def test_the_address_is_in_no_log_page_record_or_file(tmp_path, listener, capfd, caplog):
    """Also when the service refuses, or nobody listens."""
    caplog.set_level(logging.DEBUG)
    settings = notify_settings(tmp_path, listener)
    with WebBox(settings) as box:
        listener.status = 403
        alarm(box, "Odd.")
        wait_for(box.bridge.troubles, "the trouble")
        shown = box.ask("GET", "/").text + box.api("GET", "/status").text + repr(list(box.bridge.store.reads.audit_rows()))
    said = capfd.readouterr()
    shown += said.out + said.err + repr([record.getMessage() for record in caplog.records]) + repr(settings)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "hunter2secret" not in shown
    assert b"hunter2secret" not in files


# --- the command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path, listener, monkeypatch):
    """Settings by the environment, as a secret should come."""
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BRIDGE_NOTIFY__CHANNELS__PHONE__URL", listener.url)
    return load_settings


class Words:
    def __init__(self, channel: str | None = None) -> None:
        self.channel = channel


def test_the_command_sends_one_message_and_says_so(terminal, listener, capsys):
    """Without a bridge."""
    assert command.test(Words()) == 0  # type: ignore[arg-type]
    assert "phone: taken by the service; told of alarm, halt, login, reject" in capsys.readouterr().out
    assert listener.messages[0]["title"] == "Bridge: test"
    assert "hunter2secret" not in str(listener.messages)


def test_the_command_fails_when_a_channel_does_not_take_it(terminal, listener, capsys):
    """With the service's status, without the address; and when there is no such channel."""
    listener.status = 401
    assert command.test(Words("phone")) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().out == "phone: the service answered HTTP 401\n"
    with pytest.raises(ConfigError, match="phone"):
        command.test(Words("pager"))  # type: ignore[arg-type]
