"""Readers of single fields: absent, null and the empty text are the same; what is wrong is refused by its name."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from bridge.core.clock import from_us
from bridge.core.errors import RefusedError
from bridge.core.money import ZERO, parse_decimal
from bridge.core.reasons import RefusalCode

Fields = Mapping[str, object]
Word = TypeVar("Word", bound=StrEnum)

SHOWN_CHARS = 40
NAME_CHARS = 64
# Numbers of seconds end here (the year 5138) and numbers of milliseconds begin (1973); beyond the second they end too.
MAX_EPOCH_S, MAX_EPOCH_MS = 10**11, 10**14
TIME_HINT = 'Write "time": "{{timenow}}", or RFC 3339 with a zone such as 2026-11-20T04:15:02Z.'
NUMBER_HINT = 'Write a plain decimal number such as "812.5".'
_NO_VALUE = frozenset({"nan", "na", "n/a", "null", "none", "inf", "infinity", "-infinity"})
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")


def shown(text: str) -> str:
    """The text in quotation marks as it may stand in a message: one line, and not too long."""
    return f"'{printable(text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + '…')}'"


def printable(text: str) -> str:
    """The text with a mark for every character that would not show."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def is_absent(value: object) -> bool:
    """True for what counts as not there."""
    return value is None or (isinstance(value, str) and not value.strip())


def leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Every key and every value without parts, with its way from `path` down: `stop_loss.price`, `legs[0].side`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            where = f"{path}.{printable(name[:NAME_CHARS])}"
            yield where, name
            yield from leaves(inner, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def check_values(fields: Fields) -> None:
    """RefusedError for a placeholder left unfilled (E_UNRESOLVED) or NaN and infinity (E_NUMBER), wherever it is."""
    for name, value in fields.items():
        # Texts without a brace are nearly all there is: they are passed by without a call.
        if type(value) is not str or "{{" in value or "{{" in name:
            where = printable(name[:NAME_CHARS])
            _check_leaf(where, name)
            for path, leaf in leaves(value, where):
                _check_leaf(path, leaf)


def read_text(fields: Fields, name: str) -> str | None:
    """The text without blanks around it; a number counts as the text it was written with."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, Decimal):
        return str(value)
    raise RefusedError(RefusalCode.E_FIELD, f"`{name}` must be a text.", field=name, hint=f'Write it as "{name}": "…".')


def read_number(fields: Fields, name: str) -> Decimal | None:
    """The number, written as a JSON number or as a text."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str | Decimal):
        raise RefusedError(RefusalCode.E_NUMBER, f"`{name}` is not a number.", field=name, hint=NUMBER_HINT)
    text = str(value)
    if not text or text.isspace():
        return None
    try:
        return parse_decimal(text) or ZERO  # not a zero with a sign or an exponent
    except ValueError as error:
        raise RefusedError(RefusalCode.E_NUMBER, f"`{name}` {error}.", field=name, hint=_number_hint(text)) from None


def read_positive(fields: Fields, name: str) -> Decimal | None:
    """The number, which has to be above zero."""
    number = read_number(fields, name)
    if number is not None and number <= ZERO:
        raise RefusedError(
            RefusalCode.E_NUMBER,
            f"`{name}` must be above zero.",
            field=name,
            hint=f"Leave `{name}` out if there is none.",
        )
    return number


def read_word(fields: Fields, name: str, words: Mapping[str, Word], code: RefusalCode = RefusalCode.E_FIELD) -> Word | None:
    """One word of a closed list, in any case; `words` has them by their upper-case spelling."""
    text = read_text(fields, name)
    if text is None:
        return None
    word = words.get(text.upper())
    if word is None:
        hint = f"It can be {', '.join(words.values())}."
        raise RefusedError(code, f"`{name}` is {shown(text)}, which the bridge does not know.", field=name, hint=hint)
    return word


def words_of(enum: type[Word]) -> dict[str, Word]:
    """The words of an enumeration as `read_word` takes them."""
    return {word.value.upper(): word for word in enum}


def read_time(fields: Fields, name: str) -> datetime | None:
    """Aware UTC from RFC 3339 with a zone, or from seconds or milliseconds since 1970."""
    text = read_text(fields, name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.upper()) if text[4:5] == "-" else _read_epoch(text)
        if at.tzinfo is not None:
            return at if at.tzinfo is UTC else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RefusedError(
            RefusalCode.E_FIELD, f"`{name}` is {shown(text)}, which is not a time.", field=name, hint=TIME_HINT
        ) from None
    raise RefusedError(RefusalCode.E_FIELD, f"`{name}` has no time zone.", field=name, hint=TIME_HINT)


def _read_epoch(text: str) -> datetime:
    number = parse_decimal(text)
    if not 0 < number < MAX_EPOCH_MS:
        raise ValueError("is out of range")
    return from_us(int(number * (1_000_000 if number < MAX_EPOCH_S else 1_000)))


def _number_hint(text: str) -> str:
    if text.rstrip().endswith("%"):
        return "Write units: shares of money or of a position are not read. For a position that is wanted, send a `target`."
    if text.strip().lower() in _NO_VALUE:
        return "TradingView had no value for the placeholder; send the alert only where it has one."
    if "," in text:
        return "Write it without thousands separators, with a point before the decimals."
    return NUMBER_HINT


def _check_leaf(path: str, leaf: object) -> None:
    if isinstance(leaf, Decimal):
        if not leaf.is_finite():
            raise RefusedError(
                RefusalCode.E_NUMBER, f"`{path}` is not a finite number.", field=path, hint=_number_hint(str(leaf))
            )
    elif isinstance(leaf, str) and (found := _PLACEHOLDER.search(leaf)):
        raise RefusedError(
            RefusalCode.E_UNRESOLVED,
            f"`{path}` holds the placeholder {shown(found.group())}, which TradingView did not fill in.",
            field=path,
            hint="Check its spelling; {{strategy.…}} needs an alert of a strategy, and alert() calls fill in none.",
        )
