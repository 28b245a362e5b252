"""Blank out credentials before anything of an alert is kept or shown."""

import re
from collections.abc import Iterable

from bridge.intake.verify import Credential

BLANK = "[token]"
MAX_KEPT_BYTES = 8192
_UTF8_MAX_BYTES = 4
_TOKEN = re.compile(r"v1\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{43}")
_SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{16,}")
# Also escaped twice, as JSON within JSON is. The look behind and the possessive `++` keep the search linear.
_ESCAPED_ASCII = re.compile(r"(?<!\\)\\++u00([2-7][0-9a-fA-F])")


def blank_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text without these secrets and without anything else that looks like a token or signing secret of ours."""
    for secret in secrets:
        text = text.replace(secret, BLANK)
    if "v1." in text:
        text = _TOKEN.sub(BLANK, text)
    if "whsec_" in text:
        text = _SIGNING_SECRET.sub(BLANK, text)
    return text


def redact(body: bytes, credential: Credential) -> str:
    """The body of an authentic delivery as it is kept: secrets blanked out, always text, at most 8 KiB."""
    # No database keeps NUL in a text; without it a secret in UTF-16 is found too.
    text = _blank_escaped(body.replace(b"\0", b"").decode(errors="replace"), credential.secret_texts)
    if len(text) * _UTF8_MAX_BYTES <= MAX_KEPT_BYTES:
        return text
    return text.encode()[:MAX_KEPT_BYTES].decode(errors="ignore")


def _blank_escaped(text: str, secrets: Iterable[str]) -> str:
    """Also where characters of a secret are written as JSON escapes; the escapes stay where they hide no secret."""
    text = blank_secrets(text, secrets)
    if "\\" not in text:
        return text
    plain = _ESCAPED_ASCII.sub(lambda match: chr(int(match.group(1), 16)), text)
    blanked = blank_secrets(plain, secrets)
    return text if blanked == plain else blanked
