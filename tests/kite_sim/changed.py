"""What must hold of changes: each lands at Kite once, in its turn and as it was asked for, and is told as what it came to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bridge.core.reasons import Reason
from bridge.sandbox.kite.values import ENDED, Order
from tests.kite_sim.books import Books, Own

if TYPE_CHECKING:
    from tests.kite_sim.story import World

# Quantity, price and trigger; None for what an order of the type does not have.
Terms = tuple[Decimal, Decimal | None, Decimal | None]
_HAS_PRICE, _HAS_TRIGGER = ("LIMIT", "SL"), ("SL", "SL-M")


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that the bridge asked for."""

    alert_id: str
    code: str
    fields: Mapping[str, Any]

    def makes(self, before: Terms, after: Terms, filled: int, *, closes: bool) -> bool:
        """Whether it leads from these terms to those. An order that only closes grows no larger than what is held, and Kite
        makes none smaller than what has traded meanwhile.
        """
        wished = zip(("quantity", "price", "trigger_price"), before, strict=True)
        quantity, *prices = (Decimal(self.fields[name]) if name in self.fields else old for name, old in wished)
        most = max(quantity or Decimal(0), Decimal(filled))
        return list(after[1:]) == prices and (after[0] == most or (closes and after[0] < most))


def check_changes(world: "World", books: Books) -> Iterator[str]:
    """Everything about changes and about orders that were placed anew for one."""
    wishes, landed = read_wishes(world), set[str]()
    for own in books.owns.values():
        if own.is_protection or own.ord_type == "MARKET":
            continue
        for states in books.by_tag.get(own.tag, []):
            yield from check_order(own, states, wishes.get(own.cl_ord_id, []), landed)
    for name, asked in wishes.items():
        for wish in asked:
            if wish.code == Reason.MODIFIED and wish.alert_id not in landed:
                yield f"P7 the change of {name} by {wish.alert_id} is told as done, and Kite never had it"
            renewed = books.owns.get(f"{wish.alert_id}-1")
            if renewed is not None:
                yield from check_renewed(world, books, books.owns[name], renewed, wish)


def read_wishes(world: "World") -> Mapping[str, list[Wish]]:
    """What was asked of each order, in the order of asking."""
    codes = dict(world.rows("SELECT alert_id, code FROM alerts"))
    asked: dict[str, list[Wish]] = {}
    for alert_id, name in world.rows("SELECT alert_id, cl_ord_id FROM audit WHERE action = 'order_replace_asked' ORDER BY seq"):
        fields = world.sent.get(alert_id, {})
        # The same is told in the way of the alert that made the order, which may be one that had another placed anew.
        if fields.get("action") == "modify" and not name.startswith(f"{alert_id}-"):
            asked.setdefault(name, []).append(Wish(alert_id, codes[alert_id], fields))
    return asked


def terms_of(states: list[Order], own: Own) -> list[tuple[Terms, int]]:
    """The terms that an order has had at Kite, one after the other, with what had traded when they came."""
    found: list[tuple[Terms, int]] = []
    for state in states:
        price = state.price if own.ord_type in _HAS_PRICE else None
        terms = (Decimal(state.quantity), price, state.trigger_price if own.ord_type in _HAS_TRIGGER else None)
        if not found or found[-1][0] != terms:
            found.append((terms, state.filled_quantity))
    return found


def check_order(own: Own, states: list[Order], wishes: list[Wish], landed: set[str]) -> Iterator[str]:
    """Each change of an order at Kite is a wish of its own, in their order, and told as done; both sides end with the same."""
    (before, _filled), *changes = terms_of(states, own)
    left = list(wishes)
    for terms, filled in changes:
        fitting = [wish for wish in left if wish.makes(before, terms, filled, closes=own.reduce_only)]
        wish = next((wish for wish in fitting if wish.code == Reason.MODIFIED), fitting[0] if fitting else None)
        if wish is None:
            yield f"P2 {own.cl_ord_id} became {show(terms)} at Kite, which nobody asked for then"
            return
        if wish.code != Reason.MODIFIED:
            yield f"P7 the change of {own.cl_ord_id} by {wish.alert_id} was made and is told as {wish.code}"
        landed.add(wish.alert_id)
        left, before = left[left.index(wish) + 1 :], terms
    ours = (own.order_qty, own.price, own.trigger_price)
    theirs = (before[0], before[1] or own.price, before[2] or own.trigger_price)
    if ours != theirs:
        yield f"P7 {own.cl_ord_id} has {show(ours)} here and {show(theirs)} there"


def check_renewed(world: "World", books: Books, old: Own, new: Own, wish: Wish) -> Iterator[str]:
    """An order that was cancelled to be placed anew: the two never lived at once nor fill more than was wished, and a cancel
    meant both.
    """
    there, anew = books.by_tag.get(old.tag, []), books.by_tag.get(new.tag, [])
    if not there or not anew:
        return
    if there[0][-1].status not in ENDED or anew[0][0].at < there[0][-1].at:
        yield f"P2 {new.cl_ord_id} was placed while {old.cl_ord_id} lived, which it replaces"
    most = Decimal(wish.fields.get("quantity", there[0][-1].quantity))
    if there[0][-1].filled_quantity + anew[0][0].quantity > most:
        yield f"P2 {new.cl_ord_id} and {old.cl_ord_id} are for more than {most}"
    ended = dict(world.rows("SELECT alert_id, ended_at FROM alerts"))
    later = list(world.sent)[list(world.sent).index(wish.alert_id) + 1 :]
    for alert_id in later:
        fields = world.sent[alert_id]
        if (
            fields["action"] == "cancel"
            and fields.get("order", old.cl_ord_id) == old.cl_ord_id
            and ended[alert_id] < new.created_at
        ):
            yield f"P2 {old.cl_ord_id} was cancelled by {alert_id} and came back as {new.cl_ord_id}"


def show(terms: tuple[Decimal | None, ...]) -> str:
    """Terms in words."""
    return " ".join(str(value) for value in terms if value is not None)
