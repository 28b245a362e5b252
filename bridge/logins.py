"""Logins at brokers that want a person every day: who is logged in, logging in, and the alarm when nobody has in time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta

from bridge.brokers.base import LoginSession
from bridge.core.clock import IST, Clock
from bridge.core.errors import RefusedError
from bridge.core.login import NOT_LOGGED_IN, LoginView
from bridge.core.reasons import AuditAction, RefusalCode
from bridge.store.store import Store

ALARMS_LOOKED_AT = 200
Hours = Callable[[date], tuple[datetime, datetime] | None]


class Logins:
    """The sessions by account; accounts whose brokers want no login have none. `hours` are the market's of a day.

    Nobody logged in is told `remind_before` the market opens, once for each.
    """

    def __init__(
        self,
        sessions: Mapping[str, LoginSession],
        *,
        store: Store,
        clock: Clock,
        hours: Hours,
        remind_before: Sequence[timedelta],
    ):
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._hours = hours
        self._remind_before = remind_before
        self._warned: dict[str, datetime] = {}  # by account, the latest reminder that is settled

    def view(self, account: str) -> LoginView | None:
        """How the login of an account stands; None where none is wanted."""
        session = self._sessions.get(account)
        return None if session is None else session.view()

    def url(self, account: str, state: str = "") -> str:
        """Where a person logs in; RefusedError when there is nothing to log in to."""
        return self._find(account).login_url(state)

    async def log_in(self, account: str, request_token: str, *, by: str, new_user: bool = False) -> LoginView:
        """Make a session of what the login page gave; when this returns it is on disk and in use."""
        session = self._find(account)
        await session.login(request_token, by=by, new_user=new_user)
        return session.view()

    def _find(self, account: str) -> LoginSession:
        session = self._sessions.get(account)
        if session is None:
            known = ", ".join(sorted(self._sessions)) or "none"
            message = f"There is no account {account[:40]!r} that logs in to a broker."
            raise RefusedError(RefusalCode.E_FIELD, message, field="account", hint=f"Known: {known}.")
        return session

    async def settle(self) -> None:
        """Write down which sessions have ended."""
        for session in self._sessions.values():
            await session.settle()

    async def tick(self) -> None:
        """One look of the worker's."""
        await self.settle()
        for account, session in self._sessions.items():
            await self._warn_if_due(account, session)

    async def _warn_if_due(self, account: str, session: LoginSession) -> None:
        """Each reminder of a trading day once, until the market has closed; late rather than never."""
        now = self._clock.now()
        hours = self._hours(now.astimezone(IST).date())
        if hours is None or now >= hours[1]:
            return
        due = max((at for before in self._remind_before if (at := hours[0] - before) <= now), default=None)
        if due is None or self._warned.get(account) == due:
            return
        why = session.why()
        if not why:
            return
        if not await asyncio.to_thread(self._was_warned, account, due):
            told = f"{account} is {why}"
            if now < hours[0]:
                told = f"The market opens at {hours[0].astimezone(IST):%H:%M} IST, and {told}"
            await self._store.write(
                lambda tx: tx.audit(AuditAction.ALARM_RAISED, now, account=account, code=NOT_LOGGED_IN, message=told)
            )
        self._warned[account] = due

    def _was_warned(self, account: str, since: datetime) -> bool:
        """Whether this bridge, before a restart, or the end of the session itself has told it since then."""
        alarms = self._store.reads.recent([AuditAction.ALARM_RAISED], ALARMS_LOOKED_AT, since)
        return any((alarm.account, alarm.code) == (account, NOT_LOGGED_IN) for alarm in alarms)
