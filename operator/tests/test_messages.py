"""What a person is reported."""

from datetime import timedelta

import pytest
from aurora_core.protocol.agent import VersionInfo
from aurora_operator.api.status import Candidate, Condition, Stable, Status
from aurora_operator.cli import messages
from aurora_operator.promotion.statistics import half_width
from hypothesis import given
from hypothesis import strategies as st
from operator_support import NOW, a_spec

LATER = NOW + timedelta(hours=1)


def trial(**more):
    candidate = {"version": 7, "steps": 3, "since": NOW, "requests": 40, "analyses": 9, "verdict": "Undecided"}
    return Status(stable=Stable(version=4, steps=3, since=NOW), candidate=Candidate(**candidate, **more), decided=4)


@given(st.floats(1e-6, 0.5), st.floats(0.001, 0.2))
def test_the_variance_is_found_again_from_its_width(variance, alpha):
    assert messages.variance_of(half_width(variance, alpha), alpha) == pytest.approx(variance, rel=1e-6)


def test_a_verdict_that_is_near_needs_less_than_one_that_is_far():
    near = trial(estimate=1.1, lower=0.99, upper=1.22).candidate
    far = trial(estimate=1.03, lower=0.93, upper=1.14).candidate
    assert 1 < messages.factor_needed(near, 1.0, 0.95) < messages.factor_needed(far, 1.0, 0.95)
    assert messages.factor_needed(trial(estimate=1.0, lower=0.9, upper=1.11).candidate, 1.0, 0.95) is None


def test_an_explanation_has_the_numbers_and_what_is_missing():
    text = "\n".join(messages.explain("chat", a_spec(), trial(estimate=1.1, lower=0.99, upper=1.22), LATER))
    for part in ("version 4", "Version 7", "1.100 times stable", "between 0.990 and 1.220", "more requests"):
        assert part in text


def test_without_a_candidate_it_says_what_would_be_next():
    text = "\n".join(messages.explain("chat", a_spec(), Status(stable=Stable(version=0, steps=0, since=NOW)), LATER))
    assert "without speculation" in text
    assert "goes on trial" in text


def test_a_version_is_shown_with_what_became_of_it():
    found = {"version": 7, "parent": 4, "created": "2026-01-01T12:00:00Z", "step": 50, "tokens": 9, "bytes": 3 << 20}
    row = messages.version_row(VersionInfo.read(found | {"holdout_accept_length": 2.0}), trial())
    assert (row[0], row[1], row[4], row[5], row[6]) == ("7", "4", "2.000", "3", "on trial")
    assert messages.version_row(VersionInfo.read(found | {"version": 4, "parent": None}), trial())[-1] == "stable"


@pytest.mark.parametrize(
    ("kind", "truth", "reason", "fine"),
    [
        ("Available", "True", "AllReady", True),
        ("TrainingHealthy", "False", "TrainerFailing", False),
        ("Degraded", "False", "AsExpected", True),
        ("Degraded", "True", "AgentSilent", False),
        ("PromotionProgressing", "True", "CollectingEvidence", True),
        ("PromotionProgressing", "False", "NoCandidate", True),
        ("PromotionProgressing", "True", "NoData", False),
    ],
)
def test_what_needs_attention(kind, truth, reason, fine):
    one = Condition(type=kind, status=truth, reason=reason, last_transition_time=NOW)
    assert messages.is_fine(one) == fine
