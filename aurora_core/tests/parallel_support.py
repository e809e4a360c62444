"""What each process of test_parallel.py runs. Processes are forked from a server that has imported all of it."""

import json
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from aurora_core.cli import main
from aurora_core.config import DraftConfig, SamplesConfig, TrainingConfig, WeightsConfig
from aurora_core.errors import TrainingError
from aurora_core.models.target import Target
from aurora_core.protocol.metrics import TRAIN_LOSS
from aurora_core.samples.spool import SpoolSource
from aurora_core.training import follower, holdout, start
from aurora_core.training.follower import Follower
from aurora_core.training.group import gather, join
from aurora_core.training.init import ensure_first
from aurora_core.training.metrics import TrainingMetrics
from aurora_core.training.run import TrainingRun
from aurora_core.weights.store import WeightsStore
from safetensors.torch import save_file

DRAFT = DraftConfig(draft_vocab_size=48)
LOST = 3
"""Exit code of a rank that saw another one go."""

torch.set_num_threads(1)


def config(**changes):
    base = {
        "lr": 1e-3, "ttt_length": 3, "micro_batch": 5, "precision": "fp32", "warmup_steps": 3, "max_grad_norm": 1.0,
        "start_samples": 8, "publish_every_steps": 5, "save_every_steps": 5, "holdout_fraction": 0.3, "reuse": 1e6,
    }  # fmt: skip
    return TrainingConfig(**{**base, **changes})


def prepare(work, target):
    """A store with version 0, and a salt with which the same samples are held out in every run."""
    ensure_first(WeightsStore(work / "weights"), DRAFT, target, 0)
    (work / "training").mkdir(exist_ok=True)
    (work / "training" / holdout.FILE).write_bytes(bytes(32))


def make_run(work, target, changes, ranks):
    training = config(**changes)
    paths = start.Paths(work / "weights", work / "training", work / "training" / "status.json")
    return TrainingRun(
        start.resume(training, target, paths, ranks),
        DRAFT,
        SamplesConfig(dtype="float32"),
        WeightsConfig(),
        target,
        SpoolSource(work / "spool"),
        paths,
        TrainingMetrics(training.ttt_length),
    )


def train(work, folder, changes, die=None):
    """A rank of a training run; ``die`` is (rank, step) at which one is killed, once.

    Rank 0 appends (step, loss) to losses.jsonl; each rank leaves its weights.
    """
    work, target, rank = Path(work), Target(Path(folder)), int(os.environ.get("RANK", "0"))
    mark = work / "died"
    die = None if mark.exists() else die
    if rank:
        following = Follower(config(**changes), target, join(os.environ))
        follower.install_signals(following)
        if die and die[0] == rank:
            dying(following, die[1], mark)
        following.run()
        leave_weights(work, rank, following.trainer)
        return
    run = make_run(work, target, changes, gather(os.environ))
    losses = (work / "losses.jsonl").open("a")

    def step(number):
        losses.write(json.dumps([number, run._metrics.latest[TRAIN_LOSS]]) + "\n")
        losses.flush()
        if die == (0, number):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    run.run(step)
    leave_weights(work, rank, run.trainer)


def dying(following, step, mark):
    follow = following._follow

    def until(order):
        if following.trainer is not None and following.trainer.step == step:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        follow(order)

    following._follow = until


def leave_weights(work, rank, trainer):
    save_file({name: x.clone() for name, x in trainer.draft.state_dict().items()}, work / f"rank{rank}.safetensors")


def poisoned(work, folder, samples):
    """Rank 0 hands out a step whose sample for rank 1 has no finite gradient, between two that are good."""
    work, target, rank = Path(work), Target(Path(folder)), int(os.environ["RANK"])
    if rank:
        following = Follower(config(), target, join(os.environ))
        following.run()
        leave_weights(work, rank, following.trainer)
        return
    run = make_run(work, target, {}, gather(os.environ))
    follower.begin(run.trainer)
    bad = replace(samples[1], aux=torch.full_like(samples[1].aux, math.nan))
    taken = [run.trainer.train_step([[samples[0], other]]).taken for other in (samples[1], bad, samples[2])]
    run.trainer.set_vocabulary(torch.arange(8, 56))
    taken.append(run.trainer.train_step([samples[:3], samples[3:4]]).taken)
    run.trainer.ranks.end(finished=True)
    (work / "taken.json").write_text(json.dumps(taken))
    leave_weights(work, rank, run.trainer)


def command(arguments):
    """The command line as an entry point runs it."""
    sys.argv = ["aurora-core", *arguments]
    main()


def entered(function, environment, arguments):
    os.environ.update(environment)
    try:
        function(*arguments)
    except TrainingError as error:
        logging.getLogger(__name__).warning("%s", error)
        sys.exit(LOST)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


CONTEXT = multiprocessing.get_context("forkserver")
# What takes seconds to import; this module itself is not on the path of Python 3.11's server.
CONTEXT.set_forkserver_preload(["aurora_core.drafts.eagle3", "aurora_core.training.run"])


def launch(ranks, function, *arguments):
    """Start a process for each rank, as torch's launcher does; without any variable for one."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    started = []
    for rank in range(ranks):
        environment = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
        started.append(CONTEXT.Process(target=entered, args=(function, environment, arguments)))
        started[-1].start()
    return started


def ended(processes, seconds=120.0):
    """Exit codes, in the order of ranks."""
    for process in processes:
        process.join(seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
    return codes
