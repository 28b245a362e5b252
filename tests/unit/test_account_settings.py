"""An account of the settings: which broker it is at, and where that one is."""

import os
import subprocess
import sys
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.core.errors import ConfigError
from bridge.intake.scope import account_env
from bridge.settings import AccountSettings, load_settings
from tests.support.rigs import ROOT, make_settings


@pytest.mark.parametrize(
    "root", ["http://127.0.0.1:8100", "http://127.0.0.1:8100/", "https://venue.example.org", "http://[::1]:8100", "http://a"]
)
def test_a_venue_is_named_by_the_address_of_its_server(root: str) -> None:
    """With or without a slash at the end."""
    assert AccountSettings(broker="venue", root=root).root == root.rstrip("/")


KITE: dict[str, Any] = {"broker": "kite", "api_key": "abc", "api_secret": "hush"}
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
    ({**KITE, "api_key": "two words"}, "api_key"),
    ({**KITE, "root": "https://api.kite.trade/oms"}, "not the address"),
    ({**KITE, "login_root": "kite.zerodha.com"}, "not the address of a page"),
    ({**KITE, "stream_root": "https://ws.kite.trade"}, "not the address of a stream"),
    ({**KITE, "token": "abc"}, "comes by logging in"),
    ({**KITE, "session": "always"}, "for paper accounts"),
    ({**KITE, "orders_per_second": 11}, "orders_per_second is at most 10"),
    ({**KITE, "orders_per_second": None}, "orders_per_second is at most 10"),
    ({**KITE, "market_protection": "0"}, "above 0 up to 100"),
    ({**KITE, "market_protection": "-2"}, "above 0 up to 100"),
    ({**KITE, "updates": "push"}, "'stream', 'postback' or 'poll'"),
    ({"broker": "paper", "updates": "poll"}, "updates is for broker: kite"),
    ({"broker": "venue", "root": "http://a", "api_key": "abc"}, "api_key is for broker: kite"),
    ({"broker": "kite", "api_secret": "s"}, "api_key is missing"),
    ({"broker": "kite", "api_key": "k", "api_secret": "s", "login_root": "https://a/b?c=d"}, "not the address of a page"),
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


def test_a_bridge_without_a_venue_does_not_load_what_it_needs_for_one(tmp_path: Path) -> None:
    """httpx is a tenth of a second and some megabytes; so is what only scans, pages, messages or another database need."""
    heavy = ("httpx", "numpy", "bridge.brokers.venue", "jinja2", "apprise", "sqlalchemy.dialects.postgresql")
    look = (
        "import sys; from bridge.app import build_app; from bridge.bootstrap import Bridge;"
        "from bridge.settings import load_settings; build_app(Bridge(load_settings()));"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    where = {**os.environ, "BRIDGE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=where, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_kite_account_has_real_money_and_the_vendors_addresses_and_limits(tmp_path: Path) -> None:
    """Nothing but the key and the secret has to be named."""
    account = AccountSettings(**KITE)
    assert not account.is_paper
    assert (account.root, account.stream_root) == ("https://api.kite.trade", "wss://ws.kite.trade")
    assert account.updates == "stream"
    assert account.orders_per_second == 8
    assert account.market_protection == Decimal(-1)
    with pytest.raises(ValidationError, match="paper accounts only"):
        make_settings(tmp_path, accounts={"zerodha": KITE}, strategies={"demo": {"accounts": ["zerodha"]}})


def test_the_secret_of_an_app_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings nor what is wrong with them say it."""
    assert "hush" not in repr(AccountSettings(**KITE))
    monkeypatch.setenv("BRIDGE_ACCOUNTS__ZERODHA__API_SECRET", "hush")
    monkeypatch.setenv("BRIDGE_ACCOUNTS__ZERODHA__BROKER", "kite")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "accounts.zerodha: api_key is missing" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_bridge_without_a_kite_account_does_not_load_the_vendors_client(tmp_path: Path) -> None:
    """It would bring requests, Twisted and forty megabytes along."""
    look = (
        "import sys, bridge.cli, bridge.app, bridge.settings, bridge.bootstrap;"
        "bridge.bootstrap.Bridge(bridge.settings.load_settings());"
        "print([name for name in sys.modules if name.split('.')[0] in ('kiteconnect', 'requests', 'twisted', 'autobahn')"
        " or name.startswith('bridge.brokers.kite')])"
    )
    where = {**os.environ, "BRIDGE_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=where, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("square_off", "told"),
    [
        (None, {}),
        (True, {}),
        (False, None),
        ({"equity": 20, "commodity": "22:45", "currency": None}, {"equity": 20, "commodity": time(22, 45), "currency": None}),
    ],
)
def test_square_off_names_minutes_times_or_nothing_by_segment(square_off: Any, told: Any) -> None:
    """Unnamed, the defaults hold; they do not where there is no close."""
    named = {} if square_off is None else {"square_off": square_off}
    assert AccountSettings.model_validate({"broker": "paper", **named}).square_off_times == told
    assert AccountSettings.model_validate({"broker": "paper", "session": "always", **named}).square_off_times is None


@pytest.mark.parametrize("when", [0, -5, 241, 910, "25:00", "3 pm", 1.5, "", []])
def test_a_square_off_that_is_no_time_is_refused(when: Any) -> None:
    """YAML reads 15:10 without quotes as 910, which the message explains."""
    with pytest.raises(ValidationError, match="in quotes such as"):
        AccountSettings.model_validate({"broker": "paper", "square_off": {"equity": when}})


def test_a_square_off_of_an_unknown_segment_is_refused() -> None:
    """A time that is never reached would be a trap."""
    with pytest.raises(ValidationError, match="equity-fno"):
        AccountSettings.model_validate({"broker": "paper", "square_off": {"shares": 15}})
