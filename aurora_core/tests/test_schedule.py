"""The learning rate of a step."""

import itertools

import pytest
import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.training.init import first_draft
from aurora_core.training.schedule import learning_rate, peak
from aurora_core.training.trainer import Trainer


def test_the_learning_rate_warms_up_and_decays():
    c = TrainingConfig(lr=1.0, warmup_steps=4, lr_decay_style="cosine", lr_total_steps=14, min_lr=0.1)
    rates = [learning_rate(c, peak(c, 576), s) for s in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[14] == pytest.approx(0.1)
    assert rates[19] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


def test_without_a_rate_it_falls_with_the_width_of_the_target(target):
    c = TrainingConfig(precision="fp32")
    assert peak(c, 576) == pytest.approx(1e-3)
    assert peak(c, 4096) == pytest.approx(1.4e-4, rel=0.01)
    trainer = Trainer.of(c, first_draft(DraftConfig(draft_vocab_size=40), target, 0), target, torch.device("cpu"))
    assert trainer.optimizer.param_groups[0]["lr"] == 0.576 / target.hidden_size
    assert peak(TrainingConfig(lr=1e-5), 4096) == 1e-5
