"""The table of what an answer proves, line by line; a doubt is never taken for a proof."""

import json
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.brokers.http_outcomes import (
    LONGEST_RETRY_AFTER_S,
    MAX_MESSAGE,
    UNNAMED_RETRY_AFTER_S,
    Failure,
    HttpAnswer,
    find_failure,
    find_message,
    judge_answer,
    judge_failure,
    read_retry_after,
)
from bridge.core.enums import OutcomeKind
from tests.support.clocks import NOON

ACCEPTED, REFUSED, NOT_SENT, UNKNOWN = OutcomeKind.ACCEPTED, OutcomeKind.REFUSED, OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN
HTML = b"<html><head><title>502</title></head><body><h1>Bad Gateway</h1><hr>nginx</body></html>"
KITE_NO = b'{"status":"error","message":"Insufficient funds.","error_type":"MarginException"}'
KITE_TIMED_OUT = b'{"status":"error","message":"Your order request timed out.","error_type":"OrderException"}'


def answer(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body)


def read_id(content: Any) -> str:
    return content["data"]["order_id"]  # type: ignore[no-any-return]


TABLE = [
    # a success must carry the id
    (200, b'{"data":{"order_id":"251121000000001"}}', ACCEPTED),
    (201, b'{"data":{"order_id":"7"}}', ACCEPTED),
    (200, b"", UNKNOWN),
    (200, HTML, UNKNOWN),
    (200, b'{"data":{}}', UNKNOWN),
    (200, b'{"data":{"order_id":""}}', UNKNOWN),
    (200, b'{"data":{"order_id":null}}', UNKNOWN),
    (200, b'{"data":{"order_id":17}}', UNKNOWN),
    (200, b'{"data":[]}', UNKNOWN),
    (200, b"[]", UNKNOWN),
    (200, b'{"data":{"order_id":"7"', UNKNOWN),
    (200, b'{"stat":"Not_Ok","emsg":"no"}', UNKNOWN),  # Kotak's manner; its own adapter may know better
    (200, b"\xff\xfe\x00", UNKNOWN),
    (200, b"[" * 100_000, UNKNOWN),
    (204, b"", UNKNOWN),
    # moved: we do not follow with an order in hand
    (301, b"", UNKNOWN),
    (302, HTML, UNKNOWN),
    (307, b"", UNKNOWN),
    # the broker's own no
    (400, KITE_NO, REFUSED),
    (422, b'{"errorCode":"DH-905","errorMessage":"Missing field"}', REFUSED),
    (400, b'{"emsg":"RMS blocked"}', REFUSED),
    # a 400 that proves nothing
    (400, KITE_TIMED_OUT, UNKNOWN),
    (400, b'{"message":"Request time-out"}', UNKNOWN),
    (400, b'{"message":"Gateway TIMEOUT"}', UNKNOWN),
    (400, b'{"message":"Order was refused.","data":{"reason":"OMS timed_out"}}', UNKNOWN),
    (422, KITE_TIMED_OUT, UNKNOWN),
    (400, HTML, UNKNOWN),
    (400, b"", UNKNOWN),
    (400, b'{"status":"error"}', UNKNOWN),
    (400, b'{"message":""}', UNKNOWN),
    (400, b'{"message":null}', UNKNOWN),
    (400, b'["no"]', UNKNOWN),
    (400, b"[" * 100_000, UNKNOWN),
    # the session
    (401, b'{"message":"Invalid token"}', NOT_SENT),
    (403, b'{"message":"Incorrect `api_key` or `access_token`.","error_type":"TokenException"}', NOT_SENT),
    (403, HTML, NOT_SENT),
    # too many
    (429, b'{"message":"Too many requests"}', NOT_SENT),
    (429, HTML, NOT_SENT),
    # whatever lies between us and the broker, or is wrong with it
    (404, b'{"message":"Route not found"}', UNKNOWN),
    (405, b'{"message":"no"}', UNKNOWN),
    (408, HTML, UNKNOWN),
    (409, b'{"message":"exists"}', UNKNOWN),
    (413, HTML, UNKNOWN),
    (500, KITE_NO, UNKNOWN),
    (502, HTML, UNKNOWN),
    (503, b'{"message":"OMS is down"}', UNKNOWN),
    (504, HTML, UNKNOWN),
    (520, HTML, UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_an_answer_proves_what_the_table_says(status: int, body: bytes, kind: OutcomeKind):
    """One line of the table each; every outcome but ACCEPTED says something to a person."""
    outcome = judge_answer(answer(status, body), read_id, NOON)
    assert outcome.kind is kind
    assert (outcome.broker_order_id is not None) == (kind is ACCEPTED)
    assert bool(outcome.message) == (kind is not ACCEPTED)
    assert len(outcome.message) <= MAX_MESSAGE
    assert outcome.retry_after_s == (UNNAMED_RETRY_AFTER_S if status == 429 else None)


@given(st.integers(100, 599), st.one_of(st.binary(max_size=60), st.sampled_from([KITE_NO, KITE_TIMED_OUT, HTML])))
def test_only_a_refusal_or_a_closed_door_lets_an_order_be_sent_again_or_dropped(status: int, body: bytes):
    """Whatever the body: REFUSED only for 400 and 422, NOT_SENT only for 401, 403 and 429; nothing raises."""
    kind = judge_answer(answer(status, body), read_id, NOON).kind
    assert kind is not REFUSED or status in (400, 422)
    assert (kind is NOT_SENT) == (status in (401, 403, 429))
    assert kind is not ACCEPTED or 200 <= status < 300


def test_the_session_is_lost_by_401_and_403_alone():
    """Whatever was asked: these two want a person to sign in."""
    assert [status for status in range(100, 600) if answer(status).is_session_lost] == [401, 403]


FAILURES: list[tuple[BaseException, Failure]] = [
    (httpx.ConnectError("refused"), Failure.NOT_CONNECTED),
    (httpx.ConnectTimeout("slow"), Failure.NOT_CONNECTED),
    (httpx.PoolTimeout("busy"), Failure.NOT_CONNECTED),
    (httpx.ProxyError("no"), Failure.NOT_CONNECTED),
    (httpx.UnsupportedProtocol("ftp"), Failure.NOT_CONNECTED),
    (httpx.ReadTimeout("slow"), Failure.LOST),
    (httpx.WriteTimeout("slow"), Failure.LOST),
    (httpx.ReadError("reset"), Failure.LOST),
    (httpx.WriteError("reset"), Failure.LOST),
    (httpx.CloseError("reset"), Failure.LOST),
    (httpx.RemoteProtocolError("closed"), Failure.LOST),
    (httpx.LocalProtocolError("we sent nonsense, or half of it"), Failure.LOST),
    (httpx.DecodingError("bad gzip"), Failure.LOST),
    (httpx.TooManyRedirects("round"), Failure.LOST),
    (TimeoutError(), Failure.LOST),
    (OSError("?"), Failure.LOST),
]


@pytest.mark.parametrize(("error", "failure"), FAILURES, ids=lambda value: getattr(type(value), "__name__", ""))
def test_a_failure_is_before_the_first_byte_only_when_that_is_sure(error: BaseException, failure: Failure):
    """No connection proves that nothing left; everything else proves nothing."""
    assert find_failure(error) is failure
    outcome = judge_failure(failure, "The broker does not answer.")
    assert outcome.kind is (NOT_SENT if failure is Failure.NOT_CONNECTED else UNKNOWN)
    assert outcome.message == "The broker does not answer."


def test_every_error_of_httpx_is_in_the_table():
    """A new kind of error in a new httpx would otherwise be judged by nobody."""
    ours = {type(error) for error, _failure in FAILURES}
    known = {value for value in vars(httpx).values() if isinstance(value, type) and issubclass(value, httpx.RequestError)}
    leaves = {kind for kind in known if not any(issubclass(other, kind) and other is not kind for other in known)}
    assert leaves <= ours


@pytest.mark.parametrize(
    ("url", "failure"),
    [
        ("http://127.0.0.1:{closed}/", Failure.NOT_CONNECTED),
        ("http://no-such-host.invalid/", Failure.NOT_CONNECTED),
        ("https://127.0.0.1:{open}/", Failure.NOT_CONNECTED),  # the other side speaks no TLS
        ("http://127.0.0.1:{open}/", Failure.LOST),  # it takes the request and closes
    ],
)
def test_real_failures_of_a_socket_are_told_apart(url: str, failure: Failure, hangs_up: Callable[[], int]):
    """What httpx makes of a closed port, an unknown name, no TLS, and a connection that ends without an answer."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        full = url.format(closed=unused.getsockname()[1], open=hangs_up())
        with pytest.raises(httpx.HTTPError) as raised, httpx.Client(trust_env=False, timeout=10) as client:
            client.post(full, content=b"{}")
    assert find_failure(raised.value) is failure


@pytest.fixture
def hangs_up():
    """A port that takes what comes, says nothing and closes the connection."""
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _address = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield lambda: listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


RETRY_AFTER = [
    (None, None),
    ("3", 3.0),
    (" 12 ", 12.0),
    ("0", 0.0),
    ("999999999999999999999999", LONGEST_RETRY_AFTER_S),
    ("-5", None),
    ("1.5", None),
    ("soon", None),
    ("", None),
    ("٣", None),
    ("Fri, 20 Nov 2026 05:00:07 GMT", 7.0),
    ("Friday, 20-Nov-26 05:00:07 GMT", 7.0),
    ("Fri Nov 20 05:00:07 2026", 7.0),
    ("Fri, 20 Nov 2026 04:00:00 GMT", 0.0),
    ("Sat, 21 Nov 2026 05:00:00 GMT", LONGEST_RETRY_AFTER_S),
    ("Fri, 99 Nov 2026 05:00:07 GMT", None),
]


@pytest.mark.parametrize(("text", "seconds"), RETRY_AFTER)
def test_retry_after_is_seconds_or_a_date_and_bounded(text: str | None, seconds: float | None):
    """Both forms of RFC 9110, in the future or not; what is neither asks for nothing, and a 429 then for a second."""
    assert read_retry_after(text, NOON) == seconds
    headers = {} if text is None else {"retry_after": text}
    too_many = judge_answer(answer(429, b"", **headers), read_id, NOON)
    assert too_many.retry_after_s == (UNNAMED_RETRY_AFTER_S if seconds is None else seconds)
    gateway = judge_answer(answer(503, HTML, **headers), read_id, NOON)
    assert (gateway.kind, gateway.retry_after_s) == (UNKNOWN, seconds)


@given(st.text(max_size=40))
def test_no_retry_after_raises(text: str):
    """Whatever a proxy writes there."""
    seconds = read_retry_after(text, NOON + timedelta(seconds=1))
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_S


def test_a_message_is_the_brokers_sentence_or_the_page_without_its_tags():
    """A person reads it in the alert's way."""
    assert find_message(answer(400, KITE_NO)) == "Insufficient funds."
    assert find_message(answer(502, HTML)) == "The broker answered 502: 502 Bad Gateway nginx"
    assert find_message(answer(500)) == "The broker answered 500"
    assert len(find_message(answer(500, json.dumps({"message": "x" * 5_000}).encode()))) == MAX_MESSAGE
