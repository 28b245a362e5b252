"""The audit chain: every record carries a keyed hash over itself and the record before it."""

import hmac
from collections.abc import Iterable, Mapping, Sequence

import orjson

_GENESIS = bytes(32)
AuditTuple = tuple[int, int, str, str, str, str, str, str, str, bytes]


def _link(key: bytes, before: bytes, fields: Sequence[object]) -> bytes:
    """Keyed hash over the hash before and every field with its length, so that no two splits of a text are alike."""
    texts = [str(field) for field in fields]
    told = "".join([f"{len(text)}:{text}" for text in texts])
    return hmac.digest(key, before + told.encode(), "sha256")


class AuditChain:
    """The end of the chain, from which the next record hangs. Keyed, so that who edits the file cannot mend the hashes."""

    __slots__ = ("_key", "head", "seq")

    def __init__(self, key: bytes, seq: int = 0, head: bytes = _GENESIS):
        self._key = key
        self.seq = seq
        self.head = head

    def append(
        self,
        at: int,
        action: str,
        alert_id: str,
        cl_ord_id: str,
        account: str,
        code: str,
        message: str,
        data: Mapping[str, object] | None,
    ) -> AuditTuple:
        """The row of the next record; `at` is microseconds, `data` any JSON."""
        self.seq += 1
        fields = (
            self.seq,
            at,
            action,
            alert_id,
            cl_ord_id,
            account,
            code,
            message,
            orjson.dumps(data, default=str).decode() if data else "",
        )
        self.head = _link(self._key, self.head, fields)
        return (*fields, self.head)


def verify_chain(key: bytes, rows: Iterable[AuditTuple]) -> tuple[int, str | None]:
    """How many records are whole from the first on, and what is wrong with the next one (None: all are)."""
    head, count = _GENESIS, 0
    for row in rows:
        fields = tuple(row[:-1])
        if fields[0] != count + 1:
            return count, f"record {count + 1} is missing"
        head = _link(key, head, fields)
        if not hmac.compare_digest(head, bytes(row[-1])):
            return count, f"record {count + 1} was changed, or the one before it was removed"
        count += 1
    return count, None
