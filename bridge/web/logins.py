"""Logging an account in to its broker: the way to its login page, and back with a token."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from bridge.core.errors import RefusedError, StoreError
from bridge.core.login import LoginView
from bridge.web.gate import Gate, PageError, is_own_origin
from bridge.web.port import Bridge
from bridge.web.text import short_time

BY = "operator"
Message = Callable[[int, str, str], Response]


class LoginPages:
    """Two addresses per account; the token passes through here and is kept nowhere but sealed in the store."""

    def __init__(self, bridge: Bridge, gate: Gate, message: Message):
        self._bridge = bridge
        self._gate = gate
        self._message = message

    def routes(self) -> list[BaseRoute]:
        """What is served."""
        return [
            Route("/brokers/{account}/login", self.begin, methods=["GET"]),
            Route("/brokers/{account}/callback", self.finish, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Send the operator's browser to the broker's login page."""
        if not is_own_origin(request):  # a new login ends the one before: not for a link elsewhere to do
            raise PageError(403, "Asked by another site", "Log in by the button on the status page.")
        visitor = self._gate.admit(request)
        account = request.path_params["account"]
        return RedirectResponse(self._bridge.logins.url(account, self._gate.login_state(visitor, account)), 303)

    async def finish(self, request: Request) -> Response:
        """Where the login page leads back to."""
        visitor = self._gate.admit(request)
        account, query = request.path_params["account"], request.query_params
        if not self._gate.is_login_state(visitor, account, query.get("state", "")):
            raise PageError(
                403,
                "Not logged in",
                "This login was not begun on the status page of this browser, or it took more than a quarter of an hour. "
                "Nothing was done: begin it again there.",
            )
        if query.get("status") != "success":
            return self._message(400, "Not logged in", self._failed(account, "The login was not completed."))
        try:
            view = await self._bridge.logins.log_in(account, query.get("request_token", ""), by=BY)
        except RefusedError as error:
            return self._message(400, "Not logged in", self._failed(account, f"{error.message} {error.hint or ''}".strip()))
        except StoreError as error:
            raise PageError(503, "Not logged in", str(error)) from None
        return self._message(200, f"Logged in to {view.broker}", f"Account {account} is {self._stands(view)}.")

    def _failed(self, account: str, why: str) -> str:
        view = self._bridge.logins.view(account)
        if view is None or not view.is_live:
            return why
        return f"{why} The session of before stands: account {account} is {self._stands(view)}."

    def _stands(self, view: LoginView) -> str:
        ends = short_time(view.ends_at, self._bridge.clock.now()) if view.ends_at else ""
        return f"logged in as {view.user_id} until {ends}, India’s time"
