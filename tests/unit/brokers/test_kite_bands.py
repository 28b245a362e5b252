"""Price bands from the loopback Kite, by the vendor's client."""

import asyncio
from decimal import Decimal

import pytest

from bridge.brokers.kite.bands import KiteBands, _read_band
from bridge.brokers.kite.client import HeldToken
from tests.support.kite import open_desk
from tests.support.samples import SBIN


def test_bands_of_what_kite_knows():
    """What it does not know is silently absent; without a session nothing is had."""
    with open_desk() as desk:
        token = HeldToken(str(desk.client.access_token))
        bands = KiteBands(root=desk.server.root, api_key=desk.box.sessions.api_key, tokens=token)
        found = asyncio.run(bands.read([SBIN, "NSE:NOBODY"]))
        assert found is not None
        assert list(found) == [SBIN]
        assert Decimal(0) < found[SBIN][0] < Decimal("812.5") < found[SBIN][1]
        token.drop("over")
        assert asyncio.run(bands.read([SBIN])) is None
        bands.close()
        assert asyncio.run(bands.read([SBIN])) is None


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(90, 110, True), (Decimal("90.5"), 110, True), (0, 0, False), (110, 90, False), ("90", "110", False), (None, 110, False)],
)
def test_what_is_no_band_is_none(low, high, found):
    """An index says 0 and 0."""
    row = {"lower_circuit_limit": low, "upper_circuit_limit": high}
    assert (_read_band(row) is not None) is found
    assert _read_band("nonsense") is None
