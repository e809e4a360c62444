"""The model, the draft, serving, samples and weights: the parts that more than one process must agree on.

The resource's spec is made of the same models: a field that it shares with the processes is declared here, once, with
its bounds, its default and what its change does. What only the resource has is added there, and narrowed where it must
be; what only a process has is in a model that builds on the shared one.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    PlainSerializer,
    PositiveInt,
    field_validator,
    model_validator,
)

from aurora_core.config.algorithms import DEFAULT, FAMILIES, Algorithm
from aurora_core.config.arguments import credential, unservable
from aurora_core.config.base import Config
from aurora_core.config.effect import Effect
from aurora_core.config.strata import StrataConfig

Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Revision = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._/-]+$")]
Argument = Annotated[str, Field(min_length=1, max_length=1000)]
Address = Annotated[str, Field(max_length=300, pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$")]
Url = Annotated[str, Field(max_length=500, pattern=r"^https?://[^\s]+$")]
Transport = Literal["Filesystem", "Mooncake", "Ray"]
PoolSize = Annotated[PositiveInt, Field(le=10_000_000), Effect.TRAINER]


class TargetConfig(Config):
    """The model that is served."""

    model: Annotated[str, Effect.REFUSED] = Field(min_length=1)
    """Hugging Face model id, or folder of a checkpoint."""
    revision: Annotated[Revision | None, Effect.REFUSED] = None
    """Branch, tag or commit of a Hugging Face model; by default its main branch."""
    dtype: Annotated[Dtype, Effect.REFUSED] = "auto"
    """Type that engines compute in; auto: bfloat16 where the hardware is fast in it, else float32, and float16 for a
    float16 checkpoint on GPUs."""
    trust_remote_code: Annotated[bool, Effect.BOTH] = False
    """Run code that the model's repository brings; off, because that code would run in your pods."""


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

    algorithm: Annotated[Algorithm, Effect.REFUSED] = DEFAULT
    """Draft architecture."""
    checkpoint: Annotated[str | None, Effect.REFUSED] = Field(None, min_length=1)
    """Draft to start from, a Hugging Face model id or a folder; without one a draft is made from nothing (day-0)."""
    revision: Annotated[Revision | None, Effect.REFUSED] = None
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


class Serving(Config):
    """An engine, as the resource and the engine's own configuration describe it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the engine computes."""
    tensor_parallel_size: int = Field(1, ge=1, le=64)
    """GPUs of an engine pod, that share the target."""
    port: int = Field(30000, ge=1, le=65535)
    """Port of the engine's OpenAI-compatible API."""
    threads: PositiveInt | None = Field(None, le=1024)
    """CPU threads of the engine; by default all."""
    max_total_tokens: PositiveInt | None = Field(None, le=2**31)
    """Tokens of KV cache; by default what fits."""
    extra_args: tuple[Argument, ...] = Field(default_factory=tuple, max_length=64)
    """Further arguments of SGLang; they come last and win."""

    @field_validator("extra_args")
    @classmethod
    def _servable(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        message = credential(given) or unservable(given)
        if message:
            raise ValueError(message)
        return given


class ServingConfig(Serving):
    """The engine."""

    host: str = "127.0.0.1"
    """Address that the engine listens on; `*`: all, of IPv4 and IPv6."""
    agent_port: int = Field(30001, ge=1, le=65535)
    """Port of the sync agent."""
    strata: StrataConfig | None = None
    """Kinds of requests whose work is counted apart; none where it is left out."""


class Samples(Config):
    """What serving captures and how it reaches the trainer, as the resource and the processes describe it."""

    transport: Transport = "Filesystem"
    """How samples travel: as files on the weights volume, through a Mooncake store, or, in mode Online, by Ray."""
    sample_rate: Annotated[float, Effect.IN_PLACE] = Field(1.0, ge=0, le=1)
    """Share of requests that are captured."""
    dtype: Dtype = "auto"
    """Type of the hidden states in a sample; auto: as the engine computed them, and the trainer reads any."""
    max_tokens: PositiveInt = Field(8192, le=2**20)
    """Tokens of the longest request that is captured."""
    pool_size: PoolSize = 1000
    """Samples that the trainer keeps; the newest stay, and of earlier ones a random share."""
    max_age_seconds: int = Field(604_800, ge=1, le=315_360_000)
    """How long a sample, which contains a prompt and its answer, is kept; what is older is deleted."""
    spool_bytes: PositiveInt = Field(4 << 30, le=1 << 50)
    """Bytes of samples that may wait on the volume, or in mode Online in the memory of each engine pod; what finds it
    full is dropped and counted."""
    mooncake_master: Address | None = None
    """host:port of the Mooncake master."""
    mooncake_metadata: Url | None = None
    """URL of Mooncake's metadata server."""
    mooncake_protocol: Literal["tcp", "rdma"] = "tcp"
    """How Mooncake moves bytes."""
    mooncake_device: str = Field("", max_length=300, pattern=r"^[A-Za-z0-9_,.-]*$")
    """RDMA devices, comma separated; empty for TCP."""
    mooncake_segment_bytes: int = Field(512 << 20, ge=0, le=1 << 50)
    """Memory that each engine gives to the Mooncake store, of its own memory limit; 0 where stores of their own hold
    samples. A sample that is larger than what is free in the store is dropped and counted."""
    mooncake_buffer_bytes: PositiveInt = Field(128 << 20, le=1 << 40)
    """Memory through which an engine, and the trainer, hands samples to the Mooncake store: more than the largest
    sample has, which is dropped and counted otherwise (store_error)."""
    mooncake_replicas: int = Field(1, ge=1, le=8)
    """Segments of the Mooncake store that each hold a sample; as many as there are, where these are fewer. With one,
    what an engine or a store that dies held is lost, and counted."""
    mooncake_soft_pin: bool = False
    """Where the Mooncake store makes room, let samples go last, after what others keep in it."""


class SamplesConfig(Samples):
    """The same, as the processes read it.

    Two fields are also read, and always written, as engines and trainers of earlier images read them.
    """

    transport: Annotated[
        Transport,
        BeforeValidator(lambda given: given.capitalize() if isinstance(given, str) else given),
        PlainSerializer(str.lower, when_used="json"),
    ] = "Filesystem"
    """How samples travel; in any case, and in lower case in a file that is written."""
    pool_size: PoolSize = Field(
        1000,
        validation_alias=AliasChoices("poolSize", "maxSamplePoolSize", "max_sample_pool_size"),
        serialization_alias="maxSamplePoolSize",
    )
    """Samples that the trainer keeps; the newest stay, and of earlier ones a random share. maxSamplePoolSize is its
    other name."""
    mooncake_master: Address = "127.0.0.1:50051"
    """host:port of the Mooncake master."""
    mooncake_metadata: Url = "http://127.0.0.1:18090/metadata"
    """URL of Mooncake's metadata server."""
    trainer_url: str = "http://127.0.0.1:18080"
    """Where the engine announces new samples to the trainer (Mooncake transport)."""
    queue_size: PositiveInt = 64
    """Samples that wait in the engine to be sent; what finds the queue full is dropped and counted."""

    @property
    def pool_bytes(self) -> float:
        """Bytes of samples that the trainer keeps, at most: an eighth of a spool is left to what arrives."""
        return math.inf if self.transport == "Mooncake" else self.spool_bytes * 7 / 8


class WeightsConfig(Config):
    """The versioned store."""

    keep: Annotated[int, Effect.TRAINER] = Field(5, ge=2, le=1000)
    """Newest versions that are kept besides those in use."""
