"""What must hold when a story is over: the bridge's files held against the loopback Kite's own book."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from bridge.sandbox.kite.values import Order
from bridge.settings import load_settings
from bridge.store.audit import verify_chain
from bridge.vault import Vault

if TYPE_CHECKING:
    from tests.kite_sim.story import World

# Ours by default; the vendor's own are ten a second, and as many of everything else.
PER_SECOND = 8


def check_all(world: "World") -> Iterator[str]:
    """Every promise that does not hold, named."""
    theirs = world.desk.server.do(lambda box: [states[-1] for states in box.book.orders.values()])
    yield from check_single_orders(theirs)
    yield from check_known(world, theirs)
    yield from check_wishes(world)
    yield from check_endings(world)
    yield from check_positions(world)
    yield from check_rate(world)
    yield from check_chain(world)


def check_single_orders(theirs: list[Order]) -> Iterator[str]:
    """P2: one order that lived or was filled for one order of ours."""
    tags = Counter(order.tag for order in theirs if order.tag and (order.status != "REJECTED" or order.filled_quantity))
    yield from (f"P2 {count} orders of tag {tag} at Kite" for tag, count in tags.items() if count > 1)


def check_known(world: "World", theirs: list[Order]) -> Iterator[str]:
    """Every order there is known here, with the same executions, and none of ours is believed to have more."""
    ours = {tag: (Decimal(cum_qty), status) for tag, cum_qty, status in world.rows("SELECT tag, cum_qty, status FROM orders")}
    filled: Counter[str] = Counter()
    for order in theirs:
        filled[order.tag or ""] += order.filled_quantity
    yield from (f"P7 Kite has {tag!r}, which we do not know" for tag in filled if tag not in ours)
    for tag, (cum_qty, status) in ours.items():
        if cum_qty != filled[tag]:
            yield f"P7 {tag} {status}: filled {cum_qty} here and {filled[tag]} there"


def check_wishes(world: "World") -> Iterator[str]:
    """No alert made more than it wished for."""
    for alert_id, qty in world.rows("SELECT alert_id, SUM(order_qty) FROM orders GROUP BY alert_id"):
        wished = world.sent[alert_id].get("quantity")
        if wished is not None and qty > int(wished):
            yield f"P2 alert {alert_id} wished for {wished} and made {qty}"


def check_endings(world: "World") -> Iterator[str]:
    """P1 and P3: every alert that was answered with 200 is there, and has ended once."""
    ends = dict(world.rows("SELECT alert_id, COUNT(*) FROM audit WHERE action = 'alert_ended' GROUP BY alert_id"))
    known = {alert_id for (alert_id,) in world.rows("SELECT alert_id FROM alerts")}
    for alert_id in world.sent:
        if alert_id not in known:
            yield f"P1 alert {alert_id} was acknowledged and is not there"
        elif ends.get(alert_id) != 1:
            yield f"P3 alert {alert_id} ended {ends.get(alert_id, 0)} times"


def check_positions(world: "World") -> Iterator[str]:
    """P7: the same positions on both sides."""
    held = world.desk.server.do(lambda box: {key: one.quantity for key, one in box.account.positions().items()})
    rows = world.rows("SELECT symbol, product, quantity FROM positions")
    ours = {(symbol, product): int(quantity) for symbol, product, quantity in rows}
    for key in {*held, *ours}:
        if ours.get(key, 0) != held.get(key, 0):
            yield f"P7 position of {key} is {ours.get(key, 0)} here and {held.get(key, 0)} there"


def check_rate(world: "World") -> Iterator[str]:
    """Never more orders in a calendar second than the account's setting, counted where they arrive."""
    most = world.desk.server.do(lambda box: box.limits.largest["place_attempts_per_second"])
    if most > PER_SECOND:
        yield f"P5 {most} orders arrived in one second, allowed are {PER_SECOND}"


def check_chain(world: "World") -> Iterator[str]:
    """P8: the audit is whole."""
    names = "seq, at, action, alert_id, cl_ord_id, account, code, message, data, hash"
    rows = world.rows(f"SELECT {names} FROM audit ORDER BY seq")
    vault = Vault(load_settings(data_dir=world.data))
    count, fault = verify_chain(vault.key("audit"), ((*row[:9], bytes(row[9])) for row in rows))
    if fault is not None:
        yield f"P8 {fault} (after {count} records)"
