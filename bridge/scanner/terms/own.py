"""A user's own factor: one pure function over the last bars, known by its name."""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.scanner.terms.bars import FloatArray
from bridge.scanner.terms.term import Operand, Term, TermError, length, numeric

# Takes one (lookback, symbols) window per input, oldest row first and not to be written to; gives (symbols,).
WindowFunction = Callable[..., FloatArray]


@dataclass(frozen=True, slots=True)
class OwnFactor:
    """A registered factor; called with its inputs it makes a term."""

    name: str
    lookback: int
    compute: WindowFunction

    def __call__(self, *inputs: Operand) -> Term:
        if not inputs:
            raise TermError(f"{self.name} wants at least one term, such as {self.name}(close)")
        return Term("own", tuple(numeric(each) for each in inputs), (self.name,))


class Factors:
    """The factors of one bridge or one test; expressions that name one are read and run with it.

    `digest` names what the functions are, where they come from a file: it is part of the version of whatever uses one.
    """

    def __init__(self, digest: str = "") -> None:
        self.digest = digest
        self._known: dict[str, OwnFactor] = {}

    def add(self, name: str, *, lookback: int, compute: WindowFunction) -> OwnFactor:
        """Register a pure function under a new name; a symbol's value is known once it has had `lookback` bars."""
        if not name.isidentifier() or name in self._known:
            raise TermError(f"a factor wants a new name that is one word, not {name!r}")
        self._known[name] = OwnFactor(name, length(lookback), compute)
        return self._known[name]

    def get(self, name: str) -> OwnFactor | None:
        """The factor of this name, if there is one."""
        return self._known.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._known)
