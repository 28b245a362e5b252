"""A venue of its own, written without a look at the paper broker's: it knows the truth that the invariants are held against."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType, Product, ReportKind, Side
from bridge.core.money import ZERO
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.replacement import Terms
from bridge.core.report import BookRow, Report

ENDS = {
    OrderStatus.CANCELLED: ReportKind.CANCELLED,
    OrderStatus.REJECTED: ReportKind.REJECTED,
    OrderStatus.EXPIRED: ReportKind.EXPIRED,
}
Key = tuple[str, str]  # symbol, product


@dataclass(slots=True)
class Row:
    """One order at the venue. `shown_at` is when the book begins to show it, `told` are the reports made of it."""

    number: int
    tag: str
    symbol: str
    product: Product
    side: Side
    ord_type: OrdType
    order_qty: Decimal
    price: Decimal | None
    arrived_at: float
    shown_at: float
    status: OrderStatus = OrderStatus.PLACED
    cum_qty: Decimal = ZERO
    message: str = ""
    reason: Reason | None = None
    fills: list[Report] = field(default_factory=list)
    updated_at: float = 0.0

    @property
    def broker_order_id(self) -> str:
        return f"V{self.number}"

    @property
    def key(self) -> Key:
        return self.symbol, self.product.value

    @property
    def leaves_qty(self) -> Decimal:
        return ZERO if self.status.is_closed else self.order_qty - self.cum_qty


class Venue:
    """Orders, executions and positions of one account; it does what it is told and never lies about what it did.

    `tell` hears every report. Prices are fixed, so that every sum can be checked exactly.
    """

    def __init__(self, account: str, clock: Callable[[], float], wall: Callable[[], datetime], tell: Callable[[Report], None]):
        self.account = account
        self.rows: list[Row] = []
        self.positions: dict[Key, Decimal] = {}
        self.by_hand: set[str] = set()  # symbols in which somebody traded by hand
        self.late: set[Key] = set()  # where something was filled after its order had ended
        self._clock = clock
        self._wall = wall
        self._tell = tell
        self._executions = 0

    def take(self, tag: str, symbol: str, product: Product, side: Side, ord_type: OrdType, qty: Decimal,
             price: Decimal | None, lag_s: float) -> Row:  # fmt: skip
        """An order arrives; the book shows it after `lag_s`."""
        now = self._clock()
        row = Row(
            number=len(self.rows) + 1, tag=tag, symbol=symbol, product=product, side=side, ord_type=ord_type,
            order_qty=qty, price=price, arrived_at=now, shown_at=now + lag_s, updated_at=now,
        )  # fmt: skip
        self.rows.append(row)
        self.report(row, ReportKind.PLACED)
        return row

    def execute(self, row: Row, qty: Decimal, px: Decimal, *, after_end: bool = False) -> None:
        """An execution; `after_end` lets a closed order be filled all the same, as exchanges sometimes do."""
        if row.status.is_closed and not after_end:
            return
        left = row.order_qty - row.cum_qty
        qty = min(qty, left)
        if qty <= 0:
            return
        if row.status.is_closed:
            self.late.add(row.key)
        row.cum_qty += qty
        self.positions[row.key] = self.positions.get(row.key, ZERO) + row.side.sign * qty
        self._executions += 1
        fill = self.report(row, ReportKind.FILL, exec_id=f"{self.account}-{self._executions}", last_qty=qty, last_px=px)
        row.fills.append(fill)
        if not row.status.is_closed:
            row.status = OrderStatus.FILLED if row.cum_qty == row.order_qty else OrderStatus.PARTIAL

    def end(self, row: Row, status: OrderStatus, message: str, reason: Reason | None = None) -> None:
        """A working order ends unfilled or partly filled."""
        if not row.status.is_closed:
            row.status, row.message, row.reason = status, message, reason
            self.report(row, ENDS[status], message=message, cum_qty=row.cum_qty, reason=reason)

    def change(self, row: Row, terms: Terms) -> None:
        """A working order gets other terms; never fewer units than are filled."""
        if row.status.is_closed:
            return
        row.order_qty, row.price = max(terms.order_qty, row.cum_qty), terms.price
        if row.cum_qty == row.order_qty:
            row.status = OrderStatus.FILLED
        self.report(row, ReportKind.REPLACED, terms=Terms(order_qty=row.order_qty, price=row.price))

    def trade_by_hand(self, symbol: str, product: Product, side: Side, qty: Decimal, px: Decimal) -> None:
        """Somebody trades from the broker's own app: an order without a tag of ours."""
        self.by_hand.add(symbol)
        row = self.take("", symbol, product, side, OrdType.MARKET, qty, None, 0.0)
        self.execute(row, qty, px)

    def report(self, row: Row, kind: ReportKind, **values: object) -> Report:
        row.updated_at = self._clock()
        report = Report(
            account=self.account, kind=kind, tag=row.tag, broker_order_id=row.broker_order_id,
            transact_time=self._wall(), **values,  # type: ignore[arg-type]
        )  # fmt: skip
        self._tell(report)
        return report

    def book(self, *, is_lagging: bool) -> list[BookRow]:
        """The book as it is shown now; a lagging one leaves out what is too new."""
        now = self._clock()
        shown = [row for row in self.rows if not is_lagging or row.shown_at <= now]
        return [self._book_row(row) for row in shown]

    def _book_row(self, row: Row) -> BookRow:
        return BookRow(
            broker_order_id=row.broker_order_id, tag=row.tag, symbol=row.symbol, side=row.side, product=row.product,
            ord_type=row.ord_type, order_qty=row.order_qty, cum_qty=row.cum_qty, status=row.status,
            message=row.message, updated_at=self._wall(), fills=tuple(replace(fill) for fill in row.fills),
            price=row.price, reason=row.reason,
        )  # fmt: skip

    def with_tag(self, tag: str) -> list[Row]:
        return [row for row in self.rows if row.tag == tag]

    def working(self) -> list[Row]:
        return [row for row in self.rows if not row.status.is_closed]
