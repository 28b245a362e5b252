"""A Signal as text and back, lossless: how the store keeps it until the alert has ended."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from bridge.core.clock import from_us, to_us
from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.errors import InvariantError
from bridge.core.protection import protect_from_text, protect_to_text
from bridge.core.signal import Signal

_NUMBERS = ("quantity", "target", "price", "trigger_price", "max_notional")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def signal_to_json(signal: Signal) -> str:
    """Compact JSON; what is None or empty is left out. The time is kept to the microsecond."""
    data: dict[str, object] = {
        "strategy": signal.strategy,
        "symbol": signal.symbol,
        "action": signal.action,
        "accounts": signal.accounts,
        "product": signal.product,
        "signal_us": to_us(signal.signal_at),
        "ord_type": signal.ord_type,
        "time_in_force": signal.time_in_force,
    }
    if signal.is_timed:
        data["timed"] = True
    if signal.state is not None or signal.prev is not None or signal.side is not None:
        data |= _states_of(signal)
    if signal.variety is not Variety.REGULAR or signal.iceberg_legs or signal.validity_minutes:
        data |= _variety_of(signal)
    for name in _NUMBERS:
        if (value := getattr(signal, name)) is not None:
            data[name] = str(value)
    if signal.protect is not None:
        data["protect"] = protect_to_text(signal.protect)
    if signal.order:
        data["order"] = signal.order
    if signal.notes:
        data["notes"] = signal.notes
    return _encode(data)


def _states_of(signal: Signal) -> dict[str, object]:
    states = {"state": signal.state, "prev": signal.prev, "side": signal.side}
    return {name: state for name, state in states.items() if state is not None}


def _variety_of(signal: Signal) -> dict[str, object]:
    legs, minutes = signal.iceberg_legs, signal.validity_minutes
    return {"variety": signal.variety, "iceberg_legs": legs, "validity_minutes": minutes}


def signal_from_json(text: str) -> Signal:
    """The Signal that `signal_to_json` wrote; InvariantError when the text is not one."""
    try:
        return _build(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, InvalidOperation) as error:
        raise InvariantError(f"a stored signal cannot be read: {error!r}") from None


def _build(data: dict[str, Any]) -> Signal:
    return Signal(
        strategy=data["strategy"],
        symbol=data["symbol"],
        action=Action(data["action"]),
        accounts=tuple(data["accounts"]),
        product=Product(data["product"]),
        signal_at=from_us(data["signal_us"]),
        is_timed=data.get("timed") is True,
        quantity=_decimal(data, "quantity"),
        target=_decimal(data, "target"),
        state=_position(data, "state"),
        prev=_position(data, "prev"),
        side=Side(data["side"]) if "side" in data else None,
        ord_type=OrdType(data["ord_type"]),
        price=_decimal(data, "price"),
        trigger_price=_decimal(data, "trigger_price"),
        time_in_force=TimeInForce(data["time_in_force"]),
        variety=Variety(data.get("variety", Variety.REGULAR)),
        iceberg_legs=int(data.get("iceberg_legs", 0)),
        validity_minutes=int(data.get("validity_minutes", 0)),
        max_notional=_decimal(data, "max_notional"),
        protect=protect_from_text(data.get("protect")),
        order=data.get("order", ""),
        notes=data.get("notes", {}),
    )


def _decimal(data: dict[str, Any], name: str) -> Decimal | None:
    text = data.get(name)
    return None if text is None else Decimal(text)


def _position(data: dict[str, Any], name: str) -> MarketPosition | None:
    text = data.get(name)
    return None if text is None else MarketPosition(text)
