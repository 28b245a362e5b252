"""What each template is given: frozen values made from views, everything already in words and numbers as shown."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from bridge.core.clock import IST
from bridge.core.enums import Disposition, OrdType, Source
from bridge.core.hold import Hold
from bridge.core.login import LoginView
from bridge.core.money import ZERO, to_text
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import AuditAction
from bridge.core.views import AccountView, AlertView, ExternalView, FillView, HoldingView, OrderView, PositionView, StepView
from bridge.web.svg import NARROW, WIDE, Drawing, Point, draw_day
from bridge.web.text import (
    NOTHING,
    Amount,
    clock_ms,
    duration,
    full_time,
    money,
    price,
    quantity,
    short_time,
    signed,
)

WORKING = "working"
DISPOSITION_TONES: dict[str, str] = {
    Disposition.DONE: "good",
    Disposition.NOOP: "quiet",
    Disposition.DENIED: "warn",
    Disposition.EXPIRED: "warn",
    Disposition.FAILED: "bad",
    Disposition.REFUSED: "bad",
    WORKING: "busy",
}
STATUS_TONES: dict[OrderStatus, str] = {
    OrderStatus.NEW: "busy",
    OrderStatus.PENDING: "busy",
    OrderStatus.IN_DOUBT: "warn",
    OrderStatus.PLACED: "busy",
    OrderStatus.PARTIAL: "busy",
    OrderStatus.CANCEL_PENDING: "busy",
    OrderStatus.REPLACE_PENDING: "busy",
    OrderStatus.FILLED: "good",
    OrderStatus.CANCELLED: "quiet",
    OrderStatus.REJECTED: "bad",
    OrderStatus.EXPIRED: "warn",
}
STEP_TONES: dict[str, str] = {
    AuditAction.ALERT_REFUSED: "bad",
    AuditAction.ALERT_DEFERRED: "warn",
    AuditAction.INTENT_DENIED: "warn",
    AuditAction.INTENT_CAPPED: "warn",
    AuditAction.ORDER_NOT_SENT: "warn",
    AuditAction.ORDER_IN_DOUBT: "warn",
    AuditAction.ORDER_FILL: "good",
    AuditAction.ORDER_REJECTED: "bad",
    AuditAction.ORDER_LATE_FILL: "bad",
    AuditAction.ALARM_RAISED: "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A word in a coloured frame."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLine:
    """Until when a person is logged in at the broker; `button` is empty as long as nobody has to think of it."""

    note: str
    button: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCard:
    """An account and its session."""

    name: str
    kind: str
    session: Chip
    message: str
    login: LoginLine | None
    day_pnl: Amount
    equity: str
    available: str
    cash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPart:
    """The day's profit; no drawings when nothing has happened yet."""

    total: Amount
    realized: Amount
    charges: str
    fills: int
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionLine:
    """A position at the latest price known."""

    account: str
    symbol: str
    product: str
    square_off: str
    side: Chip
    quantity: str
    avg_px: str
    mark_px: str
    unrealized: Amount
    realized: Amount
    charges: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderField:
    """One number of an order in the form that changes it."""

    name: str
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """An order as it stands."""

    cl_ord_id: str
    alert_id: str
    at: str
    account: str
    strategy: str
    symbol: str
    product: str
    side: Chip
    kind: str
    filled: str
    order_qty: str
    avg_px: str
    status: Chip
    message: str
    broker_order_id: str
    tag: str
    may_cancel: bool
    fields: tuple[OrderField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLine:
    """An alert in the list. `latency` runs from receipt to the broker, or to the end where nothing was sent."""

    alert_id: str
    at: str
    strategy: str
    symbol: str
    action: str
    source: str
    chip: Chip
    code: str
    message: str
    latency: str
    latency_to: str
    age: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLine:
    """Something that needs a person."""

    at: str
    account: str
    message: str
    alert_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine:
    """An instrument in which nothing is opened until the books agree, or `accepted_by` somebody as it is."""

    account: str
    symbol: str
    message: str
    accepted_by: str
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLine:
    """An order that was placed elsewhere."""

    account: str
    broker_order_id: str
    symbol: str
    product: str
    side: Chip
    kind: str
    filled: str
    order_qty: str
    status: Chip
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingLine:
    """Shares from days before; `note` tells what is not delivered yet, was sold today, or is released for sale."""

    account: str
    symbol: str
    product: str
    quantity: str
    avg_px: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A step of an alert's way; `delta` since the step before, `since_start` since the first."""

    at: str
    delta: str
    name: str
    tone: str
    code: str
    message: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPage:
    """The whole way of one alert."""

    line: AlertLine
    received_at: str
    signal_at: str
    ended_at: str
    is_ended: bool
    credential: str
    field: str
    steps: tuple[StepLine, ...]
    orders: tuple[OrderLine, ...]
    reasons: tuple[tuple[str, str], ...]
    scan: str
    body: str


def make_login(view: LoginView, now: datetime) -> LoginLine:
    """The line of a login, with a button when there is none or when it ends on this very day."""
    button = f"Log in to {view.broker}"
    if view.ends_at is None:
        return LoginLine(note="", button=button)
    ends_today = view.ends_at.astimezone(IST).date() == now.astimezone(IST).date()
    note = f"Logged in as {view.user_id} until {short_time(view.ends_at, now)}"
    return LoginLine(note=note, button=button if ends_today else "")


def make_account(view: AccountView, now: datetime) -> AccountCard:
    """The card of an account."""
    return AccountCard(
        name=view.name,
        kind="simulated money" if view.is_paper else f"real money, at {view.login.broker if view.login else view.broker}",
        session=Chip(text="connected", tone="good") if view.connected else Chip(text="not connected", tone="bad"),
        message=view.message,
        login=None if view.login is None else make_login(view.login, now),
        day_pnl=signed(view.day_pnl),
        equity=money(view.equity),
        available=money(view.available),
        cash=money(view.cash),
    )


def make_day(
    fills: Sequence[FillView], positions: Iterable[PositionView], accounts: Sequence[AccountView], now: datetime
) -> DayPart:
    """The day's line: realised profit after charges at each fill, then the total now, open positions included.

    The total is the accounts' own figure where all of them know it: only that leaves out what was carried into the day.
    """
    points: list[Point] = []
    realized = charges = ZERO
    for fill in fills:
        realized += fill.realized_pnl
        charges += fill.charges
        points.append((fill.at, realized - charges))
    days = [view.day_pnl for view in accounts if view.day_pnl is not None]
    open_pnl = sum((view.unrealized_pnl or ZERO for view in positions), ZERO)
    total = sum(days, ZERO) if len(days) == len(accounts) > 0 else realized - charges + open_pnl
    is_empty = not points and not total
    return DayPart(
        total=signed(total),
        realized=signed(realized - charges),
        charges=money(charges),
        fills=len(points),
        drawings=() if is_empty else tuple(draw_day(points, now, total, size) for size in (WIDE, NARROW)),
    )


def make_position(view: PositionView, square_off: datetime | None = None) -> PositionLine:
    """The line of a position; `square_off` is when the bridge will close it today."""
    is_long = view.quantity >= 0
    return PositionLine(
        account=view.account,
        symbol=view.symbol,
        product=view.product,
        square_off=f"square-off {square_off.astimezone(IST):%H:%M}" if square_off else "",
        side=Chip(text="long" if is_long else "short", tone="long" if is_long else "short"),
        quantity=quantity(view.quantity),
        avg_px=price(view.avg_px),
        mark_px=price(view.mark_px),
        unrealized=signed(view.unrealized_pnl),
        realized=signed(view.realized_pnl),
        charges=money(view.charges),
    )


def make_holding(view: HoldingView) -> HoldingLine:
    """The line of shares that lie at the broker."""
    notes = (
        (view.t1_quantity, "not delivered yet (T1)"),
        (view.used_quantity, "sold today"),
        (view.authorised_quantity, "authorised for sale"),
    )
    return HoldingLine(
        account=view.account,
        symbol=view.symbol,
        product=view.product,
        quantity=quantity(view.quantity),
        avg_px=price(view.avg_px),
        note=", ".join(f"{quantity(units)} {words}" for units, words in notes if units),
    )


def make_order(view: OrderView, now: datetime) -> OrderLine:
    """The line of an order."""
    is_buy = view.side == "BUY"
    limits = [price(view.price)] if view.price is not None else []
    limits += [f"trigger {price(view.trigger_price)}"] if view.trigger_price is not None else []
    terms = [view.legs] if view.legs else limits
    return OrderLine(
        cl_ord_id=view.cl_ord_id,
        alert_id=view.alert_id,
        at=short_time(view.created_at, now),
        account=view.account,
        strategy=view.strategy,
        symbol=view.symbol,
        product=view.product,
        side=Chip(text=view.side.lower(), tone="long" if is_buy else "short"),
        kind=_kind_of(view, terms),
        filled=quantity(view.cum_qty),
        order_qty=quantity(view.order_qty),
        avg_px=price(view.avg_px) if view.cum_qty else NOTHING,
        status=Chip(text=_words(view.status), tone=STATUS_TONES[view.status]),
        message=view.message,
        broker_order_id=view.broker_order_id or NOTHING,
        tag=view.tag,
        may_cancel=not (view.status.is_closed or view.legs or view.status is OrderStatus.CANCEL_PENDING),
        fields=_fields_of(view),
    )


def _fields_of(view: OrderView) -> tuple[OrderField, ...]:
    """What can be changed of an order that works, as it stands."""
    is_resting = view.ord_type != OrdType.MARKET and not view.legs
    if not is_resting or view.status not in (OrderStatus.PLACED, OrderStatus.PARTIAL):
        return ()
    kind = OrdType(view.ord_type)
    found = [("price", "Price", view.price)] if kind.needs_price else []
    found += [("trigger_price", "Trigger", view.trigger_price)] if kind.needs_trigger else []
    found.append(("quantity", "Quantity", view.order_qty))
    return tuple(OrderField(name=name, label=label, value=to_text(value)) for name, label, value in found if value is not None)


def _kind_of(view: OrderView, limits: list[str]) -> str:
    """The type with its prices, and what is not plain about the order."""
    kind = "MARKET" if view.ord_type == "MARKET" else " ".join([view.ord_type, ", ".join(limits)]).strip()
    part = f"part {view.part} of {view.parts}" if view.parts > 1 else ""
    return ", ".join(told for told in (kind, view.terms, part) if told)


def make_external(view: ExternalView, now: datetime) -> ExternalLine:
    """The line of an order that was placed elsewhere."""
    return ExternalLine(
        account=view.account,
        broker_order_id=view.broker_order_id,
        symbol=view.symbol,
        product=view.product,
        side=Chip(text=view.side.lower(), tone="long" if view.side == "BUY" else "short"),
        kind=view.ord_type,
        filled=quantity(view.cum_qty),
        order_qty=quantity(view.order_qty),
        status=Chip(text=_words(view.status), tone=STATUS_TONES[view.status]),
        at=short_time(view.updated_at, now),
    )


def make_hold(account: str, symbol: str, hold: Hold) -> HoldLine:
    """The line of an instrument that differs, with the question of the button that accepts it."""
    return HoldLine(
        account=account,
        symbol=symbol,
        message=hold.message,
        accepted_by=hold.accepted_by,
        question=f"Entries in {symbol} leave again while positions differ by exactly as much. Our books stay as they are.",
    )


def make_alert(view: AlertView, orders: Sequence[OrderView], now: datetime) -> AlertLine:
    """The line of an alert."""
    latency, latency_to = _latency(view, orders)
    disposition = view.disposition or WORKING
    return AlertLine(
        alert_id=view.alert_id,
        at=short_time(view.received_at, now),
        strategy=view.strategy or NOTHING,
        symbol=view.symbol or NOTHING,
        action=view.action,
        source=view.source,
        chip=Chip(text=disposition, tone=DISPOSITION_TONES[disposition]),
        code=view.code,
        message=view.message if view.disposition else _progress(orders),
        latency=latency,
        latency_to=latency_to,
        age=_age(view),
    )


def _progress(orders: Sequence[OrderView]) -> str:
    """What an alert that has not ended waits for; the parts of one order are told as one."""
    if not orders:
        return "Waiting for its turn."
    found: dict[tuple[str, str, int, str], list[OrderView]] = {}
    for order in orders:
        key = (order.side, order.symbol, order.parts, order.cl_ord_id if order.parts == 1 else "")
        found.setdefault(key, []).append(order)
    return " ".join(_tell(parts) for parts in found.values())


def _tell(parts: Sequence[OrderView]) -> str:
    wished = sum((part.order_qty for part in parts), ZERO)
    filled = sum((part.cum_qty for part in parts), ZERO)
    head = f"{parts[0].side.capitalize()} {quantity(wished)} {parts[0].symbol}"
    if len(parts) == 1:
        return f"{head} is {_words(parts[0].status)}, {quantity(filled)} filled."
    states = Counter(_words(part.status) for part in parts)
    told = ", ".join(f"{count} {words}" for words, count in states.items())
    return f"{head} in {len(parts)} parts: {told}; {quantity(filled)} of {quantity(wished)} filled."


def _words(status: OrderStatus) -> str:
    return status.value.replace("_", " ").lower()


def _latency(view: AlertView, orders: Sequence[OrderView]) -> tuple[str, str]:
    sent = [order.sent_at for order in orders if order.sent_at is not None]
    if sent:
        return duration(min(sent) - view.received_at), "to broker"
    if view.ended_at is not None and view.disposition != Disposition.REFUSED:
        return duration(view.ended_at - view.received_at), "to end"
    return NOTHING, ""


def _age(view: AlertView) -> str:
    """How old the alert was when it arrived; unknown where it told no time of its own."""
    return NOTHING if view.signal_at == view.received_at else duration(view.received_at - view.signal_at)


def make_alarm(view: StepView, now: datetime) -> AlarmLine:
    """The line of an alarm."""
    alert_id = view.cl_ord_id.partition("-")[0]
    return AlarmLine(
        at=short_time(view.at, now),
        account=view.account,
        message=view.message,
        alert_id=alert_id if alert_id.isalnum() else "",
    )


def make_steps(views: Sequence[StepView]) -> tuple[StepLine, ...]:
    """The steps of an alert with the time that each took."""
    lines = []
    before: datetime | None = None
    for view in views:
        lines.append(
            StepLine(
                at=clock_ms(view.at),
                delta="" if before is None else f"+{duration(view.at - before)}",
                name=view.step.replace("_", " "),
                tone=STEP_TONES.get(view.step, "usual"),
                code=view.code,
                message=view.message,
                account=view.account,
            )
        )
        before = view.at
    return tuple(lines)


def make_alert_page(view: AlertView, steps: Sequence[StepView], orders: Sequence[OrderView], now: datetime) -> AlertPage:
    """Everything there is to tell of an alert."""
    notes = _notes_of(view)
    return AlertPage(
        line=make_alert(view, orders, now),
        received_at=full_time(view.received_at),
        signal_at=NOTHING if view.signal_at == view.received_at else full_time(view.signal_at),
        ended_at=full_time(view.ended_at) if view.ended_at else "not yet",
        is_ended=view.ended_at is not None,
        credential=view.credential or NOTHING,
        field=view.field or "",
        steps=make_steps(steps),
        orders=tuple(make_order(order, now) for order in orders),
        reasons=tuple(notes.items()),
        scan=f"/scans/{quote(notes['definition'])}/{quote(view.symbol, safe=':')}" if "definition" in notes else "",
        body=view.body,
    )


def _notes_of(view: AlertView) -> dict[str, str]:
    """Why the bridge itself raised it, by what its signal has noted; nothing for alerts that came from elsewhere."""
    if view.source not in (Source.SCAN, Source.PROTECTION):
        return {}
    try:
        told = json.loads(view.body).get("notes")
    except (ValueError, AttributeError):
        return {}
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}


def make_alerts(views: Sequence[AlertView], orders: Mapping[str, Sequence[OrderView]], now: datetime) -> tuple[AlertLine, ...]:
    """The list of alerts."""
    return tuple(make_alert(view, orders.get(view.alert_id, ()), now) for view in views)


def total_unrealized(views: Iterable[PositionView]) -> Amount:
    """The sum over positions with a known price; unknown when one has none."""
    values: list[Decimal] = []
    for view in views:
        if view.unrealized_pnl is None:
            return signed(None)
        values.append(view.unrealized_pnl)
    return signed(sum(values, ZERO))
