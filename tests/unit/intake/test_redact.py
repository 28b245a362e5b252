"""What is kept of a body holds no credential, is text, and is not long."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Source
from bridge.intake.redact import MAX_KEPT_BYTES, blank_secrets, redact
from bridge.intake.verify import Credential
from tests.unit.intake.builders import FUZZ, WHSEC, make_body, make_token

TOKEN, OTHER = make_token(), make_token(token_id="T0KEN2")
CREDENTIAL = Credential(name="T0KEN1", source=Source.TRADINGVIEW, secret_texts=(TOKEN, "hunter2hunter2"))


def test_token_is_blanked_out_and_the_rest_kept():
    """The body stays readable."""
    assert redact(make_body(token=TOKEN), CREDENTIAL) == make_body(token="[token]").decode()


def test_token_is_blanked_out_wherever_it_is():
    """In a note, in a name, twice, inside of another text, in a body that is no JSON."""
    body = f'{{"a": "{TOKEN}", "{TOKEN}": ["x{TOKEN}y"]}} {TOKEN[:10]} {TOKEN}'.encode()
    kept = redact(body, CREDENTIAL)
    assert TOKEN not in kept
    assert kept.count("[token]") == 4


@pytest.mark.parametrize("secret", [OTHER, WHSEC, "hunter2hunter2"])
def test_other_secrets_are_blanked_out_too(secret):
    """Another token of ours, a signing secret, a credential meant for another bridge."""
    assert secret not in redact(json.dumps({"x": secret}).encode(), CREDENTIAL)


def escape(text, every=1, slashes=1):
    return "".join("\\" * slashes + f"u{ord(char):04x}" if n % every == 0 else char for n, char in enumerate(text))


@pytest.mark.parametrize("every", [1, 2, 50])
@pytest.mark.parametrize("slashes", [1, 2, 4])
def test_escaped_token_is_blanked_out(every, slashes):
    """As JSON escapes, and as JSON within JSON."""
    kept = redact(f'{{"note": "{escape(TOKEN, every, slashes)} \\n"}}'.encode(), CREDENTIAL)
    assert kept == '{"note": "[token] \\n"}'


def test_escapes_that_hide_nothing_stay_as_they_are():
    """The trader sees what was sent."""
    body = '{"note": "\\u0041\\n\\\\"}'
    assert redact(body.encode(), CREDENTIAL) == body


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_token_in_another_encoding_is_blanked_out(encoding):
    """Such a body is refused and still shown."""
    assert TOKEN[-43:] not in redact(json.dumps({"token": TOKEN}).encode(encoding), CREDENTIAL)


@FUZZ
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_whatever_surrounds_it_the_token_is_gone(before, after):
    """Any bytes give text that UTF-8 and a database can keep."""
    kept = redact(before + TOKEN.encode() + after, CREDENTIAL)
    assert TOKEN not in kept
    assert "\0" not in kept
    kept.encode()


@pytest.mark.parametrize("filler", ["x", "é", "😀", "\\"])
def test_long_body_is_cut_after_blanking(filler):
    """A token across the cut is gone whole."""
    for room in (MAX_KEPT_BYTES, MAX_KEPT_BYTES - 20, MAX_KEPT_BYTES - len(TOKEN)):
        body = filler * (room // len(filler.encode())) + TOKEN + filler * 9000
        kept = redact(body.encode(), CREDENTIAL)
        assert len(kept.encode()) <= MAX_KEPT_BYTES
        assert TOKEN[:10] not in kept


@pytest.mark.parametrize("piece", ["\\", "v1.", "v1.aaaaaaaaaaaaaaaaaaaa", "whsec_", "\\u0041", "\\\\u"])
def test_no_body_takes_long_to_blank_out(piece):
    """The searches are linear."""
    body = (piece * 65_536)[:65_536].encode()
    start = time.perf_counter()
    redact(body, CREDENTIAL)
    assert time.perf_counter() - start < 1


def test_messages_can_be_blanked_out_as_well():
    """An answer that repeats a field's value is kept and shown."""
    assert blank_secrets(f"no symbol '{TOKEN}'", (TOKEN,)) == "no symbol '[token]'"
