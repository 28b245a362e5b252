"""By what a repetition is known: the three kinds of claims, and when two deliveries share one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.core.enums import Source
from bridge.intake.dedupe import content_key, make_claim
from bridge.intake.native import read_fields
from bridge.intake.verify import Credential
from tests.unit.intake.builders import NOW, SENT, by_token, make_delivery, make_fields, make_settings, read

DAY = (NOW - datetime(1970, 1, 1, tzinfo=UTC)).days
SETTINGS = make_settings(webhook={"duplicate_window_s": 120, "duplicate_days": 3})
SIGNED_AS = Credential(name="signed:1", source=Source.SIGNED, idempotency_key="msg-1")


def claim(fields, *, at=NOW, credential=None, body=None):
    body = body or json.dumps(fields).encode()
    strategy = {"strategy": "ema-cross"} if credential is SIGNED_AS else {}
    return make_claim(
        delivery=make_delivery(body, received_at=at),
        fields=read_fields(body),
        credential=credential or by_token(),
        signal=read(fields | strategy, credential, received_at=at),
        settings=SETTINGS,
        alert_id="A1",
    )


def same(one, other):
    """Whether the second is found to be the first again, as the store looks it up."""
    return one.key == other.key and (one.bucket == other.bucket or one.bucket in other.lookback)


class TestById:
    """An explicit id names the alert for days."""

    def test_claim_has_the_day_of_receipt_and_looks_back_for_days(self):
        """And a day ahead: a clock may be set back over midnight."""
        made = claim(make_fields(id="x"))
        assert (made.bucket, made.alert_id, made.since) == (DAY, "A1", None)
        assert made.lookback == (DAY + 1, DAY - 1, DAY - 2, DAY - 3)
        assert len(made.content) == 16

    @pytest.mark.parametrize(("days", "is_same"), [(0, True), (1, True), (3, True), (4, False), (-1, True), (-2, False)])
    def test_same_id_is_the_same_alert_for_as_many_days(self, days, is_same):
        """duplicate_days of the settings."""
        first = claim(make_fields(id="x"))
        assert same(first, claim(make_fields(id="x", time=None), at=NOW + timedelta(days=days))) is is_same

    def test_token_and_time_are_not_content(self):
        """A retry may be signed, stamped and filled in anew."""
        first = claim(make_fields(id="x", token="v1.a.b"))
        again = claim(make_fields(id="x", token="v1.c.d", time="2026-11-20T04:15:03Z"))
        assert same(first, again)
        assert first.content == again.content

    def test_order_of_fields_and_quotes_around_numbers_are_not_content(self):
        """The same alert may be written anew."""
        fields = make_fields(id="x", quantity=10)
        turned = dict(reversed(make_fields(id="x", quantity="10").items()))
        assert claim(fields).content == claim(turned).content

    @pytest.mark.parametrize("change", [{"quantity": "11"}, {"action": "sell"}, {"comment": "y"}, {"price": "5"}])
    def test_other_content_shows(self, change):
        """The same id with other content is a conflict, not a duplicate."""
        first, other = claim(make_fields(id="x")), claim(make_fields(id="x") | change)
        assert same(first, other)
        assert first.content != other.content

    def test_other_id_is_another_alert(self):
        """Whatever else is equal."""
        assert not same(claim(make_fields(id="x")), claim(make_fields(id="y")))

    def test_ids_of_two_strategies_do_not_meet(self):
        """Each names its own alerts."""
        first = claim(make_fields(id="x"))
        assert not same(first, claim(make_fields(id="x"), credential=by_token(strategy="sized")))

    def test_webhook_id_is_the_id_of_a_signed_delivery(self):
        """A retry has a new timestamp and signature, and the same id and body."""
        first = claim(make_fields(strategy="ema-cross"), credential=SIGNED_AS)
        later = claim(make_fields(strategy="ema-cross"), credential=SIGNED_AS, at=NOW + timedelta(seconds=30))
        assert same(first, later)
        assert first.content == later.content

    def test_id_in_the_body_goes_before_the_webhook_id(self):
        """The alert's own name is the stronger one."""
        fields = make_fields(strategy="ema-cross", id="x")
        one = claim(fields, credential=SIGNED_AS)
        assert same(one, claim(fields, credential=replace(SIGNED_AS, idempotency_key="msg-2")))


class TestByBody:
    """A body with its own time names itself."""

    def test_claim_has_the_day_of_the_alerts_own_time(self):
        """It is there once and for all; there is nothing to look back to."""
        made = claim(make_fields())
        assert (made.bucket, made.content, made.lookback, made.since) == (DAY, b"", (), None)
        midnight = datetime(2026, 11, 20, tzinfo=UTC)
        late = claim(make_fields(time="2026-11-19T23:59:59Z"), at=midnight)
        assert late.bucket == DAY - 1

    def test_same_bytes_are_the_same_alert_whenever_they_come(self):
        """Re-sent after midnight too: the bucket is not the day of receipt."""
        just_before = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
        fields = make_fields(time="2026-11-20T23:59:58Z")
        assert same(claim(fields, at=just_before), claim(fields, at=just_before + timedelta(seconds=10)))

    def test_any_other_byte_is_another_alert(self):
        """Two fills in one second differ in something."""
        assert not same(claim(make_fields()), claim(make_fields(quantity="11")))
        spaced = json.dumps(make_fields()).encode() + b" "
        assert not same(claim(make_fields()), claim(make_fields(), body=spaced))

    def test_time_as_a_number_counts_as_a_time(self):
        """Pine's own timenow."""
        assert claim(make_fields(time=1795148102000)).lookback == ()


class TestByWindow:
    """A body without a time may repeat itself in earnest."""

    @pytest.mark.parametrize("empty", [{}, {"time": ""}, {"time": None}])
    def test_claim_has_the_window_of_receipt_and_looks_to_its_neighbours(self, empty):
        """Back to one whole window before."""
        made = claim(make_fields(time=None) | empty)
        bucket = int(NOW.timestamp()) // 120
        assert (made.bucket, made.lookback) == (bucket, (bucket + 1, bucket - 1))
        assert made.since == NOW - timedelta(seconds=120)
        assert made.content == b""

    @pytest.mark.parametrize("gap_s", [0, 5, 24, 119, 120])
    def test_same_bytes_within_the_window_share_a_bucket_or_a_look_back(self, gap_s):
        """Wherever the borders of buckets lie."""
        for offset in range(0, 240, 7):
            at = NOW + timedelta(seconds=offset)
            first = claim(make_fields(time=None), at=at)
            assert same(first, claim(make_fields(time=None), at=at + timedelta(seconds=gap_s)))


def test_kinds_of_claims_never_meet():
    """The kind is part of the key."""
    made = [claim(make_fields(id=SENT)), claim(make_fields()), claim(make_fields(time=None))]
    assert len({one.key for one in made}) == 3


def test_content_key_tells_deliveries_of_one_millisecond_apart():
    """By body, by sender, and by the sender's own id."""
    keys = {
        content_key(b"a", by_token()),
        content_key(b"b", by_token()),
        content_key(b"a", SIGNED_AS),
        content_key(b"a", replace(SIGNED_AS, idempotency_key="msg-2")),
        content_key(b"a", replace(SIGNED_AS, idempotency_key=None)),
    }
    assert len(keys) == 5
    assert content_key(b"a", by_token()) == content_key(b"a", by_token())
