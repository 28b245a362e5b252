"""The venue's adapter passes the cards of every broker, against a venue in a process of its own."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from bridge.brokers.venue.adapter import VenueBroker
from bridge.core.clock import SystemClock
from bridge.core.report import Report
from tests.contract.broker_cards import CARDS, Card, Rig, deal
from tests.contract.rigs import AdapterRig
from tests.support.samples import SBIN
from tests.support.server import ServedVenue

START = "1000"


class VenueRig(AdapterRig):
    """An account of its own at the venue that all cards share."""

    def __init__(self, venue: ServedVenue, number: int) -> None:
        self.account = f"card-{number}"
        self.symbol = SBIN
        self.reports: list[Report] = []
        self._venue = venue
        self._numbers = count(1)
        self._prices = {SBIN: Decimal(START)}
        self.broker = VenueBroker(self.account, root=venue.root, token=None, latest_price=self._prices.get, clock=SystemClock())

    async def open(self) -> None:
        self._venue.price(START)
        await super().open()

    async def move_price(self, price: str) -> None:
        self._prices[self.symbol] = Decimal(price)
        await self.broker.on_price(self.symbol, Decimal(price))


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedVenue]:
    folder: Path = tmp_path_factory.mktemp("venue")
    with ServedVenue(folder) as served:
        yield served


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(count(1))


@pytest.fixture
def make_rig(venue: ServedVenue, numbers: Iterator[int]) -> Callable[[], Rig]:
    """A fresh account for each card."""
    return lambda: VenueRig(venue, next(numbers))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.__name__)
def test_venue_broker_passes(card: Card, make_rig: Callable[[], Rig]):
    """One card each; its docstring is the rule."""
    deal(card, make_rig)
