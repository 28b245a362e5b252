"""`bridge audit verify`: walks the chain of records from the first on, also while a bridge runs."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.commands.client import CommandError, open_reads
from bridge.core.errors import ConfigError
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
