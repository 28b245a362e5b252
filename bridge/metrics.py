"""Counters and durations for Prometheus; one registry per bridge, so that two in one process do not mix."""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bridge.answer import Answer
from bridge.core.order import Order
from bridge.execution.breaker import BreakerState

_LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_FINE = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What `/metrics` tells."""

    def __init__(self, now: Callable[[], datetime]):
        self._now = now
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "bridge_answers", "Deliveries answered, by status and code.", ["status", "code"], registry=self.registry
        )
        self.faults = Counter("bridge_faults", "Faults of the bridge itself, by place.", ["where"], registry=self.registry)
        self.alarms = Counter("bridge_alarms", "Alarms raised for a person to look at.", registry=self.registry)
        self.to_answer = Histogram("bridge_answer_seconds", "From receipt to answer.", buckets=_FINE, registry=self.registry)
        self.to_broker = Histogram(
            "bridge_alert_to_broker_seconds", "From receipt to the broker call.", buckets=_FINE, registry=self.registry
        )
        self.commit = Histogram("bridge_commit_seconds", "One group commit.", buckets=_FINE, registry=self.registry)
        self.commands = Counter("bridge_commands", "Commands committed.", registry=self.registry)
        self.orders = Counter("bridge_orders_sent", "Orders sent, by account.", ["account"], registry=self.registry)
        self.backlog = Gauge("bridge_lane_backlog", "Orders in a lane, by account.", ["account"], registry=self.registry)
        self.breaker = Gauge(
            "bridge_breaker_state",
            "Breaker of an account's broker: 0 closed, 1 being looked at, 2 open.",
            ["account"],
            registry=self.registry,
        )
        self.breaker_openings = Counter(
            "bridge_breaker_openings", "How often a broker stopped answering, by account.", ["account"], registry=self.registry
        )
        self.postbacks = Counter(
            "bridge_postbacks", "Postbacks of brokers, by what they were taken for.", ["answer"], registry=self.registry
        )
        self.notifications = Counter(
            "bridge_notifications",
            "Messages to a person, by channel and result.",
            ["channel", "result"],
            registry=self.registry,
        )
        self.bars_closed = Counter("bridge_bars_closed", "Live bars stored, by interval.", ["interval"], registry=self.registry)
        self.evaluations = Counter(
            "bridge_scan_evaluations", "How often a scan or strategy was asked.", ["definition"], registry=self.registry
        )
        self.scan_signals = Counter("bridge_scan_signals", "Signals raised by scans and strategies.", registry=self.registry)
        self.scan_seconds = Histogram(
            "bridge_scan_seconds", "Asking the definitions of one bar.", buckets=_FINE, registry=self.registry
        )
        self.breakers: Callable[[], dict[str, BreakerState]] = dict
        self.backlogs: Callable[[], dict[str, int]] = dict
        self._sent: dict[str, Counter] = {}
        self._answered: dict[tuple[str, str], Counter] = {}

    def notified(self, channel: str, sent: bool) -> None:  # noqa: FBT001 - one fact, named by the method
        """Count a try to send a message."""
        self.notifications.labels(channel, "sent" if sent else "failed").inc()

    def answered(self, answer: Answer, received_at: datetime) -> None:
        """Called with each answer to a delivery."""
        kind = (answer.status, answer.code)
        counter = self._answered.get(kind)
        if counter is None:
            counter = self._answered[kind] = self.answers.labels(*kind)
        counter.inc()
        self.to_answer.observe((self._now() - received_at).total_seconds())

    def order_sent(self, order: Order) -> None:
        """Called right before the broker call."""
        self.to_broker.observe((self._now() - order.intent.received_at).total_seconds())
        account = order.intent.account
        counter = self._sent.get(account)
        if counter is None:
            counter = self._sent[account] = self.orders.labels(account)
        counter.inc()

    def group_committed(self, size: int, seconds: float) -> None:
        """Called by the writer after each group."""
        self.commit.observe(seconds)
        self.commands.inc(size)

    def fault(self, where: str, _error: BaseException) -> None:
        """Something of ours went wrong and was contained."""
        self.faults.labels(where).inc()

    def postback(self, answer: str) -> None:
        """A broker called, or somebody in its name: `taken`, `forged`, `unreadable` or `unknown`, when no account is meant."""
        self.postbacks.labels(answer).inc()

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        for account, backlog in self.backlogs().items():
            self.backlog.labels(account).set(backlog)
        for account, state in self.breakers().items():
            self.breaker.labels(account).set(_LEVELS[state])
        return generate_latest(self.registry)
