"""The routes about orders, trades and triggers."""

from typing import Any

from starlette.requests import Request

from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.forms import read_order
from bridge.sandbox.kite.values import Order, bad_input, order_row, trade_row


class Desk:
    """Placing, changing, cancelling, and looking at what became of it. Every placement is a new order."""

    def __init__(self, box: KiteSandbox) -> None:
        self._box = box

    async def place(self, request: Request, form: dict[str, str]) -> Any:
        """POST /orders/{variety}."""
        order = read_order(form, request.path_params["variety"], self._box.market)
        largest = self._box.account.freeze_quantity(order.item)
        is_flat = order.autoslice and self._box.knobs.autoslice_shape == "flat"
        if not order.autoslice or largest is None or order.quantity <= largest:
            told = {"order_id": self._box.book.place(order)}
            return [told] if is_flat else told
        parent, children = self._box.book.place_slices(order, largest)
        return children if is_flat else {"order_id": parent, "children": children}

    async def modify(self, request: Request, form: dict[str, str]) -> Any:
        """PUT /orders/{variety}/{order_id}."""
        order = self._find(request)
        self._box.book.modify(order.order_id, form)
        return {"order_id": order.order_id}

    async def cancel(self, request: Request, _form: dict[str, str]) -> Any:
        """DELETE /orders/{variety}/{order_id}."""
        order = self._find(request)
        self._box.book.cancel(order.order_id)
        return {"order_id": order.order_id}

    def _find(self, request: Request) -> Order:
        order = self._box.book.current(request.path_params["order_id"])
        if order.variety != request.path_params["variety"]:
            raise bad_input("Invalid `variety`.")
        return order

    async def orders(self, _request: Request, _form: dict[str, str]) -> Any:
        """GET /orders."""
        return [order_row(order) for order in self._box.book.rows()]

    async def history(self, request: Request, _form: dict[str, str]) -> Any:
        """GET /orders/{order_id}."""
        return [order_row(state) for state in self._box.book.history(request.path_params["order_id"])]

    async def trades(self, _request: Request, _form: dict[str, str]) -> Any:
        """GET /trades."""
        return [trade_row(trade) for trade in self._box.book.trade_rows()]

    async def order_trades(self, request: Request, _form: dict[str, str]) -> Any:
        """GET /orders/{order_id}/trades."""
        order = self._box.book.current(request.path_params["order_id"])
        return [trade_row(trade) for trade in self._box.book.trade_rows(order.order_id)]

    async def gtts(self, _request: Request, _form: dict[str, str]) -> Any:
        """GET /gtt/triggers."""
        return list(self._box.gtts.rows.values())

    async def gtt(self, request: Request, _form: dict[str, str]) -> Any:
        """GET /gtt/triggers/{id}."""
        return self._box.gtts.find(request.path_params["trigger_id"])

    async def place_gtt(self, _request: Request, form: dict[str, str]) -> Any:
        """POST /gtt/triggers."""
        return {"trigger_id": self._box.gtts.place(form)}

    async def modify_gtt(self, request: Request, form: dict[str, str]) -> Any:
        """PUT /gtt/triggers/{id}."""
        return {"trigger_id": self._box.gtts.modify(request.path_params["trigger_id"], form)}

    async def delete_gtt(self, request: Request, _form: dict[str, str]) -> Any:
        """DELETE /gtt/triggers/{id}."""
        return {"trigger_id": self._box.gtts.delete(request.path_params["trigger_id"])}
