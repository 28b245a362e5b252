"""Fields that the native format lacks: refused where passing them over would change the order, else kept as notes."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal

from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.intake.fields import Fields, is_absent
from bridge.intake.redact import blank_secrets

MAX_NOTES = 32
MAX_NAME_CHARS = 64
MAX_NOTE_CHARS = 256

KNOWN_FIELDS = frozenset(
    {
        *("token", "id", "time", "strategy", "symbol", "exchange", "product"),
        *("action", "quantity", "target", "state", "prev"),
        *("order_type", "price", "trigger_price", "time_in_force", "validity_minutes"),
        *("variety", "iceberg_legs"),
        *("stop_loss", "take_profit"),
    }
)
# All names below are folded: lower case, without separators.
# Each asks for something the bridge does not do; unread, another order would be placed than was meant.
UNSUPPORTED = frozenset(
    {
        *("stoplossprice", "sl", "slprice", "stop", "takeprofitprice", "tp", "tpprice"),
        *("targetprice", "trailingstop", "tsl", "trail", "trailamount", "trailoffset", "trailpercent", "trailprice"),
        *("orders", "legs", "orderlegs", "bracket", "oco", "squareoff", "iceberg", "icebergquantity", "amo"),
        *("quantitytype", "qtytype", "quantitypercent", "qtypercent", "percentofequity", "riskpercent", "leverage"),
        *("disclosedquantity", "disclosedqty", "sentiment", "reduceonly", "closeposition", "delay", "goodtilldate"),
        *("account", "accounts", "broker", "expiry", "expirydate", "expiration", "strike", "strikeprice", "optiontype"),
        *("test", "dryrun", "paper", "simulate"),
    }
)
# Other names of a field whose reading they must not escape, whether the field is there or not.
RENAMED = {"limitprice": "price", "stopprice": "trigger_price", "triggerpx": "trigger_price"}
# Other names of a field that is optional: refused where the field is missing, or a default would take its place unseen.
SYNONYMS = {
    **dict.fromkeys(("qty", "orderqty", "orderquantity", "ordersize", "size", "contracts"), "quantity"),
    **dict.fromkeys(("shares", "lots", "units", "amount"), "quantity"),
    **dict.fromkeys(("pricetype", "prctyp", "ordtype"), "order_type"),
    **dict.fromkeys(("tif", "validity"), "time_in_force"),
    **dict.fromkeys(("validityttl", "ttl"), "validity_minutes"),
    **dict.fromkeys(("producttype", "pcode"), "product"),
}
# Where the strategy stands: it says whether a buy or sell opens or closes. An exit means the same without it.
STANDING = {"positionsize": "target", "marketposition": "state", "prevmarketposition": "prev"}
_MORE = {"quantity": ", in units", "target": " in place of action and quantity, or `state` beside them"}
# Other names of what is required: named when the field itself is missing.
LOOKALIKES = {
    "symbol": ("ticker", "tradingsymbol", "instrument", "scrip", "tsym"),
    "action": ("side", "signal", "order", "orderaction", "transactiontype", "positionsize", "marketposition"),
    "strategy": ("strategyname", "strategyid", "strgname"),
}


def fold(name: str) -> str:
    """The name without case and separators; empty when it is too long to be meant as one of ours."""
    if len(name) > MAX_NAME_CHARS:
        return ""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


_MISSPELT = {fold(name): name for name in KNOWN_FIELDS} | RENAMED


def read_notes(fields: Fields, secrets: Iterable[str]) -> dict[str, str]:
    """What the alert carries besides its own fields, as short texts; RefusedError for what must not go unread."""
    notes: dict[str, str] = {}
    for name, value in fields.items():
        if name in KNOWN_FIELDS or asks_nothing(value):
            continue
        _check_name(name, fields)
        if len(notes) < MAX_NOTES:
            notes[blank_secrets(name, secrets)[:MAX_NAME_CHARS]] = blank_secrets(_to_note(value), secrets)[:MAX_NOTE_CHARS]
    return notes


def asks_nothing(value: object) -> bool:
    """True for null, false, the empty text, and whatever consists of these only."""
    if isinstance(value, dict):
        return all(map(asks_nothing, value.values()))
    if isinstance(value, list):
        return all(map(asks_nothing, value))
    return value is False or is_absent(value)


def find_lookalike(fields: Mapping[str, object], field: str) -> str | None:
    """A field that is there and probably meant as `field`, in the sender's spelling."""
    return next((name for name in fields if fold(name) in LOOKALIKES[field]), None)


def _check_name(name: str, fields: Fields) -> None:
    folded = fold(name)
    if folded in UNSUPPORTED:
        raise RefusedError(
            RefusalCode.E_UNSUPPORTED,
            f"`{name}` is not supported.",
            field=name,
            hint=f"Nothing that an alert asks for is passed over: leave `{name}` out, or set it to null.",
        )
    meant = _MISSPELT.get(folded)
    if meant is None and folded in SYNONYMS and is_missing(fields, SYNONYMS[folded]):
        meant = SYNONYMS[folded]
    if meant is None and folded in STANDING and _is_trade(fields) and is_missing(fields, STANDING[folded]):
        meant = STANDING[folded]
    if meant is not None:
        raise RefusedError(
            RefusalCode.E_FIELD,
            f"`{name}` is not a field of an alert.",
            field=name,
            hint=f"Write `{meant}`{_MORE.get(meant, '')}.",
        )


def is_missing(fields: Fields, name: str) -> bool:
    """True when the field is not there; a target takes the place of a quantity."""
    return is_absent(fields.get(name)) and not (name == "quantity" and not is_absent(fields.get("target")))


def _is_trade(fields: Fields) -> bool:
    return str(fields.get("action")).strip().lower() in ("buy", "sell")


def _to_note(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
