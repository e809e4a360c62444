"""The command that trains without an engine."""

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from aurora_core.cli.configured import configuration
from aurora_core.cli.paths import models_folder
from aurora_core.cli.processes import STOPPED, followed
from aurora_core.protocol.trainer import STATUS_FILE
from aurora_core.weights.signing import Signing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aurora_core.config import DeploymentConfig
    from aurora_core.drafts.family import Draft
    from aurora_core.models.target import Target
    from aurora_core.weights.lease import WriterLease


def train(arguments: argparse.Namespace) -> None:
    """Train for some epochs or optimizer steps on a finite set, and publish what is better on its held-out part."""
    from aurora_core.weights.lease import WriterLease  # noqa: PLC0415 (torch and more: only where needed)

    config = configuration(arguments)
    if followed(arguments, config):
        return
    state = arguments.work / "training"
    with WriterLease(state, on_lost=lambda: os.kill(os.getpid(), signal.SIGTERM)) as lease:
        _train_with(arguments, config, lease)


def _samples(
    arguments: argparse.Namespace, config: "DeploymentConfig", target: "Target", draft: "Draft"
) -> "Mapping[str, Callable[[], bytes]]":
    """What reads or computes each sample, by its name."""
    from aurora_core.datasets import answers, conversations  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.datasets.states import HiddenStates  # noqa: PLC0415
    from aurora_core.samples.schema import encode  # noqa: PLC0415
    from aurora_core.training import recorded  # noqa: PLC0415
    from aurora_core.training.start import device_here  # noqa: PLC0415

    if arguments.spool is not None:
        return recorded.of_spool(arguments.spool)
    found = answers.of(conversations.read(arguments.prompts), target)
    kept = [one for one in found if one.prompt_tokens + 1 < one.tokens.shape[0] <= config.samples.max_tokens]
    if len(kept) < len(found):
        print(
            f"{len(found) - len(kept)} of {len(found)} answers are left out: they have one token, or with their prompt "
            f"more than samples.max_tokens, {config.samples.max_tokens}",
            file=sys.stderr,
        )
    states = HiddenStates.load(target, draft.config.aux_layers, device_here(), config.target.dtype)
    return {one.id: lambda one=one: encode(states.sample(one)) for one in kept}  # type: ignore[misc]


def _train_with(arguments: argparse.Namespace, config: "DeploymentConfig", lease: "WriterLease") -> None:
    from aurora_core.models.source import fetched, resolve  # noqa: PLC0415 (torch and more: only where needed)
    from aurora_core.training.group import gather  # noqa: PLC0415
    from aurora_core.training.init import ensure_first  # noqa: PLC0415
    from aurora_core.training.metrics import TrainingMetrics  # noqa: PLC0415
    from aurora_core.training.recorded import RecordedSource  # noqa: PLC0415
    from aurora_core.training.run import TrainingRun, install_signals  # noqa: PLC0415
    from aurora_core.training.start import Paths, resume  # noqa: PLC0415
    from aurora_core.training.trackers import tracker  # noqa: PLC0415
    from aurora_core.weights.store import WeightsStore  # noqa: PLC0415

    work, hyper, models = arguments.work, config.training, arguments.models or models_folder()
    target, signing = resolve(config.target, models), Signing.from_environment()
    paths = Paths(work / "weights", work / "training", work / "training" / STATUS_FILE, None, lease, signing)
    store = WeightsStore(paths.weights, lease, signing)
    ensure_first(store, fetched(config.draft, models), target, hyper.seed)
    start = resume(hyper, target, paths, gather(os.environ))
    steps = start.trainer.unrolled.steps
    training_metrics = TrainingMetrics(steps, None, tracker(hyper.report_to, work / "training"))
    at_a_time = hyper.micro_batch * hyper.draft_accumulation_steps
    source = RecordedSource(
        _samples(arguments, config, target, start.trainer.draft),
        fraction=hyper.holdout_fraction,
        salt=start.salt,
        most_heldout=hyper.holdout_samples,
        at_first=hyper.start_samples,
        at_a_time=at_a_time,
        seed=hyper.seed,
        steps_done=start.trainer.step,
    )
    steps = arguments.steps or source.steps(arguments.epochs)
    if start.trainer.step >= steps:
        print(
            f"nothing is left to do: the training state in {paths.state} is of step {start.trainer.step}, and {steps} "
            "are asked for; give more with --epochs or --steps, or another --work folder"
        )
        return
    # The set has its own end, and nothing more arrives that training could wait for.
    start.trainer.config = hyper.model_copy(
        update={
            "num_train_steps": steps,
            "start_samples": min(hyper.start_samples, len(source.training)),
            "reuse": float(sys.maxsize),
        }
    )
    training = TrainingRun(start, config.draft, config.samples, config.weights, target, source, paths, training_metrics)
    install_signals(training)
    training.run()
    # What a finite set taught goes to whoever asked for it, not to traffic: it needs no proof.
    training.publish(proof=False)
    newest = store.manifest(store.versions()[-1])
    length = "unknown" if newest.holdout_accept_length is None else f"{newest.holdout_accept_length:.3f}"
    print(
        f"trained {training.trainer.step} optimizer steps on {len(source.training)} samples, {len(source.heldout)} "
        f"held out; newest version {newest.version} of step {newest.step}, held-out accept length {length}"
    )
    if not training.finished:
        sys.exit(STOPPED)
