"""The sender's true address, and the list it has to be on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.addresses import (
    MAX_HOPS,
    REMEMBERED_ADDRESSES,
    AddressGate,
    AddressList,
    client_address,
    parse_address,
)
from bridge.settings import TRADINGVIEW_ADDRESSES
from tests.unit.intake.builders import FUZZ, attempt, make_settings, refusal

PROXY, INNER, SENDER = "10.0.0.1", "10.0.0.2", "52.89.214.238"
TRUSTED = AddressList(["10.0.0.0/24", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "sender"),
    [
        (SENDER, None, SENDER),
        (SENDER, "1.1.1.1", SENDER),
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, SENDER, SENDER),
        (PROXY, f"1.1.1.1, {SENDER}", SENDER),
        (PROXY, f"1.1.1.1,{SENDER} , {INNER}", SENDER),
        (PROXY, f"{INNER}, {INNER}", INNER),
        (PROXY, f"1.1.1.1, nonsense, {INNER}", INNER),
        (PROXY, "nonsense", PROXY),
        (PROXY, f"{SENDER}, ", PROXY),
        (PROXY, "unknown", PROXY),
        (PROXY, f"{SENDER}:4711", SENDER),
        (PROXY, f"::ffff:{SENDER}", SENDER),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, "2001:DB8:0::1", "2001:db8::1"),
        (f"::ffff:{PROXY}", SENDER, SENDER),
        ("fd00::1", SENDER, SENDER),
        ("", SENDER, ""),
        ("unix:", SENDER, "unix:"),
        (PROXY, "x" * 100_000, PROXY),
        (PROXY, "1.1.1.1," + f"{INNER}," * MAX_HOPS + INNER, INNER),
    ],
)
def test_forwarded_header_is_believed_only_as_far_as_trusted_proxies_vouch(peer, forwarded, sender):
    """Read from the right; the first address that is no trusted proxy is the sender."""
    assert client_address(peer, forwarded, TRUSTED) == sender


@FUZZ
@given(st.text(max_size=30), st.text("0123456789abcdef.:, []%x", max_size=200) | st.text(max_size=50))
def test_no_header_crashes_or_is_believed_from_a_stranger(peer, forwarded):
    """Any peer and any header give an address; a stranger's header changes nothing."""
    sender = client_address(peer, forwarded, TRUSTED)
    assert sender == peer or peer in TRUSTED
    assert client_address(PROXY, forwarded, TRUSTED) == PROXY or parse_address(client_address(PROXY, forwarded, TRUSTED))


def test_list_answers_for_addresses_networks_and_mapped_ones():
    """Exact addresses, networks, and IPv4 within IPv6."""
    some = AddressList(["52.89.214.238", "2001:db8::/32", "192.0.2.7/24"])
    for address in ("52.89.214.238", "::ffff:52.89.214.238", "2001:db8::5", "192.0.2.200"):
        assert address in some
        assert address in some  # the second time from memory
    for address in ("52.89.214.239", "2001:db9::5", "", "nonsense", "52.89.214.238.", "1" * 100):
        assert address not in some
    assert some
    assert not AddressList([])


def test_memory_of_addresses_is_bounded():
    """A sender with many addresses fills no memory."""
    some = AddressList(["10.0.0.0/8"])
    for number in range(REMEMBERED_ADDRESSES + 10):
        assert f"10.0.{number >> 8}.{number & 255}" in some
    assert len(some._known) <= REMEMBERED_ADDRESSES


def passes(gate, peer, *, forwarded=None, is_signed=False):
    outcome = attempt(lambda: gate.check(peer=peer, forwarded=forwarded, is_signed=is_signed))
    if isinstance(outcome, RefusedError):
        assert outcome.code is RefusalCode.E_ADDRESS
    return outcome is None


def gate(*, host="0.0.0.0", proxies=(), addresses=None):
    return AddressGate(make_settings(server={"host": host, "trusted_proxies": proxies}, webhook={"addresses": addresses}))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_no_list_on_loopback_lets_everybody_in(host):
    """Only this machine can come."""
    assert passes(gate(host=host), "127.0.0.1")


def test_no_list_behind_a_proxy_on_loopback_is_tradingviews():
    """A trusted proxy means that the world can come through it."""
    behind = gate(host="127.0.0.1", proxies=("127.0.0.1",))
    assert passes(behind, "127.0.0.1", forwarded=SENDER)
    assert not passes(behind, "127.0.0.1", forwarded="1.1.1.1")
    assert not passes(behind, "127.0.0.1")


@pytest.mark.parametrize("address", TRADINGVIEW_ADDRESSES)
def test_no_list_lets_tradingview_in(address):
    """The published addresses."""
    assert passes(gate(), address)


def test_no_list_binds_tokens_and_not_signatures():
    """Signed senders are elsewhere by nature."""
    assert not passes(gate(), "1.1.1.1")
    assert passes(gate(), "1.1.1.1", is_signed=True)


def test_list_in_the_settings_binds_everybody():
    """An explicit list holds for signed senders and on loopback too."""
    own = gate(host="127.0.0.1", addresses=["192.0.2.0/24"])
    for is_signed in (False, True):
        assert passes(own, "192.0.2.9", is_signed=is_signed)
        assert not passes(own, "127.0.0.1", is_signed=is_signed)
        assert not passes(own, SENDER, is_signed=is_signed)


def test_empty_list_binds_nobody():
    """[] switches it off."""
    assert passes(gate(addresses=[]), "1.1.1.1")


def test_refusal_names_the_address_and_the_mend():
    """A proxy that is not configured shows itself here."""
    error = refusal(lambda: gate().check(peer="10.0.0.1\n", forwarded=SENDER, is_signed=False))
    assert "'10.0.0.1\\n'" in error.message
    assert "server.trusted_proxies" in str(error.hint)
