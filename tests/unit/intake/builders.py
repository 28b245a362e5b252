"""What the tests of intake are made of: one strategy, a few instruments, a key, and short ways to make what is sent."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import hypothesis

from bridge.core.claims import Claims
from bridge.core.enums import InstrumentKind, Source
from bridge.core.errors import RefusedError
from bridge.core.instrument import Instrument
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from bridge.intake.native import read_fields
from bridge.intake.tokens import KEY_ID, mint_token, token_keys
from bridge.intake.validate import read_signal
from bridge.intake.verify import Credential, Delivery, Verifier
from bridge.settings import AccountSettings, Settings, StrategySettings

NOW = datetime(2026, 11, 20, 4, 15, 5, tzinfo=UTC)
SENT = "2026-11-20T04:15:02Z"
STRATEGY, SYMBOL = "ema-cross", "NSE:SBIN"
T = TypeVar("T")
PEER = "203.0.113.9"
WHSEC = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
FUZZ = hypothesis.settings(max_examples=300, deadline=None)
D = Decimal  # short, for tables of numbers


class FixedKeys:
    """A key source without a vault."""

    def key(self, purpose: str) -> bytes:
        return purpose.encode().ljust(32, b"k")[:32]


KEYS = token_keys(FixedKeys())
KEY = KEYS[KEY_ID]


def make_instrument(symbol: str, **changes: Any) -> Instrument:
    exchange, _, name = symbol.partition(":")
    fields: dict[str, Any] = {
        "symbol": symbol,
        "exchange": exchange,
        "tradingsymbol": name,
        "name": name,
        "kind": InstrumentKind.EQ,
        "tick": D("0.05"),
        "lot": D(1),
    }
    return Instrument(**(fields | changes))


class FakeCatalog:
    """Knows a handful of instruments; spells like TradingView or like the broker."""

    def __init__(self) -> None:
        future = make_instrument("NFO:NIFTY26NOVFUT", kind=InstrumentKind.FUT, lot=D(65))
        gold = make_instrument("MCX:GOLD26DECFUT", kind=InstrumentKind.FUT, multiplier=D(100))
        self.known = {
            SYMBOL: make_instrument(SYMBOL),
            "NSE:INFY": make_instrument("NSE:INFY"),
            "BSE:SBIN": make_instrument("BSE:SBIN"),
            "NSE:NIFTY1!": future,
            "MCX:GOLD1!": gold,
        }

    def resolve(self, text: str) -> Instrument:
        found = self.known.get(text.upper())
        if found is None:
            raise RefusedError(RefusalCode.E_SYMBOL, field="symbol")
        return found


CATALOG = FakeCatalog()


def make_settings(**changes: Any) -> Settings:
    """Two strategies; `changes` are branches of the tree, as in the file."""
    base: dict[str, Any] = {
        "accounts": {"paper": {"broker": "paper"}, "second": {"broker": "paper"}},
        "strategies": {
            STRATEGY: {"accounts": ["paper", "second"], "product": "MIS"},
            "sized": {"accounts": ["paper"], "product": "CNC", "quantity": "25"},
        },
        "server": {"host": "127.0.0.1"},
    }
    return Settings(**(base | changes))


@cache
def default_settings() -> Settings:
    return make_settings()


@cache
def settings_with_live_account() -> Settings:
    """An account whose broker is none that ships yet, so that paper and live can be told apart."""
    base = default_settings()
    live = AccountSettings.model_construct(broker="kite")
    both = StrategySettings(accounts=("paper", "live"))
    return base.model_copy(
        update={"accounts": {**base.accounts, "live": live}, "strategies": {**base.strategies, "both": both}}
    )


def make_claims(**changes: Any) -> Claims:
    fields: dict[str, Any] = {"key_id": KEY_ID, "token_id": "T0KEN1", "strategy": STRATEGY}
    return Claims(**(fields | changes))


def make_token(**changes: Any) -> str:
    return mint_token(make_claims(**changes), KEY)


def make_fields(**changes: Any) -> dict[str, Any]:
    """A native alert that is fine as it is; None takes a field away."""
    fields = {"symbol": SYMBOL, "action": "buy", "quantity": "10", "time": SENT} | changes
    return {name: value for name, value in fields.items() if value is not None}


def make_body(**changes: Any) -> bytes:
    return json.dumps(make_fields(**{"token": make_token(), **changes})).encode()


def make_delivery(body: bytes = b"{}", **changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "body": body,
        "headers": {},
        "path_token": None,
        "peer": PEER,
        "received_at": NOW,
    }
    return Delivery(**(fields | changes))


def make_verifier(settings: Settings | None = None, revoked: Callable[[str], bool] = lambda _: False) -> Verifier:
    return Verifier(settings or default_settings(), FixedKeys(), revoked)


def by_token(**claims: Any) -> Credential:
    return Credential(name="T0KEN1", source=Source.TRADINGVIEW, claims=make_claims(**claims))


SIGNED = Credential(name="signed:1", source=Source.SIGNED)


def read(
    fields: Mapping[str, object] | bytes,
    credential: Credential | None = None,
    *,
    settings: Settings | None = None,
    received_at: datetime = NOW,
) -> Signal:
    """The signal of these fields, which go through JSON as in life."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return read_signal(read_fields(body), credential or by_token(), received_at, CATALOG, settings or default_settings())


def attempt(act: Callable[[], T]) -> T | RefusedError:
    """What `act` gives, or its refusal; any other error is a failure of the test."""
    try:
        return act()
    except RefusedError as error:
        return error


def refusal(act: Callable[[], object]) -> RefusedError:
    """The refusal that `act` ends in; fails when it does not."""
    result = attempt(act)
    assert isinstance(result, RefusedError), f"not refused but {result!r}"
    return result


def refused(fields: Mapping[str, object] | bytes, credential: Credential | None = None, **options: Any) -> RefusedError:
    """The refusal of these fields."""
    return refusal(lambda: read(fields, credential, **options))
