"""Each kind of request that users send, to a small target with a tokenizer of its own."""

import json
from pathlib import Path

from aurora_core.config import DraftConfig
from aurora_core.protocol.request import NOT_CAPTURED
from in_process import Ask, InProcess
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PATTERN = "(yes|no), [0-9]{4}"
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 2]}},
    "required": ["ok", "n"],
    "additionalProperties": False,
}
DROPPED = {"one": "answer_too_short", "n": "answer_too_short", "aborted": "aborted", "private": "opted_out",
           "embeddings": "embeddings"}  # fmt: skip
"""Requests that are no samples, and why."""


def save_tokenizer(folder: Path, vocabulary: int) -> None:
    """A token for a byte each, as many as a target has."""
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    letters = ["Ġ", *sorted({*pre_tokenizers.ByteLevel.alphabet()} - {"Ġ"})][: vocabulary - len(special)]
    tokens = {token: i for i, token in enumerate([*special.values(), *letters])}
    made = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)


def asked(folder: Path, draft: DraftConfig, arguments: tuple[str, ...], given: dict[str, list[int]]) -> None:
    """Ask an engine in each way."""
    from sglang.srt.managers.embed_types import PositionalEmbeds  # noqa: PLC0415

    engine = InProcess(folder, draft, arguments)
    short, other = given["short"], given["other"]
    engine.ask(
        Ask("plain", short),
        Ask("logprobs", other, fields={"return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 2}),
        Ask("temperature", given["chunked"], {"temperature": 1.0, "top_p": 0.9}),
        Ask("penalty", given["prefix-1"], {"frequency_penalty": 0.8}),
    )
    # As SGLang's tokenizer manager does where a request has n 2: the prompt alone, and then each answer.
    engine.ask(Ask("n", given["prefix-0"], {"max_new_tokens": 0}))
    engine.ask(*(Ask(f"n-{i}", given["prefix-0"], {"temperature": 1.0}) for i in range(2)))
    letter = engine.scheduler.tokenizer.decode(engine.answer("plain").output[3:4])
    engine.ask(
        Ask("stop", short, {"stop": [letter]}),
        Ask("regex", short, {"regex": PATTERN, "ignore_eos": False}),
        Ask("json", other, {"json_schema": json.dumps(SCHEMA), "ignore_eos": False, "max_new_tokens": 48}),
    )
    engine.ask(Ask("one", short, {"max_new_tokens": 1}), Ask("private", other, {"custom_params": {**NOT_CAPTURED}}))
    engine.ask(Ask("aborted", other, {"max_new_tokens": 64}), abort={"aborted": 5})
    turn = engine.answer("logprobs")
    engine.ask(Ask("turn", [*turn.prompt, *turn.output, *short]))
    vectors = PositionalEmbeds(embeds=[engine.target.embedding[:1].float()], positions=[2])
    engine.ask(Ask("embeddings", short, fields={"positional_embed_overrides": vectors}))
    engine.finish()
