"""A signal is kept as text and comes back the same."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.errors import InvariantError
from bridge.core.signal import Signal
from bridge.core.signal_codec import signal_from_json, signal_to_json

amounts = st.none() | st.decimals(min_value=-(10**17), max_value=10**17, allow_nan=False, places=8)
signals = st.builds(
    Signal,
    strategy=st.text(min_size=1),
    symbol=st.text(min_size=1),
    action=st.sampled_from(Action),
    accounts=st.lists(st.text(), min_size=1, max_size=3).map(tuple),
    product=st.sampled_from(Product),
    signal_at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(fold=0)),
    is_timed=st.booleans(),
    quantity=amounts,
    target=amounts,
    state=st.none() | st.sampled_from(MarketPosition),
    prev=st.none() | st.sampled_from(MarketPosition),
    side=st.none() | st.sampled_from(Side),
    ord_type=st.sampled_from(OrdType),
    price=amounts,
    trigger_price=amounts,
    time_in_force=st.sampled_from(TimeInForce),
    variety=st.sampled_from(Variety),
    iceberg_legs=st.integers(0, 50),
    validity_minutes=st.integers(0, 360),
    max_notional=amounts,
    notes=st.dictionaries(st.text(), st.text(), max_size=3),
)
PLAIN = Signal(
    strategy="demo",
    symbol="NSE:SBIN",
    action=Action.BUY,
    accounts=("paper",),
    product=Product.MIS,
    signal_at=datetime(2026, 11, 20, 4, 15, 2, 123456, tzinfo=UTC),
)


@settings(max_examples=300, deadline=None)
@given(signals)
def test_signal_comes_back_as_it_was(signal):
    """Every field, in value and in kind."""
    back = signal_from_json(signal_to_json(signal))
    assert back == signal
    assert repr(back) == repr(signal)


def test_text_is_small_and_says_only_what_is_there():
    """Nothing for what is None."""
    assert json.loads(signal_to_json(PLAIN)) == {
        "strategy": "demo",
        "symbol": "NSE:SBIN",
        "action": "buy",
        "accounts": ["paper"],
        "product": "MIS",
        "signal_us": 1795148102123456,
        "ord_type": "MARKET",
        "time_in_force": "DAY",
    }


@pytest.mark.parametrize(
    "change", [{"action": "fly"}, {"quantity": "ten"}, {"signal_us": "x"}, {"signal_us": 10**30}, {"accounts": 5}]
)
def test_text_that_was_spoilt_is_an_alarm(change):
    """InvariantError: the store gave back what was never written."""
    spoilt = json.loads(signal_to_json(PLAIN)) | change
    with pytest.raises(InvariantError):
        signal_from_json(json.dumps(spoilt))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "5", '"x"', "{"])
def test_text_that_is_no_signal_is_an_alarm(text):
    """The same for any other text."""
    with pytest.raises(InvariantError):
        signal_from_json(text)
