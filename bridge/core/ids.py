"""Identity: ids derive from content, so that a replay makes the same ones; the only source of chance is here too."""

import secrets
from datetime import datetime
from hashlib import blake2b

from bridge.core.clock import to_us

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TAG_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FINGERPRINT_BYTES = 16
TAG_LENGTH = 15  # fits the client-id field of every broker documented so far
_TAG_TIME_LENGTH = 6


def _pairs(alphabet: str) -> list[str]:
    """All numbers of two digits, written out: twice as fast as digit by digit, and every alert needs two ids."""
    return [one + other for one in alphabet for other in alphabet]


_CROCKFORD_PAIRS = _pairs(_CROCKFORD)
_TAG_PAIRS = _pairs(_TAG_ALPHABET)


def _encode(number: int, pairs: list[str], length: int) -> str:
    """The last `length` digits of a number, in the base whose pairs of digits these are."""
    base = len(pairs)
    written = []
    for _ in range((length + 1) // 2):
        number, pair = divmod(number, base)
        written.append(pairs[pair])
    written.reverse()
    return "".join(written)[-length:]


def fingerprint(*parts: bytes) -> bytes:
    """Sixteen bytes that name this content; the parts are length-prefixed, so no two splits collide."""
    digest = blake2b(digest_size=FINGERPRINT_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.digest()


def make_alert_id(received_at: datetime, content: bytes) -> str:
    """26 characters, time-ordered to the millisecond (ULID layout) with 80 bits of the content's fingerprint."""
    millis = to_us(received_at) // 1000
    return _encode(millis << 80 | int.from_bytes(content[:10], "big"), _CROCKFORD_PAIRS, 26)


def make_cl_ord_id(alert_id: str, leg: int, part: int = 1) -> str:
    """The order's own id: alert, leg, and part where it is not the first, so that processing again makes the same order."""
    return f"{alert_id}-{leg}" if part == 1 else f"{alert_id}-{leg}.{part}"


def make_tag(cl_ord_id: str, created_at: datetime) -> str:
    """The order's name at the broker: at most 15 alphanumerics, time-ordered by second, 46 bits from `cl_ord_id`."""
    digest = int.from_bytes(blake2b(cl_ord_id.encode(), digest_size=8).digest(), "big")
    seconds = to_us(created_at) // 1_000_000
    return _encode(seconds, _TAG_PAIRS, _TAG_TIME_LENGTH) + _encode(digest, _TAG_PAIRS, TAG_LENGTH - _TAG_TIME_LENGTH)


def random_token(length: int) -> str:
    """`length` characters of Crockford base 32 from the system's entropy, for token ids and session ids."""
    return "".join(secrets.choice(_CROCKFORD) for _ in range(length))


def random_unit() -> float:
    """A number in [0, 1) for jitter; never for identity."""
    return secrets.randbelow(1 << 30) / (1 << 30)
