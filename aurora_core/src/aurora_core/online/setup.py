"""What each actor of mode Online needs, of the configuration and what the command was asked."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aurora_core.config import DeploymentConfig, OnlineConfig, ServingConfig, TrainingConfig
from aurora_core.online import placement
from aurora_core.online.engine_actor import EngineSetup
from aurora_core.online.prompts import Asked
from aurora_core.online.trainer_actor import TrainerSetup

_PORTS_APART = 10
_TRAINER_NICE = 10


@dataclass(frozen=True)
class Options:
    """What the command was asked.

    Attributes:
        work: folder of weights and training state.
        models: folder of fetched models.
        address: of a Ray cluster to join; None to start one here.
        own_agents: whether engines' actors start the agents, and this process decides which version is live.
        desired: folder on an engine's node that says what it starts with.
        runtime: folder on an engine's node for files that it needs to run.
        in_use: file of the versions to keep, where others decide which those are.
        metrics_port: of the trainer's Prometheus endpoint.
        labels: of the trainer's metrics.
        file: of the configuration, which is followed: the process ends when it changes. None to keep to what was read.
        prompts: of a data set, to ask beside users; None for none.
    """

    work: Path
    models: Path
    address: str | None = None
    own_agents: bool = True
    desired: Path | None = None
    runtime: Path | None = None
    in_use: Path | None = None
    metrics_port: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    prompts: Asked | None = None


def spool_below(config: OnlineConfig, work: Path) -> Path:
    """Where engines of one deployment keep samples in memory, unless it is configured."""
    mark = hashlib.sha256(str(work).encode()).hexdigest()[:8]
    return config.spool or Path("/dev/shm") / f"aurora-{os.getuid()}-{mark}"  # noqa: S108 (only its owner may enter)


def engine_setups(config: DeploymentConfig, options: Options, seats: placement.Placement) -> list[EngineSetup]:
    """What each engine's actor needs. Several on one machine have ports of their own, behind one endpoint."""
    online, serving = config.online, config.serving
    spool, setups = spool_below(online, options.work), []
    for number, seat in enumerate(seats.engines):
        name, apart = f"engine-{number}", _PORTS_APART * (number + 1)
        own = serving
        if online.engines > 1 and options.address is None:
            own = serving.model_copy(update={"port": serving.port + apart, "agent_port": serving.agent_port + apart})
        # Nothing of the trainer's: a change there leaves engines as they are.
        shared = config.model_copy(update={"serving": own, "training": TrainingConfig(), "online": OnlineConfig()})
        runtime = (options.runtime or spool.with_name(f"{spool.name}-runtime")) / name
        setups.append(
            EngineSetup(
                name=name,
                config=shared,
                work=options.work,
                models=options.models,
                spool=spool / name,
                runtime=runtime,
                logs=(options.work if options.own_agents else runtime) / "logs",
                gpus=seat.numbers,
                agent=options.own_agents,
                desired=options.desired,
            )
        )
    return setups


def trainer_setups(config: DeploymentConfig, options: Options, seats: placement.Placement) -> list[TrainerSetup]:
    """What the actor of each of the trainer's ranks needs."""
    # Nothing of the engines': a change there leaves them as they are.
    shared = config.model_copy(
        update={"serving": ServingConfig(), "online": config.online.model_copy(update={"engines": 1})}
    )
    logs = options.work / "logs" if options.own_agents else None
    return [
        TrainerSetup(
            rank=rank,
            ranks=len(seats.trainers),
            local=options.address is None,
            config=shared,
            work=options.work,
            models=options.models,
            gpus=seat.numbers,
            in_use=options.in_use or (options.work / "in-use" if options.own_agents else None),
            log=logs and logs / ("trainer.log" if rank == 0 else f"trainer-{rank}.log"),
            nice=0 if options.address else _TRAINER_NICE,
            metrics_port=options.metrics_port,
            labels=options.labels,
        )
        for rank, seat in enumerate(seats.trainers)
    ]
