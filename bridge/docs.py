"""`make docs`: writes the parts of docs/ that the code knows best, between their markers; `--check` fails when one is stale."""

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from bridge.cli import make_parser
from bridge.core.clock import EPOCH
from bridge.core.decision import Denied
from bridge.core.enums import Disposition, OutcomeKind
from bridge.core.limits import CAREFUL, LIMIT_NAMES
from bridge.core.money import to_text
from bridge.core.news import NEWS, USUAL, NewsKind
from bridge.core.order_states import BACK, BY_FILL, CLOSED, TABLE, WORKING, OrderStatus
from bridge.core.protection import PROTECTION_TABLE, ProtectionStatus
from bridge.core.reasons import AuditAction, Reason, RefusalCode
from bridge.core.trade import TRADE_TABLE, TradeStatus
from bridge.endings import denied_ending
from bridge.execution.breaker import BREAKER_TABLE, BreakerState
from bridge.execution.retry import CANCEL_ATTEMPTS, FIRST_WAIT_S, LONGEST_WAIT_S, POLICY, Asked, NextStep
from bridge.intake.unknown import KNOWN_FIELDS, RENAMED, STANDING, SYNONYMS, UNSUPPORTED
from bridge.metrics import Metrics
from bridge.minting import CLAIM_NAMES
from bridge.risk.engine import ENTRY_RULES, EXIT_RULES
from bridge.scanner.terms.library import FIRST_BARS, FUNCTIONS
from bridge.settings import RiskSettings, Section, Settings

PACKAGE = Path(__file__).parent
DOCS = PACKAGE.parent / "docs"
# Read as a file: nobody but bootstrap imports a broker.
RATES_FILE = PACKAGE / "brokers/data/charges-zerodha.json"
Table = Sequence[Sequence[str]]
_COMMANDS = (Asked.PLACE, Asked.CANCEL, Asked.REPLACE)
Edges = dict[tuple[str, str], list[str]]
_BLOCK = re.compile(r"(<!-- generated:(?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_START, _END = "[*]", "[*]"

# --- what only a person can say ---------------------------------------------------------------------------------------

SETTINGS: dict[str, str] = {
    "data_dir": "Folder of the keys, the API token, the lock file and, by default, the database. Mode 0700.",
    "secret_key": "Master key, 32 bytes in urlsafe base64, in place of the file `secret.key`. Best by environment.",
    "server.host": "Address to bind. Anything but loopback needs an operator password.",
    "server.port": "Port to bind; 0 takes a free one.",
    "server.public_url": "What TradingView and browsers call, such as `https://bridge.example.org`.",
    "server.trusted_proxies": "Addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
    "server.echo_url": "A page that answers with the address it is asked from, and nothing else, for `bridge check`; unset: "
    "only `--online` asks one.",
    "database.url": "`sqlite:///…` or `postgresql+psycopg://…`.",
    "database.writer": "`auto`: small commits in the event loop while the disk is fast, else in a `thread`; or `inline`.",
    "webhook.freshness_s": "Oldest alert taken, by its own `time`. An entry leaves within twice this, or never.",
    "webhook.future_s": "How far ahead of our clock an alert's `time` may be.",
    "webhook.duplicate_window_s": "How long an alert without id and time counts as the same when its body repeats.",
    "webhook.duplicate_days": "How many days back an alert's id is remembered.",
    "webhook.rate_per_minute": "Authentic deliveries a minute per token or signing secret.",
    "webhook.signing_secrets": "Standard Webhooks secrets, `whsec_…`; any may have signed. Best by environment.",
    "webhook.signature_tolerance_s": "How far `webhook-timestamp` may be from our clock, either way.",
    "webhook.addresses": "Unset: TradingView's own addresses bind token alerts unless only this machine can reach the bridge; "
    "`[]`: no list; a list binds every request.",
    "accounts": "Accounts by name; at least one.",
    "accounts.<name>.broker": "`paper`, inside the bridge; `venue`, a [`bridge venue`](brokers.md#venue) behind HTTP; "
    "`kite`, [Zerodha](brokers.md#zerodha-kite), with real money.",
    "accounts.<name>.root": "Venue: where it listens, such as `http://127.0.0.1:8100`, required. "
    "Kite: `https://api.kite.trade`, unless a sandbox is named.",
    "accounts.<name>.token": "Venue: its bearer token, if it has one. Best by environment.",
    "accounts.<name>.api_key": "Kite: the key of your app. Required.",
    "accounts.<name>.api_secret": "Kite: its secret, for serving. By environment: `BRIDGE_ACCOUNTS__<NAME>__API_SECRET`.",
    "accounts.<name>.login_root": "Kite: its login page; another one only for a sandbox.",
    "accounts.<name>.stream_root": "Kite: its stream; another one only for a sandbox.",
    "accounts.<name>.updates": "Kite: what brings news of orders. `poll` looks by itself, every second while one is open.",
    "accounts.<name>.market_protection": "Kite: the percentage beyond the last price that a MARKET or SL-M order may go; "
    "-1: Kite's own band.",
    "accounts.<name>.margin_check": "Kite: ask it before an entry whether there is money for it, while nothing else waits; "
    "an answer is waited for a second at most.",
    "accounts.<name>.static_address": "Kite: the address that is registered at Zerodha; `bridge check` holds the one that "
    "orders leave from against it.",
    "accounts.<name>.protection_products": "Products in which a stop or target may rest at the broker; "
    "for Kite CNC, NRML and MTF.",
    "accounts.<name>.protection_slippage_pct": "How many percent worse than its trigger a protection may sell or buy.",
    "accounts.<name>.cash": "Opening money of a paper account in rupees, read the first time the account is seen.",
    "accounts.<name>.slippage_bps": "Paper: hundredths of a percent against you on every fill that takes the price.",
    "accounts.<name>.fill_ratio": "Paper: the part of a resting order that each new price fills.",
    "accounts.<name>.charges": "Paper: brokerage, taxes and fees by the dated table.",
    "accounts.<name>.session": "`market`: orders only while the exchange is open. `always`: any time; paper accounts only.",
    "accounts.<name>.leverage": "Rupees of order per rupee of buying power, by product, such as `{MIS: 5}`; else 1.",
    "accounts.<name>.square_off": "When MIS positions are [closed for the day](risk.md#square-off), by segment; "
    "`false`: never by the bridge. Not with `session: always`.",
    "accounts.<name>.orders_per_second": "Orders sent in one calendar second; unset: no limit, for Kite 8, at most 10.",
    "strategies": "Strategies by name; at least one.",
    "strategies.<name>.accounts": "Accounts that each alert of the strategy goes to.",
    "strategies.<name>.product": "Product of an alert that names none: MIS, CNC, NRML or MTF.",
    "strategies.<name>.quantity": "Units of an entry that names no quantity.",
    "factors": "A Python file of yours with [factors of your own](scanner.md#factors-of-your-own).",
    "universes": "What scans look at, by name; see [Universes](data.md#universes).",
    "universes.<name>.file": "CSV with a column `Symbol`, as index providers publish it.",
    "universes.<name>.derivatives": "Instead of a file: all shares of NSE that have futures.",
    "universes.<name>.minus": "CSV files of shares to leave out: NSE's surveillance file, or any with a column `Symbol`.",
    "universes.<name>.min_turnover": "Rupees a day that a share must trade, the median of its last sessions.",
    "universes.<name>.min_volume": "Units a day, likewise.",
    "universes.<name>.liquidity_days": "How many sessions those two look at.",
    "instruments": "CSV in the columns of Kite's instrument dump: everything that can be traded.",
    "calendar": "A newer calendar file than the shipped one.",
    "freeze_quantities": "A newer file of freeze quantities than the shipped one, `bridge/market/data/freeze-nse.json`.",
    "exchange.ban_url": "Where the exchange's [F&O ban](#the-exchanges-lists) lies.",
    "exchange.fetch_ban": "Fetch it from there each trading day, from 07:00 in India on.",
    "notify.channels": "Ways to reach a person, by name; see [Notifications](#notifications).",
    "notify.channels.<name>.url": "Address in [apprise's form](https://appriseit.com/services/), such as `tgram://TOKEN/CHAT`. "
    "A secret: by environment, `BRIDGE_NOTIFY__CHANNELS__<NAME>__URL`.",
    "notify.channels.<name>.events": "What it is told: `alarm`, `login`, `halt`, `reject`, `fill`, `bridge`.",
    "notify.repeat_minutes": "How long an alarm, denial or reject that was told is only counted when it comes again.",
    "notify.login_reminder_minutes": "How long before the market opens a missing login at a broker is told, each once.",
    "api.token": "Bearer token of the API, 16 characters or more, in place of the file `api.token`. Best by environment.",
    "operator.password_hash": "Argon2 hash of the pages' password; in place of what `bridge operator password` keeps.",
    "risk.profile": "`careful` or `none` as the base of the limits named beside it; `none` is for paper accounts only.",
    "risk": "For every account; see the limits in [risk.md](risk.md).",
    "accounts.<name>.reconcile_s": "Seconds between two comparisons of our books with the broker's.",
    "accounts.<name>.risk": "For this account: the same keys as `risk`, laid over it.",
    "strategies.<name>.risk": "For this strategy's own orders and positions, in addition to the account's; off unless named.",
}

LIMITS: dict[str, tuple[str, tuple[Reason, ...], str]] = {
    "max_order_qty": ("Units in one order.", (Reason.MAX_ORDER_QTY,), "–"),
    "max_order_value": ("Rupees in one order, at the dearest price it may trade at.", (Reason.MAX_ORDER_VALUE,), "NO_PRICE"),
    "max_position_qty": ("Units of one instrument and product, long or short.", (Reason.MAX_POSITION_QTY,), "–"),
    "max_exposure": ("Rupees held at market and under way, over all instruments.", (Reason.MAX_EXPOSURE,), "NO_PRICE"),
    "max_open_positions": ("Instruments held or being entered.", (Reason.MAX_OPEN_POSITIONS,), "–"),
    "max_orders_per_minute": ("Orders made in a minute; exits count, and are never denied by it.", (Reason.ORDER_RATE,), "–"),
    "max_orders_per_minute_per_symbol": ("The same for one instrument.", (Reason.SYMBOL_ORDER_RATE,), "–"),
    "min_order_gap_s": (
        "Seconds since the order before for the same instrument, exits too; at most 60.",
        (Reason.ORDER_GAP,),
        "–",
    ),
    "max_daily_loss": (
        "Rupees lost since midnight in India: realised, charges and open positions. Halts.",
        (Reason.MAX_DAILY_LOSS,),
        "EQUITY_UNKNOWN, NO_PRICE",
    ),
    "max_daily_loss_pct": (
        "The same in percent of the day's opening equity. Halts.",
        (Reason.MAX_DAILY_LOSS_PCT,),
        "EQUITY_UNKNOWN, NO_PRICE",
    ),
    "max_price_age_s": ("Age of the latest price when a market order is judged by it.", (Reason.PRICE_STALE,), "NO_PRICE"),
    "require_buying_power": (
        "Whether the money that orders need must be there, by the account's leverage.",
        (Reason.BUYING_POWER,),
        "FUNDS_UNKNOWN, NO_PRICE",
    ),
    "require_ban_list": (
        "Whether today's [F&O ban list](operations.md#the-exchanges-lists) must be known before contracts on shares.",
        (Reason.BAN_UNKNOWN,),
        "BAN_UNKNOWN",
    ),
    "require_price_band": (
        "Whether today's [price band](#exchange-rulings) must be known.",
        (Reason.BAND_UNKNOWN,),
        "BAND_UNKNOWN",
    ),
    "allowed_symbols": ("Only these, spelt as the instrument list has them (`NSE:SBIN`).", (Reason.SYMBOL_NOT_ALLOWED,), "–"),
}

MENDS: dict[RefusalCode, str] = {
    RefusalCode.E_JSON: "The message names line, column and what is there. Paste all that `bridge alert new` prints.",
    RefusalCode.E_EMPTY: "Write the message into the alert's box; an order without `alert_message` sends an empty one.",
    RefusalCode.E_AUTH: "Copy the whole token, or make a new one; sign again with a secret of the settings and a right clock.",
    RefusalCode.E_SCOPE: "Change the alert, or make a wider token with `bridge alert new`.",
    RefusalCode.E_ADDRESS: "Add the sender to `webhook.addresses`; behind a proxy, name the proxy in `server.trusted_proxies`.",
    RefusalCode.E_METHOD: "Send a POST; to look at alerts, open the status page.",
    RefusalCode.E_CONFLICT: "Give each alert an id of its own, such as one that ends in `{{timenow}}`.",
    RefusalCode.E_SIZE: "Send only the alert's fields.",
    RefusalCode.E_FIELD: "`field` names it, and the hint says what it can be.",
    RefusalCode.E_NUMBER: 'Write a plain decimal such as `"812.5"`; leave out what has no value.',
    RefusalCode.E_SYMBOL: "The hint names near matches. Write the exchange too; bring the instrument list up to date.",
    RefusalCode.E_UNRESOLVED: "Check its spelling; `{{strategy.…}}` needs an alert of a strategy, `alert()` fills in none.",
    RefusalCode.E_STALE: "Fill `time` with `{{timenow}}`, not `{{time}}`; check this machine's clock.",
    RefusalCode.E_UNSUPPORTED: "Leave the field out, or set it to null; it asks for what the bridge does not do.",
    RefusalCode.E_RATE: "The hint says when the next one is taken; `webhook.rate_per_minute` sets the limit.",
}

FIELDS: dict[str, str] = {
    "token": "The capability token; or put it into the URL. Not needed beside a signature.",
    "strategy": "A strategy of the settings. With a token it may be left out; if it is there it must be the token's.",
    "symbol": "What to trade, such as `NSE:SBIN` or `{{exchange}}:{{ticker}}`. Required.",
    "exchange": "Put before a `symbol` that has none.",
    "action": "`buy`, `sell`, `exit`, `cancel` or `modify`. Required unless there is a `target`.",
    "quantity": "Units, above zero. An entry without one takes the strategy's; an exit closes all; a change means all.",
    "target": "The signed position wanted, in place of action and quantity.",
    "state": "Where the strategy stands after it, `long`, `flat` or `short`: says whether a buy or sell [closes](#targets).",
    "prev": "The same for the position before: an alert that does not follow on waits for the one before it.",
    "product": "MIS, CNC, NRML or MTF; else the token's, else the strategy's.",
    "order_type": "MARKET (the default), LIMIT, SL or SL-M.",
    "price": "The limit of LIMIT and SL orders. Else the price seen by the sender, by which the bridge reckons.",
    "trigger_price": "The trigger of SL and SL-M orders; refused beside others.",
    "time_in_force": "DAY (the default), IOC, or TTL: for `validity_minutes` minutes.",
    "validity_minutes": "How long a TTL order works, 1 to 360 minutes.",
    "variety": "`regular` (the default), `amo` for the next session, or `iceberg`.",
    "iceberg_legs": "The legs of an iceberg, 2 to 50, in whole lots; fewer where the quantity does not make so many.",
    "stop_loss": '`{"price": "800"}` or `{"percent": "2"}`: rests at the broker once an entry has filled.',
    "take_profit": "The same for the target; see [orders.md](orders.md#stops-and-targets-at-the-broker).",
    "time": "When it fired: RFC 3339 with a zone, or seconds or milliseconds since 1970. Else the time of receipt.",
    "id": "Your own name for this one alert, at most 200 characters.",
}

CLAIMS: dict[str, str] = {
    "strategy": "The one strategy the token is for. Always set.",
    "accounts": "Only these of the strategy's accounts.",
    "symbols": "Only these, or a whole exchange, `NSE:*`. `NSE:NIFTY1!` covers whatever contract that is today.",
    "actions": "Only these of buy, sell, exit, cancel, modify and target; one that is not named is refused.",
    "product": "Only this product.",
    "max_quantity": "Most units an alert may name. Of a target it bounds the position: a reversal may trade twice that.",
    "max_notional": "Most rupees an entry may be worth: by the alert's price at intake, by the dearest known before the order.",
    "env": "Only paper, or only live accounts.",
    "expires": "The end of a day in India, or a moment with its zone. Without it the token does not expire.",
}

_PAUSE = f"after {FIRST_WAIT_S:g} to {LONGEST_WAIT_S:g} s with jitter"
EXITS: dict[tuple[Asked, NextStep], str] = {
    (Asked.PLACE, NextStep.FOLLOW): "PLACED; reports follow",
    (Asked.PLACE, NextStep.END): "REJECTED, with the broker's words",
    (Asked.PLACE, NextStep.SEND_AGAIN): f"NEW again under the same id, {_PAUSE}; EXPIRED if an entry would be too old then",
    (Asked.PLACE, NextStep.LOOK_UP): "IN_DOUBT: never sent again blindly; the tag is looked up in the broker's book",
    (Asked.CANCEL, NextStep.FOLLOW): "CANCEL_PENDING; the end comes as a report",
    (Asked.CANCEL, NextStep.END): "working again, with the broker's words",
    (Asked.CANCEL, NextStep.ASK_AGAIN): f"asked again, {_PAUSE}; an alarm after {CANCEL_ATTEMPTS} tries",
    (Asked.REPLACE, NextStep.FOLLOW): "REPLACE_PENDING; the broker's book tells when it is done",
    (
        Asked.REPLACE,
        NextStep.END,
    ): "working as before, with the broker's words; if an earlier answer was lost, the book tells",
    (Asked.REPLACE, NextStep.ASK_AGAIN): f"asked again, {_PAUSE}; an alarm after {CANCEL_ATTEMPTS} tries",
}

# Ends that no denial makes; every other reason's disposition is asked of bridge.endings.
ENDINGS: dict[Reason, Disposition] = {
    **dict.fromkeys((Reason.FILLED, Reason.PARTLY_FILLED, Reason.CANCELLED_UNFILLED, Reason.CANCELS_SENT), Disposition.DONE),
    Reason.MODIFIED: Disposition.DONE,
    **dict.fromkeys((Reason.NOTHING_OPEN, Reason.UNCHANGED, Reason.ENDED_FIRST), Disposition.NOOP),
    Reason.MODIFY_REFUSED: Disposition.FAILED,
    **dict.fromkeys(
        (Reason.BROKER_REJECTED, Reason.CANCEL_IMPOSSIBLE, Reason.OUTCOME_UNKNOWN, Reason.INTERNAL), Disposition.FAILED
    ),
    Reason.TRIGGER_MET: Disposition.FAILED,  # of a protective order, by which no alert ends
}

# --- what the code says -----------------------------------------------------------------------------------------------


def settings_table() -> str:
    """Every key of the settings with its default, its bounds and its meaning."""
    rows = [(f"`{key}`", default, SETTINGS[key]) for key, default in setting_keys()]
    return _table(("key", "default", "meaning"), rows)


def setting_keys() -> Iterator[tuple[str, str]]:
    """Dotted keys and their defaults; the limits of `risk` are told in risk.md and come here as one branch."""
    yield from _keys_of(Settings, "")
    yield "risk.profile", "careful"


def _keys_of(model: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        branch = _branch_of(field.annotation)
        if branch is RiskSettings:
            yield key, "see risk.md" if not prefix else "–"
        elif branch is None:
            yield key, _shown_default(field)
        elif get_args(field.annotation):
            yield key, "required" if field.is_required() else "none"
            yield from _keys_of(branch, f"{key}.<name>.")
        else:
            yield from _keys_of(branch, f"{key}.")


def _branch_of(annotation: Any) -> Any:
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def _shown_default(field: Any) -> str:
    if field.is_required():
        return "required"
    bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)}
    text = "" if field.default == "" else _shown(field.default)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le")
    if low is None:
        return text
    least = f"above {low}" if "gt" in bounds else f"from {low}"
    return f"{text} ({least}{'' if high is None else f' to {high:,}'})"


def _shown(value: object) -> str:
    if value is None or value == frozenset():
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return to_text(value)
    if isinstance(value, tuple | Mapping):
        return "`[]`" if isinstance(value, tuple) else "`{}`"
    return f"`{value}`" if isinstance(value, str | Path) else str(value)


def limits_table() -> str:
    """Every limit with its careful value and what it denies with."""
    rows = []
    for name in LIMIT_NAMES:
        meaning, reasons, missing = LIMITS[name]
        rows.append((f"`{name}`", meaning, _shown(getattr(CAREFUL, name)), ", ".join(reasons), missing))
    return _table(("limit", "what it bounds", "careful", "denies with", "when data is missing"), rows)


def rules_list() -> str:
    """The rules of entries and of exits in the order in which they are asked, by their own words."""
    parts = []
    for title, rules in (("Entries", ENTRY_RULES), ("Exits", EXIT_RULES)):
        parts.append(f"**{title}**\n")
        parts += [f"{number}. {(rule.__doc__ or '').splitlines()[0]}" for number, rule in enumerate(rules, start=1)]
        parts.append("")
    return "\n".join(parts)


def reasons_table() -> str:
    """Every reason with the end it gives an alert and its sentence."""
    rows = []
    for reason in Reason:
        disposition = ENDINGS.get(reason) or denied_ending(Denied(reason=reason, message="")).disposition
        rows.append((f"`{reason}`", disposition.value, reason.sentence))
    return _table(("reason", "the alert ends", "sentence"), rows)


def refusals_table() -> str:
    """Every answer code with its status, its sentence and the mend."""
    rows = [(str(code.http_status), f"`{code}`", code.sentence, MENDS[code]) for code in RefusalCode]
    return _table(("HTTP", "code", "meaning", "mend"), sorted(rows, key=lambda row: row[0]))


def fields_table() -> str:
    """Every field of an alert."""
    _same_names("fields", FIELDS, KNOWN_FIELDS)
    return _table(("field", "meaning"), [(f"`{name}`", meaning) for name, meaning in FIELDS.items()])


def names_list() -> str:
    """Names that are not passed over as notes."""
    others = [f"`{name}` for `{meant}`" for name, meant in sorted({**RENAMED, **SYNONYMS}.items())]
    refused = ", ".join(f"`{name}`" for name in sorted(UNSUPPORTED))
    standing = ", ".join(f"`{name}` for `{meant}`" for name, meant in STANDING.items())
    return (
        f"Refused with E_UNSUPPORTED: {refused}.\n\nRefused with E_FIELD, naming the right field: {', '.join(others)}; "
        f"beside `buy` and `sell` also {standing}.\n"
    )


def claims_table() -> str:
    """Every claim of a token."""
    _same_names("claims", CLAIMS, CLAIM_NAMES)
    return _table(("claim", "what it allows"), [(f"`{name}`", CLAIMS[name]) for name in CLAIM_NAMES])


def order_diagram() -> str:
    """The order's table as a mermaid diagram."""
    edges: Edges = {}
    for status, events in TABLE.items():
        for event, found in events.items():
            for target in targets_of(status, found):
                if target is not status:
                    edges.setdefault((status, target), []).append(event)
    return _diagram(OrderStatus.NEW, edges, CLOSED)


def targets_of(status: OrderStatus, found: OrderStatus | str) -> tuple[OrderStatus, ...]:
    """Where an event may lead, by the quantities."""
    if found is WORKING:
        return OrderStatus.PLACED, OrderStatus.PARTIAL
    if found is BACK:
        return OrderStatus.PLACED, OrderStatus.PARTIAL, OrderStatus.REPLACE_PENDING
    if found is BY_FILL:
        pending = status in (OrderStatus.CANCEL_PENDING, OrderStatus.REPLACE_PENDING)
        return status if pending else OrderStatus.PARTIAL, OrderStatus.FILLED
    return (OrderStatus(found),)


def order_table() -> str:
    """The order's table in words: every event that may happen in every status."""
    rows = []
    for status, events in TABLE.items():
        told = [f"{event} → {' or '.join(targets_of(status, found))}" for event, found in events.items()]
        rows.append((f"`{status}`", "yes" if status.is_closed else "no", "; ".join(told)))
    return _table(("status", "closed", "event → next status"), rows)


def trade_diagram() -> str:
    """The round trip's table as a mermaid diagram."""
    return _diagram(TradeStatus.OPEN, _edges_of(TRADE_TABLE), (TradeStatus.CLOSED,))


def protection_diagram() -> str:
    """The protection's table as a mermaid diagram."""
    return _diagram(ProtectionStatus.WANTED, _edges_of(PROTECTION_TABLE), (ProtectionStatus.DONE,))


def _edges_of(table: Mapping[Any, Mapping[Any, Any]]) -> Edges:
    edges: Edges = {}
    for status, events in table.items():
        for event, target in events.items():
            if target is not status:
                edges.setdefault((status, target), []).append(event)
    return edges


def _diagram(first: str, edges: Edges, last: Sequence[str] | frozenset[Any]) -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"    {_START} --> {first}"]
    lines += [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in edges.items()]
    lines += [f"    {status} --> {_END}" for status in sorted(last)]
    return "\n".join([*lines, "```", ""])


def outcomes_table() -> str:
    """What may be done after each outcome of a command."""
    proofs = {
        OutcomeKind.ACCEPTED: "The broker has the order.",
        OutcomeKind.REFUSED: "Proves that the broker did not take it.",
        OutcomeKind.NOT_SENT: "Proves that nothing arrived.",
        OutcomeKind.UNKNOWN: "Proves nothing: a timeout, a lost connection, an answer that cannot be read.",
    }
    rows = [(f"`{kind}`", proofs[kind], *(EXITS[asked, POLICY[asked][kind]] for asked in _COMMANDS)) for kind in proofs]
    return _table(("outcome", "what it says", "of an order", "of a cancel", "of a change"), rows)


def breaker_diagram() -> str:
    """The breaker's table as a mermaid diagram."""
    return _diagram(BreakerState.CLOSED, _edges_of(BREAKER_TABLE), ())


def audit_table() -> str:
    """Every kind of audit record."""
    return _table(("record", "meaning"), [(f"`{action}`", action.sentence) for action in AuditAction])


def news_table() -> str:
    """What a channel may be told, and by which records."""
    rows = []
    for kind in NewsKind:
        actions = ", ".join(f"`{action}`" for action, its in NEWS.items() if its is kind)
        rows.append((f"`{kind}`", "yes" if kind in USUAL else "no", kind.sentence, actions))
    return _table(("event", "unless told otherwise", "what it tells", "records"), rows)


def commands_table() -> str:
    """Every command with its options, from the parser itself."""
    rows = [(f"`bridge {name}`", what, "<br>".join(options)) for name, what, options in command_lines(make_parser())]
    return _table(("command", "what it does", "options"), rows)


def command_lines(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Name, sentence and options of every command that can be given."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for word, command in group.choices.items():
            yield from command_lines(command, f"{name} {word}".strip())
    if not groups:
        options = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
        yield name, parser.description or "", [_option(action) for action in options if action.dest != "config"]


def _option(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    named = " ".join(part for part in (*action.option_strings[:1], metavar) if part) or " or ".join(action.choices or ())
    return f"`{named}` {action.help}"


def metrics_table() -> str:
    """Every series of /metrics."""

    def now() -> datetime:
        return EPOCH

    found = sorted(Metrics(now).registry.collect(), key=lambda metric: metric.name)
    names = {"counter": "_total", "gauge": "", "histogram": "_bucket, _sum, _count"}
    rows = [(f"`{metric.name}{_suffix(names[metric.type])}`", metric.type, metric.documentation) for metric in found]
    return _table(("series", "kind", "meaning"), rows)


def _suffix(ends: str) -> str:
    return ends if "," not in ends else "_…"


def charges_table() -> str:
    """The paper broker's charges as dated."""
    rates = json.loads(RATES_FILE.read_text(encoding="utf-8"))["rates"]
    rows = []
    for rate in rates:
        cost = f"{rate['percent']} %" if "percent" in rate else f"₹{rate['flat']} an order"
        if "cap" in rate:
            cost += f", at most ₹{rate['cap']}"
        where = " ".join(part for part in (rate["segment"], rate.get("exchange", ""), rate.get("side", "").lower()) if part)
        rows.append((rate["charge"], where, cost, rate["from"]))
    return _table(("charge", "where", "rate", "from"), rows)


def modules_table() -> str:
    """Every module with the sentence it says of itself."""
    rows = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said and "versions" not in path.parts:
            rows.append((f"`{path.relative_to(PACKAGE.parent).as_posix()}`", said.splitlines()[0]))
    return _table(("file", "place"), rows)


def _table(heads: Sequence[str], rows: Table) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _same_names(what: str, told: Mapping[str, str], known: Sequence[str] | frozenset[str]) -> None:
    if set(told) != set(known):
        raise SystemExit(f"bridge/docs.py and the code disagree on {what}: {sorted(set(told) ^ set(known))}")


def terms_table() -> str:
    """Every term of the scanner: how it is called, what it is and from which bar on it is known."""
    rows = []
    for name, function in FUNCTIONS.items():
        told = inspect.signature(function).parameters.values()
        given = [each.name if each.default in (each.empty, None) else f"{each.name}={each.default}" for each in told]
        meaning = (function.__doc__ or "").replace("*", "\\*")
        rows.append((f"`{name}({', '.join(given)})`", meaning, FIRST_BARS.get(name, "0")))
    return _table(("term", "is", "first bar"), rows)


# --- writing ----------------------------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "limits": limits_table,
    "rules": rules_list,
    "reasons": reasons_table,
    "refusals": refusals_table,
    "fields": fields_table,
    "names": names_list,
    "claims": claims_table,
    "order-diagram": order_diagram,
    "order-table": order_table,
    "trade-diagram": trade_diagram,
    "protection-diagram": protection_diagram,
    "outcomes": outcomes_table,
    "breaker-diagram": breaker_diagram,
    "audit": audit_table,
    "news": news_table,
    "commands": commands_table,
    "metrics": metrics_table,
    "charges": charges_table,
    "modules": modules_table,
    "terms": terms_table,
}


def regenerate(text: str) -> str:
    """The page with every generated block as the code has it now."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found['name']]()}{found[3]}", text)


def main(words: Sequence[str] | None = None) -> int:
    """Write the blocks, or with --check only say which pages are stale."""
    parser = argparse.ArgumentParser(prog="python -m bridge.docs", description="Writes the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a page is stale")
    only_check = parser.parse_args(words).check
    stale = [page for page in sorted(DOCS.rglob("*.md")) if regenerate(before := page.read_text(encoding="utf-8")) != before]
    for page in stale:
        print(f"{page.name} is stale: run `make docs`" if only_check else f"{page.name} written")
        if not only_check:
            page.write_text(regenerate(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if only_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
