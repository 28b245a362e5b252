"""News: what of the audit a person wants to be told wherever they are, and of which kind it is."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.core.login import NOT_LOGGED_IN
from bridge.core.reasons import AuditAction


class NewsKind(StrEnum):
    """What a channel may be asked to tell, the most pressing first."""

    ALARM = "alarm"
    LOGIN = "login"
    HALT = "halt"
    REJECT = "reject"
    FILL = "fill"
    BRIDGE = "bridge"

    @property
    def sentence(self) -> str:
        """What it tells, for a person."""
        return KINDS[self]


KINDS: dict[NewsKind, str] = {
    NewsKind.ALARM: "Whatever needs a person: alarms, an order in doubt, positions that differ and agree again.",
    NewsKind.LOGIN: "An account must be logged in to its broker; somebody did, or failed to.",
    NewsKind.HALT: "Trading was halted or resumed, by a person or a rule; an intraday position is closed for the day.",
    NewsKind.REJECT: "An alert was refused, an order denied, rejected by the broker, or expired.",
    NewsKind.FILL: "Every fill.",
    NewsKind.BRIDGE: "The bridge started or stopped; the store takes records again.",
}
# Fills and restarts are the everyday: who wants them asks for them.
USUAL = (NewsKind.ALARM, NewsKind.LOGIN, NewsKind.HALT, NewsKind.REJECT)

NEWS: dict[AuditAction, NewsKind] = {
    AuditAction.ALARM_RAISED: NewsKind.ALARM,
    AuditAction.ORDER_IN_DOUBT: NewsKind.ALARM,
    AuditAction.DRIFT_FOUND: NewsKind.ALARM,
    AuditAction.DRIFT_CLEARED: NewsKind.ALARM,
    AuditAction.BROKER_LOGGED_IN: NewsKind.LOGIN,
    AuditAction.BROKER_LOGIN_FAILED: NewsKind.LOGIN,
    AuditAction.TRADING_HALTED: NewsKind.HALT,
    AuditAction.TRADING_RESUMED: NewsKind.HALT,
    AuditAction.SQUARE_OFF: NewsKind.HALT,
    AuditAction.ALERT_REFUSED: NewsKind.REJECT,
    AuditAction.INTENT_DENIED: NewsKind.REJECT,
    AuditAction.ORDER_REJECTED: NewsKind.REJECT,
    AuditAction.ORDER_EXPIRED: NewsKind.REJECT,
    AuditAction.ORDER_FILL: NewsKind.FILL,
    AuditAction.ORDER_LATE_FILL: NewsKind.FILL,
    AuditAction.BRIDGE_STARTED: NewsKind.BRIDGE,
    AuditAction.BRIDGE_STOPPED: NewsKind.BRIDGE,
    AuditAction.STORE_BACK: NewsKind.BRIDGE,
}
# Good news of kinds that are bad news otherwise.
_GOOD = frozenset({AuditAction.BROKER_LOGGED_IN, AuditAction.DRIFT_CLEARED})
# Texts that may come in storms. A fill, a halt, a login or a difference is a fact of its own: the same words again are news.
_MAY_STORM = frozenset(
    {
        *(AuditAction.ALARM_RAISED, AuditAction.ORDER_IN_DOUBT),
        *(AuditAction.ALERT_REFUSED, AuditAction.INTENT_DENIED, AuditAction.ORDER_REJECTED, AuditAction.ORDER_EXPIRED),
    }
)
# Their message says it all: the record's own sentence would only stand before it.
_SPEAKS_FOR_ITSELF = frozenset(
    {
        *(AuditAction.ALARM_RAISED, AuditAction.DRIFT_FOUND, AuditAction.DRIFT_CLEARED),
        *(AuditAction.BROKER_LOGIN_FAILED, AuditAction.SQUARE_OFF),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One record of the audit that may be told; `symbol` and `side` are its order's, empty where it has none."""

    seq: int
    at: datetime
    action: AuditAction
    account: str
    code: str
    message: str
    symbol: str = ""
    side: str = ""

    @property
    def kind(self) -> NewsKind:
        """What kind of news it is."""
        if self.action is AuditAction.ALARM_RAISED and self.code == NOT_LOGGED_IN:
            return NewsKind.LOGIN
        return NEWS[self.action]

    @property
    def is_pressing(self) -> bool:
        """Whether a person has to do something."""
        return self.kind in (NewsKind.ALARM, NewsKind.LOGIN) and self.action not in _GOOD

    @property
    def may_storm(self) -> bool:
        """Whether the same text again soon is only to be counted."""
        return self.action in _MAY_STORM and self.kind is not NewsKind.LOGIN

    @property
    def text(self) -> str:
        """The sentence without its time: what makes two pieces of news the same."""
        told = self.message if self.action in _SPEAKS_FOR_ITSELF else f"{self.action.sentence} {self.message}".rstrip()
        account = "" if re.search(rf"\b{re.escape(self.account)}\b", told) else self.account
        where = " ".join(word for word in (account, self.side, self.symbol) if word)
        return f"{where}: {told}" if where else told
