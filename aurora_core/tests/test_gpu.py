"""What only a GPU can show of the trainer: every tensor is where the arithmetic is, over everything that a run does."""

import pytest
import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.drafts.eagle3 import maps
from aurora_core.evaluation.accept import simulate
from aurora_core.models import vocabulary
from aurora_core.training import head_check, state
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from aurora_core.weights.store import WeightsStore


def test_a_vocabulary_stays_on_its_device():
    """Seen on a GPU: the first choice of a vocabulary ended the trainer, for one tensor of it was on the CPU."""
    ids = torch.arange(8, device="meta")
    assert maps.to_d2t(ids).device == ids.device
    assert maps.from_d2t(ids).device == ids.device
    assert maps.to_t2d(ids, 16).device == ids.device
    assert vocabulary.target_to_draft(ids, 16).device == ids.device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_run_on_a_gpu(tmp_path, target, make_sample):
    cuda = torch.device("cuda")
    samples = [make_sample(f"r{i}", seed=i) for i in range(8)]
    config = TrainingConfig(lr=1e-3, ttt_length=3, warmup_steps=1)
    first = Trainer.of(config, first_draft(DraftConfig(draft_vocab_size=48), target, 0), target, cuda)
    head_check.agreement(target, samples, cuda)
    first.train_step([samples[:4]])
    assert first.set_vocabulary(torch.arange(8, 56)) > 0
    first.train_step([samples[:4]])
    store = WeightsStore(tmp_path)
    state.save(store, first, {}, published=0)
    (version,) = store.versions()
    draft = state.load_draft(store, version, target)
    second = Trainer.of(config, draft, target, cuda)
    state.restore(store, version, second)
    found, expected = (trainer.train_step([samples[4:]]) for trainer in (second, first))
    assert found.taken
    assert found.loss == pytest.approx(expected.loss, rel=1e-2)
    assert simulate(second.draft, second.teacher, samples, steps=3).length >= 1
