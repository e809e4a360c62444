"""Where checkpoints come from: a folder, or the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from aurora_core.config.parts import DraftConfig, TargetConfig
from aurora_core.errors import ConfigError
from aurora_core.models.target import Target


def _folder(what: str, name: str, revision: str | None, cache: Path, *, download: bool) -> Path:
    """A checkpoint's folder; ``what`` is the word for it in errors."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        message = f"the {what} {folder} is not a directory: is its volume mounted?"
        raise ConfigError(message)
    try:
        path = snapshot_download(
            name,
            revision=revision,
            cache_dir=cache / "hub",
            local_files_only=not download,
            allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py"],
            # The same weights once more, in their author's own form, which nothing here reads.
            ignore_patterns=["original/*", "metal/*"],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        message = f"the {what} {name} is not a directory and could not be downloaded from the Hugging Face hub: {error}"
        raise ConfigError(message) from error
    return Path(path)


def resolve(config: TargetConfig, cache: Path, *, download: bool = True) -> Target:
    """The target; what is not there yet is fetched below ``cache``.

    Args:
        config: which model.
        cache: folder for models that are fetched.
        download: whether to fetch; without, everything must be there already.

    Raises:
        ConfigError: the model cannot be had; says why.
    """
    return Target(_folder("target", config.model, config.revision, cache, download=download))


def fetched(config: DraftConfig, cache: Path) -> DraftConfig:
    """The same draft, its checkpoint a folder; what is not there yet is fetched below ``cache``.

    Raises:
        ConfigError: the checkpoint cannot be had; says why.
    """
    if config.checkpoint is None:
        return config
    folder = _folder("draft", config.checkpoint, config.revision, cache, download=True)
    return config.model_copy(update={"checkpoint": str(folder)})
