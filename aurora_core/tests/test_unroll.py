"""The unrolled chain against an independent definition: one verify cycle at a time, with a cache, as an engine does."""

import pytest
import torch
import torch.nn.functional as F
from aurora_core.drafts.eagle3.unroll import unroll
from aurora_core.drafts.family import Teacher
from aurora_core.drafts.modules import rotate
from aurora_core.evaluation.accept import simulate, walk
from aurora_core.samples.batch import Batch
from hypothesis import given
from hypothesis import strategies as st
from test_supervision import NORMS, SEVERAL, drafted, noisy

STEPS = 4


SHAPES = [{}, *({name: True} for name in NORMS), dict.fromkeys(NORMS, True), *SEVERAL]


@pytest.fixture(params=SHAPES, ids=str)
def draft(request, target):
    return drafted(target, **request.param)


class Serving:
    """A draft with a key-value cache, fed as SGLang feeds it."""

    def __init__(self, draft, embedding):
        self.draft, self.embedding = draft, embedding
        self.cache = [([], []) for _ in range(draft.config.num_hidden_layers)]

    def projected(self, aux):
        """What feeds the first step: the three states, normed together, then each, then projected."""
        weights, eps = self.draft.state_dict(), self.draft.config.rms_norm_eps
        if "input_norm.weight" in weights:
            aux = aux / (aux.square().mean() + eps).sqrt() * weights["input_norm.weight"]
        states = list(aux.view(3, -1))
        if "fc_norm.0.weight" in weights:
            states = [
                one / (one.square().mean() + eps).sqrt() * weights[f"fc_norm.{i}.weight"]
                for i, one in enumerate(states)
            ]
        return weights["fc.weight"] @ torch.cat(states)

    def feed(self, token, hidden, position):
        """One token with the hidden state before it; returns the draft's output before its norm."""
        first = self.draft.midlayer
        x = torch.cat([first.input_layernorm(self.embedding[token]), first.hidden_norm(hidden)])
        hidden = self.layer(first, *self.cache[0], x, hidden, position)
        for number, (keys, values) in enumerate(self.cache[1:], 1):
            layer = self.draft.layers[str(number)]
            hidden = self.layer(layer, keys, values, layer.hidden_norm(hidden), hidden, position)
        return hidden

    def layer(self, layer, its_keys, its_values, x, hidden, position):
        """One layer: what it reads, the stream that it adds to, and its cache."""
        c = self.draft.config
        cos, sin = self.draft.rope_tables(torch.tensor([[position]]))
        q = rotate((layer.self_attn.q_proj(x)).view(c.num_attention_heads, 1, c.head_dim), cos[0], sin[0])
        k = rotate((layer.self_attn.k_proj(x)).view(c.num_key_value_heads, 1, c.head_dim), cos[0], sin[0])
        v = layer.self_attn.v_proj(x).view(c.num_key_value_heads, 1, c.head_dim)
        its_keys.append(k)
        its_values.append(v)
        groups = c.num_attention_heads // c.num_key_value_heads
        keys = torch.cat(its_keys, 1).repeat_interleave(groups, 0)
        values = torch.cat(its_values, 1).repeat_interleave(groups, 0)
        weights = (q @ keys.transpose(1, 2) / c.head_dim**0.5).softmax(-1)
        attended = (weights @ values).reshape(-1)
        hidden = hidden + layer.self_attn.o_proj(attended)
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


@torch.no_grad()
def serve(draft, embedding, sample, root):
    """The chain of a cycle at ``root``, given the true tokens: the outputs of its steps."""
    serving = Serving(draft, embedding)
    tokens = sample.tokens.tolist()
    for t in range(root + 1):
        out = serving.feed(tokens[t + 1], serving.projected(sample.aux[t]), t)
    outputs = [draft.norm(out)]
    for k in range(1, STEPS):
        if root + k + 1 >= len(tokens):
            break
        fed = outputs[-1] if draft.config.norm_output else out
        out = serving.feed(tokens[root + k + 1], fed, root + k)
        outputs.append(draft.norm(out))
    return outputs


@torch.no_grad()
def test_the_unrolled_chain_is_what_serving_computes(draft, target, make_sample):
    samples = [noisy(make_sample("a", length=17)), noisy(make_sample("b", length=11, seed=1))]
    batch = Batch.of(samples, torch.float32)
    outputs = list(unroll(draft, target.embedding, batch, STEPS))
    for i, sample in enumerate(samples):
        for root in range(5, sample.aux.shape[0]):
            for k, expected in enumerate(serve(draft, target.embedding, sample, root)):
                if root + k + 1 < len(sample.tokens):
                    assert torch.allclose(outputs[k][i, root], expected, atol=2e-4), (i, root, k)


def greedy_cycles(draft, embedding, sample, steps):
    """Serving request by request: draft, compare with what the target generated, accept, continue."""
    ids = draft.ids
    tokens = sample.tokens.tolist()
    emitted = cycles = 0
    root = sample.prompt_tokens - 1
    while root + 1 < len(tokens) - 1:
        accepted = 0
        for out in serve(draft, embedding, sample, root)[:steps]:
            token = int(ids[F.linear(out, embedding if draft.head is None else draft.head).argmax()])
            if root + accepted + 2 >= len(tokens) or token != tokens[root + accepted + 2]:
                break
            accepted += 1
        emitted += accepted + 1
        cycles += 1
        root += accepted + 1
    return emitted, cycles


@torch.no_grad()
def test_simulated_accept_length_is_that_of_cycle_by_cycle_serving(draft, target, make_sample):
    samples = [noisy(make_sample(str(i), length=14 + i, prompt=3 + i, seed=i)) for i in range(6)]
    for steps in (1, 3):
        simulated = simulate(draft, Teacher.of(target, draft, torch.float32, torch.device("cpu")), samples, steps=steps)
        served = [greedy_cycles(draft, target.embedding, s, steps) for s in samples]
        assert list(simulated.per_request) == served


@given(st.data())
def test_a_walk_emits_every_token_once(data):
    rows = data.draw(st.integers(1, 30))
    steps = data.draw(st.integers(1, 5))
    first = data.draw(st.integers(0, rows - 1))
    correct = data.draw(st.lists(st.lists(st.booleans(), min_size=rows, max_size=rows), min_size=steps, max_size=steps))
    found = walk(correct, first, rows)
    tokens, cycles = sum(cycle.accepted + 1 for cycle in found), len(found)
    assert all(cycle.accepted <= cycle.tried <= min(steps, cycle.accepted + 1) for cycle in found)
    # Token first + 1 is known before; the last cycle's bonus token may lie one past the end.
    assert tokens - (rows - first - 1) in (0, 1)
    assert cycles <= tokens <= cycles * (steps + 1)
