"""Alert: what arrived, verified, with the signal in it, until it ends."""

from dataclasses import dataclass
from datetime import datetime

from bridge.core.enums import Disposition, Source
from bridge.core.signal import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An accepted alert. `body` is what was sent with every credential blanked out; `credential` names who vouched.

    `attempts` counts processings that met a fault of ours.
    """

    alert_id: str
    received_at: datetime
    source: Source
    credential: str
    body: str
    signal: Signal
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAlert:
    """An authentic delivery that was not accepted; kept so that the trader sees it. `received_at` is aware UTC.

    `hint` is the mend that the sender is told; TradingView shows it to nobody, so the record of the refusal has it too.
    """

    alert_id: str
    received_at: datetime
    source: Source
    credential: str
    strategy: str
    symbol: str
    body: str
    code: str
    message: str
    field: str | None
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an alert ended: the disposition, the reason's code and the sentence with its numbers."""

    disposition: Disposition
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to be the first: `key` is unique in its `bucket`.

    Earlier buckets named in `lookback` are searched too, back to `since`; they never gain rows, so that search cannot race.
    `content` tells a true repetition from the same id with other content; empty when the key covers all content.
    """

    bucket: int
    key: bytes
    content: bytes
    alert_id: str
    lookback: tuple[int, ...] = ()
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The earlier alert that holds the claim."""

    alert_id: str
    content: bytes
