"""Prices of the Kite stream: read by the vendor's own parser, exact, and never of the future."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiteconnect import KiteTicker

from bridge.brokers.kite.ticker import Link, read_tick
from bridge.core.money import to_text
from bridge.sandbox.kite.ticks import MODES, divisor_of, pack_frame, pack_tick
from tests.support.clocks import NOON, StillClock
from tests.support.kite import make_box
from tests.support.plays import play

SHARE, CURRENCY, FINE, INDEX = 256 * 3_000 + 1, 256 * 3_000 + 3, 256 * 3_000 + 6, 256 * 1_000 + 9


def parse(frame: bytes) -> list[dict]:
    found: list[dict] = KiteTicker("key", "token")._parse_binary(frame)
    return found


@given(st.sampled_from([SHARE, CURRENCY, FINE]), st.integers(1, 2**32 - 1))
def test_a_price_is_exactly_what_was_on_the_wire(token, units):
    """The vendor's client divides into a float; its repr still names the one number that was meant."""
    packet = token.to_bytes(4, "big") + units.to_bytes(4, "big")
    (told,) = parse(pack_frame([packet]))
    assert read_tick(told, NOON).price == Decimal(units) / divisor_of(token)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("symbol", ["NSE:SBIN", "NSE:NIFTY 50", "CDS:USDINR26NOVFUT"])
def test_every_mode_of_every_kind_gives_a_price(mode, symbol):
    """Shares, indices and currencies come in packets of their own lengths."""
    box = make_box()
    box.set_price(symbol, Decimal("88.25"))
    item = box.market.listed[symbol]
    (told,) = parse(pack_frame([pack_tick(box.market, item, mode, StillClock())]))
    tick = read_tick(told, NOON)
    assert (tick.token, to_text(tick.price)) == (item.token, "88.25")
    assert tick.at == NOON


@pytest.mark.parametrize(
    ("stamped", "expected"),
    [
        (
            NOON - timedelta(hours=20),
            NOON - timedelta(hours=20) + timedelta(microseconds=999_999),
        ),  # yesterday's close is no price of now
        (NOON + timedelta(seconds=3), NOON),  # the exchange's clock is ahead of ours
        (datetime.fromtimestamp(0, UTC), NOON),  # no time at all
        (None, NOON),
    ],
)
def test_a_price_is_as_old_as_the_exchange_says_and_never_newer_than_now(stamped, expected):
    """The parser gives local time without a zone, whatever the machine's zone is."""
    local = None if stamped is None else stamped.astimezone().replace(tzinfo=None)
    told = {"instrument_token": SHARE, "last_price": 812.5, "exchange_timestamp": local}
    assert read_tick(told, NOON).at == expected


def make_link(clock: StillClock, woken: list[bool]) -> Link:
    return Link(root="ws://127.0.0.1:1", api_key="key", token="token", clock=clock, wake=lambda: woken.append(True))


@given(st.lists(st.tuples(st.binary(max_size=400), st.booleans()), max_size=20))
def test_whatever_comes_in_nothing_is_raised_and_nothing_unwanted_kept(messages):
    """A message that cannot be read must not end the link; at worst it is a reason to look."""

    async def story() -> None:
        link = make_link(StillClock(), [])
        for payload, is_binary in messages:
            link._ticker._on_message(None, payload, is_binary)
        _has_update, ticks = link.take()
        assert ticks == {}

    play(story)


@pytest.mark.parametrize("text", [b"[]", b"\xff", b"{", b'"x"', b'{"type":"order","data":{"order_id":"1"}}', b"[" * 50_000])
def test_an_update_and_a_text_that_cannot_be_read_are_reasons_to_look(text):
    """What cannot be read may have been about an order, except for what is no JSON at all, which the vendor's client drops."""

    async def story() -> None:
        link = make_link(StillClock(), [])
        link._ticker._on_message(None, text, False)
        assert link.take()[0] is (text != b"{")

    play(story)


def test_between_two_takings_the_event_loop_is_woken_once_and_only_the_newest_price_waits():
    """A flood of ticks costs the event loop one wake-up and one price per instrument."""

    async def story() -> None:
        woken: list[bool] = []
        link = make_link(StillClock(), woken)
        link._wanted = {SHARE}
        for units in range(1, 1_000):
            packets = [token.to_bytes(4, "big") + units.to_bytes(4, "big") + bytes(24) for token in (SHARE, FINE)]
            link._ticker._on_message(None, pack_frame(packets), True)
        await asyncio.sleep(0)
        assert woken == [True]
        has_update, ticks = link.take()
        assert (has_update, [(t.token, t.price) for t in ticks.values()]) == (False, [(SHARE, Decimal("9.99"))])
        link._ticker._on_message(None, pack_frame([SHARE.to_bytes(4, "big") + bytes(28)]), True)
        link._ticker._on_message(None, pack_frame([SHARE.to_bytes(4, "big") * 2]), True)  # nor is one that says no time
        assert link.take() == (False, {})  # a price of zero is no price
        await asyncio.sleep(0)
        assert woken == [True, True]

    play(story)
