"""Orders' terms as a broker's book tells them: changes that it does not carry out, and such as nobody here has asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.core.enums import ReportKind, Variety
from bridge.core.events import AskReady
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.replacement import terms_of
from bridge.core.report import BookRow, Report
from bridge.execution.compare import LAG, OwnRows, Read, Run, follow, is_before
from bridge.store.tx import Tx

# A change that the broker took is carried out in moments. One that is not in two looks over so long is asked for again; and
# after so long it will not be: a wish that waits for ever would hold up whatever comes after it.
LOOKS = 2
AGAIN_S = 10.0
NEVER_S = 40.0
_WORKS = frozenset({OrderStatus.PLACED, OrderStatus.PARTIAL})
NOT_DONE = "the broker took the request and did not carry it out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a look comes to: changes to ask for again, and reports to take over; `runs` is for the next look."""

    runs: Mapping[str, Run]
    again: tuple[Order, ...]
    reports: tuple[Report, ...]

    @property
    def has_work(self) -> bool:
        """True when a commit is needed."""
        return bool(self.again or self.reports)


def judge_changes(own: Sequence[OwnRows], read: Read, past: Mapping[str, Run], at: float) -> Changes:
    """Compare the terms of all orders that work; what two looks in a row say is believed."""
    runs, again, reports = dict[str, Run](), list[Order](), list[Report]()
    for rows in own:
        order, row = rows.order, rows.followed
        if row is None or row.status.is_closed:
            continue
        if order.status is OrderStatus.REPLACE_PENDING:
            key = f"{order.cl_ord_id} {order.replaces}"
            run = runs[key] = follow(past.get(key), at)
            if run.lasts(at, LOOKS, NEVER_S):
                reports.append(_report(order, row, read, ReportKind.REPLACE_REFUSED))
            elif run.lasts(at, LOOKS, AGAIN_S):
                again.append(order)
        elif _is_other(order, row, read):
            key = f"{order.cl_ord_id} {row.terms}"
            run = runs[key] = follow(past.get(key), at)
            if run.looks >= LOOKS:
                reports.append(_report(order, row, read, ReportKind.REPLACED))
    return Changes(runs=runs, again=tuple(again), reports=tuple(reports))


def _is_other(order: Order, row: BookRow, read: Read) -> bool:
    """Whether the book has other terms than we believe, and had the time to have ours. An iceberg's rows tell of legs."""
    intent = order.intent
    is_plain = order.status in _WORKS and intent.variety is not Variety.ICEBERG and not order.is_protection
    if not is_plain or not is_before(order.updated_at, read, LAG):
        return False
    return not row.terms.agree(terms_of(intent), intent.ord_type)


def _report(order: Order, row: BookRow, read: Read, kind: ReportKind) -> Report:
    return Report(
        account=read.account,
        kind=kind,
        tag=order.tag,
        broker_order_id=row.broker_order_id,
        transact_time=row.updated_at,
        message=NOT_DONE if kind is ReportKind.REPLACE_REFUSED else "",
        terms=row.terms,
    )


def ask_again(tx: Tx, changes: Changes) -> None:
    """Ask the broker anew for what it has not carried out; asking twice does no harm."""
    for order in changes.again:
        current = tx.ledger.orders.get(order.cl_ord_id)
        if current is not None and current.status is OrderStatus.REPLACE_PENDING and current.replaces == order.replaces:
            tx.emit(AskReady(account=order.intent.account, cl_ord_id=order.cl_ord_id, again=True))
