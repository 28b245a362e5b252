"""The HTTP side: the vendor's routes over the sandbox, with its envelope, its login, its limits, and the faults between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.core.clock import IST
from bridge.sandbox.kite.answers import TOO_MANY, read_form, read_json, refuse, spoil, succeed, zip_answer
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.control import Control
from bridge.sandbox.kite.desk import Desk
from bridge.sandbox.kite.faults import Fault, Scope, acts
from bridge.sandbox.kite.limits import Kind
from bridge.sandbox.kite.values import ApiError, bad_input, stamp

TICK_S = 0.01
Handler = Callable[[Request, dict[str, str]], Awaitable[Any]]
MAX_QUOTES, MAX_PRICES = 500, 1_000


def build_kite(box: KiteSandbox) -> Starlette:
    """The app of a sandbox; several may follow one another around the same."""
    api = Api(box)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(keep_time(box)), tasks.create_task(box.stream.send_postbacks())]
            try:
                yield
            finally:
                box.stream.close_all()
                for task in work:
                    task.cancel()

    handlers: dict[Any, Any] = {ApiError: _api_error, HTTPException: _http_error, ClientDisconnect: _gone}
    return Starlette(routes=[*api.routes(), *Control(box).routes()], lifespan=lifespan, exception_handlers=handlers)


async def keep_time(box: KiteSandbox) -> None:
    """Let due steps happen, and the stream's heart beat."""
    waited_s = 0.0
    while True:
        box.book.run_due()
        if waited_s * 1_000 >= box.knobs.heartbeat_ms:
            box.stream.beat()
            waited_s = 0.0
        await asyncio.sleep(TICK_S)
        waited_s += TICK_S


async def _api_error(_request: Request, error: ApiError) -> Response:
    return refuse(error)


async def _http_error(_request: Request, error: HTTPException) -> Response:
    told = {404: "Route not found", 405: "Method not allowed"}.get(error.status_code, error.detail)
    return refuse(ApiError(error.status_code, "GeneralException", told))


async def _gone(_request: Request, _error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody reads it


class Api:
    """The vendor's routes. Each request is authentic, within the limits, and then carried out: well, or with a fault."""

    def __init__(self, box: KiteSandbox) -> None:
        self._box = box
        self._desk = Desk(box)

    def routes(self) -> list[Route]:
        """Every address, in the order they are tried."""
        desk = self._desk
        table: list[tuple[str, str, Kind, Handler]] = [
            ("DELETE", "/session/token", Kind.OTHER, self._log_out),
            ("GET", "/user/profile", Kind.OTHER, self._profile),
            ("GET", "/user/margins", Kind.OTHER, self._margins),
            ("GET", "/user/margins/{segment}", Kind.OTHER, self._margins),
            ("GET", "/orders", Kind.OTHER, desk.orders),
            ("GET", "/trades", Kind.OTHER, desk.trades),
            ("GET", "/orders/{order_id}", Kind.OTHER, desk.history),
            ("GET", "/orders/{order_id}/trades", Kind.OTHER, desk.order_trades),
            ("POST", "/orders/{variety}", Kind.PLACE, desk.place),
            ("PUT", "/orders/{variety}/{order_id}", Kind.CHANGE, desk.modify),
            ("DELETE", "/orders/{variety}/{order_id}", Kind.CHANGE, desk.cancel),
            ("GET", "/portfolio/positions", Kind.OTHER, self._positions),
            ("GET", "/portfolio/holdings", Kind.OTHER, self._holdings),
            ("GET", "/portfolio/holdings/auctions", Kind.OTHER, self._auctions),
            ("POST", "/margins/orders", Kind.OTHER, self._order_margins),
            ("POST", "/margins/basket", Kind.OTHER, self._basket),
            ("POST", "/charges/orders", Kind.OTHER, self._charges),
            ("GET", "/instruments", Kind.OTHER, self._instruments),
            ("GET", "/instruments/historical/{token}/{interval}", Kind.HISTORICAL, self._historical),
            ("GET", "/instruments/{exchange}", Kind.OTHER, self._instruments),
            ("GET", "/quote", Kind.QUOTE, self._quote),
            ("GET", "/quote/{detail}", Kind.QUOTE, self._quote),
            ("GET", "/gtt/triggers", Kind.OTHER, desk.gtts),
            ("POST", "/gtt/triggers", Kind.OTHER, desk.place_gtt),
            ("GET", "/gtt/triggers/{trigger_id:int}", Kind.OTHER, desk.gtt),
            ("PUT", "/gtt/triggers/{trigger_id:int}", Kind.OTHER, desk.modify_gtt),
            ("DELETE", "/gtt/triggers/{trigger_id:int}", Kind.OTHER, desk.delete_gtt),
        ]
        listed = [Route(path, self._guard(kind, handler), methods=[method]) for method, path, kind, handler in table]
        return [Route("/session/token", self._open_session, methods=["POST"]), *listed]

    def _guard(self, kind: Kind, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        usual = Scope.ORDERS if kind in (Kind.PLACE, Kind.CHANGE) else Scope.READS

        async def answer(request: Request) -> Response:
            self._box.book.run_due()
            self._check_session(request)
            if not self._box.limits.take(kind, self._box.clock.now(), enforce=self._box.knobs.enforce_limits):
                return refuse(ApiError(429, "NetworkException", TOO_MANY))
            is_trigger = request.url.path.startswith("/gtt") and request.method != "GET"
            return await self._carry_out(Scope.TRIGGERS if is_trigger else usual, request, handler)

        return answer

    def _check_session(self, request: Request) -> None:
        if request.headers.get("x-kite-version", "3") != "3":
            raise bad_input("Invalid `X-Kite-Version`.")
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        api_key, _, access_token = credentials.partition(":")
        self._box.sessions.check(api_key if scheme == "token" else "", access_token)

    async def _carry_out(self, scope: Scope, request: Request, handler: Handler) -> Response:
        form = {} if request.url.path.startswith(("/margins", "/charges")) else await read_form(request)
        faults, knobs = self._box.faults, self._box.knobs
        fault, is_slow = faults.take(scope), faults.use(scope, Fault.DELAY)
        address = request.client.host if request.client else ""
        answer = None
        if fault is None or acts(fault):
            answer = await self._answer(request, form, handler)
        if fault is Fault.TOKEN_DEAD:
            self._box.sessions.end()
        if is_slow:
            await asyncio.sleep(knobs.delay_ms / 1_000)
        if fault is not None:
            return spoil(fault, answer, knobs, address)
        assert answer is not None
        return answer

    @staticmethod
    async def _answer(request: Request, form: dict[str, str], handler: Handler) -> Response:
        try:
            data = await handler(request, form)
        except ApiError as error:
            return refuse(error)
        return data if isinstance(data, Response) else succeed(data)

    # -- session and user -------------------------------------------------------------------------------------------

    async def _open_session(self, request: Request) -> Response:
        form = await read_form(request)
        sessions = self._box.sessions
        session = sessions.exchange(form.get("api_key", ""), form.get("request_token", ""), form.get("checksum", ""))
        tokens = {"access_token": session.access_token, "public_token": session.access_token[::-1], "refresh_token": ""}
        login = {"api_key": sessions.api_key, "enctoken": "", "silo": "", "login_time": stamp(session.login_at)}
        return succeed({**self._user(), **tokens, **login})

    async def _log_out(self, _request: Request, _form: dict[str, str]) -> Any:
        self._box.sessions.end()
        return True

    async def _profile(self, _request: Request, _form: dict[str, str]) -> Any:
        return self._user()

    def _user(self) -> dict[str, Any]:
        return {
            "user_id": self._box.sessions.user_id, "user_type": "individual", "email": "sandbox@example.com",
            "user_name": "Sandbox User", "user_shortname": "Sandbox", "broker": "ZERODHA",
            "exchanges": sorted({item.exchange for item in self._box.market.listed.values()}),
            "products": ["CNC", "NRML", "MIS", "MTF"], "order_types": ["MARKET", "LIMIT", "SL", "SL-M"], "avatar_url": None,
            "meta": {"demat_consent": "physical"},
        }  # fmt: skip

    async def _margins(self, request: Request, _form: dict[str, str]) -> Any:
        segment = request.path_params.get("segment")
        if segment is None:
            return self._box.account.margin_rows()
        if segment not in self._box.account.cash:
            raise bad_input("Invalid `segment`.")
        return self._box.account.segment_row(segment)

    async def _positions(self, _request: Request, _form: dict[str, str]) -> Any:
        return self._box.account.position_rows()

    async def _holdings(self, _request: Request, _form: dict[str, str]) -> Any:
        return self._box.account.holding_rows()

    async def _auctions(self, _request: Request, _form: dict[str, str]) -> Any:
        return []

    async def _order_margins(self, request: Request, _form: dict[str, str]) -> Any:
        return self._box.account.cost_rows(await read_json(request, list), "price")

    async def _basket(self, request: Request, _form: dict[str, str]) -> Any:
        rows = self._box.account.cost_rows(await read_json(request, list), "price")
        total = {"type": "", "tradingsymbol": "", "exchange": "", "total": sum(row["total"] for row in rows)}
        compact = request.query_params.get("mode") == "compact"
        return {"initial": total, "final": total, **({} if compact else {"orders": rows})}

    async def _charges(self, request: Request, _form: dict[str, str]) -> Any:
        return self._box.account.note_rows(await read_json(request, list))

    # -- market -----------------------------------------------------------------------------------------------------

    async def _instruments(self, request: Request, _form: dict[str, str]) -> Any:
        text = self._box.market.dump(request.path_params.get("exchange"))
        answer = Response(text, media_type="text/csv")
        return zip_answer(answer) if "gzip" in request.headers.get("accept-encoding", "") else answer

    async def _quote(self, request: Request, _form: dict[str, str]) -> Any:
        detail = request.path_params.get("detail", "quote")
        if detail not in ("quote", "ohlc", "ltp"):
            raise ApiError(404, "GeneralException", "Route not found")
        keys = request.query_params.getlist("i")
        if not 0 < len(keys) <= (MAX_QUOTES if detail == "quote" else MAX_PRICES):
            raise bad_input("Missing or too many `i`.")
        return self._box.market.quotes(keys, detail)

    async def _historical(self, request: Request, form: dict[str, str]) -> Any:
        begin, end, token = read_time(form, "from"), read_time(form, "to"), request.path_params["token"]
        if not (token.isascii() and token.isdigit()):
            raise bad_input("invalid token")
        interval = request.path_params["interval"]
        return {"candles": self._box.market.candles(int(token), interval, begin, end, oi=form.get("oi") == "1")}


def read_time(form: dict[str, str], name: str) -> datetime:
    """A time of India without a zone, to the second or of a whole day."""
    try:
        return datetime.fromisoformat(form.get(name, "")).replace(tzinfo=IST)
    except ValueError:
        raise bad_input(f"invalid {name} date") from None
