"""Where a target's checkpoint comes from: a folder, a Python package, or the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from aurora_core.config.parts import TargetConfig
from aurora_core.errors import ConfigError
from aurora_core.models import smollm2
from aurora_core.models.target import Target


def resolve(config: TargetConfig, cache: Path, *, download: bool = True) -> Target:
    """The target's folder; what is not there yet is fetched below ``cache``.

    Args:
        config: which model.
        cache: folder for models that are fetched.
        download: whether to fetch; without, everything must be there already.

    Raises:
        ConfigError: the model cannot be had; says why.
    """
    if config.model == smollm2.NAME:
        return Target(smollm2.materialise(cache))
    folder = Path(config.model)
    if folder.is_dir():
        return Target(folder)
    if folder.is_absolute():
        message = f"the target {folder} is no folder: is its volume mounted?"
        raise ConfigError(message)
    try:
        path = snapshot_download(
            config.model,
            revision=config.revision,
            cache_dir=cache / "hub",
            local_files_only=not download,
            allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py"],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        message = f"the target {config.model} is no folder and cannot be had from the Hugging Face hub: {error}"
        raise ConfigError(message) from error
    return Target(Path(path))
