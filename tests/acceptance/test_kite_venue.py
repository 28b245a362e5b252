"""`bridge venue --kite` as somebody at a terminal has it: what it prints is enough to connect, and a crash loses nothing."""

import json
import signal
import subprocess
import sys

import httpx

from tests.support.kite_venue import KiteVenue
from tests.support.server import clean_env


def test_what_is_printed_is_enough_to_trade_and_kill_minus_nine_loses_nothing(tmp_path):
    """Log in by the page, place, kill, start again on the same folder: book and login are there."""
    first = KiteVenue(tmp_path, "--port", "0", "--redirect", "http://127.0.0.1:1/back").wait()
    answer = httpx.post(first.told("log in at"), trust_env=False)
    token = httpx.URL(answer.headers["location"]).params["request_token"]
    client = first.client()
    client.generate_session(token, first.told("api_secret"))
    httpx.post(f"{first.told('root')}/sandbox/price", json={"symbol": "NSE:SBIN", "price": "800"}, trust_env=False)
    order_id = client.place_order("regular", "NSE", "SBIN", "BUY", 10, "MIS", "LIMIT", price=790, tag="kept")
    client.reqsession.close()
    first.end(signal.SIGKILL)

    second = KiteVenue(tmp_path, "--port", "0").wait()
    client = second.client(client.access_token)
    (row,) = client.orders()
    assert (row["order_id"], row["tag"], row["status"]) == (order_id, "kept", "OPEN")
    assert client.ltp("NSE:SBIN")["NSE:SBIN"]["last_price"] == 800
    client.reqsession.close()
    assert second.end() == 0
    assert "Traceback" not in second.log.read_text()


def test_two_venues_on_one_folder_and_one_for_others_are_refused(tmp_path):
    """One line each, exit code 2; anybody may log in, so nobody else may come."""
    first = KiteVenue(tmp_path, "--port", "0").wait()
    port = json.loads((tmp_path / "data" / "venue.lock").read_text())["port"]
    wrong = {
        "another venue": ["--port", "0"],
        "this machine only": ["--host", "0.0.0.0"],
        "in use": ["--port", str(port), "--data", str(tmp_path / "other")],
        "redirect_url": ["--data", str(tmp_path / "third"), "--redirect", "ftp://x"],
    }
    env = clean_env(BRIDGE_INSTRUMENTS=str(tmp_path / "instruments.csv"))
    command = [sys.executable, "-m", "bridge", "venue", "--kite", "--data", str(tmp_path / "data")]
    started = {
        told: subprocess.Popen([*command, *options], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        for told, options in wrong.items()
    }
    for told, process in started.items():
        _, error = process.communicate(timeout=60)
        assert process.returncode == 2, error
        assert told in error
        assert error.count("\n") == 1
    assert first.end() == 0
