"""Streams over real sockets: places are limited and given back, and a stop is not held up."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bridge.web.live import MAX_CLIENTS
from tests.support.waiting import wait_for
from tests.support.web import WebBox, make_settings


@pytest.fixture
def box(tmp_path: Path) -> Iterator[WebBox]:
    with WebBox(make_settings(tmp_path)) as running:
        yield running


def test_a_place_is_given_back_when_the_reader_leaves(box):
    """Twenty may listen; the next one is told, and comes in once one has left."""
    with ExitStack() as streams:
        first = ExitStack()
        first.enter_context(httpx.stream("GET", f"{box.url}/live"))
        for _ in range(MAX_CLIENTS - 1):
            streams.enter_context(httpx.stream("GET", f"{box.url}/live"))
        wait_for(lambda: len(box.bridge.hub) == MAX_CLIENTS, "all streams")
        assert httpx.get(f"{box.url}/live").status_code == 429
        headers = {"authorization": f"Bearer {box.token}"}
        assert httpx.get(f"{box.url}/api/v1/events", headers=headers).json()["code"] == "E_RATE"
        first.close()
        wait_for(lambda: len(box.bridge.hub) == MAX_CLIENTS - 1, "the place")
    wait_for(lambda: len(box.bridge.hub) == 0, "all places")


def test_open_streams_do_not_hold_up_a_stop(box):
    """They end with the server, cleanly."""
    with httpx.stream("GET", f"{box.url}/live", timeout=10) as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line == "event: hello")
        began = time.monotonic()
        box.stop()
        assert list(lines)[-1:] in ([], [""], ["data: {}"])
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
def test_another_site_gets_no_stream(box, headers):
    """It could read nothing, but use up the places."""
    assert httpx.get(f"{box.url}/live", headers=headers).status_code == 403
    assert len(box.bridge.hub) == 0


def test_a_head_of_a_stream_does_not_hang(box):
    """Headers, and done."""
    assert httpx.head(f"{box.url}/live", timeout=5).status_code == 200
    wait_for(lambda: len(box.bridge.hub) == 0, "the place")
