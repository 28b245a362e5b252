"""Reading requests and writing answers, whole or spoilt: what the client gets to see of each fault."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bridge.sandbox.kite.faults import Fault, Knobs
from bridge.sandbox.kite.values import ApiError, bad_input

# What the server puts into the scope, so that a connection can be closed without an answer: no ASGI message says that.
DROP = "kite.drop"
MAX_BODY_BYTES = 262_144
TIMED_OUT = "The order request timed out. Please check the order book before placing the order again."
TOO_MANY = "Too many requests"
_GATEWAYS = {
    Fault.BAD_GATEWAY_BEFORE: 502, Fault.UNAVAILABLE_BEFORE: 503, Fault.GATEWAY_TIMEOUT_BEFORE: 504,
    Fault.BAD_GATEWAY_AFTER: 502, Fault.UNAVAILABLE_AFTER: 503, Fault.GATEWAY_TIMEOUT_AFTER: 504,
}  # fmt: skip
_ERRORS = {
    Fault.TIMED_OUT_BEFORE: (400, "OrderException", TIMED_OUT),
    Fault.TIMED_OUT_AFTER: (400, "OrderException", TIMED_OUT),
    Fault.TOO_MANY: (429, "NetworkException", TOO_MANY),
    Fault.EMPTY_ERROR_TYPE: (500, None, "Something went wrong."),
    Fault.TOKEN_DEAD: (403, "TokenException", "Incorrect `api_key` or `access_token`."),
    Fault.MARGIN: (400, "MarginException", "Insufficient funds. Check the orderbook for open orders."),
}


class NoAnswer(Response):
    """The connection is closed and nothing is said."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close, and end once the server has noticed: it would answer for us before."""
        scope["extensions"][DROP]()
        while (await receive())["type"] != "http.disconnect":
            continue


class StalledBody(Response):
    """Half an answer, then silence, then a broken connection."""

    stall_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise the whole body, and send half of it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await asyncio.sleep(self.stall_s)
        await NoAnswer()(scope, receive, send)


def succeed(data: Any) -> Response:
    """The envelope of a success."""
    return JSONResponse({"status": "success", "data": data})


def refuse(error: ApiError, headers: dict[str, str] | None = None) -> Response:
    """The envelope of an error."""
    return JSONResponse(error.envelope, error.status, headers)


def spoil(fault: Fault, answer: Response | None, knobs: Knobs, address: str) -> Response:
    """What the client sees instead of `answer`, which is None where the request was not carried out."""
    if fault in _GATEWAYS:
        status = _GATEWAYS[fault]
        return HTMLResponse(f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>", status)
    if fault in _ERRORS:
        return refuse(ApiError(*_ERRORS[fault]))
    if fault is Fault.TOO_MANY_WAIT:
        return refuse(ApiError(429, "NetworkException", TOO_MANY), {"retry-after": str(knobs.retry_after_s)})
    if fault is Fault.IP_REFUSED:
        message = f"IP address {address} is not allowed to place orders for this app. Please update the allowed IPs."
        return refuse(ApiError(403, "PermissionException", message))
    if answer is None or fault is Fault.DROP_AFTER:
        return NoAnswer()
    return _spoil_body(fault, answer, knobs.slow_ms / 1_000)


def _spoil_body(fault: Fault, answer: Response, slow_s: float) -> Response:
    body, status = bytes(answer.body), answer.status_code
    if fault is Fault.JSON_LIST:
        return JSONResponse([json.loads(body)] if body.startswith(b"{") else [], status)
    if fault is Fault.NO_CONTENT_TYPE:
        return Response(body, status)
    if fault is Fault.GZIP:
        return zip_answer(answer)
    if fault is Fault.STALLED_BODY:
        stalled = StalledBody(body, status, media_type="application/json")
        stalled.stall_s = slow_s
        return stalled
    headers = {"content-length": str(len(body))}
    return StreamingResponse(_drip(body, slow_s), status, headers, media_type="application/json")


async def _drip(body: bytes, slow_s: float) -> AsyncIterator[bytes]:
    size = max(len(body) // 4, 1)
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(slow_s / 4)


def zip_answer(answer: Response) -> Response:
    """The same answer, compressed."""
    if answer.headers.get("content-encoding"):
        return answer
    headers = {"content-encoding": "gzip", "content-type": answer.headers["content-type"]}
    return Response(gzip.compress(bytes(answer.body), mtime=0), answer.status_code, headers)


async def read_body(request: Request) -> bytes:
    """The whole body, within bounds."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, "InputException", "Request entity too large.")
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The form in the body, or the query of a request that has none."""
    if request.method in ("GET", "DELETE"):
        return dict(request.query_params)
    try:
        return dict(parse_qsl((await read_body(request)).decode(), keep_blank_values=True))
    except (UnicodeDecodeError, ValueError):
        raise bad_input("Invalid form.") from None


async def read_json(request: Request, kind: type) -> Any:
    """The JSON in the body, of the kind that is wanted. Only as application/json, which no page of elsewhere may send."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise bad_input("Send JSON, with the content type application/json.")
    try:
        found = json.loads(await read_body(request))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise bad_input("Invalid JSON.")
    return found
