"""Blank out credentials before anything of an alert is kept or shown."""

import re
from collections.abc import Iterable

BLANK = "[token]"
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


def blank_escaped(text: str, secrets: Iterable[str]) -> str:
    """The same, also where characters of a secret are written as JSON escapes; other escapes stay if there is none."""
    text = blank_secrets(text, secrets)
    if "\\" not in text:
        return text
    plain = _ESCAPED_ASCII.sub(lambda match: chr(int(match.group(1), 16)), text)
    blanked = blank_secrets(plain, secrets)
    return text if blanked == plain else blanked
