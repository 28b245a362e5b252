"""The desk: what a person may order the bridge to do, from the page, the API or a command; each order is audited."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bridge.closing import own_signal, strategy_of
from bridge.core.clock import Clock
from bridge.core.enums import Action, Source
from bridge.core.errors import RefusedError, StoreError
from bridge.core.hold import Hold
from bridge.core.money import to_text
from bridge.core.position import PositionKey
from bridge.core.reasons import AuditAction, RefusalCode
from bridge.core.scope import Scope, TradingState
from bridge.core.token import TokenRecord
from bridge.core.values import evolve
from bridge.core.views import external_view
from bridge.execution.gate import Gate
from bridge.execution.reconcile import Comparison, Reconciler
from bridge.intake.tokens import KEY_ID, mint_token, token_keys
from bridge.minting import alert_message, read_request, shown_claims
from bridge.order_wishes import cancel_signal, change_signal, find_open
from bridge.pipeline import Pipeline
from bridge.risk.halt import MODES, HaltCommand, next_state
from bridge.settings import Settings
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.vault import Vault
from bridge.withdrawals import halted_entries

WEBHOOK_PATH = "/webhook/tradingview"


class Desk:
    """Commands to the running bridge."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        store: Store,
        pipeline: Pipeline,
        gate: Gate,
        reconciler: Reconciler,
        vault: Vault,
    ):
        self._settings = settings
        self._clock = clock
        self._store = store
        self._pipeline = pipeline
        self._gate = gate
        self._reconciler = reconciler
        self._vault = vault

    # -- trading state ------------------------------------------------------------------------------------------------

    async def halt(self, scope: Scope, *, stop_all: bool, by: str, cancel: bool = False) -> TradingState:
        """Let only exits out, or with `stop_all` nothing but cancels; when this returns it is on disk and in force.

        With `cancel` entries that rest are cancelled in the same commit, and later those that turn up while it is in force.
        StoreError: it is in force, for as long as this process lives, and says so; no cancel was asked for.
        """
        self._check_scope(scope)
        command = HaltCommand.HALT_ALL if stop_all else HaltCommand.HALT
        self._gate.close(scope, MODES[command], self._clock.now())  # at once; the record follows
        try:
            return await self._set_state(scope, command, by, cancel=cancel)
        except StoreError as error:
            raise StoreError(f"The halt is in force, but could not be written down: {error}. Halt again.") from error

    async def resume(self, scope: Scope, *, by: str) -> TradingState:
        """Let everything of this scope out again; stricter scopes over it stay in force."""
        self._check_scope(scope)
        closings = self._gate.closings(scope)
        state = await self._set_state(scope, HaltCommand.RESUME, by)
        if self._gate.closings(scope) == closings:  # else somebody halted meanwhile, and that halt is in force
            self._gate.open(scope)
        return state

    async def _set_state(self, scope: Scope, command: HaltCommand, by: str, *, cancel: bool = False) -> TradingState:
        def change(tx: Tx) -> TradingState:
            now = self._clock.now()
            current = tx.ledger.states.get(scope)
            state = next_state(scope, command, current=current, at=now, by=by, message="", cancels=cancel)
            if state is not current:
                tx.put(tx.ledger.states, scope, state)
            action = AuditAction.TRADING_RESUMED if command is HaltCommand.RESUME else AuditAction.TRADING_HALTED
            told = ", entries that rest are cancelled" if state.cancels else ""
            tx.audit(action, now, code=state.mode.value, message=f"{scope}: {state.mode.value} by {by}{told}")
            tx.touch("state")
            for order, why in halted_entries(tx.ledger) if cancel else ():
                self._pipeline.cancel(tx, order, why, now)
            return state

        return await self._store.write(change)

    def _check_scope(self, scope: Scope) -> None:
        known: Mapping[str, object] = {"account": self._settings.accounts, "strategy": self._settings.strategies}.get(
            scope.kind, {}
        )
        if scope.kind != "global" and scope.name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise RefusedError(
                RefusalCode.E_FIELD,
                f"There is no {scope.kind} {scope.name!r}.",
                field=scope.kind,
                hint=f"Known: {names}.",
            )

    # -- positions ----------------------------------------------------------------------------------------------------

    async def flatten(self, account: str | None, *, by: str) -> list[str]:
        """Close every position (of one account) by exits of our own; the ids of the alerts that do it."""
        if account is not None:
            self._check_scope(Scope("account", account))
        ids = []
        for key, position in sorted(self._store.ledger.positions.values.items()):
            if not position.quantity or (account is not None and key.account != account):
                continue
            for other in self._strategies_at_work(key):  # else the exit would find nothing left to close
                await self._raise(Action.CANCEL, other, key, by)
            ids.append(await self._raise(Action.EXIT, strategy_of(position, self._settings.strategies), key, by))
        return ids

    async def cancel_order(self, cl_ord_id: str, *, by: str) -> str:
        """Have one open order cancelled; the id of the alert that does it."""
        order = find_open(self._store.ledger, cl_ord_id)
        return await self._pipeline.accept_own(cancel_signal(order, self._clock.now()), Source.OPERATOR, by)

    async def modify_order(self, cl_ord_id: str, wished: Mapping[str, str], *, by: str) -> str:
        """Have one open order changed to what is wished of its price, trigger price and quantity; the id of its alert."""
        order = find_open(self._store.ledger, cl_ord_id)
        return await self._pipeline.accept_own(change_signal(order, wished, self._clock.now()), Source.OPERATOR, by)

    async def _raise(self, action: Action, strategy: str, key: PositionKey, by: str) -> str:
        signal = own_signal(action, strategy, key, self._clock.now())
        return await self._pipeline.accept_own(signal, Source.OPERATOR, by)

    def _strategies_at_work(self, key: PositionKey) -> list[str]:
        orders = self._store.ledger.open_orders(key.account, key.symbol)
        found = {order.intent.strategy for order in orders if order.is_resting and order.intent.product == key.product}
        return sorted(found & set(self._settings.strategies))

    async def reconcile(self, account: str | None = None, *, by: str) -> Mapping[str, object]:
        """Compare our books with every broker's (or one account's) now; drift is told with both numbers.

        They agree when nothing differs, but for what a person has accepted.
        """
        if account is not None:
            self._check_scope(Scope("account", account))
        names = [account] if account is not None else list(self._settings.accounts)
        looks = await asyncio.gather(*(self._reconciler.compare_twice(name) for name in names))
        agree = all(look.readable and all(hold.accepted_by for _symbol, hold in look.drift) for look in looks)
        return {"by": by, "agree": agree, "accounts": {look.account: _told(look) for look in looks}}

    async def accept_drift(self, symbol: str, account: str | None, *, by: str, seen: str | None = None) -> list[str]:
        """Let entries in an instrument out again although positions differ, as long as they differ by exactly as much.

        Our books do not change. `seen` is the difference in the words that the person was shown: another one is not accepted.
        Returns the sentences of what was accepted; RefusedError when nothing differs.
        """
        if account is not None:
            self._check_scope(Scope("account", account))

        def accept(tx: Tx) -> list[str]:
            holds = [(key, hold) for key, hold in sorted(tx.ledger.holds.values.items()) if key[1] == symbol]
            holds = [(key, hold) for key, hold in holds if account in (None, key[0])]
            if not holds:
                raise RefusedError(RefusalCode.E_FIELD, f"No difference is known in {symbol}.", field="symbol")
            if seen is not None and any(hold.message != seen for _key, hold in holds):
                raise RefusedError(RefusalCode.E_FIELD, "The difference is another one by now. Look again.", field="symbol")
            for key, hold in holds:
                tx.put(tx.ledger.holds, key, evolve(hold, accepted_by=by))
                tx.audit(
                    AuditAction.DRIFT_ACCEPTED,
                    self._clock.now(),
                    account=key[0],
                    message=f"{hold.message} Accepted by {by}.",
                    data={"symbol": symbol, "by": by, "differences": _gap_rows(hold)},
                )
            tx.touch("alarm")
            return [hold.message for _key, hold in holds]

        return await self._store.write(accept)

    # -- tokens -------------------------------------------------------------------------------------------------------

    async def mint_token(self, request: Mapping[str, object], *, by: str) -> Mapping[str, object]:
        """A capability token and the alert message to paste into TradingView; RefusedError names a field that is wrong."""
        claims = read_request(request, self._settings, KEY_ID, self._clock.now())
        text = mint_token(claims, token_keys(self._vault)[KEY_ID])
        record = TokenRecord(
            token_id=claims.token_id,
            claims=json.dumps(shown_claims(claims)),
            created_at=self._clock.now(),
            expires_at=claims.expires_at,
        )

        def keep(tx: Tx) -> None:
            tx.put(tx.ledger.tokens, claims.token_id, record)
            tx.audit(AuditAction.TOKEN_MINTED, record.created_at, message=f"token {claims.token_id} by {by}")

        await self._store.write(keep)
        return {
            "token_id": claims.token_id,
            "url": self._settings.public_url() + WEBHOOK_PATH,
            "token": text,
            "message": alert_message(claims, text),
        }

    async def revoke_token(self, token_id: str, *, by: str) -> bool:
        """Make a token worthless from now on; False when there is none of that id."""

        def revoke(tx: Tx) -> bool:
            token = tx.ledger.tokens.get(token_id)
            if token is None:
                return False
            now = self._clock.now()
            if token.revoked_at is None:
                revoked = TokenRecord(
                    token_id=token_id,
                    claims=token.claims,
                    created_at=token.created_at,
                    expires_at=token.expires_at,
                    revoked_at=now,
                )
                tx.put(tx.ledger.tokens, token_id, revoked)
                tx.audit(AuditAction.TOKEN_REVOKED, now, message=f"token {token_id} by {by}")
            return True

        return await self._store.write(revoke)

    async def note_sign_in(self, ok: bool, peer: str) -> None:  # noqa: FBT001 - one fact, named by the method
        """Write a sign-in, or a failed one, into the audit."""
        action = AuditAction.OPERATOR_SIGNED_IN if ok else AuditAction.SIGN_IN_FAILED
        await self._store.write(lambda tx: tx.audit(action, self._clock.now(), message=f"from {peer}"))


def _told(comparison: Comparison) -> dict[str, Any]:
    return {
        "readable": comparison.readable,
        "message": comparison.message,
        "orders": comparison.orders,
        "external": [asdict(external_view(comparison.account, row)) for row in comparison.external],
        "doubles": [{"cl_ord_id": cl_ord_id, "broker_order_ids": list(ids)} for cl_ord_id, ids in comparison.doubles],
        "drift": [
            {"symbol": symbol, **row, "accepted_by": hold.accepted_by or None}
            for symbol, hold in comparison.drift
            for row in _gap_rows(hold)
        ],
    }


def _gap_rows(hold: Hold) -> list[dict[str, str]]:
    return [{"product": gap.product, "ours": to_text(gap.ours), "broker": to_text(gap.theirs)} for gap in hold.gaps]
