"""How a draft is trained. Names and defaults follow Aurora's external-training examples.

But for three: its schedule and its moments are those of a known number of steps. Here training has no end, so that the
rate is constant by default, and the second moment forgets sooner (0.95, not 0.999), for traffic moves. And its rate of
1e-5 is that of examples for targets of 8B and more, where the default here follows from the target's width.
"""

from typing import Literal, Self

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, model_validator

from aurora_core.config.base import Config

Precision = Literal["auto", "bf16", "fp32"]


def _aliases(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class TrainingConfig(Config):
    """Hyperparameters of the draft and of the loop around it."""

    ttt_length: int = Field(5, ge=1, le=16)
    """Steps that the draft is unrolled in training (training-time test); a block-parallel draft is trained on all
    proposals of its block."""
    micro_batch: PositiveInt = Field(
        4, validation_alias=_aliases("microBatch", "micro_batch", "micro_batch_size", "microBatchSize")
    )
    """Samples of one forward and backward pass."""
    draft_accumulation_steps: PositiveInt = 1
    """Micro-batches whose gradients are added before each optimizer step."""
    lr: PositiveFloat | None = Field(None, validation_alias=_aliases("lr", "learning_rate", "learningRate"))
    """Peak learning rate of AdamW; by default 0.576 over the width of the target's hidden states: 1e-3 for 576, 1.4e-4
    for 4,096."""
    min_lr: float = Field(0.0, ge=0)
    """Learning rate at the end of a cosine schedule."""
    lr_decay_style: Literal["constant", "cosine"] = "constant"
    """What the learning rate does after warm-up."""
    lr_total_steps: PositiveInt | None = None
    """Optimizer steps over which a cosine schedule decays; required for one."""
    warmup_steps: int = Field(0, ge=0)
    """Optimizer steps of linear warm-up."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's moments."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: PositiveFloat = 2.5
    """Global gradient norm above which gradients are scaled down."""
    max_seq_length: int = Field(2048, ge=2)
    """Tokens of a sample that are used, the last ones: of a longer one the front is cut, so that what was generated
    remains."""
    step_weight_decay: float | None = Field(None, gt=0, le=1)
    """Weight of each further draft step's loss relative to the one before; by default 0.8, and of a block-parallel
    draft what its authors take for a block of that size."""
    loss: Literal["fused", "reference"] = "fused"
    """How a micro-batch is computed: fused computes only what the loss needs, reference every row; the sums and
    gradients are the same."""
    precision: Precision = "auto"
    """Arithmetic of the forward and backward pass; auto: bf16 where the hardware is fast in it, else fp32. Weights and
    optimizer are always fp32."""
    seed: int = 42
    """Seed of initialisation and of the order of samples."""
    start_samples: PositiveInt = Field(
        32, validation_alias=_aliases("startSamples", "start_samples", "inference_buffer_threshold")
    )
    """Samples that the pool must hold before the first step."""
    reuse: PositiveFloat = 8.0
    """How often a sample is trained on, on average, before training waits for new ones; not counting replay."""
    replay_fraction: float = Field(0.25, ge=0, le=0.5)
    """Share of training that is on earlier traffic: of the samples that are drawn, and of the pool, where so many are
    kept at random beside the newest."""
    num_train_steps: PositiveInt | None = None
    """Optimizer steps after which training ends; without it, training never ends."""
    publish_every_steps: PositiveInt = 50
    """Optimizer steps between two published versions."""
    publish_min_gain: float = Field(0.0, ge=0)
    """How much the holdout accept length is proved to have risen since the last version where a new one is
    published."""
    holdout_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of requests held out to evaluate versions before they see traffic."""
    holdout_samples: PositiveInt = 48
    """The newest held-out samples that an evaluation uses."""
    save_every_steps: PositiveInt = 50
    """Optimizer steps between two saves of the training state."""
    threads: PositiveInt | None = None
    """CPU threads of the trainer; by default all."""
    report_to: Literal["none", "wandb", "tensorboard"] = "none"
    """Where metrics go besides the log and Prometheus; the package of that name must be in the trainer's image."""

    @model_validator(mode="after")
    def _schedule(self) -> Self:
        if self.lr_decay_style == "cosine" and self.lr_total_steps is None:
            message = "lr_decay_style cosine needs lr_total_steps: say over how many steps the rate decays"
            raise ValueError(message)
        return self
