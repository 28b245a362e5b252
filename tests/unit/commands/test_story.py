"""The demo's day and its table."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.commands import demo
from bridge.commands.story import SCENES, Scene, body_of, headers_of
from bridge.core.errors import ConfigError
from bridge.settings import load_settings
from tests.support.rigs import ROOT

NOW = datetime(2026, 11, 20, 4, 15, 2, 999_999, tzinfo=UTC)


def test_a_body_is_the_message_with_its_placeholders_filled_in():
    """Token, strategy, symbol and time come with each; the time in whole seconds, as TradingView has it."""
    body = json.loads(body_of(Scene(title="x", fields={"action": "buy"}), "T", NOW, b""))
    assert body == {
        "token": "T", "strategy": "demo", "symbol": "NSE:SBIN", "action": "buy", "time": "2026-11-20T04:15:02Z",
    }  # fmt: skip


def test_a_field_of_none_is_left_out_and_a_resend_is_the_same_bytes():
    """So that one scene can go without a token, and another be a duplicate."""
    assert "token" not in json.loads(body_of(Scene(title="x", fields={"token": None}), "T", NOW, b""))
    assert body_of(Scene(title="x", resend=True), "T", NOW, b"before") == b"before"


def test_headers_are_tradingview_s():
    """The content type tells only whether the message happened to be JSON."""
    kinds = {scene.title: headers_of(scene)["content-type"].partition(";")[0] for scene in SCENES}
    assert kinds.pop("broken JSON") == "text/plain"
    assert set(kinds.values()) == {"application/json"}
    assert headers_of(SCENES[0])["user-agent"] == "Go-http-client/1.1"


def test_no_two_bodies_are_the_same_but_the_resent_one():
    """All are sent within one second, and the bridge takes the same body for the same alert."""
    bodies = [body_of(scene, "T", NOW, b"before") for scene in SCENES]
    assert len(set(bodies)) == len(bodies)


def test_the_demo_s_settings_are_nobody_s_own(monkeypatch, tmp_path):
    """Whatever the environment says, it is paper, loopback and its own file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_CONFIG", "to be given back")
    for name, value in {"BRIDGE_DATABASE__URL": "sqlite:///real.db", "BRIDGE_SERVER__HOST": "0.0.0.0", "BRIDGE_X": "1"}.items():
        monkeypatch.setenv(name, value)
    settings = demo.demo_settings(tmp_path / "demo")
    assert settings.database.url == f"sqlite:///{tmp_path / 'demo' / 'demo.db'}"
    assert (settings.server.host, settings.data_dir) == ("127.0.0.1", tmp_path / "demo")
    assert {account.broker for account in settings.accounts.values()} == {"paper"}
    assert settings.instruments == ROOT / "config" / "instruments.csv"


class Screen:
    """Standard output that is, or is not, a terminal of some width."""

    def __init__(self, monkeypatch, columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: columns is not None, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns or 0))


@pytest.mark.parametrize(
    ("columns", "lines", "longest"),
    [(None, 1, 182), (200, 1, 182), (120, 1, 120), (80, 2, 80)],
)
def test_the_last_column_makes_do_with_the_room_there_is(monkeypatch, capsys, columns, lines, longest):
    """A file gets all of it, a terminal what fits, a narrow one a line of its own."""
    Screen(monkeypatch, columns)
    demo.print_row(["a"] * 7, "m" * 100)
    printed = capsys.readouterr().out.splitlines()
    assert (len(printed), max(map(len, printed))) == (lines, longest)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"http_status": 500}, "the HTTP status is 500, expected 200"),
        ({"answer": "duplicate"}, "the answer is 'duplicate', expected 'accepted'"),
        ({"became": "failed INTERNAL"}, "the end is 'failed INTERNAL', expected 'done FILLED'"),
        ({"position": "20"}, "the position is '20', expected '10'"),
    ],
)
def test_a_row_that_is_not_as_it_should_be_is_told_and_fails(capsys, change, told):
    """The demo proves what it shows: exit code 0 depends on every row."""
    good = {"http_status": 200, "answer": "accepted", "became": "done FILLED", "position": "10"}
    outcome = demo.Outcome(**{**good, **change}, alert_id="A", message="", answered_ms=1.0, broker_ms=None, ended_ms=None)
    assert demo.show(SCENES[0], outcome, []) is (told == "")
    assert told in capsys.readouterr().out


def test_a_resent_alert_that_gets_an_id_of_its_own_fails(capsys):
    """A duplicate is answered with the first one's id."""
    outcome = demo.Outcome(
        http_status=200, answer="duplicate", became="done FILLED", position="10", alert_id="B", message="",
        answered_ms=1.0, broker_ms=None, ended_ms=None,
    )  # fmt: skip
    assert demo.show(SCENES[1], outcome, ["B"])
    assert not demo.show(SCENES[1], outcome, ["A"])
    assert "not the first one's" in capsys.readouterr().out


@pytest.mark.parametrize("port", [None, 0])
def test_the_demo_takes_a_free_port_when_the_usual_one_is_taken(monkeypatch, tmp_path, port):
    """A newcomer may have something else on 8000."""
    monkeypatch.setenv("BRIDGE_CONFIG", str(ROOT / "config" / "bridge.yaml"))
    settings = load_settings(data_dir=Path(tmp_path))
    first_settings, first = demo.listen_somewhere(settings, 0)
    with first:
        taken = settings.model_copy(update={"server": first_settings.server})
        second_settings, second = demo.listen_somewhere(taken, port)
        with second:
            assert second_settings.server.port not in (0, first_settings.server.port)
        with pytest.raises(ConfigError, match="in use"):
            demo.listen_somewhere(settings, first_settings.server.port)
