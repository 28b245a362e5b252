"""Claims: each bound alone, on both sides, and what it names when it is passed."""

import pytest

from bridge.core.enums import Action, Product
from bridge.core.reasons import RefusalCode
from tests.unit.intake.builders import SIGNED, D, by_token, make_fields, read, refused, settings_with_live_account

BUY = make_fields()
SELL = make_fields(action="sell")
EXIT = make_fields(action="exit")
EXIT_ALL = make_fields(action="exit", quantity=None)
CANCEL = make_fields(action="cancel")
MODIFY = make_fields(action="modify", price="100")
ENTRY_BY_DEFAULT = make_fields(quantity=None)
TARGET = make_fields(action=None, quantity=None, target="-10")
FLAT = make_fields(action=None, quantity=None, target="0")
LIMIT = make_fields(order_type="LIMIT", price="100")
STOP = make_fields(order_type="SL-M", trigger_price="100")
FUTURE = make_fields(symbol="NSE:NIFTY1!")
GOLD = make_fields(symbol="MCX:GOLD1!", quantity="1", price="100")

ALLOWED = [
    ({}, BUY),
    ({"strategy": "ema-cross"}, BUY | {"strategy": "ema-cross"}),
    ({"symbols": frozenset({"NSE:SBIN"})}, BUY),
    ({"symbols": frozenset({"NSE:*"})}, BUY),
    ({"symbols": frozenset({"BSE:*", "NSE:SBIN"})}, BUY),
    ({"symbols": frozenset({"NSE:NIFTY1!"})}, FUTURE),
    ({"symbols": frozenset({"NFO:NIFTY26NOVFUT"})}, FUTURE),
    ({"symbols": frozenset({"NFO:*"})}, FUTURE),
    ({"symbols": frozenset({"NSE:NIFTY1!"})}, make_fields(symbol="nifty1!", exchange="nse")),
    ({"actions": frozenset({Action.BUY})}, BUY),
    ({"actions": frozenset({Action.BUY, Action.EXIT})}, EXIT),
    ({"actions": frozenset({Action.TARGET})}, TARGET),
    ({"actions": frozenset({Action.MODIFY})}, MODIFY),
    ({"product": Product.MIS}, BUY),
    ({"product": Product.CNC}, BUY | {"product": "CNC"}),
    ({"max_quantity": D(10)}, BUY),
    ({"max_quantity": D(10)}, TARGET),
    ({"max_quantity": D(1)}, FLAT),
    ({"max_quantity": D(1)}, EXIT_ALL),
    ({"max_quantity": D(1)}, CANCEL),
    ({"max_quantity": D(1)}, ENTRY_BY_DEFAULT),
    ({"strategy": "sized", "max_quantity": D(25)}, ENTRY_BY_DEFAULT),
    ({"strategy": "sized", "max_quantity": D(1)}, EXIT_ALL),
    ({"max_notional": D(1000)}, LIMIT),
    ({"max_notional": D(1000)}, STOP),
    ({"max_notional": D(1)}, BUY),
    ({"max_notional": D(1)}, EXIT | {"price": "100"}),
    ({"actions": frozenset({Action.SELL})}, SELL | {"state": "flat"}),
    ({"max_notional": D(1)}, ENTRY_BY_DEFAULT | {"price": "100"}),
    ({"max_notional": D(10_000)}, GOLD),
    ({"accounts": ("paper",)}, BUY),
    ({"env": "paper"}, BUY),
]

REFUSED = [
    ({"strategy": "sized"}, BUY | {"strategy": "ema-cross"}, "strategy"),
    ({"strategy": "sized"}, BUY | {"strategy": "no such"}, "strategy"),
    ({"symbols": frozenset({"NSE:INFY"})}, BUY, "symbol"),
    ({"symbols": frozenset({"BSE:*"})}, BUY, "symbol"),
    ({"symbols": frozenset({"NSE:*"})}, FUTURE, "symbol"),
    ({"symbols": frozenset({"NSE:SB"})}, BUY, "symbol"),
    ({"symbols": frozenset({"*"})}, BUY, "symbol"),
    ({"symbols": frozenset({"NSE:NIFTY2!"})}, FUTURE, "symbol"),
    ({"actions": frozenset({Action.BUY})}, SELL, "action"),
    ({"actions": frozenset({Action.BUY})}, CANCEL, "action"),
    ({"actions": frozenset({Action.BUY, Action.EXIT})}, SELL | {"state": "flat"}, "action"),
    ({"actions": frozenset(Action) - {Action.MODIFY}}, MODIFY, "action"),
    ({"max_quantity": D(9)}, MODIFY, "quantity"),
    ({"actions": frozenset({Action.BUY, Action.SELL, Action.EXIT, Action.CANCEL})}, TARGET, "target"),
    ({"actions": frozenset({Action.TARGET})}, BUY, "action"),
    ({"product": Product.CNC}, BUY | {"product": "MIS"}, "product"),
    ({"max_quantity": D("9.99")}, BUY, "quantity"),
    ({"max_quantity": D(9)}, EXIT, "quantity"),
    ({"max_quantity": D(9)}, TARGET, "target"),
    ({"strategy": "sized", "max_quantity": D(24)}, ENTRY_BY_DEFAULT, "quantity"),
    ({"max_notional": D("999.99")}, LIMIT, "quantity"),
    ({"max_notional": D("999.99")}, STOP, "quantity"),
    ({"max_notional": D("999.99")}, BUY | {"price": "100"}, "quantity"),
    ({"max_notional": D("999.99")}, TARGET | {"price": "100"}, "target"),
    ({"max_notional": D("9999.99")}, GOLD, "quantity"),
    ({"strategy": "sized", "max_notional": D(2499)}, ENTRY_BY_DEFAULT | {"price": "100"}, "quantity"),
    ({"max_notional": D(1)}, BUY | {"quantity": "9" * 18, "price": "9" * 18}, "quantity"),
    ({"accounts": ("elsewhere",)}, BUY, "accounts"),
    ({"env": "live"}, BUY, "accounts"),
    ({"accounts": ("second",), "env": "live"}, BUY, "accounts"),
]


@pytest.mark.parametrize(("claims", "fields"), ALLOWED)
def test_alert_within_its_claims_passes(claims, fields):
    """The bounds themselves are allowed; what a claim does not speak of is free."""
    assert read(fields, by_token(**claims)).max_notional == claims.get("max_notional")


@pytest.mark.parametrize(("claims", "fields", "field"), REFUSED)
def test_alert_beyond_its_claims_is_refused_by_field(claims, fields, field):
    """E_SCOPE, 403, with the mend."""
    error = refused(fields, by_token(**claims))
    assert (error.code, error.field) == (RefusalCode.E_SCOPE, field)
    assert "bridge alert new" in str(error.hint)


@pytest.mark.parametrize("fields", [BUY, SELL, EXIT, TARGET, LIMIT, GOLD])
def test_signed_alert_without_a_token_has_no_claims_to_pass(fields):
    """It is bound by the settings alone."""
    assert read(fields | {"strategy": "ema-cross"}, SIGNED).max_notional is None


@pytest.mark.parametrize(
    ("claims", "accounts"),
    [
        ({}, ("paper", "live")),
        ({"env": "paper"}, ("paper",)),
        ({"env": "live"}, ("live",)),
        ({"accounts": ("live", "paper")}, ("paper", "live")),
        ({"accounts": ("live", "elsewhere")}, ("live",)),
    ],
)
def test_accounts_are_those_of_strategy_and_token_both(claims, accounts):
    """Paper or live is what the account's broker is."""
    signal = read(BUY, by_token(strategy="both", **claims), settings=settings_with_live_account())
    assert signal.accounts == accounts


def test_token_for_the_wrong_kind_of_account_is_refused():
    """Nothing is left to trade on."""
    error = refused(BUY, by_token(strategy="both", accounts=("paper",), env="live"), settings=settings_with_live_account())
    assert (error.code, error.field) == (RefusalCode.E_SCOPE, "accounts")


def test_scope_is_told_before_staleness():
    """403 is about the sender, 422 about the alert."""
    error = refused(BUY | {"time": "2020-01-01T00:00:00Z"}, by_token(actions=frozenset({Action.SELL})))
    assert error.code is RefusalCode.E_SCOPE
