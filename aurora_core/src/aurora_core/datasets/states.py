"""Samples without an engine: the target's hidden states at each token of an answer, by transformers."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModel

from aurora_core.arithmetic import compute_dtype
from aurora_core.config.parts import Dtype
from aurora_core.datasets.answers import Answer
from aurora_core.errors import ConfigError
from aurora_core.models import aux_layers
from aurora_core.models.target import Target
from aurora_core.samples.schema import Sample


def _first(output: Any) -> Tensor:  # noqa: ANN401 (a layer's of transformers)
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


class HiddenStates:
    """A target in memory, which computes what an engine captures."""

    @classmethod
    def load(cls, target: Target, layers: Sequence[int], device: torch.device, dtype: Dtype = "auto") -> Self:
        """Read the target's weights.

        Args:
            target: whose states.
            layers: auxiliary layers, those that the draft is fed by.
            device: where.
            dtype: of the arithmetic, as an engine's; auto: what one would compute in on this machine.

        Raises:
            ConfigError: transformers cannot load the target, or it has no such layers.
        """
        aux_layers.check(layers, target, "hidden states cannot be taken of layers")
        if max(layers) >= target.num_layers:
            raise ConfigError(f"the output of layer {max(layers)} of {target.path} is only captured by an engine")
        named = target.config.get("dtype") or target.config.get("torch_dtype")
        computing: torch.dtype = getattr(torch, compute_dtype(dtype, device, named))
        try:
            model: Any = AutoModel.from_pretrained(
                target.path, dtype=computing, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # files of others, read by transformers, which raises whatever it meets
            raise ConfigError(f"transformers cannot load {target.path}: {error!s:.300}") from error
        return cls(target, tuple(layers), device, computing, getattr(model, "language_model", model).to(device).eval())

    def __init__(
        self,
        target: Target,
        layers: tuple[int, ...],
        device: torch.device,
        dtype: torch.dtype,
        model: Any,  # noqa: ANN401 (transformers')
    ) -> None:
        self._target = target
        self._layers = layers
        self._device = device
        self._dtype = dtype
        self._model = model
        self._seen: dict[int, Tensor] = {}
        for layer in self._layers:
            self._model.layers[layer].register_forward_hook(
                lambda _module, _given, output, layer=layer: self._seen.update({layer: _first(output)})
            )

    def sample(self, answer: Answer) -> Sample:
        """The sample of an answer; its last token was never fed to the target, as in an engine."""
        return self.samples([answer])[0]

    @torch.no_grad()
    def samples(self, answers: Sequence[Answer]) -> list[Sample]:
        """Those of several answers, in one pass; shorter ones are padded behind, which no row of theirs attends to."""
        longest = max(answer.tokens.numel() for answer in answers)
        tokens = torch.zeros((len(answers), longest - 1), dtype=torch.int64)
        for row, answer in zip(tokens, answers, strict=True):
            row[: answer.tokens.numel() - 1] = answer.tokens[:-1]
        last = self._model(input_ids=tokens.to(self._device), use_cache=False).last_hidden_state
        aux = torch.cat([self._seen[layer] for layer in self._layers], -1)
        self._seen.clear()
        return [
            Sample(
                request=answer.id,
                tokens=answer.tokens,
                prompt_tokens=answer.prompt_tokens,
                aux=aux[at, : answer.tokens.numel() - 1].to("cpu", self._dtype, copy=True),
                last=last[at, : answer.tokens.numel() - 1].to("cpu", self._dtype, copy=True),
                draft_version=-1,
                target=self._target.fingerprint,
            )
            for at, answer in enumerate(answers)
        ]
