"""The hot path: one delivery from the socket to `pipeline.accept` and its answer back, before any routing."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from bridge.answer import Answer, refused, unavailable
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.verify import Delivery
from bridge.web.port import Bridge

PATH = "/webhook/tradingview"
MAX_BODY_BYTES = 64 * 1024
# TradingView gives up after three seconds; a body that trickles longer than this is nobody's alert.
BODY_WITHIN_S = 10.0

# The only headers that intake reads; the others are not even decoded.
_WANTED = {name.encode(): name for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "x-forwarded-for")}
_JSON = (b"content-type", b"application/json")
_TOO_LARGE = refused(RefusedError(RefusalCode.E_SIZE, hint="An alert is a few hundred bytes of JSON; send only its fields."))
_TOO_SLOW = refused(
    RefusedError(RefusalCode.E_JSON, f"The body did not arrive within {BODY_WITHIN_S:.0f} s.", hint="Send it again.")
)
_NOT_A_POST = refused(
    RefusedError(RefusalCode.E_METHOD, hint="Open the bridge's own page at / to see what became of your alerts.")
)


class BodyTooLargeError(Exception):
    """More than the cap was declared or sent; the rest is not read."""


class SenderGoneError(Exception):
    """The sender hung up before its body was complete."""


class Webhook:
    """ASGI app of `POST /webhook/tradingview[/<token>]`; never raises, and answers only what the contract lists."""

    def __init__(self, bridge: Bridge):
        self._bridge = bridge
        self._accept = bridge.pipeline.accept
        self._now = bridge.clock.now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _send_answer(send, _NOT_A_POST, (b"allow", b"POST"))
            return
        try:
            answer = await self._answer(scope, receive)
        except SenderGoneError:
            return
        except Exception as error:  # the sender must learn that nothing was stored, whatever went wrong
            self._bridge.on_fault("webhook", error)
            answer = unavailable("The bridge met a fault of its own.")
        await _send_answer(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers: dict[str, str] = {}
        declared = b""
        for name, value in scope["headers"]:
            wanted = _WANTED.get(name)
            if wanted is not None:
                text = value.decode("latin-1")
                headers[wanted] = f"{headers[wanted]}, {text}" if wanted in headers else text
            elif name == b"content-length":
                declared = value
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await read_body(receive, MAX_BODY_BYTES, declared)
        except BodyTooLargeError:
            return _TOO_LARGE
        except TimeoutError:
            return _TOO_SLOW
        client = scope["client"]
        delivery = Delivery(
            body=body,
            headers=headers,
            path_token=scope["path"][len(PATH) + 1 :] or None,
            peer=client[0] if client else "",
            received_at=self._now(),
        )
        return await self._accept(delivery)


def is_webhook(path: str) -> bool:
    """True for the webhook's path, with or without one more segment (the token)."""
    if not path.startswith(PATH):
        return False
    rest = path[len(PATH) :]
    return not rest or (rest[0] == "/" and "/" not in rest[1:])


async def read_body(receive: Receive, cap: int, declared: bytes = b"") -> bytes:
    """The whole body; BodyTooLargeError as soon as more than `cap` bytes are declared or there."""
    if declared.isdigit() and int(declared[:20]) > cap:
        raise BodyTooLargeError
    message = await receive()
    body: bytes = _part(message)
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body") and size <= cap:
            message = await receive()
            parts.append(_part(message))
            size += len(parts[-1])
        body = b"".join(parts)
    if len(body) > cap:
        raise BodyTooLargeError
    return body


def _part(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise SenderGoneError
    part: bytes = message.get("body", b"")
    return part


async def _send_answer(send: Send, answer: Answer, *more: tuple[bytes, bytes]) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(answer.body)), *more]
    await send({"type": "http.response.start", "status": answer.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
