"""Price bands: asked for in the background, known for a while, and unknown rather than old."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from bridge.market.bands import MAX_ASKED, Bands
from tests.support.clocks import NOON, StillClock

BAND = (Decimal(90), Decimal(110))


class Asked:
    """A source that answers as it is told, and what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []
        self.answer: Mapping[str, tuple[Decimal, Decimal]] | None = {"NSE:SBIN": BAND}
        self.error: Exception | None = None

    async def __call__(self, symbols: Sequence[str]) -> Mapping[str, tuple[Decimal, Decimal]] | None:
        self.calls.append(symbols)
        if self.error is not None:
            raise self.error
        return self.answer


class Case:
    """Bands with one source, under a clock that stands."""

    def __init__(self, *used: str) -> None:
        self.clock, self.source = StillClock(), Asked()
        self.faults: list[str] = []
        self.bands = Bands(clock=self.clock, used=lambda: used, on_fault=lambda where, _error: self.faults.append(where))
        self.closed: list[str] = []
        self.bands.add_source(self.source, lambda: self.closed.append("first"))

    def of(self, symbol: str = "NSE:SBIN") -> tuple[Decimal, Decimal] | None:
        return self.bands.of(symbol, self.clock.now())

    async def tick(self, **later: float) -> None:
        self.clock.move(**later)
        self.bands.tick()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_a_band_is_asked_for_at_its_first_question_and_known_at_the_next():
    """Nothing waits for a broker while an alert is judged."""

    async def story() -> None:
        case = Case()
        assert case.of() is None
        await case.tick()
        assert (case.of(), case.source.calls) == (BAND, [["NSE:SBIN"]])
        await case.tick(seconds=10)
        assert len(case.source.calls) == 1

    asyncio.run(story())


def test_what_is_held_or_ordered_is_asked_for_unasked():
    """First, before what alerts asked about; and again after five minutes, since bands are moved during the day."""

    async def story() -> None:
        case = Case("NSE:TCS")
        case.of()
        await case.tick()
        assert case.source.calls == [["NSE:TCS", "NSE:SBIN"]]
        assert case.of("NSE:TCS") is None, "the broker does not know it, and that is not asked again at every turn"
        await case.tick(minutes=5)
        assert len(case.source.calls) == 2

    asyncio.run(story())


def test_an_old_band_is_unknown():
    """After a quarter of an hour, and on the next day, however short the night."""

    async def story() -> None:
        case = Case()
        case.of()
        await case.tick()
        case.source.answer = None
        assert case.bands.of("NSE:SBIN", NOON + timedelta(minutes=15)) == BAND
        assert case.bands.of("NSE:SBIN", NOON + timedelta(minutes=15, microseconds=1)) is None

    asyncio.run(story())


def test_a_source_that_gives_nothing_or_fails_is_left_alone_for_a_minute():
    """An app without market data is refused every time; a fault is counted."""

    async def story() -> None:
        for answer, error, faults in ((None, None, []), (None, ValueError(), ["bands"])):
            case = Case("NSE:SBIN")
            case.source.answer, case.source.error = answer, error
            await case.tick()
            await case.tick(seconds=59)
            assert (len(case.source.calls), case.of(), case.faults) == (1, None, faults)
            await case.tick(seconds=1)
            assert len(case.source.calls) == 2

    asyncio.run(story())


def test_the_next_source_is_asked_when_one_gives_nothing():
    """Another account's session may be the one that lives."""

    async def story() -> None:
        case, second = Case("NSE:SBIN"), Asked()
        case.source.answer = None
        case.bands.add_source(second, lambda: None)
        await case.tick()
        assert (case.of(), len(second.calls)) == (BAND, 1)

    asyncio.run(story())


def test_questions_are_bounded():
    """The latest stay; without a source nothing is remembered."""

    async def story() -> None:
        case = Case()
        for number in range(MAX_ASKED + 1):
            case.of(f"NSE:A{number}")
        await case.tick()
        (asked,) = case.source.calls
        assert (len(asked), asked[0], "NSE:A0" in asked) == (MAX_ASKED, f"NSE:A{MAX_ASKED}", False)
        await case.bands.stop()
        assert case.closed == ["first"]
        empty = Bands(clock=case.clock, used=lambda: ["NSE:SBIN"], on_fault=lambda _where, _error: None)
        empty.tick()
        assert empty.of("NSE:SBIN", NOON) is None

    asyncio.run(story())
