"""Read `stop_loss` and `take_profit`: a price or a percentage each, on the right sides of each other, where they can rest."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise

from bridge.core.enums import Action, Side
from bridge.core.errors import RefusedError
from bridge.core.money import to_text
from bridge.core.protection import PERCENT, Level, Protect
from bridge.core.reasons import RefusalCode
from bridge.intake.fields import Fields, is_absent, read_positive, shown
from bridge.intake.unknown import asks_nothing

_KEYS = ("price", "percent")
_HINT = 'Write "{name}": {{"price": "800"}} or "{name}": {{"percent": "2"}}.'


def read_protect(fields: Fields, action: Action, target: Decimal | None, price: Decimal | None) -> Protect | None:
    """What is to rest once the entry has filled; None for nothing, and where the alert can only close.

    RefusedError when a level is not one, or on the wrong side of `price` (the limit, or what the sender saw) or of the other.
    """
    side = _side_of(action, target)
    if side is None:
        return None
    protect = Protect(stop_loss=_read_level(fields, "stop_loss"), take_profit=_read_level(fields, "take_profit"))
    if protect.stop_loss is None and protect.take_profit is None:
        return None
    _check_sides(protect, side, price)
    return protect


def refuse_unprotected(protect: Protect, account: str, product: str, symbol: str) -> RefusedError:
    """No protection can rest there: better no position than one that is thought to be protected."""
    field = "stop_loss" if protect.stop_loss is not None else "take_profit"
    return RefusedError(
        RefusalCode.E_UNSUPPORTED,
        f"`{field}` cannot rest at the broker of account {account} for {symbol} in {product}.",
        field=field,
        hint=f"accounts.{account}.protection_products names the products that can have one. Or leave `{field}` out.",
    )


def _side_of(action: Action, target: Decimal | None) -> Side | None:
    if action is Action.TARGET and target:
        return Side.BUY if target > 0 else Side.SELL
    return {Action.BUY: Side.BUY, Action.SELL: Side.SELL}.get(action)


def _read_level(fields: Fields, name: str) -> Level | None:
    value = fields.get(name)
    if asks_nothing(value):
        return None
    if not isinstance(value, dict):
        raise _wrong(name, f"`{name}` is {shown(str(value))}, which does not say whether it is a price or a percentage.", name)
    odd = next((key for key, inner in value.items() if key not in _KEYS and not is_absent(inner)), None)
    if odd is not None:
        raise _wrong(name, f"`{name}` has {shown(odd)}, which the bridge does not know.", name)
    flat: Mapping[str, object] = {f"{name}.{key}": inner for key, inner in value.items()}
    price, percent = (read_positive(flat, f"{name}.{key}") for key in _KEYS)
    if price is not None and percent is not None:
        raise _wrong(name, f"`{name}` has a price and a percentage.", name)
    if percent is not None and percent >= PERCENT:
        raise _wrong(f"{name}.percent", f"`{name}.percent` must be below 100.", name)
    return None if price is None and percent is None else Level(price=price, percent=percent)


def _check_sides(protect: Protect, side: Side, price: Decimal | None) -> None:
    """Prices in the order in which they lie for a long position: stop, entry, target; the other way round for a short one."""
    stop, target = (level.price if level is not None else None for level in (protect.stop_loss, protect.take_profit))
    named = [("stop_loss", stop), ("price", price), ("take_profit", target)]
    known = [(name, value) for name, value in named if value is not None]
    for (name, value), (other, higher) in pairwise(known):
        if (value >= higher) if side is Side.BUY else (value <= higher):
            wrong, against, bound = (name, other, higher) if name == "stop_loss" else (other, name, value)
            where = "below" if (side is Side.BUY) is (wrong == "stop_loss") else "above"
            raise _wrong(
                wrong, f"`{wrong}` has to be {where} the `{against}` of {to_text(bound)} for a {side.value.lower()}.", wrong
            )


def _wrong(field: str, message: str, name: str) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field=field, hint=_HINT.format(name=name))
