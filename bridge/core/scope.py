"""Trading state: what may leave, by scope; the strictest scope wins."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from bridge.core.enums import TradingMode


class Scope(NamedTuple):
    """Global when both are empty; else one account or one strategy."""

    kind: str = "global"
    name: str = ""

    def __str__(self) -> str:
        return self.kind if self.kind == "global" else f"{self.kind} {self.name}"


GLOBAL = Scope()


@lru_cache(maxsize=1_000)
def account_scope(name: str) -> Scope:
    """The scope of one account."""
    return Scope("account", name)


@lru_cache(maxsize=1_000)
def strategy_scope(name: str) -> Scope:
    """The scope of one strategy."""
    return Scope("strategy", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingState:
    """The mode of a scope, since when, by whom and why.

    `cancels`: while it is halted no entry may rest at the broker either; what turns up there is cancelled.
    """

    scope: Scope
    mode: TradingMode
    since: datetime
    by: str
    message: str = ""
    cancels: bool = False
