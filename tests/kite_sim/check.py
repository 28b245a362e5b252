"""What must hold when a story is over: the bridge's files held against the loopback Kite's own book."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.brokers.kite.gtt import ID_PREFIX
from bridge.core.clock import to_us
from bridge.settings import load_settings
from bridge.store.audit import verify_chain
from bridge.vault import Vault
from tests.kite_sim.books import Books, read_books
from tests.kite_sim.changed import check_changes

if TYPE_CHECKING:
    from tests.kite_sim.story import World

# Ours by default; the vendor's own are ten a second, and as many of everything else.
PER_SECOND = 8


def check_all(world: "World") -> Iterator[str]:
    """Every promise that does not hold, named."""
    books = read_books(world)
    yield from check_single_orders(books)
    yield from check_known(books)
    yield from check_wishes(world, books)
    yield from check_changes(world, books)
    yield from check_protections(books)
    yield from check_halts(world, books)
    yield from check_endings(world)
    yield from check_positions(world)
    yield from check_rate(world)
    yield from check_chain(world)


def check_single_orders(books: Books) -> Iterator[str]:
    """P2: one order that lived or was filled for one order of ours."""
    for tag, found in books.by_tag.items():
        lived = [states for states in found if states[-1].status != "REJECTED" or states[-1].filled_quantity]
        if tag and len(lived) > 1:
            yield f"P2 {len(lived)} orders of tag {tag} at Kite"


def check_known(books: Books) -> Iterator[str]:
    """Every order there is known here, with the same executions, and none of ours is believed to have more."""
    filled = {tag: sum(states[-1].filled_quantity for states in found) for tag, found in books.by_tag.items()}
    ours = {own.tag: own for own in books.owns.values()}
    yield from (f"P7 Kite has {tag!r}, which we do not know" for tag in filled if tag not in ours)
    for tag, own in ours.items():
        if own.cum_qty != filled.get(tag, 0):
            yield f"P7 {tag} {own.status}: filled {own.cum_qty} here and {filled.get(tag, 0)} there"


def check_wishes(world: "World", books: Books) -> Iterator[str]:
    """No alert made more than it wished for, beside what protects it."""
    made: Counter[str] = Counter()
    for own in books.owns.values():
        made[own.alert_id] += 0 if own.is_protection else int(own.order_qty)
    changed = {name for (name,) in world.rows("SELECT cl_ord_id FROM audit WHERE action = 'order_replaced'")}
    for alert_id, qty in made.items():
        wished = world.sent.get(alert_id, {}).get("quantity")
        if wished is not None and qty > int(wished) and not any(name.startswith(alert_id) for name in changed):
            yield f"P2 alert {alert_id} wished for {wished} and made {qty}"


def check_protections(books: Books) -> Iterator[str]:
    """P2: one trigger for one protection of ours, and none that nobody knows. P4: what it places closes, and never opens."""
    known = {own.broker_order_id for own in books.owns.values() if own.is_protection}
    for row in books.triggers:
        if f"{ID_PREFIX}{row['id']}" not in known:
            yield f"P2 Kite has the trigger {row['id']} {row['status']}, which we do not know"
    tags = [own.tag for own in books.owns.values() if own.is_protection]
    names = {states[-1].order_id: tag for tag in tags for states in books.by_tag.get(tag, [])}
    held = 0
    for trade in books.trades:
        signed = trade.quantity if trade.transaction_type == "BUY" else -trade.quantity
        if trade.order_id in names and (held * signed >= 0 or abs(signed) > abs(held)):
            yield f"P4 the protection {names[trade.order_id]} traded {signed} while {held} were held"
        held += signed


def check_halts(world: "World", books: Books) -> Iterator[str]:
    """P6: between the answer to a halt and the wish to resume no entry leaves."""
    for own in books.owns.values():
        for since, until in world.halts:
            is_under = own.sent_at is not None and own.sent_at > to_us(since) and (until is None or own.sent_at < to_us(until))
            if is_under and not own.reduce_only:
                yield f"P6 the entry {own.cl_ord_id} left under a halt"


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
