"""Who is calling: the sender's true address, and the list it has to be on."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.settings import TRADINGVIEW_ADDRESSES, Settings, is_loopback

MAX_HOPS = 16
MAX_ADDRESS_CHARS = 64
REMEMBERED_ADDRESSES = 4096
_SHOWN_CHARS = 45  # the longest IPv6 address


class AddressList:
    """Addresses and networks; answers are remembered, as the same few senders come again and again."""

    def __init__(self, networks: Iterable[str]):
        self._networks = [ip_network(network, strict=False) for network in networks]
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        known = self._known.get(address)
        if known is None:
            parsed = parse_address(address)
            known = parsed is not None and any(parsed in network for network in self._networks)
            if len(self._known) >= REMEMBERED_ADDRESSES:
                self._known.clear()
            self._known[address] = known
        return known


class AddressGate:
    """The rule of `webhook.addresses`.

    A list in the settings binds every request, an empty one none. With no list, TradingView's own addresses bind
    what comes with a token, unless nothing but this machine can reach the bridge.
    """

    def __init__(self, settings: Settings):
        listed = settings.webhook.addresses
        self._trusted = AddressList(settings.server.trusted_proxies)
        self._is_explicit = listed is not None
        is_local = is_loopback(settings.server.host) and not self._trusted
        chosen = listed if listed is not None else () if is_local else TRADINGVIEW_ADDRESSES
        self._allowed = AddressList(chosen)

    def check(self, *, peer: str, forwarded: str | None, is_signed: bool) -> None:
        """RefusedError E_ADDRESS when the sender is not on the list that binds this request."""
        if not self._allowed or (is_signed and not self._is_explicit):
            return
        sender = client_address(peer, forwarded, self._trusted)
        if sender in self._allowed:
            return
        raise RefusedError(
            RefusalCode.E_ADDRESS,
            f"The sender's address {sender[:_SHOWN_CHARS]!a} is not on the list of allowed addresses.",
            hint="Add it to webhook.addresses; behind a proxy, name the proxy in server.trusted_proxies.",
        )


def client_address(peer: str, forwarded: str | None, trusted: AddressList) -> str:
    """The sender's address: the peer's own, or where trusted proxies say they had the request from.

    `forwarded` is X-Forwarded-For (several headers joined by commas). It is read from the right, each proxy
    vouching for the entry before its own; the first address that is no trusted proxy is the sender, whatever it
    claims further left.
    """
    if not forwarded or peer not in trusted:
        return peer
    sender = peer
    for entry in reversed(forwarded.rsplit(",", MAX_HOPS)):
        address = parse_address(_without_port(entry.strip()))
        if address is None:
            break
        sender = str(address)
        if sender not in trusted:
            break
    return sender


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, an IPv4 one also where it is written as IPv6 (::ffff:10.0.0.1); None when it is none."""
    if len(text) > MAX_ADDRESS_CHARS:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, _ = text.partition(":")
    return host if colon and "." in host else text
