"""Mode Online: engines and trainer as actors of one Ray cluster."""

from pathlib import Path
from typing import Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from aurora_core.config.base import Config


class OnlineConfig(Config):
    """What runs where in the Ray cluster, and what is under way between its actors."""

    engines: PositiveInt = 1
    """Engines; several of one machine answer behind one endpoint at the engine's port."""
    serving_gpus: tuple[NonNegativeInt, ...] | None = None
    """GPUs of this machine for the engines, by their numbers; by default the first ones. Not for a joined cluster:
    its nodes bring theirs."""
    training_gpus: tuple[NonNegativeInt, ...] | None = None
    """GPUs of this machine for the trainer, a rank on each; by default the one after those of the engines."""
    serving_cpus: PositiveFloat = 1.0
    """CPUs that an engine reserves in the cluster."""
    training_cpus: PositiveFloat = 1.0
    """CPUs that the trainer reserves, each rank of it."""
    colocate: bool = False
    """Engines and trainer share their GPUs: both sets must be the same, and an engine must leave the trainer memory
    (--mem-fraction-static)."""
    serving_share: float = Field(0.5, gt=0, lt=1)
    """Part of a shared GPU that is the engine's; the rest is the trainer's."""
    in_flight: PositiveInt = 64
    """Samples that wait at the trainer to be taken into its pool; what finds no room stays in the engine's spool."""
    spool: Path | None = None
    """Folder on the engine's node, in memory that processes share, where samples wait for the trainer; by default below
    /dev/shm. samples.spoolBytes bounds it."""
    temp: Path | None = None
    """Folder for Ray's own files, with a short path; by default Ray's."""
    dashboard: bool = False
    """Ray's dashboard on 127.0.0.1:8265, of a cluster that this command starts."""

    @model_validator(mode="after")
    def _sets(self) -> Self:
        for name, gpus in (("servingGpus", self.serving_gpus), ("trainingGpus", self.training_gpus)):
            if gpus is not None and len(set(gpus)) != len(gpus):
                message = f"{name} names a GPU twice: {list(gpus)}"
                raise ValueError(message)
        serving, training = set(self.serving_gpus or ()), set(self.training_gpus or ())
        both = sorted(serving & training)
        if both and not self.colocate:
            message = f"servingGpus and trainingGpus overlap in {both}: give each GPU to one of them, or set colocate"
            raise ValueError(message)
        if self.colocate and serving != training:
            message = "with colocate servingGpus and trainingGpus must name the same GPUs"
            raise ValueError(message)
        return self
