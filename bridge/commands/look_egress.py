"""Checks of the address that orders leave from: brokers in India take them only from one that is registered."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from bridge.commands.findings import Facts, Finding, fail, ok, warn
from bridge.settings import AccountSettings, is_loopback

ANSWER_WITHIN_S = 5.0
# Addresses of documentation (RFC 5737, 3849): connecting a datagram socket to one picks a route and sends nothing.
_ANYWHERE = {4: ("192.0.2.1", 9), 6: ("2001:db8::1", 9)}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY_LOCAL = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - to leave from, in one family; nothing is bound
_WHAT_IS_MY_ADDRESS = "https://checkip.amazonaws.com"
_ONE_A_WEEK = "at developers.kite.trade (one change a calendar week), then set static_address to it"


class EchoError(Exception):
    """Nobody said where we come from."""


def check_egress(facts: Facts) -> Iterator[Finding]:
    """Which address orders leave from, and whether it is the one that is registered."""
    registered = {name: account for name, account in facts.settings.accounts.items() if account.broker == "kite"}
    if not registered:
        yield from _tell_address(facts)
    for name, account in registered.items():
        yield from _compare(facts, name, account)


def _tell_address(facts: Facts) -> Iterator[Finding]:
    local = local_address()
    if local is None:
        yield warn("egress", "this machine has no route to the internet", "paper needs none; a broker does")
    elif (url := _echo(facts)) is None:
        note = "" if ip_address(local).is_global else ", behind a router: --online asks for the public one"
        yield ok("egress", f"orders leave from {local}{note}")
    else:
        try:
            yield ok("egress", f"orders leave from {ask_address(url)}; register that address with brokers that want one")
        except EchoError as error:
            yield warn("egress", str(error), "check the network")


def _compare(facts: Facts, name: str, account: AccountSettings) -> Iterator[Finding]:
    """Orders are refused from any other address than the registered one, while reads work from everywhere."""
    part = f"egress {name}"
    registered = account.static_address
    host = urlsplit(account.root or "").hostname or ""
    if registered is None:
        if is_loopback(host):
            yield ok(part, "the broker is on this machine: no address is registered for it")
        else:
            told = "static_address is not set, so nothing can be held against the address that is registered at the broker"
            yield warn(part, told, f"set accounts.{name}.static_address to the registered one")
        return
    family = ip_address(registered).version
    if not is_loopback(host) and (first := _first_family(host)) not in (None, family):
        told = f"{host} is reached by IPv{first} first, and the registered address {registered} is of IPv{family}"
        mend = "prefer IPv4 (Linux: `precedence ::ffff:0:0/96 100` in /etc/gai.conf)" if family == 4 else "check the IPv6 route"
        yield fail(part, told, mend)
        return
    try:
        leaving = _find_leaving(facts, family)
    except EchoError as error:
        yield warn(part, f"{registered} is registered; {error}", "check the network, or server.echo_url")
        return
    if leaving is None:
        told = f"{registered} is registered, and nobody was asked which address orders leave from"
        yield warn(part, told, "bridge check --online, or set server.echo_url to a page that tells it")
    elif leaving == registered:
        yield ok(part, f"orders leave from {leaving}, as registered")
    else:
        told = f"orders leave from {leaving}, and {registered} is registered: the broker refuses them"
        yield fail(part, told, f"send them by {registered}, or register {leaving} {_ONE_A_WEEK}")


def _find_leaving(facts: Facts, family: int) -> str | None:
    """The address that the outside sees, as far as it is known without asking more than is allowed."""
    url = _echo(facts)
    if url is not None:
        return ask_address(url, family)
    local = local_address(family)
    return local if local is not None and ip_address(local).is_global else None


def _echo(facts: Facts) -> str | None:
    """Whom to ask for our address: who is named, or with --online the usual one; nobody without the user's word."""
    return facts.settings.server.echo_url or (_WHAT_IS_MY_ADDRESS if facts.online else None)


def ask_address(url: str, family: int | None = None) -> str:
    """The address that `url` sees us come from, in one family if named; EchoError tells why not."""
    transport = None if family is None else httpx.HTTPTransport(local_address=_ANY_LOCAL[family])
    try:
        with httpx.Client(transport=transport, timeout=ANSWER_WITHIN_S, trust_env=False) as http:
            told = http.get(url).raise_for_status().text.strip()
        return str(ip_address(told))
    except httpx.HTTPError as error:
        raise EchoError(f"{url} gave no answer ({type(error).__name__})") from None
    except ValueError:
        raise EchoError(f"{url} does not answer with an address") from None


def _first_family(host: str) -> int | None:
    """The family by which a client reaches the host first; None when there is no such name."""
    try:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return 6 if found and found[0][0] is socket.AF_INET6 else 4


def local_address(family: int = 4) -> str | None:
    """The address that the route to the internet starts from; None when there is no route."""
    with socket.socket(_FAMILIES[family], socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE[family])
            address: str = probe.getsockname()[0]
        except OSError:
            return None
    return None if is_loopback(address) else address
