"""EAGLE3 checkpoints in SGLang's own model class, on the CPU: the same chain from the same hidden states."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.samples.batch import Batch
from aurora_core.weights import checkpoint
from test_supervision import NORMS, SEVERAL, TARGET_HEAD, drafted, noisy
from transformers import AutoConfig

pytestmark = [pytest.mark.sglang, pytest.mark.filterwarnings("ignore")]
STEPS = 4


@pytest.fixture
def context(monkeypatch):
    """SGLang's configuration of one process, as its tests make it."""
    from sglang.srt.layers.rotary_embedding import base  # noqa: PLC0415 (it takes seconds)
    from sglang.srt.runtime_context import get_context, get_parallel  # noqa: PLC0415

    # Else it wants the kernels of a GPU.
    monkeypatch.setattr(base, "_is_cpu", True)
    alone = {"tp_size": 1, "tp_rank": 0, "attn_tp_size": 1, "attn_tp_rank": 0, "tp_group": None, "pp_group": None}
    with get_context().override_server_args(device="cpu", tp_size=1), get_parallel().override(**alone):
        yield


class Engine:
    """SGLang's draft with a key-value cache, fed as its worker feeds it."""

    def __init__(self, model, embedding, monkeypatch):
        from sglang.srt.layers.radix_attention import RadixAttention  # noqa: PLC0415

        self.model, self.embedding, self.kept = model, embedding, {}
        monkeypatch.setattr(RadixAttention, "forward", self.attending())

    def attending(self):
        """What SGLang's attention backends compute: the new rows over those that were kept, and themselves."""
        kept = self.kept

        def forward(self, q, k, v, forward_batch):
            del forward_batch
            ck, cv = kept.get(self.layer_id, (k[:0], v[:0]))
            keys, values = torch.cat((ck, k)), torch.cat((cv, v))
            kept[self.layer_id] = keys, values
            parts = ((q, self.tp_q_head_num), (keys, self.tp_k_head_num), (values, self.tp_v_head_num))
            heads = [x.view(-1, n, self.head_dim).transpose(0, 1)[None] for x, n in parts]
            seen = torch.ones(len(q), len(keys), dtype=torch.bool).tril(len(keys) - len(q))
            out = F.scaled_dot_product_attention(*heads, attn_mask=seen, scale=self.scaling, enable_gqa=True)
            return out[0].transpose(0, 1).flatten(1)

        return forward

    def fed(self, tokens, states, first):
        """Outputs for the head, and what the next step is fed with."""
        batch = SimpleNamespace(spec_info=SimpleNamespace(hidden_states=states))
        positions = torch.arange(first, first + len(tokens))
        out, (aux,) = self.model.forward(tokens, positions, batch, input_embeds=self.embedding[tokens])
        return out, aux


SHAPES = [{}, *({name: True} for name in NORMS), dict.fromkeys(NORMS, True), TARGET_HEAD, *SEVERAL]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.no_grad()
def test_sglang_computes_the_chain_that_was_trained(context, monkeypatch, target, make_sample, tmp_path, shape):
    from sglang.srt.models.llama_eagle3 import LlamaForCausalLMEagle3  # noqa: PLC0415

    draft = drafted(target, **shape)
    checkpoint.write(tmp_path, draft, torch.float32)
    theirs = LlamaForCausalLMEagle3(AutoConfig.from_pretrained(tmp_path)).float()
    for one in theirs.parameters():
        one.fill_(7)
    tensors, _ = checkpoint.parts(draft, torch.float32)
    theirs.load_weights(iter(tensors.items()))
    of_target = {"model.embed_tokens.weight", *(["lm_head.weight"] if draft.head is None else [])}
    # Which SGLang has in each layer, and reads in the first one alone.
    unread = {f"model.layers.{number}.input_layernorm.weight" for number in range(1, draft.config.num_hidden_layers)}
    assert {name for name, one in theirs.named_parameters() if bool((one == 7).all())} == of_target | unread
    assert theirs.load_lm_head_from_target == (draft.head is None)
    sample = noisy(make_sample(length=18, prompt=6))
    ours = list(unroll(draft, target.embedding, Batch.of([sample], torch.float32), STEPS))
    engine = Engine(theirs.model, target.embedding, monkeypatch)
    rows = sample.aux.shape[0]
    for root in range(sample.prompt_tokens - 1, rows - 1):
        engine.kept.clear()
        out, aux = engine.fed(sample.tokens[1 : root + 2], sample.aux[: root + 1], 0)
        for step in range(min(STEPS, rows - root)):
            if step:
                token = sample.tokens[root + step + 1 : root + step + 2]
                out, aux = engine.fed(token, aux[-1:], root + step)
            torch.testing.assert_close(ours[step][0, root], out[-1], atol=1e-4, rtol=1e-4)
