"""The packed micro-batch is the plain one: the same losses, predictions and gradients, for samples of any shape."""

from dataclasses import replace

import pytest
import torch
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.drafts.eagle3 import supervision
from aurora_core.drafts.eagle3.chains import chains
from aurora_core.drafts.eagle3.draft import Eagle3Draft
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.samples.batch import Batch
from aurora_core.samples.packed import Packed
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CPU = torch.device("cpu")


NORMS = ("norm_before_fc", "fc_norm", "norm_output")


def drafted(target, **shape):
    """A draft with random weights, none of them zero and no norm one; of another shape where that is asked for."""
    first = first_draft(DraftConfig(draft_vocab_size=48), target, 3)
    draft = Eagle3Draft(replace(first.config, **shape))
    draft.load_state_dict(first.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in draft.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return draft


def trainer_of(target, device=CPU, shape=None, **changes):
    config = TrainingConfig(**{"lr": 1e-3, "ttt_length": 3, "precision": "fp32", "step_weight_decay": 0.8} | changes)
    return Trainer.of(config, drafted(target, **(shape or {})), target, device)


def noisy(sample):
    """The same with states of which none is zero, as those of the third layer are."""
    generator = torch.Generator().manual_seed(len(sample.tokens))
    return replace(sample, aux=sample.aux + 0.3 * torch.randn(sample.aux.shape, generator=generator))


def run(trainer, how, samples, steps):
    trainer.draft.zero_grad()
    sums = how(trainer.draft, trainer.teacher, samples, steps, 0.8, 0.1)
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in trainer.draft.named_parameters()}
    return sums, grads


def assert_same(trainer, samples, steps, rtol=2e-4, atol=2e-6):
    (plain, expected), (packed, found) = (
        run(trainer, how, samples, steps) for how in (supervision.plain, supervision.packed)
    )
    assert packed.rows == plain.rows
    assert packed.loss == pytest.approx(plain.loss, rel=rtol, abs=1e-4)
    assert packed.correct == plain.correct or rtol > 1e-2
    for name, grad in expected.items():
        if found[name] is None:
            assert grad is None or not grad.any(), name
            continue
        scale = float(grad.abs().max()) + 1e-9
        assert float((found[name] - grad).abs().max()) <= atol + rtol * scale, name


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_ragged_samples_of_any_prompt_share(target, make_sample, data):
    samples = []
    for i in range(data.draw(st.integers(1, 4))):
        length = data.draw(st.integers(3, 30))
        samples.append(make_sample(str(i), length=length, prompt=data.draw(st.integers(1, length - 1)), seed=i))
    assert_same(trainer_of(target), samples, data.draw(st.integers(1, 6)))


def test_long_samples_attend_in_chunks(monkeypatch, target, make_sample):
    monkeypatch.setattr("aurora_core.drafts.eagle3.chains._CHUNK", 7)
    samples = [make_sample("a", length=40, prompt=9), make_sample("b", length=23, prompt=2, seed=1)]
    assert_same(trainer_of(target), samples, 5)


@pytest.mark.parametrize("prompt", [1, 10, 20, 38])
def test_prompt_shares_from_none_to_nearly_all(target, make_sample, prompt):
    samples = [make_sample(str(i), length=40, prompt=prompt, seed=i) for i in range(3)]
    assert_same(trainer_of(target), samples, 4)


@pytest.mark.parametrize("norms", [*([name] for name in NORMS), NORMS])
def test_norms_of_eagle_3_1_are_trained_alike(target, make_sample, norms):
    trainer = trainer_of(target, shape=dict.fromkeys(norms, True))
    samples = [noisy(make_sample("a", length=30, prompt=9)), noisy(make_sample("b", length=23, prompt=2, seed=1))]
    assert_same(trainer, samples, 5)
    before = {name: weight.clone() for name, weight in trainer.draft.named_parameters()}
    assert trainer.train_step([samples]).taken
    assert all(not torch.equal(before[name], weight) for name, weight in trainer.draft.named_parameters())
    plain = run(trainer_of(target), supervision.packed, samples, 5)[0]
    assert run(trainer, supervision.packed, samples, 5)[0].loss != pytest.approx(plain.loss, rel=1e-3)


TARGET_HEAD = {"shared_head": True, "draft_vocab_size": 64}


def test_a_draft_with_its_target_s_head_is_trained_alike(target, make_sample):
    trainer = trainer_of(target, shape=TARGET_HEAD)
    samples = [make_sample("a", length=30, prompt=9), make_sample("b", length=23, prompt=2, seed=1)]
    assert_same(trainer, samples, 5)
    assert run(trainer, supervision.packed, samples, 2)[0].rows == [
        sum(s.roots for s in samples) - k * 2 for k in (0, 1)
    ]
    assert trainer.set_vocabulary(torch.arange(64)) == 0
    assert "lm_head.weight" not in dict(trainer.draft.named_parameters())
    before = trainer.teacher.head.clone()
    losses = [trainer.train_step([samples]).loss for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert torch.equal(trainer.teacher.head, before)


SEVERAL = [{"num_hidden_layers": 3}, {"num_hidden_layers": 2, **TARGET_HEAD, **dict.fromkeys(NORMS, True)}]


@pytest.mark.parametrize("shape", SEVERAL, ids=str)
def test_several_layers_are_trained_alike(monkeypatch, target, make_sample, shape):
    monkeypatch.setattr("aurora_core.drafts.eagle3.chains._CHUNK", 7)
    trainer = trainer_of(target, shape=shape)
    samples = [noisy(make_sample("a", length=30, prompt=9)), noisy(make_sample("b", length=23, prompt=2, seed=1))]
    assert_same(trainer, samples, 5)
    before = {name: weight.clone() for name, weight in trainer.draft.named_parameters()}
    assert trainer.train_step([samples]).taken
    assert all(not torch.equal(before[name], weight) for name, weight in trainer.draft.named_parameters())


def test_in_bf16_within_its_rounding(target, make_sample):
    samples = [make_sample(str(i), length=20 + i, prompt=5, seed=i) for i in range(3)]
    assert_same(trainer_of(target, precision="bf16"), samples, 3, rtol=0.08, atol=2e-2)


def test_a_sample_without_anything_to_learn_costs_nothing(target, make_sample):
    trainer = trainer_of(target)
    only_prompt = make_sample("a", length=12, prompt=11)
    sums, _ = run(trainer, supervision.packed, [only_prompt], 3)
    assert sums.rows == [0, 0, 0]
    assert_same(trainer, [only_prompt, make_sample("b", length=20, prompt=4)], 3)


def test_documents_are_kept_apart(target, make_sample):
    trainer = trainer_of(target)
    one, two = make_sample("a", length=20, prompt=4), make_sample("b", length=15, prompt=3, seed=1)
    together, alone = (run(trainer, supervision.packed, s, 3)[0] for s in ([one, two], [one]))
    other = replace(two, aux=two.aux * 3, last=two.last * 3)
    changed, apart = (run(trainer, supervision.packed, s, 3)[0] for s in ([one, other], [other]))
    for k in range(3):
        assert changed.loss[k] - apart.loss[k] == pytest.approx(alone.loss[k], rel=1e-3, abs=1e-3)
        assert together.rows[k] == alone.rows[k] + run(trainer, supervision.packed, [two], 3)[0].rows[k]


@torch.no_grad()
def test_chains_are_the_unrolled_rows(target, make_sample):
    trainer = trainer_of(target)
    samples = [make_sample("a", length=17), make_sample("b", length=11, seed=1)]
    batch, packed = Batch.of(samples, torch.float32), Packed.of(samples, torch.float32)
    where = [(i, s.prompt_tokens - 1 + j) for i, s in enumerate(samples) for j in range(packed.spans[i][3])]
    plain = list(unroll(trainer.draft, trainer.teacher.embedding, batch, 4))
    for step, (roots, out) in enumerate(chains(trainer.draft, trainer.teacher.embedding, packed, 4)):
        expected = torch.stack([plain[step][where[r]] for r in roots.tolist()])
        assert torch.allclose(out, expected, atol=2e-5), step


def test_the_prompt_s_rows_carry_no_loss(target, make_sample):
    """Whatever the prompt says, its rows are context: what is predicted there moves no weight."""
    trainer = trainer_of(target)
    sample = make_sample("a", length=24, prompt=12)
    sums, grads = run(trainer, supervision.packed, [sample], 1)
    assert sums.rows == [sum(int(trainer.teacher.to_draft[t]) >= 0 for t in sample.tokens[13:].tolist())]
    other = replace(sample, last=torch.cat([sample.last[:12] * 7, sample.last[12:]]))
    assert other.last[:12].ne(sample.last[:12]).any()
    for how in (supervision.packed, supervision.plain):
        found, again = run(trainer, how, [other], 1)
        assert found.loss == pytest.approx(sums.loss, rel=1e-4)
        for name, grad in grads.items():
            assert torch.allclose(again[name], grad, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("how", [supervision.plain, supervision.packed])
def test_only_what_the_target_generated_is_learned(target, make_sample, how):
    """Rows of the prompt have no loss: without attention to them, nothing of theirs shows in loss or gradients."""
    trainer = trainer_of(target)
    with torch.no_grad():
        trainer.draft.midlayer.self_attn.o_proj.weight.zero_()
    sample = make_sample("a", length=24, prompt=12)

    def learned(one):
        sums, grads = run(trainer, how, [one], 3)
        return sums, {name: grad for name, grad in grads.items() if grad is not None and "self_attn" not in name}

    def other(first, last):
        """Different states at some rows."""
        changed = replace(sample, aux=sample.aux.clone(), last=sample.last.clone())
        changed.aux[first:last] = 7.0
        changed.last[first:last] = -7.0
        return changed

    (sums, grads), (same_sums, same_grads) = learned(sample), learned(other(0, sample.prompt_tokens - 1))
    assert sums == same_sums
    assert grads.keys() >= {"fc.weight", "lm_head.weight"}
    for name, grad in grads.items():
        assert torch.equal(grad, same_grads[name]), name
    generated_sums, _ = learned(other(sample.prompt_tokens, 24))
    assert generated_sums.loss != sums.loss


def test_a_step_weighs_four_fifths_of_the_one_before_unless_it_is_set(target):
    assert trainer_of(target, step_weight_decay=None).unrolled.decay == 0.8
    assert trainer_of(target, step_weight_decay=0.5).unrolled.decay == 0.5
