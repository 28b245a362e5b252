"""Good-till-triggered orders: conditions that wait for a price, and then place an ordinary order that may still be rejected."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from bridge.core.clock import Clock
from bridge.core.money import parse_decimal
from bridge.sandbox.kite.forms import OrderForm, read_order
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.market import Market
from bridge.sandbox.kite.values import ApiError, bad_input, number, stamp

LIFE = timedelta(days=365)
FIRST_ID = 100_000
_LEGS = {"single": 1, "two-leg": 2}


class Gtts:
    """Every trigger by id, as the row that the vendor answers."""

    def __init__(self, clock: Clock, journal: Journal, market: Market, place: Callable[[OrderForm], str], user_id: str) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self._clock = clock
        self._journal = journal
        self._market = market
        self._place = place
        self._user_id = user_id

    def load(self, row: dict[str, Any]) -> None:
        """A state of a trigger out of the journal."""
        self.rows[row["id"]] = row

    def _keep(self, row: dict[str, Any]) -> int:
        row["updated_at"] = stamp(self._clock.now())
        self._journal.write("gtt", row)
        self.rows[row["id"]] = row
        return int(row["id"])

    def place(self, form: Mapping[str, str]) -> int:
        """A new trigger, and its id."""
        now = self._clock.now()
        row = {
            "id": FIRST_ID + len(self.rows) + 1, "user_id": self._user_id, "parent_trigger": None, "created_at": stamp(now),
            "expires_at": stamp(now + LIFE), "status": "active", "meta": {}, **self._read(form),
        }  # fmt: skip
        return self._keep(row)

    def modify(self, trigger_id: int, form: Mapping[str, str]) -> int:
        """Replace condition and orders of an active trigger."""
        return self._keep({**self._active(trigger_id), **self._read(form)})

    def delete(self, trigger_id: int) -> int:
        """The user takes the trigger back."""
        return self._keep({**self._active(trigger_id), "status": "deleted"})

    def find(self, trigger_id: int) -> dict[str, Any]:
        """Any trigger, whatever became of it."""
        row = self.rows.get(trigger_id)
        if row is None:
            raise ApiError(404, "DataException", "GTT trigger not found.")
        return row

    def _active(self, trigger_id: int) -> dict[str, Any]:
        row = self.find(trigger_id)
        if row["status"] != "active":
            raise bad_input("GTT trigger is not active.")
        return row

    def _read(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Type, condition and orders of a request."""
        legs = _LEGS.get(form.get("type", ""))
        if legs is None:
            raise bad_input("Invalid `type`.")
        condition, orders = read_json(form, "condition", dict), read_json(form, "orders", list)
        item = self._market.listed.get(f"{condition.get('exchange')}:{condition.get('tradingsymbol')}")
        if item is None:
            raise bad_input("Invalid `condition`.")
        triggers, last = read_prices(condition.get("trigger_values"), legs), read_prices([condition.get("last_price")], 1)[0]
        if legs == 2 and not triggers[0] < last < triggers[1]:
            raise bad_input("Trigger already met: the last price must lie between the two trigger values.")
        if legs == 1 and triggers[0] == last:
            raise bad_input("Trigger already met.")
        if len(orders) != legs:
            raise bad_input("Invalid `orders`.")
        return {
            "type": form["type"],
            "condition": {
                "exchange": item.exchange, "tradingsymbol": item.tradingsymbol, "instrument_token": item.token,
                "last_price": number(last), "trigger_values": [number(one) for one in triggers],
            },
            "orders": [self._read_order(one) for one in orders],
        }  # fmt: skip

    def _read_order(self, one: Any) -> dict[str, Any]:
        if not isinstance(one, dict) or one.get("order_type") != "LIMIT":
            raise bad_input("GTT orders are limit orders.")
        read_order(as_form(one), "regular", self._market)
        names = ("exchange", "tradingsymbol", "transaction_type", "quantity", "order_type", "product", "price")
        return {**{name: one[name] for name in names}, "result": None}

    # -- triggering -------------------------------------------------------------------------------------------------

    def on_price(self, symbol: str) -> None:
        """Fire every active trigger that this price meets; those whose year is over expire."""
        now, last = stamp(self._clock.now()) or "", self._market.last(symbol)
        for row in list(self.rows.values()):
            condition = row["condition"]
            if row["status"] != "active":
                continue
            if row["expires_at"] <= now:
                self._keep({**row, "status": "expired"})
            elif f"{condition['exchange']}:{condition['tradingsymbol']}" == symbol:
                leg = met_leg(condition, last)
                if leg is not None:
                    self._fire(row, leg, last)

    def _fire(self, row: dict[str, Any], leg: int, last: Decimal) -> None:
        orders = [dict(one) for one in row["orders"]]
        self._keep({**row, "status": "triggered"})
        try:
            told = {"status": "success", "order_id": self._place(read_order(as_form(orders[leg]), "regular", self._market))}
        except ApiError as error:
            told = {"status": "failed", "order_id": "", "rejection_reason": error.message}
        orders[leg]["result"] = {
            **{name: value for name, value in orders[leg].items() if name != "result"},
            "order_result": {"rejection_reason": "", **told}, "timestamp": stamp(self._clock.now()),
            "triggered_at": number(last),
        }  # fmt: skip
        self._keep({**row, "status": "triggered", "orders": orders})


def met_leg(condition: Mapping[str, Any], last: Decimal) -> int | None:
    """The number of the order to place, or None: a trigger above the price at placement waits for a rise, else for a fall."""
    base = Decimal(str(condition["last_price"]))
    for leg, value in enumerate(condition["trigger_values"]):
        trigger = Decimal(str(value))
        if (trigger > base and last >= trigger) or (trigger < base and last <= trigger):
            return leg
    return None


def read_json(form: Mapping[str, str], name: str, kind: type) -> Any:
    """A field that holds JSON, as the vendor's clients send conditions and orders."""
    try:
        found = json.loads(form.get(name, ""))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise bad_input(f"Invalid `{name}`.")
    return found


def read_prices(values: Any, count: int) -> list[Decimal]:
    """So many prices above zero."""
    try:
        found = [parse_decimal(str(value)) for value in values]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(price > 0 for price in found):
        raise bad_input("Invalid `trigger_values` or `last_price`.")
    return found


def as_form(order: Mapping[str, Any]) -> dict[str, str]:
    """The order of a trigger as the form of a placement."""
    return {name: str(value) for name, value in order.items() if value is not None and name != "result"}
