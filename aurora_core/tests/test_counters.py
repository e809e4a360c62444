from aurora_core.engine.counters import KEPT, AcceptCounters, Arm
from hypothesis import given
from hypothesis import strategies as st

cycles = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, KEPT - 1), st.sampled_from([0, 3]), st.integers(1, 4)), max_size=60
)


def counters_of(*versions):
    counters = AcceptCounters(versions[0])
    for version in versions:
        counters.activated(version)
    return counters


@given(cycles)
def test_sums_are_those_of_the_segments(events):
    counters = counters_of(*range(KEPT))
    segments = {}
    for request, version, steps, tokens in events:
        counters.cycle(str(request), Arm(version, steps), tokens, 0.0)
        parts = segments.setdefault(request, [])
        if not parts or parts[-1][0] != (version, steps):
            parts.append([(version, steps), 0, 0])
        parts[-1][1] += tokens
        parts[-1][2] += 1
    for request in segments:
        counters.finish(str(request), count=True)

    observed = {}
    for parts in segments.values():
        for arm, t, v in parts:
            observed.setdefault(arm, []).append((t, v))
    assert {tuple(arm) for arm in counters.sums} == set(observed)
    for arm, both in counters.sums.items():
        sums = both.accept
        pairs = observed[tuple(arm)]
        assert (sums.n, sums.x, sums.y) == (len(pairs), sum(t for t, _ in pairs), sum(v for _, v in pairs))
        assert sums.xx == sum(t * t for t, _ in pairs)
        assert sums.xy == sum(t * v for t, v in pairs)
        assert sums.yy == sum(v * v for _, v in pairs)


def test_decode_speed_leaves_out_the_first_cycle_and_is_split_at_a_swap():
    counters = counters_of(1, 2)
    for now, version, tokens in [(1.0, 1, 3), (1.5, 1, 2), (2.0, 1, 4), (3.0, 2, 5), (3.5, 2, 1)]:
        counters.cycle("a", Arm(version, 3), tokens, now)
    counters.finish("a", count=True)
    first, second = counters.sums[Arm(1, 3)].decode, counters.sums[Arm(2, 3)].decode
    assert (first.n, first.x, first.y) == (1, 6, 1.0)
    assert (second.n, second.x, second.y) == (1, 6, 1.5)
    assert (second.xx, second.xy, second.yy) == (36, 9.0, 2.25)


def test_a_request_of_one_cycle_has_no_speed():
    counters = counters_of(1, 2)
    counters.cycle("a", Arm(1, 3), 2, 1.0)
    counters.finish("a", count=True)
    assert counters.sums[Arm(1, 3)].decode.n == 0
    assert counters.sums[Arm(1, 3)].accept.n == 1


def test_an_aborted_request_leaves_no_observation():
    counters = counters_of(1, 2)
    counters.cycle("a", Arm(1, 3), 2, 0.0)
    counters.finish("a", count=False)
    assert counters.sums == {}


def serve(counters, request, version, steps=3):
    counters.cycle(request, Arm(version, steps), 2, 0.0)
    counters.finish(request, count=True)


def test_counters_are_kept_of_the_versions_that_were_live_last():
    counters = AcceptCounters(0)
    for version in range(1, 6):
        counters.activated(version)
        serve(counters, "a", version)
    assert {arm.version for arm in counters.sums} == {3, 4, 5}
    counters.activated(3)
    counters.activated(6)
    assert {arm.version for arm in counters.sums} == {3, 5}


def test_a_request_that_outlives_its_version_brings_no_series_back():
    counters = AcceptCounters(0)
    counters.cycle("slow", Arm(0, 3), 2, 0.0)
    for version in range(1, KEPT + 1):
        counters.activated(version)
    counters.finish("slow", count=True)
    assert counters.sums == {}


@given(st.lists(st.booleans(), max_size=30))
def test_a_trial_that_alternates_never_loses_a_counter(slices):
    counters = AcceptCounters(4)
    for version in (4, 5):
        counters.activated(version)
        serve(counters, "a", version)
    for candidate in slices:
        version = 7 if candidate else 5
        before = counters.sums[Arm(version, 3)].accept.n if Arm(version, 3) in counters.sums else 0
        counters.activated(version)
        serve(counters, "b", version)
        assert counters.sums[Arm(version, 3)].accept.n == before + 1
