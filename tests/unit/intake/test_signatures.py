"""Standard Webhooks: what the reference package signs is taken, and nothing else; malformed input is one refusal."""

import base64
import hmac
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError, RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.signatures import MAX_SIGNATURES, SignatureChecker
from tests.unit.intake.builders import FUZZ, NOW, WHSEC, attempt, refusal

OTHER = "whsec_" + base64.b64encode(b"B" * 32).decode()
BODY = b'{"symbol": "NSE:SBIN"}'
ID = "msg_2Lh9KRb0pzN4LePd3XiA4v12Axj"


def sign(body=BODY, *, secret=WHSEC, message_id=ID, at=NOW):
    """Headers as the reference package makes them."""
    signature = standardwebhooks.Webhook(secret).sign(message_id, at, body.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def sign_raw(body, message_id, timestamp, secret=WHSEC):
    """A signature over exactly these texts, proper or not."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


def checker(*secrets, tolerance_s=300):
    return SignatureChecker(secrets or (WHSEC,), tolerance_s)


def reason(headers, body=BODY, check=None):
    error = refusal(lambda: (check or checker()).check(headers, body, NOW))
    assert error.code is RefusalCode.E_AUTH
    assert WHSEC not in f"{error.message}{error.hint}"
    return error


@FUZZ
@given(
    st.text(max_size=300),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1, max_size=60),
    st.binary(min_size=24, max_size=64),
)
def test_what_the_reference_package_signs_is_taken(text, message_id, key):
    """The package is the oracle for good signatures."""
    secret = "whsec_" + base64.b64encode(key).decode()
    body = text.encode("utf-8", "ignore")
    signed = checker(secret).check(sign(body, secret=secret, message_id=message_id), body, NOW)
    assert (signed.number, signed.secret, signed.message_id) == (1, secret, message_id)


@FUZZ
@given(st.data())
def test_what_we_take_the_reference_package_takes_too(data):
    """A mutated header set or body that we take is one the package takes: we are never the laxer one."""
    at = datetime.now(UTC).replace(microsecond=0)
    headers, body = sign(at=at), BODY
    name = data.draw(st.sampled_from([*headers, "body"]))
    text = body.decode() if name == "body" else headers[name]
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + data.draw(st.text("v1a, =.+/09\n", max_size=2)) + text[place + data.draw(st.integers(0, 2)) :]
    if name == "body":
        body = text.encode()
    else:
        headers[name] = text
    outcome = attempt(lambda: checker().check(headers, body, at))
    if not isinstance(outcome, RefusedError):
        standardwebhooks.Webhook(WHSEC).verify(body, headers, json_parse=False)


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")),
    ),
    st.binary(max_size=50),
)
def test_arbitrary_headers_are_one_refusal(headers, body):
    """Where the reference package raises ValueError, binascii.Error or UnicodeDecodeError, we refuse."""
    reason(headers, body)


def test_body_that_is_not_utf8_is_verified_over_its_bytes():
    """The signature covers bytes, not text."""
    body = b"\xff\xfe\x00"
    assert checker().check(sign_raw(body, ID, str(int(NOW.timestamp()))), body, NOW).message_id == ID


@pytest.mark.parametrize(("secrets", "number"), [((WHSEC, OTHER), 1), ((OTHER, WHSEC), 2)])
def test_any_live_secret_vouches(secrets, number):
    """Rotation: the receiver has several secrets."""
    assert checker(*secrets).check(sign(), BODY, NOW).number == number


def test_any_of_several_signatures_vouches():
    """Rotation: the sender signs with several secrets; other versions are passed over."""
    headers = sign()
    others = [sign(secret=OTHER)["webhook-signature"], "v1a,AAAA", "v2,junk", ","]
    headers["webhook-signature"] = " ".join([*others, headers["webhook-signature"]])
    assert checker().check(headers, BODY, NOW).number == 1


@pytest.mark.parametrize("version", ["v1a", "v2", "V1", "v11", ""])
def test_good_signature_under_another_version_does_not_vouch(version):
    """Only v1 is HMAC-SHA256 with this secret."""
    headers = sign()
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1", version, 1)
    assert "No signature fits" in reason(headers).message


def test_second_spelling_of_a_signature_does_not_vouch():
    """Base64 with other trailing bits, padding or blanks decodes to the same bytes and is refused."""
    good = sign()["webhook-signature"]
    assert good.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = good[:-2] + alphabet[alphabet.index(good[-2]) ^ 1] + "="
    assert base64.b64decode(twin[3:]) == base64.b64decode(good[3:])
    for spelling in (twin, good.rstrip("="), good + "="):
        assert "No signature fits" in reason(sign() | {"webhook-signature": spelling}).message


@pytest.mark.parametrize("junk", ["v1", "junk", "", "v1,,A", "v1,A,"])
def test_malformed_list_is_refused_although_one_signature_is_good(junk):
    """Every entry is a version, one comma and base64; there the reference package raises ValueError."""
    good = sign()["webhook-signature"]
    for spelling in (f"{good} {junk}", f"{junk} {good}"):
        assert "malformed" in reason(sign() | {"webhook-signature": spelling}).message


def test_too_many_signatures_are_refused():
    """Work per request is bounded."""
    headers = sign()
    headers["webhook-signature"] = " ".join([headers["webhook-signature"]] * (MAX_SIGNATURES + 1))
    assert f"more than {MAX_SIGNATURES}" in reason(headers).message


@pytest.mark.parametrize(
    ("age_s", "is_taken"), [(0, True), (300, True), (301, False), (-300, True), (-301, False), (10**9, False)]
)
def test_timestamp_has_a_window_on_both_sides(age_s, is_taken):
    """The tolerance holds for the past and the future, its ends included."""
    headers = sign(at=NOW - timedelta(seconds=age_s))
    if is_taken:
        assert checker().check(headers, BODY, NOW).number == 1
    else:
        error = reason(headers)
        assert f"{abs(age_s)} s {'ago' if age_s > 0 else 'in the future'}" in error.message
        assert error.field == "webhook-timestamp"


@pytest.mark.parametrize(
    "timestamp", ["1e9", "-5", "+1795148105", " 1795148105", "01795148105", "1795148105.0", "０", "", "9" * 13, "0"]
)
def test_timestamp_that_is_no_plain_number_is_refused_even_when_signed(timestamp):
    """One spelling per time."""
    assert reason(sign_raw(BODY, ID, timestamp)).field == "webhook-timestamp"


@pytest.mark.parametrize("message_id", ["", "a.b", ".", "a b", "é", "a\n", "x" * 257])
def test_id_that_could_be_split_otherwise_is_refused_even_when_signed(message_id):
    """With a dot in the id one signature would fit two requests."""
    headers = sign_raw(BODY, message_id, str(int(NOW.timestamp())))
    assert reason(headers).field == "webhook-id"


def test_signed_request_without_configured_secrets_is_told_so():
    """The mend is named."""
    error = refusal(lambda: SignatureChecker((), 300).check(sign(), BODY, NOW))
    assert "webhook.signing_secrets" in str(error.hint)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_missing_header_is_named(missing):
    """All three belong together."""
    headers = sign()
    del headers[missing]
    error = reason(headers)
    assert missing in error.message
    assert error.field == missing


@pytest.mark.parametrize(
    ("secret", "what"),
    [
        ("QUFB", "whsec_"),
        ("whsec_", "0 bytes"),
        ("whsec_QUFB", "3 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "65 bytes"),
        ("whsec_***", "base64"),
        ("whsec_é" + "A" * 40, "base64"),
        ("whsec_A", "base64"),
    ],
)
def test_bad_secret_in_the_settings_refuses_to_start(secret, what):
    """The message names the place and the mend, never the secret."""
    with pytest.raises(ConfigError, match=what) as caught:
        checker(OTHER, secret)
    assert "webhook.signing_secrets[1]" in str(caught.value)
    assert "openssl rand" in str(caught.value)
    assert secret.removeprefix("whsec_")[:12] not in str(caught.value) or len(secret) <= len("whsec_A")


def test_secret_without_padding_is_taken():
    """Some tools leave the equals signs off; the reference package adds them too."""
    assert checker(WHSEC.rstrip("=")).check(sign(), BODY, NOW).number == 1
