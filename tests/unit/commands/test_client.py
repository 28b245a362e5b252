"""How a command finds its bridge."""

import json
from pathlib import Path

import httpx
import pytest

from bridge.commands.alerts import reach_hint
from bridge.commands.client import Client, CommandError, database_file
from bridge.commands.running import find_running, url_of
from bridge.settings import load_settings
from bridge.store.backend import ProcessLock
from tests.support.plays import play


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("192.168.1.5", "http://192.168.1.5:80"),
    ],
)
def test_a_bridge_is_reached_where_it_listens(host, url):
    """What is bound to every address is reached on loopback."""
    assert url_of(host, 80) == url


def test_a_folder_that_is_free_has_no_bridge_however_its_file_reads(tmp_path):
    """The lock counts, not what a dead process left in the file."""
    assert find_running(tmp_path / "none") is None
    (tmp_path / "bridge.lock").write_text(json.dumps({"pid": 1, "host": "127.0.0.1", "port": 8000}))
    assert find_running(tmp_path) is None


@pytest.mark.parametrize(
    ("info", "url"),
    [
        ({"pid": 7, "host": "0.0.0.0", "port": 8000}, "http://127.0.0.1:8000"),
        ({"pid": 7}, None),
        ({"pid": 7, "host": 1, "port": "x"}, None),
    ],
)
def test_a_folder_that_is_held_tells_by_whom_and_where(tmp_path, info, url):
    """One that has not told its address yet is still starting."""
    holder = ProcessLock(tmp_path)
    assert holder.acquire()
    try:
        holder.write(info)
        running = find_running(tmp_path)
        assert running is not None
        assert (running.pid, running.url) == (7, url)
        assert "pid 7" in str(running)
    finally:
        holder.release()
    assert find_running(tmp_path) is None


def answering(status, content):
    return httpx.MockTransport(lambda _request: httpx.Response(status, content=content))


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (422, b'{"message": "Wrong.", "hint": "Write it so."}', "Wrong. Write it so."),
        (404, b'{"message": "There is none."}', "There is none."),
        (500, b"{}", "HTTP 500"),
        (502, b"<html>", "gave no answer"),
    ],
)
def test_a_refusal_of_the_api_is_told_in_its_words(status, content, told):
    """Message and hint; what is no answer of a bridge is said to be none."""

    async def story():
        async with httpx.AsyncClient(transport=answering(status, content), base_url="http://bridge") as http:
            with pytest.raises(CommandError, match=told):
                await Client(http, "http://bridge").post("/halt")

    play(story)


def test_a_bridge_that_does_not_answer_is_told_with_its_address():
    """The person knows where to look."""

    def refuse(request):
        raise httpx.ConnectError("refused")

    async def story():
        async with httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://bridge") as http:
            with pytest.raises(CommandError, match=r"http://bridge \(pid 7\) gave no answer: ConnectError"):
                await Client(http, "http://bridge (pid 7)").get("/status")

    play(story)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///data/bridge.db", Path("data/bridge.db")),
        ("sqlite:////srv/bridge.db?timeout=1", Path("/srv/bridge.db")),
        ("postgresql+psycopg://user@host/name", None),
    ],
)
def test_the_file_of_a_database_is_known_without_opening_it(url, file):
    """Opening would make its folder."""
    assert database_file(load_settings(database={"url": url})) == file


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://bridge.example.org/webhook/tradingview", ""),
        ("https://bridge.example.org:443/webhook/tradingview", ""),
        ("https://bridge.example.org:8000/webhook/tradingview", "ports 80 and 443"),
        ("http://bridge.example.org/webhook/tradingview", "https"),
        ("http://localhost/webhook/tradingview", "cannot reach"),
        ("http://[::1]:80/webhook/tradingview", "cannot reach"),
        ("http://0.0.0.0:80/webhook/tradingview", "cannot reach"),
    ],
)
def test_an_address_that_tradingview_cannot_deliver_to_is_told(url, hint):
    """Better now than by alerts that never come."""
    assert hint in reach_hint(url)
    assert bool(hint) == bool(reach_hint(url))
