"""The head that was read must explain the generated tokens, or nothing is trained."""

import dataclasses
import json
import shutil

import pytest
import torch
from aurora_core.config import DraftConfig, SamplesConfig, TrainingConfig, WeightsConfig
from aurora_core.errors import TrainingError
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample, encode
from aurora_core.samples.spool import SpoolSink, SpoolSource
from aurora_core.training.head_check import Agreement, agreement, check
from aurora_core.training.init import ensure_first
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.run import TrainingRun
from aurora_core.training.start import Paths, resume
from aurora_core.weights.store import WeightsStore
from families import HIDDEN, VOCAB, edit, make

pytestmark = pytest.mark.filterwarnings("ignore")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A target with a soft-cap, and what it generates."""
    folder, model = tmp_path_factory.mktemp("gemma"), make("gemma3")
    model.save_pretrained(folder)
    return folder, model


@torch.no_grad()
def answers(gemma, count, *, sampled=False):
    """Requests that the model itself answers, greedily or sampled at temperature 1."""
    folder, model = gemma
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        tokens = torch.randint(10, VOCAB, (1, 8), generator=generator)
        for _ in range(16):
            p = model(input_ids=tokens).logits[0, -1].softmax(-1)
            token = torch.multinomial(p, 1, generator=generator) if sampled else p.argmax()[None]
            tokens = torch.cat((tokens, token[None]), 1)
        last = model.model(input_ids=tokens[:, :-1]).last_hidden_state[0]
        yield Sample(f"r{i}", tokens[0], 8, torch.randn(23, 3 * HIDDEN), last, 0, Target(folder).fingerprint)


@pytest.mark.parametrize("sampled", [False, True])
def test_the_targets_own_head_explains_what_it_answers(gemma, sampled):
    found = agreement(Target(gemma[0]), list(answers(gemma, 12, sampled=sampled)), CPU)
    assert found.rows == 12 * 16
    assert found.fits
    if not sampled:
        assert found.agreed > 0.95 * found.rows


def test_a_sampled_token_that_is_not_likeliest_is_no_fault():
    assert Agreement(rows=500, agreed=30, expected=40.0).fits
    assert not Agreement(rows=500, agreed=30, expected=400.0).fits
    assert not Agreement(rows=500, agreed=4, expected=0.5).fits


def test_training_against_another_head_is_refused_reported_and_counted(gemma, tmp_path):
    wrong = tmp_path / "target"
    shutil.copytree(gemma[0], wrong)
    edit(
        wrong,
        config=lambda raw: raw.update(tie_word_embeddings=False),
        tensors=lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].roll(1, 0)},
    )
    target = Target(wrong)
    samples = [dataclasses.replace(s, target=target.fingerprint) for s in answers(gemma, 12)]
    with pytest.raises(TrainingError, match=r"of 192 generated tokens \d+ are the likeliest"):
        check(target, samples, CPU)
    sink = SpoolSink(tmp_path / "spool", 1 << 30)
    for sample in samples:
        sink.put(sample.request, encode(sample))
    paths = Paths(tmp_path / "weights", tmp_path / "state", tmp_path / "status.json")
    draft = DraftConfig(draft_vocab_size=96)
    ensure_first(WeightsStore(paths.weights), draft, target, 0)
    training = TrainingConfig(precision="fp32", start_samples=4, holdout_fraction=0.1)
    run = TrainingRun(
        resume(training, target, paths),
        draft,
        SamplesConfig(dtype="float32"),
        WeightsConfig(),
        target,
        SpoolSource(tmp_path / "spool"),
        paths,
        TrainingMetrics(training.ttt_length),
    )
    before = {name: weight.clone() for name, weight in run.trainer.draft.state_dict().items()}
    with pytest.raises(TrainingError, match="Nothing was trained"):
        run.run()
    assert run._metrics.registry.get_sample_value("aurora_train_failures_total", {"what": "head"}) == 1
    assert json.loads((tmp_path / "status.json").read_text())["step"] == 0
    assert all(torch.equal(run.trainer.draft.state_dict()[name], weight) for name, weight in before.items())
