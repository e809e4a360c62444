"""The fastest choice follows from accept lengths and costs; trees are grown as SGLang grows them."""

import itertools

import pytest
import torch
from aurora_core.config import DraftConfig
from aurora_core.drafts.family import Teacher
from aurora_core.errors import ConfigError
from aurora_core.evaluation.accept import simulate
from aurora_core.evaluation.ranks import Ranks, ranks
from aurora_core.evaluation.recommendation import Choice, Costs, Cycle, choices, fit, tree_length
from aurora_core.training.init import first_draft
from hypothesis import given
from hypothesis import strategies as st

SHARES = ((0.6, 0.2, 0.1, 0.05), (0.5, 0.2, 0.1, 0.05), (0.4, 0.2, 0.1, 0.05))


def test_a_tree_of_one_branch_is_a_chain():
    assert tree_length(SHARES, 3, 1, 4) == pytest.approx(1 + 0.6 + 0.6 * 0.5 + 0.6 * 0.5 * 0.4)


def test_the_best_nodes_of_a_tree_are_verified():
    nodes = [0.6, 0.2, 0.6 * 0.5, 0.6 * 0.2, 0.2 * 0.5, 0.2 * 0.2]
    assert tree_length(SHARES, 2, 2, 7) == pytest.approx(1 + sum(nodes))
    assert tree_length(SHARES, 2, 2, 4) == pytest.approx(1 + 0.6 + 0.3 + 0.2)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 12))
def test_more_of_anything_accepts_no_less(steps, top_k, tokens):
    length = tree_length(SHARES, steps, top_k, tokens)
    assert 1 <= length <= steps + 1
    assert tree_length(SHARES, steps, top_k, tokens + 1) >= length
    if steps < 3:
        assert tree_length(SHARES, steps + 1, top_k, tokens) >= length - 1e-12


def test_costs_decide():
    found = Ranks((1.6, 1.9, 2.02), SHARES)
    free = choices(found, Costs(10.0, 0.0))
    assert (free[0].num_steps, free[0].top_k) == (3, 4)
    assert choices(found, Costs(10.0, 20.0))[0] == Choice(0, 0, 1, 1.0, 10.0)
    dear = choices(found, Costs(10.0, 1.0, 3.0))[0]
    assert (dear.num_steps, dear.top_k) == (1, 1)
    by_tokens = [(one.num_steps, one.num_draft_tokens, one.accept_length) for one in free]
    assert len(set(by_tokens)) == len(by_tokens)
    speeds = [one.tokens_per_second for one in free]
    assert speeds == sorted(speeds, reverse=True)
    assert all(one.num_draft_tokens == one.num_steps + 1 for one in free if one.top_k == 1)


def test_costs_are_found_again():
    true = Costs(8.0, 0.5, 0.1)
    points = [Cycle(s, n, true.cycle(s, n)) for s, n in ((0, 1), (3, 4), (3, 16), (5, 32))]
    found = fit(points)
    assert (found.target, found.draft, found.verify) == pytest.approx((8.0, 0.5, 0.1))
    chains = fit(points[:2])
    assert (chains.target, chains.draft, chains.verify) == (pytest.approx(8.0), pytest.approx(0.6), 0.0)


@pytest.mark.parametrize(
    ("cycles", "message"),
    [
        ([], "at least two"),
        ([(3, 4, 9.0)], "at least two"),
        ([(0, 1, 9.0), (3, 4, 5.0)], "faster with more draft steps"),
    ],
)
def test_costs_that_cannot_be_found_say_so(cycles, message):
    with pytest.raises(ConfigError, match=message):
        fit([Cycle(*one) for one in cycles])


def test_one_pass_gives_every_chain_and_ranks_in_order(target, make_sample):
    draft = first_draft(DraftConfig(draft_vocab_size=48), target, 0)
    samples = [make_sample(f"r{i}", seed=i) for i in range(8)]
    teacher = Teacher.of(target, draft, torch.float32, torch.device("cpu"))
    found = ranks(draft, teacher, samples, steps=3, width=4)
    for steps in (1, 2, 3):
        assert found.lengths[steps - 1] == simulate(draft, teacher, samples, steps=steps).length
    assert all(0 <= sum(row) <= 1 for row in found.shares)
    wide = ranks(draft, teacher, samples, steps=1, width=48)
    assert all(share >= 0 for share in itertools.chain(*wide.shares))
    # Ranks of a wider pass begin with those of a narrower one.
    assert wide.shares[0][:4] == pytest.approx(found.shares[0])
