"""Whatever numbers a trainer and an agent report: the resource is reconciled, and has a status that can be stored."""

import json
from datetime import timedelta

from aurora_core.protocol.agent import Contents
from aurora_core.protocol.trainer import TrainerStatus
from aurora_operator.api.status import Stable, Status
from aurora_operator.reconcile.observe import published
from aurora_operator.reconcile.plan import plan
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_support import NOW, a_snapshot

MOST = 2**53 - 1
STATUS = Status(stable=Stable(version=1, steps=3, since=NOW - timedelta(hours=1)), decided=1)
counts = st.one_of(st.integers(0, 9), st.sampled_from([10**9 - 1, 10**9, 10**12, MOST]), st.integers(0, MOST))
amounts = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -1.0, 5e-324, 1e308, -1e308])
)
texts = st.one_of(st.text(max_size=20), st.just("\x1b[31m"), st.just("x" * 5000))
trainers = st.fixed_dictionaries(
    {},
    optional={
        "step": counts, "tokens": counts, "loss": amounts, "accept_length": amounts, "samples": counts,
        "received": counts, "rejected": st.dictionaries(texts, counts, max_size=4),
        "lost": st.dictionaries(texts, counts, max_size=4), "waiting": st.booleans(), "published": counts,
        "withheld": counts, "precision": texts, "ranks": counts,
    },
)  # fmt: skip
versions = st.lists(
    st.fixed_dictionaries(
        {"version": counts},
        optional={
            "parent": counts, "step": counts, "tokens": counts, "holdout_accept_length": amounts,
            "parent_holdout_accept_length": amounts, "holdout_gain_error": amounts, "digest": texts, "bytes": counts,
            "target_fingerprint": texts,
        },
    ),
    max_size=6,
    unique_by=lambda one: one["version"],
)  # fmt: skip


def texts_of(value):
    """All texts of a status, wherever they are: kubectl prints one as it is where it is asked for alone."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return [text for one in value for text in texts_of(one)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=300, deadline=None)
@given(trainer=trainers, found=versions)
@example(trainer={"precision": "\x1b[31m"}, found=[])
@example(trainer={"lost": {"a": MOST, "b": MOST, "c": MOST}}, found=[])
@example(trainer={}, found=[{"version": 1}, {"version": MOST, "parent": 1}])
@example(trainer={}, found=[{"version": 1}, {"version": 2, "parent": 1, "holdout_accept_length": 1e308,
                            "parent_holdout_accept_length": 5e-324, "holdout_gain_error": 5e-324}])  # fmt: skip
def test_any_numbers_leave_a_status_that_can_be_stored(trainer, found):
    listed = published(Contents.read({"versions": sorted(found, key=lambda one: one["version"])}))
    made = plan(a_snapshot(status=STATUS, versions=listed, training=TrainerStatus.read(trainer)))
    stored = json.dumps(made.status, allow_nan=False)
    assert len(stored) < 100_000
    assert Status.model_validate(json.loads(stored))
    assert all(text.isprintable() for text in texts_of(made.status))
