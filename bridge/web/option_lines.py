"""The lines of options: volatility and Greeks as text, a dash where they cannot be told."""

from dataclasses import dataclass

from bridge.options import OptionView
from bridge.web.text import NOTHING, quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionLine:
    """An option that is held; `message` tells what the forward rests on, or what is missing."""

    symbol: str
    quantity: str
    volatility: str
    delta: str
    gamma: str
    theta: str
    vega: str
    message: str


def make_option(view: OptionView) -> OptionLine:
    """The line of an option."""
    return OptionLine(
        symbol=view.symbol,
        quantity=quantity(view.quantity),
        volatility=NOTHING if view.volatility is None else f"{view.volatility:.2%}",
        delta=_number(view.delta, 3),
        gamma=_number(view.gamma, 6),
        theta=_number(view.theta, 2),
        vega=_number(view.vega, 2),
        message=view.message,
    )


def _number(value: float | None, places: int) -> str:
    return NOTHING if value is None else f"{value:+.{places}f}"
