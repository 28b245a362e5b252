"""The hot path, with a pipeline that only writes down what it was given."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.answer import Answer, accepted
from bridge.intake.verify import Delivery
from bridge.web import webhook
from bridge.web.webhook import MAX_BODY_BYTES, PATH, Webhook, is_webhook
from tests.support.clocks import NOON, StillClock

ANSWER = accepted("01ALERT")


class Pipeline:
    def __init__(self, error: BaseException | None = None) -> None:
        self.seen: list[Delivery] = []
        self.error = error

    async def accept(self, delivery: Delivery) -> Answer:
        self.seen.append(delivery)
        if self.error:
            raise self.error
        return ANSWER


class Post:
    """One request, its body in chunks, and what came back. After the chunks the sender is `gone` or silent."""

    def __init__(
        self,
        *chunks: bytes,
        method: str = "POST",
        path: str = PATH,
        headers: list[tuple[bytes, bytes]] | None = None,
        client: tuple[str, int] | None = ("203.0.113.9", 1),
        gone: bool = False,
        error: BaseException | None = None,
    ) -> None:
        self.pipeline = Pipeline(error)
        self.faults: list[tuple[str, BaseException]] = []
        self.sent: list[dict[str, Any]] = []
        self.reads = 0
        self._chunks = list(chunks)
        self._gone = gone
        self._more = gone or len(chunks) > 1
        self._scope = {"type": "http", "method": method, "path": path, "headers": headers or [], "client": client}

    def send(self) -> "Post":
        bridge: Any = SimpleNamespace(
            pipeline=self.pipeline, clock=StillClock(), on_fault=lambda where, error: self.faults.append((where, error))
        )
        asyncio.run(Webhook(bridge)(self._scope, self._receive, self._send))
        return self

    async def _receive(self) -> dict[str, Any]:
        self.reads += 1
        if self._chunks:
            body = self._chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._chunks) or self._gone}
        if self._gone:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Any) -> None:
        self.sent.append(dict(message))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def told(self) -> dict[str, Any]:
        return dict(json.loads(self.sent[1]["body"]))


def test_a_delivery_is_what_was_sent():
    """Bytes, the peer of the socket, and the moment it was whole."""
    post = Post(b'{"a": 1}').send()
    assert post.pipeline.seen == [Delivery(body=b'{"a": 1}', headers={}, path_token=None, peer="203.0.113.9", received_at=NOON)]
    assert (post.status, post.sent[1]["body"]) == (ANSWER.http_status, ANSWER.body)
    assert post.headers == {b"content-type": b"application/json", b"content-length": b"%d" % len(ANSWER.body)}


def test_a_body_in_pieces_is_put_together():
    """However the network cuts it."""
    assert Post(b"ab", b"", b"cd", b"e").send().pipeline.seen[0].body == b"abcde"


def test_only_headers_that_intake_reads_are_passed_on():
    """Names in lower case, as servers give them; repeated ones joined as HTTP says."""
    headers = [
        (b"host", b"x"),
        (b"authorization", b"secret"),
        (b"webhook-id", b"msg_1"),
        (b"webhook-timestamp", b"17"),
        (b"webhook-signature", b"v1,a"),
        (b"webhook-signature", b"v1,b"),
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"x-forwarded-for", b"\xff"),
    ]
    assert Post(b"{}", headers=headers).send().pipeline.seen[0].headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "17",
        "webhook-signature": "v1,a, v1,b",
        "x-forwarded-for": "198.51.100.1, \xff",
    }


@pytest.mark.parametrize(("path", "token"), [(PATH, None), (PATH + "/", None), (PATH + "/v1.a.b", "v1.a.b")])
def test_a_token_may_ride_in_the_path(path, token):
    """TradingView can send no header."""
    assert Post(b"{}", path=path).send().pipeline.seen[0].path_token == token


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (PATH, True),
        (PATH + "/", True),
        (PATH + "/v1.x.y", True),
        (PATH + "/a/b", False),
        (PATH + "x", False),
        ("/webhook", False),
        ("/", False),
        ("", False),
        ("/webhook/tradingvie", False),
    ],
)
def test_only_the_webhooks_own_paths_are_taken(path, ours):
    """Everything else goes on to the routes."""
    assert is_webhook(path) is ours


def test_a_peer_without_an_address_is_nobody():
    """A UNIX socket has none."""
    assert Post(b"{}", client=None).send().pipeline.seen[0].peer == ""


# --- too much, too little, too slow ---


def assert_too_large(post: Post) -> None:
    assert (post.status, post.told["code"]) == (413, "E_SIZE")
    assert post.told["hint"]
    assert post.pipeline.seen == []


def test_a_declared_size_over_the_cap_is_refused_unread():
    """Not a byte of it is waited for."""
    post = Post(headers=[(b"content-length", b"%d" % (MAX_BODY_BYTES + 1))]).send()
    assert_too_large(post)
    assert post.reads == 0


@pytest.mark.parametrize("declared", [b"9" * 5000, b"99999999999999999999999"])
def test_an_absurd_declared_size_is_refused(declared):
    """Also one that Python would not turn into a number."""
    assert_too_large(Post(headers=[(b"content-length", declared)]).send())


@pytest.mark.parametrize("declared", [None, b"10", b"-5", b"ten", b""])
def test_a_body_over_the_cap_is_refused_whatever_was_declared(declared):
    """Chunked bodies declare nothing, and others lie."""
    headers = [] if declared is None else [(b"content-length", declared)]
    assert_too_large(Post(b"x" * (MAX_BODY_BYTES + 1), headers=headers).send())


def test_an_endless_body_is_not_read_on():
    """It ends with the first chunk over the cap."""
    post = Post(*[b"x" * 40_000] * 100).send()
    assert_too_large(post)
    assert post.reads == 2


def test_a_body_of_exactly_the_cap_passes():
    """At most 64 KiB."""
    headers = [(b"content-length", b"%d" % MAX_BODY_BYTES)]
    assert Post(b"x" * 30_000, b"x" * (MAX_BODY_BYTES - 30_000), headers=headers).send().status == 200


def test_a_body_that_does_not_arrive_is_an_answer(monkeypatch):
    """A trickle holds no place for ever."""
    monkeypatch.setattr(webhook, "BODY_WITHIN_S", 0.02)
    post = Post(headers=[(b"content-length", b"10")]).send()
    assert (post.status, post.told["code"]) == (400, "E_JSON")


def test_a_sender_that_hangs_up_gets_no_answer():
    """There is nobody to tell, and nothing was stored."""
    post = Post(b"half of it", gone=True).send()
    assert post.sent == []
    assert post.pipeline.seen == []
    assert post.faults == []


# --- what else may happen ---


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_another_method_is_told_what_a_webhook_is(method):
    """405 with the contract's JSON, body unread."""
    post = Post(b"{}", method=method).send()
    assert (post.status, post.told["code"], post.headers[b"allow"]) == (405, "E_METHOD", b"POST")
    assert post.reads == 0


@pytest.mark.parametrize("error", [RuntimeError("secret detail"), KeyError("x"), MemoryError()])
def test_an_unexpected_fault_is_a_503_and_counted(error):
    """Nothing was stored, so the sender shall send again; what broke is ours to know."""
    post = Post(b"{}", error=error).send()
    assert (post.status, post.told["status"]) == (503, "unavailable")
    assert "secret" not in str(post.told)
    assert post.faults == [("webhook", error)]


def test_a_cancelled_request_is_cancelled():
    """A stop of the server goes through."""
    with pytest.raises(asyncio.CancelledError):
        Post(b"{}", error=asyncio.CancelledError()).send()


@given(
    st.lists(st.binary(max_size=200), min_size=1, max_size=5),
    st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40))),
)
def test_any_bytes_arrive_as_they_are(chunks, headers):
    """No body and no header is anything but data here."""
    post = Post(*chunks, headers=[pair for pair in headers if pair[0] != b"content-length"]).send()
    assert post.pipeline.seen[0].body == b"".join(chunks)
