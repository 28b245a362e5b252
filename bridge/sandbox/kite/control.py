"""What is ours and not the vendor's: the login page, and under /sandbox the strings that move the market and the faults."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from bridge.core.money import parse_decimal
from bridge.sandbox.kite.answers import read_json
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.values import ApiError, bad_input
from bridge.settings import is_loopback

_PAGE = """<!doctype html><meta charset="utf-8"><title>Sandbox login</title>
<body style="font-family: sans-serif; max-width: 34em; margin: 4em auto">
<h1>Kite sandbox</h1><p>This is the sandbox of the bridge on your own machine. No broker is asked, and no password wanted.</p>
{}"""
_FORM = '<form method="post"><button style="font-size: 120%">Log in as {}</button></form>'
_TOKEN = "<p>Logged in. No redirect address is set, so here is the request token:</p><pre>{}</pre>"  # noqa: S105 - a page


class Control:
    """Only for this machine, whatever the server is bound to."""

    def __init__(self, box: KiteSandbox) -> None:
        self._box = box

    def routes(self) -> list[Route]:
        """Every address."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("POST", "/sandbox/price", self._set_price),
            ("POST", "/sandbox/fill", self._fill),
            ("POST", "/sandbox/open", self._open_market),
            ("POST", "/sandbox/release", self._release),
            ("POST", "/sandbox/holding", self._set_holding),
            ("POST", "/sandbox/login", self._log_in),
            ("DELETE", "/sandbox/session", self._end_session),
            ("POST", "/sandbox/drop-streams", self._drop_streams),
            ("GET", "/sandbox/settings", self._settings),
            ("POST", "/sandbox/settings", self._turn),
            ("GET", "/sandbox/faults", self._faults),
            ("POST", "/sandbox/faults", self._set_faults),
            ("DELETE", "/sandbox/faults", self._clear_faults),
            ("GET", "/sandbox/stats", self._stats),
            ("GET", "/sandbox/updates", self._updates),
        ]
        return [
            Route("/connect/login", self._login_page, methods=["GET", "POST"]),
            *(Route(path, self._local(handler), methods=[method]) for method, path, handler in table),
        ]

    def _local(self, handler: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if request.client is None or not is_loopback(request.client.host):
                raise ApiError(404, "GeneralException", "Route not found")
            try:
                return JSONResponse(await handler(request))
            except ValueError as error:
                raise bad_input(f"{error}.") from None

        return answer

    # -- login ------------------------------------------------------------------------------------------------------

    async def _login_page(self, request: Request) -> Response:
        sessions, knobs = self._box.sessions, self._box.knobs
        if request.query_params.get("api_key") != sessions.api_key:
            raise bad_input("Invalid `api_key`.")
        if request.method == "GET" and not knobs.auto_login:
            return HTMLResponse(_PAGE.format(_FORM.format(escape(sessions.user_id))))
        token = sessions.give_request_token()
        if not knobs.redirect_url:
            return HTMLResponse(_PAGE.format(_TOKEN.format(token)))
        extra = parse_qsl(request.query_params.get("redirect_params", ""))
        query = urlencode([("action", "login"), ("type", "login"), ("status", "success"), ("request_token", token), *extra])
        glue = "&" if "?" in knobs.redirect_url else "?"
        return RedirectResponse(f"{knobs.redirect_url}{glue}{query}", 302)

    async def _log_in(self, _request: Request) -> Any:
        return {"request_token": self._box.sessions.give_request_token()}

    async def _end_session(self, _request: Request) -> Any:
        self._box.sessions.end()
        return {}

    # -- market -----------------------------------------------------------------------------------------------------

    async def _set_price(self, request: Request) -> Any:
        content = await read_json(request, dict)
        volume = content.get("volume", 0)
        if type(volume) is not int:
            raise ValueError("volume is a whole number")
        self._box.set_price(str(content.get("symbol")), read_price(content), volume)
        return {}

    async def _fill(self, request: Request) -> Any:
        content = await read_json(request, dict)
        quantity = content.get("quantity")
        if type(quantity) is not int:
            raise ValueError("quantity is a whole number")
        self._box.book.fill(str(content.get("order_id")), quantity, read_price(content))
        return {}

    async def _open_market(self, _request: Request) -> Any:
        self._box.book.open_market()
        return {}

    async def _release(self, _request: Request) -> Any:
        return {"released": self._box.book.release()}

    async def _set_holding(self, request: Request) -> Any:
        content = await read_json(request, dict)
        quantity = content.get("quantity")
        if type(quantity) is not int:
            raise ValueError("quantity is a whole number")
        self._box.account.set_holding(str(content.get("symbol")), quantity, read_price(content, "average_price"))
        return {}

    # -- behaviour --------------------------------------------------------------------------------------------------

    async def _settings(self, _request: Request) -> Any:
        return asdict(self._box.knobs)

    async def _turn(self, request: Request) -> Any:
        self._box.turn(**await read_json(request, dict))
        return asdict(self._box.knobs)

    async def _faults(self, _request: Request) -> Any:
        return self._box.faults.show()

    async def _set_faults(self, request: Request) -> Any:
        self._box.faults.set(await read_json(request, dict))
        return self._box.faults.show()

    async def _clear_faults(self, _request: Request) -> Any:
        self._box.faults.clear()
        return self._box.faults.show()

    async def _drop_streams(self, _request: Request) -> Any:
        self._box.stream.drop_all()
        return {}

    async def _stats(self, _request: Request) -> Any:
        return self._box.stats()

    async def _updates(self, _request: Request) -> Any:
        return list(self._box.stream.sent)


def read_price(content: dict[str, Any], name: str = "price") -> Decimal:
    """Rupees, as a text or a number."""
    try:
        return parse_decimal(str(content[name]))
    except LookupError:
        raise ValueError(f"{name} is missing") from None
