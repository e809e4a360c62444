"""What is captured is what the target computed, whatever the engine did in between."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch
import torch.nn.functional as F
from aurora_core.config import DraftConfig
from engine_support import ADMIN_KEY
from machine import patience
from workshop.waiting import wait

pytestmark = pytest.mark.filterwarnings("ignore")


def wait_for(running, requests, timeout=20):
    def captured():
        samples = running.samples()
        return samples if requests <= samples.keys() else None

    return wait(f"samples of {requests}", captured, patience(timeout), state=lambda: running.control.state().capture)


@torch.no_grad()
def assert_states(sample, reference):
    """The sample has at each token the states of an independent computation."""
    hidden = reference(sample.tokens[None, :-1], output_hidden_states=True).hidden_states
    # Hugging Face numbers the embedding 0, so layer n's output is number n + 1; the last one is after the norm.
    aux = torch.cat([hidden[2][0], hidden[15][0], hidden[27][0]], -1)
    for got, want, name in ((sample.aux, aux, "aux"), (sample.last, hidden[-1][0], "last")):
        similarity = F.cosine_similarity(got.float(), want, dim=-1)
        assert similarity.min() > 0.98, f"{name} row {int(similarity.argmin())}: {float(similarity.min()):.4f}"
        assert similarity.mean() > 0.998, name


@torch.no_grad()
def assert_right(sample, answer, prompt_ids, reference):
    """The sample has the answer's tokens, their states, and the distributions that they are likeliest in."""
    expected = [*prompt_ids, *answer["output_ids"]]
    assert sample.tokens.tolist() == expected
    assert sample.prompt_tokens == len(prompt_ids)
    assert_states(sample, reference)
    logits = F.linear(sample.last.float(), reference.lm_head.weight)[sample.prompt_tokens - 1 :].topk(2, -1)
    clear = logits.values[:, 0] - logits.values[:, 1] > 0.5
    agrees = logits.indices[:, 0] == sample.tokens[sample.prompt_tokens :]
    assert agrees[clear].all(), "a clear next token of the captured distribution is not the one that was generated"


def ask_all(running, texts, name, tokens=40, workers=6, **sampling):
    with ThreadPoolExecutor(workers) as pool:
        rids = [f"{name}-{i}" for i in range(len(texts))]
        return dict(
            zip(
                rids,
                pool.map(lambda a: running.ask(a[0], a[1], tokens, **sampling), zip(texts, rids, strict=True)),
                strict=True,
            )
        )


def check(running, texts, name, tokenizer, reference, **options):
    answers = ask_all(running, texts, name, **options)
    samples = wait_for(running, set(answers))
    for rid, text in zip(answers, texts, strict=True):
        assert_right(samples[rid], answers[rid], tokenizer(text)["input_ids"], reference)
    assert running.control.state().errors == {}
    assert running.control.state().capture.mismatches == {}
    return answers


def test_requests_in_a_batch(engine, prompts, tokenizer, reference):
    check(engine, prompts[:6], "batch", tokenizer, reference)


def test_a_prompt_longer_than_a_prefill_chunk(engine, prompts, tokenizer, reference):
    long = prompts[0] + "\n".join(p.splitlines()[-2] for p in prompts[1:12])
    assert len(tokenizer(long)["input_ids"]) > 200
    check(engine, [long], "chunked", tokenizer, reference)


def test_a_prompt_that_is_in_the_cache_already(engine, prompts, tokenizer, reference):
    text = prompts[20]
    engine.ask(text, "warm")
    answers = check(engine, [text, text + " Then"], "prefix", tokenizer, reference, workers=1)
    assert answers["prefix-0"]["meta_info"]["cached_tokens"] > 10


def test_requests_that_were_retracted(engine, prompts, tokenizer, reference):
    """Eight requests of some 150 tokens in a cache of 700 cannot all stay; those put back are computed again.

    They may end early, and come one after the other: of requests that must not end early, or that come together, the
    scheduler admits only as many as fit.
    """
    texts = prompts[30:38]

    def ask(index):
        time.sleep(0.4 * index)
        return engine.ask(texts[index], f"retract-{index}", 160)

    with ThreadPoolExecutor(len(texts)) as pool:
        answers = {f"retract-{i}": answer for i, answer in enumerate(pool.map(ask, range(len(texts))))}
    assert sum(a["meta_info"]["num_retractions"] for a in answers.values()) > 0
    samples = wait_for(engine, set(answers))
    for rid, text in zip(answers, texts, strict=True):
        assert_right(samples[rid], answers[rid], tokenizer(text)["input_ids"], reference)


def test_speculation_switched_off_and_on(engine, prompts, tokenizer, reference):
    engine.control.set_steps(0)
    off = check(engine, prompts[50:53], "off", tokenizer, reference)
    engine.control.set_steps(3)
    on = check(engine, prompts[50:53], "on", tokenizer, reference)
    assert all("spec_num_proposed_drafts" in a["meta_info"] for a in on.values())
    assert all(a["meta_info"].get("spec_num_correct_drafts", 0) == 0 for a in off.values())


def test_an_aborted_request_is_counted_and_leaves_no_sample(engine, prompts):
    before = engine.control.state().capture.dropped.get("aborted", 0)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(engine.ask, prompts[60], "abort-me", 400, ignore_eos=True)
        time.sleep(1.5)
        httpx.post(
            f"{engine.url}/abort_request", json={"rid": "abort-me"}, headers=headers, timeout=10
        ).raise_for_status()
        answer = running.result()
    assert answer["meta_info"]["finish_reason"]["type"] == "abort"
    assert engine.control.state().capture.dropped["aborted"] == before + 1
    assert "abort-me" not in engine.samples()


def test_the_sample_rate_can_be_changed_while_serving(engine, prompts):
    engine.control.set_sample_rate(0)
    engine.ask(prompts[70], "rate-off")
    engine.control.set_sample_rate(1)
    engine.ask(prompts[71], "rate-on")
    assert "rate-off" not in wait_for(engine, {"rate-on"})


def test_token_trees(start, prompts, tokenizer, reference):
    tree = DraftConfig(draft_vocab_size=8192, num_steps=3, top_k=3, num_draft_tokens=8)
    running = start("tree", draft=tree)
    check(running, prompts[:4], "tree", tokenizer, reference)
    running.process.stop()
