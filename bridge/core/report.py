"""What a broker says: outcomes of commands, reports of orders, its book, positions and funds. Evidence, not yet fact."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import OrdType, OutcomeKind, Product, ReportKind, Side
from bridge.core.money import ZERO
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.replacement import Terms
from bridge.core.values import evolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One thing a broker says of one order, found by our `tag` (empty for orders that are not ours).

    `cum_qty` is what it says was filled in all when it said so; None where it does not say. An end that says more than was
    told has overtaken fills, and a fill beyond it is newer than the terms that were told before it. `terms` are those of the
    order then, where the broker told them; `has_ended` says that none other can come. `reason` is what a rejection comes to in
    our words, where the broker's leave no doubt.
    """

    account: str
    kind: ReportKind
    tag: str
    broker_order_id: str
    transact_time: datetime
    exec_id: str = ""
    last_qty: Decimal = ZERO
    last_px: Decimal = ZERO
    charges: Decimal = ZERO
    message: str = ""
    cum_qty: Decimal | None = None
    terms: Terms | None = None
    has_ended: bool = False
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is known after a broker command.

    ACCEPTED carries the broker's id; REFUSED proves that the broker did not take it; NOT_SENT proves that no byte arrived;
    UNKNOWN proves nothing. `retry_after_s` is the broker's own wish, named in an answer: such as a 429, which is NOT_SENT,
    since that order was not taken and may come again; with UNKNOWN it may be a gateway's, and proves no more. `reports` are
    what the answer itself told of the order; they need no stream to bring them. `reason` is that of a Report.
    """

    kind: OutcomeKind
    broker_order_id: str | None = None
    message: str = ""
    retry_after_s: float | None = None
    reports: tuple[Report, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRow:
    """One order of the broker's book. `fills` are its executions, as FILL reports; prices are None where it tells none.

    `cum_qty_then` is what was filled when the terms were as told, where the broker tells executions in a later answer.
    """

    broker_order_id: str
    tag: str
    symbol: str
    side: Side
    product: Product
    ord_type: OrdType
    order_qty: Decimal
    cum_qty: Decimal
    status: OrderStatus
    message: str
    updated_at: datetime
    fills: tuple[Report, ...] = ()
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    reason: Reason | None = None
    cum_qty_then: Decimal | None = None

    @property
    def terms(self) -> Terms:
        """How much at what price, as told."""
        return Terms(order_qty=self.order_qty, price=self.price, trigger_price=self.trigger_price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares that lie in the account from days before; what was bought or sold today is among the positions.

    `t1_quantity` of `quantity` have been bought and not yet delivered, `used_quantity` were sold today, and
    `authorised_quantity` have been released for sale at the depository, where that has to be done. `avg_px` in rupees.
    """

    symbol: str
    product: Product
    quantity: Decimal
    t1_quantity: Decimal = ZERO
    used_quantity: Decimal = ZERO
    authorised_quantity: Decimal = ZERO
    avg_px: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPosition:
    """The broker's own net position, signed units; `holding` are the shares beside it that lie there from days before."""

    symbol: str
    product: Product
    quantity: Decimal
    holding: Holding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """The broker's word on money, in rupees. `equity` is cash plus the value of positions; `available` can be spent.

    `cash` is the settled part, where the broker tells it.
    """

    account: str
    equity: Decimal
    available: Decimal
    at: datetime
    cash: Decimal | None = None


_ENDS = {
    OrderStatus.CANCELLED: ReportKind.CANCELLED,
    OrderStatus.REJECTED: ReportKind.REJECTED,
    OrderStatus.EXPIRED: ReportKind.EXPIRED,
}


def reports_of(account: str, row: BookRow) -> list[Report]:
    """A row of the broker's book as the reports that would have told it."""
    said = {"account": account, "tag": row.tag, "broker_order_id": row.broker_order_id, "transact_time": row.updated_at}
    if row.status is OrderStatus.REJECTED and not row.fills:
        rejected = {"message": row.message, "cum_qty": row.cum_qty, "reason": row.reason, **said}
        return [Report(kind=ReportKind.REJECTED, **rejected)]  # type: ignore[arg-type]
    placed = Report(kind=ReportKind.PLACED, terms=row.terms, has_ended=row.status.is_closed, **said)  # type: ignore[arg-type]
    known_qty = row.cum_qty if row.cum_qty_then is None else row.cum_qty_then
    reports = [placed, *(evolve(fill, cum_qty=known_qty) for fill in row.fills)]
    if row.status in _ENDS:
        reports.append(Report(kind=_ENDS[row.status], message=row.message, cum_qty=row.cum_qty, **said))  # type: ignore[arg-type]
    return reports
