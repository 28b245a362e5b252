"""`bridge notify test`: one message by each channel, to see that it arrives."""

import argparse

from bridge.core.errors import ConfigError
from bridge.notify.link import Link, NotSentError
from bridge.settings import load_settings


def test(arguments: argparse.Namespace) -> int:
    """Send the message; 0 only when every channel has taken it. Needs no running bridge."""
    settings = load_settings()
    channels = {n: c for n, c in settings.notify.channels.items() if arguments.channel in (None, n)}
    if not channels:
        known = ", ".join(settings.notify.channels) or "none"
        raise ConfigError(f"there is no such channel among notify.channels ({known}); docs/operations.md shows how to set one")
    failed = 0
    for name, channel in channels.items():
        told = ", ".join(sorted(channel.events))
        try:
            link = Link(name, channel.url.get_secret_value())
            link.send("Bridge: test", f"This is {name}. It is told: {told}.\n{settings.public_url()}", pressing=False)
        except NotSentError as error:
            failed += 1
            print(f"{name}: {error}", flush=True)
        else:
            print(f"{name}: taken by the service; told of {told}", flush=True)
    return 1 if failed else 0
