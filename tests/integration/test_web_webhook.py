"""The webhook over a real socket: what the contract lists, and nothing else, whatever is sent."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.app import build_app
from bridge.core.errors import StoreError
from tests.support.web import WebBox, make_settings

PATH = "/webhook/tradingview"
DELETE_AND_C1 = "".join(map(chr, range(0x7F, 0xA0)))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebBox]:
    folder: Path = tmp_path_factory.mktemp("webhook")
    with WebBox(make_settings(folder, webhook={"rate_per_minute": 100_000})) as running:
        yield running


def test_an_alert_is_accepted_and_its_re_send_a_duplicate(box):
    """The same bytes twice, over a socket: one id. The token may ride in the path, too."""
    token = box.mint()
    body = {"token": token, "strategy": "demo", "symbol": "NSE:SBIN", "action": "exit", "price": "800", "id": "x"}
    with httpx.Client(base_url=box.url) as client:
        answers = [client.post(PATH, json=body) for _ in range(2)]
        by_path = client.post(f"{PATH}/{token}", json={**body, "id": "y", "token": ""})
    assert [answer.json()["status"] for answer in answers] == ["accepted", "duplicate"]
    assert answers[0].json()["alert_id"] == answers[1].json()["alert_id"]
    assert by_path.json()["status"] == "accepted"


def raw(box: WebBox, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        parts = []
        while part := wire.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def post(path: str, headers: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n".encode() + body


def test_too_much_is_refused_however_it_is_declared(box):
    """A declared size, chunks without one."""
    declared = raw(box, post(PATH, "Content-Length: 70000", b"x" * 70_000))
    chunk = b"%x\r\n%s\r\n" % (40_000, b"x" * 40_000)
    chunked = raw(box, post(PATH, "Transfer-Encoding: chunked", chunk * 2 + b"0\r\n\r\n"))
    for answer in (declared, chunked):
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"E_SIZE"' in answer


def test_half_a_body_stores_nothing(box):
    """A sender that hangs up is not answered, and the next one is."""
    before = len(box.api("GET", "/alerts").json())
    raw(box, post(PATH, "Content-Length: 500", b'{"token": '))
    assert httpx.get(f"{box.url}/healthz").status_code == 200
    assert len(box.api("GET", "/alerts").json()) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_as_the_contract_says(box, method):
    """405 and E_METHOD."""
    answer = httpx.request(method, box.url + PATH)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert answer.json()["code"] == "E_METHOD"


@pytest.mark.parametrize("path", [PATH + "/a/b", PATH + "x", "/webhook", "/webhook/other"])
def test_other_paths_are_not_the_webhook(box, path):
    """404, by the routes."""
    assert box.ask("POST", path, content=b"{}").status_code == 404


def test_a_fault_of_ours_is_a_503_and_stores_nothing(box, monkeypatch):
    """The only 5xx there is; counted, and without a word of what broke."""

    async def fail(_delivery):
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(box.bridge.pipeline, "accept", fail)
    monkeypatch.setattr(box, "app", build_app(box.bridge))
    answer = box.ask("POST", PATH, content=b"{}")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert "secret" not in answer.text
    assert b'bridge_faults_total{where="webhook"}' in box.bridge.metrics.render()


def test_a_store_that_cannot_commit_is_a_503(box, monkeypatch):
    """TradingView sends a 503 again."""
    token = box.mint()

    def fail(*_args):
        raise StoreError("the disk is full")

    monkeypatch.setattr(box.bridge.store.writer, "run", fail)
    answer = box.alert(token)
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


ANY_TEXT = st.text(st.characters(codec="latin-1", min_codepoint=32, exclude_characters=DELETE_AND_C1), max_size=40)
ANY_BODY = st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-forwarded-for", "content-type"]


@settings(max_examples=60)
@given(ANY_BODY, st.text(max_size=30), st.dictionaries(st.sampled_from(NAMES), ANY_TEXT, max_size=4))
def test_anything_at_all_gets_an_answer_of_the_contract(box, body, path, headers):
    """Never a 5xx, always JSON with a status."""
    encoded = {name: text.encode("latin-1") for name, text in headers.items()}
    token = quote("v" + path.replace("/", ""), safe="")
    answer = box.ask("POST", f"{PATH}/{token}", content=body, headers=encoded)
    assert answer.status_code in (400, 401, 403, 413, 422, 429)
    assert answer.json()["status"] == "refused"
