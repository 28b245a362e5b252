"""The F&O ban: underlyings in which no position may be opened on one trading day, as the exchange publishes them each evening.

NSE: https://nsearchives.nseindia.com/content/fo/fo_secban.csv. A heading with the day, then `1,SYMBOL` lines, or NIL, or
nothing. A list holds for its own day: any other day's is as good as none, which is not the same as an empty one.
"""

import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

_HEADING = re.compile(r"securities in ban for trade date\s+(\d{1,2}-[a-z]{3}-\d{4})\s*:?", re.IGNORECASE)
_ROW = re.compile(r"\d{1,4}\s*,\s*([A-Z0-9&-]{1,30})")
MAX_NAMES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BanList:
    """The underlyings banned on `day`."""

    day: date
    names: frozenset[str]


def parse_ban(text: str) -> BanList:
    """The list as the exchange writes it; ValueError names the line that is not understood."""
    lines = [line.strip().strip('"').rstrip(",").strip() for line in text.lstrip("\ufeff").splitlines()]
    told = [(number, line) for number, line in enumerate(lines, start=1) if line]
    heading = _HEADING.fullmatch(told[0][1]) if told else None
    if heading is None:
        raise ValueError("it does not begin with the heading `Securities in Ban For Trade Date DD-MON-YYYY:`")
    try:
        day = datetime.strptime(heading[1], "%d-%b-%Y").date()  # noqa: DTZ007 - a day of the exchange has no zone
    except ValueError:
        raise ValueError(f"{heading[1]} is not a day") from None
    rows = [] if [line.upper() for _number, line in told[1:]] == ["NIL"] else told[1:]
    found = [(number, line, _ROW.fullmatch(line)) for number, line in rows]
    for number, line, row in found:
        if row is None:
            raise ValueError(f"line {number}: {line[:40]!r} is not like `1,SYMBOL`")
    if len(found) > MAX_NAMES:
        raise ValueError(f"{len(found)} names are more than a ban has")
    return BanList(day=day, names=frozenset(row[1] for _number, _line, row in found if row is not None))


def ban_to_json(ban: BanList, *, source: str, as_of: str) -> str:
    """The list as it is kept."""
    told = {"day": ban.day.isoformat(), "source": source, "as_of": as_of, "names": sorted(ban.names)}
    return json.dumps(told, indent=2) + "\n"


def ban_from_json(raw: bytes) -> BanList:
    """What `ban_to_json` wrote; ValueError for anything else."""
    told: Any = json.loads(raw)
    if not isinstance(told, dict) or not isinstance(told.get("names"), list) or not isinstance(told.get("day"), str):
        raise ValueError("it is not a ban list that was imported")
    if not all(isinstance(name, str) for name in told["names"]):
        raise ValueError("names must be texts")
    return BanList(day=date.fromisoformat(told["day"]), names=frozenset(told["names"]))
