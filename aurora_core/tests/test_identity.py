"""Answers that differ: at a tie of rounding, or for no good reason."""

import math

import pytest
import torch
from aurora_core.evaluation.identity import LogitChecker, spacing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCAB = 64
PROMPT = "3 14 15 9"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=3,
        vocab_size=VOCAB, initializer_range=0.2, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def saved(model, folder):
    """A checker of the model."""
    words = Tokenizer(WordLevel({str(i): i for i in range(VOCAB)}, unk_token="0"))  # noqa: S106 (of this tokenizer)
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    model.save_pretrained(folder)
    return LogitChecker.load(folder, "bfloat16")


@torch.no_grad()
def greedy(model, count=6):
    ids = [int(word) for word in PROMPT.split()]
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[-count:])


def test_the_same_answer_is_the_same(model, tmp_path):
    answer = greedy(model)
    counted = saved(model, tmp_path).identity({PROMPT: answer}, {PROMPT: answer, "1": answer})
    assert (counted.compared, counted.same, counted.ties, counted.unexplained) == (1, 1, 0, 0)


def test_two_leaders_within_rounding_are_a_tie(model, tmp_path):
    answer = greedy(model)
    neighbour = (answer[2] + 1) % VOCAB
    head = model.lm_head.weight.data
    kept = head[neighbour].clone()
    head[neighbour] = head[answer[2]] * (1 - 1e-4)
    counted = saved(model, tmp_path).identity({PROMPT: answer}, {PROMPT: (*answer[:2], neighbour, 1, 2, 3)})
    head[neighbour] = kept
    (difference,) = counted.differences
    assert difference.at == 2
    assert 0 < difference.gap < difference.rounding
    assert (counted.same, counted.ties, counted.unexplained) == (0, 1, 0)


@torch.no_grad()
def test_a_token_that_does_not_lead_is_no_tie(model, tmp_path):
    answer = greedy(model)
    ids = [int(word) for word in PROMPT.split()]
    far = int(model(torch.tensor([[*ids, *answer[:2]]])).logits[0, -1].topk(VOCAB // 2).indices[-1])
    counted = saved(model, tmp_path).identity({PROMPT: answer}, {PROMPT: (*answer[:2], far, 1, 2, 3)})
    (difference,) = counted.differences
    assert difference.gap > difference.rounding > 0
    assert counted.unexplained == 1


def test_an_answer_that_ends_early_is_no_tie(model, tmp_path):
    answer = greedy(model)
    (difference,) = saved(model, tmp_path).identity({PROMPT: answer}, {PROMPT: answer[:4]}).differences
    assert (difference.at, difference.gap) == (4, math.inf)
    assert not difference.is_tie


@pytest.mark.parametrize("value", [0.75, -1.0, 20.0, 32.76])
def test_spacing_is_the_step_to_the_next_number(value):
    here = torch.tensor(abs(value), dtype=torch.bfloat16)
    above = torch.nextafter(here, torch.tensor(torch.inf, dtype=torch.bfloat16))
    assert spacing(value, "bfloat16") == float(above) - float(here)
