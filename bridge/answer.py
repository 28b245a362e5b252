"""Answer: what the sender of an alert is told, ready to be written to the socket."""

import json
from dataclasses import dataclass

from bridge.core.errors import RefusedError

UNAVAILABLE_HINT = "Nothing was stored; send the same alert again in a few seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`http_status` and the JSON body of the public contract; `alert_id` is empty when nothing was stored."""

    http_status: int
    body: bytes
    status: str
    alert_id: str = ""
    code: str = ""


def accepted(alert_id: str) -> Answer:
    """Stored durably; work follows."""
    return Answer(
        http_status=200,
        body=b'{"status":"accepted","alert_id":"' + alert_id.encode() + b'"}',
        status="accepted",
        alert_id=alert_id,
    )


def duplicate(alert_id: str) -> Answer:
    """The same alert was seen before; `alert_id` is the first one's."""
    return Answer(
        http_status=200,
        body=b'{"status":"duplicate","alert_id":"' + alert_id.encode() + b'"}',
        status="duplicate",
        alert_id=alert_id,
    )


def refused(error: RefusedError, alert_id: str = "") -> Answer:
    """Not accepted: the code, the field and the mend."""
    told: dict[str, str] = {"status": "refused", "code": error.code.value, "message": error.message}
    if alert_id:
        told["alert_id"] = alert_id
    if error.field:
        told["field"] = error.field
    if error.hint:
        told["hint"] = error.hint
    return Answer(
        http_status=error.code.http_status,
        body=json.dumps(told, ensure_ascii=False).encode(),
        status="refused",
        alert_id=alert_id,
        code=error.code.value,
    )


def unavailable(message: str) -> Answer:
    """Not stored; the sender should send again."""
    told = {"status": "unavailable", "message": message, "hint": UNAVAILABLE_HINT}
    return Answer(http_status=503, body=json.dumps(told).encode(), status="unavailable")
