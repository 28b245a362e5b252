"""The ban list from the exchange's address: taken when it is today's, refused by name when it is anything else."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bridge.ban_fetch import BanFetch
from bridge.bootstrap import Bridge
from bridge.cli import main
from bridge.market.ban import ban_from_json
from bridge.market.exchange_lists import read_ban_day
from tests.support.clocks import StillClock
from tests.support.rigs import make_settings

# Monday, 06:59 in India.
EARLY = datetime(2026, 11, 23, 1, 29, tzinfo=UTC)
TODAY = "Securities in Ban For Trade Date 23-NOV-2026:\n1,SBIN\n2,M&M\n"
FRIDAYS = TODAY.replace("23-", "20-")


class Exchange:
    """An address that answers with what it is told to."""

    def __init__(self) -> None:
        self.body, self.status = TODAY.encode(), 200
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(str(self.headers["User-Agent"]))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/content/fo/fo_secban.csv"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def folder(tmp_path: Path, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lists are kept by a command, whose settings name the address."""
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BRIDGE_EXCHANGE__BAN_URL", exchange.url)
    return tmp_path / "data" / "exchange"


def test_a_list_is_fetched_and_kept_with_its_source(folder, exchange, capsys):
    """By an agent that the exchange answers."""
    assert main(["instruments", "ban", "--fetch"]) == 0
    assert capsys.readouterr().out.startswith("F&O ban of 2026-11-23: M&M, SBIN.")
    raw = (folder / "ban.json").read_bytes()
    assert ban_from_json(raw).names == {"SBIN", "M&M"}
    assert exchange.url.encode() in raw
    assert exchange.asked[0].startswith("Mozilla/5.0")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, b"denied", "HTTP Error 403"),
        (200, b"<html>busy</html>", "heading"),
        (200, b"", "heading"),
        (200, b"\xff\xfe", "no text"),
        (200, b"x" * 1_100_000, "too large"),
    ],
)
def test_what_is_no_list_is_not_taken(folder, exchange, capsys, status, body, told):
    """The address is named, and the one in use stays."""
    exchange.status, exchange.body = status, body
    assert main(["instruments", "ban", "--fetch"]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert exchange.url in error
    assert not folder.exists()


def test_an_address_where_nobody_is_and_words_that_contradict_are_told(folder, exchange, capsys, monkeypatch):
    """One line each."""
    for words in (["ban"], ["ban", "file.csv", "--fetch"]):
        assert main(["instruments", *words]) == 1
        assert "name a file, or --fetch" in capsys.readouterr().err
    monkeypatch.setenv("BRIDGE_EXCHANGE__BAN_URL", "http://127.0.0.1:9/")
    assert main(["instruments", "ban", "--fetch"]) == 1
    assert "http://127.0.0.1:9/ gave no list" in capsys.readouterr().err
    monkeypatch.setenv("BRIDGE_EXCHANGE__BAN_URL", "file:///etc/passwd")
    assert main(["instruments", "ban", "--fetch"]) == 2


def fetch_of(bridge: Bridge) -> BanFetch:
    return bridge.ban_fetch


def test_a_running_bridge_asks_until_it_has_the_days_list(tmp_path, exchange):
    """From seven on, every ten minutes; Friday's list, which is still there, is not Monday's."""
    clock = StillClock(EARLY)
    settings = make_settings(tmp_path, exchange={"ban_url": exchange.url, "fetch_ban": True})
    fetch = fetch_of(Bridge(settings, clock))
    assert not fetch.is_due()
    clock.move(minutes=1)
    exchange.body = FRIDAYS.encode()
    assert (fetch.is_due(), fetch.is_due()) == (True, False)
    asyncio.run(fetch.fetch())
    assert read_ban_day(settings.exchange_dir()) is None
    clock.move(minutes=9)
    assert not fetch.is_due()
    clock.move(minutes=1)
    exchange.body = TODAY.encode()
    assert fetch.is_due()
    asyncio.run(fetch.fetch())
    assert read_ban_day(settings.exchange_dir()) == clock.now().date()
    clock.move(hours=1)
    assert not fetch.is_due()
    clock.move(days=2)  # the day between is a holiday
    assert fetch.is_due()


def test_a_list_that_somebody_brought_is_not_fetched(tmp_path, exchange):
    """Nor anything in the evening, or on a day without trading."""
    clock = StillClock(EARLY.replace(hour=3))
    settings = make_settings(tmp_path, exchange={"ban_url": exchange.url, "fetch_ban": True})
    bridge = Bridge(settings, clock)
    asyncio.run(fetch_of(bridge).fetch())
    assert len(exchange.asked) == 1
    again = fetch_of(Bridge(settings, clock))
    asyncio.run(again.fetch())
    assert len(exchange.asked) == 1
    for later in ({"hours": 12}, {"days": -1, "hours": -12}):
        clock.move(**later)
        assert not fetch_of(Bridge(settings, clock)).is_due()


def test_nobody_is_asked_unless_the_settings_say_so(tmp_path, exchange):
    """A tick of a bridge asks when told to, and not otherwise."""

    async def ticked(*, fetch_ban: bool) -> int:
        folder = tmp_path / str(fetch_ban)
        settings = make_settings(folder, exchange={"ban_url": exchange.url, "fetch_ban": fetch_ban})
        bridge = Bridge(settings, StillClock(EARLY.replace(hour=3)))
        await asyncio.to_thread(bridge.store.open)
        bridge.store.writer.bind(asyncio.get_running_loop())
        await bridge._tick()
        await asyncio.gather(*bridge.worker._background)
        await bridge.store.close()
        return len(exchange.asked)

    assert asyncio.run(ticked(fetch_ban=False)) == 0
    assert asyncio.run(ticked(fetch_ban=True)) == 1
