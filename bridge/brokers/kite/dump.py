"""The Kite instrument dump: fetched raw and streamed to disk.

Not by the client's `instruments()`: that makes floats of ticks and strikes, and a hundred thousand dictionaries in memory.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from bridge.market.dump_rows import ListError
from bridge.market.lists import LEAST_ROWS
from bridge.settings import is_loopback

CONNECT_WITHIN_S, SILENCE_S, FETCH_WITHIN_S = 7.0, 30.0, 300.0
MAX_BYTES = 128 << 20  # unpacked; the dump has about nine million bytes
_MAX_ERROR_BYTES = 4_096


class Session(Protocol):
    """The login of one account, as far as the dump needs it."""

    def token(self) -> str | None:
        """The access token while it lives."""
        ...

    def why(self) -> str:
        """What a person must do when there is none."""
        ...

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """The broker does not know the token any more; a newer one stays."""
        ...


class KiteDump:
    """The list of instruments of one Kite account."""

    def __init__(self, *, root: str, api_key: str, session: Session) -> None:
        self._root = root.rstrip("/")
        self._api_key = api_key
        self._session = session
        self.transport: httpx.AsyncBaseTransport | None = None  # the network, unless a test watches it
        # The sandbox on this machine lists a few.
        self.least_rows = 1 if is_loopback(urlsplit(root).hostname or "") else LEAST_ROWS

    def trouble(self) -> str:
        """Why it cannot be asked now, or nothing."""
        return "" if self._session.token() else self._session.why()

    async def fetch(self, to: Path, tell: Callable[[int], None]) -> None:
        """Write the dump into `to`; ListError when it did not come whole."""
        token = self._session.token()
        if token is None:
            raise ListError(self._session.why())
        headers = {"X-Kite-Version": "3", "Authorization": f"token {self._api_key}:{token}"}
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_WITHIN_S)
        try:
            async with (
                asyncio.timeout(FETCH_WITHIN_S),
                httpx.AsyncClient(timeout=timeout, transport=self.transport) as http,
                http.stream("GET", f"{self._root}/instruments", headers=headers) as answer,
            ):
                await self._check(answer, token)
                await _store(answer, to, tell)
        except httpx.HTTPError as error:  # its text may name the address and what lies behind it; the kind is enough
            raise ListError(f"the list cannot be fetched ({type(error).__name__})") from None
        except TimeoutError:
            raise ListError(f"the list did not arrive within {FETCH_WITHIN_S:.0f} s") from None

    async def _check(self, answer: httpx.Response, token: str) -> None:
        if answer.status_code == 200 and "json" not in answer.headers.get("content-type", ""):
            return
        kind = await _error_type(answer)
        if kind == "TokenException":
            self._session.drop("the broker refused the token when asked for the list of instruments", token=token)
            raise ListError(f"the session has ended: {self._session.why() or 'another has begun meanwhile'}")
        raise ListError(f"the broker gave no list: HTTP {answer.status_code} {kind}".rstrip())


async def _store(answer: httpx.Response, to: Path, tell: Callable[[int], None]) -> None:
    size = 0
    with to.open("wb") as file:
        async for part in answer.aiter_bytes():
            size += len(part)
            if size > MAX_BYTES:
                raise ListError(f"the list is larger than a list can be ({MAX_BYTES} bytes)")
            file.write(part)
            tell(size)


async def _error_type(answer: httpx.Response) -> str:
    """The vendor's word for what is wrong, when there is one."""
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _MAX_ERROR_BYTES:
            return ""
    try:
        told = json.loads(body)
        kind = told.get("error_type") if isinstance(told, dict) else None
    except ValueError:
        return ""
    return kind if isinstance(kind, str) and kind.isalpha() and len(kind) <= 40 else ""
