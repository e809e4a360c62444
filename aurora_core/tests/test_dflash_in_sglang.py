"""A DFlash checkpoint in SGLang's own model class, on the CPU: the same block from the same hidden states."""

import pytest
import torch
import torch.nn.functional as F
from aurora_core.config import DraftConfig
from aurora_core.config.parts import DraftShape
from aurora_core.drafts.dflash.anchors import Anchors
from aurora_core.drafts.dflash.packed import outputs
from aurora_core.samples.packed import Packed
from aurora_core.training.init import first_draft
from aurora_core.weights import checkpoint
from transformers import AutoConfig

pytestmark = [pytest.mark.sglang, pytest.mark.filterwarnings("ignore")]
BLOCK_SIZE = 5


@pytest.fixture
def context(monkeypatch):
    """SGLang's configuration of one process, as its tests make it."""
    from sglang.srt.layers.rotary_embedding import base  # noqa: PLC0415 (it takes seconds)
    from sglang.srt.runtime_context import get_context, get_parallel  # noqa: PLC0415

    # Else it wants the kernels of a GPU.
    monkeypatch.setattr(base, "_is_cpu", True)
    alone = {"tp_size": 1, "tp_rank": 0, "attn_tp_size": 1, "attn_tp_rank": 0, "tp_group": None}
    with get_context().override_server_args(device="cpu", tp_size=1), get_parallel().override(**alone):
        yield


def attending(kept):
    """What SGLang's attention backends compute for an encoder: the block over the rows that were kept, and itself."""

    def forward(self, q, k, v, forward_batch):
        del forward_batch
        assert self.attn_type.value == "encoder_only"
        ck, cv = kept[self.layer_id]
        heads = [x.view(-1, n, self.head_dim).transpose(0, 1)[None]
                 for x, n in ((q, self.tp_q_head_num), (torch.cat((ck, k)), self.tp_k_head_num),
                              (torch.cat((cv, v)), self.tp_v_head_num))]  # fmt: skip
        out = F.scaled_dot_product_attention(*heads, scale=self.scaling, enable_gqa=True)
        return out[0].transpose(0, 1).flatten(1)

    return forward


@torch.no_grad()
def test_sglang_computes_the_block_that_was_trained(context, monkeypatch, target, make_sample, tmp_path):
    from sglang.srt.layers.radix_attention import RadixAttention  # noqa: PLC0415
    from sglang.srt.models.dflash import DFlashDraftModel  # noqa: PLC0415
    from sglang.srt.speculative.dflash_utils import parse_dflash_draft_config  # noqa: PLC0415

    shape = DraftShape(num_hidden_layers=3)
    made = DraftConfig(
        algorithm="DFLASH", num_steps=BLOCK_SIZE - 1, num_draft_tokens=BLOCK_SIZE, aux_layers=(1, 2, 3), shape=shape
    )
    draft = first_draft(made, target, 3)
    generator = torch.Generator().manual_seed(9)
    for parameter in draft.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    checkpoint.write(tmp_path, draft, torch.float32)

    raw = AutoConfig.from_pretrained(tmp_path)
    parsed = parse_dflash_draft_config(draft_hf_config=raw)
    assert (parsed.block_size, parsed.mask_token_id, parsed.target_layer_ids) == (BLOCK_SIZE, 63, [1, 2, 3])
    theirs = DFlashDraftModel(raw).float()
    before = {name: one.clone() for name, one in theirs.named_parameters()}
    tensors, _ = checkpoint.parts(draft, torch.float32)
    theirs.load_weights(iter(tensors.items()))
    assert all(not torch.equal(before[name], one) for name, one in theirs.named_parameters())

    sample = make_sample(length=20, prompt=6)
    rows = Packed.of([sample], torch.float32)
    anchors = Anchors.of(rows.spans, BLOCK_SIZE, 100)
    ours = outputs(draft, target.embedding, rows, anchors)
    kept, at = {}, 0
    monkeypatch.setattr(RadixAttention, "forward", attending(kept))
    for t in range(sample.prompt_tokens - 1, sample.aux.shape[0] - 1):
        # As SGLang's worker keeps the target's rows, and asks for a block.
        fed = theirs.project_target_hidden(sample.aux[: t + 1])
        for layer in theirs.layers:
            k, v = layer.self_attn.kv_proj_only(theirs.prepare_context_hidden_for_kv(layer, fed))
            k = layer.self_attn.apply_k_rope(torch.arange(t + 1), layer.self_attn.apply_k_norm(k))
            kept[layer.self_attn.attn.layer_id] = k, v
        tokens = torch.tensor([int(sample.tokens[t + 1]), *[63] * (BLOCK_SIZE - 1)])
        positions = torch.arange(t + 1, t + 1 + BLOCK_SIZE)
        block = theirs.forward(tokens, positions, None, input_embeds=target.embedding[tokens]).hidden_states
        count = min(BLOCK_SIZE - 1, sample.aux.shape[0] - 1 - t)
        torch.testing.assert_close(ours[at : at + count], block[1 : 1 + count], atol=1e-4, rtol=1e-4)
        at += count
    assert at == ours.shape[0]


def test_layers_that_feed_a_draft_are_those_of_sglang():
    from aurora_core.drafts.dflash.layers import spread  # noqa: PLC0415
    from sglang.srt.speculative.dflash_utils import build_target_layer_ids  # noqa: PLC0415

    for of_target in range(8, 100):
        for count in range(1, 6):
            assert list(spread(of_target, count)) == build_target_layer_ids(of_target, count)
