"""Who is logged in: request tokens of the login page, and access tokens that die at six in the morning in India."""

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.core.clock import IST, Clock
from bridge.sandbox.kite.journal import Journal, from_line, to_line
from bridge.sandbox.kite.values import ApiError, bad_input, make_secret

# "A few minutes", says the vendor.
REQUEST_TOKEN_LIFE = timedelta(minutes=3)
TOKENS_DIE_AT_HOUR = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One login; `dies_at` is in the past once it has been ended."""

    access_token: str
    login_at: datetime
    dies_at: datetime


def token_refused() -> ApiError:
    """What every request without a living token is told."""
    return ApiError(403, "TokenException", "Incorrect `api_key` or `access_token`.")


class Sessions:
    """One app of one user. Every token derives from the seed and a count, so that a run can be repeated."""

    def __init__(self, clock: Clock, journal: Journal, *, seed: str, api_key: str, api_secret: str, user_id: str) -> None:
        self.api_key = api_key
        self.api_secret = api_secret
        self.user_id = user_id
        self.logins = 0
        self._clock = clock
        self._journal = journal
        self._seed = seed
        self._requests: dict[str, datetime] = {}
        self._current: Session | None = None

    def load(self, content: dict[str, object]) -> None:
        """A session out of the journal."""
        session = from_line(Session, content, decimals=frozenset(), times=frozenset({"login_at", "dies_at"}))
        if self._current is None or session.access_token != self._current.access_token:
            self.logins += 1
        self._current = session

    def give_request_token(self) -> str:
        """A token for the redirect after the login page: good once, and not for long."""
        token = make_secret(self._seed, "request", self.logins, len(self._requests))
        self._requests[token] = self._clock.now() + REQUEST_TOKEN_LIFE
        return token

    def exchange(self, api_key: str, request_token: str, checksum: str) -> Session:
        """A new session, which ends the one before."""
        if not (api_key and request_token and checksum):
            raise bad_input("Missing or empty field `api_key`, `request_token` or `checksum`")
        if api_key != self.api_key:
            raise ApiError(403, "TokenException", "Invalid `api_key`.")
        wanted = hashlib.sha256((api_key + request_token + self.api_secret).encode()).hexdigest()
        if not hmac.compare_digest(wanted.encode(), checksum.lower().encode()):
            raise ApiError(403, "TokenException", "Invalid `checksum`.")
        dies_at = self._requests.get(request_token)
        self._requests[request_token] = self._clock.now()  # once
        if dies_at is None or dies_at <= self._clock.now():
            raise ApiError(403, "TokenException", "Token is invalid or has expired.")
        return self.log_in()

    def log_in(self) -> Session:
        """A new session without the page, for tests and for the page itself."""
        now = self._clock.now()
        self.logins += 1
        return self._keep(
            Session(access_token=make_secret(self._seed, "access", self.logins), login_at=now, dies_at=next_death(now))
        )

    def _keep(self, session: Session) -> Session:
        self._current = session
        self._journal.write("session", to_line(session))
        return session

    def check(self, api_key: str, access_token: str) -> None:
        """ApiError unless this is the living session of this app."""
        session = self._current
        if session is None or api_key != self.api_key or self._clock.now() >= session.dies_at:
            raise token_refused()
        if not hmac.compare_digest(session.access_token.encode(), access_token.encode()):
            raise token_refused()

    def end(self) -> None:
        """Logged out, here or by the vendor: the token is worth nothing from now on."""
        if self._current is not None:
            self._keep(replace(self._current, dies_at=self._clock.now()))

    @property
    def current(self) -> Session | None:
        """The latest session, dead or alive."""
        return self._current


def next_death(at: datetime) -> datetime:
    """The next six o'clock in India after `at`."""
    local = at.astimezone(IST)
    death = local.replace(hour=TOKENS_DIE_AT_HOUR, minute=0, second=0, microsecond=0)
    return death if death > local else death + timedelta(days=1)
