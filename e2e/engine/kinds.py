"""Each kind of request that users send, to a small target with a tokenizer of its own."""

import json
from pathlib import Path

import torch
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
_IMAGE = 5
ANSWERS_OF_ONE = tuple(f"n-{i}" for i in range(6))
"""Answers of one request with n 6. SGLang draws only the first token of each on a CPU, and verifies the others greedily
(docs/targets.md): two are alike in one run of 35, all six in one of a hundred million."""
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


def picture(before: list[int], after: list[int]) -> Ask:
    """A small random image between some tokens, as a processor of Qwen3-VL gives it to SGLang's scheduler."""
    from sglang.srt.managers.schedule_batch import (  # noqa: PLC0415
        Modality,
        MultimodalDataItem,
        MultimodalProcessorOutput,
    )

    start, rows, columns = len(before), 2, 2
    image = [[start, start + row, start + column] for row in range(rows) for column in range(columns)]
    positions = [[i] * 3 for i in range(start)] + image + [[start + rows + i] * 3 for i in range(len(after))]
    tokens = [*before, *[_IMAGE] * len(image), *after]
    item = MultimodalDataItem(
        modality=Modality.IMAGE,
        offsets=[(start, start + len(image) - 1)],
        feature=torch.randn(4 * len(image), 3 * 2 * 16 * 16, generator=torch.Generator().manual_seed(2)),
        model_specific_data={"image_grid_thw": torch.tensor([[1, 2 * rows, 2 * columns]])},
    )
    inputs = MultimodalProcessorOutput(
        mm_items=[item],
        input_ids=tokens,
        im_token_id=_IMAGE,
        mrope_positions=torch.tensor(positions).T.contiguous(),
        mrope_position_delta=torch.tensor([[positions[-1][0] + 1 - len(tokens)]]),
    )
    return Ask("picture", tokens, fields={"mm_inputs": inputs})


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
    # As SGLang's tokenizer manager does where a request has an n: the prompt alone, and then each answer.
    engine.ask(Ask("n", given["prefix-0"], {"max_new_tokens": 0}))
    engine.ask(*(Ask(name, given["prefix-0"], {"temperature": 1.0}) for name in ANSWERS_OF_ONE))
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
