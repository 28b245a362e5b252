"""Requests for tokens: what is asked for becomes claims, what is wrong names its field."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Action, Product
from bridge.core.errors import RefusedError
from bridge.minting import CLAIM_NAMES, alert_message, read_request, shown_claims
from bridge.settings import Settings
from tests.support.rigs import make_settings

NOW = datetime(2026, 11, 20, 5, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("minting")
    return make_settings(folder)


def test_everything_asked_for_becomes_a_claim(settings: Settings) -> None:
    """Each bound is read, and shown as it was asked for."""
    request = {
        "strategy": "demo",
        "accounts": ["paper"],
        "symbols": ["nse:sbin", "NSE:*"],
        "actions": ["BUY", "exit"],
        "product": "mis",
        "max_quantity": "10.0",
        "max_notional": 50_000,
        "env": "paper",
        "expires": "2027-01-31",
    }
    claims = read_request(request, settings, "k1", NOW)
    assert claims.symbols == {"NSE:SBIN", "NSE:*"}
    assert claims.actions == {Action.BUY, Action.EXIT}
    assert (claims.product, claims.max_quantity, claims.max_notional) == (Product.MIS, Decimal(10), Decimal(50_000))
    # To the end of that day in India.
    assert claims.expires_at == datetime(2027, 1, 31, 18, 30, tzinfo=UTC)
    assert shown_claims(claims) == {
        "strategy": "demo",
        "accounts": ["paper"],
        "symbols": ["NSE:*", "NSE:SBIN"],
        "actions": ["buy", "exit"],
        "product": "MIS",
        "env": "paper",
        "max_quantity": "10",
        "max_notional": "50000",
        "expires": "2027-01-31T18:30:00.000Z",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "other"),
        ("strategy", 5),
        ("accounts", ["elsewhere"]),
        ("accounts", {"a": 1}),
        ("symbols", ["SBIN"]),
        ("symbols", [5]),
        ("actions", ["hold"]),
        ("product", "BO"),
        ("max_quantity", "ten"),
        ("max_quantity", "-1"),
        ("max_quantity", True),
        ("max_notional", "NaN"),
        ("env", "sandbox"),
        ("expires", "tomorrow"),
        ("expires", "2020-01-01"),
        ("expires", "2027-01-01T10:00:00"),
        ("expires", "9999-12-31"),
        ("colour", "blue"),
    ],
)
def test_what_is_wrong_names_its_field(settings: Settings, field: str, value: Any) -> None:
    """A wrong claim is refused with the field and a mend; no token of other worth is made."""
    with pytest.raises(RefusedError) as caught:
        read_request({"strategy": "demo", field: value}, settings, "k1", NOW)
    assert caught.value.field == field
    assert caught.value.hint


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.dictionaries(st.sampled_from([*CLAIM_NAMES, "other"]), _JSON))
def test_any_request_is_claims_or_a_refusal(settings: Settings, request: dict[str, Any]) -> None:
    """No request reaches another exception."""
    try:
        claims = read_request({**request, "strategy": "demo"}, settings, "k1", NOW)
    except RefusedError:
        return
    assert json.loads(alert_message(claims, "v1.x.y"))["token"] == "v1.x.y"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, {"symbol": "{{exchange}}:{{ticker}}", "action": "{{strategy.order.action}}"}),
        ({"symbols": "NSE:SBIN"}, {"symbol": "NSE:SBIN", "quantity": "{{strategy.order.contracts}}"}),
        ({"symbols": "NSE:*"}, {"symbol": "{{exchange}}:{{ticker}}"}),
        ({"actions": "exit"}, {"action": "exit"}),
        ({"actions": "buy"}, {"action": "buy", "quantity": "{{strategy.order.contracts}}"}),
        ({"actions": "target"}, {"target": "{{strategy.position_size}}", "state": "{{strategy.market_position}}"}),
    ],
)
def test_the_message_fits_the_claims(settings: Settings, claims: dict[str, str], expected: dict[str, str]) -> None:
    """What is pasted into TradingView asks for no more than the token allows, and always carries the alert's time."""
    message = json.loads(alert_message(read_request({"strategy": "demo", **claims}, settings, "k1", NOW), "v1.x.y"))
    assert expected.items() <= message.items()
    assert message["time"] == "{{timenow}}"
    assert ("action" in message) != ("target" in message)
