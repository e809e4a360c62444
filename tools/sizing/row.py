"""One example: a target, a draft, hardware, the settings that follow, and what shows that they fit together."""

from dataclasses import dataclass
from functools import cached_property

from aurora_core.config.parts import SamplesConfig

from sizing import formulas
from sizing.formulas import GIB, STATIC
from sizing.shape import Draft, Source, Target


@dataclass(frozen=True)
class Gpu:
    """A GPU model, and what a process can have of its memory in GiB."""

    name: str
    gib: int


H100 = Gpu("H100, 80 GB", 78)
B200 = Gpu("B200, 180 GB", 167)


@dataclass(frozen=True)
class Figure:
    """What was measured, and by whom."""

    what: str
    value: str
    source: Source


@dataclass(frozen=True)
class Row:
    """An example.

    Attributes:
        name: of the directory and of the resource.
        title: of its page.
        target, draft: what is served, and what drafts.
        gpu: of engine and trainer; None on a CPU.
        gpus: that share the target; 0 on a CPU.
        checkpoint: the published draft that it starts from; empty where one is trained from nothing.
        steps: draft steps.
        kv_tokens: of KV cache.
        pool, holdout: samples to train on and to evaluate with.
        max_tokens: of the longest request that is captured.
        longest: of a sample that is used, the last ones.
        keep: versions kept besides those in use.
        other_node: whether the trainer must not share a node with an engine.
        shaped: whether draft.shape says what does not follow from the target.
        arguments: further ones of SGLang.
        trust: run the model repository's code.
        gated: whether the hub wants a token.
        figures: what was measured.
        notes: what to know before.
    """

    name: str
    title: str
    target: Target
    draft: Draft
    gpu: Gpu | None = H100
    gpus: int = 1
    checkpoint: str = ""
    steps: int = 5
    kv_tokens: int = 262_144
    pool: int = 256
    holdout: int = 48
    max_tokens: int = 4096
    longest: int = 2048
    keep: int = 5
    other_node: bool = False
    shaped: bool = False
    arguments: tuple[str, ...] = ()
    trust: bool = False
    gated: bool = False
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def spool_bytes(self) -> int:
        """samples.spoolBytes: what the loop needs, in GiB, rounded up."""
        return formulas.in_gib(formulas.spool(self.target, self.pool, self.holdout, self.max_tokens)) * GIB

    @cached_property
    def engine_gib(self) -> int:
        """Memory of an engine pod."""
        need = formulas.engine_memory(self.target, self.kv_tokens, self.max_tokens, self.gpus)
        return formulas.in_gib(need, 4)

    @cached_property
    def trainer_gib(self) -> int:
        """Memory of the trainer."""
        need = formulas.trainer_memory(
            self.target,
            self.draft.parameters,
            self.pool,
            self.holdout,
            self.max_tokens,
            self.longest,
            min(1, self.gpus),
        )
        return formulas.in_gib(need, 4)

    @cached_property
    def volume_gib(self) -> int:
        """Size of the claim."""
        version = formulas.version(self.draft, self.target)
        need = formulas.volume(self.target, self.draft.parameters, version, self.keep, self.spool_bytes)
        return formulas.in_gib(need, 10)

    @cached_property
    def gpu_bytes(self) -> int:
        """Of each of the engine's GPUs, or of the host: weights, draft and KV cache."""
        return formulas.gpu(
            self.target, self.draft.parameters, self.draft.kv_bytes, self.kv_tokens, self.gpus or 1, self.steps + 1
        )

    @cached_property
    def trainer_gpu_bytes(self) -> int:
        """Of the trainer's GPU, but for activations."""
        return formulas.trainer_gpu(self.target, self.draft.parameters, self.draft.vocabulary)

    def problems(self) -> list[str]:
        """Why the loop could not run with these settings; empty where it can."""
        spool = formulas.spool(self.target, self.pool, self.holdout, self.max_tokens)
        queue = formulas.queue(self.target, self.max_tokens)
        rows = formulas.captured_rows(self.target, self.kv_tokens)
        found = []
        if spool > self.spool_bytes:
            found.append(f"the pool and what arrives meanwhile ({spool} bytes) do not fit {self.spool_bytes} of spool")
        kept = SamplesConfig(spool_bytes=self.spool_bytes).pool_bytes
        if (self.pool + self.holdout) * formulas.sample(self.target, self.max_tokens) > kept:
            found.append(f"the pool is more than what the trainer keeps of the spool ({kept:.0f} bytes)")
        if rows + queue > self.engine_gib * GIB:
            found.append(f"captured rows and the queue ({rows + queue} bytes) do not fit {self.engine_gib} GiB")
        if self.max_tokens > self.kv_tokens:
            found.append(f"no request of {self.max_tokens} tokens fits a KV cache of {self.kv_tokens}")
        if self.gpu is not None and self.gpu_bytes > STATIC * self.gpu.gib * GIB:
            found.append(f"{self.gpu_bytes} bytes do not fit {STATIC} of {self.gpu.gib} GiB")
        if self.gpu is not None and self.trainer_gpu_bytes > self.gpu.gib * GIB / 2:
            found.append(f"the trainer's {self.trainer_gpu_bytes} bytes leave less than half a GPU for activations")
        return found
