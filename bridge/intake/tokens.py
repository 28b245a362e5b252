"""Capability tokens, `v1.<base64url claims>.<base64url HMAC-SHA256>`: bearer tokens worth what their claims allow."""

import base64
import binascii
import hmac
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from bridge.core.claims import Claims
from bridge.core.clock import from_us, iso, to_us
from bridge.core.enums import Action, Product
from bridge.core.errors import ConfigError, InvariantError, RefusedError
from bridge.core.reasons import RefusalCode

VERSION = "v1"
KEY_ID = "k1"  # the key that mints; a former one stays readable beside it for as long as its tokens live
MAX_TOKEN_CHARS = 4096
REMEMBERED_TOKENS = 1024
MINT_HINT = "Make a token with `bridge alert new` and copy the whole of it."
_SECOND_US = 1_000_000


class KeySource(Protocol):
    """Where keys come from; the vault is one."""

    def key(self, purpose: str) -> bytes:
        """32 bytes for this purpose only."""
        ...


def token_keys(source: KeySource) -> dict[str, bytes]:
    """The keys that tokens may be made with, by key id."""
    return {KEY_ID: source.key(f"alert token {KEY_ID}")}


def mint_token(claims: Claims, key: bytes) -> str:
    """The token for these claims; `key` is the one that `claims.key_id` names."""
    payload = _encode_claims(claims)
    if _decode_claims(payload) != claims:
        raise InvariantError("these claims do not survive being written into a token")
    signed = f"{VERSION}.{payload}"
    token = f"{signed}.{_sign(signed, key)}"
    if len(token) > MAX_TOKEN_CHARS:
        raise ConfigError("the token would be too long; name fewer symbols, or a whole segment such as NSE:*")
    return token


def read_token(text: str, keys: Mapping[str, bytes]) -> Claims:
    """The claims of a token that one of `keys` made; RefusedError E_AUTH for anything else. Expiry is not looked at."""
    if len(text) <= MAX_TOKEN_CHARS and text.isascii():
        signed, _, signature = text.rpartition(".")
        for key_id, key in keys.items():
            # The signature covers the text, not the bytes behind it, so no second spelling of a token can pass.
            if hmac.compare_digest(_sign(signed, key), signature):
                return _read_signed(signed, key_id)
    raise _refused("The token is not one that this bridge made.", MINT_HINT)


class TokenReader:
    """Reads tokens and remembers the good ones; expiry and revocation are looked at every time."""

    def __init__(self, keys: Mapping[str, bytes], revoked: Callable[[str], bool]):
        self._keys = keys
        self._revoked = revoked
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def read(self, text: str, now: datetime) -> Claims:
        """The claims of a token that is valid `now`; RefusedError E_AUTH says why it is not."""
        claims = self._known.get(text)
        if claims is None:
            claims = self._learn(text)
        else:
            self._known.move_to_end(text)
        if claims.expires_at is not None and now >= claims.expires_at:
            raise _refused(f"The token expired at {iso(claims.expires_at)}.", MINT_HINT)
        if self._revoked(claims.token_id):
            raise _refused("The token was revoked.", MINT_HINT)
        return claims

    def _learn(self, text: str) -> Claims:
        claims = self._known[text] = read_token(text, self._keys)
        if len(self._known) > REMEMBERED_TOKENS:
            self._known.popitem(last=False)
        return claims


def _read_signed(signed: str, key_id: str) -> Claims:
    """Claims whose signature holds; a fault here is a token of another version made with the same key."""
    version, _, payload = signed.partition(".")
    try:
        claims = _decode_claims(payload)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, binascii.Error, InvalidOperation):
        claims = None
    if claims is None or version != VERSION or claims.key_id != key_id:
        raise _refused("The token is of a kind that this version of the bridge does not read.", MINT_HINT)
    return claims


def _sign(signed: str, key: bytes) -> str:
    return _base64url(hmac.digest(key, signed.encode(), "sha256"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _encode_claims(claims: Claims) -> str:
    expires_s = None if claims.expires_at is None else to_us(claims.expires_at) // _SECOND_US
    short: dict[str, object] = {
        "k": claims.key_id,
        "t": claims.token_id,
        "s": claims.strategy,
        "a": claims.accounts,
        "i": sorted(claims.symbols),
        "x": sorted(claims.actions),
        "p": claims.product,
        "q": None if claims.max_quantity is None else str(claims.max_quantity),
        "n": None if claims.max_notional is None else str(claims.max_notional),
        "e": claims.env,
        "u": expires_s,
    }
    present = {name: value for name, value in short.items() if value is not None and value not in ((), [])}
    return _base64url(json.dumps(present, separators=(",", ":")).encode())


def _decode_claims(payload: str) -> Claims:
    short: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return Claims(
        key_id=short["k"],
        token_id=short["t"],
        strategy=short["s"],
        accounts=tuple(short.get("a", ())),
        symbols=frozenset(short.get("i", ())),
        actions=frozenset(Action(name) for name in short.get("x", ())),
        product=Product(short["p"]) if "p" in short else None,
        max_quantity=Decimal(short["q"]) if "q" in short else None,
        max_notional=Decimal(short["n"]) if "n" in short else None,
        env=short.get("e"),
        expires_at=from_us(short["u"] * _SECOND_US) if "u" in short else None,
    )


def _refused(message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_AUTH, message, field="token", hint=hint)
