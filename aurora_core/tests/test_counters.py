from aurora_core.engine.counters import AcceptCounters, Arm
from hypothesis import given
from hypothesis import strategies as st

cycles = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([0, 3]), st.integers(1, 4)), max_size=60
)


@given(cycles)
def test_sums_are_those_of_the_segments(events):
    counters = AcceptCounters()
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
    counters = AcceptCounters()
    for now, version, tokens in [(1.0, 1, 3), (1.5, 1, 2), (2.0, 1, 4), (3.0, 2, 5), (3.5, 2, 1)]:
        counters.cycle("a", Arm(version, 3), tokens, now)
    counters.finish("a", count=True)
    first, second = counters.sums[Arm(1, 3)].decode, counters.sums[Arm(2, 3)].decode
    assert (first.n, first.x, first.y) == (1, 6, 1.0)
    assert (second.n, second.x, second.y) == (1, 6, 1.5)
    assert (second.xx, second.xy, second.yy) == (36, 9.0, 2.25)


def test_a_request_of_one_cycle_has_no_speed():
    counters = AcceptCounters()
    counters.cycle("a", Arm(1, 3), 2, 1.0)
    counters.finish("a", count=True)
    assert counters.sums[Arm(1, 3)].decode.n == 0
    assert counters.sums[Arm(1, 3)].accept.n == 1


def test_an_aborted_request_leaves_no_observation():
    counters = AcceptCounters()
    counters.cycle("a", Arm(1, 3), 2, 0.0)
    counters.finish("a", count=False)
    assert counters.sums == {}


def test_series_of_other_versions_are_dropped():
    counters = AcceptCounters()
    for version in range(5):
        counters.cycle("a", Arm(version, 3), 2, 0.0)
    counters.finish("a", count=True)
    counters.keep_only({3, 4})
    assert {arm.version for arm in counters.sums} == {3, 4}
