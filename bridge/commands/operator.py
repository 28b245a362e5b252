"""`bridge operator password`: the password of the pages."""

import argparse
import getpass
import sys

from bridge.core.errors import ConfigError
from bridge.settings import load_settings
from bridge.web.auth import set_password


def password(arguments: argparse.Namespace) -> int:
    """Keep the hash of a new password; a running bridge uses it from now on."""
    settings = load_settings()
    text = sys.stdin.readline().rstrip("\r\n") if arguments.stdin else _ask_twice()
    set_password(settings, text)
    print("The operator password is set. Whoever was signed in has to sign in again.")
    return 0


def _ask_twice() -> str:
    try:
        text = getpass.getpass("New operator password: ")
        if text != getpass.getpass("The same again: "):
            raise ConfigError("the two are not the same; nothing was changed")
    except EOFError:
        raise ConfigError("no password was given; use --stdin where there is no terminal") from None
    return text
