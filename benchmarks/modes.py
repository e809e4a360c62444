"""Mode Online beside External (filesystem) on this machine: the same requests, samples and number of optimizer steps.

Each mode serves the prompts until the trainer has taken all its steps on all their samples; every version that it
publishes goes live at once. Then: accept length on held-out prompts with the last version, seconds from the capture of
the newest sample of a version to its going live, and how long decoding waited.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aurora_core.evaluation.requests import measure
from aurora_demo.online import OnlineStack
from aurora_demo.stack import Stack
from bench import arguments, report, stack

_KINDS: dict[str, type[Stack]] = {"external": Stack, "online": OnlineStack}


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

    def plain(self) -> float:
        """Seconds of a step without a publication; NaN where none was seen alone."""
        return statistics.median(self._between(published=False) or [float("nan")])

    def published(self) -> float:
        """Seconds of a step with one."""
        return statistics.median(self._between(published=True) or [float("nan")])


def _run(kind: str, config: Path, prompts_: int, steps: int, seed: int) -> dict[str, object]:
    training = {
        "seed": seed,
        "num_train_steps": steps,
        "publish_every_steps": max(1, steps // 4),
        "start_samples": prompts_ // 3,
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
        stalls: list[float] = []
        while running.training().step < steps or running.store.versions()[-1] != running.live:
            time.sleep(0.1)
            running.check()
            clock.see(running.training().step)
            if (swapped := running.follow(speculate_at=1e9)) is not None:
                newest = running.store.manifest(swapped[0]).provenance.newest_sample
                stalls.append(swapped[1])
                if newest is not None:
                    lags.append(time.time() - newest.timestamp())
        failed = len(stream.result().failures)
        status = running.training()
        running.trainer.pause()
        running.set_steps(made.draft.num_steps)
        measured = measure(running.url, heldout, 1, 48)
        running.trainer.resume()
    return {
        "mode": kind,
        "seed": seed,
        "seconds_to_serve": round(started, 1),
        "samples": status.received,
        "optimizer_steps": status.step,
        "accept_length": round(measured.accept_length, 3),
        "versions": len(stalls),
        "traffic_seconds": round(ended[0], 1),
        "start_samples": prompts_ // 3,
        "micro_batch": made.training.micro_batch * made.training.draft_accumulation_steps,
        "publish_every": clock.steps,
        "step_seconds": round(clock.plain(), 2),
        "publish_seconds": round(max(0.0, clock.published() - clock.plain()), 2),
        "capture_to_live_seconds": [round(lag, 2) for lag in lags],
        "capture_to_live_median": round(statistics.median(lags), 2) if lags else None,
        "decoding_waited_ms_max": round(1e3 * max(stalls, default=0.0), 1),
        "failed_requests": failed + len(measured.failures),
    }


def main() -> None:
    """Both modes, seed by seed, in turns."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    for seed in range(options.seeds):
        for kind in list(_KINDS)[:: 1 if seed % 2 == 0 else -1]:
            report("modes", **_run(kind, options.config, options.requests, options.steps, seed))


if __name__ == "__main__":
    main()
