"""The exchange's own lists, from a file or its address into `data_dir/exchange`, where a running bridge finds them."""

import os
from datetime import date, datetime
from pathlib import Path

from bridge.core.errors import BridgeError
from bridge.market.ban import BanList, ban_from_json, ban_to_json, parse_ban
from bridge.market.freeze import MAX_BYTES
from bridge.market.rulings import BAN_FILE

FETCH_WITHIN_S = 20.0
# The exchange's server answers browsers; what calls itself a library it leaves waiting.
_AGENT = "Mozilla/5.0 (compatible; tradingview-bridge)"


class NotTakenError(BridgeError):
    """A list was not taken, and the one in use stays; the message says why."""


def take_ban(folder: Path, text: str, *, source: str, now: datetime, at_least: date | None = None) -> BanList:
    """Read a ban list and put it in use; one of a day before `at_least` is not taken. Raises NotTakenError."""
    try:
        found = parse_ban(text)
    except ValueError as error:
        raise NotTakenError(f"the ban list was not taken, the one in use stays: {source}: {error}") from None
    if at_least is not None and found.day < at_least:
        raise NotTakenError(f"the ban list was not taken: {source} still has that of {found.day}, not of {at_least}")
    keep_list(folder, BAN_FILE, ban_to_json(found, source=source, as_of=now.isoformat(timespec="seconds")))
    return found


def read_ban_day(folder: Path) -> date | None:
    """The day of the list in use; None where there is none that can be read."""
    try:
        with (folder / BAN_FILE).open("rb") as handle:
            return ban_from_json(handle.read(MAX_BYTES)).day
    except (OSError, ValueError, RecursionError):
        return None


def keep_list(folder: Path, name: str, text: str) -> None:
    """Put the file in its place whole: a bridge may be reading it. Raises NotTakenError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{name}.{os.getpid()}.new"
        with new.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        new.replace(folder / name)
    except OSError as error:
        raise NotTakenError(f"{folder / name} cannot be written: {error.strerror}") from None


def fetch_text(url: str) -> str:
    """What an address answers with, at most a megabyte; blocks for seconds. Raises NotTakenError with the reason.

    By the standard library: httpx would be five megabytes in a bridge that has no other use for it.
    """
    from http.client import HTTPException
    from urllib.request import ProxyHandler, Request, build_opener

    request = Request(url, headers={"User-Agent": _AGENT, "Accept": "text/csv,*/*"})  # noqa: S310 - settings take http alone
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=FETCH_WITHIN_S) as answer:
            raw = answer.read(MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise NotTakenError(f"{url} gave no list: {str(error) or type(error).__name__}") from None
    if len(raw) > MAX_BYTES:
        raise NotTakenError(f"{url} gave no list: the answer is too large")
    try:
        return str(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotTakenError(f"{url} gave no list: the answer is no text") from None
