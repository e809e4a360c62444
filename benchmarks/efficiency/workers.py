"""Runs dealt to processes that share one device: a step of a small draft is too short to fill a GPU alone."""

import json
import multiprocessing as mp
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any, Self

import torch
from aurora_core.models.target import Target

from efficiency.learning import Run, Setup
from efficiency.trainer import Job
from efficiency.variants import Baseline, Variant, named

_STEPS = {"cpu": (2, 6), "cuda": (15, 40)}
"""Optimizer steps before the calibration's, and its own, all processes at once."""
_MEASURE = 2.2
"""Measurements of a run, on average."""


def _calibrated(setup: Setup, baseline: Baseline, started: Any) -> tuple[float, float, float]:  # noqa: ANN401 (multiprocessing's)
    """Tokens per second of the baseline, seconds of a measurement, and of a run's start."""
    clock, (warm, timed) = setup.clock, _STEPS[setup.device.type]
    began = clock()
    run = Run(Job(named("baseline"), 0, 1 << 30, 1e9, baseline), setup)
    start, batches = clock() - began, run.batches()
    for _ in range(warm):
        run.trainer.train_step([next(batches)])
    if setup.device.type == "cuda":
        setup.measure(run.trainer)
    if started is not None:
        started.wait()
    before, began = run.tokens, clock()
    for _ in range(timed):
        run.trainer.train_step([next(batches)])
    speed = (run.tokens - before) / (clock() - began)
    began = clock()
    setup.measure(run.trainer)
    return speed, clock() - began, start


def _result(job: Job, setup: Setup) -> dict[str, Any]:
    """Of a run; one that fails is reported, and the others run."""
    try:
        return Run(job, setup).to_the_end()
    except Exception:  # noqa: BLE001 (whatever a variant raises)
        return {"variant": job.variant.name, "seed": job.seed, "error": traceback.format_exc()[-1500:]}


@dataclass(frozen=True)
class _Shared:
    """What processes share: events, a barrier and queues of multiprocessing, which have no types of their own."""

    ready: Any
    started: Any
    jobs: Any
    results: Any


def _work(number: int, device: str, target: Path, folder: Path, baseline: Baseline, shared: _Shared) -> None:
    torch.set_num_threads(1)
    where = torch.device(device)
    if where.type == "cuda":
        torch.zeros(1, device=where)
    results = shared.results
    try:
        checkpoint = Target(target)
        _ = checkpoint.embedding, checkpoint.fingerprint
        shared.ready.wait()
        setup = Setup(checkpoint, folder, where)
        results.put({"worker": number, "calibration": _calibrated(setup, baseline, shared.started)})
        while (job := shared.jobs.get()) is not None:
            results.put(_result(job, setup))
    except Exception:  # noqa: BLE001 (the same)
        results.put({"worker": number, "error": traceback.format_exc()[-1500:]})
        shared.started.abort()


def tokens_of_a_run(variants: Sequence[Variant], seeds: int, seconds: float, calibration: Sequence[float]) -> int:
    """How many tokens each run may have, so that all end in so many seconds of processes.

    Args:
        variants: to run.
        seeds: of each.
        seconds: of all processes together.
        calibration: tokens per second, seconds of a measurement, seconds of a start.
    """
    speed, measurement, start = calibration
    fixed = len(variants) * seeds * (start + _MEASURE * measurement)
    # A faster one is trained until its seconds are over.
    per_token = seeds * sum(one.length * max(1.0, one.cost) for one in variants) / speed
    return max(4096, int((seconds - fixed) / per_token))


class Workers:
    """Processes that wait for data, then for jobs; started before the data is made, because starting takes long."""

    def __init__(self, count: int, device: str, target: Path, folder: Path, baseline: Baseline) -> None:
        context = mp.get_context("spawn")
        self._shared = _Shared(context.Event(), context.Barrier(count), context.Queue(), context.Queue())
        self._processes = [
            context.Process(target=_work, daemon=True, args=(number, device, target, folder, baseline, self._shared))
            for number in range(count)
        ]

    @classmethod
    def start(cls, count: int, device: str, target: Path, folder: Path, baseline: Baseline) -> Self:
        """Start so many."""
        made = cls(count, device, target, folder, baseline)
        for process in made._processes:
            process.start()
        return made

    def calibrate(self) -> list[float]:
        """Begin; the data is there. Tokens per second of a process while all train, and what else costs.

        Raises:
            RuntimeError: a process cannot begin.
        """
        self._shared.ready.set()
        found = [self._shared.results.get(timeout=600) for _ in self._processes]
        for one in found:
            if "error" in one:
                raise RuntimeError(one["error"])
        return [statistics.median(values) for values in zip(*(one["calibration"] for one in found), strict=True)]

    def run(self, jobs: Sequence[Job], until: float, take: Callable[[dict[str, Any]], None]) -> int:
        """Deal jobs out, in order, until a time of the monotonic clock; hands each result over at once.

        Returns:
            How many were finished.
        """
        for job in jobs:
            self._shared.jobs.put(job)
        done = 0
        while done < len(jobs) and time.monotonic() < until and any(p.is_alive() for p in self._processes):
            try:
                take(self._shared.results.get(timeout=min(1.0, max(0.01, until - time.monotonic()))))
            except Empty:
                continue
            done += 1
        return done

    def stop(self) -> None:
        """End all; what is not finished is lost."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for queue in (self._shared.jobs, self._shared.results):
            queue.cancel_join_thread()


class OneProcess:
    """The same in this process alone, which then need not start another."""

    def __init__(self, device: str, target: Path, folder: Path, baseline: Baseline) -> None:
        self._device, self._target, self._folder, self._baseline = torch.device(device), target, folder, baseline
        self._setup: Setup | None = None
        torch.set_num_threads(1)

    def calibrate(self) -> list[float]:
        """As :meth:`Workers.calibrate`."""
        self._setup = Setup(Target(self._target), self._folder, self._device)
        return list(_calibrated(self._setup, self._baseline, None))

    def run(self, jobs: Sequence[Job], until: float, take: Callable[[dict[str, Any]], None]) -> int:
        """As :meth:`Workers.run`; a run that has begun is ended."""
        assert self._setup is not None  # noqa: S101 (calibrated before)
        for done, job in enumerate(jobs):
            if time.monotonic() >= until:
                return done
            take(_result(job, self._setup))
        return len(jobs)

    def stop(self) -> None:
        """Nothing else runs."""


def appended(path: Path) -> Callable[[dict[str, Any]], None]:
    """What appends a result to a file, as a line of JSON."""

    def take(result: dict[str, Any]) -> None:
        with path.open("a") as file:
            file.write(json.dumps(result, separators=(",", ":")) + "\n")
        summary = result.get("error", "").strip().splitlines()[-1:] or [
            f"{p['at']} {p['tokens']}" for p in result["points"]
        ]
        print(result["variant"], result["seed"], *summary, flush=True)

    return take
