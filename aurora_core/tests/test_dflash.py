"""DFlash: the packed micro-batch is the plain one, a block is what its definition says, and drafts learn from it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from aurora_core.config import DraftConfig, TrainingConfig
from aurora_core.config.parts import DraftShape
from aurora_core.drafts.dflash import FAMILY, day_zero, layers, supervision
from aurora_core.drafts.dflash.anchors import Anchors
from aurora_core.drafts.dflash.blocks import blocks
from aurora_core.drafts.dflash.config import DFlashConfig
from aurora_core.drafts.dflash.draft import DFlashDraft
from aurora_core.drafts.dflash.packed import outputs
from aurora_core.drafts.modules import rotate
from aurora_core.drafts.reduce import reduced
from aurora_core.errors import ConfigError
from aurora_core.evaluation.accept import simulate
from aurora_core.samples.batch import Batch
from aurora_core.samples.packed import Packed
from aurora_core.training.init import first_draft
from aurora_core.training.trainer import Trainer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CPU = torch.device("cpu")


def config_of(block_size, depth):
    return DraftConfig(
        algorithm="DFLASH",
        num_steps=block_size - 1,
        num_draft_tokens=block_size,
        aux_layers=(1, 2, 3),
        shape=DraftShape(num_hidden_layers=depth),
    )


def trainer_of(target, block_size=4, depth=2, **changes):
    base = {"lr": 3e-3, "precision": "fp32", "warmup_steps": 1, "max_grad_norm": 1.0}
    draft = first_draft(config_of(block_size, depth), target, 3)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in draft.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return Trainer.of(TrainingConfig(**base | changes), draft, target, CPU)


def run(trainer, how, samples):
    trainer.draft.zero_grad()
    sums = how(trainer.draft, trainer.teacher, samples, trainer.unrolled.steps, 0.8, 0.1)
    return sums, {name: p.grad for name, p in trainer.draft.named_parameters()}


def assert_same(trainer, samples, rtol=2e-4, atol=2e-6):
    (plain, expected), (packed, found) = (run(trainer, how, samples) for how in (supervision.plain, supervision.packed))
    assert packed.rows == plain.rows
    assert packed.loss == pytest.approx(plain.loss, rel=rtol, abs=1e-4)
    assert packed.correct == plain.correct or rtol > 1e-2
    for name, grad in expected.items():
        if grad is None or found[name] is None:
            assert all(one is None or not one.any() for one in (grad, found[name])), name
            continue
        scale = float(grad.abs().max()) + 1e-9
        assert float((found[name] - grad).abs().max()) <= atol + rtol * scale, name


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_ragged_samples_of_any_prompt_share(target, make_sample, data):
    samples = []
    for i in range(data.draw(st.integers(1, 4))):
        length = data.draw(st.integers(3, 30))
        samples.append(make_sample(str(i), length=length, prompt=data.draw(st.integers(1, length - 1)), seed=i))
    assert_same(trainer_of(target, data.draw(st.integers(2, 7)), data.draw(st.integers(1, 3))), samples)


def test_anchors_of_long_samples_are_spread_and_attend_in_chunks(monkeypatch, target, make_sample):
    monkeypatch.setattr("aurora_core.drafts.dflash.packed._TOGETHER", 9)
    monkeypatch.setattr(supervision, "_MOST", 11)
    samples = [make_sample("a", length=40, prompt=9), make_sample("b", length=12, prompt=2, seed=1)]
    trainer = trainer_of(target)
    assert_same(trainer, samples)
    assert run(trainer, supervision.packed, samples)[0].rows[0] == 11 + 9


def test_in_bf16_within_its_rounding(target, make_sample):
    samples = [make_sample(str(i), length=20 + i, prompt=5, seed=i) for i in range(3)]
    assert_same(trainer_of(target, precision="bf16"), samples, rtol=0.1, atol=3e-2)


def test_a_sample_without_anything_to_learn_costs_nothing(target, make_sample):
    trainer = trainer_of(target)
    only_prompt = make_sample("a", length=12, prompt=11)
    for how in (supervision.plain, supervision.packed):
        assert run(trainer, how, [only_prompt])[0].rows == [0, 0, 0]
    assert_same(trainer, [only_prompt, make_sample("b", length=20, prompt=4)])


def described(draft, embedding, aux, anchor, block_size):
    """One block over the context before it, [block_size, D], written as the method's authors describe it."""
    c, start = draft.config, aux.shape[0]
    context = draft.context(aux)
    tokens = torch.tensor([anchor] + [c.mask_token_id] * (block_size - 1))
    stream = embedding[tokens]
    cos, sin = draft.rope_tables(torch.arange(start + block_size))
    for layer in draft.layers:
        normed, attention = layer.input_layernorm(stream), layer.self_attn
        both = torch.cat((context, normed))
        q = F.rms_norm(
            attention.q_proj(normed).view(block_size, -1, c.head_dim),
            (c.head_dim,),
            attention.q_norm.weight,
            c.rms_norm_eps,
        )
        k = F.rms_norm(
            attention.k_proj(both).view(start + block_size, -1, c.head_dim),
            (c.head_dim,),
            attention.k_norm.weight,
            c.rms_norm_eps,
        )
        v = attention.v_proj(both).view(start + block_size, -1, c.head_dim)
        q, k = rotate(q, cos[start:], sin[start:]), rotate(k, cos, sin)
        groups = c.num_attention_heads // c.num_key_value_heads
        heads = []
        for head in range(c.num_attention_heads):
            scores = (q[:, head] @ k[:, head // groups].T) * c.head_dim**-0.5
            heads.append(scores.softmax(-1) @ v[:, head // groups])
        stream = stream + attention.o_proj(torch.cat(heads, -1))
        stream = stream + layer.mlp(layer.post_attention_layernorm(stream))
    return draft.norm(stream)


@torch.no_grad()
def test_a_block_is_what_its_definition_says(target, make_sample):
    trainer = trainer_of(target, block_size=5)
    samples = [make_sample("a", length=17), make_sample("b", length=11, seed=1)]
    embedding = trainer.teacher.embedding
    plain = blocks(trainer.draft, embedding, Batch.of(samples, torch.float32), 5)
    rows = Packed.of(samples, torch.float32)
    anchors = Anchors.of(rows.spans, 5, 100)
    packed = outputs(trainer.draft, embedding, rows, anchors)
    at = 0
    for i, sample in enumerate(samples):
        for t in range(sample.prompt_tokens - 1, sample.aux.shape[0] - 1):
            expected = described(trainer.draft, embedding, sample.aux[: t + 1], int(sample.tokens[t + 1]), 5)
            torch.testing.assert_close(plain[i, t], expected, atol=2e-5, rtol=1e-4)
            for offset in range(1, 5):
                if t + 1 + offset < sample.tokens.shape[0]:
                    torch.testing.assert_close(packed[at], expected[offset], atol=2e-5, rtol=1e-4)
                    at += 1
    assert at == packed.shape[0]


def test_it_learns_and_its_proposals_are_those_of_its_blocks(target, make_sample):
    trainer = trainer_of(target)
    samples = [make_sample(str(i), seed=3 * i) for i in range(24)]
    before = simulate(trainer.draft, trainer.teacher, samples[16:], steps=3).length
    results = [trainer.train_step([samples[:8], samples[8:16]]) for _ in range(60)]
    assert len(results[0].loss_per_position) == 3
    assert results[-1].loss < results[0].loss
    accepted = simulate(trainer.draft, trainer.teacher, samples[16:], steps=3)
    assert accepted.length > before + 0.5
    tokens = cycles = 0
    for sample in samples[16:]:
        row, end = sample.prompt_tokens - 1, sample.aux.shape[0]
        while row + 1 < end:
            with torch.no_grad():
                out = described(
                    trainer.draft, trainer.teacher.embedding, sample.aux[: row + 1], int(sample.tokens[row + 1]), 4
                )
            proposed = (out[1:] @ trainer.teacher.head.T).argmax(-1).tolist()
            answered = sample.tokens[row + 2 :].tolist()
            right = next(
                (i for i, (a, b) in enumerate(zip(proposed, answered, strict=False)) if a != b), min(3, len(answered))
            )
            tokens, cycles, row = tokens + right + 1, cycles + 1, row + right + 1
    assert tuple(map(sum, zip(*accepted.per_request, strict=True))) == (tokens, cycles)


def test_what_the_target_did_not_answer_is_not_proposed_for(target, make_sample):
    trainer = trainer_of(target)
    assert simulate(trainer.draft, trainer.teacher, [make_sample("a", length=12, prompt=11)], steps=3).requests == ((),)


def test_a_full_block_is_trained_and_further_proposals_weigh_less(target):
    trainer = trainer_of(target, block_size=8, ttt_length=2)
    assert trainer.unrolled.steps == 7
    assert trainer.unrolled.decay == pytest.approx(0.7788, abs=1e-4)
    assert FAMILY.unrolled(trainer.draft, 2, 0.5).decay == 0.5
    assert supervision.decay(16) > supervision.decay(10) > supervision.decay(8) > supervision.decay(4)


def test_layers_that_feed_a_draft_are_spread_as_sglang_does():
    assert layers.spread(36, 5) == (1, 9, 17, 25, 33)
    assert layers.spread(24, 5) == (1, 6, 11, 16, 21)
    assert layers.spread(30, 1) == (15,)
    assert layers.named(None, 24, 5) == (1, 6, 11, 16, 21)
    with pytest.raises(ConfigError, match="numHiddenLayers"):
        layers.spread(6, 5)


def test_the_mask_is_no_row_that_nothing_ever_wrote_to(target):
    embedding = target.embedding.clone()
    embedding[-3:] = 1e-6
    assert day_zero.mask_token(target) == 63
    padded = type(target)(target.path)
    padded.__dict__["embedding"] = embedding
    assert day_zero.mask_token(padded) == 60


def test_a_swap_renews_what_the_engine_derived_from_the_old_weights(target):
    """SGLang's fused writer keeps a copy of every layer's key and value projections and key norms."""
    draft = trainer_of(target).draft
    c = draft.config

    class One(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            attention = layer.self_attn
            self.q_size, self.kv_size = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
            self.qkv_proj = torch.nn.Linear(c.hidden_size, self.q_size + 2 * self.kv_size, bias=False)
            self.parts, self.k_norm = attention, attention.k_norm

    class Model(torch.nn.Module):
        def load_weights(self, weights):
            draft.load_state_dict(dict(weights))
            for layer in self.layers:
                parts = layer.self_attn.parts
                stacked = [getattr(parts, f"{name}_proj").weight for name in "qkv"]
                layer.self_attn.qkv_proj.weight.data.copy_(torch.cat(stacked))

    class Nothing:
        def __getattr__(self, name):
            return lambda **_: None

    model = Model()
    model.layers = [type("L", (), {"self_attn": One(layer)})() for layer in draft.layers]
    runner = type("R", (), {"model": model, "weight_updater": Nothing()})()
    width = 2 * c.num_key_value_heads * c.head_dim * c.num_hidden_layers
    helper = type("H", (), {"flat_kv_weight_t": torch.zeros(c.hidden_size, width),
                            "k_norm_weights": torch.zeros(c.num_hidden_layers, c.head_dim)})()  # fmt: skip
    worker = type("W", (), {"weight_update_runners": lambda _: [("draft", runner)], "draft_model": model,
                            "_fused_kv_helper": helper})()  # fmt: skip
    fresh = {name: torch.randn_like(one) for name, one in draft.state_dict().items()}
    FAMILY.load(worker, fresh)
    x = torch.randn(3, c.hidden_size)
    both = (x @ helper.flat_kv_weight_t).chunk(c.num_hidden_layers, -1)
    for number, of_layer in enumerate(both):
        name = f"layers.{number}.self_attn"
        expected = torch.cat((x @ fresh[f"{name}.k_proj.weight"].T, x @ fresh[f"{name}.v_proj.weight"].T), -1)
        torch.testing.assert_close(of_layer, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(helper.k_norm_weights[number], fresh[f"{name}.k_norm.weight"])


def test_it_has_no_vocabulary_of_its_own(target):
    trainer = trainer_of(target)
    assert trainer.set_vocabulary(torch.arange(8)) == 0
    with pytest.raises(ConfigError, match="no vocabulary of its own"):
        reduced(trainer.draft, torch.ones(64), 8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": "DFLASH", "top_k": 2, "num_draft_tokens": 8}, "proposes no token tree"),
        ({"aux_layers": (1, 2)}, "fed by 3 layers"),
        ({"shape": {"num_hidden_layers": 2}}, "always has 1"),
    ],
)
def test_what_a_family_cannot_be_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        DraftConfig.model_validate(changes)


def test_only_eagle3_chains_can_be_switched_off():
    assert DraftConfig().switchable
    assert not DraftConfig(top_k=2, num_draft_tokens=8).switchable
    assert not DraftConfig(algorithm="DFLASH").switchable
    assert FAMILY.launch(config_of(8, 2), None).arguments == ("--speculative-num-draft-tokens", "8")


def test_a_shape_of_another_depth_is_another_draft(target):
    one, two = (DFlashConfig.for_target(config_of(4, depth), target, 1) for depth in (1, 2))
    assert one != two
    assert replace(two, num_hidden_layers=1) == one
    assert len(DFlashDraft(one).layers) == 1


def test_its_likeliest_proposal_is_the_first_of_several(target, make_sample):
    trainer = trainer_of(target)
    batch = Batch.of([make_sample("a"), make_sample("b", length=9)], trainer.teacher.dtype)
    with torch.no_grad():
        one, three = (list(FAMILY.proposals(trainer.draft, trainer.teacher, batch, 3, width)) for width in (1, 3))
    for single, several in zip(one, three, strict=True):
        assert several.shape == (*single.shape[:2], 3)
        torch.testing.assert_close(several[..., :1], single)
