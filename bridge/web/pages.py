"""The pages: status, alerts and the way of one alert, sign-in, and the forms that halt and resume."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from bridge import __version__
from bridge.core.clock import IST
from bridge.core.enums import Product
from bridge.core.errors import RefusedError, StoreError
from bridge.core.reasons import AuditAction
from bridge.core.scope import Scope, TradingState
from bridge.core.views import AccountView, ExternalView, HoldingView, PositionView
from bridge.settings import resource_dir
from bridge.web import contexts, controls
from bridge.web.api import read_page
from bridge.web.assets import Assets
from bridge.web.gate import Gate, PageError, Visitor, is_own_origin
from bridge.web.live import EventStream, HubFullError
from bridge.web.logins import LoginPages
from bridge.web.option_lines import make_option
from bridge.web.port import Bridge
from bridge.web.replays import ReplayPages
from bridge.web.scan_pages import ScanPages
from bridge.web.text import full_time

if TYPE_CHECKING:
    from jinja2 import Environment

BY = "operator"
ALERTS_SHOWN = 20
ALERTS_PER_PAGE = 100
# Whatever works is shown: it is at risk. Of what has ended, the alerts tell the rest.
OPEN_SHOWN, CLOSED_SHOWN = 200, 8
EXTERNAL_SHOWN = 15
ALARMS_SHOWN = 10
ALARMS_LAST = timedelta(hours=24)
ALARMS = (AuditAction.ALARM_RAISED, AuditAction.DRIFT_FOUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known without asking the database, taken in the event loop."""

    now: datetime
    accounts: list[AccountView]
    states: list[TradingState]
    external: list[ExternalView]
    holdings: list[HoldingView]
    troubles: list[str]
    visitor: Visitor


Part = Callable[[Snapshot], Mapping[str, object]]


class Pages:
    """Endpoints that answer with HTML. Reading and rendering happen in a worker thread, out of the alerts' way."""

    def __init__(self, bridge: Bridge):
        self._bridge = bridge
        self._reads = bridge.store.reads
        self._gate = Gate(bridge)
        self._assets = Assets(resource_dir("templates") / "static")
        self._logins = LoginPages(bridge, self._gate, self._message)
        self._scans = ScanPages(bridge, self._gate, self._render)
        self._replays = ReplayPages(bridge, self._gate, self._render)
        self._parts: dict[str, Part] = {
            "state": self._state,
            "alarms": self._alarms,
            "accounts": self._accounts,
            "day": self._day,
            "positions": self._positions,
            "orders": self._orders,
            "external": self._external,
            "alerts": self._alerts,
        }

    def routes(self) -> list[BaseRoute]:
        """What is served."""
        return [
            Route("/", self.status, methods=["GET"]),
            Route("/alerts", self.alerts, methods=["GET"]),
            Route("/alerts/{alert_id}", self.alert, methods=["GET"]),
            Route("/alerts/{alert_id}/way", self.alert_way, methods=["GET"]),
            *self._scans.routes(),
            *self._replays.routes(),
            Route("/parts/{name}", self.part, methods=["GET"]),
            Route("/live", self.live, methods=["GET"]),
            Route("/halt", self.halt, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/accept", self.accept_drift, methods=["POST"]),
            Route("/orders/cancel", self.cancel_order, methods=["POST"]),
            Route("/orders/modify", self.modify_order, methods=["POST"]),
            Route("/login", self.sign_in_form, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            Route("/logout", self.sign_out, methods=["POST"]),
            *self._logins.routes(),
            Route("/static/{name}", self._assets.serve, methods=["GET"]),
        ]

    # --- looking ---

    async def status(self, request: Request) -> Response:
        """The one page that tells how things stand."""
        snapshot = self._snapshot(request)

        def render() -> str:
            parts: dict[str, object] = {}
            for part in self._parts.values():
                parts |= part(snapshot)
            return self._render("status.html", snapshot.visitor, parts)

        return _html(await asyncio.to_thread(render))

    async def part(self, request: Request) -> Response:
        """One part of the status page, to take the place of the one that is shown."""
        snapshot = self._snapshot(request)
        name = request.path_params["name"]
        part = self._parts.get(name)
        if part is None:
            raise _not_found("part of the page")
        template = f"parts/{name}.html"
        return _html(await asyncio.to_thread(lambda: self._render(template, snapshot.visitor, part(snapshot))))

    async def alerts(self, request: Request) -> Response:
        """All alerts, page by page."""
        snapshot = self._snapshot(request)
        try:
            limit, before = read_page(request, ALERTS_PER_PAGE)
        except RefusedError as error:
            raise PageError(400, "There is no such page", f"{error.message} {error.hint}") from None

        def render() -> str:
            lines = self._alert_lines(limit, before, snapshot.now)
            more = lines[-1].alert_id if len(lines) == limit else ""
            context = {"alerts": lines, "more": more, "limit": limit, "is_first": before is None}
            return self._render("alerts.html", snapshot.visitor, context)

        return _html(await asyncio.to_thread(render))

    async def alert(self, request: Request) -> Response:
        """The whole way of one alert."""
        return await self._alert_page(request, "alert.html")

    async def alert_way(self, request: Request) -> Response:
        """The same without its frame, for the page of an alert that is still under way."""
        return await self._alert_page(request, "parts/way.html")

    async def _alert_page(self, request: Request, template: str) -> Response:
        snapshot = self._snapshot(request)
        alert_id = request.path_params["alert_id"]
        if not (alert_id.isascii() and alert_id.isalnum()):
            raise _not_found("alert")

        def render() -> str:
            view = self._reads.alert(alert_id)
            if view is None:
                raise _not_found("alert")
            orders = self._reads.orders_of([alert_id]).get(alert_id, [])
            page = contexts.make_alert_page(view, self._reads.steps(alert_id), orders, snapshot.now)
            return self._render(template, snapshot.visitor, {"alert": page})

        return _html(await asyncio.to_thread(render))

    async def live(self, request: Request) -> Response | EventStream:
        """Tells the page which of its parts have changed."""
        self._gate.admit(request)
        if not is_own_origin(request):  # it could read nothing, but take up the places
            raise PageError(403, "Asked by another site", "The stream is for the bridge’s own pages.")
        try:
            return EventStream(self._bridge.hub)
        except HubFullError:
            raise PageError(429, "Too many pages are open", "Close some of them; this one is still true as shown.") from None

    # --- the parts of the status page ---

    def _snapshot(self, request: Request) -> Snapshot:
        bridge = self._bridge
        return Snapshot(
            visitor=self._gate.admit(request),
            now=bridge.clock.now(),
            accounts=bridge.accounts(),
            states=bridge.mode_now(),
            external=bridge.external_orders(),
            holdings=bridge.holdings(),
            troubles=bridge.troubles(),
        )

    def _state(self, snapshot: Snapshot) -> Mapping[str, object]:
        settings = self._bridge.settings
        state = controls.make_state(snapshot.states, settings.accounts, settings.strategies, snapshot.now)
        return {"state": state}

    def _alarms(self, snapshot: Snapshot) -> Mapping[str, object]:
        alarms = self._reads.recent(ALARMS, ALARMS_SHOWN, snapshot.now - ALARMS_LAST)
        holds = [contexts.make_hold(account, symbol, hold) for account, symbol, hold in self._reads.holds()]
        lines = [contexts.make_alarm(view, snapshot.now) for view in alarms]
        return {"alarms": lines, "holds": holds, "troubles": snapshot.troubles}

    def _accounts(self, snapshot: Snapshot) -> Mapping[str, object]:
        return {"accounts": [contexts.make_account(view, snapshot.now) for view in snapshot.accounts]}

    def _day(self, snapshot: Snapshot) -> Mapping[str, object]:
        midnight = snapshot.now.astimezone(IST).replace(hour=0, minute=0, second=0, microsecond=0)
        fills = self._reads.fills_since(midnight)
        return {"day": contexts.make_day(fills, self._reads.positions(), snapshot.accounts, snapshot.now)}

    def _positions(self, snapshot: Snapshot) -> Mapping[str, object]:
        views = self._reads.positions()
        lines = [contexts.make_position(view, self._square_off(view)) for view in views]
        holdings = [contexts.make_holding(view) for view in snapshot.holdings]
        options = [make_option(view) for view in self._bridge.options.views()]
        return {
            "positions": lines, "unrealized": contexts.total_unrealized(views), "holdings": holdings, "options": options,
        }  # fmt: skip

    def _square_off(self, view: PositionView) -> datetime | None:
        return self._bridge.square_off_at(view.account, view.symbol) if view.product == Product.MIS else None

    def _orders(self, snapshot: Snapshot) -> Mapping[str, object]:
        """The open ones first, however old, then the latest of the others."""
        opened = self._reads.orders(OPEN_SHOWN, open_only=True)
        closed = [view for view in self._reads.orders(CLOSED_SHOWN) if view.status.is_closed]
        shown = [contexts.make_order(view, snapshot.now) for view in opened + closed]
        more = " or more" if len(opened) == OPEN_SHOWN else ""
        return {"orders": shown, "open_orders": f"{len(opened)}{more}" if opened else ""}

    def _external(self, snapshot: Snapshot) -> Mapping[str, object]:
        """Those that work first, then the latest of the others."""
        views = sorted(snapshot.external, key=lambda view: view.status.is_closed)
        shown = [contexts.make_external(view, snapshot.now) for view in views[:EXTERNAL_SHOWN]]
        return {"external": shown, "external_count": len(views)}

    def _alerts(self, snapshot: Snapshot) -> Mapping[str, object]:
        return {"alerts": self._alert_lines(ALERTS_SHOWN, None, snapshot.now)}

    def _alert_lines(self, limit: int, before: str | None, now: datetime) -> tuple[contexts.AlertLine, ...]:
        views = self._reads.alerts(limit, before)
        return contexts.make_alerts(views, self._reads.orders_of([view.alert_id for view in views]), now)

    # --- acting ---

    async def halt(self, request: Request) -> Response:
        """The halt buttons: only exits leave, or nothing but cancels; entries that rest stay or are cancelled."""
        scope, fields = await self._command(request)
        try:
            stop_all, cancel = fields.get("all") == "yes", fields.get("cancel") == "yes"
            await self._bridge.desk.halt(scope, stop_all=stop_all, cancel=cancel, by=BY)
        except StoreError as error:  # it holds all the same, which the general message would deny
            raise PageError(503, "Halted, but not written down", str(error)) from None
        return RedirectResponse("/", 303)

    async def resume(self, request: Request) -> Response:
        """The resume buttons."""
        scope, _fields = await self._command(request)
        await self._bridge.desk.resume(scope, by=BY)
        return RedirectResponse("/", 303)

    async def accept_drift(self, request: Request) -> Response:
        """The button beside a difference: accepts it as it was shown, and no other."""
        visitor = self._gate.admit(request)
        fields = await self._gate.form(request, visitor.session_id)
        account, symbol, seen = (fields.get(name, "") for name in ("account", "symbol", "seen"))
        if not (account and symbol and seen):
            raise PageError(400, "Nothing was done", "The form names no difference.")
        await self._bridge.desk.accept_drift(symbol, account, by=BY, seen=seen)
        return RedirectResponse("/", 303)

    async def cancel_order(self, request: Request) -> Response:
        """The cancel button of an order; what became of it is on the page of its alert."""
        fields = await self._gate.form(request, self._gate.admit(request).session_id)
        alert_id = await self._bridge.desk.cancel_order(fields.get("order", ""), by=BY)
        return RedirectResponse(f"/alerts/{alert_id}", 303)

    async def modify_order(self, request: Request) -> Response:
        """The form that changes an order to the numbers that it shows."""
        fields = await self._gate.form(request, self._gate.admit(request).session_id)
        alert_id = await self._bridge.desk.modify_order(fields.get("order", ""), fields, by=BY)
        return RedirectResponse(f"/alerts/{alert_id}", 303)

    async def _command(self, request: Request) -> tuple[Scope, Mapping[str, str]]:
        visitor = self._gate.admit(request)
        fields = await self._gate.form(request, visitor.session_id)
        scope = controls.scope_of(fields.get("kind", ""), fields.get("name", ""))
        if scope is None:
            raise PageError(400, "Nothing was done", "The form names neither an account nor a strategy.")
        return scope, fields

    # --- signing in and out ---

    async def sign_in_form(self, request: Request) -> Response:
        """Asks for the password."""
        return self._sign_in_page(request, error="")

    async def sign_in(self, request: Request) -> Response:
        """Opens a session when the password is right."""
        cookie = await self._gate.sign_in(request)
        await self._bridge.desk.note_sign_in(cookie is not None, self._gate.peer_of(request))
        if cookie is None:
            return self._sign_in_page(request, error="That is not the password.", status=401)
        response = RedirectResponse("/", 303)
        self._gate.keep_session(request, response, cookie)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Ends the session in this browser."""
        visitor = self._gate.admit(request)
        await self._gate.form(request, visitor.session_id)
        response = RedirectResponse("/login", 303)
        self._gate.end_session(request, response)
        return response

    def _sign_in_page(self, request: Request, *, error: str, status: int = 200) -> Response:
        if self._gate.check_host(request) is None:
            return RedirectResponse("/", 303)
        form_id, token = self._gate.sign_in_form(request)
        response = _html(self._render("login.html", None, {"token": token, "error": error}), status)
        self._gate.keep_form_id(request, response, form_id)
        return response

    # --- when something is wrong ---

    async def sign_in_needed(self, request: Request, _error: Exception) -> Response:
        """Pages lead to the sign-in; parts and streams tell the script that the session is over."""
        path = request.scope["path"]
        if path.startswith(("/parts/", "/live")) or request.method not in ("GET", "HEAD"):
            return self._message(401, "Sign in again", "Your session is over. Nothing was done.", link="/login")
        if request.headers.get("sec-fetch-site") == "cross-site":
            # Browsers keep a strict cookie back when another site's link led here; one hop of our own brings it along.
            # The reload keeps the query, where a broker's login page has put its token; the link must not show it.
            response = self._message(200, "One moment", "Opening the bridge…", link=path)
            response.headers["refresh"] = "0"
            return response
        if path.startswith("/brokers/"):
            told = "Nothing was done. Sign in to the bridge, then log in to the broker again."
            return self._message(401, "Sign in again", told, link="/login")
        return RedirectResponse("/login", 303)

    async def page_error(self, _request: Request, error: Exception) -> Response:
        """A page that is not shown, with what to do."""
        assert isinstance(error, PageError)
        response = self._message(error.status, error.title, error.message, command=error.command)
        if error.retry_after_s:
            response.headers["retry-after"] = str(error.retry_after_s)
        return response

    async def refused(self, _request: Request, error: Exception) -> Response:
        """A command that the desk refused."""
        hint = getattr(error, "hint", None) or ""
        return self._message(400, "Nothing was done", f"{error} {hint}".strip())

    async def unavailable(self, _request: Request, error: Exception) -> Response:
        """The store did not take it, or something broke that nobody foresaw."""
        why = f"{error}. " if isinstance(error, StoreError) else ""
        return self._message(503, "That did not work", f"{why}Nothing was changed. Try again in a moment.")

    async def http_error(self, _request: Request, error: Exception) -> Response:
        """An address that leads nowhere, or is used the wrong way round."""
        if isinstance(error, HTTPException) and error.status_code == 405:
            return self._message(405, "Not that way", "This address is for one of the bridge’s own forms.")
        return self._message(404, "There is nothing here", "The address leads nowhere.")

    def _message(self, status: int, title: str, message: str, *, command: str = "", link: str = "/") -> Response:
        context = {"title": title, "message": message, "command": command, "link": link}
        return _html(self._render("message.html", None, context), status)

    def _render(self, template: str, visitor: Visitor | None, context: Mapping[str, object]) -> str:
        shell = {
            "visitor": visitor,
            "asset": self._assets.address,
            "version": __version__,
            "started_at": full_time(self._bridge.started_at),
        }
        return _templates().get_template(template).render(**shell, **context)


@cache
def _templates() -> "Environment":
    """Made for the first page: jinja2 is two megabytes that a bridge nobody looks at does not need."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(resource_dir("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="text/html")


def _not_found(what: str) -> PageError:
    return PageError(404, "There is nothing here", f"There is no such {what}.")
