"""What is tried. Each variant differs from the one that it is compared with in one thing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Policy = Literal["epochs", "least used", "uniform", "newest", "unused first", "less used likelier"]
Entry = Literal["", "warm up again", "restart schedule", "reset moments", "new draft", "choose vocabulary"]


@dataclass(frozen=True)
class Phase:
    """A part of training in which traffic is of some domains.

    Attributes:
        domains: all where it is empty.
        share: of the run's tokens.
        replay: share of drawn samples that are of earlier phases.
        on_entry: what is done when it begins, but for the first one.
    """

    domains: tuple[str, ...] = ()
    share: float = 1.0
    replay: float = 0.0
    on_entry: Entry = ""


@dataclass(frozen=True)
class Variant:
    """How a draft is trained.

    Attributes:
        name: unique.
        group: the experiment that it is part of.
        training: of :class:`aurora_core.config.TrainingConfig`, over the baseline's.
        vocabulary, batch, warmup: tokens of the draft's vocabulary, samples of a step and steps of warm-up, over the
            baseline's.
        rule: a loss of :mod:`efficiency.losses`, or None for the product's own path.
        frozen: the head is not trained.
        start: what of the target the draft begins with.
        optimizer: of the matrices of the layer; all else is trained by AdamW.
        ema: decay of an average of the weights, which is what is measured.
        prompt_rows: rows of prompts are learned from too.
        answers: which of the target's answers are trained on.
        policy: how samples are drawn; all but ``epochs`` see them arrive one after the other.
        again: share of what is drawn that was drawn before, as the product's ``replay_fraction`` is.
        phases: of traffic.
        length: tokens, over those of other runs.
        cost: seconds of a token, over the baseline's; a guess that only shares time out.
        against: the variant that it is compared with.
        measured: domains whose held-out prompts count, all where it is empty.
    """

    name: str
    group: str
    training: Mapping[str, object] = field(default_factory=dict)
    vocabulary: float = 1.0
    batch: float = 1.0
    warmup: float = 1.0
    rule: str | None = None
    frozen: bool = False
    start: Literal["borrowed", "random layer", "random"] = "borrowed"
    optimizer: Literal["AdamW", "Muon"] = "AdamW"
    ema: float | None = None
    prompt_rows: bool = False
    answers: Literal["greedy", "sampled", "both"] = "greedy"
    policy: Policy = "epochs"
    again: float = 0.0
    phases: tuple[Phase, ...] = (Phase(),)
    length: float = 1.0
    cost: float = 1.0
    against: str = "baseline"
    measured: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """What all are compared with: the settings of ``examples/smollm2.yaml``, and what a CPU has time for.

    Attributes:
        vocabulary: tokens of the draft's.
        batch: samples of a step.
        warmup: steps.
        training: the rest of the trainer's settings.
    """

    vocabulary: int = 8192
    batch: int = 8
    warmup: int = 20
    training: Mapping[str, object] = field(
        default_factory=lambda: {"lr": 1e-3, "max_grad_norm": 1.0, "ttt_length": 3, "step_weight_decay": 0.8}
    )


A, B = ("python",), ("email",)


def _aba(replay: float, *, on_entry: Literal["", "choose vocabulary"] = "choose vocabulary") -> tuple[Phase, ...]:
    return (Phase(A, 0.4), Phase(B, 0.4, replay, on_entry), Phase(A, 0.2, replay, on_entry))


def _ab(entry: Phase) -> tuple[Phase, ...]:
    return Phase(A, 0.5), entry


def _loss(rule: str) -> Variant:
    return Variant(f"loss: {rule}", "loss", rule=rule, cost=1.2)


_AGAIN = Variant("baseline, other seeds", "noise")
_RATES = [Variant(f"lr {lr:g}", "learning rate", {"lr": lr}) for lr in (3e-4, 2e-3, 4e-3, 1e-4, 1e-5)]
_LOSSES = [
    _loss(rule)
    for rule in ("forward KL", "adaptive mixture", "KL and total variation", "log acceptance", "KL and cross entropy",
                 "cross entropy", "total variation", "reverse KL", "sharpened", "rejected 0.1", "rejected 0.5",
                 "hardness 0.5", "hardness 1", "survival")
]  # fmt: skip
_UNROLL = [
    Variant("unroll 5", "unroll", {"ttt_length": 5}, cost=1.5),
    Variant("unroll 1", "unroll", {"ttt_length": 1}, cost=0.7),
    Variant("unroll 2", "unroll", {"ttt_length": 2}, cost=0.85),
    Variant("unroll 7", "unroll", {"ttt_length": 7}, cost=1.9),
    Variant("step weights 1.0", "step weights", {"step_weight_decay": 1.0}),
    Variant("step weights 0.6", "step weights", {"step_weight_decay": 0.6}),
    Variant("unroll 5, step weights 1.0", "step weights", {"ttt_length": 5, "step_weight_decay": 1.0}, cost=1.5,
            against="unroll 5"),
    Variant("unroll 5, step weights 0.6", "step weights", {"ttt_length": 5, "step_weight_decay": 0.6}, cost=1.5,
            against="unroll 5"),
]  # fmt: skip
_WEIGHTS = [
    Variant("frozen head", "head", frozen=True),
    Variant("random layer, borrowed head", "initialisation", start="random layer"),
    Variant("random layer and head", "initialisation", start="random"),
    Variant("vocabulary smaller", "vocabulary", vocabulary=0.25, cost=0.9),
    Variant("vocabulary larger", "vocabulary", vocabulary=4.0, cost=1.5),
    Variant("averaged weights 0.98", "average of weights", ema=0.98, cost=1.05),
    Variant("averaged weights 0.995", "average of weights", ema=0.995, cost=1.05),
    Variant("prompt rows", "prompt rows", prompt_rows=True, cost=1.2),
]
_OPTIMIZERS = [
    Variant("Muon, lr 1e-3", "optimizer", optimizer="Muon", cost=1.4),
    Variant("Muon, lr 3e-3", "optimizer", {"lr": 3e-3}, optimizer="Muon", cost=1.4),
    Variant("betas 0.9, 0.999", "betas", {"betas": (0.9, 0.999)}),
    Variant("betas 0.9, 0.99", "betas", {"betas": (0.9, 0.99)}),
    Variant("betas 0.8, 0.95", "betas", {"betas": (0.8, 0.95)}),
    Variant("gradient norm 2.5", "gradient norm", {"max_grad_norm": 2.5}),
    Variant("gradient norm 0.3", "gradient norm", {"max_grad_norm": 0.3}),
    Variant("weight decay 0.1", "weight decay", {"weight_decay": 0.1}),
    Variant("cosine to 0", "schedule", {"lr_decay_style": "cosine"}),
    Variant("cosine to a tenth", "schedule", {"lr_decay_style": "cosine", "min_lr": 1e-4}),
    Variant("no warm-up", "schedule", {"warmup_steps": 0}),
    Variant("warm-up five times as long", "schedule", warmup=5.0),
    Variant("batch halved", "batch size", batch=0.5, cost=1.3),
    Variant("batch doubled", "batch size", batch=2.0),
    Variant("batch doubled, lr 2e-3", "batch size", {"lr": 2e-3}, batch=2.0),
    Variant("batch fourfold, lr 2e-3", "batch size", {"lr": 2e-3}, batch=4.0),
    Variant("batch halved, lr 5e-4", "batch size", {"lr": 5e-4}, batch=0.5, cost=1.3),
]
_MOVED = Variant("moved, least used first, 25% again", "replay", policy="least used", again=0.25, measured=B,
                 phases=_ab(Phase(B, 0.5, on_entry="choose vocabulary")))  # fmt: skip
_ARRIVING = [
    *(Variant(f"arriving, least used first, {again:.0%} again", "replay", policy="least used", again=again,
              against="arriving, least used first") for again in (0.25, 0.5, 0.75)),
    _MOVED,
    replace(_MOVED, name="moved, least used first, 50% again", again=0.5, against=_MOVED.name),
]  # fmt: skip
_TRAFFIC = [
    Variant("arriving, least used first", "replay", policy="least used"),
    Variant("arriving, newest first", "replay", policy="newest", against="arriving, least used first"),
    Variant("arriving, uniform", "replay", policy="uniform", against="arriving, least used first"),
    Variant("arriving, unused first", "replay", policy="unused first", against="arriving, least used first"),
    Variant(
        "arriving, less used likelier", "replay", policy="less used likelier", against="arriving, least used first"
    ),
    *_ARRIVING,
    Variant("trained on sampled answers", "answers", answers="sampled"),
    Variant("trained on both", "answers", answers="both"),
    Variant("python alone", "domains", phases=(Phase(A),), measured=A),
    Variant("email alone", "domains", phases=(Phase(B),), measured=B),
]
_DRAWN: tuple[tuple[str, Policy], ...] = (
    ("uniform", "uniform"), ("unused first", "unused first"), ("less used likelier", "less used likelier"),
)  # fmt: skip
_DRIFT_BASE = Variant(
    "drift, constant rate", "drift", phases=_ab(Phase(B, 0.5, on_entry="choose vocabulary")), measured=B
)


def _drift(name: str, entry: Entry, training: Mapping[str, object] | None = None) -> Variant:
    phases = _ab(Phase(B, 0.5, 0.0, entry))
    return replace(_DRIFT_BASE, name=f"drift, {name}", training=training or {}, phases=phases, against=_DRIFT_BASE.name)


_ARRIVING = [
    replace(_DRIFT_BASE, name="drift, arriving, least used first", policy="least used"),
    *(
        replace(
            _DRIFT_BASE, name=f"drift, arriving, {name}", policy=policy, against="drift, arriving, least used first"
        )
        for name, policy in _DRAWN
    ),
]
_COSINE = {"lr_decay_style": "cosine"}
_DRIFT = [
    _DRIFT_BASE,
    _drift("vocabulary kept", ""),
    _drift("cosine over all of it", "choose vocabulary", _COSINE),
    _drift("cosine, restarted", "restart schedule", _COSINE),
    _drift("warm-up again", "warm up again"),
    _drift("moments reset", "reset moments"),
    _drift("a new draft", "new draft"),
    replace(_drift("smaller vocabulary, chosen again", "choose vocabulary"), vocabulary=0.25),
    replace(_drift("smaller vocabulary, kept", ""), vocabulary=0.25, against="drift, smaller vocabulary, chosen again"),
]
_ABA = [
    Variant(f"A, B, A, replay {replay:.0%}", "forgetting", phases=_aba(replay), length=1.5, measured=A,
            against="A, B, A, replay 0%")
    for replay in (0.0, 0.25, 0.5)
] + [
    Variant("A, B, A, the pool's order", "forgetting", policy="least used", phases=_aba(0.0), length=1.5, measured=A,
            against="A, B, A, replay 0%"),
    Variant("A, B, A, averaged weights 0.995", "forgetting", ema=0.995, phases=_aba(0.0), length=1.5, measured=A,
            against="A, B, A, replay 0%", cost=1.05),
]  # fmt: skip

_ALL = (*_RATES, *_LOSSES, *_UNROLL, *_WEIGHTS, *_OPTIMIZERS, *_TRAFFIC, *_DRIFT, *_ARRIVING, *_ABA)
_FIRST = (
    "Muon, lr 1e-3", "prompt rows", "arriving, least used first", "arriving, newest first", "arriving, uniform",
    "arriving, unused first", "arriving, less used likelier", "drift, arriving, least used first",
    "drift, arriving, uniform", "drift, arriving, unused first", "drift, arriving, less used likelier",
    "batch doubled", "batch halved", "averaged weights 0.98", "step weights 1.0", "betas 0.9, 0.999",
    "vocabulary smaller", "vocabulary larger", "gradient norm 2.5", "gradient norm 0.3", "cosine to 0", "no warm-up",
    "weight decay 0.1", "drift, constant rate", "drift, vocabulary kept", "drift, a new draft", "python alone",
    "email alone", "trained on sampled answers", "lr 0.002", "lr 0.0003", "unroll 5", "unroll 1",
    "loss: log acceptance", "loss: adaptive mixture", "loss: total variation", "loss: reverse KL",
    "loss: cross entropy", "loss: rejected 0.1", "loss: hardness 0.5", "loss: survival", "frozen head",
    "random layer and head", "A, B, A, replay 0%", "A, B, A, replay 25%", "Muon, lr 3e-3", "step weights 0.6",
    "averaged weights 0.995", "batch doubled, lr 2e-3", "batch halved, lr 5e-4", "drift, cosine over all of it",
    "drift, cosine, restarted", "drift, warm-up again", "drift, moments reset", "trained on both", "unroll 2",
    "random layer, borrowed head", "A, B, A, replay 50%", "A, B, A, the pool's order", "lr 0.004",
    "loss: KL and total variation", "loss: KL and cross entropy", "loss: sharpened", "cosine to a tenth",
    "betas 0.9, 0.99", "batch fourfold, lr 2e-3", "unroll 7", "lr 1e-05", "lr 0.0001",
)  # fmt: skip
VARIANTS: tuple[Variant, ...] = (
    Variant("baseline", "baseline"),
    _AGAIN,
    *(one for name in _FIRST for one in _ALL if one.name == name),
    *(one for one in _ALL if one.name not in _FIRST),
)
"""In order of worth: what is cut off by the time that there is comes last."""


def named(name: str) -> Variant:
    """The variant of a name."""
    return next(one for one in VARIANTS if one.name == name)
