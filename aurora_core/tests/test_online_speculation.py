"""The loop serves with whichever is faster, the draft or none, and notices when that changes."""

from aurora_core.online.speculation import BLOCK, HOLD, advance, begin
from aurora_core.protocol.engine import ArmCounters, CaptureState, DraftState, EngineState
from hypothesis import given
from hypothesis import strategies as st

STEPS, TOKENS = 3, 100


class Engine:
    """Finishes requests with the steps that it is set to, each at its own speed."""

    def __init__(self, version=1):
        self.version, self.arms = version, {}

    def serve(self, steps, rate, requests=1):
        key = (self.version, steps)
        n, tokens, seconds = self.arms.get(key, (0, 0.0, 0.0))
        self.arms[key] = n + requests, tokens + requests * TOKENS, seconds + requests * TOKENS / rate

    @property
    def state(self):
        arms = tuple(
            ArmCounters(version=v, steps=s, requests_finished=n, decode_tokens=t, decode_seconds=d)
            for (v, s), (n, t, d) in self.arms.items()
        )
        return EngineState(draft=DraftState(live=self.version), steps=0, capture=CaptureState(rate=1.0), arms=arms)


def served(engine, comparison, rates, requests):
    """The comparison after so many requests, and how many were served with each number of steps."""
    shares = {0: 0, STEPS: 0}
    for _ in range(requests):
        shares[comparison.steps] += 1
        engine.serve(comparison.steps, rates[comparison.steps])
        comparison = advance(comparison, engine.state, STEPS)
    return comparison, shares


def test_a_draft_that_is_slower_than_none_is_switched_off():
    engine = Engine()
    comparison, _ = served(engine, begin(engine.state, STEPS), {0: 8.7, STEPS: 5.9}, 2 * BLOCK)
    assert comparison.steps == 0


def test_a_draft_that_is_faster_than_none_is_switched_on():
    engine = Engine()
    comparison, _ = served(engine, begin(engine.state, 0), {0: 8.7, STEPS: 13.0}, 2 * BLOCK)
    assert comparison.steps == STEPS


def test_nothing_changes_before_a_block_is_finished():
    engine = Engine()
    comparison, _ = served(engine, begin(engine.state, STEPS), {0: 8.7, STEPS: 5.9}, BLOCK - 1)
    assert comparison == begin(Engine().state, STEPS)


def test_a_shift_of_the_traffic_is_noticed_without_a_new_version():
    engine = Engine()
    comparison, _ = served(engine, begin(engine.state, STEPS), {0: 8.7, STEPS: 13.0}, 2 * BLOCK)
    assert comparison.steps == STEPS
    comparison, _ = served(engine, comparison, {0: 8.7, STEPS: 3.5}, HOLD + 2 * BLOCK)
    assert comparison.steps == 0


def test_what_another_version_counted_decides_nothing():
    engine = Engine()
    comparison, _ = served(engine, begin(engine.state, STEPS), {0: 8.7, STEPS: 5.9}, 2 * BLOCK)
    engine.version = 2
    comparison = advance(comparison, engine.state, STEPS)
    assert comparison.rates == {}
    assert comparison.since == ArmCounters(version=2, steps=0)


def test_an_engine_that_started_again_is_compared_from_its_new_counters():
    engine = Engine()
    engine.serve(STEPS, 5.0, requests=20)
    comparison = begin(engine.state, STEPS)
    engine.arms.clear()
    engine.serve(STEPS, 5.0)
    comparison = advance(comparison, engine.state, STEPS)
    assert comparison.since.requests_finished == 1


@given(none=st.floats(0.1, 100), draft=st.floats(0.1, 100), first=st.sampled_from([0, STEPS]))
def test_the_slower_one_serves_no_more_than_its_blocks(none, draft, first):
    engine = Engine()
    rounds = 4
    _, shares = served(engine, begin(engine.state, first), {0: none, STEPS: draft}, rounds * (HOLD + 2 * BLOCK))
    if abs(draft - none) > 1e-6 * none:
        assert shares[0 if draft > none else STEPS] == rounds * BLOCK
