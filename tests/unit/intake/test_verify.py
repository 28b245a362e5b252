"""Who vouches for a delivery: every combination of signature, token in the URL and token in the body."""

import json
from datetime import timedelta

import pytest

from bridge.core.enums import Source
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.native import read_fields
from bridge.intake.verify import Verifier
from tests.unit.intake.builders import (
    NOW,
    PEER,
    WHSEC,
    FixedKeys,
    attempt,
    make_claims,
    make_delivery,
    make_settings,
    make_token,
    make_verifier,
    refusal,
)
from tests.unit.intake.test_signatures import sign

GOOD, OTHER, BAD = make_token(), make_token(token_id="T0KEN2"), "v1.bad.token"
UNREADABLE = b'{"symbol": '
SIGNING = make_settings(webhook={"signing_secrets": [WHSEC]})


def body_with(token=None, **more):
    """A body; without a token it has no such field."""
    return json.dumps(({} if token is None else {"token": token}) | more).encode()


def verify(body, *, path=None, headers=None, settings=None, revoked=frozenset(), peer=PEER, at=NOW):
    fields = attempt(lambda: read_fields(body))
    delivery = make_delivery(body, path_token=path, headers=headers or {}, peer=peer, received_at=at)
    return make_verifier(settings or SIGNING, revoked.__contains__).verify(delivery, fields)


def reason(body, **options):
    error = refusal(lambda: verify(body, **options))
    told = f"{error.message} {error.hint}"
    assert not any(secret in told for secret in (GOOD, OTHER, BAD, WHSEC))
    return error


def test_token_in_the_body_vouches():
    """The usual way of TradingView."""
    credential = verify(body_with(GOOD))
    assert (credential.name, credential.source) == ("T0KEN1", Source.TRADINGVIEW)
    assert credential.claims == make_claims()
    assert credential.secret_texts == (GOOD,)
    assert credential.idempotency_key is None


def test_token_in_the_url_vouches_also_for_a_body_that_cannot_be_read():
    """Such a delivery is authentic: it is refused for its body, and shown."""
    assert verify(UNREADABLE, path=GOOD).name == "T0KEN1"
    assert verify(body_with(), path=GOOD).name == "T0KEN1"
    assert verify(body_with(""), path=GOOD).name == "T0KEN1"


def test_same_token_in_url_and_body_is_one_token():
    """The message of `bridge alert new` pasted under its URL."""
    assert verify(body_with(GOOD), path=GOOD).name == "T0KEN1"


def test_signature_vouches_without_claims():
    """A signed sender is bound by the settings alone; its id is the idempotency key."""
    body = body_with()
    credential = verify(body, headers=sign(body))
    assert (credential.name, credential.source, credential.claims) == ("signed:1", Source.SIGNED, None)
    assert credential.idempotency_key == sign(body)["webhook-id"]
    assert credential.secret_texts == (WHSEC,)
    unreadable = verify(UNREADABLE, headers=sign(UNREADABLE))
    assert unreadable.name == "signed:1"


def test_token_beside_a_signature_still_bounds_the_alert():
    """A relay that signs everything does not widen what a token allows."""
    body = body_with(GOOD)
    credential = verify(body, headers=sign(body))
    assert (credential.name, credential.claims) == ("signed:1", make_claims())
    assert credential.secret_texts == (GOOD, WHSEC)


@pytest.mark.parametrize("token", [BAD, make_token(expires_at=NOW)])
def test_bad_token_beside_a_good_signature_is_refused(token):
    """Every token that is presented must hold; else revoking one would not stop it."""
    body = body_with(token)
    assert reason(body, headers=sign(body)).code is RefusalCode.E_AUTH
    assert "revoked" in reason(body_with(GOOD), headers=sign(body_with(GOOD)), revoked={"T0KEN1"}).message


def test_bad_signature_beside_a_good_token_is_as_good_as_none():
    """One of them has to vouch; the sender could as well have left the signature out."""
    headers = sign(b"another body")
    credential = verify(body_with(GOOD), headers=headers)
    assert (credential.name, credential.source, credential.idempotency_key) == ("T0KEN1", Source.TRADINGVIEW, None)


@pytest.mark.parametrize("body", [body_with(), UNREADABLE, b""])
def test_bad_signature_alone_is_told_before_the_body(body):
    """401 comes first where something was presented outside of the body."""
    error = reason(body, headers=sign(b"another body"))
    assert error.code is RefusalCode.E_AUTH
    assert "No signature fits" in error.message


@pytest.mark.parametrize("body", [body_with(), body_with(GOOD), UNREADABLE, b""])
def test_bad_token_in_the_url_is_told_before_the_body(body):
    """401 comes first; a good token in the body does not make up for it."""
    assert reason(body, path=BAD).code is RefusalCode.E_AUTH


@pytest.mark.parametrize("path", [OTHER, BAD])
def test_two_different_tokens_are_refused(path):
    """Which one's claims should hold is not guessed."""
    assert "different tokens" in reason(body_with(GOOD), path=path).message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (UNREADABLE, RefusalCode.E_JSON),
        (b"", RefusalCode.E_EMPTY),
        (b"[]", RefusalCode.E_JSON),
        (b"\xff", RefusalCode.E_JSON),
        (b"x" * 70_000, RefusalCode.E_SIZE),
    ],
)
def test_unreadable_body_from_nobody_is_told_as_unreadable(body, code):
    """400 where nothing was presented and the body, which may hold the token, cannot be read."""
    assert reason(body).code is code


@pytest.mark.parametrize("value", [None, "", False, 1, 1.5, [], {}, {"token": GOOD}, [GOOD], BAD, GOOD + " ", "{{token}}"])
def test_readable_body_without_a_good_token_is_401(value):
    """No shape of the field vouches but the token's own text."""
    assert reason(json.dumps({"token": value}).encode()).code is RefusalCode.E_AUTH


def test_body_with_a_fault_of_its_own_is_still_401_first():
    """NaN and unfilled placeholders are told only to who is known."""
    assert reason(b'{"quantity": NaN}').code is RefusalCode.E_AUTH
    assert reason(b'{"quantity": {{x}}}').code is RefusalCode.E_AUTH
    assert verify(b'{"token": "%s", "quantity": {{x}}}' % GOOD.encode()).name == "T0KEN1"
    assert verify(b'{"token": "%s", "quantity": NaN}' % GOOD.encode()).name == "T0KEN1"


def test_missing_token_is_named():
    """What is missing, and how to make it."""
    error = reason(body_with())
    assert "neither a token nor a signature" in error.message
    assert "bridge alert new" in str(error.hint)
    assert error.field == "token"


def test_credential_under_another_bridges_name_is_pointed_at():
    """A message written for another bridge is the common case."""
    assert "`passphrase` is not read" in str(reason(body_with(None, passphrase=BAD)).hint)


def test_expired_and_revoked_tokens_say_so():
    """Only who holds a token that we made learns this."""
    token = make_token(expires_at=NOW + timedelta(seconds=1))
    assert verify(body_with(token)).name == "T0KEN1"
    assert "expired" in reason(body_with(token), at=NOW + timedelta(seconds=1)).message
    assert "revoked" in reason(body_with(GOOD), revoked={"T0KEN1"}).message


def test_secrets_of_other_bridges_are_to_be_blanked_out_too():
    """A long text under such a name; a short one may be an ordinary word."""
    body = body_with(GOOD, secret="hunter2hunter2", password="short", apikey=5)
    assert set(verify(body).secret_texts) == {GOOD, "hunter2hunter2"}
    assert verify(UNREADABLE, path=GOOD).secret_texts == (GOOD,)


def test_address_is_looked_at_after_the_credential():
    """A stranger learns nothing of the list; a known sender is told the address that was seen."""
    settings = make_settings(webhook={"signing_secrets": [WHSEC], "addresses": ["192.0.2.1"]})
    assert reason(body_with(), settings=settings).code is RefusalCode.E_AUTH
    error = reason(body_with(GOOD), settings=settings)
    assert error.code is RefusalCode.E_ADDRESS
    assert PEER in error.message
    assert verify(body_with(GOOD), settings=settings, peer="192.0.2.1").name == "T0KEN1"


def test_address_behind_a_proxy_is_the_forwarded_one():
    """The header counts from a trusted proxy only."""
    settings = make_settings(server={"host": "0.0.0.0", "trusted_proxies": ["10.0.0.1"]}, webhook={"signing_secrets": [WHSEC]})
    headers = {"x-forwarded-for": "52.89.214.238"}
    assert verify(body_with(GOOD), settings=settings, peer="10.0.0.1", headers=headers).name == "T0KEN1"
    assert reason(body_with(GOOD), settings=settings, peer="10.9.9.9", headers=headers).code is RefusalCode.E_ADDRESS
    body = body_with()
    assert verify(body, settings=settings, headers=sign(body)).name == "signed:1"


def test_verifier_can_be_made_from_any_key_source():
    """It needs keys by purpose and no vault."""
    verifier = Verifier(SIGNING, FixedKeys(), lambda _: False)
    assert isinstance(attempt(lambda: verifier.verify(make_delivery(), {})), RefusedError)
