"""The demonstration's table and pictures, of measurements as a run makes them."""

from dataclasses import replace

import pytest
from aurora_core.evaluation.identity import Identity
from aurora_core.evaluation.requests import Measured
from aurora_core.protocol.engine import ArmCounters, CaptureState, DraftState, EngineState
from aurora_demo import plots
from aurora_demo.run import drafted_length
from aurora_demo.timeline import Comparison

PLAIN = Measured(tokens_per_second=10.0, accept_length=1.0, answers={}, failures=())
RESULTS = {
    "first": Comparison(
        target_only=PLAIN,
        adapted=replace(PLAIN, tokens_per_second=20.0, accept_length=2.5),
        kept=replace(PLAIN, accept_length=2.4),
    ),
    "shifted": Comparison(
        target_only=PLAIN, static=PLAIN, adapted=replace(PLAIN, tokens_per_second=15.0, accept_length=2.0)
    ),
}


def test_a_table_shows_what_is_left_of_the_first_domain_at_the_end():
    lines = plots.table(RESULTS, dict.fromkeys(RESULTS, Identity(()))).splitlines()
    (kept,) = [line for line in lines if "at the end" in line]
    assert "first" in kept
    assert "2.40 (96%)" in kept
    assert RESULTS["first"].kept_share == pytest.approx(0.96)
    assert RESULTS["shifted"].kept_share is None


def test_the_speeds_are_drawn(tmp_path):
    plots.speed(tmp_path / "speed.png", RESULTS)
    assert (tmp_path / "speed.png").stat().st_size > 1000


def counted(*arms):
    return EngineState(draft=DraftState(live=1), steps=3, capture=CaptureState(rate=1.0), arms=arms)


def test_the_live_accept_length_is_that_of_drafted_cycles_alone():
    none = ArmCounters(version=1, steps=0, accept_tokens=100, accept_cycles=100)
    before = counted(none, ArmCounters(version=1, steps=3, accept_tokens=10, accept_cycles=10))
    after = counted(
        none.model_copy(update={"accept_tokens": 200, "accept_cycles": 200}),
        ArmCounters(version=1, steps=3, accept_tokens=30, accept_cycles=20),
        ArmCounters(version=2, steps=3, accept_tokens=6, accept_cycles=2),
    )
    assert drafted_length(before, after) == pytest.approx(26 / 12)
    assert drafted_length(after, after) is None
