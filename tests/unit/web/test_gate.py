"""Who may see a page, from the request alone."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from bridge.web import gate as gates
from bridge.web.auth import set_password
from tests.support.clocks import StillClock
from tests.support.web import make_settings

PASSWORD = "correct horse battery"
LOCAL = {"host": "127.0.0.1:8000"}


def make_gate(folder: Path, *, password: bool = False, **server: Any) -> gates.Gate:
    settings = make_settings(folder, server={"port": 8000, **server})
    if password:
        set_password(settings, PASSWORD)
    vault = SimpleNamespace(key=lambda _purpose: bytes(32))
    bridge: Any = SimpleNamespace(settings=settings, clock=StillClock(), vault=vault)
    return gates.Gate(bridge)


def make_request(
    headers: dict[str, str] | None = None, *, peer: str | None = "127.0.0.1", body: bytes = b"", scheme: str = "http"
) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in (LOCAL if headers is None else headers).items()]
    scope = {
        "type": "http", "method": "POST", "path": "/halt", "scheme": scheme, "headers": raw, "query_string": b"",
        "client": (peer, 1) if peer else None,
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


FORM = {**LOCAL, "content-type": "application/x-www-form-urlencoded", "origin": "http://127.0.0.1:8000"}


def send_form(gate: gates.Gate, body: bytes, session_id: str = "open", **headers: str) -> Any:
    request = make_request({**FORM, **{name.replace("_", "-"): text for name, text in headers.items()}}, body=body)
    return asyncio.run(gate.form(request, session_id))


# --- without a password ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "LOCALHOST"])
def test_without_a_password_a_browser_on_this_machine_is_let_in(tmp_path, host):
    """The machine's own accounts are the lock."""
    visitor = make_gate(tmp_path).admit(make_request({"host": host}))
    assert not visitor.is_signed_in
    assert visitor.token


@pytest.mark.parametrize("peer", ["10.0.0.7", "::ffff:10.0.0.7", "", None, "testclient"])
def test_without_a_password_others_are_told_how_to_set_one(tmp_path, peer):
    """403, with the command."""
    with pytest.raises(gates.PageError) as found:
        make_gate(tmp_path).admit(make_request(peer=peer))
    assert found.value.status == 403
    assert found.value.command == gates.PASSWORD_COMMAND


def test_a_loopback_peer_written_as_ipv6_is_this_machine(tmp_path):
    """A socket for both families shows 127.0.0.1 that way."""
    visitor = make_gate(tmp_path).admit(make_request(peer="::ffff:127.0.0.1"))
    assert visitor.session_id == gates.OPEN_SESSION


@pytest.mark.parametrize("header", gates.FORWARDING_HEADERS)
def test_without_a_password_a_proxy_on_this_machine_lets_nobody_in(tmp_path, header):
    """Its peer address is loopback, but its visitors are the world."""
    with pytest.raises(gates.PageError, match="password"):
        make_gate(tmp_path).admit(make_request({**LOCAL, header: "203.0.113.9"}))


# --- names ---


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.5", "["])
@pytest.mark.parametrize("password", [False, True])
def test_a_name_that_is_not_ours_is_refused(tmp_path, host, password):
    """DNS rebinding: the attacker's name, our address. Addresses themselves pass once there is a password."""
    if password and host == "10.0.0.5":
        return
    with pytest.raises(gates.PageError) as found:
        make_gate(tmp_path, password=password).admit(make_request({"host": host}))
    assert found.value.status == 421


def test_two_host_headers_are_refused(tmp_path):
    """Proxies and servers differ on which one counts."""
    request = make_request()
    request.scope["headers"].append((b"host", b"localhost"))
    with pytest.raises(gates.PageError):
        make_gate(tmp_path).admit(request)


def test_the_public_name_is_ours(tmp_path):
    """With a password, a visitor at server.public_url is led to the sign-in."""
    gate = make_gate(tmp_path, password=True, public_url="https://bridge.example.org")
    with pytest.raises(gates.SignInNeededError):
        gate.admit(make_request({"host": "bridge.example.org"}, peer="10.0.0.7"))


def test_an_address_is_ours_once_there_is_a_password(tmp_path):
    """Addresses cannot be rebound."""
    with pytest.raises(gates.SignInNeededError):
        make_gate(tmp_path, password=True).admit(make_request({"host": "192.168.1.9:8000"}, peer="10.0.0.7"))


def test_a_password_file_with_a_fault_is_no_open_door(tmp_path):
    """The mend is told on this machine, and not to the world."""
    gate = make_gate(tmp_path, password=True)
    (tmp_path / "operator.hash").chmod(0o644)
    with pytest.raises(gates.PageError) as here:
        gate.admit(make_request())
    with pytest.raises(gates.PageError) as there:
        gate.admit(make_request(peer="10.0.0.7"))
    assert "chmod" in here.value.message
    assert str(tmp_path) not in there.value.message


# --- signing in ---


def sign_in(gate: gates.Gate, password: str, **headers: str) -> str | None:
    form_id, token = gate.sign_in_form(make_request())
    cookie = f"{gate._cookie(make_request())}_form={form_id}"
    body = f"csrf={token}&password={password.replace(' ', '+')}".encode()
    return asyncio.run(gate.sign_in(make_request({**FORM, "cookie": cookie, **headers}, body=body)))


def test_the_right_password_opens_a_session(tmp_path):
    """The cookie is then admitted, with a token of its own."""
    gate = make_gate(tmp_path, password=True)
    cookie = sign_in(gate, PASSWORD)
    visitor = gate.admit(make_request({**LOCAL, "cookie": f"{gate._cookie(make_request())}={cookie}"}))
    assert visitor.is_signed_in


def test_a_wrong_password_opens_nothing_and_is_counted(tmp_path):
    """After five of them not even the right one is heard."""
    gate = make_gate(tmp_path, password=True)
    assert [sign_in(gate, "wrong") for _ in range(5)] == [None] * 5
    with pytest.raises(gates.PageError) as found:
        sign_in(gate, PASSWORD)
    assert found.value.status == 429
    assert found.value.retry_after_s > 0


def test_a_sign_in_that_another_site_sends_is_refused(tmp_path):
    """Nobody is signed in as somebody else behind their back."""
    gate = make_gate(tmp_path, password=True)
    with pytest.raises(gates.PageError, match="another site"):
        sign_in(gate, PASSWORD, origin="https://evil.example")
    with pytest.raises(gates.PageError, match="out of date"):
        asyncio.run(gate.sign_in(make_request(FORM, body=b"csrf=&password=correct+horse+battery")))


# --- forms ---


def test_a_form_of_ours_is_read(tmp_path):
    """Origin and token are right."""
    gate = make_gate(tmp_path)
    token = gate.admit(make_request()).token
    assert send_form(gate, f"csrf={token}&kind=account&name=paper".encode())["name"] == "paper"


@pytest.mark.parametrize("body", [b"", b"csrf=", b"csrf=wrong", b"csrf=%00%ff", b"kind=account", b"csrf=\xff"])
def test_a_form_without_its_token_is_refused(tmp_path, body):
    """Whatever stands in its place."""
    with pytest.raises(gates.PageError) as found:
        send_form(make_gate(tmp_path), body)
    assert found.value.status in (400, 403)


def test_a_token_of_another_session_is_refused(tmp_path):
    """A token is bound to the session it was made for."""
    gate = make_gate(tmp_path)
    token = gate.admit(make_request()).token
    with pytest.raises(gates.PageError):
        send_form(gate, f"csrf={token}".encode(), session_id="another")


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.example", "http://127.0.0.1:8001", "http://127.0.0.1:8000.evil.example", "", "x"]
)
def test_a_form_of_another_origin_is_refused(tmp_path, origin):
    """Even with the right token."""
    gate = make_gate(tmp_path)
    token = gate.admit(make_request()).token
    with pytest.raises(gates.PageError, match="another site"):
        send_form(gate, f"csrf={token}".encode(), origin=origin)


@pytest.mark.parametrize(
    ("site", "passes"), [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)]
)
def test_where_no_origin_is_told_the_fetch_metadata_count(tmp_path, site, passes):
    """A browser that sends no Origin may still say where the form comes from."""
    gate = make_gate(tmp_path)
    body = f"csrf={gate.admit(make_request()).token}".encode()
    headers = {name: text for name, text in FORM.items() if name != "origin"} | {"sec-fetch-site": site}
    request = make_request(headers, body=body)
    if passes:
        assert asyncio.run(gate.form(request, "open"))
    else:
        with pytest.raises(gates.PageError):
            asyncio.run(gate.form(request, "open"))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"csrf=x", "text/plain", 415),
        (b"csrf=x", "multipart/form-data; boundary=x", 415),
        (b"x=" + b"y" * gates.MAX_FORM_BYTES, "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(100)), "application/x-www-form-urlencoded", 400),
        (b"csrf=\xff\xfe", "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_no_form_of_ours_is_an_answer(body, kind, status):
    """Other types, too much, too many fields, no text."""
    with pytest.raises(gates.PageError) as found:
        asyncio.run(gates.read_form(make_request({**LOCAL, "content-type": kind}, body=body)))
    assert found.value.status == status


@given(st.binary(max_size=300))
def test_any_bytes_for_a_form_are_an_answer(body):
    """Fields or a PageError, never anything else."""
    try:
        fields = asyncio.run(gates.read_form(make_request(FORM, body=body)))
    except gates.PageError:
        return
    assert all(isinstance(text, str) for text in fields.values())


# --- cookies ---


@pytest.mark.parametrize(
    ("server", "request_", "secure"),
    [
        ({}, {}, False),
        ({}, {"scheme": "https"}, True),
        ({"public_url": "https://b.example"}, {"peer": "10.0.0.7", "headers": {"host": "b.example"}}, True),
        ({"public_url": "https://b.example"}, {}, False),  # straight from this machine, over plain HTTP
        ({"trusted_proxies": ["10.0.0.2"]}, {"peer": "10.0.0.2", "headers": {**LOCAL, "x-forwarded-proto": "https"}}, True),
        ({"trusted_proxies": ["10.0.0.2"]}, {"peer": "10.0.0.3", "headers": {**LOCAL, "x-forwarded-proto": "https"}}, False),
    ],
)
def test_cookies_are_bound_to_https_where_the_browser_speaks_it(tmp_path, server, request_, secure):
    """Only a proxy of ours is believed; and such a cookie's name binds it to this very host."""
    gate = make_gate(tmp_path, password=True, **server)
    request, response = make_request(**request_), Response()
    gate.keep_session(request, response, "value")
    header = response.headers["set-cookie"]
    assert gate.is_secure(request) is secure
    assert ("; Secure" in header) is secure
    assert header.startswith("__Host-") is secure
    assert "HttpOnly" in header
    assert "SameSite=strict" in header
    assert "Path=/" in header
    assert "Domain" not in header


def test_the_peer_behind_a_trusted_proxy_is_the_visitor(tmp_path):
    """Else everybody's wrong passwords would be the proxy's."""
    gate = make_gate(tmp_path, trusted_proxies=["10.0.0.2"])
    headers = {**LOCAL, "x-forwarded-for": "198.51.100.7, 203.0.113.9"}
    assert gate.peer_of(make_request(headers, peer="10.0.0.2")) == "203.0.113.9"
    assert gate.peer_of(make_request(headers, peer="10.0.0.3")) == "10.0.0.3"


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        ("Bearer secret-token", True),
        ("bearer  secret-token ", True),
        ("Bearer secret-tokeN", False),
        ("Basic secret-token", False),
        ("secret-token", False),
        ("Bearer", False),
        ("Bearer \xff", False),
        ("", False),
    ],
)
def test_only_the_whole_bearer_token_opens_the_api(header, passes):
    """Compared in constant time, in any spelling of the scheme."""
    assert gates.is_bearer(make_request({"authorization": header}), "secret-token") is passes
    assert not gates.is_bearer(make_request({}), "secret-token")
