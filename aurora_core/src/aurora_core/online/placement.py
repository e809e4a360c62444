"""Which resources each actor reserves, and which GPUs of this machine are whose. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aurora_core.config.online import OnlineConfig
from aurora_core.errors import ConfigError

ENGINE_NODE, TRAINER_NODE = "aurora_engine", "aurora_trainer"
"""Ray's custom resources: a node has 1 of the first for each engine that it takes, of the second for each trainer."""
_CPU, _GPU = "CPU", "GPU"


@dataclass(frozen=True)
class Machine:
    """What this machine has.

    Attributes:
        cpus: CPUs that processes may use.
        gpus: GPUs, numbered from 0.
    """

    cpus: int
    gpus: int


@dataclass(frozen=True)
class Seat:
    """An actor's place.

    Attributes:
        group: index of the placement group.
        bundle: index of the bundle in it.
        cpus: of the bundle that are this actor's.
        gpus: of the bundle that are this actor's; a part of one where it is shared.
        numbers: of the GPUs, on this machine; None where Ray says which.
    """

    group: int
    bundle: int
    cpus: float
    gpus: float
    numbers: tuple[int, ...] | None


@dataclass(frozen=True)
class Placement:
    """Where all actors go.

    Attributes:
        groups: bundles of each placement group.
        engines: seat of each engine.
        trainers: seat of each of the trainer's ranks.
    """

    groups: tuple[tuple[Mapping[str, float], ...], ...]
    engines: tuple[Seat, ...]
    trainers: tuple[Seat, ...]


def _bundle(cpus: float, gpus: float, node: str | None) -> dict[str, float]:
    return {_CPU: cpus, **({_GPU: gpus} if gpus else {}), **({node: 1.0} if node else {})}


def _sets(config: OnlineConfig, each: int, machine: Machine) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """GPUs of all engines, and of all ranks of the trainer."""
    needed = config.engines * each
    serving = config.serving_gpus if config.serving_gpus is not None else tuple(range(needed))
    if len(serving) != needed:
        few = "too few" if len(serving) < needed else "too many"
        raise ConfigError(
            f"online.servingGpus names {len(serving)} GPUs, {few} for {config.engines} engines of {each} "
            "(serving.tensorParallelSize): name as many as they use"
        )
    free = tuple(gpu for gpu in range(machine.gpus) if gpu not in serving)
    others = serving if config.colocate else free
    training = config.training_gpus if config.training_gpus is not None else others[: config.trainers]
    if len(training) < config.trainers:
        raise ConfigError(
            f"{len(training) or 'no'} GPU is left for {config.trainers} trainers: the engines have {list(serving)} of "
            f"{machine.gpus}. Name fewer in online.servingGpus, lower online.trainers, or set online.colocate for one"
        )
    for name, gpus in (("servingGpus", serving), ("trainingGpus", training)):
        missing = [gpu for gpu in gpus if gpu >= machine.gpus]
        if missing:
            raise ConfigError(
                f"online.{name}: this machine has no GPU {', '.join(map(str, missing))}; it has {machine.gpus}, "
                "numbered from 0"
            )
    both = sorted(set(serving) & set(training))
    if both and not config.colocate:
        raise ConfigError(f"online.servingGpus and online.trainingGpus overlap in {both}: set online.colocate to share")
    return serving, training


def here(config: OnlineConfig, tensor_parallel_size: int, machine: Machine, *, gpus: bool) -> Placement:
    """Place everything on this machine.

    Args:
        config: what was asked for.
        tensor_parallel_size: GPUs of an engine.
        machine: what there is.
        gpus: whether engines and trainer run on GPUs; otherwise on CPUs alone.

    Raises:
        ConfigError: sets of GPUs overlap, are too few or do not exist; or there are too few CPUs.
    """
    serving: tuple[int, ...] = ()
    training: tuple[int, ...] = ()
    if gpus:
        serving, training = _sets(config, tensor_parallel_size, machine)
    elif config.serving_gpus or config.training_gpus:
        named = [*(config.serving_gpus or ()), *(config.training_gpus or ())]
        raise ConfigError(
            f"GPUs {named} are named, and this machine has {machine.gpus} that the engine may use (serving.device): "
            "leave online.servingGpus and online.trainingGpus out to serve and train on CPUs"
        )
    needed = config.engines * config.serving_cpus + config.trainers * config.training_cpus
    if needed > machine.cpus:
        raise ConfigError(
            f"engines ({config.engines}) and trainers ({config.trainers}) reserve {needed:g} CPUs, and there are "
            f"{machine.cpus}: lower online.servingCpus, online.trainingCpus, online.engines or online.trainers"
        )
    each = tensor_parallel_size if gpus else 0
    shares = [serving[i * each : (i + 1) * each] if gpus else None for i in range(config.engines)]
    if config.colocate:
        return _colocated(config, each, shares, training)
    own = float(gpus)
    return Placement(
        (
            tuple(_bundle(config.serving_cpus, each, None) for _ in shares),
            tuple(_bundle(config.training_cpus, own, None) for _ in range(config.trainers)),
        ),
        tuple(Seat(0, i, config.serving_cpus, each, share) for i, share in enumerate(shares)),
        tuple(
            Seat(1, rank, config.training_cpus, own, training[rank : rank + 1] or None)
            for rank in range(config.trainers)
        ),
    )


def _colocated(
    config: OnlineConfig, each: int, shares: Sequence[tuple[int, ...] | None], training: tuple[int, ...]
) -> Placement:
    """One group; a bundle for each engine, one of them with the trainer."""
    part = config.serving_share if training else 1.0
    host = next((i for i, own in enumerate(shares) if set(training) & set(own or ())), 0)
    bundles = tuple(
        _bundle(config.serving_cpus + (config.training_cpus if i == host else 0.0), each, None)
        for i in range(len(shares))
    )
    engines = tuple(Seat(0, i, config.serving_cpus, each * part, own) for i, own in enumerate(shares))
    trainer = Seat(0, host, config.training_cpus, 1 - part if training else 0.0, training or None)
    return Placement((bundles,), engines, (trainer,))


def joined(
    config: OnlineConfig, tensor_parallel_size: int, nodes: Sequence[Mapping[str, float]], *, gpus: bool
) -> Placement:
    """Place everything in a cluster that is there, by its nodes' custom resources.

    Args:
        config: what was asked for.
        tensor_parallel_size: GPUs of an engine.
        nodes: resources of each node that is alive.
        gpus: whether an engine runs on GPUs. The trainer does where the nodes for it have any.

    Raises:
        ConfigError: what only one machine has is named.
    """
    if config.serving_gpus is not None or config.training_gpus is not None or config.colocate:
        raise ConfigError(
            "online.servingGpus, online.trainingGpus and online.colocate are for one machine: in a cluster its nodes "
            f"say by the resources {ENGINE_NODE} and {TRAINER_NODE} what they take"
        )
    trainers = [node for node in nodes if node.get(TRAINER_NODE)]
    # A node that is still to come is taken to be like those of the engines.
    training = float(any(node.get(_GPU) for node in trainers) if trainers else gpus)
    each = float(tensor_parallel_size) if gpus else 0.0
    # A group for each: with another number of engines those that stay keep theirs.
    rank = (_bundle(config.training_cpus, training, TRAINER_NODE),)
    first = config.trainers
    return Placement(
        (
            *(rank for _ in range(first)),
            *((_bundle(config.serving_cpus, each, ENGINE_NODE),) for _ in range(config.engines)),
        ),
        tuple(Seat(first + i, 0, config.serving_cpus, each, None) for i in range(config.engines)),
        tuple(Seat(i, 0, config.training_cpus, training, None) for i in range(first)),
    )
