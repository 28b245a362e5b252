"""Hold: an instrument in which nothing is opened, because the broker's position and ours differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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

    def difference(self, product: str) -> Decimal:
        """What the broker has more than we of one product."""
        gap = self.gap(product)
        return ZERO if gap is None else gap.difference

    def certain(self, product: str) -> Decimal:
        """The part of that which is no delay of the broker's: all of it where a person has accepted it, else the explained."""
        gap = self.gap(product)
        return ZERO if gap is None else gap.difference if self.accepted_by else gap.explained

    @property
    def differences(self) -> dict[str, Decimal]:
        """The difference by product; both sides may trade on without changing it."""
        return {gap.product: gap.difference for gap in self.gaps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What orders that are not ours have traded on a market day (`day`), in signed units by symbol and product.

    `orders` has it by the broker's ids, as the book told it last of each; `traded` are the sums, `settled` the part of them
    that the comparison of positions is through with, and `unseen` the symbols that this process has not compared yet.
    """

    day: int
    orders: Mapping[str, tuple[str, str, Decimal]] = field(default_factory=dict)
    traded: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    settled: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()

    @property
    def keys(self) -> set[tuple[str, str]]:
        """What there may be anything to tell of."""
        return {*self.traded, *self.settled}

    def pending(self, symbol: str, product: str) -> Decimal:
        """What was traded and has not shown in the positions yet, as far as is known."""
        return self.traded.get((symbol, product), ZERO) - self.settled.get((symbol, product), ZERO)


def explain(hold: Hold | None, product: str, difference: Decimal, pending: Decimal) -> tuple[Decimal, Decimal]:
    """The explained part of a difference, and how much of what was traded elsewhere (`pending`) has shown in it.

    Shown is what the difference has moved by since `hold`, and what stood in it unexplained: positions may be told before or
    after the orders that moved them.
    """
    old, known = (ZERO, ZERO) if hold is None else (hold.difference(product), hold.certain(product))
    moved = _part(difference - old, pending)
    shown = moved + _part(difference - known - moved, pending - moved)
    return _part(known + shown, difference), shown


def explain_first(hold: Hold | None, product: str, difference: Decimal, traded: Decimal) -> Decimal:
    """The same at the first look of a process, which does not know what of the day's trades has shown before: the larger of
    what was known and what the day explains, since both may tell of the same orders.
    """
    known, _shown = explain(hold, product, difference, ZERO)
    return max(known, _part(traded, difference), key=abs)


def _part(wanted: Decimal, whole: Decimal) -> Decimal:
    """As much of `wanted` as lies between nothing and `whole`."""
    return min(max(wanted, min(ZERO, whole)), max(ZERO, whole))


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
