"""However many versions an engine serves, it exports as many series as for the first few."""

from types import SimpleNamespace

import pytest
from aurora_core.agent.metrics import EngineCollector
from aurora_core.config import DraftConfig, SamplesConfig
from aurora_core.engine.counters import KEPT
from aurora_core.engine.runtime import Runtime
from aurora_core.engine.settings import EngineSettings
from aurora_core.protocol import metrics
from aurora_core.protocol.agent import Volume
from aurora_core.protocol.engine import EngineState
from aurora_core.training.init import ensure_first, first_draft
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore

VERSIONS = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory, target):
    made = WeightsStore(tmp_path_factory.mktemp("weights"))
    config = DraftConfig(draft_vocab_size=40)
    ensure_first(made, config, target, 0)
    draft = first_draft(config, target, 1)
    for _ in range(VERSIONS):
        made.publish(lambda folder: checkpoint.write(folder, draft), target_fingerprint=target.fingerprint)
    return made


@pytest.fixture
def runtime(tmp_path, target, store):
    return Runtime.started(
        EngineSettings(
            weights=store.root,
            version=0,
            target=target.fingerprint,
            spool=tmp_path / "spool",
            dtype="float32",
            initial_steps=3,
            samples=SamplesConfig(),
        )
    )


class Draft:
    """SGLang's draft worker: what takes the weights."""

    hot_token_id = None

    def weight_update_runners(self):
        updater = SimpleNamespace(begin_weight_update=lambda: None, end_weight_update=lambda **_: None)
        model = SimpleNamespace(load_weights=list)
        return [("draft", SimpleNamespace(weight_updater=updater, model=model))]


SCHEDULER = SimpleNamespace(draft_worker=Draft())


def activate(runtime, version):
    runtime.swap.prepare(version)
    runtime.swap._preparing.join()
    runtime.activate(version, SCHEDULER)


def serve(runtime, rid, steps=3, cycles=2):
    """A request, from its first verify cycle to its end."""
    times = SimpleNamespace(scheduler_recv_time=10.0, prefill_finished_time=10.5)
    request = SimpleNamespace(rid=rid, is_retracted=False, finished=lambda: False, time_stats=times)
    result = SimpleNamespace(
        logits_output=None, speculative_num_draft_tokens=steps + 1, num_correct_drafts_per_req_cpu=[1]
    )
    for _ in range(cycles):
        runtime.verified(result, [request])
    runtime.counters.ended(rid, "finished")


def exported(runtime):
    state = EngineState.read(runtime.status().plain())
    families = EngineCollector(lambda: state, lambda: Volume(free=1, total=2), {metrics.ENGINE: "pod"}).collect()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def test_an_engine_that_served_100_versions_exports_as_many_series_as_one_that_served_3(runtime):
    serve(runtime, "first")
    counts = []
    for version in range(1, VERSIONS + 1):
        activate(runtime, version)
        serve(runtime, f"r{version}")
        counts.append(len(exported(runtime)))
    assert counts[KEPT - 2 :] == [counts[-1]] * (VERSIONS - KEPT + 2)
    assert {arm.version for arm in runtime.counters.arms} == {98, 99, 100}


def test_counters_of_both_arms_of_a_trial_only_grow(runtime):
    for version in (1, 2, 3):
        activate(runtime, version)
        serve(runtime, f"before-{version}")
    before = {}
    for slice_ in range(12):
        # Stable drafts or does not, the candidate does: a trial has at most these arms.
        activate(runtime, 3 if slice_ % 2 else 5)
        serve(runtime, f"slice-{slice_}", steps=3 if slice_ % 3 else 0)
        now = {
            key: value
            for key, value in exported(runtime).items()
            if key[0] == str(metrics.ACCEPT_TOKENS) and dict(key[1:])["version"] in {"3", "5"}
        }
        assert before.keys() <= now.keys()
        assert all(now[key] >= value for key, value in before.items())
        assert sum(now.values()) > sum(before.values())
        before = now
