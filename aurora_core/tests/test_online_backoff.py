"""What ends again and again is started less and less often, and forgiven after a while of health."""

from aurora_core.online.backoff import MOST_SECONDS, Backoff
from hypothesis import given
from hypothesis import strategies as st


def test_what_ends_again_and_again_waits_twice_as_long_each_time_up_to_a_minute():
    backoff, now, waits = Backoff(), 0.0, []
    for _ in range(7):
        backoff.well(now)
        backoff.failed(now + 1)
        waits.append(backoff.again - now - 1)
        now = backoff.again
    assert waits == [2, 4, 8, 16, 32, 60, 60]


def test_after_a_minute_of_health_it_is_as_if_it_had_never_failed():
    backoff = Backoff()
    for now in (0.0, 10.0, 20.0):
        backoff.failed(now)
    backoff.well(30.0)
    backoff.failed(30.0 + MOST_SECONDS + 1)
    assert (backoff.failures, backoff.again) == (1, 30.0 + MOST_SECONDS + 1 + 2)


def test_what_never_was_well_is_not_forgiven_for_the_time_in_between():
    backoff = Backoff()
    for now in (0.0, 1000.0, 2000.0):
        backoff.failed(now)
    assert backoff.failures == 3


@given(st.integers(0, 5000))
def test_no_number_of_failures_is_too_large(failures):
    """As 2.0 ** 1024 was, after a trainer that did not start for 17 hours: it ended the command, and all engines."""
    backoff = Backoff(failures=failures)
    backoff.failed(0.0)
    assert 2 <= backoff.again <= MOST_SECONDS


# --- an agent after the other --------------------------------------------------------------------------------------
