"""Strata: nobody is hurt behind the mean, and how many requests a kind sends is no part of the mean."""

import math
import random

import pytest
from aurora_operator.api.promotion import Gate, Strata
from aurora_operator.promotion.blocks import MEASURES, Dealt, Trial
from aurora_operator.promotion.counters import Row
from aurora_operator.promotion.eprocess import Block
from aurora_operator.promotion.gate import Evidence, Verdict, decide
from aurora_operator.promotion.strata import Stratum, harmed, stratified, undecided, weighted
from hypothesis import given
from hypothesis import strategies as st

GATE = Gate()
ACCEPT = MEASURES["AcceptLength"]


def blocks(ratio, n=40, spread=0.02):
    return Trial(tuple(Block(math.log(ratio) + spread * (-1) ** i, 1000.0) for i in range(n)))


def of(name, ratio, n=40, limit=0.05, speed=None):
    return Stratum(name, limit, blocks(ratio, n), Trial() if speed is None else blocks(speed, n), worked=n > 0)


def decided(*strata, mean=1.1, gate=GATE, elapsed=100, alpha=None):
    evidence = Evidence(blocks(mean), candidate_requests=500, stable_requests=500, strata=strata)
    return decide(gate, evidence, (), elapsed, alpha)


def dealt(rows, numbers):
    """Blocks of (tokens, cycles) of candidate and stable."""
    pairs = tuple(((Row(tokens=a, cycles=b), Row(tokens=c, cycles=d)),) for (a, b), (c, d) in rows)
    return Dealt(pairs, 0, tuple(numbers))


def test_a_stratum_that_loses_more_than_it_may_rejects_though_the_mean_gains():
    found = decided(of("code", 1.2), of("law", 0.85))
    assert (found.verdict, found.reason) == (Verdict.REJECT, "StratumHarmed")
    assert "law" in found.message
    assert "5.0%" in found.message
    assert decided(of("code", 1.2), of("law", 0.85, limit=0.3)).verdict is Verdict.PROMOTE


def test_a_stratum_that_decodes_slower_rejects_though_its_accept_length_does_not_fall():
    assert decided(of("code", 1.1, speed=0.8)).reason == "StratumHarmed"
    assert decided(of("code", 1.1, speed=0.99)).verdict is Verdict.PROMOTE


def test_a_stratum_of_which_too_little_is_known_keeps_a_promotion_back_and_one_without_requests_does_not():
    few = decided(of("code", 1.1), of("law", 1.0, n=3))
    assert (few.verdict, few.reason) == (Verdict.WAIT, "StratumUndecided")
    assert "law" in few.message
    assert decided(of("code", 1.1), of("law", 1.0, n=0)).verdict is Verdict.PROMOTE


@pytest.mark.parametrize("policy", ["KeepStable", "Promote"])
def test_what_keeps_a_promotion_back_does_so_at_the_end_too(policy):
    gate = Gate(on_inconclusive=policy)
    over = decided(of("law", 1.0, n=3), gate=gate, elapsed=gate.max_duration_seconds)
    assert (over.verdict, over.reason) == (Verdict.REJECT, "Inconclusive")
    assert "law" in over.message


def test_each_stratum_answers_for_the_trials_full_alpha_and_rejections_share_theirs():
    one = of("law", 1.0, n=14)
    assert undecided([one], 0.05) is None
    assert undecided([one], 1e-9) is not None
    worse = of("law", 0.85, n=12)
    assert harmed([worse], 0.01) is not None
    assert harmed([worse, *(of(f"s{i}", 1.0) for i in range(2000))], 0.01) is None


def test_the_mean_has_fixed_weights_whatever_each_kind_sends():
    """Code gains 10 % and sends ten times as much under the candidate; law loses 10 %."""
    code = dealt([((2200.0 * 10, 1000.0 * 10), (2000.0, 1000.0))] * 4, range(1, 5))
    law = dealt([((900.0, 1000.0), (1000.0, 1000.0))] * 4, range(1, 5))
    plain = Trial(void=2)
    mean = weighted({"code": code, "law": law}, {"code": 1.0, "law": 3.0}, plain, ACCEPT)
    assert mean.void == 2
    assert [b.difference for b in mean.blocks] == pytest.approx([(math.log(1.1) + 3 * math.log(0.9)) / 4] * 4)


def test_a_stratum_without_a_value_leaves_the_mean_of_that_block_to_the_others():
    code = dealt([((2200.0, 1000.0), (2000.0, 1000.0))] * 2, [1, 3])
    law = dealt([((1200.0, 1000.0), (1000.0, 1000.0))], [3])
    mean = weighted(
        {"code": code, "law": law, "idle": Dealt()}, {"code": 1.0, "law": 1.0, "idle": 5.0}, Trial(), ACCEPT
    )
    assert [b.difference for b in mean.blocks] == pytest.approx([math.log(1.1), (math.log(1.1) + math.log(1.2)) / 2])


def test_a_trial_with_strata_has_each_of_the_spec_with_its_limit_and_weight():
    spec = Strata.model_validate(
        {
            "by": "Header",
            "header": "x-tenant",
            "named": [{"name": "law", "values": ["l"], "weight": 3, "maxRegression": 0.1}],
        }
    )
    rows = [((2200.0, 1000.0), (2000.0, 1000.0))] * 2
    by_stratum = {"law": dealt(rows, [1, 2]), "other": dealt([((900.0, 1000.0), (1000.0, 1000.0))], [2])}
    found = stratified(spec, "AcceptLength", by_stratum, {"law"}, Trial(), Trial())
    assert [(one.name, one.limit, one.worked, len(one.trial.blocks)) for one in found.strata] == [
        ("law", 0.1, True, 2),
        ("other", 0.05, False, 1),
    ]
    assert found.trial.blocks[1].difference == pytest.approx((3 * math.log(1.1) + math.log(0.9)) / 4)
    assert found.speed.blocks == ()


def test_a_draft_that_harms_a_stratum_in_each_block_is_promoted_in_less_than_its_share():
    """The mean is proved at once; law loses 6 % where 5 % are allowed, and the coin deals the noise."""
    rng = random.Random(7)
    promoted = 0
    for _ in range(100):
        law = tuple(Block(math.log(0.94) + rng.choice((-1, 1)) * abs(rng.gauss(0, 0.08)), 100.0) for _ in range(60))
        promoted += any(
            undecided([Stratum("law", 0.05, Trial(law[:n]), Trial(), True)], 0.05) is None for n in range(6, 61, 6)
        )
    assert promoted <= 0.05 * 100


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=8))
def test_nothing_is_promoted_while_a_stratum_can_be_worse(ratios):
    strata = [of(f"s{i}", ratio) for i, ratio in enumerate(ratios)]
    if decided(*strata).verdict is Verdict.PROMOTE:
        assert min(ratios) > 0.95
