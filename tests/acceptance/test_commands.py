"""The story of a person at a terminal: every command of the contract, with and without a bridge that runs."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import time
from contextlib import closing

import httpx
import pytest

from tests.support.terminal import Terminal
from tests.support.waiting import wait_for

PASSWORD = "correct horse battery"


@pytest.fixture
def terminal(tmp_path):
    return Terminal(folder=tmp_path)


def new_token(terminal, *words):
    done = terminal.run("alert", "new", "--strategy", "demo", "--json", *words)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_serve_tells_where_it_listens_and_ends_well_when_told_to(terminal):
    """The ready line comes once requests are answered; other commands find the address; SIGTERM is a success."""
    with terminal.serve() as bridge:
        assert httpx.get(f"{bridge.url}/healthz", trust_env=False).json() == {"status": "ok"}
        told = json.loads((terminal.folder / "data" / "bridge.lock").read_text())
        assert told == {"pid": bridge.process.pid, "host": "127.0.0.1", "port": int(bridge.url.rpartition(":")[2])}
        assert bridge.stop(signal.SIGTERM) == 0
    assert "Traceback" not in terminal.errors()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_stream_does_not_hold_up_the_end(terminal, number):
    """A page that is open listens for hours; the bridge ends all the same, and tells the stream so."""
    with terminal.serve() as bridge:
        headers = {"authorization": f"Bearer {bridge.token}"}
        with httpx.stream("GET", f"{bridge.url}/api/v1/events", headers=headers, trust_env=False, timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            began = time.monotonic()
            bridge.process.send_signal(number)
            for _line in lines:
                pass
        assert bridge.process.wait(20) == 0
        assert time.monotonic() - began < 5


def test_serve_refuses_to_be_reachable_without_a_password(terminal):
    """Only loopback goes without an operator password; the message names the command that sets one."""
    refused = terminal.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 2
    assert "bridge operator password" in refused.err
    assert terminal.run("operator", "password", "--stdin", stdin="too short\n").code == 2
    assert terminal.run("operator", "password", "--stdin", stdin=f"{PASSWORD}\n").code == 0
    kept = terminal.folder / "data" / "operator.hash"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in kept.read_text()
    with terminal.serve("--host", "0.0.0.0") as bridge:
        assert bridge.url.startswith("http://127.0.0.1:")
        assert terminal.run("halt").code == 0, "the command finds a bridge that is bound to every address"


def test_a_busy_port_is_told_as_such(terminal):
    """Not a traceback but the port, and how to name another."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = terminal.run("serve", "--port", str(port))
    assert done.code == 2
    assert f"port {port} of 127.0.0.1 is in use" in done.err
    assert "--port" in done.err


def test_a_second_bridge_on_the_same_folder_refuses(terminal):
    """Two bridges on one store would send twice."""
    with terminal.serve() as bridge:
        same_folder = terminal.run("serve", "--port", "0")
        assert (same_folder.code, "another bridge is running" in same_folder.err) == (2, True)
        same_port = terminal.run("serve", "--port", bridge.url.rpartition(":")[2])
        assert (same_port.code, f"pid {bridge.process.pid}" in same_port.err) == (2, True)
        assert httpx.get(f"{bridge.url}/healthz", trust_env=False).is_success


def test_a_token_made_beside_a_running_bridge_lets_alerts_in_until_it_is_revoked(terminal):
    """`alert new` talks to the bridge that runs; so does `alert revoke`, and the token is worthless at once."""
    with terminal.serve() as bridge:
        made = new_token(terminal, "--symbol", "NSE:SBIN", "--max-quantity", "10")
        assert made["url"] == f"{bridge.url}/webhook/tradingview"
        assert json.loads(made["message"])["token"] == made["token"]
        way = bridge.trade(made["token"], action="buy", quantity="10")
        assert (way["disposition"], way["code"]) == ("done", "FILLED")
        assert bridge.alert(made["token"], action="buy", quantity="11").json()["code"] == "E_SCOPE"
        assert bridge.alert(made["token"], action="buy", quantity="1", symbol="NSE:TCS").json()["code"] == "E_SCOPE"
        listed = terminal.run("alert", "list")
        assert re.search(rf"^{made['token_id']}  valid .*symbols NSE:SBIN; max_quantity 10", listed.out, re.MULTILINE)
        assert terminal.run("alert", "revoke", made["token_id"]).code == 0
        assert bridge.alert(made["token"], action="buy", quantity="1").status_code == 401
        assert re.search(rf"^{made['token_id']}  ended .*revoked", terminal.run("alert", "list").out, re.MULTILINE)
        assert bridge.stop() == 0
    assert made["token"] not in terminal.errors()


def test_a_token_made_while_no_bridge_runs_is_good_later(terminal):
    """Without a running bridge the command works on the store itself, and leaves no process behind."""
    kept, dropped = new_token(terminal), new_token(terminal, "--expires", "2099-12-31")
    assert terminal.run("alert", "revoke", dropped["token_id"]).code == 0
    with terminal.serve() as bridge:
        assert bridge.alert(kept["token"], action="buy", quantity="1").json()["status"] == "accepted"
        assert bridge.alert(dropped["token"], action="buy", quantity="1").status_code == 401


def test_the_message_can_be_pasted_as_it_is_printed(terminal):
    """The human form has URL and message on lines of their own, and says when TradingView cannot reach the URL."""
    local = terminal.run("alert", "new", "--strategy", "demo", "--action", "target")
    lines = [line.strip() for line in local.out.splitlines()]
    message = json.loads(next(line for line in lines if line.startswith("{")))
    assert message["target"] == "{{strategy.position_size}}"
    assert "http://127.0.0.1:8000/webhook/tradingview" in lines
    assert "server.public_url" in local.err
    public = terminal.run("alert", "new", "--strategy", "demo", BRIDGE_SERVER__PUBLIC_URL="https://bridge.example.org/")
    assert "https://bridge.example.org/webhook/tradingview" in public.out
    assert public.err == ""


def test_a_wrong_claim_is_refused_with_its_mend(terminal):
    """What the bridge refuses is one line on standard error."""
    done = terminal.run("alert", "new", "--strategy", "dmeo")
    assert (done.code, done.out) == (1, "")
    assert done.err == "bridge: There is no strategy 'dmeo'. Known: demo.\n"
    assert terminal.run("alert", "revoke", "NOSUCHTOKEN").code == 1


def test_halt_and_resume_reach_the_running_bridge(terminal):
    """After `halt` no entry leaves and exits do; `resume` takes it back; scopes are halted one by one."""
    with terminal.serve() as bridge:
        token = bridge.mint()
        assert bridge.trade(token, action="buy", quantity="10")["disposition"] == "done"
        assert "REDUCING" in terminal.run("halt").out
        assert bridge.get("/status")["mode"] == "REDUCING"
        denied = bridge.trade(token, action="buy", quantity="1", price="812.6")
        assert (denied["disposition"], denied["code"]) == ("denied", "HALTED")
        assert bridge.trade(token, action="exit", price="812.7")["disposition"] == "done"
        assert "HALTED" in terminal.run("halt", "--all").out
        assert terminal.run("resume").code == 0
        assert terminal.run("halt", "--account", "paper").code == 0
        modes = {state["scope"]: state["mode"] for state in bridge.get("/status")["states"]}
        assert modes == {"global": "ACTIVE", "account": "REDUCING"}
        unknown = terminal.run("halt", "--strategy", "nope")
        assert (unknown.code, "There is no strategy 'nope'" in unknown.err) == (1, True)


def test_a_halt_while_no_bridge_runs_is_in_force_when_one_starts(terminal):
    """The halt is on disk before the command ends, so it holds whatever starts afterwards, also after a kill -9."""
    assert terminal.run("halt", "--strategy", "demo").code == 0
    with terminal.serve() as bridge:
        token = bridge.mint()
        assert bridge.trade(token, action="buy", quantity="1")["code"] == "HALTED"
        bridge.stop(signal.SIGKILL)
    with terminal.serve() as bridge:
        assert bridge.trade(token, action="buy", quantity="2")["code"] == "HALTED"


def test_a_shell_without_the_secret_of_an_app_can_halt_and_cannot_serve(terminal):
    """The secret is in the service's environment alone; the kill switch must not fail by it."""
    kite = {"BRIDGE_ACCOUNTS__ZERODHA__BROKER": "kite", "BRIDGE_ACCOUNTS__ZERODHA__API_KEY": "abc"}
    halted = terminal.run("halt", "--all", **kite)
    assert (halted.code, "HALTED" in halted.out) == (0, True)
    refused = terminal.run("serve", **kite)
    assert (refused.code, "set BRIDGE_ACCOUNTS__ZERODHA__API_SECRET" in refused.err) == (2, True)


def test_status_tells_a_running_bridge_from_a_stopped_one(terminal):
    """0 only when a bridge runs; what is open is told in both cases, also after a kill -9."""
    assert terminal.run("status").code == 1
    with terminal.serve() as bridge:
        token = bridge.mint()
        assert bridge.trade(token, action="buy", quantity="7")["disposition"] == "done"
        rests = bridge.alert(token, action="buy", quantity="2", order_type="LIMIT", price="700").json()["alert_id"]
        wait_for(lambda: [o["status"] for o in bridge.get(f"/alerts/{rests}")["orders"]] == ["PLACED"], "the order")
        running = terminal.run("status")
        assert (running.code, bridge.url in running.out) == (0, True)
        assert re.search(r"^position +paper NSE:SBIN MIS 7 at ", running.out, re.MULTILINE)
        assert re.findall("^order .*", running.out, re.MULTILINE) == [
            f"order     paper BUY NSE:SBIN LIMIT: PLACED, 0 of 2 filled; {rests}-1"
        ]
        bridge.stop(signal.SIGKILL)
    stopped = terminal.run("status")
    assert (stopped.code, "no bridge is running" in stopped.out) == (1, True)
    assert re.search(r"^position +paper NSE:SBIN MIS 7 at ", stopped.out, re.MULTILINE)
    assert f"PLACED, 0 of 2 filled; {rests}-1" in stopped.out


def test_flatten_closes_what_is_open_through_the_running_bridge(terminal):
    """It waits for the ends and tells each."""
    with terminal.serve() as bridge:
        assert bridge.trade(bridge.mint(), action="sell", quantity="5")["disposition"] == "done"
        done = terminal.run("flatten", "--account", "paper")
        assert (done.code, "5 filled" in done.out) == (0, True)
        assert bridge.get("/positions") == []
        assert terminal.run("flatten").out == "No position is open.\n"
        assert terminal.run("flatten", "--account", "nope").code == 1


@pytest.fixture(scope="module")
def trade_of_before(tmp_path_factory):
    """A store with one trade in it, made once."""
    terminal = Terminal(folder=tmp_path_factory.mktemp("traded"))
    with terminal.serve() as bridge:
        assert bridge.trade(bridge.mint(), action="buy", quantity="5")["disposition"] == "done"
        running = terminal.run("audit", "verify")
        assert (running.code, "The audit is whole" in running.out) == (0, True)
        assert bridge.stop() == 0
    return terminal.folder / "data"


@pytest.fixture
def traded(terminal, trade_of_before):
    """A copy of it, and no bridge."""
    shutil.copytree(trade_of_before, terminal.folder / "data")
    return terminal


def edit(terminal, sql):
    with closing(sqlite3.connect(terminal.folder / "data" / "bridge.db")) as database:
        database.execute(sql)
        database.commit()


def head_of(out):
    found = re.search(r"^head ((\d+):[0-9a-f]{64})$", out, re.MULTILINE)
    assert found
    return found[1], int(found[2])


def test_audit_verify_accepts_its_own_head_later(traded):
    """A head that was noted stays part of the chain as it grows."""
    head, count = head_of(traded.run("audit", "verify").out)
    assert traded.run("halt").code == 0
    later = traded.run("audit", "verify", "--head", head)
    assert (later.code, head_of(later.out)[1]) == (0, count + 1)
    forged = traded.run("audit", "verify", "--head", f"{count}:{'0' * 64}")
    assert (forged.code, f"record {count} is not the one that was noted" in forged.err) == (1, True)
    assert traded.run("audit", "verify", "--head", "12").code == 2


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_audit_export_hands_out_every_record_with_what_it_tells_of(traded, ending):
    """The chain's numbers and hashes, the alert, the order and its fill; the digest is the file's, as sha256sum writes it."""
    head, count = head_of(traded.run("audit", "verify").out)
    out = traded.folder / f"audit.{ending}"
    done = traded.run("audit", "export", "--from", "2026-01-01", "--out", str(out))
    assert done.code == 0, done.err
    assert done.out == f"{hashlib.sha256(out.read_bytes()).hexdigest()}  {out}\n"
    assert f"head {head}" in done.err
    assert out.stat().st_mode & 0o077 == 0
    if ending == "csv":
        with out.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
    else:
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [int(row["seq"]) for row in rows] == list(range(1, count + 1))
    assert rows[-1]["hash"] == head.partition(":")[2]
    by_action = {row["action"]: row for row in rows}
    arrival, fill = by_action["alert_accepted"], by_action["order_fill"]
    assert (arrival["source"], '"quantity"' in arrival["body"], "[token]" in arrival["body"]) == ("tradingview", True, True)
    assert (fill["symbol"], fill["side"], fill["last_qty"], fill["account"]) == ("NSE:SBIN", "BUY", "5", "paper")
    assert fill["transact_time"].endswith("Z")
    assert sorted(path.name for path in traded.folder.glob("audit.*")) == [f"audit.{ending}"]


def test_audit_verify_finds_an_edited_record(traded):
    """The first record that does not hold is named."""
    edit(traded, "UPDATE audit SET message = 'nothing to see' WHERE seq = 4")
    done = traded.run("audit", "verify")
    assert (done.code, "record 4 was changed" in done.err) == (1, True)


def test_audit_verify_finds_a_record_taken_out_of_the_middle(traded):
    """A gap is named."""
    edit(traded, "DELETE FROM audit WHERE seq = 4")
    done = traded.run("audit", "verify")
    assert (done.code, "record 4 is missing" in done.err) == (1, True)


def test_audit_verify_finds_a_last_record_that_was_cut_off(traded):
    """Nothing after a cut shows it, so the head that was noted does."""
    head, count = head_of(traded.run("audit", "verify").out)
    edit(traded, f"DELETE FROM audit WHERE seq = {count}")
    done = traded.run("audit", "verify", "--head", head)
    assert (done.code, f"record {count} is missing" in done.err) == (1, True)


def test_audit_verify_finds_alerts_that_a_cut_left_untold(traded):
    """Without a noted head a cut still shows by what happened and is told nowhere."""
    edit(traded, "DELETE FROM audit WHERE seq >= (SELECT min(seq) FROM audit WHERE alert_id <> '')")
    done = traded.run("audit", "verify")
    assert (done.code, "its end was cut off" in done.err) == (1, True)


def test_audit_verify_proves_nothing_without_the_key(traded):
    """A new key would prove an empty nothing, so none is made."""
    key = traded.folder / "data" / "secret.key"
    key.unlink()
    done = traded.run("audit", "verify")
    assert (done.code, "master key" in done.err) == (2, True)
    assert not key.exists()


def test_flatten_and_reconcile_work_while_no_bridge_runs(traded):
    """A bridge of the command's own, without a socket, does it and is gone."""
    agreed = traded.run("reconcile")
    assert (agreed.code, "agree" in agreed.out) == (0, True)
    assert traded.run("flatten").code == 0
    with traded.serve() as bridge:
        assert bridge.get("/positions") == []
        assert [trade["status"] for trade in bridge.get("/trades")] == ["CLOSED"]


def test_flatten_says_when_it_may_not(traded):
    """Under `halt --all` exits do not leave either: the position stays, and the exit code says so."""
    assert traded.run("halt", "--all").code == 0
    done = traded.run("flatten")
    assert (done.code, "denied" in done.out) == (1, True)
    assert "position  paper NSE:SBIN MIS 5" in traded.run("status").out


def test_reconcile_shows_drift_with_both_numbers(traded):
    """Books that differ are told, not mended; the exit code says so."""
    edit(traded, "UPDATE paper_positions SET quantity = '3'")
    done = traded.run("reconcile")
    assert done.code == 1
    assert "NSE:SBIN MIS: ours 5, the broker's 3" in done.out


def test_reconcile_accepts_a_difference_as_it_stands(traded):
    """Afterwards books count as agreed, over restarts, until they differ by anything else."""
    edit(traded, "UPDATE paper_positions SET quantity = '3'")
    nothing = traded.run("reconcile", "--accept", "NSE:TCS")
    assert (nothing.code, "No difference is known in NSE:TCS" in nothing.err) == (1, True)
    assert traded.run("reconcile", "--accept", "NSE:SBIN", "--account", "nobody").code == 1
    done = traded.run("reconcile", "--accept", "NSE:SBIN", "--account", "paper")
    assert done.code == 0
    assert "accepted: NSE:SBIN: we hold 5 MIS, the broker says 3 MIS." in done.out
    agreed = traded.run("reconcile")
    assert (agreed.code, "accepted by api" in agreed.out) == (0, True)
    edit(traded, "UPDATE paper_positions SET quantity = '4'")
    assert traded.run("reconcile").code == 1


def test_reconcile_tells_of_orders_that_this_bridge_did_not_place(traded):
    """Each with its id; they are no difference."""
    edit(traded, "UPDATE paper_orders SET tag = ''")
    done = traded.run("reconcile")
    assert (done.code, "not from this bridge" in done.out, "placed elsewhere: " in done.out) == (0, True, True)


def test_check_is_content_with_a_fresh_folder_and_with_a_running_bridge(terminal):
    """It changes nothing: no folder is made, no database."""
    fresh = terminal.run("check")
    assert (fresh.code, "0 to mend" in fresh.out) == (0, True)
    assert not (terminal.folder / "data").exists()
    with terminal.serve() as bridge:
        running = terminal.run("check")
        assert (running.code, f"pid {bridge.process.pid}" in running.out) == (0, True)
        assert re.search(r"^ok +broker paper +works", running.out, re.MULTILINE)


def test_check_names_each_fault_with_its_mend(terminal):
    """Secrets that others can read, a bind without a password, a store of a newer bridge."""
    with terminal.serve() as bridge:
        assert bridge.stop() == 0
    os.chmod(terminal.folder / "data" / "secret.key", 0o644)
    edit(terminal, "UPDATE alembic_version SET version_num = '9999'")
    done = terminal.run("check", BRIDGE_SERVER__HOST="0.0.0.0")
    assert done.code == 1
    for text in ("chmod 600 data/secret.key", "bridge operator password", "revision 9999", "3 to mend"):
        assert text in done.out


def test_a_command_waits_for_another_that_is_at_work(terminal):
    """Two commands at once work on the store one after the other."""
    with terminal.start("halt") as first:
        second = terminal.run("resume")
        assert second.code == 0, second.err
        assert first.wait(30) == 0


@pytest.mark.postgres
def test_commands_keep_off_a_database_that_a_bridge_elsewhere_works_on(tmp_path, postgres_url):
    """Another folder has no lock file to see; the lock in PostgreSQL guards."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    here, there = (Terminal(folder=folder, env={"BRIDGE_DATABASE__URL": postgres_url}) for folder in folders)
    with there.serve() as bridge:
        done = here.run("halt")
        assert (done.code, "another bridge is working on this database" in done.err) == (1, True)
        assert bridge.get("/status")["mode"] == "ACTIVE"
        assert bridge.trade(bridge.mint(), action="buy", quantity="5")["disposition"] == "done"
        assert there.run("audit", "verify").code == 0
        assert bridge.stop() == 0
    assert there.run("flatten").code == 0
    assert there.run("check").code == 0
    wait_for(lambda: there.run("halt").code == 0, "the lock of the bridge that has ended")


def test_the_kill_switch_reaches_the_broker_also_without_a_running_bridge(terminal):
    """The command works the lanes itself then, and waits for the broker's answer."""
    with terminal.serve() as bridge:
        alert = {"action": "buy", "quantity": "1", "order_type": "LIMIT", "price": "500"}
        assert bridge.alert(new_token(terminal)["token"], **alert).json()["status"] == "accepted"
        assert bridge.stop() == 0
    done = terminal.run("halt", "--all", "--cancel")
    assert (done.code, "HALTED" in done.out) == (0, True), done.err
    with closing(sqlite3.connect(terminal.folder / "data" / "bridge.db")) as base:
        assert base.execute("SELECT status FROM orders").fetchall() == [("CANCELLED",)]
