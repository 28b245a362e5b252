"""Who may see a page and send its forms: host name, loopback, session, origin and form token, in this order."""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from bridge.core.errors import ConfigError
from bridge.core.ids import random_token
from bridge.intake.addresses import AddressList, client_address, parse_address
from bridge.settings import is_loopback
from bridge.web.auth import SESSION_ID_CHARS, SESSION_LASTS, Attempts, Sessions, is_password, password_hash
from bridge.web.port import Bridge
from bridge.web.webhook import BODY_WITHIN_S, BodyTooLargeError, SenderGoneError, read_body

MAX_FORM_BYTES = 16 * 1024
MAX_FORM_FIELDS = 20
# Any of these says that somebody stands between us and the browser, so the peer's address proves nothing of it.
FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
# Without a password there is no cookie to bind a form to. The token is as secret, and loopback is checked at each step.
OPEN_SESSION = "open"
FORM_LASTS_S = 3_600
PASSWORD_COMMAND = "bridge operator password"  # noqa: S105 - a command, not a password


class PageError(Exception):
    """A page that is not shown: the status, a title, and what to do about it, in a sentence."""

    def __init__(self, status: int, title: str, message: str, *, command: str = "", retry_after_s: int = 0):
        super().__init__(title)
        self.status = status
        self.title = title
        self.message = message
        self.command = command
        self.retry_after_s = retry_after_s


class SignInNeededError(Exception):
    """There is a password, and nobody is signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks at a page. `token` goes into every form; `is_signed_in` is False where no password is set."""

    session_id: str
    token: str
    is_signed_in: bool


class Gate:
    """Decides from the request alone; keeps nothing but the latest attempts to sign in."""

    def __init__(self, bridge: Bridge):
        self._settings = bridge.settings
        self._trusted = AddressList(bridge.settings.server.trusted_proxies)
        self._public = urlsplit(bridge.settings.public_url())
        self._sessions = Sessions(bridge.vault.key("web-session"), bridge.clock)
        self._attempts = Attempts(bridge.clock)
        self._one_hash = asyncio.Semaphore(1)  # each takes 19 MiB and a core

    # --- who is there ---

    def admit(self, request: Request) -> Visitor:
        """The visitor; PageError or SignInNeededError when the page is not for them."""
        hashed = self.check_host(request)
        if hashed is None:
            if not is_direct(request):
                raise _password_missing()
            return Visitor(session_id=OPEN_SESSION, token=self._sessions.form_token(OPEN_SESSION), is_signed_in=False)
        session = self._sessions.read(request.cookies.get(self._cookie(request), ""), hashed)
        if session is None:
            raise SignInNeededError
        token = self._sessions.form_token(session.session_id)
        return Visitor(session_id=session.session_id, token=token, is_signed_in=True)

    def check_host(self, request: Request) -> str | None:
        """The password's hash (None: none is set), after making sure that the browser means us.

        Another site can point a name of its own at this address (DNS rebinding), and its page is then of our origin as far as
        the browser knows. Hence only names that are ours; addresses cannot be rebound, and will do where there is a password.
        """
        hashed = self._hash(request)
        host = host_of(request)
        ours = {self._settings.server.host, self._public.hostname}
        if is_loopback(host) or host in ours or (hashed is not None and parse_address(host) is not None):
            return hashed
        raise PageError(
            421,
            "This is not the bridge’s name",
            "The bridge does not answer to the name in the address bar. "
            "If that name is right, put it into the settings as server.public_url.",
        )

    def _hash(self, request: Request) -> str | None:
        try:
            return password_hash(self._settings)
        except ConfigError as error:
            message = str(error) if is_direct(request) else "Run `bridge check` on the bridge’s own machine."
            raise PageError(403, "The password cannot be read", message) from None

    def peer_of(self, request: Request) -> str:
        """The visitor's address, also behind a trusted proxy."""
        forwarded = ", ".join(request.headers.getlist("x-forwarded-for"))
        return client_address(_peer(request), forwarded or None, self._trusted)

    # --- forms ---

    async def form(self, request: Request, session_id: str, max_bytes: int = MAX_FORM_BYTES) -> Mapping[str, str]:
        """The fields of a form that a page of ours, of this session, has sent; PageError for any other."""
        if not is_own_origin(request):
            raise PageError(403, "Sent from another site", "The form did not come from a page of the bridge.")
        fields = await read_form(request, max_bytes)
        if not self._sessions.is_form_token(session_id, fields.get("csrf", "")):
            raise PageError(403, "This page was out of date", "Nothing was done. Go back, reload the page, and send it again.")
        return fields

    # --- logins at brokers ---

    def login_state(self, visitor: Visitor, account: str) -> str:
        """What the broker's login page is to hand back."""
        return self._sessions.login_state(visitor.session_id, account)

    def is_login_state(self, visitor: Visitor, account: str, state: str) -> bool:
        """True when this visitor began this login: another one's token must not get in by a link (login CSRF)."""
        return self._sessions.is_login_state(visitor.session_id, account, state)

    # --- signing in ---

    def sign_in_form(self, request: Request) -> tuple[str, str]:
        """(id, form token) of a sign-in form; the id goes into a cookie of its own, so that no session is overwritten."""
        form_id = self._form_id(request) or random_token(SESSION_ID_CHARS)
        return form_id, self._sessions.form_token(_sign_in_id(form_id))

    async def sign_in(self, request: Request) -> str | None:
        """The cookie of a new session when the form brings the right password; PageError 429 after too many wrong ones."""
        hashed = self.check_host(request)
        fields = await self.form(request, _sign_in_id(self._form_id(request)))
        peer = self.peer_of(request)
        wait_s = self._attempts.take(peer)
        if wait_s > 0:
            minutes = int(wait_s) // 60 + 1
            message = f"Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again."
            raise PageError(429, "Too many attempts", message, retry_after_s=int(wait_s) + 1)
        async with self._one_hash:
            if hashed is None or not await asyncio.to_thread(is_password, hashed, fields.get("password", "")):
                return None
        self._attempts.forgive(peer)
        return self._sessions.issue(hashed)

    # --- cookies ---

    def keep_session(self, request: Request, response: Response, cookie: str) -> None:
        """Hand out the session's cookie."""
        self._set(request, response, self._cookie(request), cookie, int(SESSION_LASTS.total_seconds()))

    def end_session(self, request: Request, response: Response) -> None:
        """Take the session's cookie back."""
        self._set(request, response, self._cookie(request), "", 0)

    def keep_form_id(self, request: Request, response: Response, form_id: str) -> None:
        """Hand out the cookie that a sign-in form is bound to."""
        self._set(request, response, self._cookie(request) + "_form", form_id, FORM_LASTS_S)

    def is_secure(self, request: Request) -> bool:
        """True when the browser speaks HTTPS, to us or to a proxy of ours."""
        if request.scope["scheme"] == "https":
            return True
        if _peer(request) in self._trusted and request.headers.get("x-forwarded-proto") == "https":
            return True
        return self._public.scheme == "https" and not is_direct(request)

    def _set(self, request: Request, response: Response, name: str, value: str, max_age_s: int) -> None:
        secure = self.is_secure(request)
        response.set_cookie(name, value, max_age_s, path="/", httponly=True, samesite="strict", secure=secure)

    def _cookie(self, request: Request) -> str:
        # A browser takes a cookie of this prefix only over HTTPS and from this very host: no neighbour can plant one.
        return ("__Host-" if self.is_secure(request) else "") + self._sessions.cookie_name

    def _form_id(self, request: Request) -> str:
        found = request.cookies.get(self._cookie(request) + "_form", "")
        return found if len(found) == SESSION_ID_CHARS and found.isalnum() else ""


def _password_missing() -> PageError:
    return PageError(
        403,
        "Set a password first",
        "Without a password, these pages are shown only to a browser on the bridge’s own machine. "
        "Set one there; the bridge need not be restarted.",
        command=PASSWORD_COMMAND,
    )


def _sign_in_id(form_id: str) -> str:
    return f"sign-in {form_id}"


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def is_own_origin(request: Request) -> bool:
    """Browsers say which site sends a request; where one does not, a form's token has to do."""
    origin = request.headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] == request.headers.get("host")
    return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def is_direct(request: Request) -> bool:
    """True for a program on this very machine that talks to us by a loopback name and through nobody else."""
    peer = parse_address(_peer(request))
    is_local = peer is not None and peer.is_loopback and is_loopback(host_of(request))
    return is_local and not any(name in request.headers for name in FORWARDING_HEADERS)


def host_of(request: Request) -> str:
    """The name in the Host header in lower case, without port and brackets; empty when there is not exactly one."""
    found = request.headers.getlist("host")
    text = found[0].lower() if len(found) == 1 else ""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def is_bearer(request: Request, token: str) -> bool:
    """True when the request carries this bearer token; in constant time."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


async def read_form(request: Request, max_bytes: int = MAX_FORM_BYTES) -> dict[str, str]:
    """The fields of an urlencoded form; PageError when it is none, is too large or does not arrive."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise PageError(415, "Not a form", "This address takes only the forms of the bridge’s own pages.")
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await read_body(request.receive, max_bytes)
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except (BodyTooLargeError, SenderGoneError, TimeoutError, ValueError):
        raise PageError(400, "Not a form", "The form could not be read.") from None
