"""Values of the domain with everything filled in, for tests that care about one or two fields of them."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.core.alert import Alert, Claim
from bridge.core.decision import Approved
from bridge.core.enums import Action, OrdType, Product, ReportKind, Side, Source, TimeInForce
from bridge.core.fill import Fill
from bridge.core.ids import fingerprint, make_alert_id
from bridge.core.order import Order, create_order
from bridge.core.report import Report
from bridge.core.signal import OrderIntent, Signal
from tests.support.clocks import NOON

SBIN = "NSE:SBIN"


def make_signal(**values: Any) -> Signal:
    given: dict[str, Any] = {
        "strategy": "demo", "symbol": SBIN, "action": Action.BUY, "accounts": ("paper",), "product": Product.MIS,
        "signal_at": NOON, "quantity": Decimal(10), "price": Decimal("812.5"),
    }  # fmt: skip
    return Signal(**{**given, **values})


def make_alert(number: int = 1, *, at: datetime = NOON, signal: Signal | None = None, **values: Any) -> Alert:
    given: dict[str, Any] = {
        "alert_id": make_alert_id(at, fingerprint(b"test", str(number).encode())),
        "received_at": at, "source": Source.TRADINGVIEW, "credential": "T", "body": "{}",
        "signal": signal or make_signal(signal_at=at),
    }  # fmt: skip
    return Alert(**{**given, **values})


def make_claim(key: str, alert_id: str = "A", *, bucket: int = 1, content: str = "", **values: Any) -> Claim:
    return Claim(bucket=bucket, key=fingerprint(key.encode()), content=content.encode(), alert_id=alert_id, **values)


def make_intent(**values: Any) -> OrderIntent:
    given: dict[str, Any] = {
        "alert_id": make_alert(1).alert_id, "leg": 1, "account": "paper", "strategy": "demo", "symbol": SBIN,
        "product": Product.MIS, "side": Side.BUY, "order_qty": Decimal(10), "ord_type": OrdType.MARKET,
        "time_in_force": TimeInForce.DAY, "price": Decimal("812.5"), "trigger_price": None, "reduce_only": False,
        "signal_at": NOON, "received_at": NOON,
    }  # fmt: skip
    return OrderIntent(**{**given, **values})


def make_order(number: int = 1, *, at: datetime = NOON, **values: Any) -> Order:
    """An order of the alert of that number; `values` may name fields of the order and of its intent."""
    names = {name for name in OrderIntent.__slots__ if name in values}
    intent_values = {name: values.pop(name) for name in names}
    intent = make_intent(**{"alert_id": make_alert(number).alert_id, **intent_values})
    order = create_order(Approved(intent=intent, reference_px=None), at)  # the risk engine has its own tests
    return replace(order, **values)


def make_fill(order: Order, exec_id: str, qty: int | Decimal, px: str | Decimal = "812.5", **values: Any) -> Fill:
    intent = order.intent
    given: dict[str, Any] = {
        "account": intent.account, "exec_id": exec_id, "cl_ord_id": order.cl_ord_id, "broker_order_id": "B1",
        "strategy": intent.strategy, "symbol": intent.symbol, "product": intent.product, "side": intent.side,
        "last_qty": Decimal(qty), "last_px": Decimal(px), "charges": Decimal("0.5"), "transact_time": NOON,
    }  # fmt: skip
    return Fill(**{**given, **values})


def make_report(order: Order, kind: ReportKind, exec_id: str = "", qty: Any = 0, px: Any = 0, **values: Any) -> Report:
    given: dict[str, Any] = {
        "account": order.intent.account, "kind": kind, "tag": order.tag, "broker_order_id": "B" + order.tag,
        "transact_time": order.created_at + timedelta(seconds=1), "exec_id": exec_id, "last_qty": Decimal(qty),
        "last_px": Decimal(px), "charges": Decimal("0.25") if exec_id else Decimal(0),
    }  # fmt: skip
    return Report(**{**given, **values})
