"""Halts: what a trading state lets out, asked when an order is judged and again right before it is sent."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from bridge.core.clock import IST
from bridge.core.decision import Denied
from bridge.core.enums import TradingMode
from bridge.core.reasons import Reason
from bridge.core.scope import Scope, TradingState, account_scope
from bridge.core.values import evolve


class HaltCommand(StrEnum):
    """What a person or a rule may ask of a scope."""

    HALT = "halt"
    HALT_ALL = "halt --all"
    RESUME = "resume"


MODES = {
    HaltCommand.HALT: TradingMode.REDUCING,
    HaltCommand.HALT_ALL: TradingMode.HALTED,
    HaltCommand.RESUME: TradingMode.ACTIVE,
}


def may_send(states: Iterable[TradingState], *, reduce_only: bool) -> Denied | None:
    """None when an order may leave under these states; the strictest of them wins, in whatever order they come."""
    for state in states:
        if state.mode is TradingMode.HALTED or (state.mode is TradingMode.REDUCING and not reduce_only):
            return _halted(state)
    return None


def _halted(state: TradingState) -> Denied:
    lets_out = "only exits leave" if state.mode is TradingMode.REDUCING else "no order leaves"
    why = f", {state.message}" if state.message else ""
    since = f"{state.mode} since {state.since.astimezone(IST):%d %b %H:%M} IST by {state.by}"
    return Denied(
        reason=Reason.HALTED,
        message=f"Trading is halted ({state.scope}, {since}{why}): {lets_out} until somebody resumes it.",
        scope=str(state.scope),
        limit=TradingMode.ACTIVE,
        observed=state.mode,
    )


def next_state(
    scope: Scope,
    command: HaltCommand,
    *,
    current: TradingState | None,
    at: datetime,
    by: str,
    message: str = "",
    cancels: bool = False,
) -> TradingState:
    """The state of `scope` after a command; a halt never loosens a stricter one, only a resume does."""
    mode = MODES[command]
    if current is None or command is HaltCommand.RESUME:
        return TradingState(scope=scope, mode=mode, since=at, by=by, message=message, cancels=cancels)
    cancels = cancels or current.cancels
    if current.mode.strictness >= mode.strictness:
        return current if cancels is current.cancels else evolve(current, cancels=cancels)
    return TradingState(scope=scope, mode=mode, since=at, by=by, message=message, cancels=cancels)


def cancels_entries(states: Iterable[TradingState]) -> TradingState | None:
    """The state, if any, under which no order that adds exposure may rest at the broker."""
    return next((state for state in states if state.cancels and state.mode is not TradingMode.ACTIVE), None)


def starting_state(account: str, *, live: bool, at: datetime) -> TradingState:
    """The state of an account never seen before: with real money only exits leave until a person resumes it."""
    if not live:
        return TradingState(scope=account_scope(account), mode=TradingMode.ACTIVE, since=at, by="bridge")
    return TradingState(
        scope=account_scope(account),
        mode=TradingMode.REDUCING,
        since=at,
        by="bridge",
        message="a live account waits for a person to resume it",
    )
