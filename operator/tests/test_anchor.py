"""Small steps down do not add up: the best version so far is remembered, and asked."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from aurora_operator.api.promotion import Gate
from aurora_operator.api.status import Anchor, Candidate, Stable, Status
from aurora_operator.promotion import anchor, outcome
from aurora_operator.promotion.blocks import Trial
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence
from aurora_operator.promotion.progress import Progress, Published
from aurora_operator.promotion.statistics import Sums
from aurora_operator.promotion.trial import Found, Seen, advance
from aurora_operator.promotion.watch import Watch, Window
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec

GATE = Gate()
STABLE = Stable(version=2, steps=3, since=NOW, previous=1, previous_steps=3)


def tried(lower, estimate=None, **more):
    numbers = {"estimate": estimate or lower * 1.01, "lower": lower, "upper": lower * 1.02}
    return Candidate(**({"version": 9, "steps": 3, "since": NOW} | numbers | more))


@given(st.lists(st.floats(0.9, 1.1), max_size=30))
def test_no_row_of_promotions_is_known_to_be_further_below_the_best_than_allowed_but_for_its_first_step(lowers):
    """The first step from the best version is compared with it directly, and the gate alone decides about it."""
    best, kept, since = None, 0.0, 0
    for lower in lowers:
        candidate = tried(lower)
        if anchor.below(GATE, best, candidate) is not None:
            continue
        best = anchor.after(best, STABLE, candidate)
        kept = 0.0 if best is None else kept + math.log(lower)
        since = 0 if best is None else since + 1
        if best is not None:
            assert best.lower == pytest.approx(kept)
            assert since == 1 or best.lower >= math.log1p(-GATE.max_below_best)


@given(st.lists(st.floats(1.0, 1.5), min_size=1, max_size=10))
def test_what_is_proved_better_leaves_stable_the_best(lowers):
    best = None
    for lower in lowers:
        assert anchor.below(GATE, best, tried(lower)) is None
        best = anchor.after(best, STABLE, tried(lower))
        assert best is None


def test_a_direct_comparison_replaces_what_was_added_up_where_it_says_more():
    worn = Anchor(version=4, steps=3, lower=-0.03, doubted=True)
    close = anchor.compared(worn, tried(0.9, upper=1.01))
    assert (close.lower, close.doubted, close.compared) == (pytest.approx(-math.log(1.01)), False, True)
    assert anchor.compared(worn, tried(0.9, upper=1.2)).lower == -0.03
    assert anchor.compared(worn, tried(0.9, upper=None)).lower == -0.03
    assert anchor.compared(worn, tried(0.9, upper=0.99)) is None
    assert anchor.compared(None, tried(0.9)) is None


def blocks(ratio, n=60):
    found = tuple(Block(math.log(ratio) + 0.004 * (-1) ** i, 1000.0) for i in range(n))
    sums = Sums.of((20 * 2.0, 20) for _ in range(n))
    return Evidence(Trial(found, 0, sums, sums), candidate_requests=100, stable_requests=100)


MAY_BE_WORSE = {"prometheus": {"url": "http://p"}, "gate": {"minImprovement": -0.02, "maxBelowBest": 0.02}}
VERSIONS = [Published(v, 2.0, f"digest-{v}") for v in range(9)]


def analyse(status, minutes, **found):
    seen = Seen(NOW + timedelta(minutes=minutes), {}, VERSIONS, (), Found(**found))
    return advance(a_spec(promotion=MAY_BE_WORSE), status, seen)


def after(at):
    return Status(stable=at.stable, candidate=at.candidate, decided=at.decided, history=list(at.history),
                  anchor=at.anchor, budget=at.budget)  # fmt: skip


def watching(minutes):
    ended = (NOW + timedelta(minutes=minutes)).timestamp()
    return Watch(Sums.of([(40, 20)] * 60), 100, (Window(ended, math.log(2.0)),))


@pytest.mark.parametrize(("better", "stable", "verdict"), [(1.1, 2, "RolledBack"), (1.0, 5, "StableKept")])
def test_steps_down_end_in_a_comparison_with_the_best_version_so_far(better, stable, verdict):
    """Versions 5 and 6 are each 1 % worse, which this gate allows once; the second is withheld, and 2 is asked."""
    trial = Candidate(version=5, steps=3, since=NOW, digest="digest-5")
    first = analyse(Status(stable=STABLE, candidate=trial, decided=4), 1, evidence=blocks(0.99))
    assert (first.stable.version, first.anchor.version) == (5, 2)
    assert -0.02 < first.anchor.lower < first.anchor.estimate < 0
    status = after(first).model_copy(update={"candidate": trial.model_copy(update={"version": 6})})
    second = analyse(status, 2, evidence=blocks(0.99))
    assert (second.stable.version, second.candidate, second.anchor.doubted) == (5, None, True)
    assert second.history[0].verdict == "Rejected"
    assert "BelowBest" in second.history[0].reason
    asked = analyse(after(second), 3, watch=watching(3))
    assert (asked.candidate.kind, asked.candidate.version, asked.candidate.steps) == ("Best", 2, 3)
    end = analyse(after(asked), 4, evidence=blocks(better))
    assert (end.stable.version, end.history[0].verdict) == (stable, verdict)
    if verdict == "RolledBack":
        assert (end.anchor, end.history[0].version) == (None, 5)
    else:
        assert end.anchor.compared
        assert end.anchor.lower > first.anchor.lower
    assert analyse(after(end), 5, watch=watching(5)).candidate.kind == "NewVersion"


WORN = Anchor(version=2, steps=3, lower=-0.015, estimate=-0.01)


@pytest.mark.parametrize(("kind", "steps"), [("TargetOnly", 0), ("Again", 3)])
def test_switching_speculation_off_and_on_forgets_no_best_version(kind, steps):
    """Else a worse version could become stable with the sum of steps down beginning again."""
    served = Stable(version=5, steps=3 - steps, since=NOW)
    won = outcome.won(at(served), tried(1.2, kind=kind, version=5, steps=steps, metric="DecodeSpeed"), "faster", NOW)
    assert (won.stable.steps, won.anchor) == (steps, WORN)


@pytest.mark.parametrize(("kind", "steps"), [("TargetOnly", 0), ("Again", 3)])
def test_serving_without_a_draft_is_no_best_version_once_it_was_compared_itself(kind, steps):
    """Else target-only would be on trial against target-only, or a draft proved better counted as worse."""
    served = Stable(version=5, steps=3 - steps, since=NOW)
    worn = replace(at(served), anchor=WORN.model_copy(update={"version": 0, "steps": 0}))
    assert outcome.won(worn, tried(1.2, kind=kind, version=5, steps=steps), "faster", NOW).anchor is None


def test_what_a_person_promotes_and_what_a_rollback_restores_is_the_best_from_then_on():
    served = Stable(version=5, steps=3, since=NOW, previous=2, previous_steps=3)
    assert outcome.won(at(served), tried(0.99), "manually", NOW, proved=False).anchor is None
    assert outcome.won(at(served), tried(1.1, kind="Previous", version=2), "fell", NOW).anchor is None
    assert outcome.rolled_back(at(served), STABLE, "manually", NOW).anchor is None


def at(stable):
    """Where promotion stands after a step down."""
    return Progress(stable, None, 5, (), (), "", "", anchor=WORN)
