"""JSON as the contract wants it: money and quantities as text, times in UTC, and every fault with its field and mend."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from bridge.core.clock import iso
from bridge.core.errors import RefusedError
from bridge.core.login import LoginView
from bridge.core.money import to_text
from bridge.core.scope import TradingState
from bridge.core.views import AccountView, AlertView, ExternalView, OrderView, PositionView, StepView, TokenView, TradeView


class NotFoundError(Exception):
    """Nothing has this id."""

    def __init__(self, what: str, ident: str):
        super().__init__(what)
        self.message = f"There is no {what} {ident[:64]!a}."


def answer_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; Decimals become text and times RFC 3339."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=_plain).encode("utf-8", "replace")
    return Response(body, status, headers, media_type="application/json")


def answer_refused(error: RefusedError) -> Response:
    """A request of the API that is wrong, in the shape of the webhook's refusals."""
    told = {"status": "refused", "code": error.code.value, "message": error.message}
    told |= {name: text for name, text in (("field", error.field), ("hint", error.hint)) if text}
    return answer_json(told, error.code.http_status)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return to_text(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def alert_row(view: AlertView) -> dict[str, object]:
    """An alert in the list; `disposition` is null until it has ended."""
    return {
        "alert_id": view.alert_id,
        "received_at": view.received_at,
        "source": view.source,
        "strategy": view.strategy,
        "symbol": view.symbol,
        "action": view.action,
        "disposition": view.disposition,
        "code": view.code,
        "message": view.message,
        "ended_at": view.ended_at,
    }


def alert_way(view: AlertView, steps: Sequence[StepView], orders: Sequence[OrderView]) -> dict[str, object]:
    """An alert's whole way, as DESIGN §7 has it."""
    return {
        "alert_id": view.alert_id,
        "received_at": view.received_at,
        "source": view.source,
        "strategy": view.strategy,
        "disposition": view.disposition,
        "code": view.code,
        "message": view.message,
        "steps": [{"at": s.at, "step": s.step, "code": s.code, "message": s.message} for s in steps],
        "orders": [order_row(order) for order in orders],
    }


def order_row(view: OrderView) -> dict[str, object]:
    """An order."""
    return {
        "cl_ord_id": view.cl_ord_id,
        "account": view.account,
        "symbol": view.symbol,
        "side": view.side,
        "ord_type": view.ord_type,
        "order_qty": view.order_qty,
        "cum_qty": view.cum_qty,
        "avg_px": view.avg_px,
        "status": view.status.value,
        "broker_order_id": view.broker_order_id,
        "tag": view.tag,
        "part": view.part,
        "parts": view.parts,
        "terms": view.terms,
    }


def external_row(view: ExternalView) -> dict[str, object]:
    """An order at the broker that is not ours."""
    return asdict(view)


def position_row(view: PositionView) -> dict[str, object]:
    """A position; `unrealized_pnl` is null when no price is known."""
    return {
        "account": view.account,
        "symbol": view.symbol,
        "product": view.product,
        "quantity": view.quantity,
        "avg_px": view.avg_px,
        "realized_pnl": view.realized_pnl,
        "unrealized_pnl": view.unrealized_pnl,
    }


def trade_row(view: TradeView) -> dict[str, object]:
    """A round trip; `pnl` is after charges, `closed_at` null while it is open."""
    return {
        "trade_id": view.trade_id,
        "account": view.account,
        "symbol": view.symbol,
        "product": view.product,
        "strategy": view.strategy,
        "side": view.side,
        "status": view.status,
        "entry_qty": view.entry_qty,
        "entry_px": view.entry_px,
        "exit_qty": view.exit_qty,
        "exit_px": view.exit_px,
        "pnl": view.pnl,
        "charges": view.charges,
        "opened_at": view.opened_at,
        "closed_at": view.closed_at,
    }


def account_row(view: AccountView) -> dict[str, object]:
    """An account and its broker session; money is null where the broker has not said it."""
    return {
        "account": view.name,
        "broker": view.broker,
        "is_paper": view.is_paper,
        "connected": view.connected,
        "message": view.message,
        "cash": view.cash,
        "available": view.available,
        "equity": view.equity,
        "day_pnl": view.day_pnl,
        "login": None if view.login is None else login_row(view.name, view.login),
    }


def login_row(account: str, view: LoginView) -> dict[str, object]:
    """How an account's login at its broker stands; never a token."""
    return {
        "account": account,
        "broker": view.broker,
        "logged_in": view.is_live,
        "user_id": view.user_id or None,
        "ends_at": view.ends_at,
        "message": view.message,
    }


def state_row(state: TradingState) -> dict[str, object]:
    """A trading state; `account` and `strategy` are null unless the state is theirs."""
    scope = state.scope
    return {
        "scope": scope.kind,
        "account": scope.name if scope.kind == "account" else None,
        "strategy": scope.name if scope.kind == "strategy" else None,
        "mode": state.mode.value,
        "since": state.since,
        "by": state.by,
        "message": state.message,
        "cancels": state.cancels,
    }


def token_row(view: TokenView) -> dict[str, object]:
    """A minted token: what it allows, never its text."""
    claims: Any = json.loads(view.claims)
    return {
        "token_id": view.token_id,
        "claims": claims,
        "created_at": view.created_at,
        "expires_at": view.expires_at,
        "revoked_at": view.revoked_at,
    }
