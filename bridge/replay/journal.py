"""The journal of a replay: every step of every alert and order as the audit has it, one JSON line each."""

import json
from collections.abc import Iterator, Mapping

from bridge.core.clock import from_us, iso
from bridge.core.reasons import AuditAction
from bridge.store.audit import AuditTuple
from bridge.store.store import Store

# What tells of the bridge and not of a decision.
_ASIDE = frozenset({AuditAction.BRIDGE_STARTED, AuditAction.BRIDGE_STOPPED, AuditAction.RECONCILED, AuditAction.ORDER_SENDING})


def write_journal(store: Store) -> Iterator[str]:
    """The lines, oldest first. Alerts and orders go by numbers of their own, in their order."""
    numbers: dict[str, int] = {}
    for row in store.reads.audit_rows():
        if row[2] not in _ASIDE:
            yield json.dumps(_line(store, row, numbers), separators=(",", ":"), ensure_ascii=False)


def _line(store: Store, row: AuditTuple, numbers: dict[str, int]) -> Mapping[str, object]:
    _seq, at, action, alert_id, cl_ord_id, _account, code, message, data, _hash = row
    line: dict[str, object] = {"at": iso(from_us(at)), "step": action}
    if alert_id:
        line["alert"] = numbers.setdefault(alert_id, len(numbers) + 1)
    if cl_ord_id:
        line["order"] = cl_ord_id.removeprefix(f"{alert_id}-")
    if action == AuditAction.ALERT_ACCEPTED and (told := store.reads.alert(alert_id)) is not None:
        line |= {"strategy": told.strategy, "symbol": told.symbol, "action": told.action, "body": told.body}
    if code:
        line["code"] = code
    if message:
        line["message"] = message
    if data and data != "{}":
        line["data"] = json.loads(data)
    return line
