"""Why a body is not JSON: the faults that alert messages really have, each with its mend."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode

NATIVE_HINT = "Paste the whole message that `bridge alert new` prints into the alert's message box."
_SMART_QUOTES = "“”„‟‘’‚«»"
_FORM = re.compile(r"[\w.%+-]{1,64}=")


class Spot(NamedTuple):
    """Where reading stopped: the character `at` it, the last one `before` it that is not blank, the one `after`."""

    text: str
    pos: int
    message: str
    at: str
    before: str
    after: str


class Fault(NamedTuple):
    """One kind of fault: how it is told, and how it is mended."""

    fits: Callable[[Spot], bool]
    what: str
    hint: str


def _is_placeholder(spot: Spot) -> bool:
    return spot.text.startswith("{{", spot.pos) or spot.text.startswith("{{", max(spot.pos - 1, 0))


# Read from the top; the first that fits is told.
FAULTS: tuple[Fault, ...] = (
    Fault(lambda s: s.at == "\ufeff", "a byte order mark", "Send UTF-8 without a byte order mark."),
    Fault(
        _is_placeholder,
        "a placeholder that TradingView did not fill in",
        "Check its spelling; {{strategy.…}} is filled in only by alerts of a strategy.",
    ),
    Fault(
        lambda s: s.at != "" and s.at in _SMART_QUOTES,
        "a typographic quotation mark",
        'Use straight quotation marks, "; text copied from web pages and chats often has the curved ones.',
    ),
    Fault(lambda s: s.at == "'", "a single quotation mark", 'JSON knows only double quotation marks, ".'),
    Fault(
        lambda s: not s.before and bool(_FORM.match(s.text, s.pos)),
        "form data",
        "Send the JSON itself as the body, without a name and an equals sign before it.",
    ),
    Fault(lambda s: not s.before, "a text that is not JSON", NATIVE_HINT),
    Fault(
        lambda s: "Unterminated string" in s.message,
        "a text whose closing quotation mark is missing",
        'Close it; a quotation mark inside a text is written \\".',
    ),
    Fault(
        lambda s: "control character" in s.message,
        "a line break or tab inside a text",
        "Write \\n instead; order ids and comments that TradingView fills in must be on one line.",
    ),
    Fault(lambda s: "escape" in s.message, "a backslash that escapes nothing", "Write a backslash twice: \\\\."),
    Fault(lambda s: not s.at, "the end of the body, too early", f"Something is missing at the end. {NATIVE_HINT}"),
    Fault(
        lambda s: "Extra data" in s.message and s.at == "{",
        "a second object",
        "Send one alert in one request.",
    ),
    Fault(lambda s: "Extra data" in s.message, "more text after the object", "Nothing may follow the last brace."),
    Fault(
        lambda s: s.before == ":" and s.at in ",}]",
        "a field without a value",
        "The placeholder behind it came out empty; put quotation marks around the placeholder.",
    ),
    Fault(lambda s: s.at == "," and s.after in ("}", "]"), "a trailing comma", "Remove the comma before the brace."),
    Fault(
        lambda s: s.before == "," and s.at.isdigit(),
        "a thousands separator",
        'Write numbers without it: "1000".',
    ),
    Fault(
        lambda s: (s.before == "0" and s.at.isdigit()) or s.at in "+.",
        "a number in a form that JSON does not know",
        'Put quotation marks around it: "0.5".',
    ),
    Fault(
        # Dates and times begin like a number: 2026-11-20T04:15:02Z.
        lambda s: s.before == ":" or (s.before.isdigit() and s.at not in '";{['),
        "a value without quotation marks",
        "Put quotation marks around every text and every placeholder.",
    ),
    Fault(
        lambda s: s.before in "{," and s.message.startswith("Expecting property name"),
        "a field's name without quotation marks",
        'Write "symbol": "NSE:SBIN", both in quotation marks.',
    ),
    Fault(
        lambda s: s.before == '"' and s.message.startswith("Expecting ','") and s.at not in '":',
        "a quotation mark inside a text",
        'Write it \\"; TradingView does not do so for order ids and comments that it fills in.',
    ),
    Fault(lambda s: s.message.startswith("Expecting ','"), "a missing comma", "Put a comma between two fields."),
)
OTHER = Fault(lambda _: True, "something that is not JSON", NATIVE_HINT)


def explain_text(text: str, error: json.JSONDecodeError) -> RefusedError:
    """The refusal of a text that does not parse, with line, column and mend; nothing of the text is repeated in it."""
    if not text.strip():
        return RefusedError(
            RefusalCode.E_EMPTY,
            hint="An order without alert_message sends an empty body; write the message into the alert's box.",
        )
    spot = _look(text, error)
    fault = next((fault for fault in FAULTS if fault.fits(spot)), OTHER)
    line, column = text.count("\n", 0, spot.pos) + 1, spot.pos - text.rfind("\n", 0, spot.pos)
    return _refused(f"The body is not JSON: {fault.what} at line {line}, column {column}.", fault.hint)


def explain_value(value: object) -> RefusedError:
    """The refusal of JSON that is no object."""
    if isinstance(value, list):
        return _refused("The body is a JSON array.", "Send one alert, one object in braces, in one request.")
    if not isinstance(value, str):
        return _refused("The body is a single JSON value.", NATIVE_HINT)
    if "{{" in value:
        hint = "TradingView did not fill in the placeholder that the message consists of; check its spelling."
        return _refused("The body is an unfilled placeholder.", hint)
    if value.lstrip().startswith("{"):
        hint = "Remove the quotation marks around it, and the backslashes in it."
        return _refused("The body is JSON wrapped in a JSON text.", hint)
    return _refused("The body is a JSON text.", NATIVE_HINT)


def explain_bytes(body: bytes, offset: int) -> RefusedError:
    """The refusal of bytes that are not UTF-8."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _refused("The body is UTF-16.", "Send UTF-8 without a byte order mark.")
    return _refused(f"The body is not UTF-8: the byte at offset {offset} does not fit.", "Send UTF-8.")


def _look(text: str, error: json.JSONDecodeError) -> Spot:
    pos = error.pos
    before = text[:pos].rstrip()
    if before.endswith(",") and text[pos : pos + 1] in ("}", "]"):
        pos = len(before) - 1  # Pythons differ in where they see a trailing comma
        before = before[:-1].rstrip()
    rest = text[pos + 1 : pos + 1 + 256].lstrip()
    return Spot(text=text, pos=pos, message=error.msg, at=text[pos : pos + 1], before=before[-1:], after=rest[:1])


def _refused(message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_JSON, message, hint=hint)
