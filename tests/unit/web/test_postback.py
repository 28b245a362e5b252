"""A broker's postback: whatever is in it, it comes to a look at the broker or to nothing."""

import asyncio
import json
from collections import Counter
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web import postback
from bridge.web.port import Postback
from bridge.web.postback import Postbacks
from bridge.web.webhook import MAX_BODY_BYTES, is_webhook
from tests.support.plays import play
from tests.support.waiting import until

SECRET = "the secret of the app"


def sign(order_id: str = "240101000000001", at: str = "2026-11-20 10:30:00", secret: str = SECRET, **more: Any) -> dict:
    """A postback as the vendor makes it."""
    checksum = sha256(f"{order_id}{at}{secret}".encode()).hexdigest()
    return {"order_id": order_id, "order_timestamp": at, "checksum": checksum, "status": "COMPLETE", **more}


class Desk:
    """The app of the route, with what it did."""

    def __init__(self) -> None:
        self.pokes: list[str] = []
        self.counted: Counter[str] = Counter()
        known = {"zerodha": Postback(secret=SECRET.encode(), poke=self.pokes.append)}
        metrics = SimpleNamespace(postback=lambda answer: self.counted.update([answer]))
        bridge: Any = SimpleNamespace(postbacks=known, metrics=metrics)
        self.app = Postbacks(bridge)

    async def post(
        self, *chunks: bytes, account: str = "zerodha", method: str = "POST", declared: int | None = None, gone: bool = False
    ) -> int:
        """The status of the answer; 0 when there was none. After the chunks the sender is gone, or says nothing."""
        waiting = list(chunks)
        sent: list[Any] = []

        async def receive() -> Any:
            if waiting:
                body = waiting.pop(0)
                return {"type": "http.request", "body": body, "more_body": bool(waiting) or gone}
            if gone:
                return {"type": "http.disconnect"}
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [] if declared is None else [(b"content-length", b"%d" % declared)]
        scope = {"type": "http", "method": method, "headers": headers, "path_params": {"account": account}}
        await self.app(scope, receive, send)
        if not sent:
            return 0
        lengths = [int(value) for name, value in sent[0]["headers"] if name == b"content-length"]
        assert method == "HEAD" or lengths == [len(sent[1]["body"])]
        return int(sent[0]["status"])


def ask(*chunks: bytes, **values: Any) -> tuple[int, Desk]:
    """One postback to a desk of its own."""
    desk = Desk()
    found: list[int] = []

    async def story() -> None:
        found.append(await desk.post(*chunks, **values))

    play(story)
    return found[0], desk


def test_a_signed_postback_asks_for_a_look():
    """The checksum says that it is the broker's, or was once."""
    status, desk = ask(json.dumps(sign()).encode())
    assert (status, desk.pokes, desk.counted) == (200, ["a postback came"], {"taken": 1})


def test_a_postback_in_pieces_is_read_whole():
    """Bodies may come in chunks."""
    body = json.dumps(sign(note="x" * 1_000)).encode()
    assert ask(body[:100], body[100:700], body[700:])[0] == 200


@pytest.mark.parametrize(
    "told",
    [
        sign(secret="another"),
        {**sign(), "order_id": "240101000000002"},
        {**sign(), "order_timestamp": "2026-11-20 10:30:01"},
        {**sign(), "checksum": sign()["checksum"].upper()},
        {**sign(), "checksum": ""},
    ],
)
def test_a_wrong_checksum_is_counted_and_nothing_else(told):
    """Nothing is stored and nobody looks."""
    status, desk = ask(json.dumps(told).encode())
    assert (status, desk.pokes, desk.counted) == (403, [], {"forged": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"1" * 5_000,
        b"\xff\xfe",
        b"[" * 60_000,
        json.dumps({**sign(), "order_id": 240101000000001}).encode(),
        json.dumps({**sign(), "checksum": None}).encode(),
        json.dumps({**sign(), "checksum": "\ud800"}).encode(),
        json.dumps({**sign(), "order_id": "٣" * 15}).encode(),
        json.dumps({**sign(), "order_id": "1" * 101}).encode(),
        json.dumps({"order_id": "1"}).encode(),
    ],
)
def test_what_is_no_postback_is_refused(body):
    """Not JSON, not an object, or without the three texts that count."""
    status, desk = ask(body)
    assert (status, desk.pokes, desk.counted) == (400, [], {"unreadable": 1})


@pytest.mark.parametrize("declared", [MAX_BODY_BYTES + 1, None])
def test_a_huge_body_is_not_read(declared):
    """Neither when it says so nor when it only is."""
    status, desk = ask(b"x" * (MAX_BODY_BYTES + 1), declared=declared)
    assert (status, desk.pokes) == (413, [])


def test_an_account_that_takes_none_is_unknown_whatever_the_body_and_the_method():
    """Paper accounts have no secret; the name is not even counted by itself, lest strangers fill the counters."""
    for method in ("POST", "GET"):
        status, desk = ask(json.dumps(sign()).encode(), account="paper", method=method)
        assert (status, desk.pokes, desk.counted) == (404, [], {"unknown": 1})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_only_post_is_taken(method):
    """Everything else has its own answer."""
    status, desk = ask(json.dumps(sign()).encode(), method=method)
    assert (status, desk.pokes) == (405, [])


def test_a_sender_that_hangs_up_gets_no_answer_and_does_no_harm():
    """Half a body is none."""
    status, desk = ask(b'{"order_id"', gone=True)
    assert (status, desk.pokes) == (0, [])


def test_a_body_that_trickles_is_given_up(monkeypatch):
    """A connection is not held for a sender that says nothing."""
    monkeypatch.setattr(postback, "BODY_WITHIN_S", 0.02)
    status, desk = ask()
    assert (status, desk.pokes) == (400, [])


def test_repeated_postbacks_come_to_few_looks_and_one_after_the_last(monkeypatch):
    """Whoever overheard one may repeat it; the broker is not asked more often for that, and no change is missed."""
    monkeypatch.setattr(postback, "MIN_GAP_S", 0.2)
    desk = Desk()
    body = json.dumps(sign()).encode()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        statuses = {await desk.post(body) for _ in range(500)}
        took = loop.time() - began
        assert statuses == {200}
        assert 1 <= len(desk.pokes) <= 1 + took / 0.2
        before = len(desk.pokes)
        await until(lambda: len(desk.pokes) == before + 1, "the look after the last one")
        assert await desk.post(body) == 200  # and then the gap counts from there
        assert len(desk.pokes) == before + 1

    play(story)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
fields = st.sampled_from(["order_id", "order_timestamp", "checksum", "status"])


@given(
    st.binary(max_size=300)
    | st.dictionaries(fields, json_values).map(lambda told: json.dumps(told).encode())
    | st.dictionaries(fields, json_values).map(lambda told: json.dumps({**sign(), **told}).encode("utf-8", "surrogatepass"))
)
def test_nothing_that_is_sent_gives_a_fault_or_a_look_without_the_checksum(body):
    """Hostile bodies are an answer below 500, and only who knows the secret is believed."""
    status, desk = ask(body)
    assert status in (200, 400, 403)
    if status == 200:
        told = json.loads(body)
        assert told["checksum"] == sign(told["order_id"], told["order_timestamp"])["checksum"]
    assert len(desk.pokes) == (status == 200)


@given(st.text(max_size=40))
def test_the_address_is_never_the_hot_paths(account):
    """Alerts and postbacks do not get in each other's way."""
    assert not is_webhook(f"/webhook/kite/{account}")


def test_the_secret_is_not_shown():
    """Not even where a value is printed."""
    assert SECRET not in repr(Postback(secret=SECRET.encode(), poke=lambda _: None))
