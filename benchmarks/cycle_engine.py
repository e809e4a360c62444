"""SGLang's scheduler with the plugin in this process, timed by parts; see ``cycle.py``."""

import argparse
import contextlib
import functools
import json
import os
import statistics
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from aurora_core.cli.paths import models_folder
from aurora_core.config import DraftConfig, SamplesConfig, ServingConfig, TargetConfig
from aurora_core.engine import launch
from aurora_core.engine.settings import EngineSettings
from aurora_core.protocol.controls import Control
from aurora_core.training.init import ensure_first
from aurora_core.weights.store import WeightsStore
from aurora_demo import smollm2
from ports import free_port

_WARM_UP = 3
_ENDLESS = 4000
"""Tokens of an answer that is ended before."""


class Clock:
    """Seconds by part, of the calls since the last reset; a nested part's are its own alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, owner: object, name: str, part: str | Callable[..., str | None]) -> None:
        """Time ``owner.name``, a function of a class or module, as this part."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def timing(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (any function)
            of = part if isinstance(part, str) else part(*args, **kwargs)
            if of is None:
                return original(*args, **kwargs)
            began = time.thread_time()
            self._inner.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                took = time.thread_time() - began
                self.seconds[of] += took - self._inner.pop()
                self._inner[-1] += took

        setattr(owner, name, timing)

    def lap(self) -> dict[str, float]:
        """Milliseconds since the last lap, by part."""
        found = {part: 1e3 * seconds for part, seconds in self.seconds.items()}
        self.seconds.clear()
        return found


class _DoneError(Exception):
    """Ends the scheduler's loop, which has nothing more to do."""


def _instrument(clock: Clock) -> None:
    from aurora_core.engine.runtime import Runtime  # noqa: PLC0415
    from sglang.srt.managers.scheduler import Scheduler  # noqa: PLC0415
    from sglang.srt.managers.tp_worker import TpModelWorker  # noqa: PLC0415
    from sglang.srt.speculative.eagle_worker_v2 import EagleDraftWorker, EAGLEWorkerV2  # noqa: PLC0415

    clock.timed(EagleDraftWorker, "draft", "draft")
    clock.timed(EagleDraftWorker, "_draft_extend_for_decode", "draft extend")
    clock.timed(EAGLEWorkerV2, "verify", "verify")
    clock.timed(TpModelWorker, "forward_batch_generation", "verify pass")
    clock.timed(Scheduler, "process_batch_result", "results")
    for name in ("forwarded", "processing", "verified", "released"):
        clock.timed(Runtime, name, "capture")


class Engine:
    """A scheduler that answers when asked."""

    def __init__(self, scheduler: Any, steps: Sequence[int], dtype: str, clock: Clock) -> None:  # noqa: ANN401 (SGLang's)
        self._scheduler, self.steps, self.dtype, self._clock = scheduler, steps, dtype, clock
        scheduler.ingest_requests = self._ingest
        self._asked = self._left = 0
        self._waiting: list[list[int]] = []
        self._laps: list[dict[str, float]] = []
        self._began: float | None = None

    @classmethod
    def start(cls, options: argparse.Namespace, folder: Path, clock: Clock) -> Self:
        """Publish a draft and start SGLang's scheduler with it, in this process."""
        target_config, serving = (
            TargetConfig(model=smollm2.NAME),
            ServingConfig(port=free_port(), device="cpu", threads=1, extra_args=("--skip-tokenizer-init",)),
        )
        target = smollm2.target(target_config, models_folder())
        dtype = launch.engine_dtype(target.path, target_config, serving)
        steps = [0, *options.steps]
        store, draft = (
            WeightsStore(folder / "weights"),
            DraftConfig(
                draft_vocab_size=options.vocabulary,
                num_steps=max(options.steps),
                num_draft_tokens=max(options.steps) + 1,
            ),
        )
        version = ensure_first(store, draft, target, 0).version
        settings = EngineSettings(
            weights=store.root,
            version=version,
            target=target.fingerprint,
            spool=folder / "spool",
            initial_steps=0,
            dtype=dtype,
            samples=SamplesConfig(sample_rate=1.0),
        )
        command = launch.speculative(
            target.path,
            target_config,
            serving,
            draft,
            settings,
            options.draft or store.folder(version),
            folder / "engine",
            launch.Secrets(admin_key="benchmark"),
        )
        (folder / "engine" / "steps.json").write_text(json.dumps({"1": {"candidate_steps": steps}}))
        os.environ.update(command.environment)
        # SGLang reads the environment when it is imported.
        from sglang.srt.managers import scheduler as sglang  # noqa: PLC0415
        from sglang.srt.server_args import PortArgs, prepare_server_args  # noqa: PLC0415

        arguments = prepare_server_args(list(command.arguments[3:]))
        sglang.load_plugins()
        _instrument(clock)
        sglang.publish(arguments, role="scheduler", ranks=sglang.SpawnRanks(0, None, 0))
        sglang.configure_scheduler_process(arguments, 0)
        scheduler = sglang.Scheduler(arguments, PortArgs.init_new(arguments))
        torch.set_num_threads(1)
        return cls(scheduler, steps, dtype, clock)

    def set(self, steps: int) -> None:
        """Change the draft steps, as the agent does."""
        from sglang.srt.managers.io_struct import SetInternalStateReq  # noqa: PLC0415

        answer = self._scheduler.set_internal_state(SetInternalStateReq(server_args={Control.STEPS: steps}))
        if not answer.updated:
            raise SystemExit(f"the engine cannot draft {steps} steps")

    def cycles(self, prompts: list[list[int]], count: int) -> list[dict[str, float]]:
        """Milliseconds by part, "all" among them, of this many decode iterations of all prompts together."""
        self._waiting, self._left, self._laps, self._began = prompts, count + _WARM_UP, [], None
        with contextlib.suppress(_DoneError):
            self._scheduler.event_loop_normal()
        return self._laps[_WARM_UP:]

    def _ingest(self) -> None:
        """In the place of the scheduler's reading of its socket: once in each iteration."""
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        now, scheduler, last = time.thread_time(), self._scheduler, self._scheduler.last_batch
        took = self._clock.lap()
        if self._waiting:
            scheduler.process_input_requests([self._request(ids) for ids in self._waiting])
            self._waiting = []
        elif last is None:
            raise _DoneError
        elif last.forward_mode.is_decode() and self._left:
            if self._began is not None:
                self._laps.append({**took, "all": 1e3 * (now - self._began)})
                self._left -= 1
            if not self._left:
                scheduler.abort_request(AbortReq(abort_all=True))
        self._began = time.thread_time()

    def _request(self, ids: list[int]) -> Any:  # noqa: ANN401 (SGLang's)
        from sglang.srt.managers.io_struct import TokenizedGenerateReqInput  # noqa: PLC0415
        from sglang.srt.sampling.sampling_params import SamplingParams  # noqa: PLC0415

        parameters = SamplingParams(temperature=0, max_new_tokens=_ENDLESS, ignore_eos=True)
        parameters.normalize(None)
        self._asked += 1
        return TokenizedGenerateReqInput(
            rid=f"cycle-{self._asked}",
            input_text=None,
            input_ids=array("q", ids),
            input_embeds=None,
            mm_inputs=None,
            token_type_ids=None,
            sampling_params=parameters,
            return_logprob=False,
            logprob_start_len=-1,
            top_logprobs_num=0,
            token_ids_logprob=None,
            stream=False,
        )


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """The rows of the table: medians by batch and steps, and a cycle over that of 0 steps in the same round."""
    clock, rows = Clock(), []
    with tempfile.TemporaryDirectory(prefix="aurora-cycle-") as folder:
        engine = Engine.start(options, Path(folder), clock)
        for batch in options.batch:
            laps: dict[int, list[dict[str, float]]] = {steps: [] for steps in engine.steps}
            ratios: dict[int, list[float]] = {steps: [] for steps in engine.steps}
            for round_ in range(options.rounds):
                generator = torch.Generator().manual_seed(round_)
                prompts = torch.randint(100, 20000, (batch, options.prompt), generator=generator).tolist()
                own = {}
                for steps in engine.steps if round_ % 2 == 0 else reversed(engine.steps):
                    engine.set(steps)
                    found = engine.cycles(prompts, options.cycles)
                    laps[steps] += found
                    own[steps] = statistics.median(one["all"] for one in found)
                for steps, milliseconds in own.items():
                    ratios[steps].append(milliseconds / own[0])
            for steps, found in laps.items():
                parts = {
                    part: round(statistics.median(one.get(part, 0.0) for one in found), 3)
                    for part in sorted({part for one in found for part in one} - {"all"})
                }
                cycle = statistics.median(one["all"] for one in found)
                parts["schedule"] = round(cycle - sum(parts.values()), 3)
                rows.append(
                    {
                        "batch": batch,
                        "steps": steps,
                        "ms": round(cycle, 2),
                        "target_steps": round(statistics.median(ratios[steps]), 3),
                        "parts": parts,
                    }
                )
    return {"dtype": engine.dtype, "rows": rows}
