"""From a request for a capability token to its claims, and from those to the message a trader pastes into TradingView."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from bridge.core.claims import Claims, Env
from bridge.core.clock import IST, iso
from bridge.core.enums import Action, Product
from bridge.core.errors import RefusedError
from bridge.core.ids import random_token
from bridge.core.money import ZERO, parse_decimal, to_text
from bridge.core.reasons import RefusalCode
from bridge.settings import Settings

E = TypeVar("E", bound=StrEnum)

TOKEN_ID_LENGTH = 10
CLAIM_NAMES = (
    "strategy", "accounts", "symbols", "actions", "product", "max_quantity", "max_notional", "env", "expires",
)  # fmt: skip
# With these an exit stays an exit when its position is gone, and swapped alerts are put right.
_STANDING = {"state": "{{strategy.market_position}}", "prev": "{{strategy.prev_market_position}}"}


def read_request(request: Mapping[str, object], settings: Settings, key_id: str, now: datetime) -> Claims:
    """The claims asked for; RefusedError names the field and the mend."""
    unknown = sorted(set(request) - set(CLAIM_NAMES))
    if unknown:
        raise _wrong(unknown[0], f"There is no claim {unknown[0]!r}.", f"Claims are {', '.join(CLAIM_NAMES)}.")
    strategy = _text(request, "strategy") or ""
    if strategy not in settings.strategies:
        known = ", ".join(sorted(settings.strategies))
        raise _wrong("strategy", f"There is no strategy {strategy!r}.", f"Known: {known}.")
    accounts = tuple(_texts(request, "accounts"))
    for account in accounts:
        if account not in settings.strategies[strategy].accounts:
            raise _wrong("accounts", f"Strategy {strategy} does not use account {account!r}.", "Leave it out for all.")
    product, env = _text(request, "product"), _text(request, "env")
    if env not in (None, "paper", "live"):
        raise _wrong("env", f"{env!r} is not known.", "Use paper or live, or leave it out for both.")
    checked_env: Env | None = "paper" if env == "paper" else "live" if env == "live" else None
    return Claims(
        key_id=key_id,
        token_id=random_token(TOKEN_ID_LENGTH),
        strategy=strategy,
        accounts=accounts,
        symbols=frozenset(_symbols(request)),
        actions=frozenset(_choice("actions", Action, text.lower()) for text in _texts(request, "actions")),
        product=None if product is None else _choice("product", Product, product.upper()),
        max_quantity=_decimal(request, "max_quantity"),
        max_notional=_decimal(request, "max_notional"),
        env=checked_env,
        expires_at=_expiry(request, now),
    )


def shown_claims(claims: Claims) -> dict[str, object]:
    """The claims as people read them; bounds that are not set are left out."""
    shown: dict[str, object] = {"strategy": claims.strategy}
    if claims.accounts:
        shown["accounts"] = list(claims.accounts)
    if claims.symbols:
        shown["symbols"] = sorted(claims.symbols)
    if claims.actions:
        shown["actions"] = sorted(claims.actions)
    for name in ("product", "env"):
        if (value := getattr(claims, name)) is not None:
            shown[name] = str(value)
    for name in ("max_quantity", "max_notional"):
        if (number := getattr(claims, name)) is not None:
            shown[name] = to_text(number)
    if claims.expires_at is not None:
        shown["expires"] = iso(claims.expires_at)
    return shown


def alert_message(claims: Claims, token: str) -> str:
    """The message for TradingView's alert dialog; the placeholders are filled in when the alert fires."""
    message = {"token": token, "strategy": claims.strategy}
    if len(claims.symbols) == 1 and not next(iter(claims.symbols)).endswith(":*"):
        message["symbol"] = next(iter(claims.symbols))
    else:
        message["symbol"] = "{{exchange}}:{{ticker}}"
    if claims.actions == {Action.TARGET}:
        message |= {"target": "{{strategy.position_size}}", **_STANDING}
    elif len(claims.actions) == 1:
        message["action"] = next(iter(claims.actions)).value
        if claims.actions & {Action.BUY, Action.SELL}:
            message["quantity"] = "{{strategy.order.contracts}}"
    else:
        message |= {"action": "{{strategy.order.action}}", "quantity": "{{strategy.order.contracts}}", **_STANDING}
    message |= {"price": "{{close}}", "time": "{{timenow}}"}
    return json.dumps(message)


def _wrong(field: str, message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field=field, hint=hint)


def _text(request: Mapping[str, object], name: str) -> str | None:
    value = request.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _wrong(name, f"`{name}` is not a text.", "Write it in quotes.")
    return value


def _texts(request: Mapping[str, object], name: str) -> list[str]:
    value = request.get(name) or []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong(name, f"`{name}` is not a list of texts.", 'Write it as ["…", "…"].')
    return list(value)


def _symbols(request: Mapping[str, object]) -> list[str]:
    symbols = [text.strip().upper() for text in _texts(request, "symbols")]
    for symbol in symbols:
        exchange, colon, rest = symbol.partition(":")
        if not (exchange and colon and rest):
            raise _wrong("symbols", f"{symbol!r} is not a symbol.", "Write NSE:SBIN, or NSE:* for a whole exchange.")
    return symbols


def _choice(field: str, kind: type[E], text: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise _wrong(field, f"{text!r} is not known.", f"Use one of {', '.join(kind)}.") from None


def _decimal(request: Mapping[str, object], name: str) -> Decimal | None:
    value = request.get(name)
    if value is None or value == "":
        return None
    try:
        number = parse_decimal(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ZERO
    except ValueError as error:
        raise _wrong(name, f"`{name}` {error}.", "Write a plain number such as 10.") from None
    if number <= 0:
        raise _wrong(name, f"`{name}` is not a number above zero.", "Write a plain number such as 10.")
    return number


def _expiry(request: Mapping[str, object], now: datetime) -> datetime | None:
    """The end of the named day in India, or the named moment."""
    text = _text(request, "expires")
    if text is None:
        return None
    try:
        if len(text) == len("2027-01-31"):
            day = date.fromisoformat(text)
            at = datetime.combine(day + timedelta(days=1), time(), IST)
        else:
            at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise _wrong("expires", f"{text!r} is not a date.", "Write 2027-01-31, or 2027-01-31T15:30:00+05:30.") from None
    if at.tzinfo is None:
        raise _wrong("expires", f"{text!r} has no time zone.", "Write 2027-01-31T15:30:00+05:30.")
    at = at.astimezone(UTC).replace(microsecond=0)
    if at <= now:
        raise _wrong("expires", f"{text!r} is in the past.", "Name a later day.")
    return at
