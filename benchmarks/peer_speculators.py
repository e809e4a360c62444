"""Speculators' optimizer step: fp32 weights under autocast, packed documents, a frozen head, Muon by default."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
from peer_cases import Document, joined
from peer_trainers import Driven, Given
from safetensors.torch import load_file
from torch import Tensor, nn

_OWN_STEPS, _OWN_CLIP, _OWN_DECAY = 3, 1.0, 1.0


def _model(given: Given) -> Any:  # noqa: ANN401 (a class of theirs)
    eagle3 = import_module("speculators.models.eagle3")
    config = import_module("speculators.config")
    greedy = import_module("speculators.proposals.greedy").GreedyTokenProposalConfig
    llama = given.llama()
    llama._attn_implementation = "simple_flex_attention" if given.device.type == "cuda" else "sdpa"  # noqa: SLF001
    torch.manual_seed(0)
    made = eagle3.Eagle3DraftModel(
        eagle3.Eagle3SpeculatorConfig(
            transformer_layer_config=llama,
            draft_vocab_size=given.shape.draft_vocabulary,
            norm_before_residual=False,
            eagle_aux_hidden_state_layer_ids=[1, 2, 3],
            speculators_config=config.SpeculatorsConfig(
                algorithm="eagle3",
                proposal_methods=[greedy(speculative_tokens=given.case.steps or _OWN_STEPS)],
                default_proposal_method="greedy",
                verifier=config.VerifierConfig(name_or_path=None, architectures=["LlamaForCausalLM"]),
            ),
        )
    )
    made.load_vocab_mappings(*given.maps())
    if given.first:
        first = load_file(given.first / "model.safetensors")
        named = {name.replace("midlayer.", "layers.0."): each for name, each in first.items()}
        made.load_state_dict(named, strict=False)
    embedding, head = given.weights()
    with torch.no_grad():
        made.embed_tokens.weight.copy_(embedding)
        for rows in (made.lm_head.weight, made.verifier_lm_head.weight):
            rows.copy_(head[given.ids.to(head.device)])
        # The states are normed already; the norm's cost stays in the step.
        made.verifier_norm.weight.fill_(1.0)
    return made.to(given.device).train()


def _optimizers(given: Given, model: nn.Module) -> tuple[list[Any], list[Any]]:
    """Optimizers and the schedules of their rates."""
    one = given.case.settings
    own = SimpleNamespace(
        optimizer="muon", lr=1e-3, weight_decay=0.01, muon_lr=1e-3, muon_momentum=0.95, muon_weight_decay=0.1,
        muon_ns_steps=5, muon_adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    if one:
        own = SimpleNamespace(optimizer="adamw", lr=one.lr, weight_decay=0.0)
    found = import_module("speculators.train.optimizers").build_optimizers(model, own)
    schedules = import_module("transformers")
    warmup = one.warmup if one else given.case.total // 100
    schedule = schedules.get_constant_schedule_with_warmup if one else schedules.get_linear_schedule_with_warmup
    more = {} if one else {"num_training_steps": given.case.total}
    return found, [schedule(each, num_warmup_steps=warmup, **more) for each in found]


def speculators(given: Given, *, fused: bool) -> Driven:
    """Speculators' Eagle3DraftModel, as its trainer drives it; its fused loss, the default, is a Triton kernel."""
    model = _model(given)
    loss_config = import_module("speculators.losses").resolve_loss_config("kl_div", "fused" if fused else "eager")
    optimizers, schedules = _optimizers(given, model)
    case, one = given.case, given.case.settings

    def prepare(documents: Sequence[Document]) -> dict[str, Tensor]:
        return joined(documents, given.device, case.dtype)

    def step(batch: dict[str, Tensor]) -> float:
        enabled = case.dtype is torch.bfloat16
        with torch.autocast(given.device.type, dtype=torch.bfloat16, enabled=enabled):
            _, loss, _ = model(
                **batch,
                ttt_steps=case.steps or _OWN_STEPS,
                ttt_step_loss_decay=one.decay if one else _OWN_DECAY,
                loss_config=loss_config,
            )
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), one.clip if one else _OWN_CLIP)
        for each in (*optimizers, *schedules):
            each.step()
        return float(loss)

    def weights() -> Mapping[str, Tensor]:
        return {name.replace("layers.0.", "midlayer."): each for name, each in model.state_dict().items()}

    return Driven(prepare, step, weights)
