"""What must hold of what rests at Kite once all is quiet: nothing that was withdrawn, and a protection for what is held."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.core.reasons import Reason
from bridge.sandbox.kite.values import ENDED
from tests.kite_sim.books import Books

if TYPE_CHECKING:
    from tests.kite_sim.story import World


def check_withdrawn(world: "World", books: Books) -> Iterator[str]:
    """What was to be cancelled does not work any more, unless Kite refused that; nor does an entry under a halt."""
    working = {tag for tag, orders in books.by_tag.items() for states in orders if states[-1].status not in ENDED}
    refused = {name for (name,) in world.rows("SELECT cl_ord_id FROM audit WHERE action = 'order_cancel_refused'")}
    codes = dict(world.rows("SELECT alert_id, code FROM alerts WHERE action = 'cancel'"))
    for alert_id, fields in world.sent.items():
        name = fields.get("order", "") if fields["action"] == "cancel" else ""
        if name and codes[alert_id] == Reason.CANCELS_SENT and name not in refused and books.owns[name].tag in working:
            yield f"P3 {name} was cancelled by hand and works at Kite"
    for own in books.owns.values():
        if world.is_halted and not own.reduce_only and own.tag in working:
            yield f"P6 the entry {own.cl_ord_id} works at Kite under a halt that cancels"


def check_cover(world: "World", books: Books) -> Iterator[str]:
    """A protection is for as many units as are held, on the other side, or a person was told that there is none."""
    rests = 0
    for row in books.active_triggers:
        first = row["orders"][0]
        rests += first["quantity"] if first["transaction_type"] == "BUY" else -first["quantity"]
    held = books.position
    if rests and (held * rests >= 0 or abs(rests) > abs(held)):
        yield f"P4 {rests} rest to close {held}"
    wished_since = protected_since(world)
    if wished_since is None and rests:
        yield f"P4 {rests} rest to close {held}, which nobody wished"
    if wished_since is not None and rests != -held and not was_told(world, wished_since):
        yield f"P4 {rests} rest to protect {held}"


def protected_since(world: "World") -> int | None:
    """The audit's number of the fill since which the present position is to be protected; None when it is not.

    Of fills that are told together nobody knows which came first: a wish ends with the last of them, if nothing is held then.
    """
    held, since, wished_sign, told_at = 0, None, 0, None
    sql = (
        "SELECT audit.at, audit.seq, orders.alert_id, orders.side, orders.legs IS NOT NULL, fills.last_qty FROM audit "
        "JOIN orders ON orders.cl_ord_id = audit.cl_ord_id "
        "JOIN fills ON fills.exec_id = json_extract(audit.data, '$.exec_id') "
        "WHERE audit.action IN ('order_fill', 'order_late_fill') ORDER BY audit.seq"
    )
    for at, seq, alert_id, side, is_protection, qty in world.rows(sql):
        if at != told_at and held * wished_sign <= 0:
            since = None
        told_at, sign = at, 1 if side == "BUY" else -1
        held += sign * int(qty)
        fields = world.sent.get(alert_id, {})
        is_wish = not is_protection and held * sign > 0 and ("stop_loss" in fields or "take_profit" in fields)
        if is_wish and (since is None or wished_sign != sign):
            since, wished_sign = seq, sign
    return since if held * wished_sign > 0 else None


def was_told(world: "World", since: int) -> bool:
    """Whether an alarm says, since then, that the position is not protected."""
    sql = f"SELECT COUNT(*) FROM audit WHERE action = 'alarm_raised' AND message LIKE '%not protected%' AND seq > {since}"
    return world.rows(sql) != [(0,)]
