"""What a person is reported."""

from datetime import timedelta

import pytest
from aurora_core.protocol.agent import VersionInfo
from aurora_operator.api.status import Candidate, Condition, Forecast, Stable, Status, StratumEstimate
from aurora_operator.cli import messages
from operator_support import NOW, a_spec

LATER = NOW + timedelta(hours=1)


def trial(**more):
    candidate = {"version": 7, "steps": 3, "since": NOW, "requests": 40, "analyses": 9, "verdict": "Undecided"}
    return Status(stable=Stable(version=4, steps=3, since=NOW), candidate=Candidate(**candidate, **more), decided=4)


MEASURED = {"estimate": 1.1, "lower": 0.99, "upper": 1.22, "value": 2.2, "stable_value": 2.0, "ratio_of_sums": 1.08}


def test_an_explanation_has_the_numbers_and_what_is_missing():
    status = trial(**MEASURED, blocks=12, void_blocks=2, progress=0.5, alpha=0.0125)
    text = "\n".join(messages.explain("chat", a_spec(), status, LATER))
    for part in (
        "version 4", "Version 7", "In 12 blocks", "1.100 times stable", "2 more did not count",
        "at least 0.990, at most 1.220 (wrong with a probability of at most 1.25% below, 5.00% above)",
        "2.2 under it and 2.0 under stable: 1.08 times", "50% of a proof", "60 min",
    ):  # fmt: skip
        assert part in text


def test_without_evidence_either_way_there_is_no_forecast():
    text = "\n".join(messages.explain("chat", a_spec(), trial(**MEASURED, blocks=12, progress=0.0), LATER))
    assert "hardly favor either" in text
    assert "of a proof" not in text


def test_each_stratum_is_explained_and_one_without_a_block_says_so():
    strata = [
        StratumEstimate(name="law", blocks=9, estimate=0.91, lower=0.85, upper=0.97, speed_ratio=0.92),
        StratumEstimate(name="other"),
    ]
    status = trial(**MEASURED, blocks=12, progress=0.5, strata=strata)
    text = "\n".join(messages.explain("chat", a_spec(), status, LATER))
    assert "In stratum law it was 0.910 times stable (at least 0.850, at most 0.970), decode speed 0.920" in text
    assert "In stratum other no block counts yet." in text
    rows = dict(messages.overview("chat", a_spec(), status, LATER))
    assert rows["stratum law"].startswith("0.910 times stable")
    assert "stratum other" not in rows


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


def test_speculation_that_a_person_switched_off_is_not_called_drafting():
    one = Condition(type="Speculating", status="False", reason="SwitchedOff", last_transition_time=NOW)
    status = trial().model_copy(update={"candidate": None, "conditions": [one]})
    assert "without speculation because a person" in messages.explain("chat", a_spec(), status, LATER)[0]
    assert "speculation" in dict(messages.overview("chat", a_spec(), status, LATER))


def test_explain_says_what_traffic_can_decide():
    found = Forecast(
        requests_per_minute=12, spread=0.061, seconds_per_block=120, worthwhile_seconds=9000, smallest=0.01
    )
    stable = Stable(version=0, steps=0, since=NOW)
    text = "\n".join(messages.explain("chat", a_spec(), Status(stable=stable, forecast=found), LATER))
    assert "At 12 requests a minute" in text
    assert "is about 1%; one of 2% takes about 150 min in half of trials" in text
    never = found.model_copy(update={"worthwhile_seconds": None, "smallest": None})
    text = "\n".join(messages.explain("chat", a_spec(), Status(stable=stable, forecast=never), LATER))
    assert "NotDecidable, and no trial begins" in text


def test_explain_leaves_the_decision_to_a_person_where_the_strategy_does():
    promotion = {"strategy": "Manual", "prometheus": {"url": "http://p"}}
    text = "\n".join(messages.explain("chat", a_spec(promotion=promotion), trial(**MEASURED), LATER))
    assert "A person decides" in text
    assert "It is promoted when" not in text
