"""News are read from the audit of each kind of database: in order, of the kinds asked for, with their instruments."""

from datetime import timedelta

from bridge.core.news import NEWS
from bridge.core.order_states import OrderEventKind
from bridge.core.reasons import AuditAction
from bridge.execution.orders import record
from bridge.store.tx import Tx
from tests.support.clocks import NOON
from tests.support.plays import play
from tests.support.samples import make_order
from tests.support.stores import opened


def test_news_come_in_order_with_their_instruments_and_the_place_is_kept(database_url: str) -> None:
    """What is no news is left out, what was read is not read again, and a restart knows how far a channel has come."""

    def happen(tx: Tx) -> None:
        order = make_order()
        tx.put(tx.ledger.orders, order.cl_ord_id, order)
        sent = record(tx, order, OrderEventKind.SENDING, NOON)
        tx.audit(AuditAction.ALARM_RAISED, NOON, account="ravi", message="Odd.")
        record(tx, sent, OrderEventKind.REJECTED, NOON + timedelta(seconds=1), message="No money.")

    async def story() -> None:
        async with opened(database_url) as store:
            await store.write(happen)
            reads = store.reads
            news = reads.news(0, list(NEWS), 100)
            assert [(one.action, one.account, one.symbol, one.side) for one in news] == [
                (AuditAction.ALARM_RAISED, "ravi", "", ""),
                (AuditAction.ORDER_REJECTED, "paper", "NSE:SBIN", "BUY"),
            ]
            assert reads.newest_record() == news[-1].seq
            assert reads.news(0, list(NEWS), 1) == news[:1]
            assert reads.news(news[0].seq, list(NEWS), 100) == news[1:]
            assert reads.news(0, [AuditAction.ALARM_RAISED], 100) == news[:1]
            assert reads.news(news[-1].seq, list(NEWS), 100) == []
            await store.write(lambda tx: tx.put(tx.ledger.told_to, "phone", news[-1].seq))
        async with opened(database_url) as again:
            assert again.ledger.told_to.values == {"phone": news[-1].seq}

    play(story)
