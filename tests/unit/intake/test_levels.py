"""Reading stops and targets: what they may look like, and on which sides they may lie."""

from decimal import Decimal
from typing import Any

import pytest

from bridge.core.enums import Action
from bridge.core.errors import RefusedError
from bridge.core.protection import Level, Protect
from bridge.core.reasons import RefusalCode
from bridge.intake.levels import read_protect, refuse_unprotected

D = Decimal


def read(
    stop: object = None,
    target: object = None,
    *,
    action: Action = Action.BUY,
    wanted: str | None = None,
    price: str | None = None,
) -> Protect | None:
    fields = {"stop_loss": stop, "take_profit": target}
    return read_protect(fields, action, None if wanted is None else D(wanted), None if price is None else D(price))


def refused(*words: Any, **named: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read(*words, **named)
    return caught.value


def test_a_price_or_a_percentage() -> None:
    """As text or number, each by itself or both."""
    assert read({"price": "800"}) == Protect(stop_loss=Level(price=D(800)))
    assert read(None, {"percent": D("2.5")}) == Protect(take_profit=Level(percent=D("2.5")))
    both = read({"percent": "2", "price": None}, {"price": "900"}, price="850")
    assert both == Protect(stop_loss=Level(percent=D(2)), take_profit=Level(price=D(900)))


@pytest.mark.parametrize("nothing", [None, "", False, {}, [], {"price": None, "percent": ""}])
def test_nothing_asks_for_nothing(nothing: object) -> None:
    """Templates carry every field."""
    assert read(nothing, nothing) is None


@pytest.mark.parametrize(("action", "wanted"), [(Action.EXIT, None), (Action.CANCEL, None), (Action.TARGET, "0")])
def test_where_nothing_is_opened_there_is_nothing_to_read(action: Action, wanted: str | None) -> None:
    """What closes must not be refused for it."""
    assert read("whatever", action=action, wanted=wanted) is None


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ("800", RefusalCode.E_FIELD, "stop_loss"),
        (D(800), RefusalCode.E_FIELD, "stop_loss"),
        ([D(1)], RefusalCode.E_FIELD, "stop_loss"),
        (True, RefusalCode.E_FIELD, "stop_loss"),
        ({"price": "800", "percent": "2"}, RefusalCode.E_FIELD, "stop_loss"),
        ({"price": "800", "trail": "2"}, RefusalCode.E_FIELD, "stop_loss"),
        ({"percent": "100"}, RefusalCode.E_FIELD, "stop_loss.percent"),
        ({"percent": "0"}, RefusalCode.E_NUMBER, "stop_loss.percent"),
        ({"price": "-1"}, RefusalCode.E_NUMBER, "stop_loss.price"),
        ({"price": "abc"}, RefusalCode.E_NUMBER, "stop_loss.price"),
    ],
)
def test_what_is_no_level_is_refused(value: object, code: RefusalCode, field: str) -> None:
    """By its name, with an example."""
    error = refused(value)
    assert (error.code, error.field) == (code, field)
    assert error.hint


@pytest.mark.parametrize(
    ("action", "wanted", "stop", "price", "target", "field"),
    [
        (Action.BUY, None, "800", "800", None, "stop_loss"),
        (Action.BUY, None, "900", None, "850", "stop_loss"),
        (Action.BUY, None, None, "850", "850", "take_profit"),
        (Action.SELL, None, "800", "850", None, "stop_loss"),
        (Action.SELL, None, None, "850", "900", "take_profit"),
        (Action.TARGET, "5", "900", "850", None, "stop_loss"),
        (Action.TARGET, "-5", "800", "850", None, "stop_loss"),
    ],
)
def test_levels_lie_on_their_sides(
    action: Action, wanted: str | None, stop: str | None, price: str | None, target: str | None, field: str
) -> None:
    """Of the price, and of each other where no price is known."""
    levels = [None if level is None else {"price": level} for level in (stop, target)]
    error = refused(*levels, action=action, wanted=wanted, price=price)
    assert (error.code, error.field) == (RefusalCode.E_FIELD, field)


def test_right_sides_are_fine() -> None:
    """For long and for short."""
    assert read({"price": "800"}, {"price": "900"}, price="850") is not None
    assert read({"price": "900"}, {"price": "800"}, price="850", action=Action.SELL) is not None
    assert read({"price": "900"}, {"price": "800"}, price="850", action=Action.TARGET, wanted="-5") is not None


def test_the_refusal_names_what_was_asked() -> None:
    """And the setting that says where it can be."""
    stop, target = Protect(stop_loss=Level(price=D(1))), Protect(take_profit=Level(price=D(1)))
    for protect, field in ((stop, "stop_loss"), (target, "take_profit")):
        error = refuse_unprotected(protect, "zerodha", "MIS", "NSE:SBIN")
        assert (error.code, error.field) == (RefusalCode.E_UNSUPPORTED, field)
        assert "accounts.zerodha.protection_products" in str(error.hint)
