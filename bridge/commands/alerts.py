"""`bridge alert new · list · revoke`: capability tokens, ready to paste into TradingView."""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bridge.commands.client import open_reads, reach
from bridge.core.clock import SystemClock, iso
from bridge.core.views import TokenView
from bridge.minting import CLAIM_NAMES
from bridge.settings import is_loopback, load_settings

# TradingView delivers nowhere else: https://www.tradingview.com/support/solutions/43000529348-how-to-configure-webhook-alerts/
TRADINGVIEW_PORTS = (None, 80, 443)


def new(arguments: argparse.Namespace) -> int:
    """Make a token and print what to paste."""
    minted = asyncio.run(_mint(arguments))
    if arguments.json:
        print(json.dumps({name: minted[name] for name in ("url", "token", "message", "token_id")}, ensure_ascii=False))
    else:
        print(_told(minted))
    if hint := reach_hint(minted["url"]):
        print(f"note: {hint}", file=sys.stderr)
    return 0


async def _mint(arguments: argparse.Namespace) -> Any:
    options = vars(arguments)
    request = {name: options[name] for name in CLAIM_NAMES if options.get(name)}
    async with reach(load_settings()) as bridge:
        return await bridge.post("/tokens", request)


def _told(minted: Mapping[str, str]) -> str:
    return "\n".join(
        (
            "Webhook URL, for the alert's Notifications tab:",
            f"  {minted['url']}",
            "",
            "Message, for the alert's Message box:",
            f"  {minted['message']}",
            "",
            f"Whoever has this message can send such alerts. Take it back with: bridge alert revoke {minted['token_id']}",
        )
    )


def reach_hint(url: str) -> str:
    """Why TradingView cannot deliver to this URL, and the mend; empty when nothing speaks against it."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or parts.hostname in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        return "TradingView cannot reach this address; set server.public_url to the one it can"
    if parts.port not in TRADINGVIEW_PORTS:
        return "TradingView delivers only to ports 80 and 443; put a proxy in front and set server.public_url"
    return "" if parts.scheme == "https" else "over plain http anyone on the way can read the token; use https"


def show(_arguments: argparse.Namespace) -> int:
    """List every token; also while a bridge runs, since reading disturbs nobody."""
    tokens = open_reads(load_settings()).tokens()
    now = SystemClock().now()
    for token in tokens:
        ended = token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)
        print(f"{token.token_id}  {'ended ' if ended else 'valid '}  {_claims_line(token)}")
    if not tokens:
        print("No token was made yet; see `bridge alert new --help`.")
    return 0


def _claims_line(token: TokenView) -> str:
    claims = json.loads(token.claims)
    told = [f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in claims.items()]
    told.append(f"made {iso(token.created_at)}")
    if token.revoked_at is not None:
        told.append(f"revoked {iso(token.revoked_at)}")
    return "; ".join(told)


def revoke(arguments: argparse.Namespace) -> int:
    """Make a token worthless."""
    asyncio.run(_revoke(arguments.token_id))
    print(f"Token {arguments.token_id} is revoked: alerts that carry it are answered 401.")
    return 0


async def _revoke(token_id: str) -> None:
    async with reach(load_settings()) as bridge:
        await bridge.delete(f"/tokens/{token_id}")
