"""Around everything but the webhook: the headers that bind browsers, and the last stop for errors nobody expected."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.web.port import Bridge

# Everything from this origin only, nothing inline, nobody may frame it. 'none' by default: what is not named is refused.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not `no-referrer`: with that a browser sends forms with `Origin: null`, which cannot be checked.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class Guard:
    """Pure ASGI middleware. An unexpected error is counted and goes no further: the app's own handler has answered it."""

    def __init__(self, app: ASGIApp, bridge: Bridge):
        self._app = app
        self._bridge = bridge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _completed(message.get("headers", ()))}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # Starlette raises on after answering, for servers that log; we count instead
            self._bridge.on_fault("web", error)


def _completed(headers: "list[tuple[bytes, bytes]]") -> "list[tuple[bytes, bytes]]":
    """The headers of an answer with ours, and not to be cached unless the answer says so itself."""
    told = {name for name, _ in headers}  # a report of a replay has a policy of its own, and a stricter one
    complete = [*headers, *((name, value) for name, value in SECURITY_HEADERS if name not in told)]
    if not any(name == b"cache-control" for name, _ in headers):
        complete.append((b"cache-control", b"no-store"))
    return complete
