"""AuditEntry: a record of the audit with what it tells of beside it, as it is handed to somebody who has no database."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One record: its number and hash in the chain, what it says, and the facts of its alert, order and fill.

    Money and quantities are decimal text, as stored; empty where the record has no such thing. The order's are those of the
    order as it stands now. `body` is the alert's, with every credential blanked out. `data` is JSON.
    """

    seq: int
    at: datetime
    action: str
    meaning: str
    account: str
    alert_id: str
    cl_ord_id: str
    code: str
    message: str
    strategy: str = ""
    source: str = ""
    credential: str = ""
    symbol: str = ""
    side: str = ""
    product: str = ""
    ord_type: str = ""
    time_in_force: str = ""
    order_qty: str = ""
    price: str = ""
    trigger_price: str = ""
    tag: str = ""
    broker_order_id: str = ""
    exec_id: str = ""
    last_qty: str = ""
    last_px: str = ""
    charges: str = ""
    transact_time: datetime | None = None
    body: str = ""
    data: str = ""
    hash: str
