"""`bridge halt · resume · flatten · cancel · modify · reconcile · status`: what a person does about trading, and sees of it."""

import argparse
import asyncio
from typing import Any
from urllib.parse import quote

from bridge.commands.client import Client, CommandError, open_reads, reach
from bridge.commands.running import find_running
from bridge.core.clock import Clock, SystemClock, iso
from bridge.core.enums import Disposition
from bridge.core.money import to_text
from bridge.core.order_states import OrderStatus
from bridge.settings import Settings, load_settings

MEANINGS = {
    "ACTIVE": "entries and exits leave",
    "REDUCING": "only exits leave",
    "HALTED": "nothing leaves but cancels",
}
# An exit at market is done in a second or two; a broker that takes longer is told about instead of waited for.
FLATTEN_WITHIN_S = 30.0
CANCEL_WITHIN_S = 10.0
POLL_S = 0.05
_ORDER_FIELDS = ("account", "side", "symbol", "ord_type", "status", "cum_qty", "order_qty", "cl_ord_id")
_GOOD_ENDS = (Disposition.DONE, Disposition.NOOP)


def halt(arguments: argparse.Namespace) -> int:
    """Stop adding exposure, or with --all everything but cancels; with --cancel also what rests already."""
    return asyncio.run(_set_mode("/halt", arguments, cancel=arguments.cancel))


def resume(arguments: argparse.Namespace) -> int:
    """Take a halt back."""
    return asyncio.run(_set_mode("/resume", arguments))


async def _set_mode(path: str, arguments: argparse.Namespace, *, cancel: bool = False) -> int:
    body: dict[str, object] = {"all": arguments.all} | ({"cancel": True} if cancel else {})
    body |= {name: value for name in ("account", "strategy") if (value := getattr(arguments, name)) is not None}
    async with reach(load_settings(), trading=cancel) as bridge:
        print(_state_line(await bridge.post(path, body)))
        return await _wait_for_cancels(bridge) if cancel else 0


async def _wait_for_cancels(bridge: Client) -> int:
    """Wait until the broker has answered; 1 when a cancel is still on its way, which the bridge goes on asking for."""
    clock: Clock = SystemClock()
    until = clock.monotonic() + CANCEL_WITHIN_S
    while waiting := [row for row in await bridge.get("/orders?limit=500") if row["status"] == "CANCEL_PENDING"]:
        if clock.monotonic() > until:
            for row in waiting:
                print(f"not yet cancelled: {row['account']} {row['side']} {row['order_qty']} {row['symbol']}")
            return 1
        await asyncio.sleep(POLL_S)
    return 0


def flatten(arguments: argparse.Namespace) -> int:
    """Close positions and wait for the ends; 0 only when every one was closed or was flat already."""
    return asyncio.run(_flatten(arguments.account))


async def _flatten(account: str | None) -> int:
    async with reach(load_settings(), trading=True) as bridge:
        sent = await bridge.post("/flatten", {} if account is None else {"account": account})
        if not sent["alert_ids"]:
            print("No position is open.")
        ways = [await wait_for_end(bridge, alert_id, FLATTEN_WITHIN_S) for alert_id in sent["alert_ids"]]
    for way in ways:
        print(f"{way['disposition']:<8}{way['message']}")
    return 0 if all(way["disposition"] in _GOOD_ENDS for way in ways) else 1


async def wait_for_end(bridge: Client, alert_id: str, timeout_s: float) -> Any:
    """An alert's whole way, once it has ended."""
    clock: Clock = SystemClock()
    until = clock.monotonic() + timeout_s
    while (way := await bridge.get(f"/alerts/{alert_id}"))["disposition"] is None:
        if clock.monotonic() > until:
            raise CommandError(f"alert {alert_id} has not ended within {timeout_s:.0f} s; its page tells what it waits for")
        await asyncio.sleep(POLL_S)
    return way


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel one open order; 0 once the broker was asked to."""
    return asyncio.run(_ask_of_order(f"/orders/{quote(arguments.order, safe='')}/cancel", {}))


def modify(arguments: argparse.Namespace) -> int:
    """Change one open order; 0 only when the broker has changed it, or it had these terms already."""
    wished = {name: getattr(arguments, name) for name in ("price", "trigger_price", "quantity")}
    body: dict[str, object] = {name: value for name, value in wished.items() if value is not None}
    return asyncio.run(_ask_of_order(f"/orders/{quote(arguments.order, safe='')}/modify", body))


async def _ask_of_order(path: str, body: dict[str, object]) -> int:
    async with reach(load_settings(), trading=True) as bridge:
        sent = await bridge.post(path, body)
        way = await wait_for_end(bridge, sent["alert_id"], FLATTEN_WITHIN_S)
    print(f"{way['disposition']:<8}{way['message']}")
    return 0 if way["code"] in ("CANCELS_SENT", "MODIFIED", "UNCHANGED") else 1


def reconcile(arguments: argparse.Namespace) -> int:
    """Compare books; 0 only when every account's agree. With --accept 0 when there was a difference, and it is accepted."""
    return asyncio.run(_reconcile(arguments.account, arguments.accept))


async def _reconcile(account: str | None, symbol: str | None) -> int:
    body: dict[str, object] = {} if account is None else {"account": account}
    async with reach(load_settings(), trading=True) as bridge:
        told = await bridge.post("/reconcile", body)
        for name, found in sorted(told["accounts"].items()):
            _tell_comparison(name, found)
        if symbol is not None:
            for sentence in (await bridge.post("/reconcile/accept", {**body, "symbol": symbol}))["accepted"]:
                print(f"accepted: {sentence}")
            return 0
    return 0 if told["agree"] else 1


def _tell_comparison(name: str, found: dict[str, Any]) -> None:
    external = f", {len(found['external'])} not from this bridge" if found["external"] else ""
    print(f"{name}: {found['message']} {found['orders']} orders in the broker's book{external}.")
    for drift in found["drift"]:
        accepted = f", accepted by {drift['accepted_by']}" if drift["accepted_by"] else ""
        print(f"  {drift['symbol']} {drift['product']}: ours {drift['ours']}, the broker's {drift['broker']}{accepted}")
    for double in found["doubles"]:
        print(f"  DOUBLE ORDER {double['cl_ord_id']}: {', '.join(double['broker_order_ids'])}")
    for order in found["external"]:
        side, symbol, done = order["side"].lower(), order["symbol"], f"{order['cum_qty']} of {order['order_qty']}"
        print(f"  placed elsewhere: {order['broker_order_id']} {side} {symbol} {done} filled, {order['status']}")


def status(_arguments: argparse.Namespace) -> int:
    """Tell what is going on; 1 when no bridge is running."""
    settings = load_settings()
    running = find_running(settings.data_dir)
    if running is None:
        _tell_stopped(settings)
        return 1
    return asyncio.run(_tell_running(settings))


async def _tell_running(settings: Settings) -> int:
    async with reach(settings) as bridge:
        now, positions, orders = [await bridge.get(path) for path in ("/status", "/positions", "/orders?limit=1000")]
    print(f"running   {bridge.where}, version {now['version']}, since {now['started_at']}")
    print(f"trading   {now['mode']}: {MEANINGS[now['mode']]}")
    for state in now["states"]:
        if state["mode"] != "ACTIVE" or state["scope"] != "global":
            print(f"          {_state_line(state)}")
    for account in now["accounts"]:
        session = "connected" if account["connected"] else f"NOT CONNECTED: {account['message']}"
        money = f"equity {account['equity']}, available {account['available']}, P&L today {account['day_pnl']}"
        print(f"account   {account['account']} ({account['broker']}), {session}; {money}")
    for row in positions:
        open_pnl = row["unrealized_pnl"] if row["unrealized_pnl"] is not None else "unknown"
        print(_position_line(row["account"], row["symbol"], row["product"], row["quantity"], row["avg_px"], open_pnl))
    for row in orders:
        if not OrderStatus(row["status"]).is_closed:
            print(_order_line(*(row[name] for name in _ORDER_FIELDS)))
    failing = {name: part["message"] for name, part in now["ready"].items() if not part["ok"]}
    for name, message in failing.items():
        print(f"failing   {name}: {message}")
    for trouble in now.get("troubles", []):  # a bridge of before has none
        print(f"trouble   {trouble}")
    return 1 if failing else 0


def _tell_stopped(settings: Settings) -> None:
    print(f"stopped   no bridge is running on {settings.data_dir}")
    reads = open_reads(settings)
    for state in reads.states():
        where = f"{state.kind} {state.name}".rstrip()
        print(f"trading   {where}: {state.mode}, {MEANINGS[state.mode]}; since {iso(state.since)} by {state.by}")
    for view in reads.positions():
        pnl = "unknown" if view.unrealized_pnl is None else to_text(view.unrealized_pnl)
        print(_position_line(view.account, view.symbol, view.product, to_text(view.quantity), to_text(view.avg_px), pnl))
    for order in reads.orders(open_only=True):
        filled, wanted = to_text(order.cum_qty), to_text(order.order_qty)
        print(
            _order_line(order.account, order.side, order.symbol, order.ord_type, order.status, filled, wanted, order.cl_ord_id)
        )


def _order_line(account: str, side: str, symbol: str, kind: str, status: str, filled: str, wanted: str, cl_ord_id: str) -> str:
    return f"order     {account} {side} {symbol} {kind}: {status}, {filled} of {wanted} filled; {cl_ord_id}"


def _position_line(account: str, symbol: str, product: str, quantity: str, avg_px: str, open_pnl: str) -> str:
    return f"position  {account} {symbol} {product} {quantity} at {avg_px}, open P&L {open_pnl}"


def _state_line(state: dict[str, Any]) -> str:
    where = " ".join(part for part in (state["scope"], state["account"] or state["strategy"]) if part)
    return f"{where}: {state['mode']}, {MEANINGS[state['mode']]}; since {state['since']} by {state['by']}"
