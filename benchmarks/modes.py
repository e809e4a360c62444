"""Mode Online beside External (filesystem) on this machine: the same requests, samples and number of optimizer steps.

Each mode serves the prompts; training starts with three quarters of their samples, so that it ends with all of them,
and every version goes live at once. Then: accept length on held-out prompts with the last version, seconds from the
capture of the newest sample of a version to its going live (of versions that learned of a new one), and how long
decoding waited.

A line of JSON for each run, with ``--out`` appended to a file as soon as it ends: what that has of the same requests
and steps is not run again, so that five seeds can be run in pieces, and what was interrupted repeats one run.
"""

import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pieces
from aurora_core.evaluation.requests import measure
from aurora_demo.online import OnlineStack
from aurora_demo.stack import Stack
from bench import arguments, heading, stack

NAME = "modes"
_KINDS: dict[str, type[Stack]] = {"external": Stack, "online": OnlineStack}


def _middle(found: Sequence[float]) -> float | None:
    return round(statistics.median(found), 2) if found else None


@dataclass
class _Steps:
    """When optimizer steps ended, as the trainer's status shows it.

    Attributes:
        steps: from one publication to the next.
    """

    steps: int
    seen: dict[int, float] = field(default_factory=dict)

    def see(self, step: int) -> None:
        """The status has this step now."""
        self.seen.setdefault(step, time.monotonic())

    def _between(self, *, published: bool) -> list[float]:
        # A version is published after its step, and before the status has that step.
        pairs = [
            (at - self.seen[step - 1], step) for step, at in self.seen.items() if step - 1 in self.seen and step > 1
        ]
        return [seconds for seconds, step in pairs if (step % self.steps == 0) == published]

    def plain(self) -> float | None:
        """Seconds of a step without a publication; None where none was seen alone."""
        return _middle(self._between(published=False))

    def publication(self) -> float:
        """Seconds that a step with one takes beyond that; 0 where none was seen alone."""
        return max(0.0, (_middle(self._between(published=True)) or 0.0) - (self.plain() or 0.0))


def _start(requests: int) -> int:
    """Samples with which training starts: so many that the others come before its end."""
    return requests * 3 // 4


def _run(kind: str, config: Path, prompts_: int, steps: int, seed: int) -> dict[str, object]:
    training = {
        "seed": seed,
        "num_train_steps": steps,
        "publish_every_steps": max(1, steps // 4),
        "start_samples": _start(prompts_),
        "reuse": 1000.0,
    }
    with stack(config, kind=_KINDS[kind], training=training) as (made, running, prompts):
        traffic, heldout = prompts[:prompts_], prompts[prompts_ : prompts_ + 16]
        began = time.monotonic()
        running.start()
        started = time.monotonic() - began
        clock = _Steps(steps=max(1, steps // 4))
        stream = ThreadPoolExecutor(1).submit(measure, running.url, traffic, 2, 48, "traffic-")
        asked, ended = time.monotonic(), list[float]()
        stream.add_done_callback(lambda _: ended.append(time.monotonic() - asked))
        lags: list[float] = []
        learned_of: set[object] = set()
        stalls: list[float] = []
        while running.training().step < steps or running.store.versions()[-1] != running.live:
            time.sleep(0.1)
            step = running.training().step
            if step < steps:
                # With the last one the trainer of External ends.
                running.check()
            clock.see(step)
            if (swapped := running.follow(speculate_at=1e9)) is not None:
                newest = running.store.manifest(swapped[0]).provenance.newest_sample
                stalls.append(swapped[1])
                if newest is not None and newest not in learned_of:
                    lags.append(time.time() - newest.timestamp())
                learned_of.add(newest)
        failed = len(stream.result().failures)
        status = running.training()
        # One that is paused does not answer where it is.
        trainer = running.trainer
        trainer.pause()
        running.set_steps(made.draft.num_steps)
        measured = measure(running.url, heldout, 1, 48)
        trainer.resume()
    return {
        "mode": kind,
        "seed": seed,
        "seconds_to_serve": round(started, 1),
        "samples": status.received,
        "optimizer_steps": status.step,
        "accept_length": round(measured.accept_length, 3),
        "versions": len(stalls),
        "traffic_seconds": round(ended[0], 1),
        "start_samples": _start(prompts_),
        "micro_batch": made.training.micro_batch * made.training.draft_accumulation_steps,
        "publish_every": clock.steps,
        "step_seconds": clock.plain(),
        "publish_seconds": round(clock.publication(), 2),
        "capture_to_live_seconds": [round(lag, 2) for lag in lags],
        "capture_to_live_median": _middle(lags),
        "decoding_waited_ms_max": round(1e3 * max(stalls, default=0.0), 1),
        "failed_requests": failed + len(measured.failures),
    }


def done(file: Path | None, requests: int, steps: int) -> set[tuple[str, int]]:
    """Mode and seed of the runs of so many requests and steps that a file has."""
    runs = [run for run in pieces.earlier(file) if run["benchmark"] == NAME]
    return {(run["mode"], run["seed"]) for run in runs if (run["requests"], run["steps"]) == (requests, steps)}


def main() -> None:
    """Both modes, seed by seed, in turns."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, help="file to which each line is appended; what it has is not run again")
    options = parser.parse_args()
    known = done(options.out, options.requests, options.steps)
    for seed in range(options.seeds):
        for kind in list(_KINDS)[:: 1 if seed % 2 == 0 else -1]:
            if (kind, seed) in known:
                continue
            began = time.monotonic()
            found = _run(kind, options.config, options.requests, options.steps, seed)
            asked = {"requests": options.requests, "steps": options.steps}
            seconds = round(time.monotonic() - began, 1)
            line = {**heading(NAME), **found, **asked, "seconds": seconds}
            print(json.dumps(line), flush=True)
            pieces.append(options.out, line)


if __name__ == "__main__":
    main()
