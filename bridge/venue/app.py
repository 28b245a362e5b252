"""The venue's HTTP side: orders, books, prices and a long poll for reports; faults and the login beside them."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bridge.brokers.base import BookUnreadableError
from bridge.brokers.paper.values import OrderRequest
from bridge.brokers.venue.wire import (
    UNREADABLE,
    read_number,
    read_optional,
    read_terms,
    read_text,
    read_time,
    write_funds,
    write_position,
    write_row,
)
from bridge.core.enums import OrdType, OutcomeKind, Product, Side, TimeInForce
from bridge.core.errors import StoreError
from bridge.core.protection import legs_from_text
from bridge.core.report import Outcome
from bridge.settings import is_loopback
from bridge.venue.faults import Fault, Faults
from bridge.venue.office import Account, Office

MAX_BODY_BYTES = 16_384
LONGEST_WAIT_S = 30.0
# What the server puts into the scope, so that a connection can be closed without an answer: no ASGI message says that.
DROP = "venue.drop"
Handler = Callable[[Request], Awaitable[Response]]
_GATEWAYS = {
    Fault.BAD_GATEWAY: 502, Fault.UNAVAILABLE: 503, Fault.GATEWAY_TIMEOUT: 504,
    Fault.BAD_GATEWAY_AFTER: 502, Fault.UNAVAILABLE_AFTER: 503, Fault.GATEWAY_TIMEOUT_AFTER: 504,
}  # fmt: skip


class RequestError(Exception):
    """A request that is not carried out: the status and the sentence of its answer."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.answer = answer_error(status, error, message)


class NoAnswer(Response):
    """The connection is closed and nothing is said."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close, and end once the server has noticed: it would answer for us before."""
        scope["extensions"][DROP]()
        while (await receive())["type"] != "http.disconnect":
            continue


def build_venue(office: Office, token: str | None) -> Starlette:
    """The app of an office; `token`, where there is one, must come with every request."""
    venue = Venue(office, token)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await office.start()
        try:
            yield
        finally:
            await office.stop()

    handlers = {
        RequestError: _request_error,
        HTTPException: _http_error,
        BookUnreadableError: _unavailable,
        StoreError: _unavailable,
        ClientDisconnect: _unavailable,  # nobody reads it
    }
    return Starlette(routes=venue.routes(), lifespan=lifespan, exception_handlers=handlers)


class Venue:
    """The handlers. Like the brokers it stands for it has no idempotency key: the same tag twice makes two orders."""

    def __init__(self, office: Office, token: str | None) -> None:
        self._office = office
        self._token = token
        self._faults = Faults()

    def routes(self) -> list[Route]:
        """Every address."""
        account = "/v1/{account}"
        return [
            Route("/healthz", self._healthz),
            Route("/login", self._local(self._login), methods=["POST"]),
            Route("/faults", self._local(self._show_faults)),
            Route("/faults", self._local(self._set_faults), methods=["POST"]),
            Route("/faults", self._local(self._clear_faults), methods=["DELETE"]),
            Route(f"{account}/orders", self._signed_in(self._place), methods=["POST"]),
            Route(f"{account}/orders", self._signed_in(self._book)),
            Route(f"{account}/orders/{{order_id}}", self._signed_in(self._cancel), methods=["DELETE"]),
            Route(f"{account}/orders/{{order_id}}", self._signed_in(self._change), methods=["PUT"]),
            Route(f"{account}/positions", self._signed_in(self._positions)),
            Route(f"{account}/funds", self._signed_in(self._funds)),
            Route(f"{account}/prices", self._signed_in(self._see_price), methods=["POST"]),
            Route(f"{account}/reports", self._signed_in(self._reports)),
        ]

    # -- who may ----------------------------------------------------------------------------------------------------

    def _local(self, handler: Handler) -> Handler:
        """Only for this machine, whatever the venue is bound to."""

        async def answer(request: Request) -> Response:
            if request.client is None or not is_loopback(request.client.host):
                raise RequestError(404, "not_found", "There is nothing at this address.")
            return await handler(request)

        return self._authentic(answer)

    def _signed_in(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            if self._faults.is_signed_out:
                raise _signed_out()
            return await handler(request)

        return self._authentic(answer)

    def _authentic(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if self._token is not None and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise RequestError(401, "session", "The venue wants its token.")
            return await handler(request)

        return answer

    # -- orders -----------------------------------------------------------------------------------------------------

    async def _place(self, request: Request) -> Response:
        content = await read_object(request)
        plan = self._faults.take()
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        if plan.fault is not None and not plan.fault.acts:
            return self._fail(plan.fault)
        answer = await self._take(await self._account(request), content)
        return answer if plan.fault is None else self._fail(plan.fault)

    async def _take(self, account: Account, content: dict[str, Any]) -> Response:
        try:
            order, last_price = read_order(content), read_optional(content, "last_price")
        except UNREADABLE as error:
            raise RequestError(400, "input", f"Not an order: {_name_fault(error)}.") from None
        if last_price is not None:
            await self._keep_price(order.symbol, last_price)
        outcome = await account.broker.take(order)
        if self._faults.late_reports_s:
            asyncio.get_running_loop().call_later(self._faults.late_reports_s, account.stream.add, outcome.reports)
        else:
            account.stream.add(outcome.reports)
        return _answer_outcome(outcome)

    async def _cancel(self, request: Request) -> Response:
        account = await self._account(request)
        return _answer_outcome(await account.broker.withdraw(request.path_params["order_id"]))

    async def _change(self, request: Request) -> Response:
        account, content = await self._account(request), await read_object(request)
        try:
            terms = read_terms(content)
        except UNREADABLE as error:
            raise RequestError(400, "input", f"No terms of an order: {_name_fault(error)}.") from None
        return _answer_outcome(await account.broker.alter(request.path_params["order_id"], terms))

    def _fail(self, fault: Fault) -> Response:
        if fault in (Fault.DROP_REQUEST, Fault.DROP_ANSWER):
            return NoAnswer()
        if fault is Fault.SESSION_LOST:
            raise _signed_out()
        if fault in (Fault.TOO_MANY, Fault.TOO_MANY_WAIT):
            headers = {"retry-after": str(self._faults.retry_after_s)} if fault is Fault.TOO_MANY_WAIT else None
            return answer_error(429, "rate", "Too many requests.", headers)
        if fault is Fault.TIMED_OUT:
            return answer_error(400, "order", "The order request timed out.")
        status = _GATEWAYS[fault]
        return HTMLResponse(f"<html><body><h1>{status}</h1><hr>gateway</body></html>", status)

    # -- reads ------------------------------------------------------------------------------------------------------

    async def _book(self, request: Request) -> Response:
        account = await self._account(request)
        return JSONResponse({"orders": [write_row(row) for row in await account.broker.book()]})

    async def _positions(self, request: Request) -> Response:
        account = await self._account(request)
        return JSONResponse({"positions": [write_position(one) for one in await account.broker.positions()]})

    async def _funds(self, request: Request) -> Response:
        account = await self._account(request)
        return JSONResponse(write_funds(await account.broker.funds()))

    async def _reports(self, request: Request) -> Response:
        account, query = await self._account(request), request.query_params
        after, wait_s = _whole(query.get("after", "0")), min(float(_whole(query.get("wait_s", "0"))), LONGEST_WAIT_S)
        told = await account.stream.read(query.get("epoch"), after, wait_s)
        if self._faults.is_signed_out:  # meanwhile
            raise _signed_out()
        return JSONResponse(told)

    # -- prices, login, faults ----------------------------------------------------------------------------------------

    async def _see_price(self, request: Request) -> Response:
        content = await read_object(request)
        try:
            symbol, price, at = read_text(content["symbol"]), read_number(content["price"]), read_time(content["at"])
        except UNREADABLE as error:
            raise RequestError(400, "input", f"Not a price: {_name_fault(error)}.") from None
        if self._office.catalog.get(symbol) is None or price <= 0:
            raise RequestError(400, "input", "A price above zero of a known instrument is wanted.")
        await self._office.see_price(symbol, price, at)
        return JSONResponse({})

    async def _keep_price(self, symbol: str, price: Decimal) -> None:
        """The latest price that came with an order; of what is no instrument nothing is kept, and the order is refused."""
        if self._office.catalog.get(symbol) is not None and price > 0:
            await self._office.see_price(symbol, price, self._office.clock.now())

    async def _healthz(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _login(self, _request: Request) -> Response:
        self._faults.is_signed_out = False
        return JSONResponse({})

    async def _show_faults(self, _request: Request) -> Response:
        return JSONResponse(self._faults.show())

    async def _set_faults(self, request: Request) -> Response:
        try:
            self._faults.set(await read_object(request))
        except ValueError as error:
            raise RequestError(400, "input", f"{error}.") from None
        return await self._show_faults(request)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return await self._show_faults(request)

    async def _account(self, request: Request) -> Account:
        try:
            return await self._office.open_account(request.path_params["account"])
        except ValueError as error:
            raise RequestError(404, "not_found", f"No such account: {error}.") from None


# --- reading and answering --------------------------------------------------------------------------------------------


def read_order(content: dict[str, Any]) -> OrderRequest:
    """An order as it comes in; one of UNREADABLE names what is wrong with it."""
    return OrderRequest(
        tag=read_text(content.get("tag", "")),
        symbol=read_text(content["symbol"]),
        side=Side(content["side"]),
        product=Product(content["product"]),
        order_qty=read_number(content["order_qty"]),
        ord_type=OrdType(content.get("ord_type", OrdType.MARKET)),
        time_in_force=TimeInForce(content.get("time_in_force", TimeInForce.DAY)),
        price=read_optional(content, "price"),
        trigger_price=read_optional(content, "trigger_price"),
        legs=legs_from_text(content.get("legs")),
    )


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Only as application/json, which a web page of another origin may not send unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "input", "Send JSON, with the content type application/json.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(413, "input", f"At most {MAX_BODY_BYTES} bytes.")
    try:
        content = json.loads(bytes(body))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RequestError(400, "input", "The body is not a JSON object.")
    return content


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise RequestError(400, "input", "`after` and `wait_s` are whole numbers.")
    return int(text)


def _name_fault(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)[:100]


def _answer_outcome(outcome: Outcome) -> Response:
    if outcome.kind is OutcomeKind.ACCEPTED:
        return JSONResponse({"order_id": outcome.broker_order_id})
    if outcome.kind is OutcomeKind.REFUSED:
        return answer_error(400, "order", outcome.message)
    return answer_error(503, "unavailable", outcome.message)


def answer_error(status: int, error: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error in the venue's own words."""
    return JSONResponse({"error": error, "message": message}, status, headers)


def _signed_out() -> RequestError:
    return RequestError(403, "session", "The session has ended; sign in again (POST /login).")


async def _request_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.answer


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer_error(error.status_code, "not_found", "There is nothing at this address.", dict(error.headers or {}))


async def _unavailable(_request: Request, error: Exception) -> Response:
    return answer_error(503, "unavailable", str(error))
