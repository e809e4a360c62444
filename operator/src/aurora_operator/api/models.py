"""The parts of the spec that name models: the target, and the draft."""

from typing import Annotated, Self

from aurora_core.config.algorithms import DEFAULT, FAMILIES, Algorithm
from aurora_core.config.base import Config
from aurora_core.config.parts import DraftConfig, DraftShape, Dtype
from pydantic import Field, model_validator

from aurora_operator.api.fields import Effect, Name, SecretKey, rules


class ModelVolume(Config):
    """A volume that holds the target's checkpoint, mounted read-only at /model."""

    claim_name: Name
    """PersistentVolumeClaim."""
    sub_path: str | None = Field(None, max_length=500, pattern=r"^[^/].*$")
    """Folder in it."""


class TargetSpec(Config):
    """The model that is served."""

    model_config = rules(
        (
            "!self.model.startsWith('/') || has(self.volume)",
            "target.model is a path: name the volume that holds it in target.volume, which is mounted at /model",
        ),
        (
            "!has(self.volume) || self.model == '/model' || self.model.startsWith('/model/')",
            "target.volume is mounted at /model: target.model must be /model or a path below it",
        ),
    )

    model: Annotated[str, Effect.REFUSED] = Field(
        min_length=1,
        max_length=300,
        pattern=r"^(/[A-Za-z0-9._/-]+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$",
    )
    """Hugging Face model id, or path in target.volume."""
    revision: Annotated[str | None, Effect.REFUSED] = Field(None, max_length=100, pattern=r"^[A-Za-z0-9._/-]+$")
    """Branch, tag or commit of a Hugging Face model; by default its main branch."""
    dtype: Annotated[Dtype, Effect.REFUSED] = "auto"
    """Type that engines compute in; auto: bfloat16 where the hardware is fast in it, else float32, and float16 for a
    float16 checkpoint on GPUs."""
    trust_remote_code: Annotated[bool, Effect.BOTH] = False
    """Run code that the model's repository brings; off, because that code would run in your pods."""
    volume: Annotated[ModelVolume | None, Effect.REFUSED] = None
    """Volume with the checkpoint, instead of the Hugging Face hub."""
    token_secret: Annotated[SecretKey | None, Effect.IN_PLACE] = None
    """Token for a gated model on the Hugging Face hub."""


_TREES = [name for name, one in FAMILIES.items() if one.trees]
_OF_FAMILIES = (
    (
        f"self.topK == 1 || self.algorithm in {_TREES}",
        f"draft.topK above 1 is a token tree, which a draft of {' or '.join(_TREES)} proposes: set draft.topK to 1",
    ),
    *(
        (
            f"self.algorithm != '{name}' || !has(self.auxLayers) || size(self.auxLayers) == {one.fed_by}",
            f"draft.auxLayers must name {one.fed_by} layers: so many feed a draft of {name}",
        )
        for name, one in FAMILIES.items()
        if one.fed_by
    ),
    *(
        (
            (
                f"self.algorithm != '{name}' || !has(self.shape) || !has(self.shape.numHiddenLayers) || "
                f"self.shape.numHiddenLayers == {one.depth}"
            ),
            f"draft.shape.numHiddenLayers must be {one.depth} or left out: a draft of {name} always has so many",
        )
        for name, one in FAMILIES.items()
        if one.depth
    ),
)
"""What does not apply to every family."""


class DraftSpec(Config):
    """The draft's architecture and how many tokens it proposes."""

    model_config = rules(
        *_OF_FAMILIES,
        (
            "self.topK != 1 || self.numDraftTokens == self.numSteps + 1",
            "with draft.topK 1 the draft is a chain: set draft.numDraftTokens to draft.numSteps + 1",
        ),
        (
            "self.numDraftTokens > self.numSteps",
            "draft.numDraftTokens must be at least draft.numSteps + 1",
        ),
        (
            "!has(self.auxLayers) || self.auxLayers.all(a, a >= 0 && self.auxLayers.exists_one(b, a == b))",
            "draft.auxLayers must be different layers, numbered from 0; the last layer cannot be one",
        ),
        (
            "!has(self.shape) || !has(self.checkpoint)",
            "draft.shape is of a new draft: a draft that draft.checkpoint names has its own",
        ),
        (
            "!has(self.shape) || has(self.shape.numAttentionHeads) == has(self.shape.numKeyValueHeads)",
            "draft.shape needs both numAttentionHeads and numKeyValueHeads, or neither",
        ),
        (
            (
                "!has(self.shape) || !has(self.shape.numAttentionHeads) || !has(self.shape.numKeyValueHeads) || "
                "self.shape.numAttentionHeads % self.shape.numKeyValueHeads == 0"
            ),
            "draft.shape.numAttentionHeads must be a multiple of draft.shape.numKeyValueHeads",
        ),
    )

    algorithm: Annotated[Algorithm, Effect.REFUSED] = DEFAULT
    """Draft architecture."""
    checkpoint: Annotated[str | None, Effect.REFUSED] = Field(
        None,
        min_length=1,
        max_length=300,
        pattern=r"^(/model/[A-Za-z0-9._/-]+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$",
    )
    """Draft to start from: a Hugging Face model id, or a path below /model in target.volume."""
    revision: Annotated[str | None, Effect.REFUSED] = Field(None, max_length=100, pattern=r"^[A-Za-z0-9._/-]+$")
    """Branch, tag or commit of a draft from the hub; by default its main branch."""
    draft_vocab_size: Annotated[int, Effect.REFUSED] = Field(32000, ge=16, le=1_000_000)
    """Tokens that a new draft can propose, chosen by how often traffic uses them; a block-parallel draft can all."""
    aux_layers: Annotated[tuple[int, ...] | None, Effect.REFUSED] = Field(None, min_length=1, max_length=16)
    """Target layers, numbered from 0, whose outputs feed the draft; by default those that the checkpoint names, or
    those that SGLang takes where none are named: of n layers 1, n/2 - 1 and n - 4, and for a block-parallel draft as
    many as it has layers, from 1 to n - 3."""
    shape: Annotated[DraftShape | None, Effect.REFUSED] = None
    """Shape of a new draft; by default the target's, or a dense layer's where the target is a mixture of experts or has
    latent attention."""
    num_steps: Annotated[int, Effect.BOTH] = Field(3, ge=1, le=16)
    """Draft steps of a verify cycle; of a block-parallel draft the proposals of a block, which are made at once."""
    top_k: Annotated[int, Effect.BOTH] = Field(1, ge=1, le=16)
    """Branches of each draft step; a block-parallel draft has one."""
    num_draft_tokens: Annotated[int, Effect.BOTH] = Field(4, ge=2, le=257)
    """Tokens that the target verifies in a cycle, the last known one included."""

    @property
    def switchable(self) -> bool:
        """Whether an engine can stop drafting, and begin, while it runs."""
        return draft_config(self).switchable

    @model_validator(mode="after")
    def _readable(self) -> Self:
        """What a rule refuses at admission can have been stored before there was one."""
        draft_config(self)
        return self


def draft_config(draft: DraftSpec) -> DraftConfig:
    """The same draft, as engine and trainer read it."""
    return DraftConfig.model_validate(draft.model_dump())
