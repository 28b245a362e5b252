"""KiteHistory: Kite's candles as bars, as much at a time and as often as Kite allows."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from bridge.brokers.base import HistoryError, HistoryTrouble
from bridge.brokers.http_outcomes import REFUSALS, Failure
from bridge.brokers.kite.client import Answer, KiteClient, TokenSource
from bridge.core.bar import Bar, Interval
from bridge.core.clock import Clock
from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.core.login import NOT_LOGGED_IN, BrokerSession
from bridge.vault import Vault

NAMES = {
    Interval.MINUTE: "minute", Interval.MINUTES_3: "3minute", Interval.MINUTES_5: "5minute", Interval.MINUTES_10: "10minute",
    Interval.MINUTES_15: "15minute", Interval.MINUTES_30: "30minute", Interval.HOUR: "60minute", Interval.DAY: "day",
}  # fmt: skip
# Days a request may ask for. The vendor's pages do not name them; its forum and its answers do.
MOST_DAYS = {
    Interval.MINUTE: 60, Interval.MINUTES_3: 100, Interval.MINUTES_5: 100, Interval.MINUTES_10: 100,
    Interval.MINUTES_15: 200, Interval.MINUTES_30: 200, Interval.HOUR: 400, Interval.DAY: 2_000,
}  # fmt: skip
# Three requests a second (kite.trade/docs/connect/v3/exceptions), counted by calendar seconds: a little less is surely less.
GAP_S = 0.35
# Sixty days of minutes are 1.5 MB, and come from an archive.
WHOLE_S = 30.0


class KiteHistory:
    """The candles of one account, by a client and thread of its own."""

    def __init__(self, *, api_key: str, root: str, tokens: TokenSource) -> None:
        self.most_days = MOST_DAYS
        self.gap_s = GAP_S
        self._tokens = tokens
        self._client = KiteClient(api_key=api_key, root=root, tokens=tokens, whole_s=WHOLE_S)

    async def read(self, instrument: Instrument, interval: Interval, begin: date, end: date) -> list[Bar]:
        """The bars as Kite has them, those of a share adjusted for splits and bonuses; HistoryError."""
        first, last = f"{begin:%Y-%m-%d} 00:00:00", f"{end:%Y-%m-%d} 23:59:59"
        answer = await self._client.call("historical_data", instrument.token, first, last, NAMES[interval])
        if answer.data is None:
            raise self._judge(instrument.symbol, answer)
        try:
            return [_read_candle(row) for row in answer.data["candles"]]
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise HistoryError(HistoryTrouble.SYMBOL, f"Kite's candles of {instrument.symbol} cannot be understood") from None

    def close(self) -> None:
        """Begin nothing more."""
        self._client.close()

    def _judge(self, symbol: str, answer: Answer) -> HistoryError:
        if answer.failure is Failure.NOT_CONNECTED and self._tokens.token() is None:
            return HistoryError(HistoryTrouble.ENDED, self._tokens.why())
        if answer.error_type == "TokenException":
            return HistoryError(HistoryTrouble.ENDED, f"Kite has ended the session ({answer.message}): log in again")
        if answer.error_type == "PermissionException":
            return HistoryError(HistoryTrouble.ENDED, f"Kite gives this app no history: {answer.message}")
        if answer.status in REFUSALS and answer.error_type == "InputException":
            return HistoryError(HistoryTrouble.SYMBOL, f"Kite has no such bars of {symbol}: {answer.message}")
        return HistoryError(HistoryTrouble.PASSING, answer.message or f"Kite answered HTTP {answer.status}")


class StoredToken:
    """The token of the login that the store remembers, for a program beside the bridge; it writes nothing down."""

    def __init__(self, account: str, record: BrokerSession | None, *, api_key: str, vault: Vault, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._expires_at = record.expires_at if record is not None else None
        self._token = _unseal(record.sealed, api_key, vault) if record is not None and record.sealed else None

    def token(self) -> str | None:
        """The token while it lives."""
        is_alive = self._expires_at is not None and self._clock.now() < self._expires_at
        return self._token if is_alive else None

    def why(self) -> str:
        """What a person must do when there is none."""
        return "" if self.token() else f"{NOT_LOGGED_IN} to Zerodha. Log in with: bridge login {self._account}"

    def drop(self, reason: str, *, token: str | None = None) -> None:
        """Kite does not take it any more."""
        self._token = None


def _unseal(sealed: str, api_key: str, vault: Vault) -> str | None:
    try:
        content = json.loads(vault.decrypt(sealed))
        return str(content["access_token"]) if content["api_key"] == api_key else None
    except (ConfigError, ValueError, LookupError, TypeError):
        return None


def _read_candle(row: Sequence[Any]) -> Bar:
    at, *prices, volume = row[:6]
    opened, high, low, close = (Decimal(price) for price in prices)
    return Bar(at=datetime.fromisoformat(at).astimezone(UTC), open=opened, high=high, low=low, close=close, volume=int(volume))
