"""Starts SGLang with the plugin: its command line and environment, from the configuration."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from aurora_core import listening
from aurora_core.arithmetic import ComputeDtype, compute_dtype
from aurora_core.config.arguments import of_draft
from aurora_core.config.parts import DraftConfig, ServingConfig, TargetConfig
from aurora_core.drafts.registry import family
from aurora_core.engine.settings import ADMIN_KEY, API_KEY, VARIABLE, EngineSettings
from aurora_core.models.target import Target

_GENEROUS_CPU_TOKENS = 32768


@dataclass(frozen=True)
class Command:
    """What to run."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def _device(serving: ServingConfig) -> str:
    if serving.device != "auto":
        return serving.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def engine_dtype(target: Path, config: TargetConfig, serving: ServingConfig) -> ComputeDtype:
    """What the engine computes in on this machine."""
    named = Target(target).config
    checkpoint = named.get("dtype") or named.get("torch_dtype")
    return compute_dtype(config.dtype, torch.device(_device(serving)), checkpoint)


def _cpu_arguments(serving: ServingConfig) -> tuple[str, ...]:
    return (
        "--prefill-attention-backend", "intel_amx",
        "--decode-attention-backend", "intel_amx",
        # The tokens below bound what it takes. SGLang's share is of the machine's free memory, and it does not
        # start where other processes took that meanwhile.
        "--mem-fraction-static", "0.9",
        "--max-total-tokens", str(serving.max_total_tokens or _GENEROUS_CPU_TOKENS),
        "--disable-overlap-schedule",
        "--disable-cuda-graph",
        # Without it an idle scheduler keeps a core busy, which the trainer may well use.
        "--sleep-on-idle",
    )  # fmt: skip


def _base(target: Path, config: TargetConfig, serving: ServingConfig) -> list[str]:
    device = _device(serving)
    arguments = [
        sys.executable, "-m", "sglang.launch_server",
        "--model-path", str(target),
        "--dtype", engine_dtype(target, config, serving),
        "--device", device,
        "--host", listening.host(serving.host),
        "--port", str(serving.port),
        "--tp-size", str(serving.tensor_parallel_size),
        "--enable-metrics",
    ]  # fmt: skip
    if config.trust_remote_code:
        arguments.append("--trust-remote-code")
    if device == "cpu":
        arguments += _cpu_arguments(serving)
    elif serving.max_total_tokens:
        arguments += ["--max-total-tokens", str(serving.max_total_tokens)]
    return arguments


@dataclass(frozen=True)
class Secrets:
    """API keys of the engine's HTTP endpoints.

    They reach the engine through its environment: arguments are in every process list, and SGLang writes its arguments
    into its log and into ``/server_info``.

    Attributes:
        admin_key: of everything that is not for users.
        api_key: of users' requests; empty where those are open.
    """

    admin_key: str
    api_key: str = ""


def _environment(serving: ServingConfig) -> dict[str, str]:
    environment = dict(os.environ)
    if _device(serving) == "cpu":
        environment["SGLANG_USE_CPU_ENGINE"] = "1"
        # Compiling the few functions that SGLang marks costs 15 s at the first request and needs a C++ compiler.
        environment["TORCHDYNAMO_DISABLE"] = "1"
    if serving.threads:
        environment["OMP_NUM_THREADS"] = str(serving.threads)
    environment["HF_HUB_OFFLINE"] = environment.get("HF_HUB_OFFLINE", "1")
    return environment


def target_only(target: Path, config: TargetConfig, serving: ServingConfig) -> Command:
    """SGLang without a draft, the baseline of every comparison; the plugin adds a CPU's products and nothing else."""
    return Command(
        (*_base(target, config, serving), *serving.extra_args),
        {**_environment(serving), "SGLANG_PLUGINS": "aurora"},
    )


def speculative(
    target: Path,
    config: TargetConfig,
    serving: ServingConfig,
    draft: DraftConfig,
    settings: EngineSettings,
    draft_path: Path,
    runtime_folder: Path,
    secrets: Secrets,
) -> Command:
    """SGLang with a draft and the plugin.

    Raises:
        ConfigError: the draft's family is not known.
    """
    own = family(draft.algorithm).launch(draft, runtime_folder)
    for path, text in own.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arguments = _base(target, config, serving)
    arguments += [
        "--speculative-algorithm", draft.algorithm,
        "--speculative-draft-model-path", str(draft_path),
        *own.arguments,
    ]  # fmt: skip
    environment = {
        **_environment(serving),
        **own.environment,
        VARIABLE: settings.model_dump_json(by_alias=True),
        ADMIN_KEY: secrets.admin_key,
        **({API_KEY: secrets.api_key} if secrets.api_key else {}),
    }
    return Command((*arguments, *of_draft(serving.extra_args), *serving.extra_args), environment)
