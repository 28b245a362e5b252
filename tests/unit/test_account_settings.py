"""An account of the settings: which broker it is at, and where that one is."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.intake.scope import account_env
from bridge.settings import AccountSettings
from tests.support.rigs import ROOT, make_settings


@pytest.mark.parametrize(
    "root", ["http://127.0.0.1:8100", "http://127.0.0.1:8100/", "https://venue.example.org", "http://[::1]:8100", "http://a"]
)
def test_a_venue_is_named_by_the_address_of_its_server(root: str) -> None:
    """With or without a slash at the end."""
    assert AccountSettings(broker="venue", root=root).root == root.rstrip("/")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"broker": "venue"}, "root is missing"),
    ({"broker": "venue", "root": ""}, "not the address"),
    ({"broker": "venue", "root": "127.0.0.1:8100"}, "not the address"),
    ({"broker": "venue", "root": "ftp://127.0.0.1"}, "not the address"),
    ({"broker": "venue", "root": "http://"}, "not the address"),
    ({"broker": "venue", "root": "http://a:b"}, "not the address"),
    ({"broker": "venue", "root": "http://a:0"}, "not the address"),
    ({"broker": "venue", "root": "http://[::1"}, "not the address"),
    ({"broker": "venue", "root": "http://a/v1"}, "not the address"),
    ({"broker": "venue", "root": "http://a?b"}, "not the address"),
    ({"broker": "venue", "root": "http://me:secret@a"}, "not the address"),
    ({"broker": "venue", "root": "http://a", "token": "two words"}, "pattern"),
    ({"broker": "paper", "root": "http://a"}, "for broker: venue"),
    ({"broker": "paper", "token": "abc"}, "for broker: venue"),
    ({"broker": "zerodha"}, "'paper', 'venue' or 'kite'"),
    ({"broker": "kite"}, "api_key is missing"),
    ({"broker": "kite", "api_secret": "s"}, "api_key is missing"),
    ({"broker": "kite", "api_key": "k"}, "api_secret is missing"),
    ({"broker": "kite", "api_key": "k", "api_secret": ""}, "api_secret is missing"),
    ({"broker": "kite", "api_key": "k k", "api_secret": "s"}, "pattern"),
    ({"broker": "kite", "api_key": "k", "api_secret": "s", "token": "t"}, "comes by logging in"),
    ({"broker": "kite", "api_key": "k", "api_secret": "s", "login_root": "kite.zerodha.com"}, "not the address of a page"),
    ({"broker": "kite", "api_key": "k", "api_secret": "s", "login_root": "https://a/b?c=d"}, "not the address of a page"),
    ({"broker": "paper", "api_key": "k"}, "for broker: kite"),
    ({"broker": "venue", "root": "http://a", "api_secret": "s"}, "for broker: kite"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_what_would_reach_no_broker_stops_the_start(given: dict[str, Any], told: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(ValidationError, match=told):
        AccountSettings(**given)


def test_the_money_of_a_venue_is_paper(tmp_path: Path) -> None:
    """Tokens for paper reach it, and its limits may be off."""
    accounts = {"far": {"broker": "venue", "root": "http://127.0.0.1:1", "risk": {"profile": "none"}}}
    settings = make_settings(tmp_path, accounts=accounts, strategies={"demo": {"accounts": ["far"]}})
    assert settings.accounts["far"].is_paper
    assert account_env("far", settings) == "paper"


def test_a_bridge_without_a_venue_does_not_load_what_it_needs_for_one() -> None:
    """httpx is a tenth of a second and some megabytes."""
    look = "import sys, bridge.bootstrap; print([name for name in ('httpx', 'bridge.brokers.venue') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
