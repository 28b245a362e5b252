"""`bridge instruments sync`: today's list of instruments from a broker, put in use in the bridge that runs."""

import argparse
import asyncio
import sys
from typing import Any, TextIO

from bridge.commands.client import Client, CommandError, reach
from bridge.core.clock import Clock, SystemClock
from bridge.settings import load_settings

POLL_S = 0.1
# Longer than fetching and reading may take together.
SYNC_WITHIN_S = 480.0
_MEGA = 1_000_000


def sync(arguments: argparse.Namespace) -> int:
    """Fetch the list and wait for its end; 0 only when it is in use."""
    return asyncio.run(_sync(arguments.account))


async def _sync(account: str) -> int:
    async with reach(load_settings()) as bridge:
        await bridge.post("/instruments/sync", {"account": account})
        told = await follow_sync(bridge, sys.stderr)
    ended = told["sync"]
    if ended["phase"] != "done":
        raise CommandError(f"the list was not taken, the one in use stays: {ended['message']}")
    print(f"The list of {told['day']} is in use: {ended['message']}")
    return 0


async def follow_sync(bridge: Client, out: TextIO) -> Any:
    """The list and its sync once that has ended; how far it is goes to `out`, in one line if that is a terminal."""
    clock: Clock = SystemClock()
    until, shown = clock.monotonic() + SYNC_WITHIN_S, ""
    while True:
        told = await bridge.get("/instruments")
        line = _progress(told["sync"], fine=out.isatty())
        if line != shown:
            out.write(f"\r\x1b[K{line}" if out.isatty() else f"{line}\n")
            out.flush()
            shown = line
        if told["sync"]["phase"] in ("done", "failed"):
            if out.isatty():
                out.write("\r\x1b[K")
            return told
        if clock.monotonic() > until:
            raise CommandError(
                f"the sync has not ended within {SYNC_WITHIN_S:.0f} s; `bridge status` tells what the bridge does"
            )
        await asyncio.sleep(POLL_S)


def _progress(sync: dict[str, Any], *, fine: bool) -> str:
    if sync["phase"] != "fetching":
        return {"reading": "Reading and checking …", "done": "Done.", "failed": "Failed."}[sync["phase"]]
    return f"Fetching … {sync['bytes'] / _MEGA:.1f} MB" if fine else "Fetching …"
