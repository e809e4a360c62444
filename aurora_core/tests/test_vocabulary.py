"""The draft's vocabulary: what traffic uses most, and how much of it that covers."""

import torch
from aurora_core.drafts.eagle3 import maps
from aurora_core.evaluation.accept import coverage
from aurora_core.models import vocabulary


def test_the_vocabulary_is_what_traffic_uses():
    counts = torch.zeros(100, dtype=torch.int64)
    counts[[5, 50, 99]] = torch.tensor([3, 9, 1])
    assert vocabulary.choose(counts, 3).tolist() == [5, 50, 99]
    assert vocabulary.choose(counts, 5).tolist() == [0, 1, 5, 50, 99]
    ids = vocabulary.choose(counts, 10)
    assert torch.equal(maps.from_d2t(maps.to_d2t(ids)), ids)
    assert maps.to_t2d(ids, 100).sum() == 10


def test_coverage_is_the_share_of_generated_tokens(make_sample):
    sample = make_sample(length=10, prompt=6)
    generated = sample.tokens[6:]
    assert coverage([sample], generated.unique(), 64) == 1.0
    assert coverage([sample], generated[:2].unique(), 64) == 0.5
