"""`bridge login`: in a terminal, with a running bridge and without one."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge import cli
from bridge.commands.client import CommandError
from bridge.commands.login import find_token
from bridge.sandbox.kite.box import API_KEY, API_SECRET, USER_ID
from bridge.settings import Settings
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.logins import ACCOUNT, login_settings
from tests.support.web import WebBox


@pytest.fixture
def desk() -> Iterator[Desk]:
    with open_desk(RunningClock()) as desk:
        yield desk


@pytest.fixture
def settings(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same settings here and, by the environment, for the command."""
    made = login_settings(tmp_path / "data", desk)
    root = desk.server.root
    ravi = {"broker": "kite", "api_key": API_KEY, "root": root, "login_root": f"{root}/connect/login", "updates": "poll"}
    accounts = {ACCOUNT: ravi, "paper": {"broker": "paper", "session": "always"}}
    config = {
        "data_dir": str(made.data_dir), "database": {"url": made.database.url}, "accounts": accounts,
        "strategies": {"demo": {"accounts": ["paper"]}}, "instruments": str(made.instruments_file()),
    }  # fmt: skip
    (tmp_path / "bridge.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("BRIDGE_CONFIG", str(tmp_path / "bridge.yaml"))
    monkeypatch.setenv(f"BRIDGE_ACCOUNTS__{ACCOUNT.upper()}__API_SECRET", API_SECRET)
    return made


@pytest.fixture
def token(desk: Desk) -> Callable[[], str]:
    return lambda: desk.server.do(lambda box: box.sessions.give_request_token())


def test_without_a_running_bridge_the_token_is_kept_for_the_next_one(settings, desk, token, capsys):
    """The store is opened for that; no order leaves."""
    assert cli.main(["login", ACCOUNT, "--request-token", token()]) == 0
    told = capsys.readouterr().out
    assert f"{ACCOUNT} is logged in to Zerodha as {USER_ID} until " in told
    assert " 06:00 in India." in told
    with WebBox(settings, RunningClock()) as box:
        assert box.bridge.sessions[ACCOUNT].token() == desk.server.do(lambda kite: kite.sessions.current.access_token)


def test_with_a_running_bridge_the_login_is_in_use_at_once(settings, token, capsys, monkeypatch):
    """The whole address that the page led to will do; what is pasted is not shown again."""
    with WebBox(settings, RunningClock()) as box:
        box.bridge.lock.write({"pid": 1, "host": "127.0.0.1", "port": box.port})
        given = token()
        pasted = f"http://127.0.0.1:1/brokers/ravi/callback?action=login&status=success&request_token={given}&x=y\n"
        monkeypatch.setattr("sys.stdin", io.StringIO(pasted))
        assert cli.main(["login", ACCOUNT]) == 0
        assert box.bridge.sessions[ACCOUNT].token() is not None
        told = capsys.readouterr()
        assert f"connect/login?v=3&api_key={API_KEY}" in told.out
        assert given not in told.out + told.err
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert cli.main(["login", ACCOUNT]) == 1
        told = capsys.readouterr()
        assert f"Logged in as {USER_ID} until" in told.out
        assert "no request token was given" in told.err


def test_what_cannot_be_logged_in_is_told_with_the_mend(settings, token, capsys):
    """A name that is none, an account without login, a token that is used up."""
    assert cli.main(["login", "nobody", "--request-token", "x"]) == 2
    assert "accounts are ravi, paper" in capsys.readouterr().err
    assert cli.main(["login", "paper", "--request-token", "abcdef"]) == 1
    assert f"Known: {ACCOUNT}" in capsys.readouterr().err
    used = token()
    assert cli.main(["login", ACCOUNT, "--request-token", used]) == 0
    assert cli.main(["login", ACCOUNT, "--request-token", used]) == 1
    told = capsys.readouterr()
    assert "Token is invalid or has expired. A request token is good once" in told.err
    assert used not in told.out + told.err


def test_another_person_needs_to_be_meant(settings, desk, token, capsys):
    """As the refusal says."""
    assert cli.main(["login", ACCOUNT, "--request-token", token()]) == 0
    desk.server.do(lambda box: setattr(box.sessions, "user_id", "XX9999"))
    assert cli.main(["login", ACCOUNT, "--request-token", token()]) == 1
    assert f"bridge login {ACCOUNT} --new-user" in capsys.readouterr().err
    assert cli.main(["login", ACCOUNT, "--new-user", "--request-token", token()]) == 0
    assert "as XX9999" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("abc123", "abc123"),
        ("  abc123\n", "abc123"),
        ("https://a/b?request_token=abc123&status=success", "abc123"),
        ("request_token=abc123&action=login", "abc123"),
        ("a/b?request_token=abc%2B1#x", "abc+1"),
    ],
)
def test_a_token_is_found_in_what_a_person_pastes(given, found):
    """Alone or in its address."""
    assert find_token(given) == found


@pytest.mark.parametrize("given", ["", " \n", "https://kite.zerodha.com/connect/login", "https://a/b?request_token="])
def test_an_address_without_a_token_is_told(given):
    """Such as the one of the login page itself."""
    with pytest.raises(CommandError, match="no request token"):
        find_token(given)
