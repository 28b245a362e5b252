"""Fields that the native format lacks: notes where they are harmless, refused where the order would be another."""

import pytest

from bridge.core.reasons import RefusalCode
from bridge.intake.unknown import LOOKALIKES, MAX_NOTE_CHARS, MAX_NOTES, RENAMED, STANDING, SYNONYMS, UNSUPPORTED, fold
from tests.unit.intake.builders import SIGNED, make_fields, make_token, read, refused


def test_unknown_fields_are_kept_as_notes():
    """Texts as they are, the rest as JSON; null says nothing."""
    more = {"comment": "EMA cross", "rsi": 55.5, "big": True, "tags": ["a", {"b": 1}], "none": None, "off": False}
    assert read(make_fields(**more)).notes == {
        "comment": "EMA cross",
        "rsi": "55.5",
        "big": "true",
        "tags": '["a",{"b":"1"}]',
    }


def test_notes_are_bounded_in_number_and_length():
    """The rest is dropped: the body itself is kept beside them."""
    notes = read(make_fields(**{f"note {n}{'k' * 100}": "v" * 1000 for n in range(MAX_NOTES + 5)})).notes
    assert len(notes) == MAX_NOTES
    assert all(len(name) <= 64 and len(text) == MAX_NOTE_CHARS for name, text in notes.items())


def test_notes_hold_no_token():
    """Where a sender repeats it: as a value, inside one, as a name, at the edge of what is cut off."""
    token = make_token()
    more = {"a": token, "b": {"c": [token]}, token: "x", "d": "y" * (MAX_NOTE_CHARS - 5) + token}
    notes = str(read(make_fields(**more)).notes)
    assert token[:20] not in notes
    assert token[-20:] not in notes
    assert "[token]" in notes


@pytest.mark.parametrize("name", ["trailing_stop", "trailingStop", "SL", "orders", "order_legs", "legs"])
@pytest.mark.parametrize("value", [{"price": "800"}, "800", 800, [1], True, 0])
def test_what_the_bridge_does_not_do_is_refused_by_name(name, value):
    """Never ignored: an entry without its stop is another order."""
    error = refused(make_fields(**{name: value}))
    assert (error.code, error.field) == (RefusalCode.E_UNSUPPORTED, name)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_every_unsupported_name_is_refused(name):
    """The whole list."""
    assert refused(make_fields(**{name: "1"})).code is RefusalCode.E_UNSUPPORTED


@pytest.mark.parametrize("value", [None, "", " ", False, {}, [], {"price": None, "percent": ""}, [None]])
def test_asking_for_nothing_is_fine(value):
    """Templates carry every field, filled or not."""
    body = {"stop_loss": value, "limit_price": value, "qty": value}
    assert read(make_fields(quantity=None) | body).quantity is None


@pytest.mark.parametrize(
    ("name", "meant"), [*RENAMED.items(), ("Quantity", "quantity"), ("orderType", "order_type"), ("TIME", "time")]
)
def test_misspelt_field_is_refused_with_the_right_name(name, meant):
    """A price or trigger under another name would silently make a market order."""
    error = refused(make_fields(**{name: "5"}))
    assert (error.code, error.field) == (RefusalCode.E_FIELD, name)
    assert f"`{meant}`" in str(error.hint)


@pytest.mark.parametrize(("name", "meant"), SYNONYMS.items())
def test_synonym_is_refused_where_the_field_is_missing_and_a_note_beside_it(name, meant):
    """Without the field a default would take its place unseen; with it, the field holds."""
    full = make_fields(order_type="MARKET", time_in_force="TTL", validity_minutes="5", product="MIS")
    assert read(full | {name: "5"}).notes == {name: "5"}
    del full[meant]
    error = refused(full | {name: "5"})
    assert (error.code, error.field) == (RefusalCode.E_FIELD, name)
    assert f"`{meant}`" in str(error.hint)


@pytest.mark.parametrize(
    ("name", "meant"), [("position_size", "target"), ("marketPosition", "state"), ("prev_market_position", "prev")]
)
@pytest.mark.parametrize("action", ["buy", "SELL"])
def test_where_the_strategy_stands_is_not_passed_over_beside_a_trade(name, meant, action):
    """`sell` with a position size of 0 is an exit to whoever writes it: as an entry it could open a short position."""
    error = refused(make_fields(action=action) | {name: "0"})
    assert (error.code, error.field) == (RefusalCode.E_FIELD, name)
    assert f"`{meant}`" in str(error.hint)
    if meant != "target":
        assert read(make_fields(action=action, **{meant: "flat"}) | {name: "flat"}).notes == {name: "flat"}


@pytest.mark.parametrize("name", STANDING)
def test_where_the_strategy_stands_is_a_note_beside_what_needs_it_not(name):
    """An exit must not fail by a field that changes nothing about it."""
    assert read(make_fields(action="exit") | {name: "0"}).notes == {name: "0"}
    assert read(make_fields(action=None, quantity=None, target="5") | {name: "5"}).notes == {name: "5"}


def test_target_takes_the_place_of_a_quantity():
    """{{strategy.order.contracts}} beside a target is only told."""
    fields = make_fields(action=None, quantity=None, target="5", contracts="10")
    assert read(fields).notes == {"contracts": "10"}


@pytest.mark.parametrize(("field", "name"), [(field, name) for field, names in LOOKALIKES.items() for name in names])
def test_missing_field_is_refused_with_the_lookalike_named(field, name):
    """The hint says which of the alert's fields was probably meant."""
    fields = make_fields(strategy="ema-cross")
    del fields[field]
    error = refused(fields | {name: "x"}, SIGNED)
    assert (error.code, error.field) == (RefusalCode.E_FIELD, field)
    assert f"There is a `{name}`; write `{field}`." in str(error.hint)


def test_lookalike_beside_the_field_is_a_note():
    """{{ticker}} is often sent along."""
    assert read(make_fields(ticker="SBIN", side="buy")).notes == {"ticker": "SBIN", "side": "buy"}


def test_long_name_is_no_misspelling():
    """Only what can be meant is compared."""
    assert fold("q" * 65) == ""
    assert fold("Stop-Loss Price") == "stoplossprice"
