"""Digests: nothing is passed over in silence, and no storm becomes more than a short message."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.login import NOT_LOGGED_IN
from bridge.core.news import KINDS, NEWS, News, NewsKind
from bridge.core.reasons import AuditAction
from bridge.notify.digest import MAX_LINES, Memory, make_digest

NOON = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
WINDOW = timedelta(minutes=10)
actions = st.sampled_from(sorted(NEWS))


def make(seq: int, action: AuditAction = AuditAction.ALARM_RAISED, message: str = "Odd.", **values: str) -> News:
    given = {"account": "ravi", "code": "", **values}
    return News(seq=seq, at=NOON, action=action, message=message, **given)


@given(st.lists(st.lists(st.integers(0, 5), max_size=30), max_size=6))
def test_every_piece_of_news_is_told_or_counted(batches):
    """However it comes in portions: what is told and the counts that follow add up to what happened."""
    memory: Memory = {}
    now, told, counted, seq = NOON, 0, 0, 0
    for batch in [*batches, []]:
        news = [make(seq + place, message=f"text {number}") for place, number in enumerate(batch)]
        seq += len(news)
        now += WINDOW if not batch else timedelta(minutes=1)
        digest = make_digest(news, memory, now, WINDOW)
        assert len(digest.lines) <= MAX_LINES + 1
        for line in digest.lines:
            again = line.partition("(again ")[2].split(" ")[0]
            counted += int({"": "0", "once": "1"}.get(again, again))
            told += not again
        memory = digest.memory
    assert told + counted == seq
    assert not [one for one in memory.values() if one.again]


@given(st.lists(st.tuples(actions, st.text(max_size=400)), max_size=60))
def test_a_message_stays_short_and_begins_with_the_most_pressing(given_news):
    """Whatever the broker wrote; what has no room is counted."""
    news = [make(seq, action, message) for seq, (action, message) in enumerate(given_news)]
    digest = make_digest(news, {}, NOON, WINDOW)
    different = [*{one.text for one in news if one.may_storm}, *(one.text for one in news if not one.may_storm)]
    assert len(digest.body("https://bridge.example.org")) < 2_000
    if len(different) > MAX_LINES:
        assert digest.lines[-1] == f"… and {len(different) - MAX_LINES} more; the status page has them all."
    else:
        assert len(digest.lines) == len(different)
    kinds = {one.kind for one in news}
    good = {AuditAction.BROKER_LOGGED_IN, AuditAction.DRIFT_CLEARED}
    assert digest.pressing is any(one.kind in (NewsKind.ALARM, NewsKind.LOGIN) and one.action not in good for one in news)
    assert bool(digest.title.removeprefix("Bridge: ")) is bool(news)
    if kinds:
        assert min(kinds, key=list(NewsKind).index).value in digest.title.split(",")[0]


def test_a_missing_login_is_news_of_its_own_kind():
    """It is on the record as an alarm, under a code."""
    assert make(1, code=NOT_LOGGED_IN).kind is NewsKind.LOGIN
    assert make(1).kind is NewsKind.ALARM


def test_every_kind_has_its_sentence_and_some_record_that_makes_it():
    """No kind can be asked for that is never told."""
    assert set(KINDS) == set(NewsKind) == set(NEWS.values())
    assert all(kind.sentence.endswith(".") for kind in NewsKind)


def test_where_it_happened_stands_before_what_happened():
    """Account, side and symbol, as far as there are any."""
    assert make(1, AuditAction.ORDER_REJECTED, "No money.", symbol="NSE:SBIN", side="BUY").text == (
        "ravi BUY NSE:SBIN: The broker rejected the order. No money."
    )
    assert make(1, account="").text == "Odd."
    assert make(1, message="ravi is not logged in.").text == "ravi is not logged in."
    assert make(1, account="r", message="rain").text == "r: rain"


@given(st.sampled_from(sorted(NEWS)))
def test_what_changes_a_state_is_told_each_time_and_a_storm_only_once(action):
    """Halted, resumed and halted again is not the same as halted once; a refused alert may come a thousand times."""
    first = make_digest([make(1, action)], {}, NOON, WINDOW)
    again = make_digest([make(2, action)], first.memory, NOON + timedelta(minutes=1), WINDOW)
    storms = action.value.startswith(("alarm", "alert", "intent", "order_in_doubt", "order_rejected", "order_expired"))
    assert bool(again.lines) is not storms
    assert bool(make(1, code=NOT_LOGGED_IN).may_storm) is False


def test_the_title_counts():
    """What a locked phone shows."""
    news = [make(1), make(2, message="b"), make(3, AuditAction.ORDER_FILL, "10 at 5")]
    assert make_digest(news, {}, NOON, WINDOW).title == "Bridge: 2 × alarm, fill"
