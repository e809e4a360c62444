"""The counters are the answers' own metadata, added up; exactly."""

from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


def arms(engine):
    return {(a["version"], a["steps"]): a for a in engine.control.state()["accept"]}


def test_the_six_sums_agree_with_the_answers(engine, prompts):
    live = engine.control.state()["draft"]["live"]
    engine.control.set_steps(3)
    before = arms(engine).get((live, 3), dict.fromkeys(("n", "t", "v", "tt", "tv", "vv"), 0))
    with ThreadPoolExecutor(5) as pool:
        jobs = [(p, f"count-{i}") for i, p in enumerate(prompts[130:145])]
        metas = [a["meta_info"] for a in pool.map(lambda job: engine.ask(*job, 40), jobs)]
    after = arms(engine)[live, 3]
    pairs = [(m["spec_num_correct_drafts"] + m["spec_verify_ct"], m["spec_verify_ct"]) for m in metas]
    expected = {
        "n": len(pairs),
        "t": sum(t for t, _ in pairs),
        "v": sum(v for _, v in pairs),
        "tt": sum(t * t for t, _ in pairs),
        "tv": sum(t * v for t, v in pairs),
        "vv": sum(v * v for _, v in pairs),
    }
    assert {k: after[k] - before[k] for k in expected} == expected


def test_series_of_versions_that_nobody_judges_can_be_dropped(engine):
    live = engine.control.state()["draft"]["live"]
    engine.control.forget_before(10_000)
    assert {version for version, _ in arms(engine)} <= {live}
