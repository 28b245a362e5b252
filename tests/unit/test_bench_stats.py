"""The arithmetic of the bench: percentiles, the open loop's schedule, and its correction for coordinated omission."""

import pytest

from tests.bench.stats import corrected, median_ratio, percentile, rate, schedule, spread_of


@pytest.mark.parametrize(
    ("share", "wanted"), [(0, 1), (0.001, 1), (0.5, 500), (0.99, 990), (0.999, 999), (0.9991, 1000), (1, 1000)]
)
def test_a_percentile_is_the_nearest_rank(share, wanted):
    assert percentile(range(1, 1001), share) == wanted


def test_a_percentile_of_one_value_is_that_value():
    assert {percentile([7.0], share) for share in (0, 0.5, 0.999, 1)} == {7.0}


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_a_percentile_that_means_nothing_is_refused(values, share):
    with pytest.raises(ValueError, match=r"measured|share"):
        percentile(values, share)


def test_a_spread_is_in_milliseconds_and_does_not_mind_the_order():
    spread = spread_of([0.004, 0.001, 0.003, 0.002])
    assert spread.as_dict() == {"count": 4, "p50_ms": 2.0, "p99_ms": 4.0, "p999_ms": 4.0, "max_ms": 4.0}


def test_requests_are_due_evenly_from_the_start_on():
    assert schedule(5, 1000) == [0, 0.001, 0.002, 0.003, 0.004]
    assert schedule(0, 1000) == []


def test_the_schedule_does_not_drift():
    assert schedule(1_000_001, 1000)[-1] == 1000


@pytest.mark.parametrize("per_second", [0, -1])
def test_a_rate_of_nothing_is_refused(per_second):
    with pytest.raises(ValueError, match="above zero"):
        schedule(5, per_second)


def test_a_stall_counts_for_every_request_that_it_held_back():
    """One connection, 1 ms of service, a stall of 100 ms at the tenth of 200 requests: timed from their sending, only
    one would be slow."""
    due = schedule(200, 1000)
    sent, finished, free = [], [], 0.0
    for number, at in enumerate(due):
        sent.append(max(at, free))
        free = sent[-1] + (0.100 if number == 10 else 0.0005)
        finished.append(free)
    naive = spread_of([end - start for start, end in zip(sent, finished, strict=True)])
    honest = spread_of(corrected(due, finished))
    assert naive.p99_ms == pytest.approx(0.5)
    assert honest.p99_ms > 95
    assert honest.p50_ms > 0.5
    assert sum(latency > 0.050 for latency in corrected(due, finished)) > 90


def test_without_a_stall_there_is_nothing_to_correct():
    due = schedule(100, 1000)
    finished = [at + 0.0005 for at in due]
    assert corrected(due, finished) == pytest.approx([0.0005] * 100)


def test_every_request_needs_an_answer():
    with pytest.raises(ValueError, match="shorter"):
        corrected([0.0, 0.001], [0.5])


def test_ratios_are_taken_within_a_round():
    """The machine was twice as slow in the second round; the ratio is the same in both."""
    assert median_ratio([6000, 3000, 6100], [10_000, 5000, 10_000]) == pytest.approx(0.6)


def test_a_rate_needs_time():
    assert rate(500, 2) == 250
    with pytest.raises(ValueError, match="time"):
        rate(500, 0)
