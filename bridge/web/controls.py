"""The trading state as the page tells it, and the buttons that change it: each says what it will do before it does it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.core.enums import TradingMode
from bridge.core.scope import GLOBAL, Scope, TradingState, account_scope, strategy_scope
from bridge.web.contexts import Chip
from bridge.web.text import short_time

MODE_CHIPS: dict[TradingMode, Chip] = {
    TradingMode.ACTIVE: Chip(text="trading", tone="good"),
    TradingMode.REDUCING: Chip(text="exits only", tone="warn"),
    TradingMode.HALTED: Chip(text="stopped", tone="bad"),
}
HEADLINES: dict[TradingMode, tuple[str, str]] = {
    TradingMode.ACTIVE: ("Trading is on", "Every order that the risk engine approves leaves."),
    TradingMode.REDUCING: ("Trading is halted", "Only exits leave. No order that adds exposure is sent."),
    TradingMode.HALTED: ("Everything is stopped", "Nothing leaves but cancels: no entries and no exits."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One button with its question. `action` is the form's address, `stop_all` and `cancel` its fields."""

    ident: str
    action: str
    stop_all: bool
    kind: str
    name: str
    label: str
    question: str
    confirm: str
    tone: str
    cancel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeLine:
    """The state of an account or a strategy, as set for itself."""

    kind: str
    name: str
    chip: Chip
    note: str
    controls: tuple[Control, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePart:
    """The trading state: the global one at the top, then the scopes that are stricter, then the rest."""

    mode: str
    tone: str
    headline: str
    sentence: str
    note: str
    controls: tuple[Control, ...]
    limited: tuple[ScopeLine, ...]
    others: tuple[ScopeLine, ...]


def make_state(states: Sequence[TradingState], accounts: Iterable[str], strategies: Iterable[str], now: datetime) -> StatePart:
    """Everything about what may leave."""
    by_scope = {state.scope: state for state in states}
    scopes = [*map(account_scope, accounts), *map(strategy_scope, strategies)]
    lines = [_scope_line(scope, by_scope.get(scope), now) for scope in scopes]
    current = by_scope.get(GLOBAL)
    mode = current.mode if current else TradingMode.ACTIVE
    headline, sentence = HEADLINES[mode]
    is_limited = {scope.kind + scope.name for scope in scopes if _mode(by_scope.get(scope)) is not TradingMode.ACTIVE}
    tone = MODE_CHIPS[mode].tone
    if mode is TradingMode.ACTIVE and is_limited:
        tone, headline = "warn", "Trading is on in part"
        sentence = "Orders that the risk engine approves leave, with the exceptions below."
    return StatePart(
        mode=mode.value,
        tone=tone,
        headline=headline,
        sentence=sentence,
        note=_note(current, now),
        controls=_controls(GLOBAL, current),
        limited=tuple(line for line in lines if line.kind + line.name in is_limited),
        others=tuple(line for line in lines if line.kind + line.name not in is_limited),
    )


def scope_of(kind: str, name: str) -> Scope | None:
    """The scope that a form names; None when there is none of that kind."""
    if kind == "account" and name:
        return account_scope(name)
    if kind == "strategy" and name:
        return strategy_scope(name)
    return GLOBAL if kind in ("", "global") and not name else None


def _mode(state: TradingState | None) -> TradingMode:
    return state.mode if state else TradingMode.ACTIVE


def _scope_line(scope: Scope, state: TradingState | None, now: datetime) -> ScopeLine:
    mode = _mode(state)
    return ScopeLine(
        kind=scope.kind,
        name=scope.name,
        chip=MODE_CHIPS[mode],
        note=_note(state, now),
        controls=_controls(scope, state),
    )


def _note(state: TradingState | None, now: datetime) -> str:
    if state is None:
        return ""
    cancels = " Entries that rest are cancelled." if state.cancels else ""
    note = f"Since {short_time(state.since, now)}, by {state.by}.{cancels}"
    return f"{note} {state.message[:1].upper()}{state.message[1:]}" if state.message else note


def _controls(scope: Scope, state: TradingState | None) -> tuple[Control, ...]:
    halt, cancel, stop, resume = _halt(scope), _cancel(scope), _stop(scope), _resume(scope)
    cancels = () if state is not None and state.cancels else (cancel,)
    return {
        TradingMode.ACTIVE: (halt, cancel, stop),
        TradingMode.REDUCING: (resume, *cancels, stop),
        TradingMode.HALTED: (resume, *cancels),
    }[_mode(state)]


def _where(scope: Scope) -> str:
    return "" if scope == GLOBAL else f" for {scope}"


def _halt(scope: Scope) -> Control:
    question = f"From now on only exits leave{_where(scope)}. Orders already at the broker stay there."
    return Control(
        ident=f"halt-{scope.kind}-{scope.name}",
        action="/halt",
        stop_all=False,
        kind=scope.kind,
        name=scope.name,
        label="Halt",
        question=question,
        confirm="Halt now",
        tone="warn",
    )


def _cancel(scope: Scope) -> Control:
    question = f"From now on only exits leave{_where(scope)}, and entries that rest at the broker are cancelled."
    return Control(
        ident=f"cancel-{scope.kind}-{scope.name}",
        action="/halt",
        stop_all=False,
        cancel=True,
        kind=scope.kind,
        name=scope.name,
        label="Halt and cancel",
        question=question,
        confirm="Halt and cancel now",
        tone="warn",
    )


def _stop(scope: Scope) -> Control:
    return Control(
        ident=f"stop-{scope.kind}-{scope.name}",
        action="/halt",
        stop_all=True,
        kind=scope.kind,
        name=scope.name,
        label="Stop everything" if scope == GLOBAL else "Stop",
        question=f"From now on nothing leaves{_where(scope)}, exits neither. Open positions stay open.",
        confirm="Stop everything now" if scope == GLOBAL else "Stop now",
        tone="bad",
    )


def _resume(scope: Scope) -> Control:
    return Control(
        ident=f"resume-{scope.kind}-{scope.name}",
        action="/resume",
        stop_all=False,
        kind=scope.kind,
        name=scope.name,
        label="Resume",
        question=f"From now on entries leave again{_where(scope)}. What was denied meanwhile is not made up for.",
        confirm="Resume now",
        tone="good",
    )
