"""Values as the API writes them."""

import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.web.answers import NotFoundError, answer_json, answer_refused
from tests.support.clocks import NOON


def told(response: Response) -> Any:
    return json.loads(bytes(response.body))


def test_values_become_what_the_contract_says():
    """Decimals are text without an exponent, times UTC with milliseconds; what is neither is at least readable."""
    content = {
        "money": Decimal("1E+3"),
        "at": NOON,
        "map": MappingProxyType({"a": Decimal("0.50")}),
        "code": RefusalCode.E_SIZE,
        "x": 1j,
    }
    assert told(answer_json(content)) == {
        "money": "1000", "at": "2026-11-20T05:00:00.000Z", "map": {"a": "0.5"}, "code": "E_SIZE", "x": "1j",
    }  # fmt: skip


def test_text_that_is_no_text_does_not_break_an_answer():
    """A lone surrogate cannot be encoded; the answer is sent all the same."""
    assert told(answer_json({"message": "a\ud800b"})) == {"message": "a?b"}


def test_a_refusal_has_only_the_fields_it_needs():
    """As applicable, says the contract."""
    bare = answer_refused(RefusedError(RefusalCode.E_RATE))
    assert (bare.status_code, list(told(bare))) == (429, ["status", "code", "message"])
    full = answer_refused(RefusedError(RefusalCode.E_FIELD, "M", field="F", hint="H"))
    assert told(full) == {"status": "refused", "code": "E_FIELD", "message": "M", "field": "F", "hint": "H"}


def test_an_id_that_is_nobodys_is_quoted_short_and_plain():
    """Whatever was asked for, in ASCII."""
    assert NotFoundError("alert", "\u202e" + "x" * 500).message == "There is no alert '\\u202e" + "x" * 63 + "'."
