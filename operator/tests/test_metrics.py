"""Gauges say what the status says, NaN where there is nothing to say, and go with their resource."""

import math

from aurora_operator import metrics
from aurora_operator.api.status import Candidate, Condition, Serving, Stable, Status, StratumEstimate
from aurora_operator.promotion.statistics import NO_END
from operator_support import NOW, a_spec
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics import MetricWrapperBase

STATUS = Status(
    stable=Stable(version=4, steps=3, since=NOW),
    serving=Serving(replicas=8, ready=1),
    candidate=Candidate(
        version=7, steps=3, since=NOW, estimate=1.1, lower=0.9, upper=1.3, ratio_of_sums=1.2, speed_ratio=0.95
    ),
    conditions=[
        Condition(type="PromotionProgressing", status="True", reason="NoData", last_transition_time=NOW),
        Condition(type="TrainingHealthy", status="Unknown", reason="TrainerStarting", last_transition_time=NOW),
    ],
)


def value(name, speculator="ns/metrics", **labels):
    return REGISTRY.get_sample_value(name, {"speculator": speculator, **labels})


def test_they_say_what_the_status_says():
    promotion = {"prometheus": {"url": "http://p"}, "gate": {"minImprovement": 0.05}}
    spec = a_spec(suspend=True, serving={"replicas": 8}, promotion=promotion)
    metrics.show("ns/metrics", spec, STATUS)
    assert (value("aurora_replicas_ready"), value("aurora_replicas_desired")) == (1, 8)
    assert (value("aurora_stable_version"), value("aurora_stable_steps")) == (4, 3)
    assert value("aurora_stable_since_seconds") == NOW.timestamp()
    assert value("aurora_candidate_since_seconds") == NOW.timestamp()
    assert [value("aurora_gate_estimate", bound=b) for b in ("lower", "estimate", "upper")] == [0.9, 1.1, 1.3]
    assert (value("aurora_gate_ratio_of_sums"), value("aurora_gate_speed_ratio")) == (1.2, 0.95)
    assert (value("aurora_gate_blind"), value("aurora_suspended")) == (1, 1)
    assert value("aurora_condition", type="TrainingHealthy") == -1
    assert value("aurora_gate_bar") == 1.05
    challenger = STATUS.candidate.model_copy(update={"kind": "Previous"})
    metrics.show("ns/metrics", spec, STATUS.model_copy(update={"candidate": challenger}))
    assert value("aurora_gate_bar") == 1


def test_events_are_counted_from_0_so_that_the_first_one_is_an_increase():
    metrics.show("ns/metrics", a_spec(), STATUS)
    for word in ("Promoted", "Rejected", "RolledBack", "SpeculationOff", "TrialBegan", "Superseded"):
        assert value("aurora_operator_verdicts_total", reason=word) == 0


def test_without_a_candidate_there_is_nothing_to_estimate():
    metrics.show("ns/metrics", a_spec(), STATUS.model_copy(update={"candidate": None}))
    assert value("aurora_candidate_version") == -1
    assert math.isnan(value("aurora_candidate_since_seconds"))
    assert math.isnan(value("aurora_gate_estimate", bound="estimate"))
    assert all(math.isnan(value(f"aurora_gate_{name}")) for name in ("bar", "ratio_of_sums", "speed_ratio"))
    assert (value("aurora_gate_blind"), value("aurora_suspended")) == (0, 0)


def test_an_end_that_no_data_has_moved_is_no_number():
    candidate = STATUS.candidate.model_copy(update={"lower": 1 / NO_END, "upper": NO_END})
    metrics.show("ns/metrics", a_spec(), STATUS.model_copy(update={"candidate": candidate}))
    assert value("aurora_gate_estimate", bound="estimate") == 1.1
    assert math.isnan(value("aurora_gate_estimate", bound="lower"))
    assert math.isnan(value("aurora_gate_estimate", bound="upper"))


def test_each_stratum_has_its_own_estimate_until_the_trial_ends():
    strata = [StratumEstimate(name="law", blocks=7, estimate=0.9, lower=0.8)]
    on_trial = STATUS.model_copy(update={"candidate": STATUS.candidate.model_copy(update={"strata": strata})})
    metrics.show("ns/metrics", a_spec(), on_trial)
    assert value("aurora_gate_stratum_estimate", stratum="law", bound="lower") == 0.8
    assert math.isnan(value("aurora_gate_stratum_estimate", stratum="law", bound="upper"))
    metrics.show("ns/metrics", a_spec(), STATUS.model_copy(update={"candidate": None}))
    assert value("aurora_gate_stratum_estimate", stratum="law", bound="lower") is None


def test_they_go_with_their_resource_and_no_other():
    for name in ("ns/metrics", "ns/other"):
        metrics.show(name, a_spec(), STATUS)
    metrics.forget("ns/metrics")
    gone = ("aurora_stable_version", "aurora_gate_blind")
    assert [value(name) for name in gone] == [None, None]
    assert value("aurora_gate_estimate", bound="lower") is None
    assert value("aurora_condition", type="TrainingHealthy") is None
    assert value("aurora_stable_version", "ns/other") == 4
    metrics.forget("ns/never-seen")


def test_resources_that_came_and_went_leave_no_series():
    before = len(generate_latest(REGISTRY).splitlines())
    for number in range(50):
        name = f"ns/passing-{number}"
        metrics.show(name, a_spec(), STATUS)
        metrics.loads.labels(name).inc()
        for what in ("apply", "evidence", "load", "reconcile", "spec"):
            metrics.failures.labels(name, what).inc()
        metrics.verdicts.labels(name, "Promoted").inc()
        metrics.forget(name)
    assert "ns/passing" not in generate_latest(REGISTRY).decode()
    assert len(generate_latest(REGISTRY).splitlines()) <= before + 20


def test_whatever_has_the_label_of_a_resource_is_forgotten_with_it():
    ours = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)] + [*metrics._GAUGES.values()]
    assert {one for one in ours if "speculator" in one._labelnames} == set(metrics._OF_A_RESOURCE)
