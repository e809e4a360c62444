"""SGLang's own scheduler with the plugin in this process, without HTTP: for targets that a test makes.

SGLang keeps much in its modules, so that a process has one engine in its life; ``serve.py`` forks for each.
"""

import contextlib
import json
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from aurora_core.config import DraftConfig, SamplesConfig, ServingConfig, TargetConfig
from aurora_core.drafts.family import Draft
from aurora_core.engine import launch
from aurora_core.engine.settings import EngineSettings
from aurora_core.models.target import Target
from aurora_core.protocol.controls import Control
from aurora_core.protocol.engine import STATE_KEY
from aurora_core.training.init import ensure_first
from aurora_core.weights import checkpoint
from aurora_core.weights.store import WeightsStore
from machine import patience
from ports import free_port
from workshop.waiting import wait

SECONDS = 240
"""That an engine may take for all that it is asked."""
TARGET, WEIGHTS, SPOOL, ANSWERS, STATE = "target", "weights", "spool", "answers.json", "state.json"
"""In an engine's folder."""


@dataclass(frozen=True)
class Ask:
    """A request: its tokens, what SGLang's sampling parameters say, and other fields of SGLang's own request."""

    rid: str
    prompt: Sequence[int]
    sampling: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What became of a request; tokens that follow the one that stopped it are no part of it."""

    prompt: list[int]
    output: list[int]
    finish: str
    cached: int


class _DoneError(Exception):
    """Ends the scheduler's loop, which has nothing more to do."""


class InProcess:
    """An engine that answers when asked.

    Args:
        folder: with the target's checkpoint in ``target``; weights, spool and answers go beside it.
        draft: of the engine.
        arguments: of SGLang, besides those of the launcher.
        max_tokens: of the longest sample.
    """

    def __init__(self, folder: Path, draft: DraftConfig, arguments: Sequence[str] = (), max_tokens: int = 8192) -> None:
        self.target = Target(folder / TARGET)
        self.store, self._folder, self._algorithm = WeightsStore(folder / WEIGHTS), folder, draft.algorithm
        named = TargetConfig(model=str(self.target.path), dtype="float32")
        serving = ServingConfig(port=free_port(), device="cpu", threads=1, extra_args=tuple(arguments))
        version = self._live = ensure_first(self.store, draft, self.target, 0).version
        settings = EngineSettings(
            weights=self.store.root,
            version=version,
            target=self.target.fingerprint,
            spool=folder / SPOOL,
            initial_steps=draft.num_steps,
            dtype="float32",
            samples=SamplesConfig(sample_rate=1.0, max_tokens=max_tokens),
        )
        secrets = launch.Secrets(admin_key="in-process")
        command = launch.speculative(
            self.target.path, named, serving, draft, settings, self.store.folder(version), folder / "engine", secrets
        )
        os.environ.update(command.environment)
        # SGLang reads the environment when it is imported.
        from sglang.srt.managers import scheduler as sglang  # noqa: PLC0415
        from sglang.srt.server_args import PortArgs, prepare_server_args  # noqa: PLC0415

        arguments_ = prepare_server_args(list(command.arguments[3:]))
        sglang.load_plugins()
        arguments_.resolve_once()
        arguments_.check_server_args()
        sglang.publish(arguments_, role="scheduler", ranks=sglang.SpawnRanks(0, None, 0))
        sglang.configure_scheduler_process(arguments_, 0)
        self.scheduler = sglang.Scheduler(arguments_, PortArgs.init_new(arguments_))
        torch.set_num_threads(1)
        self.scheduler.ingest_requests = self._ingest
        self._waiting: list[Ask] = []
        self._aborts: dict[str, int] = {}
        self._asked: dict[str, Any] = {}
        self._deadline = time.monotonic() + patience(SECONDS)

    def set(self, control: str, value: float) -> None:
        """Change one of the plugin's controls, as the agent does."""
        from sglang.srt.managers.io_struct import SetInternalStateReq  # noqa: PLC0415

        answer = self.scheduler.set_internal_state(SetInternalStateReq(server_args={control: value}))
        assert answer.updated, f"{control} {value} was refused"

    def state(self) -> dict[str, Any]:
        """What the plugin reports."""
        from sglang.srt.managers.io_struct import GetInternalStateReq  # noqa: PLC0415

        found: dict[str, Any] = self.scheduler.get_internal_state(GetInternalStateReq()).internal_state[STATE_KEY]
        return found

    def swap(self, draft: Draft | None = None) -> None:
        """Publish a draft, or one whose input weights differ a little from the live one's, and make it live."""
        if draft is None:
            draft = checkpoint.read(self.store.folder(self._live), self._algorithm)
            with torch.no_grad():
                draft.fc.weight.mul_(1.01)
        version = self.store.publish(
            lambda folder: checkpoint.write(folder, draft), target_fingerprint=self.target.fingerprint
        ).version
        self.set(Control.PREPARE, version)
        self._until(lambda: self.state()["draft"]["prepared"] == version)
        self.set(Control.ACTIVATE, version)
        self._live = version

    def ask(self, *asked: Ask, abort: Mapping[str, int] | None = None) -> None:
        """Answer these together; those named in ``abort`` are ended by their client after so many tokens."""
        self._waiting, self._aborts = list(asked), dict(abort or {})
        with contextlib.suppress(_DoneError):
            self.scheduler.event_loop_normal()

    def finish(self, uncaptured: int = 0) -> None:
        """Wait until the samples of all requests but so many are sent, and write down what there was."""
        self.wait_for_samples(uncaptured)
        answers = {rid: asdict(self.answer(rid)) for rid in self._asked}
        (self._folder / ANSWERS).write_text(json.dumps(answers))
        (self._folder / STATE).write_text(json.dumps(self.state()))

    def wait_for_samples(self, uncaptured: int = 0) -> None:
        """Wait until the samples of all requests so far but so many are sent."""
        self._until(lambda: self._done() + uncaptured == len(self._asked))

    def _done(self) -> int:
        capture = self.state()["capture"]
        return int(capture["samples"]) + sum(capture["dropped"].values())

    def answer(self, rid: str) -> Answer:
        """What became of a request that ended."""
        request = self._asked[rid]
        reason = type(request.finished_reason).__name__.removeprefix("FINISH_").lower()
        output = list(request.output_ids_through_stop)
        return Answer(list(request.origin_input_ids), output, reason, int(request.cached_tokens))

    def _until(self, true: Any) -> None:
        wait("the engine", true, self._deadline - time.monotonic(), every=0.02, state=self.state)

    def _ingest(self) -> None:
        """In the place of the scheduler's reading of its socket: once in each iteration."""
        from sglang.srt.managers.io_struct import AbortReq  # noqa: PLC0415

        scheduler, grammars = self.scheduler, self.scheduler.grammar_manager.grammar_queue
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"the engine answered only {list(self._asked)}")
        for rid, tokens in list(self._aborts.items()):
            if rid in self._asked and len(self._asked[rid].output_ids) >= tokens:
                del self._aborts[rid]
                scheduler.abort_request(AbortReq(rid=rid))
        if self._waiting:
            scheduler.process_input_requests([_request(one, scheduler.tokenizer) for one in self._waiting])
            self._asked |= {one.rid: one for one in (*scheduler.waiting_queue, *grammars)}
            self._waiting = []
        elif not (scheduler.last_batch or scheduler.waiting_queue or grammars) and scheduler.running_batch.is_empty():
            raise _DoneError


def _request(asked: Ask, tokenizer: Any) -> Any:
    from sglang.srt.managers.io_struct import TokenizedGenerateReqInput  # noqa: PLC0415
    from sglang.srt.sampling.sampling_params import SamplingParams  # noqa: PLC0415

    sampling = SamplingParams(**{"temperature": 0, "max_new_tokens": 16, "ignore_eos": True, **asked.sampling})
    sampling.normalize(tokenizer)
    plain = {
        "input_text": None, "input_embeds": None, "mm_inputs": None, "token_type_ids": None, "return_logprob": False,
        "logprob_start_len": -1, "top_logprobs_num": 0, "token_ids_logprob": None, "stream": False,
    }  # fmt: skip
    return TokenizedGenerateReqInput(
        rid=asked.rid, input_ids=array("q", asked.prompt), sampling_params=sampling, **{**plain, **asked.fields}
    )
