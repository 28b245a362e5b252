"""Alerts in their queue: each is carried on when it comes, when something before it is through, and by the clock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bridge.core.alert import Alert, Ending
from bridge.core.clock import Clock, elapsed
from bridge.core.enums import Action, Disposition
from bridge.core.reasons import AuditAction, Reason
from bridge.risk.turns import in_turn
from bridge.store.tx import Tx

# A fault of ours is tried this often before the alert ends as failed.
MAX_ATTEMPTS = 3
# An alert that met a fault is taken up again by the clock alone, and only after this.
RETRY_AFTER = timedelta(seconds=1)
_HALF_DONE = "The bridge met a fault of its own; the opening half of the reversal was not sent."


class Queue:
    """Calls `process` for one alert after the other; who waits is in the ledger, and only that."""

    def __init__(
        self,
        clock: Clock,
        process: Callable[[Tx, Alert], None],
        end: Callable[[Tx, str, Ending, datetime], None],
        on_fault: Callable[[BaseException], None],
    ):
        self._clock = clock
        self._process = process
        self._end = end
        self._on_fault = on_fault
        self._carrying = False  # right now; whoever that lets through is looked at afterwards

    def carry_on(self, tx: Tx, alert: Alert) -> None:
        """Process an alert, and when it is through those that waited for it to go first."""
        self._carry(tx, alert)
        waiting = tx.ledger.waiting
        if waiting.by_symbol and (alert.alert_id not in waiting.values or tx.ledger.orders_of(alert)):
            self.take_up(tx, alert.signal.symbol)

    def take_up(self, tx: Tx, symbol: str) -> None:
        """An order or an alert of the symbol has ended: carry on those who may have waited for that."""
        if symbol in tx.ledger.waiting.by_symbol:
            self._take_up(tx, symbol, lambda alert: not alert.attempts)

    def take_up_changes(self, tx: Tx, symbol: str) -> None:
        """An order of the symbol has moved: carry on those who may have waited to change it."""
        if symbol in tx.ledger.waiting.by_symbol:
            self._take_up(tx, symbol, lambda alert: alert.signal.action is Action.MODIFY and not alert.attempts)

    def take_up_due(self, tx: Tx, now: datetime) -> None:
        """Carry on whoever waits: by now the wait may be over, or a fault be mended."""
        for symbol in list(tx.ledger.waiting.by_symbol):
            self._take_up(tx, symbol, lambda alert: not alert.attempts or elapsed(alert.received_at, now) >= RETRY_AFTER)

    def _take_up(self, tx: Tx, symbol: str, is_due: Callable[[Alert], bool]) -> None:
        """Once around, and again as long as one gets through: it may have held up others."""
        faulty: set[str] = set()
        moved = not self._carrying
        while moved:
            moved = False
            for alert in in_turn(tx.ledger.waiting.by_symbol.get(symbol, {}).values()):
                alert_id = alert.alert_id
                if alert_id in faulty or alert_id not in tx.ledger.waiting.values or not is_due(alert):
                    continue
                if not self._carry(tx, alert):
                    faulty.add(alert_id)
                elif alert_id not in tx.ledger.waiting.values:
                    moved = True

    def _carry(self, tx: Tx, alert: Alert) -> bool:
        """Process one alert; a fault of ours, which is told by False, leaves it open, to be tried again."""
        mark = tx.mark()
        self._carrying = True
        try:
            self._process(tx, alert)
        except Exception as error:  # a fault in processing never costs the acknowledgement
            tx.back_to(mark)
            self._defer(tx, alert, error)
            return False
        finally:
            self._carrying = False
        return True

    def _defer(self, tx: Tx, alert: Alert, error: Exception) -> None:
        now = self._clock.now()
        self._on_fault(error)
        tried = replace(alert, attempts=alert.attempts + 1)
        tx.put(tx.ledger.alerts, alert.alert_id, tried)
        tx.put(tx.ledger.waiting, alert.alert_id, tried)  # whoever has to go behind it still does
        message = f"{type(error).__name__} in attempt {tried.attempts} of {MAX_ATTEMPTS}"
        tx.audit(AuditAction.ALERT_DEFERRED, now, alert_id=alert.alert_id, code=Reason.INTERNAL, message=message)
        if tried.attempts >= MAX_ATTEMPTS:
            told = _HALF_DONE if tx.ledger.orders_of(tried) else Reason.INTERNAL.sentence
            ending = Ending(disposition=Disposition.FAILED, code=Reason.INTERNAL.value, message=told)
            self._end(tx, alert.alert_id, ending, now)
