"""The operator's sign-in: the password and its hash, signed session cookies, form tokens, and how often one may try."""

import base64
import hmac
import os
import stat
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Network, ip_address
from typing import TYPE_CHECKING

from bridge.core.clock import Clock, from_us, to_us
from bridge.core.errors import ConfigError
from bridge.core.ids import random_token
from bridge.settings import Settings, is_loopback

if TYPE_CHECKING:
    from argon2 import PasswordHasher

HASH_FILE = "operator.hash"
MAX_HASH_CHARS = 512
MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 256
SESSION_LASTS = timedelta(hours=12)  # a trading day and its evening
LOGIN_LASTS = timedelta(minutes=15)  # password, second factor, and looking for the phone
SESSION_ID_CHARS = 26  # 130 bits
MAX_COOKIE_CHARS = 200

# Five guesses in five minutes from one place, fifty from everywhere: hopeless against ten characters, and argon2 is never
# asked to work more often than that. A person locked out still has `bridge halt`.
ATTEMPTS_PER_PEER = 5
ATTEMPTS_IN_ALL = 50
ATTEMPTS_WINDOW_S = 300.0
MAX_PEERS = 1_000

# --- the password ----------------------------------------------------------------------------------------------------


def set_password(settings: Settings, text: str) -> None:
    """Keep the hash of a new password in the data folder; ends every session. ConfigError says what is wrong with it."""
    if settings.operator.password_hash is not None:
        raise ConfigError("operator.password_hash is set and would win; take it out of the settings first")
    if not MIN_PASSWORD_CHARS <= len(text) <= MAX_PASSWORD_CHARS:
        raise ConfigError(f"the password needs {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")
    path = settings.data_dir / HASH_FILE
    draft = path.with_name(f".{HASH_FILE}.{random_token(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(_hasher().hash(text) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def password_hash(settings: Settings) -> str | None:
    """The argon2 hash of the operator's password, from the settings or the data folder; None when none is set.

    A file that is there but cannot be read, or that others can, raises ConfigError: it must never count as "no password".
    """
    if settings.operator.password_hash is not None:
        return settings.operator.password_hash
    path = settings.data_dir / HASH_FILE
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(f"{path} can be read by others on this machine; run: chmod 600 {path}")
            return file.read(MAX_HASH_CHARS).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def needs_password(settings: Settings) -> bool:
    """True when the bridge must not start: others can reach it, and there is no password."""
    return not is_loopback(settings.server.host) and password_hash(settings) is None


def is_password(hashed: str, text: str) -> bool:
    """True when `text` is the password; takes tens of milliseconds on purpose, so call it in a thread."""
    from argon2.exceptions import VerificationError

    if len(text) > MAX_PASSWORD_CHARS:
        return False
    try:
        return _hasher().verify(hashed, text)
    except (VerificationError, ValueError):  # the latter: what is kept is no hash, or the text no text
        return False


def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    # OWASP's "Password Storage Cheat Sheet": 19 MiB, two passes; the library's own 64 MiB are much for a small machine.
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


# --- sessions and form tokens ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who holds this cookie signed in, until `expires_at` (aware UTC)."""

    session_id: str
    expires_at: datetime


class Sessions:
    """Makes and reads signed cookies. Nothing is kept: a session ends by its time, or for all by a new password."""

    def __init__(self, key: bytes, clock: Clock):
        self._key = key
        self._clock = clock
        # Cookies know no ports: two bridges on one machine must not overwrite each other's.
        self.cookie_name = "bridge_" + self._sign("cookie name")[:8].lower().replace("-", "0").replace("_", "1")

    def issue(self, hashed: str) -> str:
        """The cookie of a new session; always with a new id, so that a cookie planted before is worth nothing."""
        claims = f"{random_token(SESSION_ID_CHARS)}.{to_us(self._clock.now() + SESSION_LASTS)}"
        return f"{claims}.{self._sign(f'session {hashed} {claims}')}"

    def read(self, cookie: str, hashed: str) -> Session | None:
        """The session of a cookie; None when it is not ours, was made under another password, or is over."""
        if len(cookie) > MAX_COOKIE_CHARS or not cookie.isascii():
            return None
        claims, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature, self._sign(f"session {hashed} {claims}")):
            return None
        session_id, _, expires_us = claims.partition(".")
        expires_at = from_us(int(expires_us))
        return Session(session_id=session_id, expires_at=expires_at) if self._clock.now() < expires_at else None

    def form_token(self, session_id: str) -> str:
        """What every form of this session has to carry."""
        return self._sign(f"form {session_id}")

    def is_form_token(self, session_id: str, token: str) -> bool:
        """True for the session's own token; in constant time."""
        return hmac.compare_digest(self.form_token(session_id).encode(), token.encode("utf-8", "replace"))

    def login_state(self, session_id: str, account: str) -> str:
        """What a broker's login page hands back, so that only a login begun in this session, for this account, ends here."""
        claims = str(to_us(self._clock.now() + LOGIN_LASTS))
        return f"{claims}.{self._sign(f'login {session_id} {account} {claims}')}"

    def is_login_state(self, session_id: str, account: str, state: str) -> bool:
        """True for a state that was made for this session and account and is not too old."""
        if len(state) > MAX_COOKIE_CHARS or not state.isascii():
            return False
        claims, _, signature = state.partition(".")
        if not hmac.compare_digest(signature, self._sign(f"login {session_id} {account} {claims}")):
            return False
        return self._clock.now() < from_us(int(claims))

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._key, text.encode(), sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


# --- how often one may try -------------------------------------------------------------------------------------------


class Attempts:
    """Sign-in attempts of the last minutes, by place; remembers a bounded number of places."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._by_peer: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=ATTEMPTS_IN_ALL)

    def take(self, peer: str) -> float:
        """Count one attempt and return 0, or return the seconds to wait before the next one is heard.

        Counted before the password is looked at, so that attempts at once cannot slip through together.
        """
        now = self._clock.monotonic()
        place = _place(peer)
        own = self._by_peer.pop(place, None) or deque(maxlen=ATTEMPTS_PER_PEER)
        self._by_peer[place] = own
        if len(self._by_peer) > MAX_PEERS:
            self._by_peer.popitem(last=False)
        wait_s = max(_wait_s(own, now), _wait_s(self._all, now))
        if wait_s <= 0:
            own.append(now)
            self._all.append(now)
            return 0.0
        return wait_s

    def forgive(self, peer: str) -> None:
        """Forget a place's attempts, once one of them was right."""
        self._by_peer.pop(_place(peer), None)


def _wait_s(attempts: deque[float], now: float) -> float:
    """Seconds until the oldest of a full window leaves it."""
    if len(attempts) < (attempts.maxlen or 0):
        return 0.0
    return attempts[0] + ATTEMPTS_WINDOW_S - now


def _place(peer: str) -> str:
    """The address; of an IPv6 one its /64, which is what one subscriber has to choose from."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer[:64]
    return str(address) if address.version == 4 else str(IPv6Network((address, 64), strict=False))
