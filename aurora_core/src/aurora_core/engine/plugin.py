"""The entry point of SGLang's plugin framework: which of its functions are hooked, and by what.

Every hook is guarded: an exception of ours is counted, logged and swallowed, never raised into serving. Without
:data:`aurora_core.engine.settings.VARIABLE` in the environment nothing is hooked but a CPU's products
(``cpu_products.py``).
"""

import functools
import importlib
import logging
import pkgutil
from collections.abc import Callable
from typing import Any

from sglang.srt.managers.schedule_batch import FINISH_ABORT
from sglang.srt.managers.scheduler_components.internal_state import UpdateRejected, _UpdateHandler
from sglang.srt.plugins.hook_registry import HookRegistry, HookType
from sglang.srt.runtime_context import get_parallel, get_spec

from aurora_core import credentials
from aurora_core.engine import agreement, cpu_products
from aurora_core.engine.access import Access, AccessMiddleware
from aurora_core.engine.counters import Ending
from aurora_core.engine.runtime import Runtime
from aurora_core.engine.settings import ADMIN_KEY, API_KEY, EngineSettings
from aurora_core.engine.strata import StrataMiddleware, routing_key
from aurora_core.errors import ConfigError, EngineError
from aurora_core.protocol.controls import Control
from aurora_core.protocol.engine import STATE_KEY

log = logging.getLogger(__name__)

_SRT = "sglang.srt"
_RESULTS = f"{_SRT}.managers.scheduler_components.batch_result_processor.SchedulerBatchResultProcessor"
_STATE = f"{_SRT}.managers.scheduler_components.internal_state.SchedulerInternalStateController"
_SCHEDULER = f"{_SRT}.managers.scheduler.Scheduler"
_TOKENIZER = f"{_SRT}.managers.tokenizer_manager.TokenizerManager"
_HTTP = f"{_SRT}.entrypoints.http_server"
_SERVE = f"{_HTTP}._setup_and_run_http_server"
_PARAMS = f"{_SRT}.speculative.adaptive_spec_params.AdaptiveSpeculativeParams"

_Hook = Callable[..., Any]


def _controls(runtime: Runtime, scheduler: Any) -> dict[str, _UpdateHandler]:  # noqa: C901 (four small controls)
    """What may be set from outside, each with its check and its effect."""

    def not_negative(key: str, value: float) -> None:
        if value < 0:
            raise UpdateRejected(f"{key} must not be negative, got {value}")

    def prepared(_key: str, value: float) -> None:
        if not agreement.among(scheduler)(runtime.swap.is_prepared(int(value))):
            raise UpdateRejected(f"draft version {int(value)} is not prepared on every rank")

    def possible_steps(_key: str, value: float) -> None:
        controller = getattr(scheduler.draft_worker, "adaptive_controller", None)
        states = [] if controller is None else controller.candidate_steps
        if int(value) not in states:
            raise UpdateRejected(f"this engine prepared draft steps {states}, not {int(value)}")

    def prepare(_key: str, value: float) -> None:
        runtime.swap.prepare(int(value))

    def activate(_key: str, value: float) -> None:
        try:
            runtime.activate(int(value), scheduler)
        except EngineError as error:
            log.error("swap failed: %s", error)  # noqa: TRY400 (says all there is)

    def set_steps(_key: str, value: float) -> None:
        runtime.steps = int(value)

    def set_rate(_key: str, value: float) -> None:
        runtime.capture.rate = min(float(value), 1.0)

    return {
        Control.PREPARE: _UpdateHandler(not_negative, prepare),
        Control.ACTIVATE: _UpdateHandler(prepared, activate),
        Control.STEPS: _UpdateHandler(possible_steps, set_steps),
        Control.SAMPLE_RATE: _UpdateHandler(not_negative, set_rate),
    }


def _ending(reason: Any) -> Ending:
    """How a request ended: SGLang ends those of a client that left by an abort without a status."""
    if not isinstance(reason, FINISH_ABORT):
        return "finished"
    return "aborted" if reason.status_code is None else "failed"


class _Plugin:
    """The hooks of one process; the runtime is made in the scheduler, at its first use."""

    def __init__(self, settings: EngineSettings, access: Access | None = None) -> None:
        self._settings = settings
        self._runtime: Runtime | None = None
        self._access = access

    @property
    def runtime(self) -> Runtime:
        if self._runtime is None:
            self._runtime = Runtime.started(self._settings)
        return self._runtime

    def guarded(self, hook: _Hook) -> _Hook:
        """No exception of ours fails a request."""

        @functools.wraps(hook)
        def safe(*args: Any, **kwargs: Any) -> Any:
            try:
                return hook(*args, **kwargs)
            except Exception:  # whatever it is, serving continues; it is counted and shown
                errors = self.runtime.errors
                errors[hook.__name__] += 1
                if errors[hook.__name__] in (1, 10, 100) or errors[hook.__name__] % 1000 == 0:
                    log.exception("hook %s failed, %d times now", hook.__name__, errors[hook.__name__])
                return None

        return safe

    # --- access ----------------------------------------------------------------------------------------------

    @property
    def access(self) -> Access:
        """The engine's API keys; without an admin key it must not start."""
        if self._access is None:
            raise ConfigError(f"the engine needs an admin key in {ADMIN_KEY}: its control routes would be open")
        return self._access

    def before_http_server(self, *_: Any, **__: Any) -> None:
        """Put access control before SGLang's routes; not guarded, because without it the engine must not listen."""
        app = importlib.import_module(_HTTP).app
        if self._settings.strata is not None:
            app.add_middleware(StrataMiddleware, strata=self._settings.strata)
        app.add_middleware(AccessMiddleware, access=self.access)

    def warm_up(self, original: _Hook, *args: Any, **kwargs: Any) -> Any:
        """While SGLang warms up it calls its own routes, and knows no key to show."""
        self.access.warming_up.set()
        try:
            return original(*args, **kwargs)
        finally:
            self.access.warming_up.clear()

    # --- capture ---------------------------------------------------------------------------------------------

    def logits_processor_made(self, _result: None, processor: Any, *_: Any, **__: Any) -> None:
        """SGLang keeps the last hidden states of full-capture passes where this is set."""
        processor.keep_last_hidden_states = True

    def after_forward(
        self,
        result: Any,
        worker: Any,
        batch: Any = None,
        forward_batch: Any = None,
        *_: Any,
        **__: Any,
    ) -> None:
        source = batch if forward_batch is None else forward_batch
        self.runtime.forwarded(worker, result, source, capture=get_parallel().attn_tp_rank == 0)

    def before_result(self, _processor: Any, _batch: Any, result: Any) -> None:
        self.runtime.processing(result, tree=(get_spec().speculative_eagle_topk or 1) > 1)

    def before_release(self, req: Any, tree_cache: Any, *, checkpoint: bool) -> None:  # noqa: ARG002
        if req.finished() and req.kv.holds_kv:
            self.runtime.released(req, tree_cache.req_to_token_pool.req_to_token, _ending(req.finished_reason))

    # --- prefix cache ----------------------------------------------------------------------------------------

    def before_queueing(self, _scheduler: Any, req: Any) -> None:
        """A cached prefix has the draft's keys and values too: only what the same draft computed may be shared.

        Without this a new draft would attend over the prefix of the draft before it, or, after speculation was off,
        over nothing at all, and its accept length would be lower than it is.
        """
        name = self.runtime.prefix_namespace
        req.extra_key = f"{req.extra_key}|{name}" if req.extra_key else name

    def after_tokenizing(self, result: Any, _manager: Any, request: Any, *_: Any, **__: Any) -> None:
        """A request's stratum is known where HTTP is served, and counted in the scheduler.

        Not guarded, because errors are counted in the scheduler's process; there is nothing in it that fails.
        """
        if self._settings.strata is not None and hasattr(result, "routing_key"):
            adapter = getattr(request, "lora_path", None)
            result.routing_key = routing_key(self._settings.strata, adapter, result.routing_key)

    # --- counters and steps ----------------------------------------------------------------------------------

    def after_verify(self, _tokens: Any, _processor: Any, result: Any, batch: Any) -> None:
        self.runtime.verified(result, batch.reqs)

    def choose_steps(self, _original: _Hook, _params: Any, _batch_size: int) -> int:
        """The number of draft steps is the operator's decision, not the engine's own moving average's."""
        return self.runtime.steps

    def ignore_verify(self, _original: _Hook, *_: Any, **__: Any) -> None:
        """See :meth:`choose_steps`."""

    # --- control ---------------------------------------------------------------------------------------------

    def add_state(self, result: Any, _controller: Any, _request: Any) -> None:
        result.internal_state[STATE_KEY] = self.runtime.status().plain()

    def add_handlers(self, handlers: dict[str, Any], controller: Any) -> dict[str, Any]:
        """Our controls among those of SGLang's set_internal_state."""
        return {**handlers, **_controls(self.runtime, controller.scheduler)}

    def hooks(self) -> list[tuple[str, HookType, _Hook]]:
        """All hooks: what is hooked, how, and by what."""
        after, before, around = HookType.AFTER, HookType.BEFORE, HookType.AROUND
        forward = f"{_SRT}.managers.tp_worker.TpModelWorker.forward_batch_generation"
        return [
            (_SERVE, before, self.before_http_server),
            (f"{_HTTP}._wait_and_warmup", around, self.warm_up),
            (f"{_SRT}.layers.logits_processor.LogitsProcessor.__init__", after, self.logits_processor_made),
            (forward, after, self.guarded(self.after_forward)),
            (f"{_TOKENIZER}._create_tokenized_object", after, self.after_tokenizing),
            (f"{_RESULTS}.process_batch_result_prefill", before, self.guarded(self.before_result)),
            (f"{_RESULTS}.process_batch_result_decode", before, self.guarded(self.before_result)),
            (f"{_RESULTS}._resolve_spec_v2_tokens", after, self.guarded(self.after_verify)),
            (f"{_SCHEDULER}._maybe_namespace_elastic_radix_cache", before, self.guarded(self.before_queueing)),
            (f"{_SRT}.mem_cache.common.release_kv_cache", before, self.guarded(self.before_release)),
            (f"{_PARAMS}.get_steps_for_batch", around, self.choose_steps),
            (f"{_PARAMS}.on_verify_complete", around, self.ignore_verify),
            (f"{_STATE}.get_internal_state", after, self.guarded(self.add_state)),
            (f"{_STATE}._update_handlers", after, self.add_handlers),
        ]


def _taken_access() -> Access | None:
    """The API keys, in the process that serves HTTP; the first to read them leaves none to those that it starts."""
    admin_key, api_key = credentials.taken(ADMIN_KEY), credentials.taken(API_KEY)
    return Access(admin_key, api_key) if admin_key else None


def register() -> None:
    """Called by SGLang in each of its processes.

    Raises:
        SystemExit: the engine would serve without access control. SGLang logs any other exception of a plugin, and of
            hooks that it cannot apply, and then serves with all routes open.
    """
    try:
        settings = EngineSettings.from_environment()
        access = None if settings is None else _taken_access()
    except ConfigError as error:
        raise SystemExit(f"aurora: {error}") from error
    if access is not None:
        try:
            pkgutil.resolve_name(_SERVE)
        except (ImportError, AttributeError) as error:
            message = f"aurora: this SGLang has no {_SERVE}: access control cannot be put before its routes"
            raise SystemExit(message) from error
    hooks = cpu_products.hooks() if settings is None else [*cpu_products.hooks(), *_Plugin(settings, access).hooks()]
    for target, kind, hook in hooks:
        HookRegistry.register(target, hook, kind)
