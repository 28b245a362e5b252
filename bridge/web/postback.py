"""A broker's own call that an order has changed: what it says is not believed, but it is a reason to look at the broker."""

import asyncio
import json
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bridge.web.port import Bridge, Postback
from bridge.web.webhook import MAX_BODY_BYTES, BodyTooLargeError, SenderGoneError, read_body

PATH = "/webhook/kite/{account}"
# The sender gives up after two or three seconds.
BODY_WITHIN_S = 5.0
# Between two looks that postbacks ask for; one that comes earlier is made up for at the end.
MIN_GAP_S = 0.5
_MAX_FIELD = 100
_ANSWERS = {
    "taken": (200, b'{"status":"taken"}'),
    "unreadable": (400, b'{"status":"refused","message":"This is no postback."}'),
    "forged": (403, b'{"status":"refused","message":"The checksum is wrong."}'),
    "unknown": (404, b'{"status":"refused","message":"No account of that name takes postbacks."}'),
    "method": (405, b'{"status":"refused","message":"Postbacks come by POST."}'),
    "size": (413, b'{"status":"refused","message":"A postback is a few kilobytes."}'),
}


class Postbacks:
    """ASGI app of `POST /webhook/kite/ACCOUNT`; answers at once, stores nothing and never raises for what was sent.

    The checksum covers the order's id and a time and nothing else, so that the status and the quantities in the body may be
    anybody's; and a postback that was overheard can be repeated. Both come to no more than a look at the broker.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._looked_s: dict[str, float] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}

    def routes(self) -> list[Route]:
        """The one address."""
        return [Route(PATH, self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._take(scope, receive)
        except SenderGoneError:
            return
        self._bridge.metrics.postback(answer if answer in ("taken", "forged", "unknown") else "unreadable")
        status, body = _ANSWERS[answer]
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [(b"allow", b"POST")] if answer == "method" else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _take(self, scope: Scope, receive: Receive) -> str:
        account = scope["path_params"]["account"]
        known = self._bridge.postbacks.get(account)
        if known is None:
            return "unknown"
        if scope["method"] != "POST":
            return "method"
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await read_body(receive, MAX_BODY_BYTES, declared)
            signed, checksum = read_postback(body)
        except BodyTooLargeError:
            return "size"
        except (TimeoutError, ValueError):
            return "unreadable"
        expected = sha256(signed + known.secret).hexdigest()
        if not compare_digest(expected.encode(), checksum):
            return "forged"
        self._look(account, known)
        return "taken"

    def _look(self, account: str, known: Postback) -> None:
        """At most one look in MIN_GAP_S, and one after the last postback in any case."""
        if account in self._due:
            return
        loop = asyncio.get_running_loop()
        due_s = self._looked_s.get(account, -MIN_GAP_S) + MIN_GAP_S
        if due_s <= loop.time():
            self._look_now(account, known)
        else:
            self._due[account] = loop.call_at(due_s, partial(self._look_now, account, known))

    def _look_now(self, account: str, known: Postback) -> None:
        self._due.pop(account, None)
        self._looked_s[account] = asyncio.get_running_loop().time()
        known.poke("a postback came")


def read_postback(body: bytes) -> tuple[bytes, bytes]:
    """What the checksum was made of, but for the secret, and the checksum; ValueError when it is no postback."""
    try:
        told: Any = json.loads(body)
        fields = [told[name] for name in ("order_id", "order_timestamp", "checksum")]
    except (LookupError, TypeError, RecursionError):
        raise ValueError("no postback") from None
    if not all(isinstance(field, str) and field.isascii() and len(field) <= _MAX_FIELD for field in fields):
        raise ValueError("no postback")
    order_id, at, checksum = (field.encode() for field in fields)
    return order_id + at, checksum
