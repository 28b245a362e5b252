"""The session at Kite: when a token dies, what is believed of a stored one, and what a failed login says."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.brokers.kite.session import KiteSession, next_death
from bridge.core.errors import RefusedError
from bridge.core.reasons import AuditAction
from bridge.sandbox.kite.box import API_KEY, API_SECRET, USER_ID
from bridge.vault import Vault
from tests.support.clocks import StillClock
from tests.support.kite import Desk, open_desk
from tests.support.logins import ACCOUNT, login_settings, make_session
from tests.support.stores import Watched, fresh_sqlite, look, opened

LOGIN_ACTIONS = [
    AuditAction.BROKER_LOGGED_IN, AuditAction.BROKER_LOGIN_FAILED, AuditAction.BROKER_SESSION_ENDED, AuditAction.ALARM_RAISED,
]  # fmt: skip
Steps = Callable[["Room"], Awaitable[None]]


def ist(day: int, clock: str) -> datetime:
    """A moment of November 2026 in India, in UTC."""
    at = datetime.fromisoformat(f"2026-11-{day:02d}T{clock}+05:30")
    return at.astimezone(UTC)


class Room:
    """A session on a real store, at a loopback Kite, both by one clock that stands until it is moved."""

    def __init__(self, store: Watched, vault: Vault, clock: StillClock, desk: Desk | None) -> None:
        self.store, self.vault, self.clock, self.desk = store, vault, clock, desk
        self.changes = 0
        self.session = self.restart()

    def restart(self, vault: Vault | None = None, **changes: str) -> KiteSession:
        """The session as another process would find it."""
        root = {} if self.desk is None else {"root": self.desk.server.root}
        made = make_session(self.store, vault or self.vault, self.clock, on_change=self._note, **{**root, **changes})
        self.session = made
        return made

    def _note(self) -> None:
        self.changes += 1

    def request_token(self) -> str:
        assert self.desk is not None
        return self.desk.server.do(lambda box: box.sessions.give_request_token())

    async def log_in(self, **how: Any) -> str:
        await self.session.login(self.request_token(), by="operator", **how)
        token = self.session.token()
        assert token is not None
        return token

    def told(self) -> list[tuple[str, str]]:
        """What the audit has of logins, oldest first."""
        return [(step.step, step.message) for step in reversed(self.store.reads.recent(LOGIN_ACTIONS))]


@pytest.fixture
def clock() -> StillClock:
    return StillClock(ist(20, "08:30"))


@pytest.fixture
def run(tmp_path: Path, clock: StillClock) -> Iterator[Callable[[Steps], None]]:
    """Carry out steps in a room of their own."""
    settings, url = login_settings(tmp_path), fresh_sqlite(tmp_path)

    async def go(steps: Steps, desk: Desk) -> None:
        async with opened(url, clock) as store:
            await steps(Room(store, Vault(settings), clock, desk))

    with open_desk(clock) as desk:
        yield lambda steps: asyncio.run(go(steps, desk))


# --- when it dies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "death"),
    [
        (ist(20, "08:30"), ist(21, "06:00")),
        (ist(20, "05:59:59.999999"), ist(20, "06:00")),
        (ist(20, "06:00"), ist(21, "06:00")),
        (ist(20, "23:59:59"), ist(21, "06:00")),
        (ist(21, "00:00"), ist(21, "06:00")),
        (ist(30, "12:00"), datetime(2026, 12, 1, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_token_dies_at_the_next_six_in_india(login: datetime, death: datetime) -> None:
    """One made at six itself is the new day's."""
    assert next_death(login) == death


def test_a_session_lives_to_the_last_moment_before_six_and_not_at_six(run, clock):
    """By our clock, whatever the broker would still take; the end is told once and is no alarm."""

    async def steps(room: Room) -> None:
        token = await room.log_in()
        assert room.session.view().ends_at == ist(21, "06:00")
        for at in (ist(20, "23:59:59"), ist(21, "00:00"), ist(21, "05:59:59.999")):
            clock.at = at
            assert (room.session.token(), room.session.why()) == (token, "")
        clock.at = ist(21, "06:00")
        assert room.session.token() is None
        assert room.session.why() == (
            "not logged in: the session ended at 21 Nov 06:00 IST. "
            "Log in to Zerodha on the status page, or with: bridge login ravi"
        )
        assert room.changes == 1
        await room.session.settle()
        await room.session.settle()
        assert [step for step, _ in room.told()] == ["broker_logged_in", "broker_session_ended"]

    run(steps)


def test_a_clock_that_is_set_back_does_not_bring_a_dead_session_to_life(run, clock):
    """Neither in this process nor in the next one."""

    async def steps(room: Room) -> None:
        await room.log_in()
        clock.at = ist(21, "06:00:01")
        assert room.session.token() is None
        clock.at = ist(20, "12:00")
        assert room.session.token() is None
        await room.session.settle()
        assert room.restart().token() is None

    run(steps)


def test_a_clock_that_is_set_back_while_it_lives_does_not_make_it_live_longer(run, clock, monkeypatch):
    """So much time as there was until six, and no more, by a clock that nobody sets."""

    async def steps(room: Room) -> None:
        passed = 0.0
        monkeypatch.setattr(clock, "monotonic", lambda: passed)
        await room.log_in()
        clock.at -= timedelta(days=3)
        passed = timedelta(hours=21, minutes=29).total_seconds()
        assert room.session.token() is not None
        passed += 61
        assert room.session.token() is None

    run(steps)


def test_a_session_that_was_begun_in_the_future_lives_a_day_at_most(run, clock, monkeypatch):
    """The clock was set back while the bridge was down: what counts is how long it could have lived from its login on."""

    async def steps(room: Room) -> None:
        await room.log_in()
        clock.at -= timedelta(days=30)
        passed = 0.0
        monkeypatch.setattr(clock, "monotonic", lambda: passed)
        session = room.restart()
        assert session.token() is not None
        passed = timedelta(hours=21, minutes=31).total_seconds()
        assert session.token() is None

    run(steps)


# --- what is kept -----------------------------------------------------------------------------------------------------------


def test_a_restart_keeps_the_session_and_the_table_does_not_tell_it(run, tmp_path):
    """Sealed: the file has neither the token nor the secret."""

    async def steps(room: Room) -> None:
        token = await room.log_in()
        assert room.restart().token() == token
        ((sealed, user_id),) = look(f"sqlite:///{tmp_path / 'bridge.db'}", "SELECT sealed, user_id FROM broker_sessions")
        assert user_id == USER_ID
        content = b"".join(path.read_bytes() for path in tmp_path.glob("bridge.db*"))
        assert sealed.encode() in content
        assert token.encode() not in content
        assert API_SECRET.encode() not in content
        assert token not in repr(room.session) + repr(room.session.view()) + repr(room.session.__dict__)

    run(steps)


def test_a_stored_session_of_another_master_key_or_api_key_counts_as_none(run, tmp_path):
    """And says which; with the right ones it is there again."""

    async def steps(room: Room) -> None:
        token = await room.log_in()
        (tmp_path / "other").mkdir()
        foreign = room.restart(Vault(login_settings(tmp_path / "other")))
        assert foreign.token() is None
        assert foreign.why().startswith("not logged in: the stored session was sealed with another master key. Log in")
        foreign.drop("no")
        await foreign.settle()
        assert room.restart(api_key="another").token() is None
        assert "of another api_key" in room.session.why()
        assert room.restart().token() == token

    run(steps)


def test_without_any_login_it_says_what_to_do(run):
    """There is nothing to drop or to write down either."""

    async def steps(room: Room) -> None:
        assert room.session.token() is None
        assert room.session.why().startswith("not logged in: nobody has logged in to Zerodha yet. Log in to Zerodha on")
        room.session.drop("no such session")
        await room.session.settle()
        assert room.told() == []

    run(steps)


# --- dropped by the broker --------------------------------------------------------------------------------------------------


def test_a_dropped_session_is_gone_at_once_and_an_alarm(run):
    """Also when another thread says so; a restart knows it too, and a new login mends it."""

    async def steps(room: Room) -> None:
        token = await room.log_in()
        thread = threading.Thread(target=room.session.drop, args=(f"Incorrect `access_token` {token}.\n",))
        thread.start()
        thread.join()
        assert room.session.token() is None
        assert room.session.why().startswith("not logged in: Zerodha ended the session (Incorrect `access_token` …). Log in")
        await room.session.settle()
        assert [step for step, _ in room.told()] == ["broker_logged_in", "broker_session_ended", "alarm_raised"]
        assert room.restart().why().startswith("not logged in: the session of 20 Nov 08:30 IST has ended.")
        assert await room.log_in() != token

    run(steps)


def test_a_late_answer_to_the_old_token_does_not_end_the_new_session(run):
    """Logging in again makes the broker refuse what was under way with the token before."""

    async def steps(room: Room) -> None:
        before = await room.log_in()
        after = await room.log_in()
        room.session.drop("Incorrect `api_key` or `access_token`.", token=before)
        assert room.session.token() == after
        room.session.drop("Incorrect `api_key` or `access_token`.", token=after)
        assert room.session.token() is None

    run(steps)


def test_a_drop_that_could_not_be_written_is_written_later_and_only_once(run):
    """Until then the token is not used either."""

    async def steps(room: Room) -> None:
        await room.log_in()
        room.session.drop("ended by the vendor")
        room.session.drop("said again")
        assert room.session.token() is None
        for _ in range(3):
            await room.session.settle()
        ended = [message for step, message in room.told() if step == "broker_session_ended"]
        assert ended == [f"{USER_ID}: Zerodha ended the session (ended by the vendor)."]

    run(steps)


# --- logging in -------------------------------------------------------------------------------------------------------------


def test_the_login_address_carries_key_and_state(run):
    """The state comes back beside the token."""

    async def steps(room: Room) -> None:
        parts = urlsplit(room.session.login_url("a.b=c&d"))
        query = parse_qs(parts.query)
        assert (parts.path, query["v"], query["api_key"]) == ("/connect/login", ["3"], [API_KEY])
        assert parse_qs(query["redirect_params"][0]) == {"state": ["a.b=c&d"]}
        assert "redirect_params" not in room.session.login_url()

    run(steps)


REFUSALS: list[tuple[dict[str, str], str | None, str]] = [
    ({"api_secret": ""}, None, "Set BRIDGE_ACCOUNTS__RAVI__API_SECRET"),
    ({"api_secret": "wrongsecret"}, None, "correct BRIDGE_ACCOUNTS__RAVI__API_SECRET"),
    ({"api_key": "wrongkey"}, None, "Correct accounts.ravi.api_key"),
    ({}, "never-given", "good once, and for a few minutes"),
    ({}, "", "not a request token"),
    ({}, "zwei Wörter", "not a request token"),
    ({"root": "http://127.0.0.1:9"}, None, "does not answer"),
]


@pytest.mark.parametrize(("changes", "token", "told"), REFUSALS)
def test_a_refused_login_says_the_mend_and_leaves_no_session(run, changes, token, told):
    """The record tells of it without the secret or the token."""

    async def steps(room: Room) -> None:
        session = room.restart(**changes)
        given = room.request_token() if token is None else token
        with pytest.raises(RefusedError) as refused:
            await session.login(given, by="api")
        assert told in f"{refused.value.message} {refused.value.hint}"
        assert session.token() is None
        ((step, message),) = room.told()
        assert step == "broker_login_failed"
        assert message.endswith("Tried by api.")
        for secret in (given, changes.get("api_secret", API_SECRET)):
            assert not secret or secret not in f"{message} {refused.value.message} {refused.value.hint}"

    run(steps)


def test_a_request_token_is_good_once_and_for_minutes(run, clock):
    """A used one leaves the session that it made alone."""

    async def steps(room: Room) -> None:
        token = room.request_token()
        await room.session.login(token)
        with pytest.raises(RefusedError, match="Token is invalid or has expired"):
            await room.session.login(token)
        assert room.session.token() is not None
        late = room.request_token()
        clock.move(minutes=4)
        with pytest.raises(RefusedError, match="Token is invalid or has expired"):
            await room.session.login(late)

    run(steps)


def test_another_persons_login_is_refused_unless_it_is_meant(run):
    """Orders of one person's account must not reach another's by a login in the wrong window; also after the session's end."""

    async def steps(room: Room) -> None:
        assert room.desk is not None
        before = await room.log_in()
        room.desk.server.do(lambda box: setattr(box.sessions, "user_id", "XX9999"))
        with pytest.raises(RefusedError, match="is SB0001's at Zerodha, and this login is XX9999's"):
            await room.log_in()
        assert room.session.token() == before
        room.session.drop("ended")
        await room.session.settle()
        with pytest.raises(RefusedError, match="SB0001"):
            await room.log_in()
        await room.log_in(new_user=True)
        assert room.session.view().user_id == "XX9999"

    run(steps)


class Odd(BaseHTTPRequestHandler):
    """Answers every login with what the test has put here: status, content type, body."""

    answer: tuple[int, str, bytes] = (200, "", b"")

    def do_POST(self) -> None:
        status, kind, body = self.answer
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status)
        if kind:
            self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Nothing."""


@contextmanager
def odd_kite(*answer: Any) -> Iterator[str]:
    handler = type("Handler", (Odd,), {"answer": answer})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


JSON, LEAK = "application/json", "leakedtoken123"
ODD_ANSWERS = [
    (200, "", b"{}"),
    (200, JSON, b"[]"),
    (200, JSON, b"{"),
    (200, JSON, f'{{"access_token": "{LEAK}"'.encode()),
    (200, "text/html", f"<p>{LEAK}</p>".encode()),
    (200, JSON, b'{"status": "success", "data": {}}'),
    (200, JSON, b'{"status": "success", "data": null}'),
    (200, JSON, f'{{"data": {{"access_token": "{LEAK}", "user_id": null, "login_time": null}}}}'.encode()),
    (200, JSON, f'{{"data": {{"access_token": "{LEAK}", "user_id": "A B", "login_time": null}}}}'.encode()),
    (200, JSON, b'{"data": {"access_token": "", "user_id": "AB1234", "login_time": null}}'),
    (403, JSON, b'{"status": "error", "message": "x", "error_type": null}'),
    (504, "text/html", b"<h1>Gateway</h1>"),
    (429, JSON, b'{"status": "error", "message": "Too many requests", "error_type": "NetworkException"}'),
]


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_an_odd_answer_is_a_refusal_that_quotes_nothing(run, answer):
    """Whatever the client makes of it, and a token that is in there by half is not told."""

    async def steps(room: Room) -> None:
        with odd_kite(*answer) as root:
            with pytest.raises(RefusedError) as refused:
                await room.restart(root=root).login("requesttoken1")
            assert LEAK not in f"{refused.value} {refused.value.hint} {room.told()}"
            assert room.session.token() is None
        assert ACCOUNT not in room.store.ledger.broker_sessions.values

    run(steps)
