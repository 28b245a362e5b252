"""`bridge login ACCOUNT`: the way to the broker's login page, and what it gave, in a terminal."""

import argparse
import asyncio
import getpass
import sys
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from bridge.commands.client import CommandError, reach
from bridge.core.clock import IST
from bridge.core.errors import ConfigError
from bridge.settings import Settings, load_settings


def login(arguments: argparse.Namespace) -> int:
    """Log the account in; 0 only when a session lives afterwards."""
    settings = load_settings()
    if arguments.account not in settings.accounts:
        raise ConfigError(f"there is no account {arguments.account!r}; accounts are {', '.join(settings.accounts)}")
    return asyncio.run(_log_in(settings, arguments.account, arguments.request_token, new_user=arguments.new_user))


async def _log_in(settings: Settings, account: str, given: str | None, *, new_user: bool) -> int:
    path = f"/brokers/{account}/session"
    if given is None:
        # The store is not held while a person looks for the phone.
        async with reach(settings) as bridge:
            told = await bridge.get(path)
        if told["logged_in"]:
            print(
                f"Logged in as {told['user_id']} until {_in_india(told['ends_at'])}. A new login takes the place of that one."
            )
        print(f"Open this address and log in:\n\n  {told['login_url']}\n")
        given = await asyncio.to_thread(_ask)
    async with reach(settings) as bridge:
        told = await bridge.post(path, {"request_token": find_token(given), "new_user": new_user})
    print(f"{account} is logged in to {told['broker']} as {told['user_id']} until {_in_india(told['ends_at'])}.")
    return 0


def _in_india(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(IST):%-d %b %H:%M} in India"


def _ask() -> str:
    prompt = "Then paste the request token, or the whole address that the page led to: "
    try:
        # Not shown: until it is used it is as good as the session.
        return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        return ""


def find_token(given: str) -> str:
    """The request token in what a person pasted; CommandError when there is none."""
    text = given.strip()
    if "request_token=" in text:
        found = parse_qs(urlsplit(text).query or text).get("request_token", [""])
        text = found[0]
    if not text or "/" in text:
        raise CommandError("no request token was given; it is in the address that the login page leads to")
    return text
