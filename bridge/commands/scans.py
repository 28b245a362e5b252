"""`bridge scan`: scans and strategies of our own, from a file to live, and what they see."""

import argparse
import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bridge.commands.client import CommandError, reach
from bridge.settings import load_settings

_ANSWERS = {None: "unknown", True: "yes    ", False: "no     "}


def show(_arguments: argparse.Namespace) -> int:
    """List the definitions, and the files that can be added."""
    return asyncio.run(_show())


async def _show() -> int:
    from bridge.scanner.files import shipped

    settings = load_settings()
    async with reach(settings) as bridge:
        rows = await bridge.get("/scans")
    for row in rows:
        state = "enabled" if row["enabled"] else "disabled"
        approved = "approved" if row["approved"] else "not approved"
        stands = f"{row['version']}  {state:<9}{row['deployment']:<6}{approved:<14}"
        print(f"{row['name']:<24}{stands}{row['strategy']}  {row['note']}")
    known = {row["name"] for row in rows}
    if files := [path for name, path in shipped(settings.scans_dir()).items() if name not in known]:
        print("To be added with `bridge scan save FILE`:")
        for path in files:
            print(f"  {path}")
    return 0


def save(arguments: argparse.Namespace) -> int:
    """Create a definition from a YAML file, or make its next version."""
    try:
        text = Path(arguments.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{arguments.file} cannot be read: {error}") from None
    return asyncio.run(_post("", {"text": text}))


def enable(arguments: argparse.Namespace) -> int:
    """Let one run from the next closed bar on."""
    return asyncio.run(_post(f"/{quote(arguments.name)}/enable", {}))


def disable(arguments: argparse.Namespace) -> int:
    """Let one raise nothing any more."""
    return asyncio.run(_post(f"/{quote(arguments.name)}/disable", {}))


def approve(arguments: argparse.Namespace) -> int:
    """Approve one version for live accounts."""
    return asyncio.run(_post(f"/{quote(arguments.name)}/approve", {"version": arguments.version}))


def deploy(arguments: argparse.Namespace) -> int:
    """Send its signals to paper or to live accounts."""
    return asyncio.run(_post(f"/{quote(arguments.name)}/deploy", {"deployment": arguments.deployment}))


async def _post(path: str, body: dict[str, object]) -> int:
    async with reach(load_settings()) as bridge:
        row = await bridge.post(f"/scans{path}", body)
    where = f"{row['deployment']} ({', '.join(row['accounts']) or 'no account'})"
    print(f"{row['name']} {row['version']}: {'enabled' if row['enabled'] else 'disabled'}, {where}")
    return 0


def delete(arguments: argparse.Namespace) -> int:
    """Forget a definition that is disabled."""
    return asyncio.run(_delete(arguments.name))


async def _delete(name: str) -> int:
    async with reach(load_settings()) as bridge:
        await bridge.delete(f"/scans/{quote(name)}")
    print(f"{name} is deleted; its versions are kept.")
    return 0


def explain(arguments: argparse.Namespace) -> int:
    """Print what one saw at the latest bar."""
    return asyncio.run(_explain(arguments.name, arguments.symbol))


async def _explain(name: str, symbol: str | None) -> int:
    query = f"?symbol={quote(symbol)}" if symbol else ""
    async with reach(load_settings()) as bridge:
        told = await bridge.get(f"/scans/{quote(name)}/lines{query}")
    print(told.get("message") or f"{told['name']} {told['version']} at the bar that closed at {told['at']}")
    if told.get("state"):
        print(f"It waits: {told['state']}")
    for line in told["lines"]:
        rank = "" if line["rank"] is None else f"#{line['rank']}"
        print(f"{line['verdict']:<6}{rank:<6}{line['symbol']:<24}{line['why']}")
        if symbol:
            for check in line["checks"]:
                print(f"      {_ANSWERS[check['passed']]} {check['name']}: {check['rule']}  {_numbers(check['values'])}")
    return 0


def _numbers(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {'unknown' if value is None else f'{value:.6g}'}" for name, value in values.items())
