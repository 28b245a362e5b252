"""The way out of one channel, by apprise; its addresses are secrets, so what it logs is kept from every log."""

import logging
import re
import threading
from typing import Any

from bridge.core.errors import BridgeError, ConfigError

_CODE = re.compile(r"error=(\d{3})\b")


class NotSentError(BridgeError):
    """A message did not go out, or nobody can tell; it is tried again. Tells no address."""


class Link:
    """One address of apprise's. Making one loads apprise and every service it knows: half a second, some 28 MB."""

    def __init__(self, name: str, url: str):
        import apprise

        _listen()
        self._name = name
        self._types: Any = apprise.NotifyType
        # Nothing is kept on disk, nothing in the text is taken for more than text.
        asset = apprise.AppriseAsset(app_id="TradingView Bridge", storage_mode="memory", async_mode=False)
        self._service = apprise.Apprise(asset=asset)
        if not self._service.add(url):
            told = f"notify.channels.{name}.url is no address that apprise knows, such as tgram://TOKEN/CHAT"
            raise ConfigError(f"{told}; see https://appriseit.com/services/")

    def send(self, title: str, body: str, *, pressing: bool) -> None:
        """Send a message; NotSentError when the service did not take it. Blocks for seconds: call it in a thread."""
        kind = self._types.FAILURE if pressing else self._types.INFO
        _heard.code = ""
        try:
            taken = self._service.notify(body=body, title=title, notify_type=kind, body_format="text")
        except Exception as error:  # a plugin's own fault; its words may name the address
            raise NotSentError(f"apprise failed ({type(error).__name__})") from None
        if not taken:
            raise NotSentError(f"the service answered HTTP {_heard.code}" if _heard.code else "the service was not reached")


class _Heard(threading.local):
    """The HTTP status that the plugin of this thread has complained about."""

    code = ""


_heard = _Heard()


class _Ear(logging.Handler):
    """Takes everything that apprise says, and keeps nothing of it but a status."""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the status."""
        found = _CODE.search(record.getMessage())
        if found:
            _heard.code = found[1]


def _listen() -> None:
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    if not any(isinstance(handler, _Ear) for handler in logger.handlers):
        logger.addHandler(_Ear())
