"""Price bands of the loopback Kite's quotes: known to the rule, also through the vendor's client."""

import asyncio
from pathlib import Path

from bridge.core.instrument import Instrument
from tests.support.kite_bridge import Traded, hurry, tell
from tests.support.samples import SBIN
from tests.support.waiting import until


def test_an_entry_outside_the_band_is_denied_once_the_band_is_known(tmp_path: Path, monkeypatch) -> None:
    """The first question asks for it; then the limit price must lie within."""
    hurry(monkeypatch)

    async def story(traded: Traded) -> None:
        rig = traded.rig
        instrument = rig.bridge.catalog.get(SBIN)
        assert isinstance(instrument, Instrument)
        await until(lambda: rig.bridge.rulings.of(instrument, rig.clock.now()).high, "the band")
        ruling = rig.bridge.rulings.of(instrument, rig.clock.now())
        assert ruling.low is not None
        assert ruling.low < 812.5
        far = {"action": "buy", "quantity": "1", "order_type": "LIMIT", "price": "10"}
        denied = await rig.ended(await rig.accept(**far))
        assert (denied.code, "price band" in denied.message) == ("PRICE_BAND", True)
        await asyncio.sleep(0)

    tell(tmp_path, story)
