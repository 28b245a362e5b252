"""Read a body: bytes to fields. What is not one JSON object is answered with where it goes wrong, and why."""

import json
import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import cast

from bridge.core.errors import InvariantError, RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.fields import NAME_CHARS, leaves, printable
from bridge.intake.json_faults import explain_bytes, explain_text, explain_value

MAX_BODY_BYTES = 65_536
MAX_DEPTH = 16
_INFINITY = Decimal("Infinity")
# Unfilled, {{plot("RSI")}} breaks the JSON with its own quotes and {{close}} outside of quotes with its braces.
_PLACEHOLDER_OR_QUOTE = re.compile(r'\{\{\s*[A-Za-z_][^{}]*\}\}|\\.|"', re.DOTALL)


def read_fields(body: bytes) -> dict[str, object]:
    """The fields of the JSON object in `body`, numbers as Decimal; E_EMPTY, E_JSON or E_SIZE when it cannot be read.

    NaN, infinities and placeholders left unfilled are no faults yet but values (a placeholder is its own text), so
    that the sender is known before the alert is refused for them, by `check_values`.
    """
    if len(body) > MAX_BODY_BYTES:
        raise RefusedError(RefusalCode.E_SIZE)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise explain_bytes(body, error.start) from None
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        value = _decode_around_placeholders(text, error)
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise explain_value(value)
    _check_depth(value)
    if "\\u" in text:
        _check_characters(value)
    return value


def _read_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedError(
            RefusalCode.E_JSON,
            "The body has the same field twice.",
            field=_find_repeated(pairs),
            hint="Leave one of them out; which one was meant cannot be known.",
        )
    return fields


def _find_repeated(pairs: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return printable(name[:NAME_CHARS])
        seen.add(name)
    raise InvariantError("no field is there twice")


def _read_number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return _INFINITY


_decode = json.JSONDecoder(
    object_pairs_hook=_read_object, parse_float=_read_number, parse_int=_read_number, parse_constant=Decimal
).decode


def _decode_around_placeholders(text: str, error: json.JSONDecodeError) -> object:
    """Read again with every unfilled placeholder turned into a text; the first fault is told if that does not help."""
    if "{{" in text:
        with suppress(json.JSONDecodeError, RecursionError):
            return _decode(_quote_placeholders(text))
    raise explain_text(text, error) from None


def _quote_placeholders(text: str) -> str:
    inside = False

    def replace(match: re.Match[str]) -> str:
        nonlocal inside
        piece = match.group()
        if piece == '"':
            inside = not inside
        if not piece.startswith("{{"):
            return piece
        quoted = json.dumps(piece)
        return quoted[1:-1] if inside else quoted

    return _PLACEHOLDER_OR_QUOTE.sub(replace, text)


def _check_depth(value: dict[str, object]) -> None:
    level: list[object] = [inner for inner in value.values() if isinstance(inner, dict | list)]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else cast("list[object]", outer))
            if isinstance(inner, dict | list)
        ]
    raise _too_deep()


def _check_characters(value: object) -> None:
    """Refuse what JSON can spell and no text can hold: half a surrogate pair, and NUL, which databases refuse."""
    texts = [leaf for _, leaf in leaves(value, "") if isinstance(leaf, str)]
    try:
        has_nul = b"\0" in "".join(texts).encode()
    except UnicodeEncodeError:
        has_nul = True
    if has_nul:
        raise RefusedError(
            RefusalCode.E_JSON,
            "The body has a \\u escape that is no character.",
            hint="Write the character itself, in UTF-8; \\u0000 and halves of pairs are not taken.",
        )


def _too_deep() -> RefusedError:
    return RefusedError(
        RefusalCode.E_JSON,
        f"The body is nested more than {MAX_DEPTH} levels deep.",
        hint="An alert is one flat object.",
    )
