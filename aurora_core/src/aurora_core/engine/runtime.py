"""The plugin's state in one scheduler process, and what its hooks do with it."""

import logging
import os
import time
from collections import Counter
from typing import Any, Self

import torch

from aurora_core.engine import agreement
from aurora_core.engine.capture import Capture
from aurora_core.engine.counters import Arm, CycleCounters, Ending
from aurora_core.engine.sender import Sender
from aurora_core.engine.settings import EngineSettings
from aurora_core.engine.strata import stratum_of
from aurora_core.engine.swap import DraftSwap
from aurora_core.protocol.engine import CaptureState, DraftState, EngineState
from aurora_core.protocol.request import may_be_captured
from aurora_core.samples.spool import Retention, SpoolSink
from aurora_core.samples.transport import SampleSink
from aurora_core.weights.loaded import read
from aurora_core.weights.store import WeightsStore

log = logging.getLogger(__name__)

_ARM = "aurora_arm"


def _make_sink(settings: EngineSettings) -> SampleSink:
    samples = settings.samples
    if samples.transport == "Filesystem":
        return SpoolSink(settings.spool, samples.spool_bytes)
    # Mooncake's client library is only needed, and only loaded, where it is chosen.
    from aurora_core.samples.mooncake import MooncakeSink  # noqa: PLC0415

    return MooncakeSink(samples, settings.sample_token)


def _first_token_seconds(request: Any) -> float | None:
    """Seconds from a request's arrival at the scheduler, waiting included, to its first token."""
    arrived, came = request.time_stats.scheduler_recv_time, request.time_stats.prefill_finished_time
    return came - arrived if 0 < arrived <= came else None


def _shares(source: Any, rows: int) -> list[tuple[str, int]]:
    """Id of each of a pass's requests and how many of its rows are that request's.

    Args:
        source: SGLang's ScheduleBatch or ForwardBatch.
        rows: of all requests together.
    """
    schedule = getattr(source, "reqs", None)
    requests = source.rids if schedule is None else [request.rid for request in schedule]
    if source.forward_mode.is_extend_without_speculative():
        counts = source.extend_seq_lens_cpu if schedule is None else source.extend_lens
    else:
        counts = [rows // len(requests)] * len(requests)
    return list(zip(requests, map(int, counts), strict=True))


class Runtime:
    """Capture, counters, swap and steps of one scheduler."""

    @classmethod
    def started(cls, settings: EngineSettings) -> Self:
        """A runtime with the version in memory that the engine starts with.

        Raises:
            WeightsError: that version cannot be read, or is another target's.
        """
        store = WeightsStore(settings.weights, signing=settings.signing)
        live = read(store, settings.version, settings.target)
        log.info("serving version %d in %s", settings.version, settings.dtype)
        if os.environ.get("SGLANG_USE_CPU_ENGINE") == "1":
            log.info("on a CPU SGLang draws only an answer's first token while it speculates, whatever its temperature")
        runtime = cls(settings, DraftSwap(store, live, settings.target))
        runtime.sender.start()
        return runtime

    def __init__(self, settings: EngineSettings, swap: DraftSwap) -> None:
        samples = settings.samples
        self.dtype = settings.dtype
        self.fallback = settings.fallback
        dtype = None if samples.dtype == "auto" else getattr(torch, samples.dtype)
        self._retention = Retention(settings.spool, samples.max_age_seconds, lambda: self.capture.rate)
        self.sender = Sender(lambda: _make_sink(settings), dtype, samples.queue_size, self._retention.apply)
        self.capture = Capture(
            self.sender, target=settings.target, rate=samples.sample_rate, max_tokens=samples.max_tokens
        )
        self._strata = settings.strata
        self.counters = CycleCounters(settings.version, () if settings.strata is None else settings.strata.names)
        self.swap = swap
        self.steps = settings.initial_steps
        self.errors: Counter[str] = Counter()
        self._adapters: Any = None

    # --- forward pass and its result -------------------------------------------------------------------------

    def forwarded(self, worker: Any, result: Any, source: Any, *, capture: bool) -> None:
        """A pass of the target was launched.

        Args:
            worker: SGLang's TpModelWorker.
            result: what its pass returned.
            source: the batch that it ran.
            capture: whether this rank is the one that captures.
        """
        output = result.logits_output
        if worker.is_draft_worker or output is None or source.forward_mode.is_idle():
            return
        setattr(output, _ARM, self.swap.state.live)
        self._adapters = worker.model_runner.lora_manager
        if capture:
            # Where some layers keep a window alone, ``size`` is the smaller of both pools; slots are of the full one.
            slots = worker.model_runner.token_to_kv_pool_allocator.size_full + worker.model_runner.page_size
            rows = source.out_cache_loc, source.input_ids
            self.capture.stage(output, *rows, _shares(source, rows[0].shape[0]), slots)

    def processing(self, result: Any, *, tree: bool) -> None:
        """The scheduler is about to process a pass's result, of a token tree or of a chain."""
        if result.logits_output is not None:
            self.capture.commit(result.logits_output, result.accept_index if tree else None)

    def verified(self, result: Any, requests: list[Any]) -> None:
        """The scheduler resolved a verify cycle's accepted tokens."""
        version = getattr(result.logits_output, _ARM, self.swap.state.live)
        arm = Arm(version, result.speculative_num_draft_tokens - 1)
        now = time.monotonic()
        for request, correct in zip(requests, result.num_correct_drafts_per_req_cpu, strict=True):
            if not (request.is_retracted or request.finished()):
                stratum = None if self._strata is None else stratum_of(self._strata, request.routing_key)
                self.counters.cycle(request.rid, arm, correct + 1, now, _first_token_seconds(request), stratum)

    def released(self, request: Any, req_to_token: torch.Tensor, how: Ending) -> None:
        """A request that ended is about to give back its KV slots."""
        self.counters.ended(request.rid, how)
        if how != "finished":
            self.sender.drop("aborted")
            return
        if not (may_be_captured(request.sampling_params.custom_params) and self._stratum_may_be(request)):
            self.sender.drop("opted_out")
            return
        if request.input_embeds is not None or request.positional_embed_overrides is not None:
            # SGLang reports token 1, or what the client sent, where the target was given vectors instead.
            self.sender.drop("embeddings")
            return
        if request.multimodal_inputs is not None and request.multimodal_inputs.mm_items:
            # SGLang says hashes, which are no tokens, where the target saw an image or heard a sound.
            self.sender.drop("media")
            return
        if request.lora_id is not None and self._changes_head(request.lora_id):
            # The last states are captured before the head, and the trainer knows the target's own alone.
            self.sender.drop("adapter_head")
            return
        tokens = torch.tensor([*request.origin_input_ids, *request.output_ids_through_stop], dtype=torch.int64)
        slots = req_to_token[request.kv.req_pool_idx, : tokens.shape[0] - 1].to("cpu", torch.int64)
        self.capture.collect(request.rid, tokens, len(request.origin_input_ids), slots, self.swap.state.live)

    def _stratum_may_be(self, request: Any) -> bool:
        """Whether what a request shows, an API key or a header, lets it be captured."""
        return self._strata is None or self._strata.may_be_captured(stratum_of(self._strata, request.routing_key))

    def _changes_head(self, adapter: str) -> bool:
        """Whether a LoRA adapter changes the target's head; of one that is gone nobody knows."""
        found = self._adapters.loras.get(adapter)
        return found is None or any("lm_head" in name for name in found.embedding_layers)

    # --- what the outside may ask ----------------------------------------------------------------------------

    @property
    def prefix_namespace(self) -> str:
        """Whose keys and values of the draft a cached prefix has: a version's, or nobody's with speculation off."""
        return f"draft={self.swap.state.live}" if self.steps else "draft=off"

    def activate(self, version: int, scheduler: Any) -> None:
        """Make a prepared version live."""
        seconds = self.swap.activate(version, scheduler.draft_worker, agreement.among(scheduler))
        self.counters.activated(version)
        self.fallback = ""
        log.info("draft version %d live after %.1f ms", version, 1e3 * seconds)

    def status(self) -> EngineState:
        """Everything measured."""
        draft, sent, pace = self.swap.state, self.sender.sent, self.sender.pace
        return EngineState(
            draft=DraftState(
                live=draft.live,
                prepared=draft.prepared,
                failed=dict(draft.failed),
                swaps=draft.swaps,
                failures=draft.failures,
                seconds=draft.seconds,
                last_seconds=draft.last_seconds,
            ),
            steps=self.steps,
            dtype=self.dtype,
            fallback=self.fallback,
            arms=tuple(totals.reported(arm) for arm, totals in sorted(self.counters.arms.items())),
            capture=CaptureState(
                rate=self.capture.rate,
                share=0.0 if pace.paused else pace.share,
                pauses=pace.pauses,
                why_paused=pace.why_paused[:500],
                queue=self.sender.backlog(),
                samples=sent["samples"],
                bytes=sent["bytes"],
                dropped=dict(self.sender.dropped),
                cut=self.capture.cut,
                mismatches=dict(self.capture.mismatches),
            ),
            errors=dict(self.errors),
        )
