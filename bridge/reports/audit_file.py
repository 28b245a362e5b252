"""Audit files: entries as JSON lines or CSV, written as they come, with the digest of the file."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, BinaryIO

from bridge.core.audit_entry import AuditEntry

COLUMNS = tuple(field.name for field in fields(AuditEntry))
# What a spreadsheet would take for a formula; alerts and brokers may say anything.
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file holds: how many entries, the numbers of the first and the last, the last one's hash, the file's SHA-256."""

    entries: int
    first: int
    last: int
    head: str
    sha256: str


def write_entries(entries: Iterable[AuditEntry], out: BinaryIO, *, as_csv: bool) -> Written:
    """Write every entry, one at a time, and tell what was written; errors of the file are raised as they are."""
    digest, count, first, last, head = hashlib.sha256(), 0, 0, 0, ""

    def put(text: str) -> None:
        raw = text.encode()
        digest.update(raw)
        out.write(raw)

    line_of: Callable[[AuditEntry], str] = _csv_line if as_csv else _json_line
    if as_csv:
        put(_join(COLUMNS))
    for entry in entries:
        put(line_of(entry))
        count, first, last, head = count + 1, first or entry.seq, entry.seq, entry.hash
    return Written(entries=count, first=first, last=last, head=head, sha256=digest.hexdigest())


def _json_line(entry: AuditEntry) -> str:
    """What the entry has; a name that is left out is empty. `data` is an object of its own."""
    told: dict[str, Any] = {name: getattr(entry, name) for name in COLUMNS}
    told = {name: _at(value) if isinstance(value, datetime) else value for name, value in told.items()}
    told["data"] = json.loads(entry.data) if entry.data else None
    return json.dumps({name: value for name, value in told.items() if value not in ("", None)}, ensure_ascii=False) + "\n"


def _csv_line(entry: AuditEntry) -> str:
    return _join([_cell(getattr(entry, name)) for name in COLUMNS])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _at(value)
    text = str(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _join(cells: Iterable[str]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)  # lines end as in RFC 4180: only so does Python 3.11 quote a carriage return
    return line.getvalue()


def _at(moment: datetime) -> str:
    """UTC to the microsecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
