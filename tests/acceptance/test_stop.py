"""SIGTERM: nothing new is taken, what is under way ends, the rest is taken up by the next start, and nothing is in doubt."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hanging import LIMIT
from tests.support.senders import THREADS, Senders
from tests.support.server import WEBHOOK, Served
from tests.support.waiting import wait_for

ALERTS = 100


def config(**account: Any) -> dict[str, Any]:
    return {"accounts": {"paper": {"broker": "paper", "cash": 100_000_000, "session": "always", **account}}}


def count(server: Served, sql: str) -> int:
    return int(server.rows(sql)[0][0])


def all_filled_once(server: Served, ids: set[str]) -> None:
    """Every acknowledged alert has come to one fill at the broker, and all books agree."""
    wait_for(lambda: not count(server, "SELECT COUNT(*) FROM alerts WHERE disposition IS NULL"), "all ends", 40)
    ends = server.rows("SELECT alert_id, disposition, code FROM alerts")
    assert {row[0] for row in ends} >= ids
    assert {row[1:] for row in ends} == {("done", "FILLED")}
    assert count(server, "SELECT COUNT(*) FROM paper_orders") == count(server, "SELECT COUNT(*) FROM fills") == len(ends)
    server.check_books()


@pytest.mark.parametrize("account", [{}, {"orders_per_second": 20}], ids=["at full speed", "most still unsent"])
def test_acknowledged_alerts_end_as_they_should_across_a_stop(tmp_path: Path, account: dict[str, Any]) -> None:
    """One hundred alerts, SIGTERM at once, start: each is filled once, and not one order was ever in doubt."""
    with Served(tmp_path, config=config(**account)) as server:
        sent = Senders(server, server.mint()["token"], ALERTS).join()
        assert len(sent.accepted) == ALERTS
        assert server.stop() == 0
        left = count(server, "SELECT COUNT(*) FROM orders WHERE status = 'NEW'")
        assert count(server, "SELECT COUNT(*) FROM orders WHERE status = 'PENDING'") == 0
        assert left > 0 or not account  # else this test would try nothing
        server.start()
        all_filled_once(server, set(sent.accepted))
        assert count(server, "SELECT COUNT(*) FROM audit WHERE action = 'order_in_doubt'") == 0
        assert server.stop() == 0


def test_acknowledged_alerts_end_as_they_should_across_kill_9(tmp_path: Path) -> None:
    """The same without a word: here what was being sent is looked up, and still nothing is lost or done twice."""
    with Served(tmp_path, config=config(orders_per_second=20)) as server:
        sent = Senders(server, server.mint()["token"], ALERTS).join()
        server.kill()
        assert count(server, "SELECT COUNT(*) FROM orders WHERE status = 'NEW'") > 0
        server.start()
        all_filled_once(server, set(sent.accepted))
        assert server.stop() == 0


def test_a_stop_in_the_middle_of_load_loses_nothing_and_tells_every_sender(tmp_path: Path) -> None:
    """Each alert is answered 200 and kept, or 503 and not; who was cut off at the very end sends again like after a 503."""
    with Served(tmp_path, config=config(orders_per_second=200)) as server:
        token = server.mint()["token"]
        done: dict[str, str] = {}
        for _ in range(3):
            senders = Senders(server, token, 100_000)
            wait_for(partial(senders.has_accepted, ALERTS), "the load", step_s=0.001)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            senders.join()
            assert len(senders.unanswered) <= THREADS
            done |= senders.accepted
            server.start()
            stored = {row[0] for row in server.rows("SELECT alert_id FROM alerts")}
            assert set(done) <= stored
            again = [server.post(body) for body in (*senders.unavailable, *senders.unanswered)]
            assert {answer.status_code for answer in again} <= {200}
            told = [answer.json()["status"] for answer in again]
            assert set(told[: len(senders.unavailable)]) <= {"accepted"}  # a 503 had stored nothing
            done |= {answer.json()["alert_id"]: "" for answer in again}
        all_filled_once(server, set(done))
        assert count(server, "SELECT COUNT(*) FROM alerts") == len(done)
        assert count(server, "SELECT COUNT(*) FROM audit WHERE action = 'order_in_doubt'") == 0
        assert server.stop() == 0


# -- a broker that hangs ----------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Served]:
    """A bridge whose broker has an order and says nothing; its stop waits 3 s for it."""
    with Served(tmp_path, module="tests.support.hanging", env={LIMIT: "3"}) as server:
        server.send(server.mint()["token"], action="buy", quantity="1")
        wait_for(lambda: server.rows("SELECT status FROM orders") == [("PENDING",)], "the order to leave")
        yield server


def stopping_for(server: Served) -> float:
    """Wait for the end; the seconds it took."""
    began = time.monotonic()
    assert server.wait() == 0
    return time.monotonic() - began


def test_while_it_stops_it_listens_answers_503_and_takes_a_halt(hanging: Served) -> None:
    """TradingView sends again after a 503, and perhaps not after a refused connection."""
    token = hanging.mint()["token"]
    body = hanging.body(token, action="buy", quantity="1")
    hanging.signal(signal.SIGTERM)
    answer = wait_for(lambda: (got := hanging.post(body)).status_code == 503 and got, "the first 503")
    assert isinstance(answer, httpx.Response)
    assert answer.json()["status"] == "unavailable"
    assert "stopping" in answer.json()["message"]
    with httpx.Client(base_url=hanging.url) as fresh:  # a new connection is taken, too
        assert fresh.post(WEBHOOK, content=json.dumps(body)).status_code == 503
        ready = fresh.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]["bridge"]["ok"]) == (503, False)
        assert fresh.get("/healthz").status_code == 200
        assert fresh.get("/").status_code == 200
        assert fresh.post("/api/v1/halt", headers=hanging.bearer).json()["mode"] == "REDUCING"
        hanging.signal(signal.SIGTERM)
    hanging.wait()
    assert count(hanging, "SELECT COUNT(*) FROM trading_states WHERE mode = 'REDUCING'") == 1
    assert (
        len(hanging.rows("SELECT alert_id FROM alerts")) <= 2
    )  # the one before, and perhaps one that was faster than the stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_broker_that_hangs_holds_up_the_stop_no_longer_than_the_limit(hanging: Served, number: signal.Signals) -> None:
    """The order stays PENDING, for the next start to look up, and the log says which it is."""
    hanging.signal(number)
    assert 2.5 < stopping_for(hanging) < 6
    [(status, ident)] = hanging.rows("SELECT status, cl_ord_id FROM orders")
    assert status == "PENDING"
    [line] = [line for line in hanging.log.read_text().splitlines() if "broker_calls_cut_off" in line]
    assert json.loads(line)["orders"] == [ident]
    hanging.start()
    wait_for(lambda: hanging.rows("SELECT status FROM orders") == [("IN_DOUBT",)], "the doubt")
    hanging.signal(signal.SIGTERM)
    assert stopping_for(hanging) < 2  # a look into the book holds nothing up


def test_a_second_signal_ends_it_at_once(hanging: Served) -> None:
    """Whoever is in a hurry loses nothing: what is on disk is all that was acknowledged."""
    hanging.signal(signal.SIGINT)
    wait_for(lambda: hanging.http.get("/readyz").status_code == 503, "the stop to begin")
    hanging.signal(signal.SIGINT)
    assert stopping_for(hanging) < 1.5
    assert hanging.rows("SELECT status FROM orders") == [("PENDING",)]
    assert hanging.command("audit", "verify").returncode == 0


def test_a_stream_ends_with_the_bridge_and_not_before(hanging: Served) -> None:
    """A page that is open sees to the last what happens, and does not hold up the end."""
    with httpx.stream("GET", f"{hanging.url}/api/v1/events", headers=hanging.bearer, timeout=20) as stream:
        lines = stream.iter_lines()
        assert "hello" in next(line for line in lines if line.startswith("event"))
        hanging.signal(signal.SIGTERM)
        wait_for(lambda: hanging.http.get("/readyz").status_code == 503, "the stop to begin")
        hanging.api("POST", "/halt")
        assert "changed" in next(line for line in lines if line.startswith("event"))
        list(lines)  # comes to its end by itself
    assert stopping_for(hanging) < 2


def test_told_to_stop_while_it_starts_it_ends_well_and_starts_again(tmp_path: Path) -> None:
    """SIGTERM at any moment of the start: exit code 0 once it can hear signals, and nothing is left locked."""
    server = Served(tmp_path)
    for moment in (0.3, 0.5, 0.7, 0.9):
        starting = threading.Thread(target=_start_in_vain, args=(server,))
        starting.start()
        wait_for(lambda: server.process is not None, "the process")
        process = server.process
        assert process is not None
        # A moment between the first file and the first answer: that is what is tried here, not a wait for something.
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)
        starting.join(40)
        server.process = None
    with server:
        assert server.done(server.mint()["token"], action="buy", quantity="1")["code"] == "FILLED"


def _start_in_vain(server: Served) -> None:
    try:
        server.start()
    except AssertionError:
        return  # it ended before it answered
