"""KiteSession: one account's access token: from a person's login, kept sealed in the store, dead at six the next morning."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from bridge.brokers.kite.client import Answer, KiteClient
from bridge.core.clock import IST, Clock
from bridge.core.errors import ConfigError, RefusedError, StoreError
from bridge.core.login import NOT_LOGGED_IN, BrokerSession, LoginView
from bridge.core.reasons import AuditAction, RefusalCode
from bridge.core.values import evolve
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.vault import Vault

# "The access token is valid until 6 AM the next day (regulatory requirement)": kite.trade/docs/connect/v3/user
DIES_AT_HOUR = 6
MAX_REASON_CHARS = 200
_TOKEN = re.compile(r"[!-~]{4,256}")
# Errors whose sentence says what a person did wrong.
_QUOTED = frozenset({"TokenException", "InputException", "UserException", "PermissionException"})
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A stored login as it was read: its token, or why there is none. `dies_at_s` is monotonic."""

    record: BrokerSession
    token: str = field(default="", repr=False)
    problem: str = ""
    dies_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A login that is over in this process; `by_broker` is unforeseen, so a person must hear of it."""

    record: BrokerSession
    reason: str
    by_broker: bool


class KiteSession:
    """The login of one account. What it knows is what the store has, so a restart changes nothing.

    `token`, `why`, `view` and `drop` may be called in any thread. `on_change` is, too, when a session has ended; `settle` then
    writes that down, and finds it again later if it could not.
    """

    def __init__(
        self,
        account: str,
        *,
        api_key: str,
        api_secret: str,
        root: str,
        login_root: str,
        store: Store,
        vault: Vault,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self.account = account
        self._api_key = api_key
        self._api_secret = api_secret
        self._root = root
        self._login_root = login_root
        self._store = store
        self._vault = vault
        self._clock = clock
        self._on_change = on_change
        self._opened: _Opened | None = None
        self._ended: _Ended | None = None
        self._one_login = asyncio.Lock()

    def __repr__(self) -> str:
        return f"KiteSession({self.account!r})"

    # -- what others ask ----------------------------------------------------------------------------------------------

    def token(self) -> str | None:
        """The access token; None when there is none that lives."""
        live = self._find_live()
        return live.token if live else None

    def why(self) -> str:
        """What is missing and what a person must do; empty while a session lives."""
        return "" if self._find_live() else f"{NOT_LOGGED_IN}: {self._reason()}. {self._mend()}"

    def view(self) -> LoginView:
        """How the login stands."""
        live, record = self._find_live(), self._record()
        return LoginView(
            broker="Zerodha",
            is_live=live is not None,
            user_id=record.user_id if record else "",
            ends_at=live.record.expires_at if live else None,
            message=self.why(),
        )

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """The broker does not take the token any more: forget it until the next login.

        With `token`, only if that is still the one: the answer to a call that was under way during a new login says nothing of
        the new session.
        """
        live = self._find_live()
        if live is not None and token in (None, live.token):
            self._end(live.record, f"Zerodha ended the session ({self._clean(reason, live.token)})", by_broker=True)

    def login_url(self, state: str = "") -> str:
        """The page where a person logs in; Kite hands `state` back to the redirect address."""
        query = {"v": "3", "api_key": self._api_key}
        if state:
            query["redirect_params"] = urlencode({"state": state})
        return f"{self._login_root}?{urlencode(query)}"

    # -- login --------------------------------------------------------------------------------------------------------

    async def login(self, request_token: str, *, by: str = "", new_user: bool = False) -> None:
        """Exchange the token that the redirect brought for a session, and keep that; RefusedError says what to do instead.

        The account stays one person's: another Zerodha user is refused unless `new_user` says that this is meant.
        """
        async with self._one_login:
            try:
                record = await self._exchange(request_token, new_user=new_user)
            except RefusedError as error:
                await self._store.write(partial(self._note_failure, message=error.message, by=by))
                raise
            try:
                await self._store.write(partial(self._keep, record=record, by=by))
            except StoreError as error:  # the token is used up, and the session before is over as far as Zerodha goes
                raise StoreError(f"Zerodha took the login, but it could not be stored: {error}. Log in again.") from error

    def _keep(self, tx: Tx, record: BrokerSession, by: str) -> None:
        tx.put(tx.ledger.broker_sessions, self.account, record)
        ends = _shown(record.expires_at)
        tx.audit(
            AuditAction.BROKER_LOGGED_IN,
            self._clock.now(),
            account=self.account,
            message=f"Logged in at Zerodha as {record.user_id} until {ends}" + (f", by {by}." if by else "."),
            data={"user_id": record.user_id, "by": by, "expires_at": record.expires_at.isoformat()},
        )
        tx.touch("state")

    def _note_failure(self, tx: Tx, message: str, by: str) -> None:
        told = message + (f" Tried by {by}." if by else "")
        tx.audit(AuditAction.BROKER_LOGIN_FAILED, self._clock.now(), account=self.account, message=told)

    async def _exchange(self, request_token: str, *, new_user: bool) -> BrokerSession:
        if not _TOKEN.fullmatch(request_token):
            raise _refusal("That is not a request token.", self._mend())
        if not self._api_secret:  # a command's environment may lack what the service's has
            hint = f"Set BRIDGE_ACCOUNTS__{self.account.upper()}__API_SECRET in the environment of this command."
            raise _refusal("The api_secret is missing.", hint)
        # By the clock before the call: a token that is made while it turns six then counts as dead rather too early.
        asked_at = self._clock.now()
        client = KiteClient(api_key=self._api_key, root=self._root)  # its own, which dies with what it has learnt
        try:
            answer = await client.call("generate_session", request_token, self._api_secret)
        finally:
            client.close()
        access_token, user_id = self._read_answer(answer, request_token)
        record = self._record()
        if record is not None and record.user_id != user_id and not new_user:
            raise _refusal(
                f"Account {self.account} is {record.user_id}'s at Zerodha, and this login is {user_id}'s.",
                f"Log in as {record.user_id}; if the account is to be {user_id}'s from now on: "
                f"bridge login {self.account} --new-user",
            )
        content = json.dumps({"account": self.account, "api_key": self._api_key, "access_token": access_token})
        return BrokerSession(
            account=self.account,
            sealed=self._vault.encrypt(content),
            user_id=user_id,
            logged_in_at=asked_at,
            expires_at=next_death(asked_at),
        )

    def _read_answer(self, answer: Answer, request_token: str) -> tuple[str, str]:
        """(access token, user id); RefusedError with the mend that the answer points to. Odd answers are not quoted."""
        if answer.failure is not None:
            raise _refusal(answer.message, f"Check the network and accounts.{self.account}.root, then log in again.")
        if answer.error_type in _QUOTED:
            raise self._judge(self._clean(answer.message, request_token))
        data = answer.data if isinstance(answer.data, dict) else {}
        access_token, user_id = data.get("access_token"), data.get("user_id")
        if not (_is_like(_TOKEN, access_token) and _is_like(_USER_ID, user_id)):
            told = f"Zerodha did not carry out the login (HTTP {answer.status} {answer.error_type}".rstrip() + ")."
            raise _refusal(told, "Log in again in a moment.")
        return str(access_token), str(user_id)

    def _judge(self, message: str) -> RefusedError:
        if "checksum" in message.lower():
            hint = f"The api_secret is not that of the api_key: correct BRIDGE_ACCOUNTS__{self.account.upper()}__API_SECRET."
        elif "api_key" in message.lower():
            hint = f"Correct accounts.{self.account}.api_key; it is on the app's page at developers.kite.trade."
        else:
            hint = "A request token is good once, and for a few minutes: log in again."
        return _refusal(f"Zerodha refused the login: {message}.", hint)

    # -- what is kept -------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Write down that a session has ended, if one has; StoreError leaves it to the next call."""
        self._find_live()
        ended = self._ended
        if ended is not None and self._record() == ended.record:
            await self._store.write(lambda tx: self._forget(tx, ended))

    def _forget(self, tx: Tx, ended: _Ended) -> None:
        if tx.ledger.broker_sessions.get(self.account) != ended.record:
            return
        now = self._clock.now()
        tx.put(tx.ledger.broker_sessions, self.account, evolve(ended.record, sealed=""))
        message = f"{ended.record.user_id}: {ended.reason}."
        tx.audit(AuditAction.BROKER_SESSION_ENDED, now, account=self.account, message=message)
        if ended.by_broker:
            told = f"{self.account} is {NOT_LOGGED_IN}: {ended.reason}. {self._mend()}"
            tx.audit(AuditAction.ALARM_RAISED, now, account=self.account, code=NOT_LOGGED_IN, message=told)
        tx.touch("state")

    def _record(self) -> BrokerSession | None:
        return self._store.ledger.broker_sessions.get(self.account)

    def _find_live(self) -> _Opened | None:
        record, ended = self._record(), self._ended
        if record is None or not record.sealed or (ended is not None and ended.record == record):
            return None
        opened = self._opened
        if opened is None or opened.record != record:
            opened = self._opened = self._open(record)
        if opened.problem:
            return None
        if self._clock.now() >= record.expires_at or self._clock.monotonic() >= opened.dies_at_s:
            self._end(record, f"the session ended at {_shown(record.expires_at)}", by_broker=False)
            return None
        return opened

    def _open(self, record: BrokerSession) -> _Opened:
        try:
            content: Any = json.loads(self._vault.decrypt(record.sealed))
            access_token = str(content["access_token"])
        except ConfigError:
            problem = "the stored session was sealed with another master key"
            return _Opened(record=record, problem=problem)
        except (ValueError, LookupError, TypeError):
            return _Opened(record=record, problem="the stored session cannot be read")
        if (content.get("account"), content.get("api_key")) != (self.account, self._api_key):
            return _Opened(record=record, problem="the stored session is of another api_key")
        # A clock that is set back must not make the token live longer than it ever could.
        left = record.expires_at - max(self._clock.now(), record.logged_in_at)
        return _Opened(record=record, token=access_token, dies_at_s=self._clock.monotonic() + left.total_seconds())

    def _end(self, record: BrokerSession, reason: str, *, by_broker: bool) -> None:
        self._ended = _Ended(record=record, reason=reason, by_broker=by_broker)
        self._on_change()

    # -- words --------------------------------------------------------------------------------------------------------

    def _reason(self) -> str:
        record, ended, opened = self._record(), self._ended, self._opened
        if record is None:
            return "nobody has logged in to Zerodha yet"
        if ended is not None and ended.record.logged_in_at == record.logged_in_at:
            return ended.reason
        if record.sealed and opened is not None and opened.problem:
            return opened.problem
        return f"the session of {_shown(record.logged_in_at)} has ended"

    def _mend(self) -> str:
        return f"Log in to Zerodha on the status page, or with: bridge login {self.account}"

    def _clean(self, text: str, *secrets: str) -> str:
        """A sentence of the broker's, short and on one line, without what must not be told."""
        for secret in (self._api_secret, *secrets):
            text = text.replace(secret, "…")
        return " ".join(text.split()).rstrip(".")[:MAX_REASON_CHARS]


def next_death(at: datetime) -> datetime:
    """When a token that is made at `at` dies: the next six o'clock in India, by our clock."""
    local = at.astimezone(IST)
    death = local.replace(hour=DIES_AT_HOUR, minute=0, second=0, microsecond=0)
    return (death if death > local else death + timedelta(days=1)).astimezone(at.tzinfo)


def _is_like(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _refusal(message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field="request_token", hint=hint)


def _shown(at: datetime) -> str:
    return f"{at.astimezone(IST):%-d %b %H:%M} IST"
