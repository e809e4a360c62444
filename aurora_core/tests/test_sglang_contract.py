"""Every symbol of SGLang that the plugin touches, so that another version fails here and not in production.

After a deliberate upgrade: read what changed at the failing symbol, adapt the plugin, then the expectation.
"""

import dataclasses
import importlib
import inspect
from importlib.metadata import version

import pytest
from aurora_core.config import SamplesConfig
from aurora_core.engine import cpu_products
from aurora_core.engine.plugin import _Plugin
from aurora_core.engine.settings import EngineSettings

pytestmark = pytest.mark.filterwarnings("ignore")

SRT = "sglang.srt"
UPDATER = f"{SRT}.model_executor.model_runner_components.weight_updater:WeightUpdater"
HOOKED = {
    f"{SRT}.entrypoints.http_server:_setup_and_run_http_server": ["server_args"],
    f"{SRT}.entrypoints.http_server:_wait_and_warmup": ["server_args"],
    f"{SRT}.layers.logits_processor:LogitsProcessor.__init__": ["self", "config"],
    f"{SRT}.layers.logits_processor:LogitsProcessor._compute_lm_head": ["self", "hidden_states", "lm_head"],
    f"{SRT}.layers.quantization.unquant:UnquantizedLinearMethod.apply": ["self", "layer", "x", "bias"],
    f"{SRT}.model_loader.loader:DefaultModelLoader.postprocess_weights": ["model", "target_device"],
    f"{UPDATER}.update_weights_from_ipc": ["self"],
    f"{SRT}.managers.tokenizer_manager:TokenizerManager._create_tokenized_object": ["self", "obj"],
    f"{SRT}.managers.tp_worker:TpModelWorker.forward_batch_generation": ["self", "batch", "forward_batch"],
    f"{SRT}.managers.scheduler_components.batch_result_processor:"
    "SchedulerBatchResultProcessor.process_batch_result_prefill": ["self", "batch", "result"],
    f"{SRT}.managers.scheduler_components.batch_result_processor:"
    "SchedulerBatchResultProcessor.process_batch_result_decode": ["self", "batch", "result"],
    f"{SRT}.managers.scheduler_components.batch_result_processor:"
    "SchedulerBatchResultProcessor._resolve_spec_v2_tokens": ["self", "result", "batch"],
    f"{SRT}.managers.scheduler:Scheduler._maybe_namespace_elastic_radix_cache": ["self", "req"],
    f"{SRT}.mem_cache.common:release_kv_cache": ["req", "tree_cache", "checkpoint"],
    f"{SRT}.speculative.adaptive_spec_params:AdaptiveSpeculativeParams.get_steps_for_batch": ["self", "batch_size"],
    f"{SRT}.speculative.adaptive_spec_params:AdaptiveSpeculativeParams.on_verify_complete": [
        "self",
        "num_correct_drafts_per_req",
        "batch_size",
    ],
    f"{SRT}.managers.scheduler_components.internal_state:SchedulerInternalStateController.get_internal_state": [
        "self",
        "recv_req",
    ],
    f"{SRT}.managers.scheduler_components.internal_state:SchedulerInternalStateController._update_handlers": ["self"],
}


def resolve(path):
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_the_version_is_the_one_that_was_read():
    assert version("sglang") == "0.5.23"


@pytest.mark.parametrize("path", HOOKED)
def test_a_hooked_function_takes_what_the_hook_expects(path):
    parameters = list(inspect.signature(resolve(path)).parameters)
    assert parameters[: len(HOOKED[path])] == HOOKED[path]


def test_every_hook_is_pinned_here(monkeypatch):
    monkeypatch.setenv("SGLANG_USE_CPU_ENGINE", "1")
    settings = EngineSettings(
        weights="w", version=0, target="t", spool="s", dtype="float32", initial_steps=0, samples=SamplesConfig()
    )
    hooked = {target for target, _, _ in (*_Plugin(settings).hooks(), *cpu_products.hooks())}
    assert hooked == {path.replace(":", ".") for path in HOOKED}


def fields(path):
    return {f.name for f in dataclasses.fields(resolve(path))}


def test_results_carry_what_is_read_of_them():
    assert {
        "logits_output",
        "accept_index",
        "num_correct_drafts_per_req_cpu",
        "speculative_num_draft_tokens",
    } <= fields(f"{SRT}.managers.utils:GenerationBatchResult")
    output = f"{SRT}.layers.logits_processor:LogitsProcessorOutput"
    assert {"hidden_states", "last_hidden_states"} <= fields(output)
    times = fields(f"{SRT}.observability.req_time_stats:SchedulerReqTimeStats")
    assert {"scheduler_recv_time", "prefill_finished_time"} <= times
    made = resolve(output)(next_token_logits=None)
    made.aurora_staged = 1  # attributes can be added, and removed
    del made.aurora_staged


def test_the_sources_that_the_plugin_relies_on_say_what_it_relies_on():
    """Attributes set in constructors, and orders of calls, that no signature shows."""
    expected = {
        f"{SRT}.layers.logits_processor:LogitsProcessor._get_last_hidden_states_to_store": [
            "self.keep_last_hidden_states",
            "capture_hidden_mode.is_full()",
        ],
        f"{SRT}.managers.tp_worker:TpModelWorker.__init__": ["self.is_draft_worker", "self.enable_spec"],
        f"{SRT}.managers.schedule_batch:Req.__init__": [
            "self.origin_input_ids",
            "self.output_ids",
            "self.rid",
            ") + lora_id",
            "self.extra_key",
            "self.lora_id",
            "self.routing_key",
        ],
        f"{SRT}.managers.scheduler:Scheduler._handle_generate_request": [
            "_maybe_namespace_elastic_radix_cache(req)",
            "routing_key=recv_req.routing_key",
        ],
        f"{SRT}.arg_groups.lora_hook:check_lora_speculative_compatibility": ["does not support --speculative-adaptive"],
        f"{SRT}.lora.lora:LoRAAdapter.__init__": ["self.embedding_layers"],
        f"{SRT}.lora.lora_manager:LoRAManager.load_lora_weights": ["self.loras[lora_ref.lora_id] = lora_adapter"],
        f"{SRT}.model_executor.model_runner:ModelRunner.load_model": ["self"],
        f"{SRT}.model_executor.model_runner:ModelRunner.maybe_init_lora_manager": ["not self.is_draft_worker"],
        f"{UPDATER}.load_weights_from_distributed": ["self"],
        f"{UPDATER}.update_weights_from_disk": ["self"],
        f"{UPDATER}.update_weights_from_ipc": ["self"],
        f"{UPDATER}.update_weights_from_tensor": ["self"],
        f"{SRT}.managers.tokenizer_manager:TokenizerManager._create_tokenized_object": ["routing_key=obj.routing_key"],
        f"{SRT}.managers.scheduler:Scheduler._maybe_namespace_elastic_radix_cache": [
            'req.extra_key = f"{req.extra_key}|{namespace}"'
        ],
        f"{SRT}.managers.schedule_batch:Req.output_ids_through_stop.fget": ["finished_len"],
        f"{SRT}.managers.schedule_batch:ReqKvInfo": ["req_pool_idx", "holds_kv"],
        f"{SRT}.speculative.eagle_worker_v2:EAGLEWorkerV2.apply_runtime_state": ["speculative_num_steps"],
        f"{SRT}.speculative.eagle_worker_v2:EAGLEWorkerV2.activate_step_by_batch": ["adaptive_controller"],
        f"{SRT}.speculative.adaptive_runtime_state:AdaptiveController.activate_step_by_batch": ["get_steps_for_batch"],
        f"{SRT}.speculative.eagle_worker_v2:EagleDraftWorker.init_lm_head": ["self.hot_token_id"],
        f"{SRT}.speculative.eagle_worker_v2:EagleDraftWorker.draft_forward": ["self.hot_token_id[topk_index]"],
        f"{SRT}.models.llama:LlamaForCausalLM.set_eagle3_layers_to_capture": [
            "[2, num_layers // 2, num_layers - 3]",
            "val + 1 for val in layer_ids",
        ],
        f"{SRT}.models.llama_eagle3:LlamaForCausalLMEagle3.load_weights": ["d2t", "self.hot_token_id", "midlayer"],
        f"{SRT}.managers.scheduler_components.internal_state:SchedulerInternalStateController.set_internal_state": [
            "self._update_handlers()",
            "handler.validate(key, value)",
            ".apply(key, value)",
        ],
        f"{SRT}.model_executor.model_runner_components.weight_updater:WeightUpdater.end_weight_update": [
            "run_post_load"
        ],
        f"{SRT}.model_executor.model_runner_components.weight_updater:WeightUpdater.begin_weight_update": [
            "restore_weights_before_loading"
        ],
    }
    for path, words in expected.items():
        source = inspect.getsource(resolve(path))
        for word in words:
            assert word in source, f"{path} no longer says {word!r}"


def test_an_allocator_names_the_slots_of_its_full_pool():
    of_one = resolve(f"{SRT}.mem_cache.allocator.base:BaseTokenToKVPoolAllocator")
    assert "return self.size" in inspect.getsource(of_one.size_full.fget)
    of_two = resolve(f"{SRT}.mem_cache.allocator.swa:SWATokenToKVPoolAllocator")
    assert "self._size_full" in inspect.getsource(of_two.size_full.fget)
    assert "min(self._size_full, self._size_swa)" in inspect.getsource(of_two.size.fget)


def test_the_draft_worker_names_the_runners_that_a_swap_updates():
    worker = resolve(f"{SRT}.speculative.eagle_worker_v2:EAGLEWorkerV2")
    assert callable(worker.weight_update_runners)
    assert isinstance(inspect.getattr_static(worker, "draft_worker"), property)
