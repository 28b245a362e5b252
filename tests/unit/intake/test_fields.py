"""Readers of single fields: what they take, and how they refuse."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Product
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.fields import (
    check_values,
    is_absent,
    leaves,
    read_number,
    read_positive,
    read_text,
    read_time,
    read_word,
    shown,
    words_of,
)
from tests.unit.intake.builders import FUZZ, D, attempt, refusal

ABSENT = [{}, {"x": None}, {"x": ""}, {"x": " \t"}]
WORDS = words_of(Product)
read_product = partial(read_word, words=WORDS)
anything: st.SearchStrategy[object] = st.none() | st.booleans() | st.text() | st.decimals() | st.just([]) | st.just({"a": 1})


@pytest.mark.parametrize("fields", ABSENT)
def test_absent_null_and_empty_are_the_same(fields):
    """Templates send empty texts and null for what they have not."""
    assert is_absent(fields.get("x"))
    assert read_text(fields, "x") is None
    assert read_number(fields, "x") is None
    assert read_positive(fields, "x") is None
    assert read_time(fields, "x") is None
    assert read_word(fields, "x", WORDS) is None


@FUZZ
@given(anything)
def test_readers_give_a_value_or_refuse_by_name(value):
    """Whatever the field holds."""
    fields = {"x": value}
    readers: list[Callable[..., object]] = [read_text, read_number, read_positive, read_time, read_product]
    for read in readers:
        outcome = attempt(partial(read, fields, "x"))
        if isinstance(outcome, RefusedError):
            assert outcome.field == "x"
            assert outcome.code in (RefusalCode.E_FIELD, RefusalCode.E_NUMBER)


@pytest.mark.parametrize(("value", "text"), [(" a b ", "a b"), (D("10.50"), "10.50"), ("é", "é")])
def test_text_comes_without_blanks_around_it(value, text):
    """Numbers count as the text they were written with."""
    assert read_text({"x": value}, "x") == text


@pytest.mark.parametrize("value", [True, [], {}, ["a"]])
def test_text_of_another_kind_is_refused(value):
    """E_FIELD names it."""
    assert refusal(lambda: read_text({"x": value}, "x")).code is RefusalCode.E_FIELD


@pytest.mark.parametrize(
    ("value", "number"),
    [("10", "10"), (" 812.50 ", "812.5"), (D("75.0"), "75"), ("-5", "-5"), ("1e3", "1000"), ("+7", "7"), (".5", "0.5")],
)
def test_number_comes_as_number_or_text(value, number):
    """TradingView's templates put numbers into quotes as often as not."""
    assert read_number({"x": value}, "x") == D(number)


@pytest.mark.parametrize("value", ["0", "-0", "0e999999", "-0.000", D("-0"), D("0E+99")])
def test_zero_is_plain_zero(value):
    """No sign and no exponent that later arithmetic would stumble over."""
    assert str(read_number({"x": value}, "x")) == "0"


@pytest.mark.parametrize(
    "value",
    [
        *("ten", "1,000", "1 000", "10 shares", "0x10", "１０", "1_000", "--1", "1e", "NaN", "nan", "na", "null"),
        *("Infinity", "-inf", "sNaN", "1e400", "9" * 19, "0.123456789", "1" * 65),
        *(True, False, [], {}, D("NaN"), D("Infinity"), D("1E+400"), D("1E-400"), D("9" * 5000)),
    ],
)
def test_what_is_no_plain_finite_decimal_is_refused(value):
    """E_NUMBER names the field and the mend; truth values are no numbers."""
    error = refusal(lambda: read_number({"x": value}, "x"))
    assert error.code is RefusalCode.E_NUMBER
    assert error.field == "x"
    assert error.hint


@pytest.mark.parametrize(
    ("value", "hint"), [("NaN", "no value"), ("na", "no value"), ("1,000", "separators"), ("ten", "plain decimal")]
)
def test_hint_for_a_number_fits_the_fault(value, hint):
    """What TradingView writes for "no value", separators, and the rest."""
    assert hint in str(refusal(lambda: read_number({"x": value}, "x")).hint)


@pytest.mark.parametrize("value", ["0", "-1", D("-0.01"), "0.0"])
def test_positive_number_must_be_above_zero(value):
    """Quantities and prices."""
    assert "above zero" in refusal(lambda: read_positive({"x": value}, "x")).message


def test_word_is_taken_in_any_case():
    """The list is closed; an unknown word is shown with the list."""
    assert read_word({"x": " mis "}, "x", WORDS) is Product.MIS
    error = refusal(lambda: read_word({"x": "BO"}, "x", WORDS))
    assert (error.code, error.field) == (RefusalCode.E_FIELD, "x")
    assert "'BO'" in error.message
    assert "MIS, CNC, NRML, MTF" in str(error.hint)
    unsupported = refusal(lambda: read_word({"x": "BO"}, "x", WORDS, RefusalCode.E_UNSUPPORTED))
    assert unsupported.code is RefusalCode.E_UNSUPPORTED


AT = datetime(2026, 11, 20, 4, 15, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20T04:15:02Z",
        "2026-11-20t04:15:02z",
        "2026-11-20 04:15:02+00:00",
        "2026-11-20T09:45:02+05:30",
        "2026-11-20T09:45:02.000+0530",
        "2026-11-19T23:15:02-05:00",
        "1795148102",
        "1795148102000",
        "1795148102.0",
        D("1795148102"),
        D("1795148102000"),
        D("1.795148102E+12"),
    ],
)
def test_time_is_rfc_3339_or_an_epoch(value):
    """Every spelling of the same moment; Pine's timenow is in milliseconds."""
    read = read_time({"x": value}, "x")
    assert read == AT
    assert read is not None
    assert read.tzinfo is UTC


def test_time_keeps_its_fraction():
    """To the microsecond."""
    assert read_time({"x": "2026-11-20T04:15:02.123456Z"}, "x") == AT + timedelta(microseconds=123456)
    assert read_time({"x": "1795148102.5"}, "x") == AT + timedelta(milliseconds=500)


@pytest.mark.parametrize("value", ["2026-11-20T04:15:02", "2026-11-20"])
def test_time_without_a_zone_is_refused_with_the_placeholder_to_use(value):
    """A guess would be wrong by five and a half hours for somebody."""
    error = refusal(lambda: read_time({"x": value}, "x"))
    assert "no time zone" in error.message
    assert "{{timenow}}" in str(error.hint)


@pytest.mark.parametrize(
    "value",
    [
        *("now", "20261120T041502Z", "2026-13-20T04:15:02Z", "2026-11-20T25:15:02Z", "2026-11-20T04:15:60Z"),
        *("0001-01-01T00:00:00+05:30", "9999-12-31T23:59:59-05:30", "0", "-1", "100000000000000", "NaN", D("NaN")),
        *("1795148102 s", "1712011230405x", "2026-", "    -", D("1E+400")),
    ],
)
def test_time_that_is_none_is_refused(value):
    """Also where the calendar ends."""
    assert refusal(lambda: read_time({"x": value}, "x")).code is RefusalCode.E_FIELD


@pytest.mark.parametrize("value", [True, [], {}])
def test_time_of_another_kind_is_refused(value):
    """As any text is."""
    assert refusal(lambda: read_time({"x": value}, "x")).code is RefusalCode.E_FIELD


@FUZZ
@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_time_written_by_python_reads_back(at):
    """Any moment that fits the calendar in UTC, in either zone."""
    outcome = attempt(lambda: read_time({"x": at.isoformat()}, "x"))
    assert outcome == at or isinstance(outcome, RefusedError)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"x": "{{close}}"}, "x"),
        ({"x": 'about {{ plot("a") }} now'}, "x"),
        ({"x": {"y": ["a", "{{close}}"]}}, "x.y[1]"),
        ({"{{x}}": "1"}, "{{x}}"),
        ({"x": {"{{y}}": 1}}, "x.{{y}}"),
        ({"ok": "1", "note": "{{}}"}, "note"),
    ],
)
def test_unfilled_placeholder_is_refused_wherever_it_is(fields, path):
    """In values, in names, and inside of objects; the field is named, and the placeholder."""
    error = refusal(lambda: check_values(fields))
    assert (error.code, error.field) == (RefusalCode.E_UNRESOLVED, path)
    assert "{{" in error.message


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_number_that_is_none_is_refused_wherever_it_is(value):
    """Also where nothing would read it: it is no JSON."""
    error = refusal(lambda: check_values({"x": {"y": [D(1), D(value)]}}))
    assert (error.code, error.field) == (RefusalCode.E_NUMBER, "x.y[1]")
    assert refusal(lambda: check_values({"x": D(value)})).field == "x"


def test_ordinary_values_pass():
    """Single braces and halves of placeholders are ordinary text."""
    check_values({"a": "{x}", "b": "{{x", "c": None, "d": True, "e": D(1), "f": {"g": ["h", None]}, "i": "}}{{"})


def test_names_in_answers_are_short_and_printable():
    """What a sender calls a field cannot spoil a page or a log."""
    error = refusal(lambda: check_values({"\x1b[31m" + "n" * 1000: "{{x}}"}))
    assert error.field is not None
    assert len(error.field) == 64
    assert error.field.isprintable()
    assert shown("a\nb") == "'a\ufffdb'"
    assert shown("x" * 41) == "'" + "x" * 40 + "…'"


def test_leaves_are_keys_and_values():
    """Both can carry what is looked for."""
    assert list(leaves({"a": [1, {"b": None}]}, "x")) == [
        ("x.a", "a"),
        ("x.a[0]", 1),
        ("x.a[1].b", "b"),
        ("x.a[1].b", None),
    ]
