"""Real SGLang serves a small random model of each family with the plugin; transformers says what must be captured."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from adapters import LAYERS_ADAPTER, MODULES, merged, save
from aurora_core.arithmetic import STATE_DTYPES
from aurora_core.models.target import Target
from aurora_core.samples.schema import decode
from engine_support import ROOT
from families import LAYERS, VOCAB, edit, make, text_model
from in_process import ANSWERS, SPOOL, STATE, TARGET
from kinds import ANSWERS_OF_ONE, DROPPED, PATTERN, SCHEMA, save_tokenizer
from machine import patience
from serve import ADAPTERS, KINDS, SEEING, STEPS
from transformers import AutoTokenizer

pytestmark = pytest.mark.filterwarnings("ignore")
KEYS = {"minimax_m2": {"scoring_func": "sigmoid"}}
"""Which SGLang reads of config.json, published checkpoints have, and transformers does not write."""
FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "glm4_moe", "qwen3_vl", "gpt_oss", "minimax_m2", "gemma3",
)  # fmt: skip
AFTER = ("swapped", "uncaptured", "rest")
"""Requests after the swap."""
AUX = (1, LAYERS // 2 - 1, LAYERS - 4)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Each family's model, and the folder in which an engine wrote what it did with it."""
    root = tmp_path_factory.mktemp("served")
    models = {name: make(name) for name in FAMILIES}
    for layer in text_model(models["minimax_m2"]).layers:
        # SGLang has this norm for GPUs alone, and leaves it out where config.json does not ask for it.
        layer.self_attn.q_norm = layer.self_attn.k_norm = torch.nn.Identity()
    for name, model in models.items():
        model.save_pretrained(root / name / TARGET)
        edit(root / name / TARGET, config=lambda raw, name=name: raw.update(KEYS.get(name, {})))
    models[KINDS] = models["llama"]
    models[KINDS].save_pretrained(root / KINDS / TARGET)
    save_tokenizer(root / KINDS / TARGET, VOCAB)
    models[ADAPTERS] = models["llama"]
    models[ADAPTERS].save_pretrained(root / ADAPTERS / TARGET)
    for adapter in MODULES:
        save(models[ADAPTERS], root / ADAPTERS / adapter, adapter)
    command = [sys.executable, ROOT / "e2e" / "engine" / "serve.py", *(root / name for name in models)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, env=os.environ | path, timeout=patience(500))
    return {name: (model, root / name) for name, model in models.items()}


@torch.no_grad()
def computed(model, tokens, skipped):
    """What transformers computes after some tokens: what each layer hands on, the normed last state, logits.

    SGLang 0.5.23 hands a draft of Gemma-3 what a layer's MLP adds, without the residual that it is added to.
    """
    text, outputs, normed = text_model(model), [], []
    handed_on = [getattr(layer, "post_feedforward_layernorm", layer) for layer in text.layers]
    hooks = [
        part.register_forward_hook(lambda _m, _i, out: outputs.append(out[0] if isinstance(out, tuple) else out))
        for part in handed_on
    ]
    hooks.append(text.norm.register_forward_hook(lambda _m, _i, out: normed.append(out)))
    try:
        logits = model(input_ids=tokens[None]).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
    width = text.embed_tokens.weight.shape[1]
    return [out.view(-1, width)[skipped:] for out in outputs], normed[-1].view(-1, width)[skipped:], logits[skipped:]


def samples_of(folder):
    """What was captured, by request."""
    target = Target(folder / TARGET)
    shape = {"aux_width": len(AUX) * target.hidden_size, "hidden": target.hidden_size, "dtypes": STATE_DTYPES}
    found = (path.read_bytes() for path in (folder / SPOOL).glob("*.sample"))
    read = [decode(one, target=target.fingerprint, vocab_size=target.vocab_size, **shape) for one in found]
    return {sample.request: sample for sample in read}


def read(folder):
    """What was answered, what the plugin reported, and what was captured."""
    assert (folder / STATE).exists(), (folder / "log.txt").read_text()[-3000:]
    answers, state = (json.loads((folder / file).read_text()) for file in (ANSWERS, STATE))
    assert state["errors"] == state["capture"]["mismatches"] == {}
    return answers, state, samples_of(folder)


def check_rows(model, sample, answer, gone=0):
    """Tokens and states are those of the request, after so many of its first tokens; gives what is likeliest there."""
    tokens = answer["prompt"] + answer["output"]
    assert sample.tokens.tolist() == tokens[gone:]
    assert sample.prompt_tokens == len(answer["prompt"]) - gone
    outputs, last, logits = computed(model, torch.tensor(tokens[:-1]), gone)
    aux = torch.cat([outputs[layer] for layer in AUX], -1)
    torch.testing.assert_close(sample.aux.float(), aux, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sample.last.float(), last, rtol=1e-3, atol=1e-3)
    return logits[sample.prompt_tokens - 1 :].topk(2, -1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_served_and_captured_row_by_row_and_swapped(served, name):
    model, folder = served[name]
    answers, state, samples = read(folder)
    assert samples.keys() == answers.keys() - {"uncaptured", "picture"}
    head = Target(folder / TARGET).lm_head.float()
    for request, sample in samples.items():
        likeliest = check_rows(model, sample, answers[request], answers[request]["cached"] if request == "rest" else 0)
        clear = likeliest.values[:, 0] - likeliest.values[:, 1] > 1e-2
        assert (likeliest.indices[:, 0] == sample.tokens[sample.prompt_tokens :])[clear].all(), request
        own = F.linear(sample.last.float(), head)
        assert (own[sample.prompt_tokens - 1 :].argmax(-1) == likeliest.indices[:, 0])[clear].all()
    assert min(answers[name]["cached"] for name in ("prefix-1", "rest")) >= 64
    assert (state["capture"]["cut"], state["capture"]["dropped"]) == (1, {"media": 1} if name == SEEING else {})
    check_counters(state, answers, samples)


def test_each_kind_of_request_is_captured_right_or_refused_and_counted(served):
    model, folder = served[KINDS]
    answers, state, samples = read(folder)
    assert samples.keys() == answers.keys() - DROPPED.keys()
    assert state["capture"]["dropped"] == Counter(DROPPED.values())
    assert state["capture"]["cut"] == 0
    for request, sample in samples.items():
        check_rows(model, sample, answers[request])
    assert answers["turn"]["cached"] >= 64
    assert len({tuple(answers[name]["output"]) for name in ANSWERS_OF_ONE}) > 1
    assert answers["aborted"]["finish"] == "abort"
    tokenizer = AutoTokenizer.from_pretrained(folder / TARGET)

    def text(request):
        return tokenizer.decode(answers[request]["output"], skip_special_tokens=True)

    plain, stopped = answers["plain"]["output"], answers["stop"]["output"]
    assert stopped == plain[: len(stopped)]
    assert 0 < len(stopped) < len(plain)
    assert re.fullmatch(PATTERN, text("regex"))
    assert json.loads(text("json")).keys() == SCHEMA["properties"].keys()


def test_requests_of_an_adapter_are_captured_with_its_states_and_share_no_prefix_with_others(served):
    model, folder = served[ADAPTERS]
    answers, state, samples = read(folder)
    assert samples.keys() == answers.keys() - {"head"}
    assert (state["capture"]["dropped"], state["capture"]["cut"]) == ({"adapter_head": 1}, 0)
    adapted = merged(model, folder / LAYERS_ADAPTER)
    for request, sample in samples.items():
        check_rows(adapted if request.startswith("adapter") else model, sample, answers[request])
    assert answers["adapter"]["output"] != answers["base"]["output"]
    assert [answers[request]["cached"] for request in ("base", "adapter")] == [0, 0]
    assert min(answers[request]["cached"] for request in ("base-cached", "adapter-cached")) >= 64


def check_counters(state, answers, samples):
    """Every token of every request is counted, for the version and the steps that it ran under."""
    assert {rid: one.draft_version for rid, one in samples.items()} == {
        rid: int(rid.startswith(AFTER)) for rid in answers if rid in samples
    }
    arms = {(arm["version"], arm["steps"]): arm for arm in state["arms"]}
    off, on, after = arms[0, 0], arms[0, STEPS], arms[1, STEPS]
    of = {("off",): off, AFTER: after}
    for start, arm in of.items():
        asked = [one for rid, one in answers.items() if rid.startswith(start)]
        assert arm["requests_finished"] == len(asked)
        # The first token comes of the prefill, and a cycle may say more than there was room for.
        tokens = sum(len(one["output"]) - 1 for one in asked)
        assert tokens <= arm["accept_tokens"] <= tokens + arm["steps"] * len(asked)
    assert on["requests_finished"] == len(answers) - off["requests_finished"] - after["requests_finished"]
    assert off["accept_tokens"] == off["accept_cycles"] > 0
    assert on["accept_tokens"] >= on["accept_cycles"] > 0
    assert (state["draft"]["live"], state["draft"]["swaps"], state["steps"]) == (1, 1, STEPS)
