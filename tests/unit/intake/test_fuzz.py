"""The whole of intake under arbitrary input: a claim and a signal come out, or a refusal; nothing else, ever."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import RefusedError
from bridge.core.ids import make_alert_id
from bridge.core.signal import Signal
from bridge.core.signal_codec import signal_from_json, signal_to_json
from bridge.intake.dedupe import content_key, make_claim
from bridge.intake.native import read_fields
from bridge.intake.redact import redact
from bridge.intake.unknown import KNOWN_FIELDS, SYNONYMS, UNSUPPORTED
from bridge.intake.validate import read_signal
from tests.unit.intake.builders import (
    CATALOG,
    FUZZ,
    NOW,
    SYMBOL,
    WHSEC,
    attempt,
    make_delivery,
    make_fields,
    make_settings,
    make_token,
    make_verifier,
)
from tests.unit.intake.test_signatures import sign, sign_raw

SETTINGS = make_settings(webhook={"signing_secrets": [WHSEC]})
TOKEN = make_token()
VERIFIER = make_verifier(SETTINGS)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["buy", "exit", "cancel", "LIMIT", "SL", "0", "-1", "1e5", "NaN", "long", "{{x}}", SYMBOL, TOKEN])
)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=3)
names = st.sampled_from(sorted(KNOWN_FIELDS | set(SYNONYMS) | set(sorted(UNSUPPORTED)[:5]))) | st.text(max_size=10)


def admit(delivery):
    """As the front door does it; every part of the outcome is checked to be keepable."""
    fields = attempt(lambda: read_fields(delivery.body))
    credential = VERIFIER.verify(delivery, fields)
    kept = redact(delivery.body, credential)
    assert TOKEN not in kept
    kept.encode()
    if isinstance(fields, RefusedError):
        raise fields
    signal = read_signal(fields, credential, delivery.received_at, CATALOG, SETTINGS)
    alert_id = make_alert_id(delivery.received_at, content_key(delivery.body, credential))
    claim = make_claim(
        delivery=delivery,
        fields=fields,
        credential=credential,
        signal=signal,
        settings=SETTINGS,
        alert_id=alert_id,
    )
    assert len(claim.key) == 16
    return signal


def check(delivery):
    outcome = attempt(lambda: admit(delivery))
    if isinstance(outcome, RefusedError):
        told = f"{outcome.message}|{outcome.field}|{outcome.hint}"
        told.encode()
        assert "\0" not in told
        assert TOKEN not in told
        assert len(told) < 1500
    else:
        assert isinstance(outcome, Signal)
        text = signal_to_json(outcome)
        assert signal_from_json(text) == outcome
        assert TOKEN not in text
    return outcome


@FUZZ
@given(st.binary(max_size=200), st.none() | st.just(TOKEN) | st.text(max_size=50), st.booleans())
def test_arbitrary_bytes(body, path, is_signed):
    """From strangers, under a good token, and signed."""
    headers = sign_raw(body, "msg-1", str(int(NOW.timestamp()))) if is_signed else {}
    check(make_delivery(body, path_token=path, headers=headers))


@FUZZ
@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=60)),
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x-forwarded-for"]), st.text(max_size=60)
    ),
    st.text(max_size=20),
)
def test_arbitrary_headers(some, named, peer):
    """Names and values of any kind, and any peer."""
    check(make_delivery(json.dumps(make_fields(token=TOKEN)).encode(), headers=some | named, peer=peer))


@FUZZ
@given(st.dictionaries(names, values, max_size=8), st.booleans())
def test_valid_alert_with_arbitrary_fields_put_over_it(fields, is_fresh):
    """Known names with wild values, unknown names, both."""
    body = make_fields(token=TOKEN) | fields if is_fresh else fields | {"token": TOKEN}
    try:
        raw = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raw = json.dumps(body).encode()
    check(make_delivery(raw))


@FUZZ
@given(st.data())
def test_valid_alert_with_one_field_of_any_value(data):
    """One fault at a time reaches further in."""
    name = data.draw(st.sampled_from(sorted(KNOWN_FIELDS - {"token"})))
    body = make_fields(token=TOKEN, order_type="SL", price="5", trigger_price="5") | {name: data.draw(values)}
    check(make_delivery(json.dumps(body).encode()))


@FUZZ
@given(st.data())
def test_mutated_bytes_of_a_valid_alert(data):
    """Bytes dropped, doubled and changed, under a token in the URL."""
    body = bytearray(json.dumps(make_fields(token=TOKEN, comment="x")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    check(make_delivery(bytes(body), path_token=data.draw(st.sampled_from([None, TOKEN]))))


def test_valid_alerts_of_both_kinds_get_through():
    """The fuzzing above starts from something that works."""
    body = json.dumps(make_fields(token=TOKEN)).encode()
    assert isinstance(check(make_delivery(body)), Signal)
    signed = json.dumps(make_fields(strategy="ema-cross")).encode()
    assert isinstance(check(make_delivery(signed, headers=sign(signed))), Signal)


@pytest.mark.parametrize("field", sorted(KNOWN_FIELDS - {"token"}))
def test_token_pasted_into_the_wrong_field_shows_nowhere(field):
    """Neither in the answer nor in what is kept."""
    check(make_delivery(json.dumps(make_fields(token=TOKEN) | {field: TOKEN}).encode()))
