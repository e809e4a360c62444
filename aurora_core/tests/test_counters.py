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
        counters.cycle(str(request), Arm(version, steps), tokens)
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
    for arm, sums in counters.sums.items():
        pairs = observed[tuple(arm)]
        assert (sums.n, sums.t, sums.v) == (len(pairs), sum(t for t, _ in pairs), sum(v for _, v in pairs))
        assert sums.tt == sum(t * t for t, _ in pairs)
        assert sums.tv == sum(t * v for t, v in pairs)
        assert sums.vv == sum(v * v for _, v in pairs)


def test_an_aborted_request_leaves_no_observation():
    counters = AcceptCounters()
    counters.cycle("a", Arm(1, 3), 2)
    counters.finish("a", count=False)
    assert counters.sums == {}


def test_series_of_other_versions_are_dropped():
    counters = AcceptCounters()
    for version in range(5):
        counters.cycle("a", Arm(version, 3), 2)
    counters.finish("a", count=True)
    counters.keep_only({3, 4})
    assert {arm.version for arm in counters.sums} == {3, 4}
