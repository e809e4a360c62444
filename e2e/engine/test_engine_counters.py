"""The counters are the answers' own metadata, added up; exactly."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from aurora_core.engine.counters import KEPT
from engine_support import publish

pytestmark = pytest.mark.filterwarnings("ignore")


def arms(engine):
    return {(arm.version, arm.steps): arm for arm in engine.control.state().arms}


def test_the_six_sums_agree_with_the_answers(engine, prompts):
    live = engine.control.state().draft.live
    engine.control.set_steps(3)
    before = engine.control.state().arm(live, 3)
    with ThreadPoolExecutor(5) as pool:
        jobs = [(p, f"count-{i}") for i, p in enumerate(prompts[130:145])]
        metas = [a["meta_info"] for a in pool.map(lambda job: engine.ask(*job, 40), jobs)]
    after = arms(engine)[live, 3]
    pairs = [(m["spec_num_correct_drafts"] + m["spec_verify_ct"], m["spec_verify_ct"]) for m in metas]
    expected = {
        "accept_observations": len(pairs),
        "accept_tokens": sum(t for t, _ in pairs),
        "accept_cycles": sum(v for _, v in pairs),
        "accept_tokens_squared": sum(t * t for t, _ in pairs),
        "accept_tokens_cycles": sum(t * v for t, v in pairs),
        "accept_cycles_squared": sum(v * v for _, v in pairs),
    }
    assert {k: getattr(after, k) - getattr(before, k) for k in expected} == expected


def test_counters_are_kept_of_the_versions_that_were_live_last(engine, prompts):
    live = engine.control.state().draft.live
    served = [publish(engine) for _ in range(KEPT + 1)]
    engine.control.set_steps(3)
    for version in served:
        engine.control.load(version)
        engine.ask(prompts[145], f"kept-{version}", 8)
    assert {version for version, _ in arms(engine)} == set(served[-KEPT:])
    engine.control.load(live)
