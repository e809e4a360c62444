"""The trainer's actors: the training loop of the other modes, on samples that engine actors offer to the first one."""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError

from aurora_core.child import end_with_parent
from aurora_core.config import DeploymentConfig
from aurora_core.listening import wildcard
from aurora_core.online.meeting import Meeting, Roll, listening, meet
from aurora_core.online.samples import Offer, RaySource, Receipt
from aurora_core.weights.lease import WriterLease
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from aurora_core.models.target import Target
    from aurora_core.training.follower import Follower
    from aurora_core.training.parallel import Ranks
    from aurora_core.training.run import TrainingRun

TRAINERS = "trainer-"
"""What the names of all of the trainer's actors begin with; its rank follows."""
_TICK_SECONDS = 0.5

log = logging.getLogger(__name__)


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


@dataclass(frozen=True)
class TrainerSetup:
    """What an actor of the trainer needs.

    Attributes:
        rank: its number; the first one, 0, has the samples, and publishes.
        ranks: how many there are.
        local: whether all are on this machine.
        config: of the deployment.
        work: folder of weights and training state.
        models: folder of fetched models.
        gpus: numbers of its GPUs; None where Ray says which.
        in_use: file of the versions to keep; None where others prune.
        log: file for what it says; None for Ray's of this process.
        nice: how much its priority is below the engines', with which it shares a machine.
        metrics_port: where to serve Prometheus metrics; None for nowhere.
        labels: of every metric.
    """

    rank: int
    ranks: int
    local: bool
    config: DeploymentConfig
    work: Path
    models: Path
    gpus: tuple[int, ...] | None = None
    in_use: Path | None = None
    log: Path | None = None
    nice: int = 0
    metrics_port: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The actor's."""
        return f"{TRAINERS}{self.rank}"


class TrainerActor:
    """A rank of the trainer. Its methods are called from several threads."""

    def __init__(self, setup: TrainerSetup) -> None:
        self._setup = setup
        self._stopping = threading.Event()
        self._source = RaySource(setup.config.online.in_flight, ray.get)
        self._running = threading.Lock()
        self._roll = Roll(setup.ranks)
        self._training: TrainingRun | Follower | None = None
        self._together = False

    def pid(self) -> int:
        """Id of this process."""
        return os.getpid()

    def exchange(self, engine: str, offers: Sequence[Offer], gone: Sequence[str], lost: Mapping[str, int]) -> Receipt:
        """See :meth:`RaySource.exchange`."""
        return self._source.exchange(engine, offers, gone, lost)

    def node(self) -> str:
        """Id of the node that this process is on."""
        return _node()

    def meet(self, rank: int) -> Meeting | None:
        """Where another rank is to come, None as long as it is to ask again."""
        return self._roll.ask(rank, time.monotonic())

    def together(self) -> bool:
        """Whether it has others to train with, whom it waits for without end where one of them ends."""
        return self._together

    def saving(self) -> bool:
        """Whether it evaluates, publishes or saves, for which it needs no other rank."""
        return self._training is not None and self._training.saving

    def run(self, first: Any = None) -> bool:  # noqa: ANN401 (an actor's handle)
        """Train; returns whether all steps were taken that were asked for, and False where it was stopped.

        A call while another one runs waits for its end.

        Args:
            first: the actor of the first rank, for the others.

        Raises:
            TrainingError: training cannot continue by itself, or another rank is gone.
            WeightsError: nothing to start from, or the volume is another trainer's.
        """
        # Ray asks every second whether its raylet is there, and takes one for it that ended and was never waited for.
        end_with_parent()
        with self._running:
            try:
                target = self._target()
                return self._train(target) if first is None else self._follow(target, first)
            finally:
                self._together = False

    def _target(self) -> "Target":
        """The target, with this process as it is to train."""
        setup, config = self._setup, self._setup.config
        os.nice(setup.nice)
        if setup.log is not None:
            setup.log.parent.mkdir(parents=True, exist_ok=True)
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=logging.INFO, format=form, filename=setup.log, force=True)
        if setup.gpus is not None:
            # Before torch asks what there is.
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, setup.gpus))
        import torch  # noqa: PLC0415

        from aurora_core.models.source import resolve  # noqa: PLC0415

        if config.training.threads:
            torch.set_num_threads(config.training.threads)
        return resolve(config.target, setup.models, download=False)

    def _gathered(self) -> "Ranks | None":
        """All ranks, led by this one; None where it is to stop before they are there."""
        from aurora_core.training.parallel import ALONE  # noqa: PLC0415

        if self._setup.ranks == 1:
            return ALONE
        if missing := self._roll.missing(time.monotonic()):
            log.info("waiting for ranks %s", ", ".join(map(str, missing)))
        while self._roll.missing(time.monotonic()):
            if self._stopping.wait(_TICK_SECONDS):
                return None
        meeting, server = listening(local=self._setup.local)
        self._roll.open(meeting)
        self._together = True
        try:
            return meet(meeting, 0, self._setup.ranks, server=server)
        finally:
            self._roll.close()

    def _follow(self, target: "Target", first: Any) -> bool:  # noqa: ANN401 (an actor's handle)
        from aurora_core.training.follower import Follower  # noqa: PLC0415

        meeting: Meeting | None = None
        while meeting is None:
            if self._stopping.wait(_TICK_SECONDS):
                return False
            # The first rank may be about to start again.
            with contextlib.suppress(RayActorError):
                meeting = ray.get(first.meet.remote(self._setup.rank))
        self._together = True
        group = meet(meeting, self._setup.rank, self._setup.ranks)
        if self._setup.metrics_port is not None and ray.get(first.node.remote()) != _node():
            self._serve_metrics(self._setup.metrics_port)
        self._training = following = Follower(self._setup.config.training, target, group)
        if self._stopping.is_set():
            following.stop()
        return following.run()

    def _serve_metrics(self, port: int) -> None:
        """Answer scrapes of this node, of its process alone: what training reports is the first rank's."""
        from prometheus_client import start_http_server  # noqa: PLC0415

        try:
            start_http_server(port, wildcard())
        except OSError as error:
            # Another rank of this node answers already.
            if error.errno != errno.EADDRINUSE:
                raise

    def _train(self, target: "Target") -> bool:
        setup, config = self._setup, self._setup.config
        from aurora_core.samples.open import largest  # noqa: PLC0415
        from aurora_core.training.assembled import assembled  # noqa: PLC0415
        from aurora_core.training.start import Paths  # noqa: PLC0415

        self._source.largest = largest(config.samples.max_tokens, target.hidden_size)
        with WriterLease(setup.work / "training", on_lost=self.stop) as lease:
            ranks = self._gathered()
            if ranks is None:
                return False
            paths = Paths.below(setup.work, setup.in_use, lease, Signing.from_environment())
            training = assembled(config, target, self._source, paths, ranks, setup.metrics_port, setup.labels)
            self._training = training
            if self._stopping.is_set():
                training.stop()
            training.run()
        return training.finished

    def stop(self) -> None:
        """End :meth:`run` after the current step, its state saved."""
        self._stopping.set()
        if self._training is not None:
            self._training.stop()

    def wait(self) -> None:
        """Wait until :meth:`run` has ended."""
        with self._running:
            return
