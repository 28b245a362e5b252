"""The vendor's client, kept honest: the true answer of every kind, and what no answer proves."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from bridge.brokers.http_outcomes import Failure
from bridge.brokers.kite.client import Answer, HeldToken, KiteClient
from tests.support.kite import Desk, open_desk

LIMIT: dict[str, Any] = {
    "variety": "regular", "exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "BUY", "quantity": 1,
    "product": "MIS", "order_type": "LIMIT", "price": "700", "tag": "TOSB807EXRIXKP3",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Iterator[Desk]:
    with open_desk(slow_ms=300) as desk:
        yield desk


@pytest.fixture
def desk(shared: Desk) -> Desk:
    shared.http.delete("/sandbox/faults")
    shared.log_in()
    return shared


def ask(root: str, tokens: HeldToken | None, name: str, *words: Any, whole_s: float = 5, **named: Any) -> Answer:
    """One call by a client of its own."""

    async def call() -> Answer:
        client = KiteClient(api_key="sandboxkey", root=root, tokens=tokens, whole_s=whole_s)
        try:
            return await client.call(name, *words, **named)
        finally:
            client.close()

    return asyncio.run(call())


def held(desk: Desk) -> HeldToken:
    return HeldToken(str(desk.client.access_token))


def test_a_success_has_the_content_with_exact_numbers_and_plain_times(desk: Desk) -> None:
    """No float and no time without a zone gets in."""
    placed = ask(desk.server.root, held(desk), "place_order", **{**LIMIT, "price": "700.05"})
    assert placed.status == 200
    rows = ask(desk.server.root, held(desk), "orders").data
    (row,) = [row for row in rows if row["order_id"] == placed.data["order_id"]]
    assert row["price"] == Decimal("700.05")
    assert isinstance(row["price"], Decimal)
    assert isinstance(row["order_timestamp"], str)


@pytest.mark.parametrize(
    ("fault", "status", "error_type"),
    [
        ("504_after", 504, ""), ("502_before", 502, ""), ("no_content_type", 200, ""), ("empty_error_type", 500, ""),
        ("json_list", 200, ""), ("gzip", 200, ""), ("slow_body", 200, ""), ("429", 429, "NetworkException"),
        ("400_timed_out_after", 400, "OrderException"), ("ip_refused", 403, "PermissionException"),
        ("400_margin", 400, "MarginException"),
    ],
)  # fmt: skip
def test_the_true_status_is_known_whatever_the_vendors_client_makes_of_it(
    desk: Desk, fault: str, status: int, error_type: str
) -> None:
    """It would say 502 for a 504, or raise what is no error of its own."""
    desk.http.post("/sandbox/faults", json={"orders": {fault: 1}})
    answer = ask(desk.server.root, held(desk), "place_order", **LIMIT)
    assert (answer.status, answer.error_type) == (status, error_type)
    assert answer.http is not None
    assert (answer.data is None) == (status != 200 or fault == "json_list")
    if status != 200:
        assert answer.message


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "stalled_body"])
def test_a_connection_that_breaks_after_sending_proves_nothing(desk: Desk, fault: str) -> None:
    """The order may be there."""
    desk.http.post("/sandbox/faults", json={"orders": {fault: 1}})
    answer = ask(desk.server.root, held(desk), "place_order", **LIMIT)
    assert (answer.failure, answer.http) == (Failure.LOST, None)


def test_nobody_there_proves_that_nothing_left() -> None:
    """A refused connection, and a name that nobody has."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    for root in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        answer = ask(root, HeldToken("abc"), "place_order", **LIMIT)
        assert answer.failure is Failure.NOT_CONNECTED
        assert root in answer.message


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does to one connection whatever is wanted."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(10)


def test_an_answer_that_trickles_is_not_waited_for_without_end() -> None:
    """Every byte comes in time, and the whole does not."""
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n")
        while not ended.wait(0.02):
            try:
                connection.sendall(b" ")
            except OSError:
                return

    with raw_server(trickle) as root:
        answer = ask(root, HeldToken("abc"), "orders", whole_s=0.3)
        ended.set()
    assert answer.failure is Failure.LOST


def wait(ended: threading.Event) -> None:
    """Say nothing."""
    ended.wait(5)


def test_an_answer_that_never_comes_is_lost_when_its_time_is_over() -> None:
    """The client's one number is not relied upon."""
    ended = threading.Event()
    with raw_server(lambda _connection: wait(ended)) as root:
        answer = ask(root, HeldToken("abc"), "place_order", whole_s=0.2, **LIMIT)
        ended.set()
    assert answer.failure is Failure.LOST


def test_a_redirect_is_an_answer_and_is_not_followed(desk: Desk) -> None:
    """An order sent on to elsewhere would be sent twice, with the key."""

    def redirect(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 307 Moved\r\nlocation: %b/orders\r\ncontent-length: 0\r\n\r\n" % desk.server.root.encode()
        )

    with raw_server(redirect) as root:
        answer = ask(root, held(desk), "place_order", **LIMIT)
    assert (answer.status, answer.data) == (307, None)


def test_the_environments_proxy_is_not_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registered address would not be the one that orders come from."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert ask(desk.server.root, held(desk), "orders").status == 200


# -- the session --------------------------------------------------------------------------------------------------------


def test_a_token_that_is_refused_is_dropped(desk: Desk) -> None:
    """And the next call is not even made."""
    tokens = held(desk)
    desk.http.delete("/sandbox/session")
    answer = ask(desk.server.root, tokens, "orders")
    assert (answer.status, answer.error_type) == (403, "TokenException")
    assert tokens.token() is None
    assert "Log in to Kite" in tokens.why()
    again = ask(desk.server.root, tokens, "orders")
    assert (again.failure, again.message) == (Failure.NOT_CONNECTED, tokens.why())


def test_a_token_that_came_meanwhile_is_kept(desk: Desk) -> None:
    """The refusal was of the one before."""

    class Replaced(HeldToken):
        """A person logs in while the call is on its way."""

        def token(self) -> str | None:
            told = super().token()
            self.give("new")
            return told

    tokens = Replaced("old")
    assert ask(desk.server.root, tokens, "orders").status == 403
    assert HeldToken.token(tokens) == "new"


def test_another_403_leaves_the_session_alone(desk: Desk) -> None:
    """An address that is not registered is no reason to log in."""
    tokens = held(desk)
    desk.faults("orders", ip_refused=1)
    assert ask(desk.server.root, tokens, "place_order", **LIMIT).status == 403
    assert tokens.token()


def test_a_login_goes_through_a_client_without_a_token(desk: Desk) -> None:
    """Also one that fails: nothing is dropped, since there is nothing."""
    wrong = ask(desk.server.root, None, "generate_session", "wrong", api_secret="sandboxsecret")
    assert wrong.status >= 400
    assert wrong.data is None
    token = desk.server.do(lambda box: box.sessions.give_request_token())
    right = ask(desk.server.root, None, "generate_session", token, api_secret=desk.box.sessions.api_secret)
    assert right.data["access_token"]


def test_the_list_of_instruments_comes_as_the_vendors_client_reads_it(desk: Desk) -> None:
    """It is CSV; the body is there as well."""
    answer = ask(desk.server.root, held(desk), "instruments")
    assert answer.http is not None
    assert answer.http.body.startswith(b"instrument_token,")
    assert any(row["tradingsymbol"] == "SBIN" for row in answer.data)


def test_a_closed_client_asks_nothing() -> None:
    """After the end nothing leaves."""

    async def closed() -> Answer:
        client = KiteClient(api_key="abc", root="http://127.0.0.1:9")
        client.close()
        return await client.call("orders")

    assert asyncio.run(closed()).failure is Failure.NOT_CONNECTED


def test_a_call_that_does_not_exist_is_our_own_fault(desk: Desk) -> None:
    """It is raised, and not taken for an answer."""
    with pytest.raises(AttributeError):
        ask(desk.server.root, held(desk), "no_such_call")
