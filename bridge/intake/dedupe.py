"""Dedupe: by what a second delivery of the same alert is known."""

import json
from datetime import datetime, timedelta

from bridge.core.alert import Claim
from bridge.core.clock import to_us
from bridge.core.ids import fingerprint
from bridge.core.signal import Signal
from bridge.intake.fields import Fields, is_absent
from bridge.intake.validate import read_id
from bridge.intake.verify import Credential, Delivery
from bridge.settings import Settings

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
# A retry may carry another token, id or time and still be the same alert.
_NOT_CONTENT = frozenset({"token", "id", "time"})
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def content_key(body: bytes, credential: Credential) -> bytes:
    """What an alert's id is made from, besides its time: different deliveries of one millisecond differ in it."""
    return fingerprint(b"alert", credential.name.encode(), (credential.idempotency_key or "").encode(), body)


def make_claim(
    *, delivery: Delivery, fields: Fields, credential: Credential, signal: Signal, settings: Settings, alert_id: str
) -> Claim:
    """The claim of an alert, by the strongest name it has.

    An id (the body's, else a signed delivery's webhook-id) names it for days, whatever else changes. A body with
    its own time names itself. A body without one may repeat itself in earnest, so it is taken for the same alert
    only within the duplicate window. The kind of name is part of the key, so buckets of two kinds never meet.
    """
    strategy = signal.strategy.encode()
    name = read_id(fields) or credential.idempotency_key
    if name is not None:
        key = fingerprint(b"id", strategy, name.encode())
        return _claim_by_id(fields, key, delivery.received_at, settings.webhook.duplicate_days, alert_id)
    if not is_absent(fields.get("time")):
        key = fingerprint(b"body", strategy, delivery.body)
        return Claim(bucket=_day(signal.signal_at), key=key, content=b"", alert_id=alert_id)
    window_s = settings.webhook.duplicate_window_s
    bucket = to_us(delivery.received_at) // (window_s * _SECOND_US)
    return Claim(
        bucket=bucket,
        key=fingerprint(b"win", strategy, delivery.body),
        content=b"",
        alert_id=alert_id,
        lookback=(bucket + 1, bucket - 1),  # the one to come is in use already when the clock is set back
        since=delivery.received_at - timedelta(seconds=window_s),
    )


def _claim_by_id(fields: Fields, key: bytes, received_at: datetime, days: int, alert_id: str) -> Claim:
    day = _day(received_at)
    content = _canonical({name: value for name, value in fields.items() if name not in _NOT_CONTENT})
    return Claim(
        bucket=day,
        key=key,
        content=fingerprint(content.encode()),
        alert_id=alert_id,
        lookback=(day + 1, *range(day - 1, day - 1 - days, -1)),
    )


def _day(at: datetime) -> int:
    return to_us(at) // _DAY_US
