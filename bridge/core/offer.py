"""Offer: which orders a broker takes beyond the plain ones."""

from dataclasses import dataclass

from bridge.core.enums import TimeInForce, Variety


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a broker takes; an order that is not offered is denied before it gets there."""

    varieties: frozenset[Variety] = frozenset({Variety.REGULAR})
    times_in_force: frozenset[TimeInForce] = frozenset({TimeInForce.DAY, TimeInForce.IOC})


PLAIN = Offer()
EVERYTHING = Offer(varieties=frozenset(Variety), times_in_force=frozenset(TimeInForce))
