"""The counters are the answers' own metadata, added up; exactly."""

import concurrent.futures
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from aurora_core.agent.serving import ServingCollector
from aurora_core.engine.counters import KEPT
from aurora_core.protocol import metrics
from aurora_core.protocol.engine import ArmCounters, measured
from engine_support import ADMIN_KEY, publish
from prometheus_client import CollectorRegistry
from workshop.waiting import wait

pytestmark = pytest.mark.filterwarnings("ignore")


def arms(engine):
    return {(arm.version, arm.steps): arm for arm in engine.control.state().arms}


def grown(engine, before, live):
    after = engine.control.state().arm(live, 3)
    return {name: getattr(after, name) - getattr(before, name) for name, _ in measured(ArmCounters)}


def test_the_counters_agree_with_the_answers(engine, prompts):
    live = engine.control.state().draft.live
    engine.control.set_steps(3)
    before = engine.control.state().arm(live, 3)
    with ThreadPoolExecutor(5) as pool:
        jobs = [(p, f"count-{i}") for i, p in enumerate(prompts[130:145])]
        metas = [a["meta_info"] for a in pool.map(lambda job: engine.ask(*job, 40), jobs)]
    found = grown(engine, before, live)
    cycles = sum(m["spec_verify_ct"] for m in metas)
    assert found["accept_cycles"] == cycles
    assert found["accept_tokens"] == cycles + sum(m["spec_num_correct_drafts"] for m in metas)
    assert (found["requests_finished"], found["requests_aborted"], found["requests_failed"]) == (len(metas), 0, 0)
    assert 0 < found["decode_tokens"] < found["accept_tokens"]
    assert found["decode_seconds"] > 0


def test_the_strata_of_an_arm_add_up_to_it_and_each_has_its_own_requests(engine, prompts):
    """Of both APIs, of a batch and of a client that names a stratum in what it sends."""
    live = engine.control.state().draft.live
    engine.control.set_steps(3)
    before = engine.control.state().arm(live, 3)
    sampling = {"temperature": 0, "max_new_tokens": 24}
    requests = [
        ("/generate", {"text": prompts[147], "sampling_params": sampling}, "law-eu"),
        ("/generate", {"text": prompts[147:149], "sampling_params": sampling}, "law-eu"),
        ("/generate", {"text": prompts[149], "sampling_params": sampling, "routing_key": "aurora/law/"}, "none"),
        ("/v1/completions", {"model": "m", "prompt": prompts[150], "max_tokens": 24, "temperature": 0}, "law-eu"),
        ("/v1/completions", {"model": "m", "prompt": prompts[151], "max_tokens": 24, "temperature": 0}, None),
    ]
    grown_by = []
    for path, body, team in requests:
        at = engine.control.state().arm(live, 3).strata
        headers = {"x-smg-routing-key": "aurora/law/"} | ({} if team is None else {"x-team": team})
        httpx.post(f"{engine.url}{path}", json=body, headers=headers, timeout=120).raise_for_status()
        now = engine.control.state().arm(live, 3).strata
        old = {name: at[name].accept_tokens if name in at else 0 for name in now}
        grown_by.append({name for name, one in now.items() if one.accept_tokens > old[name]})
    assert grown_by == [{"law"}, {"law"}, {"other"}, {"law"}, {"other"}]
    found, after = grown(engine, before, live), engine.control.state().arm(live, 3)
    for name in ("accept_tokens", "accept_cycles", "decode_tokens", "decode_seconds"):
        was = sum(getattr(one, name) for one in before.strata.values())
        assert sum(getattr(one, name) for one in after.strata.values()) - was == pytest.approx(found[name])


def test_a_stratum_that_is_kept_out_of_training_is_answered_and_counted_and_never_captured(engine, prompts):
    before = engine.control.state()
    sampling = {"temperature": 0, "max_new_tokens": 24}
    for rid, team in (("kept-out", "clinic"), ("captured", "law-eu")):
        body = {"rid": rid, "text": prompts[152], "sampling_params": sampling}
        answer = httpx.post(f"{engine.url}/generate", json=body, headers={"x-team": team}, timeout=120)
        assert answer.raise_for_status().json()["meta_info"]["completion_tokens"] > 1
    wait("the other one's sample", lambda: "captured" in engine.samples(), 30)
    assert "kept-out" not in engine.samples()
    after = engine.control.state()
    assert after.arm(after.draft.live, after.steps).strata["health"].accept_tokens > 0
    assert after.capture.dropped["opted_out"] == before.capture.dropped.get("opted_out", 0) + 1


def test_a_request_that_runs_has_counted_already_and_an_abort_takes_nothing_back(engine, prompts):
    live = engine.control.state().draft.live
    engine.control.set_steps(3)
    before = engine.control.state().arm(live, 3)
    admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(engine.ask, prompts[146], "long", 900, ignore_eos=True)
        wait("cycles of a request that runs", lambda: grown(engine, before, live)["accept_cycles"] > 20, 60)
        assert not running.done()
        seen = grown(engine, before, live)
        assert seen["requests_finished"] == 0
        httpx.post(f"{engine.url}/abort_request", json={"rid": "long"}, headers=admin, timeout=10).raise_for_status()
        concurrent.futures.wait([running], timeout=60)
    wait("the abort to count", lambda: grown(engine, before, live)["requests_aborted"] == 1, 30)
    found = grown(engine, before, live)
    assert found["accept_tokens"] >= seen["accept_tokens"]
    assert found["requests_finished"] == 0


def test_counters_are_kept_of_the_versions_that_were_live_last(engine, prompts):
    live = engine.control.state().draft.live
    served = [publish(engine) for _ in range(KEPT + 1)]
    engine.control.set_steps(3)
    for version in served:
        engine.control.load(version)
        engine.ask(prompts[145], f"kept-{version}", 8)
    assert {version for version, _ in arms(engine)} == set(served[-KEPT:])
    engine.control.load(live)


def test_sglangs_own_metrics_of_serving_are_passed_on(engine, prompts):
    # Only between the chunks of a stream is there a time from token to token.
    body = {"text": prompts[146], "stream": True, "sampling_params": {"temperature": 0, "max_new_tokens": 16}}
    httpx.post(f"{engine.url}/generate", json=body, timeout=120).raise_for_status()
    registry = CollectorRegistry()
    labels = {"speculator": "ns/chat", "engine": "e"}
    registry.register(ServingCollector(engine.control.metrics, labels))
    found = {family.name: family for family in registry.collect()}
    assert {one.name for one in metrics.SGLANG} == found.keys()
    assert all(s.labels.items() >= labels.items() for family in found.values() for s in family.samples)
    first = found[metrics.FIRST_TOKEN_SECONDS.name]
    assert sum(s.value for s in first.samples if s.name.endswith("_count")) >= 1
