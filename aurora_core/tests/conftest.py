"""A tiny target on disk, and samples of it: enough to train on in seconds."""

import contextlib
import json
import resource

import pytest
import torch
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample
from safetensors.torch import save_file

HIDDEN, VOCAB, LAYERS = 32, 64, 6

# Tensors this small are slower on several threads, and much slower where other processes want the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_hidden_layers": LAYERS,
        "vocab_size": VOCAB,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn(VOCAB, HIDDEN, generator=generator)
    tensors = {"model.embed_tokens.weight": embedding, "model.norm.weight": torch.ones(HIDDEN)}
    save_file(tensors, folder / "model.safetensors")
    return Target(folder)


@pytest.fixture
def no_room():
    """A context in which this process can write nothing: the kernel refuses, as it does on a full disk."""

    @contextlib.contextmanager
    def full():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


@pytest.fixture
def make_sample(target):
    """Makes a sample whose states hold the answer: the last hidden state points at the next token's embedding."""

    def make(request="r", length=24, prompt=6, seed=0):
        generator = torch.Generator().manual_seed(seed)
        start = int(torch.randint(VOCAB, (1,), generator=generator))
        step = 1 + seed % 3
        tokens = torch.tensor([(start + step * i) % VOCAB for i in range(length)])
        last = 4.0 * target.embedding[tokens[1:]]
        aux = torch.cat([target.embedding[tokens[:-1]], target.embedding[tokens[1:]], torch.zeros_like(last)], -1)
        return Sample(request, tokens, prompt, aux, last, 0, target.fingerprint)

    return make
