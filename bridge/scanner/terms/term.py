"""Term: a value that names what is computed of each symbol's bars; equal terms are one term, with one state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bridge.core.errors import ConfigError

Param = int | float | str
Operand: TypeAlias = "Term | int | float"

LONGEST = 5_000  # bars that a term may look back: twenty years of days, two weeks of minutes


class TermError(ConfigError):
    """An expression that cannot be worked with; the message says what and, for a text, where."""


# How an operator is written, and how tightly it binds; the same symbols in Python, in the text form and in `str`.
OPERATORS: dict[str, tuple[str, int]] = {
    "or": ("|", 1), "and": ("&", 2), "gt": (">", 4), "ge": (">=", 4), "lt": ("<", 4), "le": ("<=", 4),
    "add": ("+", 5), "sub": ("-", 5), "mul": ("*", 6), "div": ("/", 6),
}  # fmt: skip
_NOT, _NEG = 3, 7
_LARGEST = 1e300
MASKED = frozenset({"z", "rank", "pct", "top"})
VERDICTS = frozenset({"gt", "ge", "lt", "le", "and", "or", "not", "cross_over", "cross_under", "top"})


@dataclass(frozen=True, slots=True)
class Term:
    """A name, what it is computed from, and its numbers. Made by the functions of `library`, by operators, or from text.

    `a > b` and its like make verdicts: 1 yes, 0 no, NaN unknown. Unknown stays unknown through `&`, `|` and `~`, so that
    missing data passes no filter. `==` compares terms, not values.
    """

    name: str
    inputs: tuple["Term", ...] = ()
    params: tuple[Param, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)  # worked out once: terms are looked up at every bar

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.name, self.inputs, self.params)))

    @property
    def is_verdict(self) -> bool:
        """Is its value yes, no or unknown?"""
        return self.name in VERDICTS

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type["Term"], tuple[str, tuple["Term", ...], tuple[Param, ...]]]:
        return Term, (self.name, self.inputs, self.params)  # another process hashes its own way

    def __str__(self) -> str:
        return _write(self)[0]

    def __bool__(self) -> bool:
        raise TermError(f"`{self}` is known only when bars are: join terms with & | ~, not with and, or, not")

    def __add__(self, other: Operand) -> "Term":
        return _number("add", self, other)

    def __radd__(self, other: Operand) -> "Term":
        return _number("add", other, self)

    def __sub__(self, other: Operand) -> "Term":
        return _number("sub", self, other)

    def __rsub__(self, other: Operand) -> "Term":
        return _number("sub", other, self)

    def __mul__(self, other: Operand) -> "Term":
        return _number("mul", self, other)

    def __rmul__(self, other: Operand) -> "Term":
        return _number("mul", other, self)

    def __truediv__(self, other: Operand) -> "Term":
        return _number("div", self, other)

    def __rtruediv__(self, other: Operand) -> "Term":
        return _number("div", other, self)

    def __neg__(self) -> "Term":
        return numeric(-float(self.params[0])) if self.name == "const" else Term("neg", (numeric(self),))

    def __gt__(self, other: Operand) -> "Term":
        return _number("gt", self, other)

    def __ge__(self, other: Operand) -> "Term":
        return _number("ge", self, other)

    def __lt__(self, other: Operand) -> "Term":
        return _number("lt", self, other)

    def __le__(self, other: Operand) -> "Term":
        return _number("le", self, other)

    def __and__(self, other: "Term") -> "Term":
        return Term("and", (verdict(self), verdict(other)))

    def __or__(self, other: "Term") -> "Term":
        return Term("or", (verdict(self), verdict(other)))

    def __invert__(self) -> "Term":
        return Term("not", (verdict(self),))


def numeric(value: Operand) -> Term:
    """`value` as a term that is a number; raises TermError for a verdict or for what is no number at all."""
    if isinstance(value, bool) or not isinstance(value, Term | int | float):
        raise TermError(f"a number or a term is wanted here, not {value!r}")
    if not isinstance(value, Term):
        return Term("const", (), (constant(value),))
    if value.is_verdict:
        raise TermError(f"`{value}` is a yes or no; a number is wanted here")
    return value


def constant(value: object) -> float:
    """`value` as a plain number; raises TermError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise TermError(f"a plain number is wanted here, not {value}")
    return float(value)


def verdict(value: object) -> Term:
    """`value` as a term that says yes or no; raises TermError for a number."""
    if not isinstance(value, Term) or not value.is_verdict:
        raise TermError(f"`{value}` is a number; a yes or no is wanted here, such as a comparison")
    return value


def length(value: object, *, least: int = 1) -> int:
    """`value` as a count of bars, from `least` to LONGEST; raises TermError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LONGEST:
        raise TermError(f"a whole number of bars from {least} to {LONGEST} is wanted here, not {value}")
    return value


def _number(name: str, left: Operand, right: Operand) -> Term:
    return Term(name, (numeric(left), numeric(right)))


def _write(term: Term) -> tuple[str, int]:
    """The text of a term, and how tightly its outermost operator binds."""
    if term.name == "const":
        number = float(term.params[0])
        return (f"{number:g}" if float(f"{number:g}") == number else repr(number)), 9 if number >= 0 else _NEG
    if term.name == "field":
        return str(term.params[0]), 9
    if term.name in OPERATORS:
        symbol, binds = OPERATORS[term.name]
        # A comparison in a comparison would read as a chain, and `a - (b - c)` is not `a - b - c`.
        left, right = _within(term.inputs[0], binds + (binds == 4)), _within(term.inputs[1], binds + 1)
        return f"{left} {symbol} {right}", binds
    if term.name in ("not", "neg"):
        binds = _NOT if term.name == "not" else _NEG
        return ("~" if term.name == "not" else "-") + _within(term.inputs[0], binds), binds
    if term.name == "own":
        return f"{term.params[0]}({_list(term.inputs)})", 9
    first = 1 if term.inputs and term.name in MASKED else 0  # a mask is said last
    given = [_list(term.inputs[: first or None]), _list(term.params), _list(term.inputs[first:]) if first else ""]
    return f"{term.name}({', '.join(each for each in given if each)})", 9


def _list(values: Sequence[object]) -> str:
    return ", ".join(str(each) for each in values)


def _within(term: Term, at_least: int) -> str:
    text, binds = _write(term)
    return text if binds >= at_least else f"({text})"
