"""The pace of capture: back pressure, and a breaker that serving never waits for."""

import pytest
from aurora_core.engine.pace import Pace
from aurora_core.engine.sender import Sender
from aurora_core.errors import TransportError
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize("reason", ["store_full", "spool_full", "trainer_behind", "queue_full"])
def test_what_is_full_halves_the_share_and_time_brings_it_back(clock, reason):
    pace = Pace(clock)
    assert pace.share == 1
    pace.refused(reason)
    assert pace.share == 0.5
    clock.now += 25
    assert pace.share == pytest.approx(0.75)
    clock.now += 1000
    assert pace.share == 1
    assert not pace.paused


def test_samples_that_were_refused_together_count_once(clock):
    pace = Pace(clock)
    for _ in range(10):
        pace.refused("store_full")
    assert pace.share == 0.5
    clock.now += 5
    pace.refused("store_full")
    assert pace.share == pytest.approx(0.275)


def test_where_nobody_is_there_capture_pauses_and_tries_again_ever_later(clock):
    pace = Pace(clock)
    for _ in range(2):
        pace.refused("store_lost", "no route")
    assert not pace.paused
    pauses = []
    pace.refused("store_lost", "no route")
    for _ in range(6):
        began = clock.now
        while pace.paused:
            clock.now += 0.5
        pauses.append(clock.now - began)
        pace.refused("store_lost", "no route")
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert pace.pauses == 7
    assert pace.why_paused == "store_lost: no route"
    assert pace.share == 1


def test_one_sample_that_is_taken_ends_it(clock):
    pace = Pace(clock)
    for _ in range(3):
        pace.refused("trainer_unreachable", "refused")
    clock.now += 5
    pace.taken()
    assert (pace.paused, pace.why_paused) == (False, "")
    pace.refused("trainer_unreachable", "refused")
    assert not pace.paused, "three in a row again"


def test_a_request_that_makes_no_sample_by_itself_says_nothing_of_the_store(clock):
    pace = Pace(clock)
    for _ in range(100):
        pace.refused("answer_too_short")
    assert (pace.share, pace.paused) == (1, False)


@given(st.lists(st.tuples(st.sampled_from(["store_full", "store_lost", "taken"]), st.floats(0, 100))))
def test_the_share_is_a_share_and_no_pause_outlasts_a_minute(steps):
    clock = Clock()
    pace = Pace(clock)
    for what, seconds in steps:
        if what == "taken":
            pace.taken()
        else:
            pace.refused(what)
        assert 0 < pace.share <= 1
        clock.now += seconds
    clock.now += 60
    assert not pace.paused


class Unreachable:
    def __init__(self):
        self.tried, self.here = 0, False

    def put(self, name, payload):
        self.tried += 1
        if not self.here:
            raise TransportError("store_lost", "nobody listens")

    def close(self):
        pass


def test_the_sender_leaves_a_dead_store_alone_and_counts_what_it_passes_over(make_sample, clock):
    sink, pace = Unreachable(), Pace(clock)
    sender = Sender(lambda: sink, None, 32, pace=pace)
    sender.start()
    for at in range(10):
        sender.offer(make_sample(str(at)))
    sender.close()
    assert dict(sender.dropped) == {"store_lost": 3, "paused": 7}
    assert sink.tried == 3

    clock.now += 5
    sink.here = True
    again = Sender(lambda: sink, None, 32, pace=pace)
    again.start()
    again.offer(make_sample("after"))
    again.close()
    assert again.sent["samples"] == 1
    assert not pace.paused
