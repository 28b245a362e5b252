"""`bridge audit verify · export`: walks the chain of records, or hands them out, also while a bridge runs."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

from bridge.commands.client import CommandError, open_reads
from bridge.core.audit_entry import AuditEntry
from bridge.core.clock import IST, SystemClock
from bridge.core.errors import ConfigError
from bridge.reports.audit_file import Written, write_entries
from bridge.settings import Settings, load_settings
from bridge.store.audit import AuditTuple, verify_chain
from bridge.vault import KEY_FILE, Vault

_HEAD = re.compile(r"(?P<seq>[1-9][0-9]{0,17}):(?P<hash>[0-9a-f]{64})")
_TELL_EVERY = 250_000


def verify(arguments: argparse.Namespace) -> int:
    """Prove the chain whole, and that it tells of every alert and fill."""
    settings = load_settings()
    noted = _read_head(arguments.head)
    reads = open_reads(settings)
    walk = _Walk(noted[0])
    count, wrong = verify_chain(_audit_key(settings), walk.over(reads.audit_rows()))
    if wrong is not None:
        raise CommandError(f"the audit is broken: {wrong}. The {count} records before it are whole.")
    if noted[0] > count:
        raise CommandError(f"the audit is broken: record {count + 1} is missing, and so is all up to the noted {noted[0]}.")
    if noted[0] and walk.at_noted != noted[1]:
        raise CommandError(f"the audit is broken: record {noted[0]} is not the one that was noted.")
    if untold := reads.unaudited():
        raise CommandError(f"the audit is broken: its end was cut off, no record tells of {', '.join(untold)}.")
    print(f"The audit is whole: {count} records.")
    if count:
        print(f"head {count}:{walk.last}")
        if not noted[0]:
            print("Note the head elsewhere and give it to --head next time: only that proves that nothing was cut off the end.")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the records of some days to a file, and print its digest."""
    settings, out = load_settings(), Path(arguments.out)
    if out.suffix not in (".jsonl", ".csv"):
        raise ConfigError(f"--out {arguments.out!r} must end in .jsonl or .csv, which says how it is written")
    if arguments.account is not None and arguments.account not in settings.accounts:
        raise ConfigError(f"there is no account {arguments.account!r}; accounts are {', '.join(settings.accounts)}")
    first, last = read_days(arguments.since, arguments.until, SystemClock().now())
    entries = open_reads(settings).entries(_midnight(first), _midnight(last + timedelta(days=1)), arguments.account)
    written = _write_whole(out, entries)
    print(f"{written.entries} records of {first} to {last} in {out}.", file=sys.stderr)
    if written.entries:
        print(f"Numbers {written.first} to {written.last}; head {written.last}:{written.head}", file=sys.stderr)
    print(f"{written.sha256}  {out}")
    return 0


def _write_whole(out: Path, entries: Iterable[AuditEntry]) -> Written:
    """The file is there whole or not at all, and nobody else's to read."""
    fresh = out.with_name(f"{out.name}.{os.getpid()}.new")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            written = write_entries(entries, file, as_csv=out.suffix == ".csv")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return written


def read_days(since: str, until: str | None, now: datetime) -> tuple[date, date]:
    """The first and the last day in India, today when none is named; ConfigError when they are none or in disorder."""
    try:
        first = date.fromisoformat(since)
        last = date.fromisoformat(until) if until is not None else now.astimezone(IST).date()
    except ValueError:
        raise ConfigError(f"--from and --to are days such as 2026-11-20, not {since!r} and {until!r}") from None
    if not first <= last < date.max:
        raise ConfigError(f"--to {last} lies before --from {first}, or beyond all days")
    return first, last


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), IST)


class _Walk:
    """Looks over the shoulder of the proof: the last hash, and the one at the noted record."""

    def __init__(self, noted: int):
        self._noted = noted
        self.last = self.at_noted = ""

    def over(self, rows: Iterable[AuditTuple]) -> Iterator[AuditTuple]:
        """The rows, seen."""
        for row in rows:
            yield row
            self.last = bytes(row[-1]).hex()
            if row[0] == self._noted:
                self.at_noted = self.last
            if row[0] % _TELL_EVERY == 0 and sys.stderr.isatty():
                print(f"{row[0]} records …", file=sys.stderr)


def _read_head(text: str | None) -> tuple[int, str]:
    if text is None:
        return 0, ""
    found = _HEAD.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigError(f"--head {text!r} is not SEQ:HASH as an earlier `bridge audit verify` printed it")
    return int(found["seq"]), found["hash"]


def _audit_key(settings: Settings) -> bytes:
    key_file = Path(settings.data_dir) / KEY_FILE
    if settings.secret_key is None and not key_file.exists():
        raise ConfigError(f"{key_file} is missing, and without the master key nothing can be proved; put it back from a backup")
    return Vault(settings).key("audit")
