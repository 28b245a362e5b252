"""What must hold when a story is over, looked up in the database file and held against the venues."""

import json
import sqlite3
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.core.enums import OrdType
from bridge.core.money import ZERO
from bridge.store.audit import verify_chain
from bridge.vault import Vault

if TYPE_CHECKING:
    from tests.simulation.world import World

MINUTE_US = 60_000_000


class Files:
    """The database as the story left it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)

    def rows(self, sql: str) -> list[tuple]:
        return self._connection.execute(sql).fetchall()

    def close(self) -> None:
        self._connection.close()


def check_all(world: "World") -> None:
    """Every promise that can be checked in the files; the first that is broken is told by the world."""
    files = Files(world.folder / "data" / "bridge.db")
    try:
        for check in (
            check_acknowledged, check_single_orders, check_endings, check_rates, check_books, check_venue_orders,
            check_resting, check_chain,
        ):  # fmt: skip
            for fault in check(world, files):
                world.break_promise(fault)
        head = files.rows("SELECT seq, hex(hash) FROM audit ORDER BY seq DESC LIMIT 1")
        world.tell(f"audit {head}")
    finally:
        files.close()


def check_acknowledged(world: "World", files: Files) -> list[str]:
    """P1: whatever was answered with 200 is there."""
    stored = {row[0] for row in files.rows("SELECT alert_id FROM alerts WHERE disposition IS NOT 'refused'")}
    return [
        f"P1 alert {alert} was acknowledged and is not there" for alert in world.senders.acked.values() if alert not in stored
    ]


def check_single_orders(world: "World", files: Files) -> list[str]:
    """P2: one accepted alert for one thing that was sent, and one order that lives or was filled for one order of ours."""
    found: list[str] = []
    contents = Counter(
        json.loads(body)["n"] + json.loads(body)["strategy"] + json.loads(body)["symbol"] + str(json.loads(body).get("time"))
        for (body,) in files.rows("SELECT body FROM alerts WHERE disposition IS NOT 'refused'")
        if "time" in json.loads(body) or "id" in json.loads(body)
    )
    found += [f"P2 the alert {content} was accepted {count} times" for content, count in contents.items() if count > 1]
    made = files.rows("SELECT cl_ord_id, COUNT(*) FROM audit WHERE action = 'order_new' GROUP BY cl_ord_id HAVING COUNT(*) > 1")
    found += [f"P2 the order {cl_ord_id} was made {count} times" for cl_ord_id, count in made]
    for venue in world.market.venues.values():
        tags = Counter(row.tag for row in venue.rows if row.tag and (row.leaves_qty or row.cum_qty))
        found += [f"P2 {count} orders of tag {tag} live or were filled" for tag, count in tags.items() if count > 1]
    return found


def check_endings(world: "World", files: Files) -> list[str]:
    """P3: exactly one end for every accepted alert."""
    open_ones = files.rows("SELECT alert_id FROM alerts WHERE disposition IS NULL")
    found = [f"P3 alert {alert_id} has not ended" for (alert_id,) in open_ones]
    ends = files.rows("SELECT alert_id, COUNT(*) FROM audit WHERE action = 'alert_ended' GROUP BY alert_id")
    found += [f"P3 alert {alert_id} ended {count} times" for alert_id, count in ends if count != 1]
    ended = {alert_id for alert_id, _count in ends}
    accepted = files.rows("SELECT alert_id FROM alerts WHERE disposition IS NOT NULL AND disposition <> 'refused'")
    return found + [f"P3 alert {alert_id} has no record of its end" for (alert_id,) in accepted if alert_id not in ended]


def check_rates(world: "World", files: Files) -> list[str]:
    """P5: never more entries in a minute than allowed, restarts or not."""
    if world.clock_went_back:
        return []
    limit = world.plan.max_orders_per_minute
    times: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    firsts = files.rows("SELECT cl_ord_id, account, created_at, reduce_only, tag FROM orders WHERE part = 1")
    orders = {row[0]: row[1:] for row in firsts}
    for (cl_ord_id,) in files.rows("SELECT cl_ord_id FROM audit WHERE action = 'order_new' ORDER BY seq"):
        if cl_ord_id not in orders:  # a later part of one
            continue
        account, at, reduce_only, tag = orders[cl_ord_id]
        times[account].append(at)
        recent = sum(1 for other in times[account] if other > at - MINUTE_US)
        if not reduce_only and recent > limit:
            found.append(f"P5 {tag} is order {recent} of its minute, allowed are {limit}")
    return found


def check_books(world: "World", files: Files) -> list[str]:
    """P7: position = sum of our fills = the venue's position; where somebody traded by hand, the difference is told."""
    fills: defaultdict[tuple[str, str, str], Decimal] = defaultdict(lambda: ZERO)
    for account, symbol, product, side, qty in files.rows("SELECT account, symbol, product, side, last_qty FROM fills"):
        fills[account, symbol, product] += Decimal(qty) * (1 if side == "BUY" else -1)
    held = {row[:3]: Decimal(row[3]) for row in files.rows("SELECT account, symbol, product, quantity FROM positions")}
    found = [
        f"P7 position of {key} is {held.get(key, ZERO)}, its fills make {total}"
        for key, total in fills.items()
        if held.get(key, ZERO) != total
    ]
    drifts = [row[0] for row in files.rows("SELECT message FROM audit WHERE action = 'drift_found'")]
    for venue in world.market.venues.values():
        for (symbol, product), quantity in venue.positions.items():
            ours = held.get((venue.account, symbol, product), ZERO)
            if ours == quantity:
                continue
            if symbol not in venue.by_hand:
                found.append(f"P7 {venue.account} {symbol}: ours {ours}, the venue's {quantity}")
            elif not any(symbol in told for told in drifts):
                found.append(f"P7 {venue.account} {symbol}: ours {ours}, the venue's {quantity}, and nobody was told")
    return found


def check_venue_orders(world: "World", files: Files) -> list[str]:
    """P7: each order has filled here what it has filled there, and the venue has no order of ours that we do not know."""
    ours = {row[0]: (Decimal(row[1]), row[2]) for row in files.rows("SELECT tag, cum_qty, status FROM orders")}
    theirs: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for venue in world.market.venues.values():
        for row in venue.rows:
            if row.tag:
                theirs[row.tag] += row.cum_qty
    found = [f"P7 the venue has {tag}, which we do not know" for tag in theirs if tag not in ours]
    found += [
        f"P7 {tag} {status}: filled {filled} here and {theirs[tag]} there"
        for tag, (filled, status) in ours.items()
        if filled != theirs[tag]
    ]
    return found


def check_resting(world: "World", files: Files) -> list[str]:
    """P4: when all is quiet nothing waits at a venue to close more than is held there."""
    found = []
    for venue in world.market.venues.values():
        for key in sorted({row.key for row in venue.working() if row.ord_type is OrdType.GTT}):
            if key in venue.late:
                continue
            held = venue.positions.get(key, ZERO)
            rests = sum((row.leaves_qty * row.side.sign for row in venue.working() if row.key == key), ZERO)
            if held * rests >= 0 or abs(rests) > abs(held):
                found.append(f"P4 {venue.account} {key}: {rests} rest to close {held}")
    return found


def check_chain(world: "World", files: Files) -> list[str]:
    """P8: the audit is whole."""
    names = "seq, at, action, alert_id, cl_ord_id, account, code, message, data, hash"
    rows = files.rows(f"SELECT {names} FROM audit ORDER BY seq")
    count, fault = verify_chain(Vault(world.settings).key("audit"), ((*row[:9], bytes(row[9])) for row in rows))
    if fault is not None:
        return [f"P8 {fault} (after {count} records)"]
    known = {row[0] for row in files.rows("SELECT alert_id FROM audit WHERE action IN ('alert_accepted', 'alert_refused')")}
    alerts = files.rows("SELECT alert_id FROM alerts")
    return [f"P8 alert {alert_id} is not in the audit" for (alert_id,) in alerts if alert_id not in known]
