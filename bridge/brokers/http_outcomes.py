"""What an HTTP broker's answer, or the lack of one, proves of a command: the one table, for every adapter that speaks HTTP.

An order sent twice costs money, so whatever does not prove that the broker has not taken it counts as UNKNOWN:

| what happened | outcome |
| --- | --- |
| no connection: refused, no such host, TLS, no free connection in time | NOT_SENT: no byte of it left |
| time ran out or the connection broke once sending had begun | UNKNOWN |
| 2xx with the broker's id of the order | ACCEPTED |
| 2xx without it | UNKNOWN |
| 400 or 422 that speaks of a time-out | UNKNOWN: Kite has placed such orders |
| 400 or 422 with the broker's own JSON error | REFUSED |
| 400 or 422 with anything else | UNKNOWN: a proxy's, it says nothing of what lies behind it |
| 401, 403 | NOT_SENT, and the session is lost |
| 429 | NOT_SENT, after as long as it asks for, or a second |
| every other status, all 3xx and 5xx among them | UNKNOWN; if it names a wait, the account waits for so long |
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import httpx

from bridge.core.enums import OutcomeKind
from bridge.core.report import Outcome

# A broker that asks for more is asked again after this: who waits longer has no use for an alert any more.
LONGEST_RETRY_AFTER_S = 60.0
# What a 429 that names no wait is taken to ask for: it is an answer, and whoever comes back at once gets another.
UNNAMED_RETRY_AFTER_S = 1.0
MAX_MESSAGE = 300
REFUSALS = frozenset({400, 422})
SESSION_LOST = frozenset({401, 403})
TOO_MANY = 429
# Where the brokers documented so far put their sentence: Kite, Upstox and Fyers; Dhan; Kotak; Angel One.
_SENTENCES = ("message", "errorMessage", "emsg", "errMsg", "error_description", "error")
_TIMED_OUT = re.compile(r"tim(?:e|ed)[\s_-]?out", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
ReadId = Callable[[Any], Any]


class Failure(StrEnum):
    """Why there is no answer, by the one thing that counts: whether anything can have arrived."""

    NOT_CONNECTED = "not connected"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An answer, whichever library brought it; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_session_lost(self) -> bool:
        """True when the broker wants a new login, whatever was asked."""
        return self.status in SESSION_LOST

    @property
    def is_too_many(self) -> bool:
        """True when the broker is there and wants to be asked less often."""
        return self.status == TOO_MANY

    @property
    def text(self) -> str:
        """The body as text; bytes that are none are shown as such."""
        return self.body.decode(errors="replace")

    def read_json(self) -> Any:
        """The body's content; ValueError when it is no JSON, whatever the content type claims."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("is nested too deeply") from None


def find_failure(error: BaseException) -> Failure:
    """Which failure an httpx error or a timer of our own is; what is not known to come before the first byte counts as LOST."""
    before = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
    return Failure.NOT_CONNECTED if isinstance(error, before) else Failure.LOST


def judge_failure(failure: Failure, told: str) -> Outcome:
    """The outcome of a command that got no answer; `told` is the sentence for people."""
    kind = OutcomeKind.NOT_SENT if failure is Failure.NOT_CONNECTED else OutcomeKind.UNKNOWN
    return Outcome(kind=kind, message=told[:MAX_MESSAGE])


def judge_answer(answer: HttpAnswer, read_id: ReadId, now: datetime) -> Outcome:
    """The outcome that an answer proves. `read_id` finds the order's id in the JSON of a success, or raises LookupError,
    TypeError or ValueError."""
    if 200 <= answer.status < 300:
        return _judge_success(answer, read_id)
    message = find_message(answer)
    if answer.is_session_lost:
        return Outcome(kind=OutcomeKind.NOT_SENT, message=message)
    if answer.is_too_many:
        return Outcome(kind=OutcomeKind.NOT_SENT, message=message, retry_after_s=find_wait(answer, now))
    if answer.status in REFUSALS and _is_refusal(answer):
        return Outcome(kind=OutcomeKind.REFUSED, message=message)
    return Outcome(kind=OutcomeKind.UNKNOWN, message=message, retry_after_s=find_wait(answer, now))


def _judge_success(answer: HttpAnswer, read_id: ReadId) -> Outcome:
    try:
        ident = read_id(answer.read_json())
    except (LookupError, TypeError, ValueError):
        ident = ""
    if not isinstance(ident, str) or not ident:
        message = f"The broker answered {answer.status} without the id of an order."
        return Outcome(kind=OutcomeKind.UNKNOWN, message=message)
    return Outcome(kind=OutcomeKind.ACCEPTED, broker_order_id=ident)


def _is_refusal(answer: HttpAnswer) -> bool:
    """True for the broker's own word that it has not taken the order."""
    return bool(_find_sentence(answer)) and not _TIMED_OUT.search(answer.text)


def find_message(answer: HttpAnswer) -> str:
    """The sentence of an error answer: the broker's own if there is one, else the status and how the page begins."""
    sentence = _find_sentence(answer)
    if sentence:
        return sentence[:MAX_MESSAGE]
    page = " ".join(_TAG.sub(" ", answer.text).split())
    return f"The broker answered {answer.status}{': ' if page else ''}{page}"[:MAX_MESSAGE]


def _find_sentence(answer: HttpAnswer) -> str:
    """What the broker itself says is wrong; empty when the answer is not a JSON object that says so."""
    try:
        content = answer.read_json()
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    found = (content.get(name) for name in _SENTENCES)
    return next((sentence.strip() for sentence in found if isinstance(sentence, str) and sentence.strip()), "")


def find_wait(answer: HttpAnswer, now: datetime) -> float | None:
    """Seconds that an error answer asks us to wait; None when it asks for nothing, which no 429 does."""
    named_s = read_retry_after(answer.headers.get("retry-after"), now)
    return UNNAMED_RETRY_AFTER_S if named_s is None and answer.is_too_many else named_s


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a number or an HTTP date (RFC 9110), up to LONGEST_RETRY_AFTER_S; None when it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # a form without a zone, which means UTC
        at = at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
