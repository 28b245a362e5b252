"""Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, several secrets for rotation, strict to the byte."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.core.clock import to_us
from bridge.core.errors import ConfigError, RefusedError
from bridge.core.reasons import RefusalCode

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
SECRET_PREFIX = "whsec_"  # noqa: S105 - marks a secret, is none
# The specification asks for secrets of 24 to 64 bytes.
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
MAX_ID_CHARS = 256
MAX_TIMESTAMP_CHARS = 12  # seconds until the year 33658
MAX_SIGNATURE_CHARS = 4096
MAX_SIGNATURES = 16
_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signature that holds: which secret made it (counted from one) and the sender's id of the message."""

    number: int
    secret: str
    message_id: str


class SignatureChecker:
    """Checks the three headers against the secrets of the settings."""

    def __init__(self, secrets: Sequence[str], tolerance_s: int):
        self._secrets = [(secret, _read_secret(secret, place)) for place, secret in enumerate(secrets)]
        self._tolerance_s = tolerance_s

    def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Signed:
        """The signature that vouches for `body`; RefusedError E_AUTH says what is missing or wrong.

        Names of headers are lower case. Signatures of other versions than v1 are passed over.
        """
        if not self._secrets:
            raise _refused("The request is signed, and no signing secret is set.", "Set webhook.signing_secrets.")
        message_id = _read_id(headers)
        timestamp = self._read_timestamp(headers, now)
        offered = _read_signatures(headers)
        signed = f"{message_id}.{timestamp}.".encode() + body
        for number, (secret, key) in enumerate(self._secrets, start=1):
            # Texts are compared, not the bytes behind them, so there is no second spelling of a signature.
            expected = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
            if any(hmac.compare_digest(expected, signature) for signature in offered):
                return Signed(number=number, secret=secret, message_id=message_id)
        raise _refused(
            "No signature fits the body.",
            f"Sign `{ID_HEADER}.{TIMESTAMP_HEADER}.body`, the body byte for byte as sent, with a secret of the bridge.",
        )

    def _read_timestamp(self, headers: Mapping[str, str], now: datetime) -> str:
        text = _read_header(headers, TIMESTAMP_HEADER, MAX_TIMESTAMP_CHARS)
        if not text.isdigit() or text.startswith("0"):
            raise _refused(f"{TIMESTAMP_HEADER} is not a whole number of seconds since 1970.", field=TIMESTAMP_HEADER)
        age_us = to_us(now) - int(text) * _SECOND_US
        if abs(age_us) > self._tolerance_s * _SECOND_US:
            direction = "ago" if age_us > 0 else "in the future"
            raise _refused(
                f"The request was signed {abs(age_us) // _SECOND_US} s {direction}; at most {self._tolerance_s} s are allowed.",
                "Sign every attempt anew, and check the clocks of both machines.",
                TIMESTAMP_HEADER,
            )
        return text


def _read_secret(secret: str, place: int) -> bytes:
    where = f"webhook.signing_secrets[{place}]"
    if not secret.startswith(SECRET_PREFIX):
        raise ConfigError(f"{where} does not start with {SECRET_PREFIX}; {_secret_mend()}")
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{where} is not base64 behind {SECRET_PREFIX}; {_secret_mend()}") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ConfigError(
            f"{where} holds {len(key)} bytes, {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} are needed; {_secret_mend()}"
        )
    return key


def _secret_mend() -> str:
    return f'make one with: echo "{SECRET_PREFIX}$(openssl rand -base64 32)"'


def _read_header(headers: Mapping[str, str], name: str, max_chars: int) -> str:
    text = headers.get(name, "")
    if not text:
        raise _refused(f"The request is signed, and the header {name} is missing.", field=name)
    if len(text) > max_chars or not (text.isascii() and text.isprintable()):
        raise _refused(f"The header {name} is malformed.", f"It has at most {max_chars} ASCII characters.", name)
    return text


def _read_id(headers: Mapping[str, str]) -> str:
    text = _read_header(headers, ID_HEADER, MAX_ID_CHARS)
    if "." in text or " " in text:
        # With a dot in it, one signature would fit two splits of the signed text.
        raise _refused(f"The header {ID_HEADER} has a dot or a space in it.", "Use another id.", ID_HEADER)
    return text


def _read_signatures(headers: Mapping[str, str]) -> list[bytes]:
    signatures = _read_header(headers, SIGNATURE_HEADER, MAX_SIGNATURE_CHARS).encode().split(b" ")
    if len(signatures) > MAX_SIGNATURES:
        raise _refused(f"The header {SIGNATURE_HEADER} has more than {MAX_SIGNATURES} signatures.")
    if any(signature.count(b",") != 1 for signature in signatures):
        raise _refused(f"The header {SIGNATURE_HEADER} is malformed.", "It is `v1,<base64>`, several with a space between.")
    return signatures


def _refused(message: str, hint: str | None = None, field: str | None = SIGNATURE_HEADER) -> RefusedError:
    return RefusedError(RefusalCode.E_AUTH, message, field=field, hint=hint)
