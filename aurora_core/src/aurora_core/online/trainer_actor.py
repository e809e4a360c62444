"""The trainer's actor: the training loop of the other modes, on samples that engine actors offer."""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from aurora_core.config import DeploymentConfig
from aurora_core.online.samples import Offer, RaySource, Receipt
from aurora_core.weights.lease import WriterLease
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from aurora_core.training.run import TrainingRun


@dataclass(frozen=True)
class TrainerSetup:
    """What the trainer's actor needs.

    Attributes:
        config: of the deployment.
        work: folder of weights and training state.
        models: folder of fetched models.
        gpus: numbers of its GPUs; None where Ray says which.
        in_use: file of the versions to keep; None where others prune.
        log: file for what it says, besides Ray's; None for none.
        nice: how much its priority is below the engines', with which it shares a machine.
        metrics_port: where to serve Prometheus metrics; None for nowhere.
        labels: of every metric.
    """

    config: DeploymentConfig
    work: Path
    models: Path
    gpus: tuple[int, ...] | None = None
    in_use: Path | None = None
    log: Path | None = None
    nice: int = 0
    metrics_port: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class TrainerActor:
    """The trainer. Its methods are called from several threads."""

    def __init__(self, setup: TrainerSetup) -> None:
        self._setup = setup
        self._stopping = threading.Event()
        self._source = RaySource(setup.config.online.in_flight, ray.get)
        self._running = threading.Lock()
        self._training: TrainingRun | None = None

    def pid(self) -> int:
        """Id of this process."""
        return os.getpid()

    def exchange(self, engine: str, offers: Sequence[Offer], gone: Sequence[str], lost: Mapping[str, int]) -> Receipt:
        """See :meth:`RaySource.exchange`."""
        return self._source.exchange(engine, offers, gone, lost)

    def run(self) -> bool:
        """Train; returns whether all steps were taken that were asked for, and False where it was stopped.

        A call while another one runs waits for its end.

        Raises:
            TrainingError: training cannot continue by itself.
            WeightsError: nothing to start from, or the volume is another trainer's.
        """
        with self._running:
            return self._train()

    def _train(self) -> bool:
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
        from aurora_core.samples.open import largest  # noqa: PLC0415
        from aurora_core.training.assembled import assembled  # noqa: PLC0415
        from aurora_core.training.parallel import ALONE  # noqa: PLC0415
        from aurora_core.training.start import Paths  # noqa: PLC0415

        if config.training.threads:
            torch.set_num_threads(config.training.threads)
        target = resolve(config.target, setup.models, download=False)
        self._source.largest = largest(config.samples.max_tokens, target.hidden_size)
        with WriterLease(setup.work / "training", on_lost=self.stop) as lease:
            paths = Paths.below(setup.work, setup.in_use, lease, Signing.from_environment())
            training = assembled(config, target, self._source, paths, ALONE, setup.metrics_port, setup.labels)
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
