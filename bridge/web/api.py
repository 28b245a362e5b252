"""The API under /api/v1, and the health, readiness and metrics of the process."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from bridge import __version__
from bridge.core.enums import TradingMode
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.core.scope import GLOBAL, Scope, account_scope, strategy_scope
from bridge.web.answers import (
    NotFoundError,
    account_row,
    alert_row,
    alert_way,
    answer_json,
    answer_refused,
    external_row,
    login_row,
    order_row,
    position_row,
    state_row,
    token_row,
    trade_row,
)
from bridge.web.gate import is_bearer, is_direct
from bridge.web.live import EventStream, HubFullError
from bridge.web.port import Bridge
from bridge.web.scans import ScansApi
from bridge.web.webhook import BODY_WITHIN_S, BodyTooLargeError, SenderGoneError, read_body

PREFIX = "/api/v1"
CHANGES = ("price", "trigger_price", "quantity")
BY = "api"
DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
MAX_BODY_BYTES = 64 * 1024
# Ids are plain ASCII without spaces; anything else is nobody's, and PostgreSQL would not even take a NUL to look for it.
_IDENT = re.compile(r"[!-~]{1,200}")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Endpoint = Callable[[Request], Awaitable[Response | EventStream]]


class Api:
    """Endpoints over the bridge. Whoever has the bearer token may do everything here."""

    def __init__(self, bridge: Bridge):
        self._bridge = bridge
        self._reads = bridge.store.reads
        self._scans = ScansApi(bridge.scans, read_json)

    def routes(self) -> list[BaseRoute]:
        """What is served."""
        return [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.readiness, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            self._guarded("/status", GET=self.status),
            self._guarded("/alerts", GET=self.alerts),
            self._guarded("/alerts/{alert_id}", GET=self.alert),
            self._guarded("/orders", GET=self.orders),
            self._guarded("/orders/external", GET=self.external_orders),
            self._guarded("/orders/{cl_ord_id}/cancel", POST=self.cancel_order),
            self._guarded("/orders/{cl_ord_id}/modify", POST=self.modify_order),
            self._guarded("/positions", GET=self.positions),
            self._guarded("/holdings", GET=self.holdings),
            self._guarded("/greeks", GET=self.greeks),
            self._guarded("/trades", GET=self.trades),
            self._guarded("/account", GET=self.account),
            self._guarded("/events", GET=self.events),
            self._guarded("/halt", POST=self.halt),
            self._guarded("/resume", POST=self.resume),
            self._guarded("/flatten", POST=self.flatten),
            self._guarded("/reconcile", POST=self.reconcile),
            self._guarded("/reconcile/accept", POST=self.accept_drift),
            self._guarded("/brokers/{account}/session", GET=self.broker_session, POST=self.log_in),
            self._guarded("/tokens", GET=self.tokens, POST=self.mint),
            self._guarded("/tokens/{token_id}", DELETE=self.revoke),
            self._guarded("/instruments", GET=self.instruments),
            self._guarded("/instruments/sync", POST=self.sync_instruments),
            self._guarded("/scans", GET=self._scans.every, POST=self._scans.save),
            self._guarded("/scans/{name}", GET=self._scans.one, DELETE=self._scans.delete),
            self._guarded("/scans/{name}/lines", GET=self._scans.lines),
            self._guarded("/scans/{name}/enable", POST=self._scans.enable),
            self._guarded("/scans/{name}/disable", POST=self._scans.disable),
            self._guarded("/scans/{name}/approve", POST=self._scans.approve),
            self._guarded("/scans/{name}/deploy", POST=self._scans.deploy),
            self._guarded("/{rest:path}"),
        ]

    def _guarded(self, path: str, **by_method: Endpoint) -> Route:
        """A route that asks for the bearer token first: without it, nobody learns even what there is."""
        allowed = ", ".join(sorted(by_method))

        async def serve(request: Request) -> Response | ASGIApp:
            if not is_bearer(request, self._bridge.api_token):
                return _unauthorized()
            endpoint = by_method.get(request.method)
            if endpoint is not None:
                return await endpoint(request)
            if not by_method:
                raise NotFoundError("address", request.scope["path"])
            told = {"status": "refused", "code": "E_METHOD", "message": f"This address takes {allowed}."}
            return answer_json(told, 405, {"allow": allowed})

        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        return Route(PREFIX + path, serve, methods=methods)

    # --- the process ---

    async def health(self, _request: Request) -> Response:
        """The process answers; open to all, tells nothing else."""
        return answer_json({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """200 when store and broker sessions work, else 503; which part fails is told on this machine or with the token."""
        parts = await asyncio.to_thread(self._bridge.ready)
        is_ready = all(ok for ok, _ in parts.values())
        told: dict[str, object] = {"status": "ready" if is_ready else "not ready"}
        if self._may_look_inside(request):
            told["parts"] = {name: {"ok": ok, "message": message} for name, (ok, message) in parts.items()}
        return answer_json(told, 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format, for a scraper on this machine or one that brings the bearer token.

        Counters tell account names and how much is traded, so they are not for whoever reaches the port through a proxy.
        """
        if not self._may_look_inside(request):
            return _unauthorized()
        return Response(self._bridge.metrics.render(), headers={"content-type": _METRICS_TYPE})

    def _may_look_inside(self, request: Request) -> bool:
        return is_direct(request) or is_bearer(request, self._bridge.api_token)

    # --- reading ---

    async def status(self, _request: Request) -> Response:
        """The bridge in one look."""
        bridge = self._bridge
        states = bridge.mode_now()
        current = next((state.mode for state in states if state.scope == GLOBAL), TradingMode.ACTIVE)
        parts = await asyncio.to_thread(bridge.ready)
        told = {
            "version": __version__,
            "started_at": bridge.started_at,
            "now": bridge.clock.now(),
            "mode": current.value,
            "states": [state_row(state) for state in states],
            "accounts": [account_row(view) for view in bridge.accounts()],
            "ready": {name: {"ok": ok, "message": message} for name, (ok, message) in parts.items()},
            "troubles": bridge.troubles(),
        }
        return answer_json(told)

    async def alerts(self, request: Request) -> Response:
        """Alerts, newest first."""
        limit, before = read_page(request)
        return answer_json([alert_row(v) for v in await asyncio.to_thread(self._reads.alerts, limit, before)])

    async def alert(self, request: Request) -> Response:
        """One alert's whole way."""
        alert_id = _ident(request, "alert_id", "alert")
        view = await asyncio.to_thread(self._reads.alert, alert_id)
        if view is None:
            raise NotFoundError("alert", alert_id)
        steps = await asyncio.to_thread(self._reads.steps, alert_id)
        orders = await asyncio.to_thread(self._reads.orders_of, [alert_id])
        return answer_json(alert_way(view, steps, orders.get(alert_id, [])))

    async def orders(self, request: Request) -> Response:
        """Orders, newest first."""
        limit, before = read_page(request)
        return answer_json([order_row(v) for v in await asyncio.to_thread(self._reads.orders, limit, before)])

    async def external_orders(self, _request: Request) -> Response:
        """Orders at the brokers that are not ours, as last seen."""
        return answer_json([external_row(view) for view in self._bridge.external_orders()])

    async def holdings(self, _request: Request) -> Response:
        """Shares that lie at the brokers from days before, as last seen."""
        return answer_json([asdict(view) for view in self._bridge.holdings()])

    async def greeks(self, request: Request) -> Response:
        """Volatility and Greeks of the options held, or of the one that is named."""
        symbol = request.query_params.get("symbol")
        if symbol is None:
            return answer_json([asdict(view) for view in await asyncio.to_thread(self._bridge.options.views)])
        view = await asyncio.to_thread(self._bridge.options.view, symbol)
        if view is None:
            raise NotFoundError("option", symbol[:64])
        return answer_json(asdict(view))

    async def positions(self, _request: Request) -> Response:
        """Positions that are not flat."""
        return answer_json([position_row(v) for v in await asyncio.to_thread(self._reads.positions)])

    async def trades(self, request: Request) -> Response:
        """Round trips, newest first."""
        limit, before = read_page(request)
        return answer_json([trade_row(v) for v in await asyncio.to_thread(self._reads.trades, limit, before)])

    async def account(self, _request: Request) -> Response:
        """Every account with its session and money."""
        return answer_json([account_row(view) for view in self._bridge.accounts()])

    async def tokens(self, _request: Request) -> Response:
        """Every token that was minted, newest first."""
        return answer_json([token_row(view) for view in await asyncio.to_thread(self._reads.tokens)])

    async def events(self, _request: Request) -> Response | EventStream:
        """Server-sent events: which parts have changed."""
        try:
            return EventStream(self._bridge.hub)
        except HubFullError:
            return answer_refused(RefusedError(RefusalCode.E_RATE, "Too many are listening.", hint="Close another stream."))

    # --- commands ---

    async def halt(self, request: Request) -> Response:
        """Let only exits out, with `all` nothing, and with `cancel` cancel entries; answered once on disk and in force."""
        body = await read_json(request, "account", "strategy", "all", "cancel")
        stop_all, cancel = _flag(body, "all"), _flag(body, "cancel")
        state = await self._bridge.desk.halt(_scope(body), stop_all=stop_all, cancel=cancel, by=BY)
        return answer_json(state_row(state))

    async def resume(self, request: Request) -> Response:
        """Let everything of the scope out again."""
        body = await read_json(request, "account", "strategy", "all")
        _flag(body, "all")  # the contract allows it beside a halt's; to resume there is only one way
        return answer_json(state_row(await self._bridge.desk.resume(_scope(body), by=BY)))

    async def flatten(self, request: Request) -> Response:
        """Close every position, or one account's."""
        account = _text(await read_json(request, "account"), "account")
        return answer_json({"alert_ids": await self._bridge.desk.flatten(account, by=BY)})

    async def cancel_order(self, request: Request) -> Response:
        """Have one open order cancelled."""
        await read_json(request)
        ident = _ident(request, "cl_ord_id", "order")
        return answer_json({"alert_id": await self._bridge.desk.cancel_order(ident, by=BY)})

    async def modify_order(self, request: Request) -> Response:
        """Have one open order changed: any of `price`, `trigger_price` and `quantity`, numbers as text."""
        body = await read_json(request, *CHANGES)
        wished = {name: text for name in CHANGES if (text := _text(body, name)) is not None}
        ident = _ident(request, "cl_ord_id", "order")
        return answer_json({"alert_id": await self._bridge.desk.modify_order(ident, wished, by=BY)})

    async def reconcile(self, request: Request) -> Response:
        """Compare our books with the brokers', or one account's, now."""
        account = _text(await read_json(request, "account"), "account")
        return answer_json(await self._bridge.desk.reconcile(account, by=BY))

    async def instruments(self, _request: Request) -> Response:
        """The list of instruments in use, and how far the latest sync is."""
        return answer_json(await asyncio.to_thread(self._bridge.lists.describe))

    async def sync_instruments(self, request: Request) -> Response:
        """Begin to fetch the list from an account's broker; its end is told by GET of /instruments."""
        self._bridge.lists.begin_sync(_text(await read_json(request, "account"), "account") or "")
        return answer_json({"status": "started"})

    async def accept_drift(self, request: Request) -> Response:
        """Let entries go on in an instrument whose positions differ, while they differ by exactly as much as now."""
        body = await read_json(request, "account", "symbol")
        account, symbol = _text(body, "account"), _text(body, "symbol")
        if symbol is None:
            raise RefusedError(RefusalCode.E_FIELD, "`symbol` is missing.", field="symbol", hint="The one that differs.")
        return answer_json({"accepted": await self._bridge.desk.accept_drift(symbol, account, by=BY)})

    async def broker_session(self, request: Request) -> Response:
        """How an account's login at its broker stands, and where a person logs in."""
        account = _ident(request, "account", "account")
        login_url = self._bridge.logins.url(account)
        view = self._bridge.logins.view(account)
        assert view is not None
        return answer_json({**login_row(account, view), "login_url": login_url})

    async def log_in(self, request: Request) -> Response:
        """Log an account in with the request token that the broker's login page gave."""
        account = _ident(request, "account", "account")
        body = await read_json(request, "request_token", "new_user")
        token = body.get("request_token")
        if not isinstance(token, str):
            hint = "The one in the address that the login page leads to."
            raise RefusedError(RefusalCode.E_FIELD, "`request_token` is missing.", field="request_token", hint=hint)
        view = await self._bridge.logins.log_in(account, token, by=BY, new_user=_flag(body, "new_user"))
        return answer_json(login_row(account, view))

    async def mint(self, request: Request) -> Response:
        """Make a capability token; its text is shown this once."""
        return answer_json(await self._bridge.desk.mint_token(await read_json(request), by=BY), 201)

    async def revoke(self, request: Request) -> Response:
        """Make a token worthless from now on."""
        token_id = _ident(request, "token_id", "token")
        if not await self._bridge.desk.revoke_token(token_id, by=BY):
            raise NotFoundError("token", token_id)
        return answer_json({"token_id": token_id, "revoked": True})


def _unauthorized() -> Response:
    told = {
        "status": "refused",
        "code": RefusalCode.E_AUTH.value,
        "message": "The API wants a bearer token.",
        "hint": "Send `Authorization: Bearer …` with the text of data/api.token.",
    }
    return answer_json(told, 401, {"www-authenticate": "Bearer"})


def read_page(request: Request, default: int = DEFAULT_LIMIT) -> tuple[int, str | None]:
    """`limit` and `before` of a list; RefusedError names the one that is wrong."""
    limit = request.query_params.get("limit", str(default))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_LIMIT):
        hint = f"A whole number from 1 to {MAX_LIMIT}."
        raise RefusedError(RefusalCode.E_NUMBER, "`limit` is not a number of rows.", field="limit", hint=hint)
    before = request.query_params.get("before")
    if before is not None and not _IDENT.fullmatch(before):
        hint = "The id of the last row of the page before."
        raise RefusedError(RefusalCode.E_FIELD, "`before` is not an id.", field="before", hint=hint)
    return int(limit), before


async def read_json(request: Request, *known: str) -> dict[str, object]:
    """The object in the body, empty when there is no body; RefusedError says what is wrong with it.

    With `known` names, others are refused: a resume of {"acount": "a"} must not pass for a resume of everything.
    """
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await read_body(request.receive, MAX_BODY_BYTES)
        content = json.loads(body) if body.strip() else {}
    except BodyTooLargeError:
        raise RefusedError(RefusalCode.E_SIZE) from None
    except (SenderGoneError, TimeoutError, RecursionError, ValueError) as error:
        hint = f"{type(error).__name__}: {error}"[:200] if isinstance(error, json.JSONDecodeError) else None
        raise RefusedError(RefusalCode.E_JSON, "The body is not JSON.", hint=hint) from None
    if not isinstance(content, dict):
        raise RefusedError(RefusalCode.E_JSON, hint='An object, such as {"account": "paper"}.')
    unknown = sorted(set(content) - set(known)) if known else []
    if unknown:
        hint = f"Known here: {', '.join(known)}."
        raise RefusedError(RefusalCode.E_FIELD, f"`{unknown[0][:64]}` means nothing here.", field=unknown[0][:64], hint=hint)
    return content


def _scope(body: dict[str, object]) -> Scope:
    account, strategy = _text(body, "account"), _text(body, "strategy")
    if account and strategy:
        raise RefusedError(
            RefusalCode.E_FIELD, "Both an account and a strategy are named.", field="strategy", hint="Name one of them."
        )
    if account:
        return account_scope(account)
    return strategy_scope(strategy) if strategy else GLOBAL


def _text(body: dict[str, object], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _IDENT.fullmatch(value):
        hint = "The name as in the settings, or leave it out."
        raise RefusedError(RefusalCode.E_FIELD, f"`{name}` is not a name.", field=name, hint=hint)
    return value


def _flag(body: dict[str, object], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RefusedError(RefusalCode.E_FIELD, f"`{name}` is not true or false.", field=name, hint="true or false.")
    return bool(value)


def _ident(request: Request, name: str, what: str) -> str:
    ident: str = request.path_params[name]
    if not _IDENT.fullmatch(ident):
        raise NotFoundError(what, ident)
    return ident
