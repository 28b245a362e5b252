"""Hold: an instrument in which nothing is opened, because the broker's position and ours differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from bridge.core.money import ZERO, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One product in which the net quantities differ: signed units by our books and by the broker's."""

    product: str
    ours: Decimal
    theirs: Decimal

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

    @property
    def differences(self) -> dict[str, Decimal]:
        """The difference by product; both sides may trade on without changing it."""
        return {gap.product: gap.difference for gap in self.gaps}


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
