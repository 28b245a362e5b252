"""Reading bodies: one JSON object comes out, or an answer that says where and why not."""

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.errors import InvariantError, RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake import native
from bridge.intake.native import MAX_BODY_BYTES, MAX_DEPTH, read_fields
from tests.unit.intake.builders import FUZZ, D, attempt, make_body, refusal

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def reason(body):
    return refusal(lambda: read_fields(body if isinstance(body, bytes) else body.encode()))


def test_numbers_come_out_exactly_as_written():
    """Money never passes through a float."""
    fields = read_fields(b'{"a": 0.1, "b": 10, "c": 1e2, "d": -0.05, "e": 123456789012345678901234567890}')
    assert fields == {"a": D("0.1"), "b": D(10), "c": D(100), "d": D("-0.05"), "e": D("123456789012345678901234567890")}
    assert all(type(value) is D for value in fields.values())


def test_other_values_come_out_as_they_are():
    """Texts, null, truth values, objects and arrays."""
    assert read_fields('{"é": "ü€", "n": null, "t": true, "o": {"x": []}}'.encode()) == {
        "é": "ü€",
        "n": None,
        "t": True,
        "o": {"x": []},
    }


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e99999999999999999999", "9" * 5000, "1" + "0" * 60_000]
)
def test_numbers_out_of_all_bounds_are_values_to_refuse_later(number):
    """The sender is known before the alert is refused for them; none of them crashes."""
    value = read_fields(f'{{"quantity": {number}}}'.encode())["quantity"]
    assert isinstance(value, D)


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t ", "\u2003".encode()])
def test_empty_body_says_where_it_comes_from(body):
    """An order without alert_message makes TradingView send nothing."""
    error = reason(body)
    assert error.code is RefusalCode.E_EMPTY
    assert "alert_message" in str(error.hint)


def test_body_above_64_kib_is_not_read():
    """The boundary itself is read."""
    body = b'{"a": "%s"}'
    assert read_fields(body % (b"x" * (MAX_BODY_BYTES - 9)))
    assert reason(body % (b"x" * (MAX_BODY_BYTES - 8))).code is RefusalCode.E_SIZE


FAULTS = [
    ('{"symbol":"SBIN","action":"buy","qty":10,}', "trailing comma at line 1, column 41"),
    ('{"a": 1,\n "b": 2 ,\n}', "trailing comma at line 2, column 9"),
    ('{"a": [1,]}', "trailing comma"),
    ('{"a": 1,,}', "trailing comma"),
    ('{"a": }', "field without a value at line 1, column 7"),
    ('{"a": , "b": 1}', "field without a value"),
    ('{"a": ,}', "field without a value"),
    ('{"a": buy}', "value without quotation marks"),
    ('{"a": True}', "value without quotation marks"),
    ('{"time": 2026-11-20T04:15:02Z}', "value without quotation marks"),
    ('{"symbol": NSE:SBIN}', "value without quotation marks"),
    ("{a: 1}", "field's name without quotation marks"),
    ('{"a": 1, b: 2}', "field's name without quotation marks"),
    ("{'a': 1}", "single quotation mark"),
    ("{\"a\": 'x'}", "single quotation mark"),
    ("{“a”: 1}", "typographic quotation mark"),
    ('{"a": „x“}', "typographic quotation mark"),
    ("“{}”", "typographic quotation mark"),
    ('{"a": "x\ny"}', "line break or tab inside a text at line 1, column 9"),
    ('{"a": "x\ty"}', "line break or tab"),
    ('{"a": "x', "closing quotation mark is missing"),
    ('{"a": "\\x"}', "backslash that escapes nothing"),
    ('{"a": "\\u12"}', "backslash that escapes nothing"),
    ('{"a": 1', "end of the body, too early"),
    ("{", "end of the body, too early"),
    ('{"a": 1} {"b": 2}', "second object"),
    ('{"a": 1}\n{"b": 2}', "second object at line 2, column 1"),
    ('{"a": 1}}', "more text after the object"),
    ('{"a": 1} buy', "more text after the object"),
    ('{"a": 1,000}', "thousands separator"),
    ('{"a": 010}', "number in a form"),
    ('{"a": +5}', "number in a form"),
    ('{"a": .5}', "number in a form"),
    ('{"a": 5.}', "number in a form"),
    ('{"a": -x}', "value without quotation marks"),
    ('{"a": "say "hi" to"}', "quotation mark inside a text"),
    ('{"a": "x" "b": 1}', "missing comma"),
    ('{"a": 1 "b": 2}', "missing comma"),
    ('{"a": 1; "b": 2}', "missing comma"),
    ('{"a" 1}', "something that is not JSON"),
    ("\ufeff{}", "byte order mark"),
    ("token=v1.abc&action=buy", "form data"),
    ("payload=%7B%7D", "form data"),
    ("SBIN buy 10", "text that is not JSON"),
    ("// comment\n{}", "text that is not JSON"),
    ("<xml/>", "text that is not JSON"),
    ('{"a": {{x}}, b: 1}', "placeholder that TradingView did not fill in"),
    ("{{strategy.order.alert_message}}, {", "placeholder that TradingView did not fill in"),
]


@pytest.mark.parametrize(("body", "what"), FAULTS)
def test_fault_is_named_with_place_and_mend(body, what):
    """The faults that senders really have, each with a hint of our own."""
    error = reason(body)
    assert error.code is RefusalCode.E_JSON
    assert what in error.message
    assert " at line " in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"[]", "array"),
        (b'[{"symbol": "NSE:SBIN"}]', "array"),
        (b"5", "single JSON value"),
        (b"null", "single JSON value"),
        (b"true", "single JSON value"),
        (b"NaN", "single JSON value"),
        (b'"buy"', "JSON text"),
        (b'"{\\"symbol\\": \\"NSE:SBIN\\"}"', "wrapped in a JSON text"),
        (b"{{strategy.order.alert_message}}", "unfilled placeholder"),
        (b'"{{strategy.order.alert_message}}"', "unfilled placeholder"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b'{"a": "\xe9"}', "byte at offset 7"),
    ],
)
def test_what_is_no_object_is_named(body, what):
    """JSON of another kind, and bytes of another encoding."""
    error = reason(body)
    assert error.code is RefusalCode.E_JSON
    assert what in error.message
    assert error.hint


@pytest.mark.parametrize("body", ['{"a": 1, "b": 2, "a": 1}', '{"x": {"a": 1, "a": 2}}', '{"a": {{x}}, "a": 1}'])
def test_field_that_is_there_twice_is_refused_by_name(body):
    """Which one was meant cannot be known, also inside of objects."""
    error = reason(body)
    assert error.code is RefusalCode.E_JSON
    assert error.field == "a"


def test_looking_for_a_repetition_that_is_not_there_is_a_bug_of_ours():
    """The search is only started when there is one."""
    with pytest.raises(InvariantError):
        native._find_repeated([("a", 1)])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"target": {{strategy.position_size}}}', {"target": "{{strategy.position_size}}"}),
        ('{"rsi": {{plot("RSI 14")}}, "b": 1}', {"rsi": '{{plot("RSI 14")}}', "b": D(1)}),
        ('{"rsi": "{{plot("RSI")}}"}', {"rsi": '{{plot("RSI")}}'}),
        ('{"a": "x {{close}} \\" y", "b": {{ open }}}', {"a": 'x {{close}} " y', "b": "{{ open }}"}),
        ('{"a": "{{close}}"}', {"a": "{{close}}"}),
    ],
)
def test_unfilled_placeholder_is_read_as_its_text(body, fields):
    """So that the token beside it can vouch, and the answer can name the field."""
    assert read_fields(body.encode()) == fields


def nested(depth, kind):
    return (b'{"a":' * depth + b"1" + b"}" * depth) if kind == "object" else b'{"a":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("kind", ["object", "array"])
def test_nesting_has_a_limit(kind):
    """Far below what would overflow a stack."""
    assert read_fields(nested(MAX_DEPTH - 1, kind))
    for depth in (MAX_DEPTH + 1, 900, 5_000, 10_000):
        error = reason(nested(depth, kind))
        assert error.code is RefusalCode.E_JSON
        assert "nested" in error.message


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00x", "\\ud83d\\u0041", "\\u0000", "x\\u0000y"])
@pytest.mark.parametrize("body", ['{"a": "%s"}', '{"%s": 1}', '{"a": {"b": ["%s"]}}', '{"a": {"%s": null}}'])
def test_escape_that_is_no_character_is_refused(body, text):
    """Half a surrogate pair cannot be written out again, and no database keeps NUL."""
    error = reason(body % text)
    assert error.code is RefusalCode.E_JSON
    assert "no character" in error.message


def test_escapes_that_are_characters_are_read():
    """Pairs and ordinary escapes."""
    assert read_fields(b'{"a": "\\ud83d\\ude00\\u00e9\\\\u0000"}') == {"a": "😀é\\u0000"}


@FUZZ
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
@example(b'{"a":"{{"}')
def test_arbitrary_bytes_give_fields_or_a_refusal(body):
    """Nothing else ever."""
    outcome = attempt(lambda: read_fields(body))
    if isinstance(outcome, RefusedError):
        assert outcome.code.http_status == 400
    else:
        assert isinstance(outcome, dict)


@FUZZ
@given(json_values, st.booleans())
def test_arbitrary_json_gives_fields_or_a_refusal(value, as_ascii):
    """What Python writes as JSON, NaN included."""
    try:
        body = json.dumps(value, ensure_ascii=as_ascii).encode()
    except UnicodeEncodeError:
        return
    outcome = attempt(lambda: read_fields(body))
    if isinstance(outcome, RefusedError):
        assert outcome.code is RefusalCode.E_JSON
    else:
        assert isinstance(outcome, dict)


@FUZZ
@given(st.data())
def test_mutated_alerts_give_fields_or_a_refusal_that_can_be_sent(data):
    """Cut, doubled and spliced alerts; every answer can be written as UTF-8."""
    body = make_body().decode()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        piece = data.draw(
            st.sampled_from(["", '"', "{", "}", ",", ":", "{{", "}}", "\\", "\\ud800", "'", "\n", "1e999", "[", "“"])
        )
        body = body[:place] + piece + body[place + data.draw(st.integers(0, 3)) :]
    outcome = attempt(lambda: read_fields(body.encode()))
    if isinstance(outcome, RefusedError):
        f"{outcome.message}{outcome.field}{outcome.hint}".encode()
    else:
        assert isinstance(outcome, dict)


@pytest.mark.parametrize(
    "body",
    [
        "{" * MAX_BODY_BYTES,
        '{"a":' + "[" * (MAX_BODY_BYTES - 10),
        "\\" * MAX_BODY_BYTES,
        "{{" * (MAX_BODY_BYTES // 2),
        "{{a" * (MAX_BODY_BYTES // 3),
        '"' * MAX_BODY_BYTES,
        "a" * MAX_BODY_BYTES,
        " " * MAX_BODY_BYTES,
        "{" + ",".join(f'"{n:x}":1' for n in range(6000)) + ',"0":1}',
        '{"a":"' + "\\u0041" * 10_000 + '"}',
        '{"' + "k" * 30_000 + '":[' + ",".join(["1"] * 10_000) + '],"x":"\\u0041"}',
        '{"a":' + "9" * 60_000 + "}",
        '{"a":0.' + "9" * 60_000 + "}",
    ],
)
def test_no_body_of_allowed_size_takes_long(body):
    """No quadratic search hides in reading or explaining; the budget is generous for slow machines."""
    start = time.perf_counter()
    attempt(lambda: read_fields(body.encode()[:MAX_BODY_BYTES]))
    assert time.perf_counter() - start < 1
