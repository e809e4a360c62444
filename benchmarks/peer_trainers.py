"""Each trainer's optimizer step, driven as the project's own trainer drives it, without its data loader.

Every function imports its project when it is called, in that project's environment.
"""

import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peer_cases import Case, Document, Shape, padded
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Given:
    """What a trainer is made from.

    Attributes:
        shape, case: of the draft; how it is trained.
        target: folder of the target's weights.
        device: where it trains.
        ids: [draft vocabulary] the target's ids in the draft's vocabulary, ascending.
        first: folder of the draft to start from, with SGLang's names; None: each project makes its own.
    """

    shape: Shape
    case: Case
    target: Path
    device: torch.device
    ids: Tensor
    first: Path | None = None

    def weights(self) -> tuple[Tensor, Tensor]:
        """Embedding and head, each [vocabulary, hidden], on the device."""
        tensors = load_file(self.target / "model.safetensors", device=str(self.device))
        embedding = tensors["model.embed_tokens.weight"]
        return embedding, tensors.get("lm_head.weight", embedding)

    def maps(self) -> tuple[Tensor, Tensor]:
        """t2d, [vocabulary] bool, and d2t, [draft vocabulary] int64, what is added to a draft's id."""
        t2d = torch.zeros(self.shape.vocabulary, dtype=torch.bool)
        t2d[self.ids] = True
        return t2d, self.ids - torch.arange(self.ids.numel())

    def llama(self, **more: Any) -> Any:  # noqa: ANN401 (transformers' configuration)
        """The draft's shape as SpecForge, TorchSpec and speculators take it."""
        shape = self.shape
        config = import_module("transformers").LlamaConfig(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.hidden // shape.heads,
            num_hidden_layers=1,
            vocab_size=shape.vocabulary,
            max_position_embeddings=65_536,
            rms_norm_eps=shape.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
            hidden_act="silu",
            tie_word_embeddings=False,
            pad_token_id=None,
        )
        own = {"draft_vocab_size": shape.draft_vocabulary, "target_hidden_size": shape.hidden, "pretraining_tp": 1}
        for name, value in (own | more).items():
            setattr(config, name, value)
        return config


class Driven:
    """A trainer that is ready.

    Args:
        prepare: makes a batch of documents, on the device where the project's loader puts it there.
        step: forward, backward and optimizer on a batch; returns the loss.
        weights: the draft's, with SGLang's names.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[Document]], Any],
        step: Callable[[Any], float],
        weights: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self.prepare, self.step, self.weights = prepare, step, weights


def ours(given: Given) -> Driven:
    """This project's trainer; a sample moves to the device inside the step."""
    training = import_module("aurora_core.training.trainer")
    config = import_module("aurora_core.config")
    target = import_module("aurora_core.models.target").Target(given.target)
    sample = import_module("aurora_core.samples.schema").Sample
    draft = import_module("aurora_core.training.init").first_draft(
        config.DraftConfig(draft_vocab_size=given.shape.draft_vocabulary), target, 0
    )
    chosen: dict[str, Any] = {"precision": given.case.precision}
    if given.case.steps:
        chosen["ttt_length"] = given.case.steps
    if one := given.case.settings:
        chosen |= {
            "lr": one.lr, "warmup_steps": one.warmup, "max_grad_norm": one.clip, "step_weight_decay": one.decay,
            "betas": (0.9, 0.999),
        }  # fmt: skip
    if given.first:
        draft.load_state_dict(load_file(given.first / "model.safetensors"), strict=False)
    trainer = training.Trainer.of(config.TrainingConfig(**chosen), draft, target, given.device)
    trainer.set_vocabulary(given.ids)

    def prepare(documents: Sequence[Document]) -> list[Any]:
        return [sample(str(n), one.tokens, one.prompt, one.aux, one.last, 0, "") for n, one in enumerate(documents)]

    return Driven(prepare, lambda batch: float(trainer.train_step([batch]).loss), trainer.draft.state_dict)


def _summed(losses: Sequence[Tensor], decay: float) -> Tensor:
    total = torch.zeros_like(losses[0])
    for step, loss in enumerate(losses):
        total = total + decay**step * loss
    return total


def _eagle(given: Given, draft: Any) -> Any:  # noqa: ANN401 (a peer's class)
    """SpecForge's or TorchSpec's draft as its trainer prepares it: embedding and vocabulary, which are not trained."""
    t2d, d2t = given.maps()
    with torch.no_grad():
        draft.embed_tokens.weight.copy_(given.weights()[0])
        draft.t2d.copy_(t2d)
        draft.d2t.copy_(d2t)
    if given.first:
        draft.load_state_dict(load_file(given.first / "model.safetensors"), strict=False)
    draft.freeze_embedding()
    return draft.to(given.device, given.case.dtype)


def _optimized(given: Given, optimizer: Any, draft: nn.Module, style: str) -> Any:  # noqa: ANN401 (a peer's class)
    """SpecForge's or TorchSpec's optimizer: own settings are a rate of 1e-4, a cosine schedule, a clip of 0.5."""
    one, total = given.case.settings, given.case.total
    if one is None:
        return optimizer(draft, lr=1e-4, total_steps=total)
    more = {style: "constant", "warmup_ratio": one.warmup / total}
    return optimizer(draft, lr=one.lr, total_steps=total, max_grad_norm=one.clip, **more)


def _inputs(given: Given, shifted: Callable[..., Tensor], documents: Sequence[Document]) -> dict[str, Tensor]:
    """A batch as the models of SpecForge and TorchSpec take it, which have one ancestor.

    Args:
        given: what the trainer is made from.
        shifted: the project's own shift by one row.
        documents: of the batch.
    """
    batch = padded(documents, given.device, given.case.dtype)
    return {
        "input_ids": shifted(batch.tokens, left=False),
        "attention_mask": batch.attended,
        "loss_mask": batch.trained,
        "hidden_states": batch.aux,
        "last": shifted(batch.last, left=False),
    }


def specforge(given: Given, *, compact: bool) -> Driven:
    """SpecForge's OnlineEagle3Model and BF16Optimizer.

    Its loss is a Triton kernel; without an accelerator its own reference of that takes its place.
    """
    model = import_module("specforge.algorithms.eagle3.model")
    backend = "flex_attention" if given.device.type == "cuda" else "sdpa"
    if given.device.type != "cuda":
        reference = import_module("specforge.core.loss")._compute_loss  # noqa: SLF001
        model.__dict__["LogSoftmaxLoss"] = types.SimpleNamespace(apply=reference)
    module = import_module("specforge.modeling.draft.llama3_eagle")
    torch.manual_seed(0)
    draft = _eagle(given, module.LlamaForCausalLMEagle3(given.llama(), attention_backend=backend))
    head = given.weights()[1].to(given.case.dtype)
    wrapped = model.OnlineEagle3Model(draft, length=given.case.steps or 7, attention_backend=backend)
    wrapped = wrapped.to(given.case.dtype)
    optimizer = _optimized(given, import_module("specforge.optimizer").BF16Optimizer, draft, "lr_scheduler")
    shifted = import_module("specforge.utils").padding
    decay = given.case.settings.decay if given.case.settings else 0.8

    def prepare(documents: Sequence[Document]) -> dict[str, Tensor]:
        inputs = _inputs(given, shifted, documents)
        return inputs | {"loss_mask": inputs["loss_mask"][..., None]}

    def step(batch: dict[str, Tensor]) -> float:
        inputs: dict[str, Any] = dict(batch)
        last = inputs.pop("last")
        if compact:
            inputs |= {"target": None, "target_hidden_for_compact": last, "target_head_weight": head}
        else:
            with torch.no_grad():
                inputs["target"] = F.linear(last, head)
        loss = _summed(wrapped(**inputs)[0], decay)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss)

    return Driven(prepare, step, draft.state_dict)


def torchspec(given: Given, backend: str) -> Driven:
    """TorchSpec's Eagle3Model and BF16Optimizer, without its tracker."""
    name = "torchspec.utils.wandb"
    tracker = sys.modules[name] = types.ModuleType(name)
    import_module("torchspec.utils").__dict__["wandb"] = tracker
    model = import_module("torchspec.models.eagle3")
    module = import_module("torchspec.models.draft.llama3_eagle")
    torch.manual_seed(0)
    config = given.llama(rope_theta=given.shape.rope_theta, rope_scaling=None)
    draft = _eagle(given, module.LlamaForCausalLMEagle3(config, attention_backend=backend))
    head = given.weights()[1].to(given.case.dtype)
    length = given.case.steps or 7
    wrapped = model.Eagle3Model(draft, length=length, attention_backend=backend, gradient_checkpointing=False)
    optimizer = _optimized(given, import_module("torchspec.training.optimizer").BF16Optimizer, draft, "decay_style")
    shifted = import_module("torchspec.utils.tensor").padding
    decay = given.case.settings.decay if given.case.settings else 0.8

    def prepare(documents: Sequence[Document]) -> dict[str, Tensor]:
        return _inputs(given, shifted, documents)

    def step(batch: dict[str, Tensor]) -> float:
        inputs: dict[str, Any] = dict(batch)
        target = model.compute_target_p_padded(
            target_hidden_states=inputs.pop("last"),
            target_lm_head_weight=head,
            t2d=draft.t2d,
            loss_mask=batch["loss_mask"],
            length=length,
        )
        loss = _summed(wrapped(target=target, **inputs)[0], decay)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss)

    return Driven(prepare, step, draft.state_dict)
