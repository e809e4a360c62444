"""The parts of the spec that name models: the target, and the draft."""

from typing import Annotated

from aurora_core.config.algorithms import FAMILIES
from aurora_core.config.base import Config
from aurora_core.config.effect import Effect
from aurora_core.config.parts import DraftConfig, TargetConfig
from pydantic import Field

from aurora_operator.api.fields import Name, SecretKey, rules


class ModelVolume(Config):
    """A volume with the target's checkpoint, mounted read-only at /model."""

    claim_name: Name
    """PersistentVolumeClaim."""
    sub_path: str | None = Field(None, max_length=500, pattern=r"^[^/].*$")
    """Folder in it."""


class TargetSpec(TargetConfig):
    """The model that is served."""

    model_config = rules(
        (
            "!self.model.startsWith('/') || has(self.volume)",
            "target.model is a path: name its volume in target.volume, which is mounted at /model",
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
            (f"draft.auxLayers must name {one.fed_by} layer{'s' * (one.fed_by > 1)}: so many feed a draft of {name}"),
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


class DraftSpec(DraftConfig):
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

    checkpoint: Annotated[str | None, Effect.REFUSED] = Field(
        None,
        min_length=1,
        max_length=300,
        pattern=r"^(/model/[A-Za-z0-9._/-]+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$",
    )
    """Draft to start from: a Hugging Face model id, or a path below /model in target.volume."""
