"""A resource that cannot be read shows it in a condition, whatever its status contains."""

from datetime import UTC, datetime

from aurora_operator.reconcile.unreadable import degraded
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def resource(status):
    return {"metadata": {"name": "chat", "namespace": "a", "generation": 3}, "spec": {}, "status": status}


def test_the_other_conditions_stay():
    available = {"type": "Available", "status": "True", "reason": "AllReady"}
    conditions = degraded(resource({"conditions": [available]}), "SpecUnreadable", "spec.x: unknown", NOW)
    assert conditions[0] == available
    assert [(one["type"], one["status"], one["reason"]) for one in conditions[1:]] == [
        ("Ready", "False", "SpecUnreadable"), ("Degraded", "True", "SpecUnreadable"),
    ]  # fmt: skip
    assert conditions[2] == {
        "type": "Degraded", "status": "True", "reason": "SpecUnreadable", "message": "spec.x: unknown",
        "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 3,
    }  # fmt: skip


def test_it_is_written_once():
    first = degraded(resource({}), "SpecUnreadable", "x" * 5000, NOW)
    assert degraded(resource({"conditions": first}), "SpecUnreadable", "x" * 5000, NOW) is None
    assert len(first[0]["message"]) == 800


@given(JSON)
def test_no_status_is_too_broken_to_be_reported(status):
    conditions = degraded(resource(status), "SpecUnreadable", "spec.x: unknown", NOW)
    assert conditions[-1]["reason"] == "SpecUnreadable"
