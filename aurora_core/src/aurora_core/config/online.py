"""Mode Online: engines and trainer as actors of one Ray cluster."""

from pathlib import Path
from typing import Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from aurora_core.config.base import Config


class OnlineConfig(Config):
    """What runs where in the Ray cluster, and what is under way between its actors."""

    engines: PositiveInt = 1
    """Engines; several of one machine answer behind one endpoint at the engine's port."""
    trainers: PositiveInt = 1
    """Ranks that train one draft together, an actor and at most one GPU each."""
    serving_gpus: tuple[NonNegativeInt, ...] | None = None
    """GPUs of this machine for the engines, by their numbers; by default the first ones. Not for a joined cluster:
    its nodes bring theirs."""
    training_gpus: tuple[NonNegativeInt, ...] | None = None
    """GPUs of this machine for the trainer, one for each of its ranks; by default those after the engines'."""
    serving_cpus: PositiveFloat = 1.0
    """CPUs that an engine reserves in the cluster."""
    training_cpus: PositiveFloat = 1.0
    """CPUs that each rank of the trainer reserves."""
    colocate: bool = False
    """The trainer is on one of the engines' GPUs, on which its engine must leave it memory (--mem-fraction-static)."""
    serving_share: float = Field(0.5, gt=0, lt=1)
    """Part of each of its GPUs that an engine reserves where one is shared; the rest is the trainer's."""
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
        if training and len(training) != self.trainers:
            message = f"trainingGpus names {len(training)} GPUs for {self.trainers} trainers: each has one"
            raise ValueError(message)
        if self.colocate and self.trainers > 1:
            message = f"colocate is for one trainer, and trainers is {self.trainers}: give each a GPU of its own"
            raise ValueError(message)
        if self.colocate and serving and training - serving:
            message = f"with colocate trainingGpus must be one of servingGpus, and {sorted(training)} is not"
            raise ValueError(message)
        return self
