"""Every reason the bridge can give, each with its sentence; pages, answers and docs are made from these tables."""

from enum import StrEnum


class RefusalCode(StrEnum):
    """Why intake did not accept a delivery; the HTTP status is part of the public contract."""

    E_JSON = "E_JSON"
    E_EMPTY = "E_EMPTY"
    E_AUTH = "E_AUTH"
    E_SCOPE = "E_SCOPE"
    E_ADDRESS = "E_ADDRESS"
    E_METHOD = "E_METHOD"
    E_CONFLICT = "E_CONFLICT"
    E_SIZE = "E_SIZE"
    E_FIELD = "E_FIELD"
    E_NUMBER = "E_NUMBER"
    E_SYMBOL = "E_SYMBOL"
    E_UNRESOLVED = "E_UNRESOLVED"
    E_STALE = "E_STALE"
    E_UNSUPPORTED = "E_UNSUPPORTED"
    E_RATE = "E_RATE"

    @property
    def http_status(self) -> int:
        """The HTTP status that goes with the code."""
        return REFUSALS[self][0]

    @property
    def sentence(self) -> str:
        """What the code means, for a person."""
        return REFUSALS[self][1]


REFUSALS: dict[RefusalCode, tuple[int, str]] = {
    RefusalCode.E_JSON: (400, "The body is not a JSON object."),
    RefusalCode.E_EMPTY: (400, "The body is empty."),
    RefusalCode.E_AUTH: (401, "Nothing in the request vouches for its sender."),
    RefusalCode.E_SCOPE: (403, "The token does not allow this."),
    RefusalCode.E_ADDRESS: (403, "The sender's address is not on the list of allowed addresses."),
    RefusalCode.E_METHOD: (405, "A webhook is a POST."),
    RefusalCode.E_CONFLICT: (409, "The same id was used before for an alert with other content."),
    RefusalCode.E_SIZE: (413, "The body is larger than 64 KiB."),
    RefusalCode.E_FIELD: (422, "A field is missing or has a value that is not understood."),
    RefusalCode.E_NUMBER: (422, "A number is not a plain, finite decimal of the allowed size."),
    RefusalCode.E_SYMBOL: (422, "The symbol is not in the list of instruments."),
    RefusalCode.E_UNRESOLVED: (422, "A TradingView placeholder was not filled in."),
    RefusalCode.E_STALE: (422, "The alert's own time is too old, or in the future."),
    RefusalCode.E_UNSUPPORTED: (422, "The alert asks for something this bridge does not do."),
    RefusalCode.E_RATE: (429, "Too many alerts in a minute for this sender."),
}


class Reason(StrEnum):
    """Why an alert, an intent or an order came to its end or its state."""

    # done
    FILLED = "FILLED"
    PARTLY_FILLED = "PARTLY_FILLED"
    CANCELLED_UNFILLED = "CANCELLED_UNFILLED"
    CANCELS_SENT = "CANCELS_SENT"
    MODIFIED = "MODIFIED"
    # noop
    FLAT = "FLAT"
    EXIT_IN_FLIGHT = "EXIT_IN_FLIGHT"
    AT_TARGET = "AT_TARGET"
    NOTHING_OPEN = "NOTHING_OPEN"
    UNCHANGED = "UNCHANGED"
    ENDED_FIRST = "ENDED_FIRST"
    # denied
    SEVERAL_ORDERS = "SEVERAL_ORDERS"
    NOT_MODIFIABLE = "NOT_MODIFIABLE"
    HALTED = "HALTED"
    MARKET_CLOSED = "MARKET_CLOSED"
    MARKET_OPEN = "MARKET_OPEN"
    CALENDAR_UNKNOWN = "CALENDAR_UNKNOWN"
    NOT_OFFERED = "NOT_OFFERED"
    AFTER_SQUARE_OFF = "AFTER_SQUARE_OFF"
    STALE = "STALE"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    INSTRUMENT_EXPIRED = "INSTRUMENT_EXPIRED"
    NOT_TRADABLE = "NOT_TRADABLE"
    NO_QUANTITY = "NO_QUANTITY"
    LOT = "LOT"
    TICK = "TICK"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    NO_PRICE = "NO_PRICE"
    PRICE_STALE = "PRICE_STALE"
    MAX_ORDER_QTY = "MAX_ORDER_QTY"
    MAX_ORDER_VALUE = "MAX_ORDER_VALUE"
    MAX_POSITION_QTY = "MAX_POSITION_QTY"
    MAX_EXPOSURE = "MAX_EXPOSURE"
    MAX_OPEN_POSITIONS = "MAX_OPEN_POSITIONS"
    ORDER_RATE = "ORDER_RATE"
    SYMBOL_ORDER_RATE = "SYMBOL_ORDER_RATE"
    ORDER_GAP = "ORDER_GAP"
    MAX_DAILY_LOSS = "MAX_DAILY_LOSS"
    MAX_DAILY_LOSS_PCT = "MAX_DAILY_LOSS_PCT"
    BUYING_POWER = "BUYING_POWER"
    FUNDS_UNKNOWN = "FUNDS_UNKNOWN"
    EQUITY_UNKNOWN = "EQUITY_UNKNOWN"
    POSITION_UNSURE = "POSITION_UNSURE"
    TOKEN_NOTIONAL = "TOKEN_NOTIONAL"
    FNO_BAN = "FNO_BAN"
    BAN_UNKNOWN = "BAN_UNKNOWN"
    PRICE_BAND = "PRICE_BAND"
    BAND_UNKNOWN = "BAND_UNKNOWN"
    FREEZE_QTY = "FREEZE_QTY"
    PART_REJECTED = "PART_REJECTED"
    OVERTAKEN = "OVERTAKEN"
    EXIT_UNFINISHED = "EXIT_UNFINISHED"
    # expired
    STALE_BEFORE_SEND = "STALE_BEFORE_SEND"
    ENDED_AT_BROKER = "ENDED_AT_BROKER"
    # failed
    BROKER_REJECTED = "BROKER_REJECTED"
    CANCEL_IMPOSSIBLE = "CANCEL_IMPOSSIBLE"
    MODIFY_REFUSED = "MODIFY_REFUSED"
    TRIGGER_MET = "TRIGGER_MET"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    INTERNAL = "INTERNAL"

    @property
    def sentence(self) -> str:
        """What the reason means, for a person; the record of a case adds its numbers."""
        return SENTENCES[self]


SENTENCES: dict[Reason, str] = {
    Reason.FILLED: "The order was filled.",
    Reason.PARTLY_FILLED: "The order ended with a part of it filled.",
    Reason.CANCELLED_UNFILLED: "The order was cancelled before anything was filled.",
    Reason.CANCELS_SENT: "The open orders were cancelled, or the broker was asked to.",
    Reason.FLAT: "There is no position to close.",
    Reason.EXIT_IN_FLIGHT: "An exit for the whole position is already under way.",
    Reason.AT_TARGET: "The position, with the orders under way, is already what the strategy wants.",
    Reason.MODIFIED: "The broker changed the order.",
    Reason.NOTHING_OPEN: "There was no open order to cancel or change.",
    Reason.UNCHANGED: "The order has these terms already.",
    Reason.ENDED_FIRST: "The order ended before it could be changed.",
    Reason.SEVERAL_ORDERS: "Several open orders fit, and it is not said which one to change.",
    Reason.NOT_MODIFIABLE: "The order cannot be changed in this way.",
    Reason.HALTED: "Trading is halted.",
    Reason.MARKET_CLOSED: "The market is closed.",
    Reason.MARKET_OPEN: "The market is open, and an after-market order (AMO) is for the time when it is closed.",
    Reason.NOT_OFFERED: "The broker of the account does not take such an order.",
    Reason.CALENDAR_UNKNOWN: "The calendar does not know this day, so the market counts as closed.",
    Reason.AFTER_SQUARE_OFF: "Intraday positions are being closed for the day; no new one is opened.",
    Reason.STALE: "The signal was too old when its turn came.",
    Reason.SYMBOL_NOT_ALLOWED: "The symbol is not on the list of symbols allowed here.",
    Reason.INSTRUMENT_EXPIRED: "The contract has expired.",
    Reason.NOT_TRADABLE: "This is an index: it can be quoted but not traded.",
    Reason.NO_QUANTITY: "Neither `quantity` in the alert nor strategies.<name>.quantity in the settings says how much.",
    Reason.LOT: "The quantity is not a whole number of lots.",
    Reason.TICK: "The price is not a whole number of ticks.",
    Reason.SHORT_NOT_ALLOWED: "This product cannot hold a short position.",
    Reason.NO_PRICE: "No price is known for the instrument.",
    Reason.PRICE_STALE: "The latest price known is too old.",
    Reason.MAX_ORDER_QTY: "The order is larger than the largest quantity allowed.",
    Reason.MAX_ORDER_VALUE: "The order is worth more than the largest value allowed.",
    Reason.MAX_POSITION_QTY: "The position would be larger than allowed.",
    Reason.MAX_EXPOSURE: "The total exposure would be larger than allowed.",
    Reason.MAX_OPEN_POSITIONS: "There would be more open positions than allowed.",
    Reason.ORDER_RATE: "Too many orders in a minute.",
    Reason.SYMBOL_ORDER_RATE: "Too many orders in a minute for this symbol.",
    Reason.ORDER_GAP: "Too soon after the order before it.",
    Reason.MAX_DAILY_LOSS: "The day's loss has reached its limit.",
    Reason.MAX_DAILY_LOSS_PCT: "The day's loss has reached its limit in percent of the day's opening equity.",
    Reason.BUYING_POWER: "There is not enough money for the order.",
    Reason.FUNDS_UNKNOWN: "The broker has not said how much money there is.",
    Reason.EQUITY_UNKNOWN: "The day's opening equity is not known.",
    Reason.POSITION_UNSURE: "The broker's position and ours differ; entries wait until that is cleared.",
    Reason.TOKEN_NOTIONAL: "The order is worth more than the token allows.",
    Reason.FREEZE_QTY: "The order would have to be sent in too many parts.",
    Reason.PART_REJECTED: "The broker rejected another part of the same entry.",
    Reason.FNO_BAN: "The underlying is in the exchange's F&O ban period: positions may only be reduced.",
    Reason.BAN_UNKNOWN: "No F&O ban list of today was imported, and the limits ask for one.",
    Reason.PRICE_BAND: "The price lies outside the band in which the exchange takes orders today.",
    Reason.BAND_UNKNOWN: "Today's price band of the instrument is not known, and the limits ask for it.",
    Reason.OVERTAKEN: "A newer exit or target of the strategy was processed already.",
    Reason.EXIT_UNFINISHED: "The exit before this entry did not end in time, or did not close what it should.",
    Reason.STALE_BEFORE_SEND: "The signal became too old before the order could be sent.",
    Reason.ENDED_AT_BROKER: "The order ended at the broker unfilled.",
    Reason.BROKER_REJECTED: "The broker rejected the order.",
    Reason.CANCEL_IMPOSSIBLE: "An order is in doubt, so it could not be cancelled.",
    Reason.MODIFY_REFUSED: "The broker did not change the order.",
    Reason.TRIGGER_MET: "The market had reached the stop or target before it could rest at the broker.",
    Reason.OUTCOME_UNKNOWN: "The broker never said what became of the order, its day is over, and positions differ.",
    Reason.INTERNAL: "The bridge met a fault of its own while processing; nothing was sent.",
}


class AuditAction(StrEnum):
    """What an audit record tells; an alarm goes to the log too, under the same name."""

    BRIDGE_STARTED = "bridge_started"
    BRIDGE_STOPPED = "bridge_stopped"
    STORE_BACK = "store_back"
    ALERT_ACCEPTED = "alert_accepted"
    ALERT_REFUSED = "alert_refused"
    ALERT_DEFERRED = "alert_deferred"
    INTENT_DENIED = "intent_denied"
    INTENT_CAPPED = "intent_capped"
    INTENT_NOOP = "intent_noop"
    INTENT_SPLIT = "intent_split"
    INTENT_SLICED = "intent_sliced"
    PROTECTION_WANTED = "protection_wanted"
    PROTECTION_PASSED = "protection_passed"
    ORDER_NEW = "order_new"
    ORDER_SENDING = "order_sending"
    ORDER_NOT_SENT = "order_not_sent"
    ORDER_IN_DOUBT = "order_in_doubt"
    ORDER_PLACED = "order_placed"
    ORDER_FILL = "order_fill"
    ORDER_REJECTED = "order_rejected"
    ORDER_CANCEL_ASKED = "order_cancel_asked"
    ORDER_CANCEL_REFUSED = "order_cancel_refused"
    ORDER_REPLACE_ASKED = "order_replace_asked"
    ORDER_REPLACED = "order_replaced"
    ORDER_REPLACE_REFUSED = "order_replace_refused"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"
    ORDER_LATE_FILL = "order_late_fill"
    ALERT_ENDED = "alert_ended"
    TRADING_HALTED = "trading_halted"
    TRADING_RESUMED = "trading_resumed"
    SQUARE_OFF = "square_off"
    TOKEN_MINTED = "token_minted"
    TOKEN_REVOKED = "token_revoked"
    DRIFT_FOUND = "drift_found"
    DRIFT_CLEARED = "drift_cleared"
    DRIFT_ACCEPTED = "drift_accepted"
    RECONCILED = "reconciled"
    CHARGES_CHECKED = "charges_checked"
    ALARM_RAISED = "alarm_raised"
    OPERATOR_SIGNED_IN = "operator_signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    BROKER_LOGGED_IN = "broker_logged_in"
    BROKER_LOGIN_FAILED = "broker_login_failed"
    BROKER_SESSION_ENDED = "broker_session_ended"
    DEFINITION_SAVED = "definition_saved"
    DEFINITION_APPROVED = "definition_approved"
    DEFINITION_DEPLOYED = "definition_deployed"
    DEFINITION_ENABLED = "definition_enabled"
    DEFINITION_DISABLED = "definition_disabled"
    DEFINITION_DELETED = "definition_deleted"

    @property
    def sentence(self) -> str:
        """The step in plain words, for the page that tells an alert's way."""
        return AUDIT_SENTENCES[self]


AUDIT_SENTENCES: dict[AuditAction, str] = {
    AuditAction.BRIDGE_STARTED: "The bridge started.",
    AuditAction.BRIDGE_STOPPED: "The bridge stopped.",
    AuditAction.STORE_BACK: "The store takes records again, after it had failed to.",
    AuditAction.ALERT_ACCEPTED: "The alert was verified, found new and fresh, and stored.",
    AuditAction.ALERT_REFUSED: "The alert was refused.",
    AuditAction.ALERT_DEFERRED: "Processing met a fault and will be tried again.",
    AuditAction.INTENT_DENIED: "The risk engine denied the order.",
    AuditAction.INTENT_CAPPED: "The order was made smaller.",
    AuditAction.INTENT_NOOP: "There was nothing to do.",
    AuditAction.INTENT_SPLIT: "The reversal is made in two orders: one closes, and one opens when that has filled.",
    AuditAction.INTENT_SLICED: "The order is more than the exchange takes at once, so it is sent in parts.",
    AuditAction.PROTECTION_WANTED: "An entry has filled, and a stop or target is to rest for it.",
    AuditAction.PROTECTION_PASSED: "A stop or target was passed with nothing at the broker; the position is closed at market.",
    AuditAction.ORDER_NEW: "The risk engine approved an order.",
    AuditAction.ORDER_SENDING: "The order is on its way to the broker.",
    AuditAction.ORDER_NOT_SENT: "The order did not leave; it will be sent again.",
    AuditAction.ORDER_IN_DOUBT: "The broker's answer was lost; the order is looked up in the broker's book.",
    AuditAction.ORDER_PLACED: "The broker accepted the order.",
    AuditAction.ORDER_FILL: "The order was filled in whole or in part.",
    AuditAction.ORDER_REJECTED: "The broker rejected the order.",
    AuditAction.ORDER_CANCEL_ASKED: "The broker was asked to cancel the order.",
    AuditAction.ORDER_CANCEL_REFUSED: "The broker did not cancel the order.",
    AuditAction.ORDER_REPLACE_ASKED: "The broker was asked to change the order.",
    AuditAction.ORDER_REPLACED: "The broker changed the order.",
    AuditAction.ORDER_REPLACE_REFUSED: "The broker did not change the order.",
    AuditAction.ORDER_CANCELLED: "The order was cancelled.",
    AuditAction.ORDER_EXPIRED: "The order expired.",
    AuditAction.ORDER_LATE_FILL: "A fill arrived after the order had ended.",
    AuditAction.ALERT_ENDED: "The alert came to its end.",
    AuditAction.TRADING_HALTED: "Trading was halted.",
    AuditAction.TRADING_RESUMED: "Trading was resumed.",
    AuditAction.SQUARE_OFF: "An intraday position is closed before the broker does it.",
    AuditAction.TOKEN_MINTED: "A token for alerts was made.",
    AuditAction.TOKEN_REVOKED: "A token for alerts was revoked.",
    AuditAction.DRIFT_FOUND: "The broker's position and ours differ.",
    AuditAction.DRIFT_CLEARED: "The broker's position and ours agree again.",
    AuditAction.DRIFT_ACCEPTED: "A person accepted that the broker's position and ours differ by so much.",
    AuditAction.RECONCILED: "Our books were compared with the broker's.",
    AuditAction.CHARGES_CHECKED: "The day's charges by the broker were compared with our table of rates.",
    AuditAction.ALARM_RAISED: "Something needs a person's attention.",
    AuditAction.OPERATOR_SIGNED_IN: "The operator signed in.",
    AuditAction.SIGN_IN_FAILED: "A sign-in failed.",
    AuditAction.BROKER_LOGGED_IN: "An account was logged in to its broker.",
    AuditAction.BROKER_LOGIN_FAILED: "A login of an account to its broker failed.",
    AuditAction.BROKER_SESSION_ENDED: "An account's session at its broker ended.",
    AuditAction.DEFINITION_SAVED: "A version of a scan or strategy was saved.",
    AuditAction.DEFINITION_APPROVED: "A person approved a version of a scan or strategy for live accounts.",
    AuditAction.DEFINITION_DEPLOYED: "A scan or strategy was deployed.",
    AuditAction.DEFINITION_ENABLED: "A scan or strategy was enabled.",
    AuditAction.DEFINITION_DISABLED: "A scan or strategy was disabled.",
    AuditAction.DEFINITION_DELETED: "A scan or strategy was deleted; its versions are kept.",
}
