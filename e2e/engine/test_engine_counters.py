"""The counters are the answers' own metadata, added up; exactly."""

from concurrent.futures import ThreadPoolExecutor

import pytest

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


def test_series_of_versions_that_nobody_judges_can_be_dropped(engine):
    live = engine.control.state().draft.live
    engine.control.forget_before(10_000)
    assert {version for version, _ in arms(engine)} <= {live}
