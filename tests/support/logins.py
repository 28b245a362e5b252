"""An account that logs in at the loopback Kite: its session alone, and a whole bridge that has one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.brokers.kite.session import KiteSession
from bridge.core.clock import Clock
from bridge.sandbox.kite.box import API_KEY, API_SECRET
from bridge.settings import Settings
from bridge.store.store import Store
from bridge.vault import Vault
from tests.support.calendars import present_calendar
from tests.support.kite import Desk
from tests.support.web import make_settings

ACCOUNT = "ravi"
NOWHERE = "http://127.0.0.1:9"


def make_session(
    store: Store, vault: Vault, clock: Clock, root: str = NOWHERE, on_change: Callable[[], None] = lambda: None, **changes: str
) -> KiteSession:
    """The session of the sandbox's app; `changes` are other keys."""
    given: dict[str, Any] = {"api_key": API_KEY, "api_secret": API_SECRET, "login_root": f"{root}/connect/login", **changes}
    return KiteSession(ACCOUNT, root=root, store=store, vault=vault, clock=clock, on_change=on_change, **given)


def login_settings(folder: Path, desk: Desk | None = None, **changes: Any) -> Settings:
    """One account at the sandbox and one on paper; `changes` are of the first."""
    root = desk.server.root if desk else NOWHERE
    ravi = {
        "broker": "kite", "api_key": API_KEY, "api_secret": API_SECRET, "root": root, "login_root": f"{root}/connect/login",
        "updates": "poll",
    }  # fmt: skip
    accounts = {ACCOUNT: {**ravi, **changes}, "paper": {"broker": "paper", "session": "always"}}
    strategies = {"demo": {"accounts": ["paper"]}}
    return make_settings(folder, accounts=accounts, strategies=strategies, calendar=present_calendar())
