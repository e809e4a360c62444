"""The model, the draft, serving, samples and weights: the parts that more than one process must agree on."""

import math
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from aurora_core.config.algorithms import DEFAULT, FAMILIES, Algorithm
from aurora_core.config.base import Config
from aurora_core.config.strata import StrataConfig

Dtype = Literal["auto", "bfloat16", "float16", "float32"]


class TargetConfig(Config):
    """The model that is served."""

    model: str = Field(min_length=1)
    """Hugging Face model id, or folder of a checkpoint."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face model; by default its main branch."""
    trust_remote_code: bool = False
    """Run code that the model's repository brings; off, because that code would run in your pods."""
    dtype: Dtype = "auto"
    """Type that the engine computes in; auto: bfloat16 where the hardware is fast in it, else float32, and float16 for
    a float16 checkpoint on a GPU."""


class DraftShape(Config):
    """The shape of a new draft; what is left out follows from the target."""

    num_attention_heads: int | None = Field(None, ge=1, le=1024)
    """Heads of its queries; the GPUs that share the target must share them evenly."""
    num_key_value_heads: int | None = Field(None, ge=1, le=1024)
    """Heads of its keys and values."""
    head_dim: int | None = Field(None, ge=2, le=1024, multiple_of=2)
    """Width of a head."""
    intermediate_size: int | None = Field(None, ge=1, le=1_000_000)
    """Width of its MLP."""
    num_hidden_layers: int | None = Field(None, ge=1, le=16)
    """Layers of a block-parallel draft, by default 5; others have one."""


class DraftConfig(Config):
    """The draft's architecture and how many tokens it proposes."""

    algorithm: Algorithm = DEFAULT
    """Draft architecture."""
    checkpoint: str | None = Field(None, min_length=1)
    """Draft to start from, a Hugging Face model id or a folder; without one a draft is made from nothing (day-0)."""
    revision: str | None = None
    """Branch, tag or commit of a draft from the hub; by default its main branch."""
    draft_vocab_size: PositiveInt = 32000
    """Tokens that a new draft can propose, chosen by how often traffic uses them; a block-parallel draft can all."""
    aux_layers: tuple[int, ...] | None = Field(None, min_length=1, max_length=16)
    """Target layers, numbered from 0, whose outputs feed the draft; by default those that the checkpoint names, or
    those that SGLang takes where none are named: of n layers 1, n/2 - 1 and n - 4, and for a block-parallel draft as
    many as it has layers, from 1 to n - 3."""
    shape: DraftShape | None = None
    """Shape of a new draft; by default the target's, or a dense layer's where the target is a mixture of experts or has
    latent attention."""
    num_steps: int = Field(3, ge=1, le=16)
    """Draft steps of a verify cycle; of a block-parallel draft the proposals of a block, which are made at once."""
    top_k: int = Field(1, ge=1, le=16)
    """Branches of each draft step; a block-parallel draft has one."""
    num_draft_tokens: int = Field(4, ge=2)
    """Tokens that the target verifies in a cycle, the last known one included."""

    @model_validator(mode="after")
    def _tree(self) -> Self:
        if self.top_k == 1 and self.num_draft_tokens != self.num_steps + 1:
            message = f"with top_k 1 num_draft_tokens must be num_steps + 1 = {self.num_steps + 1}"
            raise ValueError(message)
        if self.top_k > 1 and not FAMILIES[self.algorithm].trees:
            message = f"a draft of {self.algorithm} proposes no token tree: top_k must be 1, not {self.top_k}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _layers(self) -> Self:
        kind = FAMILIES[self.algorithm]
        if self.aux_layers and kind.fed_by and len(self.aux_layers) != kind.fed_by:
            message = f"a draft of {self.algorithm} is fed by {kind.fed_by} layers: aux_layers names {self.aux_layers}"
            raise ValueError(message)
        depth = self.shape and self.shape.num_hidden_layers
        if depth and kind.depth and depth != kind.depth:
            message = f"shape.num_hidden_layers is {depth}, and a draft of {self.algorithm} always has {kind.depth}"
            raise ValueError(message)
        return self

    @property
    def switchable(self) -> bool:
        """Whether an engine with such a draft can stop drafting, and begin, while it runs."""
        return FAMILIES[self.algorithm].switchable and self.top_k == 1


class ServingConfig(Config):
    """The engine."""

    host: str = "127.0.0.1"
    """Address that the engine listens on; `*`: all, of IPv4 and IPv6."""
    port: int = Field(30000, ge=1, le=65535)
    """Port of the engine."""
    agent_port: int = Field(30001, ge=1, le=65535)
    """Port of the sync agent."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the engine runs."""
    tensor_parallel_size: PositiveInt = 1
    """GPUs that share the target."""
    max_total_tokens: PositiveInt | None = None
    """Tokens of KV cache; by default what fits."""
    threads: PositiveInt | None = None
    """CPU threads of the engine; by default all."""
    extra_args: tuple[str, ...] = ()
    """Further arguments of SGLang, passed on as they are."""
    strata: StrataConfig | None = None
    """Kinds of requests whose work is counted apart; none where it is left out."""


class SamplesConfig(Config):
    """What serving captures and how it reaches the trainer."""

    transport: Literal["filesystem", "mooncake", "ray"] = "filesystem"
    """How samples travel; ray is of mode Online alone."""
    sample_rate: float = Field(1.0, ge=0, le=1)
    """Share of requests that are captured."""
    dtype: Dtype = "auto"
    """Type of the hidden states in a sample; auto: as the engine computed them, and training reads any."""
    max_tokens: PositiveInt = 8192
    """Tokens of the longest request that is captured."""
    queue_size: PositiveInt = 64
    """Samples that wait in the engine to be sent; what finds the queue full is dropped and counted."""
    spool_bytes: PositiveInt = 4 << 30
    """Bytes that the filesystem spool may hold; a sample that finds it full is dropped and counted."""
    max_sample_pool_size: PositiveInt = 1000
    """Samples that the trainer keeps; the oldest leave first."""
    max_age_seconds: PositiveInt = 604_800
    """How long a sample is kept, on the volume and in the trainer; what is older is deleted."""
    mooncake_master: str = "127.0.0.1:50051"
    """Address of the Mooncake master."""
    mooncake_metadata: str = "http://127.0.0.1:18090/metadata"
    """Metadata server of Mooncake."""
    mooncake_protocol: Literal["tcp", "rdma"] = "tcp"
    """How Mooncake moves bytes."""
    mooncake_device: str = ""
    """RDMA devices, comma separated; empty for TCP."""
    mooncake_segment_bytes: PositiveInt = 512 << 20
    """Memory that this process gives to the Mooncake store."""
    trainer_url: str = "http://127.0.0.1:18080"
    """Where the engine announces new samples to the trainer (Mooncake transport)."""

    @property
    def pool_bytes(self) -> float:
        """Bytes of samples that the trainer keeps, at most: an eighth of a spool is left to what arrives."""
        return math.inf if self.transport == "mooncake" else self.spool_bytes * 7 / 8


class WeightsConfig(Config):
    """The versioned store."""

    keep: int = Field(5, ge=2)
    """Newest versions that are kept besides those in use."""
