"""Hold: an instrument in which nothing is opened, because the broker's position and ours differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from bridge.core.money import ZERO, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One product in which the net quantities differ: signed units by our books and by the broker's.

    `explained` is the part of the difference that is no delay of the broker's: what orders placed elsewhere have made of it, by
    the broker's own book, or a person had accepted.
    """

    product: str
    ours: Decimal
    theirs: Decimal
    explained: Decimal = ZERO

    @property
    def difference(self) -> Decimal:
        """What the broker has more than we."""
        return self.theirs - self.ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why entries wait, in words and numbers. `accepted_by` names who let them go while the difference stays as it is."""

    message: str
    gaps: tuple[Gap, ...] = ()
    accepted_by: str = ""

    def gap(self, product: str) -> Gap | None:
        """What differs in one product; None when it agrees."""
        return next((gap for gap in self.gaps if gap.product == product), None)

    @property
    def differences(self) -> dict[str, Decimal]:
        """The difference by product; both sides may trade on without changing it."""
        return {gap.product: gap.difference for gap in self.gaps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What orders that are not ours have traded on a market day (`day`), in signed units by symbol and product.

    `traded` is as the broker's book told it last, `compared` as of the last look at which positions were compared.
    """

    day: int
    traded: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    compared: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)

    def since(self, symbol: str, product: str) -> Decimal:
        """What was traded since positions were compared."""
        return self.traded.get((symbol, product), ZERO) - self.compared.get((symbol, product), ZERO)


def explain(gap: Gap, hold: Hold | None, traded: Decimal, *, is_first: bool) -> Gap:
    """The gap with what explains it: as much as was known of it before (`hold`), and what was `traded` elsewhere since.

    With the first look of a process nobody knows since when: a difference that is the same as before is explained as before.
    """
    before, known = None if hold is None else hold.gap(gap.product), traded
    if before is not None and hold is not None:
        known = before.difference if hold.accepted_by else before.explained
        if not is_first or before.difference != gap.difference:
            known += traded
    return replace(gap, explained=min(max(known, min(ZERO, gap.difference)), max(ZERO, gap.difference)))


def find_gaps(ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> tuple[Gap, ...]:
    """The products of one instrument whose quantities differ, by name; a product that one side does not know is flat there."""
    pairs = [(name, ours.get(name, ZERO), theirs.get(name, ZERO)) for name in sorted({*ours, *theirs})]
    return tuple(Gap(product=name, ours=mine, theirs=broker) for name, mine, broker in pairs if mine != broker)


def make_hold(symbol: str, gaps: tuple[Gap, ...], accepted_by: str = "") -> Hold:
    """The hold of these differences, with the sentence that names both numbers of every product."""
    mine = _listed((gap.product, gap.ours) for gap in gaps)
    broker = _listed((gap.product, gap.theirs) for gap in gaps)
    return Hold(message=f"{symbol}: we hold {mine}, the broker says {broker}.", gaps=gaps, accepted_by=accepted_by)


def _listed(quantities: Iterable[tuple[str, Decimal]]) -> str:
    return " and ".join(f"{to_text(quantity)} {product}" for product, quantity in quantities)
