"""Capability tokens: what is minted reads back, and nothing else reads at all."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.claims import Claims
from bridge.core.enums import Action, Product
from bridge.core.errors import ConfigError, InvariantError, RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake import tokens
from bridge.intake.tokens import KEY_ID, MAX_TOKEN_CHARS, REMEMBERED_TOKENS, TokenReader, mint_token, read_token
from tests.unit.intake.builders import FUZZ, KEY, KEYS, NOW, D, FixedKeys, attempt, make_claims, make_token, refusal

TOKEN = make_token(symbols=frozenset({"NSE:SBIN"}), max_quantity=D(100))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

names = st.text(min_size=1, max_size=20)
amounts = st.decimals(min_value=D("0.01"), max_value=10**12, places=2)
claims_made = st.builds(
    Claims,
    key_id=st.just(KEY_ID),
    token_id=names,
    strategy=names,
    accounts=st.lists(names, max_size=3).map(tuple),
    symbols=st.frozensets(names, max_size=5),
    actions=st.frozensets(st.sampled_from(Action)),
    product=st.none() | st.sampled_from(Product),
    max_quantity=st.none() | amounts,
    max_notional=st.none() | amounts,
    env=st.sampled_from([None, "paper", "live"]),
    expires_at=st.none() | st.integers(0, 32_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)


def sign(payload: bytes, version: str = "v1") -> str:
    """A token with a good signature over whatever the payload is."""
    signed = f"{version}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
    mac = hmac.digest(KEY, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@FUZZ
@given(claims_made)
def test_minted_token_reads_back_to_the_same_claims(claims):
    """Minting and reading are inverse."""
    token = mint_token(claims, KEY)
    assert token.startswith("v1.")
    assert token.count(".") == 2
    assert set(token) <= set(ALPHABET + ".")
    assert read_token(token, KEYS) == claims


@FUZZ
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(ALPHABET + ". =+/\n\té"))
def test_token_with_any_character_changed_is_refused(place, char):
    """No single change survives, the last bits of the base64 included."""
    changed = TOKEN[:place] + char + TOKEN[place + 1 :]
    if changed != TOKEN:
        assert refusal(lambda: read_token(changed, KEYS)).code is RefusalCode.E_AUTH


@FUZZ
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_text_that_is_no_token_is_refused(text):
    """Whatever is presented, the answer is E_AUTH."""
    error = refusal(lambda: read_token(text, KEYS))
    assert error.code is RefusalCode.E_AUTH
    assert "not one that this bridge made" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "v1",
        TOKEN + " ",
        " " + TOKEN,
        TOKEN + "=",
        TOKEN + "\n",
        TOKEN[:-1],
        TOKEN.replace("v1.", "v2."),
        TOKEN.removeprefix("v1."),
        TOKEN + "." + TOKEN,
        TOKEN.replace("v1", "v１"),
        "v1." + "A" * MAX_TOKEN_CHARS,
    ],
)
def test_malformed_token_is_refused_without_a_reason_that_helps_forging(text):
    """All malformed inputs are one and the same refusal."""
    error = refusal(lambda: read_token(text, KEYS))
    assert error.message == refusal(lambda: read_token("x", KEYS)).message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"k":"k1"}',
        b'{"k":"k1","t":"1","s":"x","x":["fly"]}',
        b'{"k":"k1","t":"1","s":"x","q":"many"}',
        b'{"k":"k1","t":"1","s":"x","u":"soon"}',
        b'{"k":"k1","t":"1","s":"x","u":1e300}',
        b'{"k":"k1","t":"1","s":"x","u":99999999999999}',
        b'{"k":"k1","t":"1","s":"x","p":"BO"}',
        b'{"k":"k9","t":"1","s":"x"}',
        b"\xff\xfe",
    ],
)
def test_signed_claims_that_cannot_be_read_are_refused(payload):
    """A token of another version made with the same key is an answer, never a crash."""
    assert "does not read" in refusal(lambda: read_token(sign(payload), KEYS)).message


def test_signed_token_of_another_version_is_refused():
    """The version is covered by the signature and looked at."""
    payload = json.dumps({"k": KEY_ID, "t": "1", "s": "x"}).encode()
    assert read_token(sign(payload), KEYS).strategy == "x"
    assert "does not read" in refusal(lambda: read_token(sign(payload, "v2"), KEYS)).message


def test_token_of_another_installation_is_refused():
    """Only our keys vouch."""
    other = mint_token(make_claims(), b"another key of thirty-two bytes.")
    assert refusal(lambda: read_token(other, KEYS)).code is RefusalCode.E_AUTH


def test_former_key_still_reads_its_tokens():
    """Rotation: a token holds as long as its key is listed under its id."""
    former = b"f" * 32
    token = mint_token(make_claims(key_id="k0"), former)
    assert read_token(token, {KEY_ID: KEY, "k0": former}).key_id == "k0"
    assert "does not read" in refusal(lambda: read_token(token, {KEY_ID: former})).message


def test_claims_that_would_change_on_the_way_are_not_minted():
    """Half seconds do not fit; a token must not outlive or underlive what was asked."""
    with pytest.raises(InvariantError):
        mint_token(make_claims(expires_at=NOW + timedelta(milliseconds=1)), KEY)


def test_token_too_long_to_paste_is_not_minted():
    """The cap of the reader is the cap of the minter, with the mend."""
    symbols = frozenset(f"NFO:NIFTY26NOV{strike}CE" for strike in range(20_000, 20_300))
    with pytest.raises(ConfigError, match="whole segment"):
        mint_token(make_claims(symbols=symbols), KEY)


def test_keys_are_derived_for_tokens_alone():
    """The purpose names tokens and the key's id."""
    assert tokens.token_keys(FixedKeys()) == {KEY_ID: FixedKeys().key("alert token k1")}


class TestTokenReader:
    """Remembering must change nothing but the time it takes."""

    def test_known_token_is_still_held_to_its_expiry(self):
        """The moment of expiry itself is too late."""
        reader = TokenReader(KEYS, lambda _: False)
        token = make_token(expires_at=NOW)
        assert reader.read(token, NOW - timedelta(microseconds=1)).token_id == "T0KEN1"
        error = refusal(lambda: reader.read(token, NOW))
        assert error.code is RefusalCode.E_AUTH
        assert "expired at 2026-11-20T04:15:05.000Z" in error.message

    def test_known_token_is_still_held_to_its_revocation(self):
        """Revocation counts from the next alert on."""
        revoked: set[str] = set()
        reader = TokenReader(KEYS, revoked.__contains__)
        token = make_token()
        assert reader.read(token, NOW).token_id == "T0KEN1"
        revoked.add("T0KEN1")
        assert "revoked" in refusal(lambda: reader.read(token, NOW)).message

    def test_bad_token_is_not_remembered(self):
        """Guessing fills no memory."""
        reader = TokenReader(KEYS, lambda _: False)
        for text in ("v1.x.1", "v1.x.2", ""):
            assert isinstance(attempt(partial(reader.read, text, NOW)), RefusedError)
        assert not reader._known

    def test_memory_is_bounded_and_forgets_the_longest_unused(self):
        """As many tokens as fit are remembered; the one just used stays."""
        reader = TokenReader(KEYS, lambda _: False)
        minted = [make_token(token_id=f"T{number}") for number in range(REMEMBERED_TOKENS + 1)]
        for token in minted[:-1]:
            reader.read(token, NOW)
        reader.read(minted[0], NOW)
        reader.read(minted[-1], NOW)
        assert len(reader._known) == REMEMBERED_TOKENS
        assert minted[0] in reader._known
        assert minted[1] not in reader._known
        assert reader.read(minted[1], NOW).token_id == "T1"
