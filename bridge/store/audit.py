"""The audit chain: every record carries a keyed hash over itself and the record before it."""

import hmac
from collections.abc import Iterable, Sequence
from hashlib import blake2b

_GENESIS = bytes(32)
# at, action, alert_id, cl_ord_id, account, code, message, data (JSON text)
AuditFields = tuple[int, str, str, str, str, str, str, str]
AuditTuple = tuple[int, int, str, str, str, str, str, str, str, bytes]


def _link(key: bytes, before: bytes, seq: int, fields: AuditFields) -> bytes:
    """Keyed BLAKE2b over the hash before and every field; only `message` may hold a bar, so its length stands before it."""
    at, action, alert_id, cl_ord_id, account, code, message, data = fields
    told = f"{seq}|{at}|{action}|{alert_id}|{cl_ord_id}|{account}|{code}|{len(message)}|{message}|{data}"
    return blake2b(before + told.encode(), key=key, digest_size=32).digest()


class AuditChain:
    """The end of the chain, from which the next record hangs. Keyed, so that who edits the file cannot mend the hashes."""

    __slots__ = ("_key", "head", "seq")

    def __init__(self, key: bytes, seq: int = 0, head: bytes = _GENESIS):
        self._key = key
        self.seq = seq
        self.head = head

    def link(self, records: Sequence[AuditFields]) -> list[AuditTuple]:
        """The rows that these records become; the chain itself moves on only with `advance`, when they are on disk."""
        rows: list[AuditTuple] = []
        seq, head, key = self.seq, self.head, self._key
        for fields in records:
            seq += 1
            head = _link(key, head, seq, fields)
            rows.append((seq, *fields, head))
        return rows

    def advance(self, rows: Sequence[AuditTuple]) -> None:
        """The rows are committed: hang the next record from the last of them."""
        if rows:
            self.seq, self.head = rows[-1][0], rows[-1][-1]


def verify_chain(key: bytes, rows: Iterable[AuditTuple]) -> tuple[int, str | None]:
    """How many records are whole from the first on, and what is wrong with the next one (None: all are)."""
    head, count = _GENESIS, 0
    for row in rows:
        if row[0] != count + 1:
            return count, f"record {count + 1} is missing"
        head = _link(key, head, row[0], row[1:9])
        if not hmac.compare_digest(head, bytes(row[-1])):
            return count, f"record {count + 1} was changed, or the one before it was removed"
        count += 1
    return count, None
