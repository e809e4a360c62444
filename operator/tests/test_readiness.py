"""Ready is what kstatus, Flux and Argo CD go by: all replicas serve, on a volume that works, and nothing is wrong."""

import pytest
from aurora_operator.reconcile.plan import plan
from aurora_operator.reconcile.readiness import Seen, ready
from operator_support import a_snapshot

WELL = Seen("True", "AllReady", "1 of 1 engine pods are ready")
BOUND, FINE = Seen("True", "Bound", ""), Seen("False", "AsExpected", "")


@pytest.mark.parametrize(
    ("available", "storage", "degraded", "seen"),
    [
        (WELL, BOUND, FINE, WELL),
        (WELL, BOUND, Seen("True", "AgentSilent", "a: no answer"), Seen("False", "AgentSilent", "a: no answer")),
        (Seen("True", "SomeReady", "1 of 2"), BOUND, FINE, Seen("False", "SomeReady", "1 of 2")),
        (Seen("False", "Preparing", "x"), BOUND, FINE, Seen("False", "Preparing", "x")),
        (WELL, Seen("False", "VolumeFull", "x"), FINE, Seen("False", "VolumeFull", "x")),
        (WELL, Seen("Unknown", "ClaimNew", "x"), FINE, Seen("Unknown", "ClaimNew", "x")),
    ],
)
def test_it_is_the_first_reason_why_not(available, storage, degraded, seen):
    assert ready(available, storage, degraded) == seen


def test_it_is_the_first_condition_and_has_the_generation_that_it_is_about():
    first = plan(a_snapshot()).status["conditions"][0]
    assert (first["type"], first["status"], first["reason"], first["observedGeneration"]) == (
        "Ready", "False", "Preparing", 3,
    )  # fmt: skip
