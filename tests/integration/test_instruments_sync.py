"""The list of instruments from a Kite on this machine: fetched, taken, put in use in a bridge that runs, and told about."""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.app import build_app
from bridge.bootstrap import Bridge
from bridge.brokers.kite import dump as kite_dump
from bridge.brokers.kite.dump import KiteDump
from bridge.commands.client import Client, CommandError
from bridge.commands.instruments import follow_sync
from bridge.market.calendar import load_calendar
from bridge.market.dump_rows import ListError
from bridge.market.instruments import Catalog, load_catalog
from bridge.market.keeper import ListKeeper, trading_day
from bridge.market.lists import newest_list
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.server import KiteServer
from tests.support.clocks import StillClock
from tests.support.dumps import DumpPlan, make_dump
from tests.support.kite import Desk
from tests.support.plays import play
from tests.support.rigs import ROOT, instruments_csv, make_settings
from tests.support.waiting import until, until_async

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
AT_SIX = "log in again"


def played(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test that is a story."""

    @wraps(story)
    def run(**given: Any) -> None:
        play(lambda: story(**given))

    return run


class Login:
    """A session in memory."""

    def __init__(self, token: str | None) -> None:
        self.value = token
        self.dropped: list[str] = []

    def token(self) -> str | None:
        return self.value

    def why(self) -> str:
        return "" if self.value else AT_SIX

    def drop(self, reason: str, *, token: str | None = None) -> None:
        if token in (None, self.value):
            self.dropped.append(reason)
            self.value = None


@contextmanager
def open_kite(clock: StillClock) -> Iterator[Desk]:
    """A Kite with a made-up dump of some twelve hundred rows, logged in to."""
    lines = tuple(make_dump(DumpPlan(day=FRIDAY)))
    with KiteServer(KiteSandbox(lines, clock=clock, enforce_limits=False)) as server:
        desk = Desk(server)
        try:
            yield desk
        finally:
            desk.close()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def desk(clock: StillClock) -> Iterator[Desk]:
    with open_kite(clock) as desk:
        yield desk


def dump_of(desk: Desk, login: Login | None = None) -> KiteDump:
    login = login or Login(str(desk.client.access_token))
    return KiteDump(root=desk.server.root, api_key=desk.box.sessions.api_key, session=login)


def list_another(desk: Desk, tradingsymbol: str = "NEWCO") -> None:
    """The broker lists one more share."""
    row = ["99", "99", tradingsymbol, tradingsymbol, "10", "", "0", "0.05", "1", "EQ", "NSE", "NSE"]
    desk.server.do(lambda box: box.market._rows.append(row))


class Keeping:
    """A keeper over a folder of its own."""

    def __init__(self, folder: Path, clock: StillClock) -> None:
        file = folder / "sample.csv"
        file.write_text(instruments_csv())
        self.folder, self.faults = folder / "instruments", list[tuple[str, BaseException]]()
        self.catalog: Catalog = load_catalog(file, lambda: clock.now().date())
        self.keeper = ListKeeper(
            folder=self.folder,
            file=file,
            catalog=self.catalog,
            calendar=load_calendar(),
            clock=clock,
            on_fault=lambda where, error: self.faults.append((where, error)),
            check_s=0.01,
        )

    async def sync(self) -> dict[str, Any]:
        self.keeper.begin_sync("z")
        return await self.ended()

    async def ended(self) -> dict[str, Any]:
        await until(lambda: self.state.get("phase") in ("done", "failed"), "the sync's end")
        return self.state

    @property
    def state(self) -> dict[str, Any]:
        told = self.keeper.describe().get("sync", {})
        assert isinstance(told, dict)
        return told


@pytest.fixture
def keeping(tmp_path: Path, clock: StillClock) -> Keeping:
    return Keeping(tmp_path, clock)


@played
async def test_list_is_fetched_and_put_in_use_without_a_stop(desk, keeping):
    """One catalog object all along; the dump is gone, the list stays with its day and its account."""
    keeping.keeper.sources["z"] = dump_of(desk)
    assert "a file of the settings, not of 2026-11-20" in keeping.keeper.trouble()
    assert keeping.catalog.get("NFO:NIFTY26NOVFUT") is None

    state = await keeping.sync()

    assert (state["phase"], state["account"]) == ("done", "z"), state
    assert state["bytes"] > 50_000
    assert keeping.catalog.resolve("NSE:NIFTY1!").symbol == "NFO:NIFTY26NOVFUT"
    assert keeping.keeper.trouble() == ""
    assert [path.name for path in keeping.folder.iterdir()] == ["2026-11-20.db"]


@played
async def test_dump_comes_zipped(desk, keeping, tmp_path):
    """Nine megabytes become one on the way."""
    seen: list[str] = []

    class Watched(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            seen.append(answer.headers.get("content-encoding", ""))
            return answer

    dump = dump_of(desk)
    dump.transport = Watched()
    sizes: list[int] = []
    await dump.fetch(tmp_path / "dump.csv", sizes.append)

    assert seen == ["gzip"]
    assert sizes[-1] == (tmp_path / "dump.csv").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("_503_before", "HTTP 503"),
        ("_502_before", "HTTP 502"),
        ("_429", "HTTP 429"),
        ("drop_before", "cannot be fetched"),
        ("drop_after", "cannot be fetched"),
        ("json_list", "gave no list"),
        ("stalled_body", "gave no list"),
        ("ip_refused", "HTTP 403"),
    ],
)
@played
async def test_fault_on_the_way_leaves_the_list_in_use(desk, keeping, fault, complaint):
    """Told in words, tried again later, and the session stays."""
    login = Login(str(desk.client.access_token))
    keeping.keeper.sources["z"] = dump_of(desk, login)
    before = keeping.catalog.listing
    desk.faults("reads", **{fault: 1})

    state = await keeping.sync()

    assert state["phase"] == "failed"
    assert complaint in state["message"]
    assert keeping.catalog.listing is before
    assert login.dropped == []
    assert list(keeping.folder.iterdir()) == []
    assert state["message"] in keeping.keeper.trouble()
    assert keeping.faults == []


@pytest.mark.parametrize("ends", ["close", "silence"])
@played
async def test_broken_off_body_is_no_list(keeping, monkeypatch, ends):
    """Half a dump looks like a dump: only a whole answer counts."""
    monkeypatch.setattr(kite_dump, "SILENCE_S", 0.3)
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = "\n".join(make_dump(DumpPlan(day=FRIDAY))).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n" % (2 * len(body)) + body)
        await writer.drain()
        if ends == "silence":
            await over.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        keeping.keeper.sources["z"] = KiteDump(root=root, api_key="k", session=Login("t"))
        assert "cannot be fetched" in (await keeping.sync())["message"]
        over.set()


@played
async def test_endless_body_is_cut_off(desk, keeping, monkeypatch):
    """The disk is not filled by an answer."""
    monkeypatch.setattr(kite_dump, "MAX_BYTES", 20_000)
    keeping.keeper.sources["z"] = dump_of(desk)

    assert "larger than a list can be" in (await keeping.sync())["message"]
    assert list(keeping.folder.iterdir()) == []


@played
async def test_dead_token_drops_the_session_and_is_never_told(desk, keeping):
    """A person must log in; the token is in no message."""
    login = Login(str(desk.client.access_token))
    token = str(login.value)
    keeping.keeper.sources["z"] = dump_of(desk, login)
    desk.faults("reads", token_dead=1)

    state = await keeping.sync()

    assert state["message"] == f"the session has ended: {AT_SIX}"
    assert len(login.dropped) == 1
    assert token not in str(state) + str(login.dropped)
    with pytest.raises(Exception, match=AT_SIX):
        keeping.keeper.begin_sync("z")


@played
async def test_late_word_on_the_old_token_does_not_end_the_new_session(desk, keeping):
    """A list that was asked for before a login, and is refused after it."""
    login = Login("the old one")

    class LogsIn(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            login.value = "the new one"
            return answer

    dump = dump_of(desk, login)
    dump.transport = LogsIn()
    keeping.keeper.sources["z"] = dump

    state = await keeping.sync()

    assert state["message"] == "the session has ended: another has begun meanwhile"
    assert (login.value, login.dropped) == ("the new one", [])


@played
async def test_fetch_without_a_session_asks_nobody(desk, tmp_path):
    """What a person must do is the answer."""
    with pytest.raises(ListError, match=AT_SIX):
        await dump_of(desk, Login(None)).fetch(tmp_path / "x", lambda _size: None)


@played
async def test_unknown_account_and_second_sync_are_refused(desk, keeping):
    """One at a time, and only from whom has a list."""
    with pytest.raises(Exception, match="has no list"):
        keeping.keeper.begin_sync("paper")
    keeping.keeper.sources["z"] = dump_of(desk)
    keeping.keeper.begin_sync("z")
    with pytest.raises(Exception, match="under way"):
        keeping.keeper.begin_sync("z")
    assert (await keeping.ended())["phase"] == "done"


@played
async def test_stop_breaks_a_sync_off(desk, keeping):
    """Nothing half done is left, and no process."""
    keeping.keeper.sources["z"] = dump_of(desk)
    desk.turn(delay_ms=10_000)
    desk.faults("reads", delay=1)
    keeping.keeper.begin_sync("z")
    await until(lambda: keeping.state.get("phase") == "fetching")
    await keeping.keeper.stop()

    assert newest_list(keeping.folder) is None


# --- each trading day ---


@played
async def test_list_is_brought_up_to_date_each_trading_day(desk, keeping, clock):
    """Once a day, when there is a session; a list of yesterday given again is refused and asked for later."""
    login = Login(None)
    keeping.keeper.sources["z"] = dump_of(desk, login)
    keeping.keeper.start()
    try:
        await asyncio.sleep(0.05)
        assert keeping.state == {}  # nobody is logged in
        login.value = str(desk.client.access_token)
        await until(lambda: keeping.catalog.listing.facts.day == FRIDAY, "the list of Friday")

        clock.at = datetime(2026, 11, 23, 3, 5, tzinfo=UTC)  # 08:35 on Monday in India
        login.value = desk.log_in()
        assert "of 2026-11-20, not of 2026-11-23" in keeping.keeper.trouble()
        await until(lambda: keeping.state["phase"] == "failed", "the old list to be refused")
        assert "still gives the list that was fetched on 2026-11-20" in keeping.state["message"]

        list_another(desk)
        await asyncio.sleep(0.05)
        assert keeping.catalog.listing.facts.day == FRIDAY  # not asked again at once
        clock.move(minutes=6)
        await until(lambda: keeping.catalog.listing.facts.day == MONDAY, "the list of Monday")
        assert keeping.catalog.resolve("NSE:NEWCO").token == 99
        assert keeping.keeper.trouble() == ""
    finally:
        await keeping.keeper.stop()
    assert keeping.faults == []


@played
async def test_without_a_source_nothing_is_watched(keeping):
    """A paper bridge's file is its owner's business."""
    assert keeping.keeper.trouble() == ""


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-11-20T02:59", "2026-11-19"),  # 08:29 in India
        ("2026-11-20T03:00", "2026-11-20"),
        ("2026-11-22T12:00", "2026-11-20"),  # a Sunday
        ("2026-11-23T02:00", "2026-11-20"),
        ("2026-11-24T06:00", "2026-11-23"),  # a holiday
        ("2026-11-25T03:30", "2026-11-25"),
        ("2031-06-05T06:00", "2031-06-05"),  # a year that nobody knows
    ],
)
def test_trading_day_is_the_latest_whose_list_is_made(at, day):
    """Before half past eight yesterday's list is today's; on a holiday the one before it."""
    assert trading_day(load_calendar(), datetime.fromisoformat(at).replace(tzinfo=UTC)).isoformat() == day


# --- in a whole bridge ---


@asynccontextmanager
async def serving(desk: Desk, clock: StillClock, folder: Path) -> AsyncIterator[tuple[Bridge, Client]]:
    """A paper bridge whose account could give the dump, and its API."""
    bridge = Bridge(make_settings(folder), clock)
    bridge.lists.sources["paper"] = dump_of(desk)
    await bridge.start()
    try:
        headers = {"authorization": f"Bearer {bridge.api_token}"}
        transport = httpx.ASGITransport(app=build_app(bridge))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
            yield bridge, Client(http, "of this test")
    finally:
        await bridge.stop()


@played
async def test_stale_list_is_told_on_readyz_and_the_bridge_mends_it(desk, clock, tmp_path):
    """Until the list of the day is there the bridge is not ready; it fetches it by itself."""
    desk.turn(delay_ms=1_000)
    desk.faults("reads", delay=1)
    async with serving(desk, clock, tmp_path) as (bridge, _):
        is_ready, message = bridge.ready()["instruments"]
        assert not is_ready
        assert "run `bridge instruments sync paper`" in message
        await until(lambda: "instruments" not in bridge.ready(), "the list of the day")
        assert bridge.catalog.listing.facts.day == FRIDAY


@played
async def test_command_follows_a_sync_to_its_end(desk, clock, tmp_path):
    """What the command shows: how far it is, and the list that is in use then."""
    async with serving(desk, clock, tmp_path) as (_, ours):
        await until_async(lambda: _ended(ours), "the bridge's own sync")
        await ours.post("/instruments/sync", {"account": "paper"})
        out = io.StringIO()
        told = await follow_sync(ours, out)

        assert told["sync"]["phase"] == "done"
        assert (told["day"], told["trouble"]) == ("2026-11-20", "")
        assert out.getvalue().splitlines()[-1] == "Done."
        with pytest.raises(CommandError, match="'nobody' has no list"):
            await ours.post("/instruments/sync", {"account": "nobody"})
        with pytest.raises(CommandError, match="has no list"):
            await ours.post("/instruments/sync", {})


@played
async def test_list_outlives_a_restart(desk, clock, tmp_path):
    """The next start takes the newest list and not the sample."""
    async with serving(desk, clock, tmp_path) as (_, ours):
        await until_async(lambda: _ended(ours), "the bridge's own sync")

    assert Bridge(make_settings(tmp_path), clock).catalog.listing.facts.day == FRIDAY


async def _ended(ours: Client) -> bool:
    told = await ours.get("/instruments")
    return bool(told.get("sync", {}).get("phase") == "done")


def run_bridge(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env = {"PYTHONPATH": str(ROOT), "PATH": "", "BRIDGE_DATA_DIR": str(folder / "data")}
    env["BRIDGE_DATABASE__URL"] = f"sqlite:///{folder / 'data' / 'bridge.db'}"
    return subprocess.run(
        [sys.executable, "-m", "bridge", *words], cwd=ROOT, env=env, text=True, capture_output=True, timeout=60, check=False
    )


def test_command_on_an_account_without_a_list_fails_with_the_mend(tmp_path):
    """Exit code 1, one line, no traceback."""
    done = run_bridge(tmp_path, "instruments", "sync", "paper")

    assert done.returncode == 1
    assert done.stderr == "bridge: Account 'paper' has no list of instruments to fetch. No account has one.\n"


def test_bridge_without_a_kite_account_loads_nothing_of_kite(tmp_path):
    """Neither the dump's module nor its HTTP client, until an account needs them."""
    code = (
        "import sys; from bridge.bootstrap import Bridge; from bridge.settings import load_settings; Bridge(load_settings());"
        "print([m for m in ('httpx', 'kiteconnect', 'requests', 'bridge.brokers.kite.dump') if m in sys.modules])"
    )
    env = {"PYTHONPATH": str(ROOT), "PATH": "", "BRIDGE_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, text=True, capture_output=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
